package repo_test

import (
	"fmt"
	"sync"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/repo/repotest"
)

// Of a lock and a deletion that come at the same time, one finds that the other was first; of two extensions the longer one
// stays.
func TestLocksAndDeletionsDoNotPassEachOther(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	soon, late := start.AddDate(1, 0, 0), start.AddDate(2, 0, 0)
	both := func(a, b func() error) (errA, errB error) {
		var wg sync.WaitGroup
		wg.Go(func() { errA = a() })
		wg.Go(func() { errB = b() })
		wg.Wait()
		return errA, errB
	}
	for i := range 100 {
		id := fmt.Sprintf("p%d", i)
		backup(t, r, repotest.New(), id, "")
		locked, gone := both(
			func() error { return r.SetRetention(t.Context(), id, late, true) },
			func() error { return r.Forget(t.Context(), id, start) })
		if (locked == nil) == (gone == nil) {
			t.Fatalf("locked: %v, forgotten: %v", locked, gone)
		}
		if gone == nil {
			wantKind(t, locked, fault.NotFound)
		} else {
			wantKind(t, gone, fault.State)
		}
		id += "-two"
		backup(t, r, repotest.New(), id, "")
		must(t, r.SetRetention(t.Context(), id, start, true))
		long, _ := both(
			func() error { return r.SetRetention(t.Context(), id, late, true) },
			func() error { return r.SetRetention(t.Context(), id, soon, true) })
		must(t, long)
		if c := point(t, r, id).Commit(); !c.RetainUntil.Equal(late) {
			t.Fatalf("kept until %v only", c.RetainUntil)
		}
	}
}
