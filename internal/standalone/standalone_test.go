package standalone

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/recovery"
)

const phrase = "correct horse battery staple"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, k fault.Kind, say string) {
	t.Helper()
	if !fault.Is(err, k) || !strings.Contains(err.Error(), say) {
		t.Fatalf("%v, want %v with %q", err, k, say)
	}
}

func newVault(t *testing.T, passphrase string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vault")
	_, err := Init(t.Context(), InitConfig{Dir: dir, Passphrase: passphrase, Clock: clock.System{}, Work: 8})
	check(t, err)
	return dir
}

func open(t *testing.T, dir, passphrase string, write bool) *Vault {
	t.Helper()
	v, err := Open(t.Context(), Config{Dir: dir, Secret: must(recovery.Phrase(passphrase)), Clock: clock.System{}, Write: write})
	check(t, err)
	t.Cleanup(func() { v.Close() })
	return v
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(text), 0o644))
}

// sample makes a tree with everything that an ordinary user can make.
func sample(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	write(t, filepath.Join(dir, "notes", "a.txt"), "forty-two\n")
	write(t, filepath.Join(dir, "notes", "deep", "b.conf"), "key = value\n")
	write(t, filepath.Join(dir, "etc", "c.conf"), "")
	write(t, filepath.Join(dir, "name\xff\n"), "a name that is no text")
	big := bytes.Repeat([]byte("all work and no play makes jack a dull boy "), 100_000)
	check(t, os.WriteFile(filepath.Join(dir, "big"), big, 0o600))
	check(t, os.Link(filepath.Join(dir, "notes", "a.txt"), filepath.Join(dir, "z-link")))
	check(t, os.Symlink("../nowhere", filepath.Join(dir, "notes", "sym")))
	check(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o640))
	check(t, os.WriteFile(filepath.Join(dir, "sparse"), []byte("head"), 0o600))
	check(t, os.Truncate(filepath.Join(dir, "sparse"), 10<<20))
	check(t, os.Chtimes(filepath.Join(dir, "notes"), time.Unix(1e9, 123456789), time.Unix(1e9, 123456789)))
	return dir
}

// listing describes every object below dir: type, mode, size, times, links and content.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	inodes := map[uint64]string{}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel := must(filepath.Rel(dir, path))
		text := must(d.Info()).Mode().String() + " " + time.Unix(st.Mtim.Unix()).Format(time.RFC3339Nano)
		switch {
		case d.Type().IsRegular():
			text += " " + string(must(os.ReadFile(path)))
			if st.Nlink > 1 {
				if inodes[st.Ino] == "" {
					inodes[st.Ino] = rel
				}
				text += " = " + inodes[st.Ino]
			}
		case d.Type()&fs.ModeSymlink != 0:
			text += " " + must(os.Readlink(path))
		}
		out[rel] = text
		return nil
	}))
	return out
}

func same(t *testing.T, a, b string) {
	t.Helper()
	x, y := listing(t, a), listing(t, b)
	for k := range x {
		if x[k] != y[k] {
			t.Errorf("%q: %.200q, then %.200q", k, x[k], y[k])
		}
	}
	if len(x) != len(y) {
		t.Errorf("%d objects, then %d", len(x), len(y))
	}
}

func TestWhatWasBackedUpComesBackBitForBit(t *testing.T) {
	t.Parallel()
	ctx, src, dir := t.Context(), sample(t), newVault(t, phrase)
	other := filepath.Join(t.TempDir(), "etc")
	write(t, filepath.Join(other, "hosts"), "127.0.0.1 localhost\n")
	v := open(t, dir, phrase, true)
	one, err := v.Backup(ctx, BackupOptions{Paths: []string{src, other}, Host: "here"})
	check(t, err)
	if one.ProblemCount != 0 || one.Base != "" || one.Files != 7 || !slices.Equal(one.Paths, []string{other, src}) && !slices.Equal(one.Paths, []string{src, other}) {
		t.Errorf("first: %+v", one)
	}
	write(t, filepath.Join(src, "notes", "new"), "new\n")
	two, err := v.Backup(ctx, BackupOptions{Paths: []string{other, src, src}, Host: "here"})
	check(t, err)
	if two.Base != one.ID || two.UnchangedFiles != 7 || two.ReadBytes != 4 {
		t.Errorf("second: %+v", two)
	}
	three, err := v.Backup(ctx, BackupOptions{Paths: []string{other, src}, Host: "elsewhere"})
	check(t, err)
	if three.Base != "" || three.UnchangedFiles != 0 || three.NewBytes != 0 {
		t.Errorf("of another host: %+v", three)
	}
	v.Close()

	r := open(t, dir, phrase, false)
	l, err := r.List(ctx)
	check(t, err)
	if len(l.Points) != 3 || l.Points[0].ID != one.ID || len(l.Damaged) != 0 || !l.Passphrase {
		t.Errorf("listing: %+v", l)
	}
	to := filepath.Join(t.TempDir(), "out")
	res, err := r.Restore(ctx, RestoreOptions{ID: two.ID, To: to})
	check(t, err)
	if !res.Whole() || res.To != to {
		t.Errorf("restored: %+v", res)
	}
	same(t, src, filepath.Join(to, "home"))
	same(t, other, filepath.Join(to, "etc"))
	if es := must(os.ReadDir(filepath.Dir(to))); len(es) != 1 {
		t.Errorf("beside the restored directory: %v", es)
	}
}

func TestReadingLeavesTheVaultUntouched(t *testing.T) {
	t.Parallel()
	ctx, src, dir := t.Context(), sample(t), newVault(t, phrase)
	v := open(t, dir, phrase, true)
	a, err := v.Backup(ctx, BackupOptions{Paths: []string{src}})
	check(t, err)
	v.Close()
	before := listing(t, dir)
	check(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	r := open(t, dir, phrase, false)
	again := open(t, dir, phrase, false) // readers do not shut each other out
	_, err = again.List(ctx)
	check(t, err)
	_, err = r.Restore(ctx, RestoreOptions{ID: a.ID, To: filepath.Join(t.TempDir(), "x")})
	check(t, err)
	_, err = r.Verify(ctx, VerifyOptions{ReadData: true})
	check(t, err)
	_, err = r.Verify(ctx, VerifyOptions{})
	check(t, err)
	_, err = r.Prune(ctx, PruneOptions{DryRun: true})
	check(t, err)
	check(t, r.Diff(ctx, a.ID, a.ID, func(c Change) error { return errors.New(c.Path) }))
	wantKind(t, r.Forget(ctx, a.ID), fault.State, "for reading only")
	_, err = r.Backup(ctx, BackupOptions{Paths: []string{src}})
	wantKind(t, err, fault.State, "for reading only")
	check(t, os.Chmod(dir, 0o700))
	if after := listing(t, dir); !reflect.DeepEqual(before, after) {
		t.Error("the vault's directory has changed")
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), newVault(t, phrase)
	get := func(dir string, s recovery.Secret, write bool) error {
		v, err := Open(ctx, Config{Dir: dir, Secret: s, Clock: clock.System{}, Write: write})
		if err == nil {
			v.Close()
		}
		return err
	}
	wantKind(t, get(dir, must(recovery.Phrase("wrong")), false), fault.Denied, "the passphrase does not open")
	id := must(age.GenerateX25519Identity())
	wantKind(t, get(dir, must(recovery.Identities([]byte(id.String()))), false), fault.NotFound, "has no recovery key")
	empty := t.TempDir()
	wantKind(t, get(empty, must(recovery.Phrase(phrase)), true), fault.NotFound, "is not a vault")
	if es := must(os.ReadDir(empty)); len(es) != 0 {
		t.Errorf("a wrong directory was touched: %v", es)
	}
	v := open(t, dir, phrase, true)
	wantKind(t, get(dir, must(recovery.Phrase(phrase)), false), fault.Unavailable, "by another process")
	v.Close()
	_, err := Init(ctx, InitConfig{Dir: dir, Passphrase: phrase, Clock: clock.System{}, Work: 8})
	wantKind(t, err, fault.Exists, "is not empty")
	_, err = Init(ctx, InitConfig{Dir: filepath.Join(t.TempDir(), "v"), Clock: clock.System{}, Work: 8})
	wantKind(t, err, fault.Invalid, "the passphrase is empty")
}

func TestBackupRefusesWhatItCannotName(t *testing.T) {
	t.Parallel()
	ctx, dir, tmp := t.Context(), newVault(t, phrase), t.TempDir()
	v := open(t, dir, phrase, true)
	write(t, filepath.Join(tmp, "a", "same", "x"), "")
	write(t, filepath.Join(tmp, "b", "same", "x"), "")
	for _, c := range []struct {
		paths []string
		kind  fault.Kind
		say   string
	}{
		{nil, fault.Missing, "nothing to back up"},
		{[]string{filepath.Join(tmp, "absent")}, fault.NotFound, "does not exist"},
		{[]string{filepath.Join(tmp, "a", "same", "x")}, fault.Invalid, "is not a directory"},
		{[]string{filepath.Join(tmp, "a", "same"), filepath.Join(tmp, "b", "same")}, fault.Invalid, "the same name"},
		{[]string{filepath.Dir(dir)}, fault.Invalid, "overlap"},
		{[]string{filepath.Join(dir, "keys")}, fault.Invalid, "overlap"},
	} {
		_, err := v.Backup(ctx, BackupOptions{Paths: c.paths})
		wantKind(t, err, c.kind, c.say)
	}
	if l := must(v.List(ctx)); len(l.Points) != 0 {
		t.Errorf("%+v", l.Points)
	}
}

func TestRestoreNeverWritesOverAnything(t *testing.T) {
	t.Parallel()
	ctx, dir, tmp := t.Context(), newVault(t, phrase), t.TempDir()
	src := sample(t)
	v := open(t, dir, phrase, true)
	a := must(v.Backup(ctx, BackupOptions{Paths: []string{src}}))
	write(t, filepath.Join(tmp, "full", "x"), "mine")
	write(t, filepath.Join(tmp, "file"), "mine")
	check(t, os.Symlink(tmp, filepath.Join(tmp, "link")))
	before := listing(t, tmp)
	for to, c := range map[string]struct {
		kind fault.Kind
		say  string
	}{
		"":                                   {fault.Missing, "where to restore"},
		filepath.Join(tmp, "full"):           {fault.Exists, "never writes over"},
		filepath.Join(tmp, "file"):           {fault.Exists, "never writes over"},
		filepath.Join(tmp, "link"):           {fault.Exists, "never writes over"},
		filepath.Join(tmp, "absent", "deep"): {fault.NotFound, "does not exist"},
		filepath.Join(dir, "new"):            {fault.Invalid, "inside the vault"},
	} {
		_, err := v.Restore(ctx, RestoreOptions{ID: a.ID, To: to})
		wantKind(t, err, c.kind, c.say)
	}
	_, err := v.Restore(ctx, RestoreOptions{ID: "absent", To: filepath.Join(tmp, "new")})
	wantKind(t, err, fault.NotFound, "there is no recovery point absent")
	if !reflect.DeepEqual(before, listing(t, tmp)) {
		t.Error("a refused restore has left something")
	}
	check(t, os.Mkdir(filepath.Join(tmp, "empty"), 0o755))
	_, err = v.Restore(ctx, RestoreOptions{ID: a.ID, To: filepath.Join(tmp, "empty")})
	check(t, err)
	same(t, src, filepath.Join(tmp, "empty", "home"))
}

func TestIncludeRestoresWhatMatchesAndNothingElse(t *testing.T) {
	t.Parallel()
	ctx, dir, src := t.Context(), newVault(t, phrase), sample(t)
	v := open(t, dir, phrase, true)
	a := must(v.Backup(ctx, BackupOptions{Paths: []string{src}}))
	for _, c := range []struct {
		include []string
		want    []string
	}{
		{[]string{"*.conf"}, []string{"home/etc/c.conf", "home/notes/deep/b.conf"}},
		{[]string{"home/notes/deep", "home/etc/"}, []string{"home/etc/c.conf", "home/notes/deep/b.conf"}},
		{[]string{"/home/**/c.*", "fifo"}, []string{"home/etc/c.conf", "home/fifo"}},
		{[]string{"z-link"}, []string{"home/z-link"}},
	} {
		to := filepath.Join(t.TempDir(), "out")
		_, err := v.Restore(ctx, RestoreOptions{ID: a.ID, To: to, Include: c.include})
		check(t, err)
		var got []string
		for name, text := range listing(t, to) {
			if !strings.HasPrefix(text, "d") {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q restored %q, want %q", c.include, got, c.want)
		}
	}
	_, err := v.Restore(ctx, RestoreOptions{ID: a.ID, To: filepath.Join(t.TempDir(), "x"), Include: []string{"*.conf", "*.absent"}})
	wantKind(t, err, fault.NotFound, `"*.absent"`)
}

func TestCopyIsUnderTheOtherVaultsPassphraseAlone(t *testing.T) {
	t.Parallel()
	ctx, src := t.Context(), sample(t)
	from, to := newVault(t, phrase), newVault(t, "another one")
	v := open(t, from, phrase, true)
	a := must(v.Backup(ctx, BackupOptions{Paths: []string{src}, Host: "here"}))
	w := open(t, to, "another one", true)
	c, err := Copy(ctx, v, w, a.ID, nil)
	check(t, err)
	if c.ID != a.ID || !c.Created.Equal(a.Created) || c.Host != "here" || c.Vault == v.ID() || c.NewBytes == 0 {
		t.Errorf("copied: %+v", c)
	}
	if _, err := Copy(ctx, v, w, a.ID, nil); err != nil {
		t.Errorf("copied again: %v", err)
	}
	w.Close()
	if _, err := Open(ctx, Config{Dir: to, Secret: must(recovery.Phrase(phrase)), Clock: clock.System{}}); !fault.Is(err, fault.Denied) {
		t.Errorf("the source's passphrase: %v", err)
	}
	check(t, v.Forget(ctx, a.ID))
	check(t, os.RemoveAll(from))
	w = open(t, to, "another one", false)
	out := filepath.Join(t.TempDir(), "out")
	_, err = w.Restore(ctx, RestoreOptions{ID: a.ID, To: out})
	check(t, err)
	same(t, src, filepath.Join(out, "home"))
}

func TestForgetAndPruneFreeWhatNobodyNeeds(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), newVault(t, phrase)
	src := filepath.Join(t.TempDir(), "src")
	random := make([]byte, 4<<20)
	must(must(os.Open("/dev/urandom")).Read(random))
	write(t, filepath.Join(src, "gone"), string(random))
	v := open(t, dir, phrase, true)
	a := must(v.Backup(ctx, BackupOptions{Paths: []string{src}}))
	check(t, os.Remove(filepath.Join(src, "gone")))
	write(t, filepath.Join(src, "stays"), "stays")
	b := must(v.Backup(ctx, BackupOptions{Paths: []string{src}}))
	if p := must(v.Prune(ctx, PruneOptions{})); p.FreedBytes != 0 {
		t.Errorf("pruned what is needed: %+v", p)
	}
	check(t, v.Forget(ctx, a.ID))
	wantKind(t, v.Forget(ctx, a.ID), fault.NotFound, a.ID)
	if p := must(v.Prune(ctx, PruneOptions{DryRun: true})); !p.DryRun || p.FreedBytes < 4<<20 {
		t.Errorf("would free: %+v", p)
	}
	if p := must(v.Prune(ctx, PruneOptions{})); p.FreedBytes < 4<<20 || p.DeletedPacks == 0 {
		t.Errorf("freed: %+v", p)
	}
	if n := must(v.stored(ctx)); n > 1<<20 {
		t.Errorf("%d bytes are still there", n)
	}
	out := filepath.Join(t.TempDir(), "out")
	_, err := v.Restore(ctx, RestoreOptions{ID: b.ID, To: out})
	check(t, err)
	same(t, src, filepath.Join(out, "src"))
}

func TestJSONNamesStay(t *testing.T) {
	t.Parallel()
	keys := func(v any) string {
		var m map[string]any
		check(t, json.Unmarshal(must(json.Marshal(v)), &m))
		var out []string
		for k := range m {
			out = append(out, k)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	for want, v := range map[string]any{
		"created directory recovery_kits vault": Created{},
		"bytes created entries files id locked new_bytes problem_count problems read_bytes stored_bytes unchanged_files":                                                BackedUp{},
		"created damaged directory name passphrase recovery_kits recovery_points recovery_recipients vault":                                                             Listing{},
		"bytes path recovery_kit recovery_point vault":                                                                                                                  KitTest{},
		"bytes damaged_count directory entries incomplete incomplete_count recovery_point refused refused_count":                                                        Restored{},
		"bytes coverage finding_count findings read_data recovery_points vault":                                                                                         Verified{},
		"bytes created entries files id locked new_bytes problem_count stored_bytes vault":                                                                              Copied{},
		"deleted_packs dry_run freed_bytes packs plan repacked_bytes repacked_packs stored_bytes trashed_bytes trashed_packs unaccounted_bytes unaccounted_limit vault": Pruned{},
		"change path size_after size_before type":                                                                                                                       Change{},
		"created mtime path recovery_point size type":                                                                                                                   Found{},
	} {
		if got := keys(v); got != want {
			t.Errorf("%T: %s", v, got)
		}
	}
}

func TestSecretFilesHoldOneSecret(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		f := filepath.Join(t.TempDir(), "secret")
		check(t, os.WriteFile(f, []byte(text), 0o600))
		return f
	}
	for text, want := range map[string]string{"a b\n": "a b", "a b": "a b", "a\r\n": "a", " a ": " a "} {
		if got, err := Passphrase(file(text)); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "a\nb\n", strings.Repeat("a", 1<<17)} {
		if _, err := Passphrase(file(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
	_, err := IdentityFile(file("AGE-SECRET-KEY-1NO"))
	wantKind(t, err, fault.Invalid, "not an age identity file")
	_, err = IdentityFile(filepath.Join(t.TempDir(), "absent"))
	wantKind(t, err, fault.Invalid, "no such file")
}
