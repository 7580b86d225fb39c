package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/tree"
)

const good = `# one per account and host
account: "111111111111"
region: us-east-1
resources:
  - {type: EFS, id: fs-0a1b2c3d, path: /srv/app, tags: {Criticality: high, Name: "the app"}}
  - {type: EFS, id: fs-0a1b2c3d4e5f67890, path: /srv/mounted, crossMounts: true, fixedBlocks: ['*.img', 'pg/base/**=8K']}
restore:
  EFS: {root: /srv/restored, setuid: true, ownership: true}
`

func TestAgentFileIsRead(t *testing.T) {
	t.Parallel()
	f, err := Parse("prod.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if f.Account != "111111111111" || f.Region != "us-east-1" || len(f.Resources) != 2 || f.Restore == nil {
		t.Fatalf("%+v", f)
	}
	if r := f.Resources[0]; r.ID != "fs-0a1b2c3d" || r.Path != "/srv/app" || r.Tags["Criticality"] != "high" || r.CrossMounts {
		t.Errorf("%+v", r)
	}
	if r := f.Resources[1]; tree.BlocksOf(r.Blocks, "vm/disk.img") != tree.DefaultBlock || tree.BlocksOf(r.Blocks, "pg/base/1/2") != 8<<10 {
		t.Errorf("%+v", r)
	}
	if r := f.Restore; r.Root != "/srv/restored" || !r.SetUID || r.Devices || !r.Ownership || !f.Resources[1].CrossMounts {
		t.Errorf("%+v", r)
	}
	if f.ID() != "111111111111/us-east-1/prod.yaml" {
		t.Error(f.ID())
	}
}

func TestAgentFileFaultsAreListedWithTheirLines(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"all at once": {`account: "12"
region: US East
color: red
resources:
  - {type: EFS, id: fs-XYZ, path: srv/app}
  - {type: RDS, id: production-main, dsn: "x"}
  - {type: Tape}
  - {id: fs-00000000}
  - {type: EFS, id: fs-00000001, path: /srv/../etc, sise: 3}
restore:
  EFS: {devices: maybe}
`, []string{"f:1: account", "f:2: region", `f:3: agent file: unknown key "color"`, "f:5: resource id", "f:5: resource path", "f:6: resource: type RDS is not supported by this version", `f:7: resource: unknown type "Tape"`, `f:8: resource: "type" is missing`, "f:9: resource path", `unknown key "sise"`, "f:11: devices", `f:11: restore EFS: "root" is missing`}},
		"rules for blocks that are none": {"account: \"111111111111\"\nregion: us-east-1\nresources:\n  - {type: EFS, id: fs-00000001, path: /a, fixedBlocks: ['*.img=5K', '[']}\n  - {type: EFS, id: fs-00000002, path: /b, fixedBlocks: x}\n",
			[]string{"f:4: fixedBlocks: ", "f:5: fixedBlocks: want a list"}},
		"missing keys":          {"resources: []\n", []string{`"account" is missing`, `"region" is missing`}},
		"nothing":               {"", []string{"empty"}},
		"a comment":             {"# nothing\n", []string{"empty"}},
		"not a mapping":         {"- a\n", []string{"want keys and values"}},
		"broken":                {"account: [\n", []string{"line"}},
		"two documents":         {good + "---\naccount: x\n", []string{"only one document"}},
		"key given twice":       {good + "region: eu-west-1\n", []string{`f:9: agent file: "region" is given twice`}},
		"alias":                 {"account: &a \"111111111111\"\nregion: *a\n", []string{"f:1: agent file: anchors", "f:2: agent file: anchors"}},
		"merge":                 {"<<: {account: \"111111111111\"}\nregion: r\n", []string{"a key must be plain text"}},
		"same id":               {strings.Replace(good, "fs-0a1b2c3d4e5f67890", "fs-0a1b2c3d", 1), []string{"f:6: resource: id fs-0a1b2c3d is declared on line 5 already"}},
		"resource in root":      {strings.Replace(good, "path: /srv/app", "path: /srv/restored/x", 1), []string{"f:5: resource path"}},
		"root in resource":      {strings.Replace(good, "path: /srv/app", "path: /srv", 1), []string{"f:5: resource path"}},
		"resource is root":      {strings.Replace(good, "path: /srv/app", "path: /srv/restored", 1), []string{"f:5: resource path"}},
		"the whole host":        {strings.Replace(good, "path: /srv/app", "path: /", 1), []string{"f:5: resource path"}},
		"slash at the end":      {strings.Replace(good, "path: /srv/app", "path: /srv/app/", 1), []string{"f:5: resource path"}},
		"reserved tag":          {strings.Replace(good, "Criticality", "aws:x", 1), []string{"reserved"}},
		"tag is a list":         {strings.Replace(good, "Criticality: high", "Criticality: [high]", 1), []string{"f:5: tag Criticality"}},
		"setuid without owners": {strings.Replace(good, "ownership: true", "ownership: false", 1), []string{"setuid needs ownership"}},
		"later restore type":    {good + "  RDS: {root: /x}\n", []string{"f:9: restore: type RDS is not supported"}},
		"unknown restore type":  {good + "  Tape: {root: /x}\n", []string{`f:9: restore: unknown key "Tape"`}},
		"not UTF-8":             {"account: \xff\n", []string{"UTF-8"}},
		"too large":             {good + strings.Repeat("#", MaxFileSize), []string{"larger"}},
		"null":                  {"account: null\nregion: ~\n", []string{"f:1: account", "f:2: region"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("f", []byte(c.text))
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
		})
	}
}

func TestASiblingWithTheSamePrefixIsNoOverlap(t *testing.T) {
	t.Parallel()
	if _, err := Parse("f", []byte(strings.Replace(good, "path: /srv/app", "path: /srv/restored-not", 1))); err != nil {
		t.Error(err)
	}
}

func TestTheHostIsCheckedToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read := func(path, root string) error {
		text := strings.NewReplacer("/srv/app", path, "/srv/restored", root, "/srv/mounted", dir+"/gone").Replace(good)
		name := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadFile(name)
		return err
	}
	for _, d := range []string{"data", "root"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("data", filepath.Join(dir, "link"))
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	for name, c := range map[string]struct {
		path, root string
		ok         bool
	}{
		"as it should be":             {"data", "root", true},
		"a resource that is not here": {"not yet", "root", true},
		"a root that is not here":     {"data", "missing", false},
		"a root that is a file":       {"data", "file", false},
		"the same by a link":          {"data", "link", false},
		"inside by a link":            {"link/deep", "data", false},
	} {
		err := read(filepath.Join(dir, c.path), filepath.Join(dir, c.root))
		if (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadFile(filepath.Join(dir, "no such file")); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("account: &a [*a]\n"))
	f.Add([]byte("resources: {type: EFS}\nrestore: [EFS]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Add([]byte("<<: *x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse("f", text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v is not a fault of the file", err)
			}
			return
		}
		if len(file.Account) != 12 || file.Region == "" {
			t.Fatalf("accepted: %+v", file)
		}
		for _, r := range file.Resources {
			if !fileSystemID.MatchString(r.ID) || !filepath.IsAbs(r.Path) || file.Restore != nil && overlap(r.Path, file.Restore.Root) {
				t.Fatalf("accepted: %+v", r)
			}
		}
	})
}
