package standalone

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/recovery"
)

// saved is a vault with two recovery points, a forgotten one and a recovery key.
type saved struct {
	dir, src string
	id       *age.X25519Identity
	a, b     string
	gone     string
}

func save(t *testing.T) saved {
	t.Helper()
	ctx := t.Context()
	s := saved{dir: filepath.Join(t.TempDir(), "vault"), src: sample(t), id: must(age.GenerateX25519Identity())}
	_, err := Init(ctx, InitConfig{Dir: s.dir, Passphrase: phrase, Recipient: s.id.Recipient().String(), Clock: clock.System{}, Work: 8})
	check(t, err)
	v := open(t, s.dir, phrase, true)
	s.gone = must(v.Backup(ctx, BackupOptions{Paths: []string{s.src}})).ID
	s.a = must(v.Backup(ctx, BackupOptions{Paths: []string{s.src}})).ID
	s.b = must(v.Backup(ctx, BackupOptions{Paths: []string{s.src}})).ID
	check(t, v.Forget(ctx, s.gone))
	check(t, v.Close())
	return s
}

func (s saved) config(t *testing.T) Config {
	t.Helper()
	return Config{Dir: s.dir, Secret: must(recovery.Identities([]byte(s.id.String()))), Clock: clock.System{}, Rescue: true}
}

// state is every file of a directory, with modes and times.
func state(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum := [32]byte{}
		if info.Mode().IsRegular() {
			sum = sha256.Sum256(must(os.ReadFile(path)))
		}
		out[path] = info.Mode().String() + info.ModTime().String() + string(sum[:])
		return nil
	}))
	return out
}

func TestRescueDoesWithoutWhatIsLost(t *testing.T) {
	t.Parallel()
	whole := save(t)
	for name, c := range map[string]struct {
		harm   func(t *testing.T, dir string)
		caveat string
		points int
		kit    bool
	}{
		"nothing":   {func(*testing.T, string) {}, "", 2, false},
		"no index":  {func(t *testing.T, dir string) { check(t, os.RemoveAll(filepath.Join(dir, "index"))) }, "index was made anew", 2, false},
		"no lock":   {func(t *testing.T, dir string) { check(t, os.Remove(filepath.Join(dir, ".lock"))) }, "", 2, false},
		"bad index": {func(t *testing.T, dir string) { spoilAll(t, filepath.Join(dir, "index")) }, "index was made anew", 2, false},
		"bad journal": {func(t *testing.T, dir string) { spoilAll(t, filepath.Join(dir, "journal")) },
			"the journal is damaged", 3, false},
		"no journal": {func(t *testing.T, dir string) { check(t, os.RemoveAll(filepath.Join(dir, "journal"))) },
			"the journal is missing", 3, false},
		"gap in the journal": {func(t *testing.T, dir string) {
			names := must(filepath.Glob(filepath.Join(dir, "journal", "*")))
			check(t, os.Remove(names[len(names)-2]))
		}, "the journal is damaged", 3, false},
		"neither index nor journal": {func(t *testing.T, dir string) {
			check(t, os.RemoveAll(filepath.Join(dir, "index")))
			spoilAll(t, filepath.Join(dir, "journal"))
		}, "the journal is damaged", 3, false},
		"no keys":  {func(t *testing.T, dir string) { check(t, os.RemoveAll(filepath.Join(dir, "keys"))) }, "", 2, true},
		"bad keys": {func(t *testing.T, dir string) { spoilAll(t, filepath.Join(dir, "keys")) }, "", 2, true},
		"one bad key": {func(t *testing.T, dir string) { // the passphrase's; the recipient's is whole
			spoil(t, filepath.Join(dir, "keys", "000000"))
		}, "", 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s := t.Context(), whole
			s.dir = filepath.Join(t.TempDir(), "copy")
			check(t, os.CopyFS(s.dir, os.DirFS(whole.dir)))
			open := s.config(t)
			if c.kit {
				_, kits, err := Kits(ctx, s.dir)
				check(t, err)
				file := filepath.Join(t.TempDir(), "kit")
				text := ""
				for _, k := range kits {
					text += must(k.Text())
				}
				check(t, os.WriteFile(file, []byte(text), 0o600))
				open.Kits = must(KitFile(file))
			}
			c.harm(t, s.dir)
			if c.kit {
				bare := open
				bare.Kits = nil
				if _, err := Open(ctx, bare); err == nil {
					t.Error("it opened without its keys")
				}
			}
			before := state(t, s.dir)
			v, err := Open(ctx, open)
			check(t, err)
			defer v.Close()
			caveats := strings.Join(v.Caveats(), "\n")
			if (c.caveat == "") != (caveats == "") || !strings.Contains(caveats, c.caveat) {
				t.Errorf("caveats %q, want %q", caveats, c.caveat)
			}
			l := must(v.List(ctx))
			if len(l.Points) != c.points || len(l.Damaged) != 0 || !slices.Equal(l.Caveats, v.Caveats()) {
				t.Errorf("%d recovery points, %+v", len(l.Points), l.Damaged)
			}
			if r := must(v.Verify(ctx, VerifyOptions{ReadData: true})); r.FindingCount != 0 {
				t.Errorf("%+v", r.Findings)
			}
			for _, id := range []string{s.a, s.b} {
				to := filepath.Join(t.TempDir(), "out")
				_, err := v.Restore(ctx, RestoreOptions{ID: id, To: to})
				check(t, err)
				same(t, s.src, filepath.Join(to, "home"))
			}
			scratch := v.scratch
			check(t, v.Close())
			if scratch != "" {
				if _, err := os.Stat(scratch); !os.IsNotExist(err) {
					t.Errorf("%s is left behind", scratch)
				}
			}
			after := state(t, s.dir)
			for path, was := range before {
				if after[path] != was {
					t.Errorf("%s was changed", path)
				}
			}
			if len(after) != len(before) {
				t.Errorf("%d files became %d", len(before), len(after))
			}
		})
	}
}

func spoilAll(t *testing.T, dir string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			spoil(t, path)
		}
		return err
	}))
}

// Without Rescue the same damage is an error: nobody should go on working with such a vault.
func TestOrdinaryUseRefusesADamagedVault(t *testing.T) {
	t.Parallel()
	s := save(t)
	spoilAll(t, filepath.Join(s.dir, "journal"))
	_, err := Open(t.Context(), Config{Dir: s.dir, Secret: must(recovery.Phrase(phrase)), Clock: clock.System{}})
	wantKind(t, err, fault.Corrupt, "journal")
}

func TestRescueWorksOnAReadOnlyMedium(t *testing.T) {
	t.Parallel()
	s := save(t)
	at := filepath.Join(t.TempDir(), "medium")
	check(t, os.Mkdir(at, 0o755))
	if err := unix.Mount(s.dir, at, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("no mount is possible here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
	check(t, unix.Mount("", at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if err := os.WriteFile(filepath.Join(at, "x"), nil, 0o600); err == nil || !strings.Contains(err.Error(), syscall.EROFS.Error()) {
		t.Fatalf("the medium can be written: %v", err)
	}
	s.dir = at
	for _, reindex := range []bool{false, true} {
		c := s.config(t)
		c.Reindex = reindex
		v, err := Open(t.Context(), c)
		check(t, err)
		if l := must(v.List(t.Context())); len(l.Points) != 2 {
			t.Errorf("%+v", l)
		}
		if r := must(v.Verify(t.Context(), VerifyOptions{ReadData: true})); r.FindingCount != 0 {
			t.Errorf("%+v", r.Findings)
		}
		to := filepath.Join(t.TempDir(), "out")
		_, err = v.Restore(t.Context(), RestoreOptions{ID: s.b, To: to})
		check(t, err)
		same(t, s.src, filepath.Join(to, "home"))
		check(t, v.Close())
	}
	r, err := TestKit(t.Context(), s.config(t))
	check(t, err)
	if r.Unrecorded == "" || r.Bytes == 0 {
		t.Errorf("%+v", r)
	}
}

// A pack without a readable directory is named, and what does not need it is restored all the same.
func TestReindexNamesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	s := save(t)
	v := open(t, s.dir, phrase, true)
	other := filepath.Join(t.TempDir(), "other")
	write(t, filepath.Join(other, "f"), strings.Repeat("something else\n", 1000))
	before := must(filepath.Glob(filepath.Join(s.dir, "packs", "*", "*")))
	must(v.Backup(t.Context(), BackupOptions{Paths: []string{other}}))
	check(t, v.Close())
	for _, p := range must(filepath.Glob(filepath.Join(s.dir, "packs", "*", "*"))) {
		if !slices.Contains(before, p) {
			spoil(t, p)
		}
	}
	check(t, os.RemoveAll(filepath.Join(s.dir, "index")))
	v, err := Open(t.Context(), s.config(t))
	check(t, err)
	defer v.Close()
	if got := strings.Join(v.Caveats(), "\n"); !strings.Contains(got, "not in the index: packs/") {
		t.Errorf("%q", got)
	}
	to := filepath.Join(t.TempDir(), "out")
	_, err = v.Restore(t.Context(), RestoreOptions{ID: s.a, To: to})
	check(t, err)
	same(t, s.src, filepath.Join(to, "home"))
}

func TestKitIsTestedByARestoreAndTheVaultRemembers(t *testing.T) {
	t.Parallel()
	ctx, dir, id := t.Context(), filepath.Join(t.TempDir(), "vault"), must(age.GenerateX25519Identity())
	made, err := Init(ctx, InitConfig{Dir: dir, Passphrase: phrase, Recipient: id.Recipient().String(), Clock: clock.System{}, Work: 8})
	check(t, err)
	if len(made.Kits) != 2 || made.Kits[0].TestedAt.IsZero() || !made.Kits[1].TestedAt.IsZero() {
		t.Errorf("%+v", made.Kits)
	}
	tested := func() (out []bool) {
		v := open(t, dir, phrase, false)
		defer v.Close()
		l := must(v.List(ctx))
		if len(l.Points) != 0 || len(l.Damaged) != 0 {
			t.Errorf("a test left something: %+v", l)
		}
		for _, k := range l.Kits {
			out = append(out, !k.TestedAt.IsZero())
		}
		return out
	}
	if got := tested(); !slices.Equal(got, []bool{true, false}) {
		t.Errorf("%v", got)
	}
	// With another's key nothing is recorded.
	_, err = TestKit(ctx, Config{Dir: dir, Secret: must(recovery.Identities([]byte(must(age.GenerateX25519Identity()).String()))), Clock: clock.System{}})
	wantKind(t, err, fault.Denied, "does not open")
	if got := tested(); !slices.Equal(got, []bool{true, false}) {
		t.Errorf("%v", got)
	}
	// With the kit's text and the identity.
	_, kits, err := Kits(ctx, dir)
	check(t, err)
	r, err := TestKit(ctx, Config{Dir: dir, Secret: must(recovery.Identities([]byte(id.String()))), Kits: kits, Clock: clock.System{}})
	check(t, err)
	if r.Unrecorded != "" || r.Kit.Key != id.Recipient().String() || r.Bytes == 0 {
		t.Errorf("%+v", r)
	}
	if got := tested(); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("%v", got)
	}
	// A kit of another vault is none.
	_, err = TestKit(ctx, Config{Dir: newVault(t, phrase), Secret: must(recovery.Phrase(phrase)), Kits: kits, Clock: clock.System{}})
	wantKind(t, err, fault.Denied, "the recovery kit is of vault")
}
