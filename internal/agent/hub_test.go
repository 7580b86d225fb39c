package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/resource/resourcetest"
)

const (
	prod   = "111111111111"
	vault  = "222222222222"
	region = "us-east-1"
	app    = "fs-0aaaaaaaaaaaaaaaa"
)

var day = time.Date(2026, 3, 4, 5, 6, 7, 890e6, time.UTC)

// host is a host with one production agent that declares app, and a backup agent that declares nothing.
type host struct {
	*Hub
	dir, app, prodRoot, vaultRoot string
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{Hub: NewHub(HubConfig{}), dir: dir, app: filepath.Join(dir, "app"), prodRoot: filepath.Join(dir, "restored-prod"), vaultRoot: filepath.Join(dir, "restored-backup")}
	for _, d := range []string{h.app + "/sub", h.prodRoot, h.vaultRoot} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(h.app+"/sub/file", []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	return h
}

// start makes a hub of the agent files, as a node does.
func (h *host) start(t *testing.T) {
	t.Helper()
	h.Hub = NewHub(HubConfig{})
	for _, f := range []File{
		{Name: "prod.yaml", Account: prod, Region: region, Resources: []Resource{{Type: EFS, ID: app, Path: h.app, Tags: map[string]string{"Criticality": "high"}}}, Restore: &RestoreEFS{Root: h.prodRoot}},
		{Name: "backup.yaml", Account: vault, Region: region, Restore: &RestoreEFS{Root: h.vaultRoot}},
	} {
		if err := h.Add(f); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *host) capture(t *testing.T, account, arn string) resourcetest.Capture {
	t.Helper()
	src, err := h.Source(t.Context(), account, arn)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	c, err := resourcetest.ReadAll(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *host) restore(t *testing.T, account string, q RestoreRequest) (arn, dir string) {
	t.Helper()
	if q.CreatedAt.IsZero() {
		q.CreatedAt = day
	}
	c := h.capture(t, prod, fileSystemARN(prod, region, app))
	r, err := h.Restore(t.Context(), account, region, EFS, q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resourcetest.Replay(t.Context(), c, r.Target()); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return r.ResourceARN(), r.Dir()
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

func TestResourcesAreListedPerAccountAndRegion(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	list := h.Resources(prod, region)
	if len(list) != 1 || list[0].ARN != "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/"+app || list[0].Tags["Criticality"] != "high" || list[0].Name != app || list[0].Type != EFS {
		t.Errorf("%+v", list)
	}
	if len(h.Resources(vault, region)) != 0 || len(h.Resources(prod, "eu-west-1")) != 0 || len(h.All()) != 1 {
		t.Error("resources where there are none")
	}
	list[0].Tags["Criticality"] = "changed"
	if h.All()[0].Tags["Criticality"] != "high" {
		t.Error("a caller can change what is declared")
	}
}

func TestARestoreMakesAFileSystemThatOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	arn, dir := h.restore(t, vault, RestoreRequest{JobID: "j1", NewFileSystem: true, CreationToken: "drill"})
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	path := filepath.Join(h.vaultRoot, id, dir, "sub/file")
	if got, err := os.ReadFile(path); err != nil || string(got) != "content" || len(id) != len("fs-")+17 {
		t.Fatalf("%s: %v", path, err)
	}
	if dir != "aws-backup-restore_2026-03-04T05-06-07-890Z" {
		t.Error(dir)
	}
	h.start(t)
	if list := h.Resources(vault, region); len(list) != 1 || list[0].ARN != arn {
		t.Fatalf("%+v", list)
	}
	if c := h.capture(t, vault, arn); c.Find(dir+"/sub/file") == nil {
		t.Error("the restored file system cannot be backed up")
	}
	if _, err := h.Source(t.Context(), prod, arn); !fault.Is(err, fault.NotFound) {
		t.Errorf("another account reads it: %v", err)
	}
	// Into it again, by id, without a word in any agent file.
	again, dir2 := h.restore(t, vault, RestoreRequest{JobID: "j2", FileSystemID: id})
	if again != arn || dir2 == dir || !exists(filepath.Join(h.vaultRoot, id, dir2, "sub/file")) {
		t.Errorf("%s %s", again, dir2)
	}
}

func TestTheCreationTokenDecidesTheFileSystem(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	first, _ := h.restore(t, vault, RestoreRequest{JobID: "j1", NewFileSystem: true, CreationToken: "a"})
	same, _ := h.restore(t, vault, RestoreRequest{JobID: "j2", NewFileSystem: true, CreationToken: "a"})
	other, _ := h.restore(t, vault, RestoreRequest{JobID: "j3", NewFileSystem: true, CreationToken: "b"})
	mine, _ := h.restore(t, prod, RestoreRequest{JobID: "j4", NewFileSystem: true, CreationToken: "a"})
	none, _ := h.restore(t, prod, RestoreRequest{JobID: "j5", NewFileSystem: true})
	if first != same || first == other || strings.HasSuffix(mine, first[len(first)-20:]) || none == mine {
		t.Error(first, same, other, mine, none)
	}
}

func TestARestoreIntoADeclaredFileSystemReplacesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, id := range []string{app, fileSystemARN(prod, region, app)} {
		arn, dir := h.restore(t, prod, RestoreRequest{JobID: id, FileSystemID: id})
		if arn != fileSystemARN(prod, region, app) || !exists(filepath.Join(h.app, dir, "sub/file")) || !exists(h.app+"/sub/file") {
			t.Errorf("%s: %s %s", id, arn, dir)
		}
	}
}

func TestAFailedRestoreLeavesNoFileSystem(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r, err := h.Restore(t.Context(), vault, region, EFS, RestoreRequest{JobID: "j", NewFileSystem: true, CreatedAt: day})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(h.vaultRoot)
	if err != nil || len(names) != 0 {
		t.Errorf("%v %v", names, err)
	}
}

func TestASweepTakesBackInterruptedRestores(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	arn, dir := h.restore(t, vault, RestoreRequest{JobID: "done", NewFileSystem: true, CreationToken: "kept"})
	kept := filepath.Join(h.vaultRoot, arn[strings.LastIndexByte(arn, '/')+1:])
	for _, place := range []string{kept, filepath.Join(h.vaultRoot, "fs-00000000")} {
		if err := os.MkdirAll(filepath.Join(place, ".aws-backup-restore_2026-03-04T05-06-07-890Z.0123456789abcdef.partial/a"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(kept)
	if err != nil || len(names) != 1 || names[0].Name() != dir {
		t.Errorf("%v %v", names, err)
	}
	if exists(filepath.Join(h.vaultRoot, "fs-00000000")) {
		t.Error("a file system that never held anything stays")
	}
}

func TestRestoresThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	if err := h.Add(File{Name: "third", Account: "333333333333", Region: region, Resources: []Resource{{Type: EFS, ID: "fs-33333333", Path: h.dir + "/third"}}}); err != nil {
		t.Fatal(err)
	}
	os.Symlink(h.app, filepath.Join(h.vaultRoot, "fs-11111111"))
	os.Mkdir(filepath.Join(h.vaultRoot, "not-a-file-system"), 0o700)
	for name, c := range map[string]struct {
		account, region, kind string
		q                     RestoreRequest
		want                  fault.Kind
	}{
		"another type":               {prod, region, "RDS", RestoreRequest{NewFileSystem: true}, fault.Unsupported},
		"another account's":          {vault, region, EFS, RestoreRequest{FileSystemID: app}, fault.NotFound},
		"another account's, by ARN":  {vault, region, EFS, RestoreRequest{FileSystemID: fileSystemARN(prod, region, app)}, fault.NotFound},
		"another region":             {prod, "eu-west-1", EFS, RestoreRequest{NewFileSystem: true}, fault.State},
		"another region's, by ARN":   {prod, "eu-west-1", EFS, RestoreRequest{FileSystemID: fileSystemARN(prod, region, app)}, fault.Invalid},
		"unknown account":            {"444444444444", region, EFS, RestoreRequest{NewFileSystem: true}, fault.State},
		"no such id":                 {prod, region, EFS, RestoreRequest{FileSystemID: "fs-00000000"}, fault.NotFound},
		"a path as an id":            {prod, region, EFS, RestoreRequest{FileSystemID: "../app"}, fault.Invalid},
		"a path":                     {prod, region, EFS, RestoreRequest{FileSystemID: "/etc"}, fault.Invalid},
		"nothing":                    {prod, region, EFS, RestoreRequest{}, fault.Invalid},
		"a directory by its name":    {vault, region, EFS, RestoreRequest{FileSystemID: "not-a-file-system"}, fault.Invalid},
		"a link below the root":      {vault, region, EFS, RestoreRequest{FileSystemID: "fs-11111111"}, fault.NotFound},
		"an item outside":            {prod, region, EFS, RestoreRequest{NewFileSystem: true, Items: []string{"../x"}}, fault.Invalid},
		"an agent without restores":  {"333333333333", region, EFS, RestoreRequest{FileSystemID: "fs-33333333"}, fault.State},
		"an agent without restores+": {"333333333333", region, EFS, RestoreRequest{NewFileSystem: true}, fault.State},
	} {
		r, err := h.Restore(t.Context(), c.account, c.region, c.kind, c.q)
		if !fault.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if r != nil {
			r.Close()
		}
		if err != nil && strings.Contains(fault.As(err).Msg, h.dir) {
			t.Errorf("%s: a path of the host in %q", name, err)
		}
	}
}

func TestSourcesOfOthersAndOfNothingAreNotFound(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	os.RemoveAll(h.app)
	for arn, want := range map[string]fault.Kind{
		fileSystemARN(prod, region, app):           fault.NotFound, // declared, and gone
		fileSystemARN(vault, region, app):          fault.NotFound,
		fileSystemARN(prod, "eu-west-1", app):      fault.NotFound,
		fileSystemARN(prod, region, "fs-00000000"): fault.NotFound,
		fileSystemARN(prod, region, ".."):          fault.NotFound,
		"arn:aws:s3:::bucket":                      fault.Unsupported,
		"/etc":                                     fault.Invalid,
	} {
		_, err := h.Source(t.Context(), prod, arn)
		if !fault.Is(err, want) {
			t.Errorf("%s: %v", arn, err)
		}
		var f *fault.Error
		if errors.As(err, &f) && strings.Contains(f.Msg, h.dir) {
			t.Errorf("a path of the host in %q", f.Msg)
		}
	}
}

func TestAgentFilesMustNotOverlap(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	sub := filepath.Join(h.prodRoot, "sub")
	os.Mkdir(sub, 0o700)
	link := filepath.Join(h.dir, "link")
	os.Symlink(h.prodRoot, link)
	free := filepath.Join(h.dir, "free")
	os.Mkdir(free, 0o700)
	const third = "333333333333"
	for name, f := range map[string]File{
		"the same root":                  {Account: third, Restore: &RestoreEFS{Root: h.prodRoot}},
		"a root inside":                  {Account: third, Restore: &RestoreEFS{Root: sub}},
		"a root around":                  {Account: third, Restore: &RestoreEFS{Root: h.dir}},
		"the same root by a link":        {Account: third, Restore: &RestoreEFS{Root: link}},
		"a resource in another's root":   {Account: third, Resources: []Resource{{ID: "fs-33333333", Path: sub + "/x"}}},
		"a root in another's resource":   {Account: third, Restore: &RestoreEFS{Root: h.app + "/sub"}},
		"an id declared twice":           {Account: prod, Resources: []Resource{{ID: app, Path: free}}},
		"a file of the same name":        {Name: "x/prod.yaml", Account: prod},
		"a root that does not exist":     {Account: third, Restore: &RestoreEFS{Root: h.dir + "/missing"}},
		"a root around its own resource": {Account: third, Restore: &RestoreEFS{Root: free}, Resources: []Resource{{ID: "fs-33333333", Path: link}, {ID: "fs-33333334", Path: free}}},
	} {
		if f.Name == "" {
			f.Name = "other.yaml"
		}
		f.Region = region
		if err := h.Add(f); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(h.Files()); n != 2 {
		t.Errorf("%d files", n)
	}
}

func TestRestoreMetadata(t *testing.T) {
	t.Parallel()
	q, err := ParseRestore(map[string]string{"newFileSystem": "true", "CreationToken": "t", "Encrypted": "false", "PerformanceMode": "generalPurpose",
		"file-system-id": "fs-00000000", "ItemsToRestore": `["/b/c", "/a", "/b", "/b-d/*", "/a"]`})
	if err != nil || !q.NewFileSystem || q.CreationToken != "t" || q.FileSystemID != "" || !slices.Equal(q.Items, []string{"a", "b", "b-d/*"}) {
		t.Errorf("%+v %v", q, err)
	}
	for _, all := range []string{`["/"]`, `[]`, ``, `["/x", "/"]`} {
		if q, err := ParseRestore(map[string]string{"file-system-id": "fs-00000000", "ItemsToRestore": all}); err != nil || q.Items != nil || q.NewFileSystem {
			t.Errorf("%s: %+v %v", all, q, err)
		}
	}
	for _, bad := range []map[string]string{
		{}, {"newFileSystem": "false"}, {"newFileSystem": "perhaps"}, {"newFileSystem": "true", "Encrypted": "1"},
		{"newFileSystem": "true", "PerformanceMode": "fast"}, {"newFileSystem": "true", "KmsKeyId": "alias/x"},
		{"newFileSystem": "true", "path": "/etc"}, {"newFileSystem": "true", "CreationToken": strings.Repeat("x", 65)},
		{"newFileSystem": "true", "ItemsToRestore": `a`}, {"newFileSystem": "true", "ItemsToRestore": `["a"]`}, {"newFileSystem": "true", "ItemsToRestore": `["/a/../b"]`},
		{"newFileSystem": "true", "ItemsToRestore": `["//a"]`}, {"newFileSystem": "true", "ItemsToRestore": `["/a\u0000"]`}, {"newFileSystem": "true", "ItemsToRestore": `[""]`}, {"newFileSystem": "true", "ItemsToRestore": `{"a":1}`},
	} {
		if _, err := ParseRestore(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func FuzzRestoreItems(f *testing.F) {
	f.Add(`["/a", "/b/c"]`)
	f.Add(`"/a/"`)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := ParseRestore(map[string]string{"newFileSystem": "true", "ItemsToRestore": text})
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		for _, p := range q.Items {
			if p == "" || strings.HasPrefix(p, "/") || slices.Contains(strings.Split(p, "/"), "..") {
				t.Fatalf("%q from %q", p, text)
			}
		}
	})
}
