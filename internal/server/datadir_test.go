package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
)

// contents maps the files below dir to a digest of what is in them. The lock says nothing about a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockFile {
			return err
		}
		raw, err := os.ReadFile(path)
		sum := sha256.Sum256(raw)
		out[strings.TrimPrefix(path, dir)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// made returns the directory of a node that was started once and stopped.
func made(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	s, err := Open(t.Context(), Config{Data: dir, AccountID: firstAccount})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever is wrong with a directory, the node does not start, says what is wrong, and leaves the directory as it was.
func TestDirectoriesThatAreRefusedStayAsTheyAre(t *testing.T) {
	t.Parallel()
	empty := func(t *testing.T) string { return t.TempDir() }
	for name, c := range map[string]struct {
		base   func(*testing.T) string
		change func(t *testing.T, dir string)
		config Config
		want   string
	}{
		"somebody's files":        {empty, func(t *testing.T, dir string) { write(t, filepath.Join(dir, "thesis.txt"), "mine") }, Config{}, "thesis.txt"},
		"somebody's hidden files": {empty, func(t *testing.T, dir string) { write(t, filepath.Join(dir, ".git", "HEAD"), "ref") }, Config{}, ".git"},
		"vaults without marker": {made, func(t *testing.T, dir string) {
			remove(t, dir, markerFile)
			write(t, filepath.Join(dir, "regions", "us-east-1", "vaults", "v", "x"), "bytes")
		}, Config{}, "holds vaults but no strongroom.json"},
		"an empty marker":  {made, func(t *testing.T, dir string) { write(t, filepath.Join(dir, markerFile), "") }, Config{}, "is damaged"},
		"a damaged marker": {made, func(t *testing.T, dir string) { write(t, filepath.Join(dir, markerFile), `{"strongroom":1`) }, Config{}, "is damaged"},
		"a foreign marker": {made, func(t *testing.T, dir string) { write(t, filepath.Join(dir, markerFile), `{"name":"x"}`) }, Config{}, "is damaged"},
		"a newer marker": {made, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, markerFile), `{"strongroom":2,"node":"n","account":"999999999999"}`)
		}, Config{}, "newer strongroom"},
		"no catalog":       {made, func(t *testing.T, dir string) { removeCatalog(t, dir) }, Config{}, "is missing"},
		"an empty catalog": {made, func(t *testing.T, dir string) { removeCatalog(t, dir); write(t, filepath.Join(dir, catalogFile), "") }, Config{}, "is empty"},
		"a damaged catalog": {made, func(t *testing.T, dir string) {
			removeCatalog(t, dir)
			write(t, filepath.Join(dir, catalogFile), strings.Repeat("not a database ", 1000))
		}, Config{}, "catalog"},
		"the catalog of another node": {made, func(t *testing.T, dir string) {
			removeCatalog(t, dir)
			other := filepath.Join(t.TempDir(), "other")
			s, err := Open(t.Context(), Config{Data: other, AccountID: "111111111111"})
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			copyFile(t, filepath.Join(other, catalogFile), filepath.Join(dir, catalogFile))
		}, Config{}, "does not know account 999999999999"},
		"no seal": {made, func(t *testing.T, dir string) { remove(t, dir, "keys/seal.key") }, Config{}, "the seal is missing"},
		"another node's seal": {made, func(t *testing.T, dir string) {
			copyFile(t, filepath.Join(made(t), "keys", "seal.key"), filepath.Join(dir, "keys", "seal.key"))
		}, Config{}, "seal"},
		"a damaged seal": {made, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "keys", "seal.key"), "strongroom-seal-1 AAAA\n")
		}, Config{}, "is damaged"},
		"a seal all can read":             {made, func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, "keys", "seal.key"), 0o644) }, Config{}, "chmod 600"},
		"a damaged clock":                 {made, func(t *testing.T, dir string) { write(t, filepath.Join(dir, clockFile), "{") }, Config{}, "strongroom clock accept"},
		"another account":                 {made, func(*testing.T, string) {}, Config{AccountID: "111111111111"}, "belongs to account 999999999999, not 111111111111"},
		"a database file that holds none": {made, func(t *testing.T, dir string) { write(t, dir+".url", "mysql://x") }, Config{DatabaseFile: "URL"}, "postgres:// URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := c.base(t)
			c.change(t, dir)
			if c.config.DatabaseFile != "" {
				c.config.DatabaseFile = dir + ".url"
			}
			before := contents(t, dir)
			c.config.Data = dir
			s, err := Open(t.Context(), c.config)
			if err == nil {
				s.Close()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not say %q: %v", c.want, err)
			}
			after := contents(t, dir)
			for f, sum := range before {
				if after[f] != sum && f != "/"+clockFile && !strings.HasSuffix(f, "-shm") {
					t.Errorf("%s was changed", f)
				}
			}
			for f := range after {
				if _, ok := before[f]; !ok && f != "/"+clockFile && !strings.HasPrefix(f, "/"+catalogFile+"-") {
					t.Errorf("%s was made", f)
				}
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func removeCatalog(t *testing.T, dir string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		remove(t, dir, catalogFile+suffix)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(raw))
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	if _, err := Open(t.Context(), Config{Data: n.cfg.Data}); err == nil || !strings.Contains(err.Error(), "in use by another strongroom process") {
		t.Fatalf("second process: %v", err)
	}
	if _, err := AcceptClock(n.cfg.Data); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("clock accept beside a running node: %v", err)
	}
	if _, err := n.root.sts.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{}); err != nil {
		t.Fatalf("the first process suffered: %v", err)
	}
}

func TestAcceptClockMakesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "typo")
	if _, err := AcceptClock(dir); err == nil || !strings.Contains(err.Error(), "not a strongroom data directory") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Fatal("a directory was made")
	}
}

// A first start can be cut off anywhere. What it left is exactly a prefix of what it does; the next start finishes it.
func TestFirstStartThatWasCutOffIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	// until runs a first start up to and including the named step.
	until := func(t *testing.T, dir, step string) (account string) {
		t.Helper()
		ctx := context.Background()
		s := &Server{cfg: Config{Data: dir}}
		check(t, s.cfg.complete())
		defer func() { check(t, s.Close()) }()
		steps := []struct {
			name string
			do   func() error
		}{
			{"directory", func() (err error) { s.data, err = openDataDir(dir); return err }},
			{"catalog", func() error { return s.openCatalog(ctx) }},
			{"services", func() error { return s.openServices(ctx) }},
			{"account", func() error { account = "123456789012"; return s.org.AddFirstAccount(ctx, account) }},
			{"key", func() error { _, _, err := s.iam.CreateAccountRoot(ctx, account); return err }},
			{"credentials", func() error { return writeCredentials(s.data.join(CredentialsFile), AccessKey{"AKIAOLD", "old"}) }},
		}
		for _, st := range steps {
			check(t, st.do())
			if st.name == step {
				return account
			}
		}
		t.Fatalf("no step %s", step)
		return ""
	}
	for _, step := range []string{"directory", "catalog", "services", "account", "key", "credentials"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "node")
			begun := until(t, dir, step)
			write(t, filepath.Join(dir, ".tmp-0123456789ab"), "half a file")
			write(t, filepath.Join(dir, catalogFile+"-journal"), "") // SQLite's, until it has switched to its write-ahead log
			if begun != "" {
				if _, err := Open(t.Context(), Config{Data: dir, AccountID: "210987654321"}); err == nil || !strings.Contains(err.Error(), "--account-id "+begun) {
					t.Fatalf("finished with another account: %v", err)
				}
			}
			s, err := Open(t.Context(), Config{Data: dir})
			check(t, err)
			if begun != "" && s.FirstAccount() != begun {
				t.Errorf("begun with account %s, finished with %s", begun, s.FirstAccount())
			}
			working(t, s)
			ids, err := s.org.AllAccountIDs(t.Context())
			if err != nil || !slices.Equal(ids, []string{s.FirstAccount()}) {
				t.Errorf("accounts %v, %v", ids, err)
			}
			check(t, s.Close())
		})
	}
}

// working checks that a server's credentials open its first account and are nobody else's to read.
func working(t *testing.T, s *Server) {
	t.Helper()
	path := s.data.join(CredentialsFile)
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("credentials have mode %04o", info.Mode().Perm())
	}
	key, err := ReadCredentials(path)
	check(t, err)
	secret, p, _, err := s.iam.Credential(t.Context(), key.ID, "")
	check(t, err)
	if secret != key.Secret || p.Account != s.FirstAccount() {
		t.Errorf("credentials of account %s, want %s", p.Account, s.FirstAccount())
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What a node knows, it knows after the next start, too.
func TestStartingAgainKeepsEverything(t *testing.T) {
	t.Parallel()
	dir := made(t)
	before, err := os.ReadFile(filepath.Join(dir, CredentialsFile))
	check(t, err)
	write(t, filepath.Join(dir, EndpointFile), "http://127.0.0.1:1\n") // of a process that was killed
	s, err := Open(t.Context(), Config{Data: dir, AccountID: firstAccount})
	check(t, err)
	defer s.Close()
	working(t, s)
	after, err := os.ReadFile(filepath.Join(dir, CredentialsFile))
	check(t, err)
	if string(before) != string(after) {
		t.Error("the credentials were written again")
	}
	if _, err := os.Stat(filepath.Join(dir, EndpointFile)); err == nil {
		t.Error("the address of a dead process is still there")
	}
}

func TestRandomAccountIsTwelveDigits(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Data: t.TempDir()})
	check(t, err)
	defer s.Close()
	if id := s.FirstAccount(); len(id) != 12 || id[0] == '0' {
		t.Errorf("account %q", id)
	}
	working(t, s)
}
