package standalone

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
)

// spoil changes a file throughout; packs may have padding.
func spoil(t *testing.T, file string) {
	t.Helper()
	data := must(os.ReadFile(file))
	for i := range len(data) {
		if i%16 == 8 {
			data[i] ^= 1
		}
	}
	check(t, os.Chmod(file, 0o600))
	check(t, os.WriteFile(file, data, 0o600))
}

func TestDamageIsNamedAndTheRestStaysUsable(t *testing.T) {
	t.Parallel()
	ctx, dir, src := t.Context(), newVault(t, phrase), sample(t)
	v := open(t, dir, phrase, true)
	a := must(v.Backup(ctx, BackupOptions{Paths: []string{src}, Host: "a"}))
	write(t, filepath.Join(src, "later"), "later")
	b := must(v.Backup(ctx, BackupOptions{Paths: []string{src}, Host: "b"}))
	if r := must(v.Verify(ctx, VerifyOptions{ReadData: true})); r.FindingCount != 0 || r.Points != 2 || r.Bytes == 0 {
		t.Errorf("sound: %+v", r)
	}
	v.Close()
	spoil(t, filepath.Join(dir, "rps", a.ID))
	v = open(t, dir, phrase, false)
	l := must(v.List(ctx))
	if len(l.Points) != 1 || l.Points[0].ID != b.ID || len(l.Damaged) != 1 || l.Damaged[0].Point != a.ID {
		t.Errorf("listing: %+v", l)
	}
	out := filepath.Join(t.TempDir(), "out")
	_, err := v.Restore(ctx, RestoreOptions{ID: b.ID, To: out})
	check(t, err)
	same(t, src, filepath.Join(out, "home"))
	if r := must(v.Verify(ctx, VerifyOptions{})); r.FindingCount != 1 || r.Findings[0].Point != a.ID {
		t.Errorf("structure: %+v", r)
	}
	if r := must(v.Verify(ctx, VerifyOptions{ID: b.ID})); r.FindingCount != 0 || r.Points != 1 {
		t.Errorf("the other one: %+v", r)
	}
	v.Close()
	w := open(t, dir, phrase, true)
	_, err = w.Prune(ctx, PruneOptions{})
	wantKind(t, err, fault.Corrupt, "nothing was freed")
	w.Close()

	packs := must(filepath.Glob(filepath.Join(dir, "packs", "*", "*")))
	for _, p := range packs {
		data := must(os.ReadFile(p))
		end := slices.Clone(data[len(data)/2:])
		spoil(t, p)
		f := must(os.OpenFile(p, os.O_WRONLY, 0))
		must(f.WriteAt(end, int64(len(data)/2))) // the directory at its end stays
		check(t, f.Close())
	}
	v = open(t, dir, phrase, false)
	r := must(v.Verify(ctx, VerifyOptions{ID: b.ID, ReadData: true}))
	if r.FindingCount == 0 || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return strings.HasPrefix(f.Object, "packs/") }) {
		t.Errorf("content: %+v", r)
	}
	to := filepath.Join(t.TempDir(), "damaged")
	part := must(v.Restore(ctx, RestoreOptions{ID: b.ID, To: to}))
	if part.Whole() || part.DamagedCount == 0 || part.DamagedCount != part.IncompleteCount {
		t.Errorf("restored: %+v", part)
	}
	for _, x := range part.Incomplete {
		if _, err := os.Lstat(filepath.Join(to, x.Path)); !os.IsNotExist(err) {
			t.Errorf("%s is damaged and looks like a copy: %v", x.Path, err)
		}
	}
	if _, err := os.Lstat(to); err != nil {
		t.Errorf("what is not damaged is not there: %v", err)
	}
}

func TestDiffNamesWhatHasChanged(t *testing.T) {
	t.Parallel()
	ctx, dir, src := t.Context(), newVault(t, phrase), sample(t)
	v := open(t, dir, phrase, true)
	a := must(v.Backup(ctx, BackupOptions{Paths: []string{src}}))
	check(t, os.RemoveAll(filepath.Join(src, "etc")))
	write(t, filepath.Join(src, "new"), "12345")
	check(t, os.Chmod(filepath.Join(src, "big"), 0o644))
	// Changed in place behind a restored time: size and mtime say nothing.
	hidden := filepath.Join(src, "notes", "deep", "b.conf")
	was := must(os.Stat(hidden)).ModTime()
	write(t, hidden, "key = VALUE\n")
	check(t, os.Chtimes(hidden, was, was))
	b := must(v.Backup(ctx, BackupOptions{Paths: []string{src}}))
	got := map[string]string{}
	check(t, v.Diff(ctx, a.ID, b.ID, func(c Change) error {
		got[c.Path] = c.Kind + " " + strings.Join(c.Fields, ",")
		return nil
	}))
	want := map[string]string{
		"home": "changed mtime", "home/etc": "removed ", "home/etc/c.conf": "removed ", "home/new": "added ",
		"home/big": "changed mode,ctime", "home/notes/deep/b.conf": "changed ctime",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	stop := errors.New("stop")
	if err := v.Diff(ctx, a.ID, b.ID, func(Change) error { return stop }); err != stop {
		t.Errorf("a callback's error became %v", err)
	}
}

func TestFindLooksIntoEveryRecoveryPoint(t *testing.T) {
	t.Parallel()
	ctx, dir, src := t.Context(), newVault(t, phrase), sample(t)
	v := open(t, dir, phrase, true)
	a := must(v.Backup(ctx, BackupOptions{Paths: []string{src}}))
	check(t, os.Remove(filepath.Join(src, "etc", "c.conf")))
	b := must(v.Backup(ctx, BackupOptions{Paths: []string{src}}))
	var got []string
	damaged, err := v.Find(ctx, "*.conf", func(f Found) error {
		got = append(got, f.Point+" "+f.Path)
		return nil
	})
	check(t, err)
	want := []string{a.ID + " home/etc/c.conf", a.ID + " home/notes/deep/b.conf", b.ID + " home/notes/deep/b.conf"}
	slices.Sort(want)
	slices.Sort(got)
	if len(damaged) != 0 || !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// A node's vault: its keys are wrapped for a recipient, its recovery points are locked and have ARNs.
func nodeVault(t *testing.T, dir string, recipient string) {
	t.Helper()
	k := recovery.Keys{Vault: "00000000-0000-4000-8000-000000000001", Root: make([]byte, 32), Maint: make([]byte, 32)}
	es := []repo.Envelope{{Kind: "kms", KeyID: "arn:aws:kms:x", Blob: []byte("x")}}
	if recipient != "" {
		es = append(es, must(recovery.ForRecipient(k, recipient)))
	}
	check(t, os.MkdirAll(dir, 0o700))
	r, err := repo.Create(context.Background(), repo.Config{Store: must(disk.Open(dir)), Vault: k.Vault, Root: k.Root, Maint: k.Maint, Clock: clock.System{}},
		repo.Descriptor{Name: "main", VaultARN: "arn:aws:backup:us-east-1:111111111111:backup-vault:main"}, es)
	check(t, err)
	check(t, r.Close())
}

func TestRecoveryKeyOpensANodesVaultAndItsAbsenceIsShown(t *testing.T) {
	t.Parallel()
	ctx, node := t.Context(), filepath.Join(t.TempDir(), "no[de")
	id := must(age.GenerateX25519Identity())
	with, without := filepath.Join(node, "regions", "us-east-1", "vaults", "with"), filepath.Join(node, "regions", "us-east-1", "vaults", "without")
	nodeVault(t, with, id.Recipient().String())
	nodeVault(t, without, "")
	for dir, want := range map[string][]string{node: {with, without}, filepath.Dir(with): {with, without}, filepath.Join(node, "regions", "us-east-1"): {with, without}, with: {with}} {
		if got, err := Find(dir); err != nil || !slices.Equal(got, want) {
			t.Errorf("below %s: %q, %v", dir, got, err)
		}
	}
	_, err := Find(filepath.Join(node, "absent"))
	wantKind(t, err, fault.NotFound, "does not exist")
	_, err = Find(t.TempDir())
	wantKind(t, err, fault.NotFound, "holds none")

	if a := must(Look(ctx, without)); len(a.Recipients) != 0 || a.Passphrase || a.Name != "main" {
		t.Errorf("without: %+v", a)
	}
	if a := must(Look(ctx, with)); !slices.Equal(a.Recipients, []string{id.Recipient().String()}) {
		t.Errorf("with: %+v", a)
	}
	secret := must(recovery.Identities([]byte(id.String())))
	v, err := Open(ctx, Config{Dir: with, Secret: secret, Clock: clock.System{}})
	check(t, err)
	defer v.Close()
	if l := must(v.List(ctx)); l.ARN == "" || len(l.Points) != 0 {
		t.Errorf("%+v", l)
	}
	_, err = Open(ctx, Config{Dir: without, Secret: secret, Clock: clock.System{}})
	wantKind(t, err, fault.NotFound, "has no recovery key")
}
