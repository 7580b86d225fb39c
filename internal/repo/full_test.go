package repo_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob/crashfs"
	"strongroom/internal/blob/disk"
	"strongroom/internal/durable"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

// sized is a tree of n bytes that nothing else has.
func sized(n, size int) *repotest.Tree {
	t := repotest.New()
	t.Add(repotest.File{Entry: tree.Entry{Path: "f", Type: tree.File, Mtime: int64(n) + 1, Ctime: 1}, Data: repotest.Noise(rand.New(rand.NewPCG(uint64(n), 9)), size)})
	return t
}

// fillUp backs up until the disk is full, to the last block, and returns what was acknowledged.
func fillUp(t *testing.T, r *repo.Repository, s *disk.Store, o *oracle) {
	t.Helper()
	for size := 300_000; size > 0; size /= 3 {
		for n := size; ; n++ {
			tr := sized(n, size)
			id := o.begin(tr)
			_, err := r.Backup(t.Context(), tr, repo.BackupOptions{ID: id})
			if err == nil {
				o.change(id, func(f *fate) { f.acked = true })
				continue
			}
			if !fault.Is(err, fault.Limit) || !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("a full disk is reported as %v", err)
			}
			break
		}
	}
	for size := 64 << 10; size >= 4096; size /= 2 {
		for i := 0; s.Put(t.Context(), "fill/"+string(rune('a'+i%26))+string(rune('a'+i/26))+string(rune('a'+size>>13)), make([]byte, size)) == nil; i++ {
		}
	}
}

// fullDisk goes through what must work on a full disk.
func fullDisk(t *testing.T, fsys durable.FS, dir string) {
	ctx := t.Context()
	s, err := disk.OpenOn(fsys, dir)
	must(t, err)
	r := create(t, s, vaultA)
	o := newOracle()
	o.keys = 1
	fillUp(t, r, s, o)
	live := o.live()
	if len(live) < 5 {
		t.Fatalf("only %d recovery points fit", len(live))
	}
	must(t, o.present(ctx, r, s))
	must(t, r.Close())
	s, err = disk.OpenOn(fsys, dir)
	must(t, err)
	r = open(t, s, vaultA)
	defer func() { must(t, r.Close()) }()
	must(t, o.present(ctx, r, s))
	// What is needed least goes, and then there is room again.
	for _, id := range live[:len(live)/2] {
		o.change(id, func(f *fate) { f.forgetting = true })
		must(t, r.Forget(ctx, id, start))
		o.change(id, func(f *fate) { f.forgotten = true })
	}
	report, err := r.Prune(ctx, repo.PruneOptions{MaxFraction: -1})
	must(t, err)
	if report.FreedBytes < 300_000 {
		t.Fatalf("prune freed %+v", report)
	}
	must(t, o.present(ctx, r, s))
	tr := sized(7, 100_000)
	id := o.begin(tr)
	_, err = r.Backup(ctx, tr, repo.BackupOptions{ID: id})
	must(t, err)
	o.change(id, func(f *fate) { f.acked = true })
	must(t, o.present(ctx, r, s))
	if _, err := fsys.Lstat(dir + "/.reserve"); err != nil {
		t.Errorf("there is no reserve for the next time: %v", err)
	}
	check, err := r.Check(ctx)
	must(t, err)
	if !check.OK() {
		t.Errorf("%+v", check.Findings)
	}
}

func TestAFullDiskRestoresForgetsAndPrunes(t *testing.T) {
	t.Parallel()
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		fsys := crashfs.New("/vault")
		fsys.Limit(4 << 20)
		fullDisk(t, fsys, "/vault")
	})
	t.Run("mounted", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
			t.Skipf("nothing can be mounted here: %v", err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		fullDisk(t, durable.System{}, dir+"/vault")
	})
}
