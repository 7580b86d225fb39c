package repo

import (
	"bytes"
	"context"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/repo/repotest"
)

// openVault creates a vault in a store, or opens the one that is there.
func openVault(t testing.TB, s *mem.Store, create bool) *Repository {
	t.Helper()
	c := Config{
		Store: s, Vault: "00000000-0000-4000-8000-00000000000c", Clock: clock.NewFake(time.Unix(1_800_000_000, 0)), Workers: 1,
		Root: bytes.Repeat([]byte{1}, 32), Maint: bytes.Repeat([]byte{2}, 32),
	}
	var r *Repository
	var err error
	if create {
		r, err = Create(context.Background(), c, Descriptor{}, nil)
	} else {
		r, err = Open(context.Background(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Nothing of this program puts a needed pack into the trash. If it is there all the same, it comes out and not away.
func TestANeededPackInTheTrashIsTakenOut(t *testing.T) {
	t.Parallel()
	s := mem.New()
	r := openVault(t, s, true)
	tr := repotest.Random(1, 50)
	if _, err := r.Backup(t.Context(), tr, BackupOptions{ID: "one"}); err != nil {
		t.Fatal(err)
	}
	var all []trashed
	for _, slot := range r.v.index.Packs() {
		i := r.v.index.Pack(slot)
		all = append(all, trashed{id: i.ID, class: i.Class})
	}
	if err := r.v.journal.throw(t.Context(), all, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = openVault(t, s, false)
	dry, err := r.Prune(t.Context(), PruneOptions{Grace: time.Hour, DryRun: true})
	if err != nil || dry.RescuedPacks != len(all) || dry.DeletedPacks != 0 {
		t.Fatalf("%+v, %v", dry, err)
	}
	p, err := r.Prune(t.Context(), PruneOptions{Grace: time.Hour})
	if err != nil || p.RescuedPacks != len(all) || p.DeletedPacks != 0 || p.TrashedPacks != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	target := repotest.NewTarget()
	point, err := r.Point(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := point.Restore(t.Context(), target, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if d := tr.Diff(target, nil); d != "" {
		t.Error(d)
	}
	if left, err := r.v.journal.inTrash(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}
