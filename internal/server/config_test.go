package server

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestConfigurationFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "strongroom.yaml")
	write(t, path, `data: /var/lib/strongroom
listen: 0.0.0.0:7400
account_id: "999999999999"
regions:
  - {name: us-east-1}
  - {name: my-dc-2, path: /mnt/second/vaults, cold.minimum_days: 90}
agents: [/etc/strongroom/prod.yaml]
tls: {cert: /c, key: /k}
database_file: /etc/strongroom/database-url
seal_file: /run/seal.key
jobs: 4
`)
	got, err := ReadConfig(path)
	check(t, err)
	want := Config{
		Data: "/var/lib/strongroom", Listen: "0.0.0.0:7400", AccountID: "999999999999", Regions: []Region{{Name: "us-east-1"}, {"my-dc-2", "/mnt/second/vaults", 90}},
		Agents: []string{"/etc/strongroom/prod.yaml"}, TLS: TLS{"/c", "/k"}, DatabaseFile: "/etc/strongroom/database-url", SealFile: "/run/seal.key", Jobs: 4,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	check(t, got.complete())
	if got.Regions[0].Path != "/var/lib/strongroom/regions/us-east-1" {
		t.Errorf("default path %s", got.Regions[0].Path)
	}
}

// Every example of the manual must be one that a node takes.
func TestTheManualsConfigurationIsAccepted(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/OPERATIONS.md")
	check(t, err)
	_, rest, ok := strings.Cut(string(raw), "### Configuration file\n")
	if !ok {
		t.Fatal("docs/OPERATIONS.md has no section about the configuration file")
	}
	var example strings.Builder
	for _, line := range strings.Split(rest, "\n") {
		if strings.HasPrefix(line, "#") {
			break
		}
		if text, ok := strings.CutPrefix(line, "    "); ok {
			example.WriteString(text + "\n")
		}
	}
	path := filepath.Join(t.TempDir(), "strongroom.yaml")
	write(t, path, example.String())
	c, err := ReadConfig(path)
	check(t, err)
	check(t, c.complete())
	if c.DatabaseFile == "" || len(c.Regions) != 2 {
		t.Errorf("read %+v from %s", c, example.String())
	}
}

func TestConfigurationFileIsStrict(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":        {"data: /d\nlisten_address: x\n", "listen_address"},
		"unknown key within": {"regions: [{name: a-b, colour: red}]\n", "colour"},
		"repeated key":       {"data: /d\ndata: /e\n", "data"},
		"wrong type":         {"jobs: many\n", "line 1"},
		"two documents":      {"data: /d\n---\ndata: /e\n", "one document"},
		"too large":          {"data: /d\n" + strings.Repeat("# padding\n", 120000), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "c.yaml")
			write(t, path, c.text)
			if _, err := ReadConfig(path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to name %q", err, c.want)
			}
		})
	}
	if _, err := ReadConfig(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, "")
	if _, err := ReadConfig(empty); err != nil {
		t.Errorf("empty file: %v", err)
	}
}

func TestConfigurationFaults(t *testing.T) {
	t.Parallel()
	pair := TLS{"/c", "/k"}
	for name, c := range map[string]struct {
		config Config
		want   string // "" for none
	}{
		"default":                     {Config{Data: "d"}, ""},
		"no data":                     {Config{}, "--data DIR"},
		"account":                     {Config{Data: "d", AccountID: "12345"}, "12 digits"},
		"region name":                 {Config{Data: "d", Regions: []Region{{Name: "My_Region"}}}, "not a region name"},
		"region twice":                {Config{Data: "d", Regions: []Region{{Name: "a-b"}, {Name: "a-b"}}}, "given twice"},
		"negative cold":               {Config{Data: "d", Regions: []Region{{Name: "a-b", ColdMinimumDays: -1}}}, "negative"},
		"half of TLS":                 {Config{Data: "d", TLS: TLS{Cert: "/c"}}, "go together"},
		"jobs":                        {Config{Data: "d", Jobs: 65}, "between 1 and 64"},
		"address":                     {Config{Data: "d", Listen: "7400"}, "listen"},
		"plain beyond loopback":       {Config{Data: "d", Listen: "192.0.2.1:7400"}, "plain HTTP is refused"},
		"plain on all":                {Config{Data: "d", Listen: "0.0.0.0:7400"}, "plain HTTP is refused"},
		"plain on all, v6":            {Config{Data: "d", Listen: "[::]:7400"}, "plain HTTP is refused"},
		"plain on all, short":         {Config{Data: "d", Listen: ":7400"}, "plain HTTP is refused"},
		"plain under a name":          {Config{Data: "d", Listen: "backup.example.com:7400"}, "plain HTTP is refused"},
		"plain on loopback":           {Config{Data: "d", Listen: "127.8.9.1:7400"}, ""},
		"plain on loopback, v6":       {Config{Data: "d", Listen: "[::1]:7400"}, ""},
		"plain on localhost":          {Config{Data: "d", Listen: "localhost:7400"}, ""},
		"TLS on all":                  {Config{Data: "d", Listen: "0.0.0.0:7400", TLS: pair}, ""},
		"several faults are all told": {Config{AccountID: "x", Jobs: -1}, "--data DIR"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.config.complete()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if name == "several faults are all told" && (!strings.Contains(err.Error(), "12 digits") || !strings.Contains(err.Error(), "jobs")) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A fault of the configuration is told apart from one of the directory, and nothing is touched.
func TestConfigurationFaultsTouchNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "node")
	_, err := Open(t.Context(), Config{Data: dir, Listen: "0.0.0.0:1"})
	var wrong *ConfigError
	if !errors.As(err, &wrong) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
	if _, err := Open(t.Context(), Config{Data: dir, Agents: []string{filepath.Join(t.TempDir(), "missing.yaml")}}); err == nil {
		t.Error("an agent file that is not there was accepted")
	}
}

func TestReadCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials")
	if _, err := ReadCredentials(path); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("missing: %v", err)
	}
	write(t, path, "[other]\naws_access_key_id = A\naws_secret_access_key = B\n")
	if _, err := ReadCredentials(path); err == nil || !strings.Contains(err.Error(), "[default]") {
		t.Errorf("another profile: %v", err)
	}
	key := AccessKey{"AKIA1", "se=cret/+"}
	check(t, writeCredentials(path, key))
	if got, err := ReadCredentials(path); err != nil || got != key {
		t.Errorf("%v, %v", got, err)
	}
}
