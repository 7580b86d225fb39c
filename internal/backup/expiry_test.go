package backup

import (
	"testing"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

func TestExpiryNeedsBothClocks(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		r := f.point("main", func(r *RecoveryPoint) { r.Lifecycle.DeleteAfterDays = days(1) })
		keep := f.point("main", func(r *RecoveryPoint) { r.Lifecycle = schedule.Lifecycle{} })
		must(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{})) // expiry goes on in a locked vault
		start := f.clock.Now()
		for _, c := range []struct {
			name          string
			wall, trusted time.Duration
			n             int
		}{
			{"neither", 0, 0, 0},
			{"the wall clock alone, years ahead", 3650 * day, day - time.Second, 0},
			{"the trusted clock alone", day - time.Second, 3650 * day, 0},
			{"both", day, day, 1},
			{"once only", 2 * day, 2 * day, 0},
		} {
			f.clock.Set(start.Add(c.wall))
			n, err := f.ExpireDue(ctx, start.Add(c.trusted))
			must(t, err)
			if n != c.n {
				t.Errorf("%s: %d, want %d", c.name, n, c.n)
			}
		}
		w, err := f.DeletionWork(ctx, f.deletion(r.ARN))
		must(t, err)
		if !w.Expired {
			t.Fatalf("%+v", w)
		}
		got, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN)
		must(t, err)
		if got.Status != PointDeleting || got.StatusMessage != expiredMessage {
			t.Fatalf("%+v", got)
		}
		got, err = f.RecoveryPoint(ctx, testAccount, testRegion, "main", keep.ARN)
		must(t, err)
		if got.Status != PointCompleted {
			t.Fatalf("what is kept for ever became %s", got.Status)
		}
	})
}

func TestTransitionMovesWhatIsDueAndUsable(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		cold := func(r *RecoveryPoint) {
			r.Lifecycle = schedule.Lifecycle{MoveToColdAfterDays: days(1), DeleteAfterDays: days(100)}
		}
		due := f.point("main", cold)
		f.point("main", func(r *RecoveryPoint) { cold(r); r.Status = PointDeleting })
		f.clock.Advance(12 * time.Hour)
		f.point("main", cold)
		f.clock.Advance(12 * time.Hour)
		for i, want := range []int{1, 0} {
			n, err := f.TransitionDue(ctx)
			must(t, err)
			if n != want {
				t.Fatalf("run %d moved %d", i, n)
			}
		}
		got, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", due.ARN)
		must(t, err)
		if got.StorageClass != Cold {
			t.Fatalf("%+v", got)
		}
	})
}

func TestExpiryWorksThroughABacklogInBatches(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		for range expiryBatch + 3 {
			f.point("main", func(r *RecoveryPoint) { r.Lifecycle.DeleteAfterDays = days(1) })
		}
		f.clock.Advance(2 * day)
		for _, want := range []int{expiryBatch, 3, 0} {
			n, err := f.ExpireDue(t.Context(), f.clock.Now())
			must(t, err)
			if n != want {
				t.Fatalf("began %d, want %d", n, want)
			}
		}
		for range expiryBatch + 3 {
			l, ok, err := f.Jobs.Claim(t.Context(), DeleteKind)
			must(t, err)
			if !ok {
				t.Fatal("no deletion to claim")
			}
			must(t, f.FinishDeletion(t.Context(), l))
		}
		v, err := f.Vault(t.Context(), testAccount, testRegion, "main")
		must(t, err)
		if v.Points != 0 {
			t.Fatalf("the vault counts %d", v.Points)
		}
		_, err = f.ProtectedResource(t.Context(), testAccount, testRegion, testFS)
		want(t, err, fault.NotFound, "")
	})
}
