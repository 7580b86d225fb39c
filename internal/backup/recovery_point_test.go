package backup

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/schedule"
)

// deleted deletes a recovery point as a caller and the runner would.
func (f *fixture) deleted(r RecoveryPoint) {
	f.t.Helper()
	must(f.t, f.DeleteRecoveryPoint(context.Background(), r.Account, r.Region, r.Vault, r.ARN))
	must(f.t, f.FinishDeletion(context.Background(), f.deletion(r.ARN)))
}

// deletion claims the deletion job of a recovery point.
func (f *fixture) deletion(name string) job.Lease {
	f.t.Helper()
	l, ok, err := f.Jobs.Claim(context.Background(), DeleteKind)
	if err != nil || !ok || l.ID != name {
		f.t.Fatalf("claimed %+v %v %v, want the deletion of %s", l, ok, err, name)
	}
	return l
}

func TestRecoveryPointComesBackAsItWasPut(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		v := f.vault("main")
		born := f.clock.Now().Add(-48 * time.Hour)
		put := f.point("main", func(r *RecoveryPoint) {
			r.Receipt = []byte{0, 1, 255}
			r.SourceVaultARN, r.SourceARN, r.SourceAccount = VaultARN(testOther, testRegion, "src"), PointARN(testOther, testRegion, "s"), testOther
			r.ResourceName, r.RoleARN, r.SizeBytes = "files", "arn:aws:iam::111111111111:role/r", 1<<40
			r.CreatedBy = Creator{PlanID: "p", RuleID: "r"}
			r.Created, r.Initiated, r.Completed = born, born.Add(time.Second), born.Add(time.Minute)
			r.Lifecycle = schedule.Lifecycle{MoveToColdAfterDays: days(7), DeleteAfterDays: days(90)}
		})
		got, err := f.RecoveryPoint(t.Context(), testAccount, testRegion, "main", put.ARN)
		must(t, err)
		if fmt.Sprintf("%+v", deref(got)) != fmt.Sprintf("%+v", deref(put)) {
			t.Fatalf("got  %+v\nwant %+v", deref(got), deref(put))
		}
		if !got.DeleteAt.Equal(born.Add(90*day)) || !got.MoveToColdAt.Equal(born.Add(7*day)) || got.KeyARN != v.KeyARN || !got.ServiceKey || got.Repository != v.Repository {
			t.Fatalf("%+v", got)
		}
		now, err := f.Vault(t.Context(), testAccount, testRegion, "main")
		must(t, err)
		if now.Points != 1 {
			t.Fatalf("the vault counts %d", now.Points)
		}
		_, err = f.RecoveryPoint(t.Context(), testAccount, testRegion, "main", PointARN(testAccount, testRegion, "none"))
		want(t, err, fault.NotFound, "Point")
		f.vault("other")
		_, err = f.RecoveryPoint(t.Context(), testAccount, testRegion, "other", put.ARN)
		want(t, err, fault.NotFound, "Point")
		_, err = f.RecoveryPoint(t.Context(), testOther, testRegion, "main", put.ARN)
		want(t, err, fault.Denied, "Vault")

		err = f.DB.Update(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := insertRecoveryPoint(ctx, tx, put, nil)
			return err
		})
		want(t, err, fault.Exists, "")
		gone := put
		gone.Vault, gone.ARN = "none", PointARN(testAccount, testRegion, "other")
		err = f.DB.Update(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := insertRecoveryPoint(ctx, tx, gone, nil)
			return err
		})
		want(t, err, fault.NotFound, "")
		elsewhere := put
		elsewhere.Repository, elsewhere.ARN = "of a vault that had this name before", PointARN(testAccount, testRegion, "late")
		err = f.DB.Update(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := insertRecoveryPoint(ctx, tx, elsewhere, nil)
			return err
		})
		want(t, err, fault.NotFound, "")
	})
}

// deref makes lifecycles comparable by text.
func deref(r RecoveryPoint) any {
	text := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	l := text(r.Lifecycle.MoveToColdAfterDays) + "/" + text(r.Lifecycle.DeleteAfterDays)
	r.Lifecycle = schedule.Lifecycle{}
	return struct {
		RecoveryPoint
		life string
	}{r, l}
}

func TestColdMoveIsIgnoredForTypesWithoutColdStorage(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		r := f.point("main", func(r *RecoveryPoint) {
			r.ResourceType, r.Lifecycle = "S3", schedule.Lifecycle{MoveToColdAfterDays: days(1), DeleteAfterDays: days(90)}
		})
		f.clock.Advance(10 * day)
		n, err := f.TransitionDue(t.Context())
		must(t, err)
		if n != 0 || !r.MoveToColdAt.IsZero() {
			t.Fatalf("moved %d, %+v", n, r)
		}
	})
}

func TestUpdateLifecycleRules(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		life := func(move, del *int64) schedule.Lifecycle {
			return schedule.Lifecycle{MoveToColdAfterDays: move, DeleteAfterDays: del}
		}
		for _, c := range []struct {
			name string
			was  schedule.Lifecycle
			age  time.Duration
			make func(*RecoveryPoint)
			to   schedule.Lifecycle
			kind fault.Kind // Internal: accepted
			text string
		}{
			{name: "longer", was: life(nil, days(30)), to: life(nil, days(60))},
			{name: "shorter than its age expires it soon", was: life(nil, days(30)), age: 10 * day, to: life(nil, days(1))},
			{name: "missing members are erased", was: life(days(5), days(30)), to: schedule.Lifecycle{}},
			{name: "too short", to: life(nil, days(0)), kind: fault.Invalid, text: "Invalid lifecycle. DeleteAfterDays cannot be less than 1 or more than 36500 days"},
			{name: "too long", to: life(nil, days(36501)), kind: fault.Invalid, text: "Invalid lifecycle. DeleteAfterDays cannot be less than 1 or more than 36500 days"},
			{name: "cold date in the past", age: 10*day + time.Hour, to: life(days(10), nil), kind: fault.Invalid},
			{name: "cold date tomorrow", age: 10*day + time.Hour, to: life(days(11), nil)},
			{name: "the cold date that stands may stay", was: life(days(3), nil), age: 10 * day, to: life(days(3), days(20))},
			{name: "in cold storage the move stays", was: life(days(3), days(90)), make: func(r *RecoveryPoint) { r.StorageClass = Cold }, to: life(days(4), days(90)), kind: fault.State},
			{name: "in cold storage the expiry may change", was: life(days(3), days(90)), make: func(r *RecoveryPoint) { r.StorageClass = Cold }, to: life(days(3), days(99))},
			{name: "continuous", make: func(r *RecoveryPoint) { r.Continuous = true }, to: life(nil, days(30)), kind: fault.State},
			{name: "being made", make: func(r *RecoveryPoint) { r.Status = PointCreating }, to: life(nil, days(30)), kind: fault.State},
			{name: "being deleted", make: func(r *RecoveryPoint) { r.Status = PointDeleting }, to: life(nil, days(30)), kind: fault.State},
		} {
			r := f.point("main", func(r *RecoveryPoint) {
				r.Lifecycle, r.Created = c.was, f.clock.Now().Add(-c.age)
				if c.make != nil {
					c.make(r)
				}
			})
			got, err := f.UpdateLifecycle(ctx, testAccount, testRegion, "main", r.ARN, c.to)
			if c.kind != fault.Internal {
				if !fault.Is(err, c.kind) || c.text != "" && fault.As(err).Msg != c.text {
					t.Errorf("%s: %v", c.name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			stored, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN)
			must(t, err)
			if !got.DeleteAt.Equal(c.to.DeleteAt(r.Created)) || !stored.DeleteAt.Equal(got.DeleteAt) || !stored.MoveToColdAt.Equal(c.to.MoveAt(r.Created)) {
				t.Errorf("%s: %+v", c.name, stored)
			}
		}
	})
}

func TestColdMinimumIsOnlyAskedWhereTheStoreHasOne(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		r := f.point("main", nil)
		l := schedule.Lifecycle{MoveToColdAfterDays: days(7), DeleteAfterDays: days(90)}
		_, err := f.UpdateLifecycle(t.Context(), testAccount, testRegion, "main", r.ARN, l)
		must(t, err)
		f.ColdMinimumDays = map[string]int{"elsewhere-1": 90}
		_, err = f.UpdateLifecycle(t.Context(), testAccount, testRegion, "main", r.ARN, l)
		must(t, err)
		f.ColdMinimumDays = map[string]int{testRegion: 90}
		_, err = f.UpdateLifecycle(t.Context(), testAccount, testRegion, "main", r.ARN, l)
		want(t, err, fault.Invalid, "")
		if fault.As(err).Msg != "Invalid lifecycle. DeleteAfterDays cannot be less than 90 days apart from MoveToColdStorageAfterDays" {
			t.Fatal(err)
		}
	})
}

func TestDeleteRecoveryPointIsAsynchronous(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		v := f.vault("main")
		r := f.point("main", nil)
		must(t, f.DeleteRecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN))
		must(t, f.DeleteRecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN)) // again
		got, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN)
		must(t, err)
		if got.Status != PointDeleting {
			t.Fatalf("status %s", got.Status)
		}
		want(t, f.DeleteVault(ctx, testAccount, testRegion, "main"), fault.State, "ERROR_9101")
		l := f.deletion(r.ARN)
		w, err := f.DeletionWork(ctx, l)
		must(t, err)
		if w.Vault.ID != v.Repository || w.Point.ID != r.ID || w.Expired || !w.DeleteAt.Equal(r.DeleteAt) {
			t.Fatalf("%+v", w)
		}
		stale := l
		stale.Fence--
		want(t, f.FinishDeletion(ctx, stale), fault.Conflict, "")
		if _, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN); err != nil {
			t.Fatal("a lost lease deleted: ", err)
		}
		must(t, f.FinishDeletion(ctx, l))
		_, err = f.RecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN)
		want(t, err, fault.NotFound, "Point")
		if g, err := f.Guard(ctx, r.ARN); err != nil || g.Exists || len(g.Tags) != 0 {
			t.Fatal(g, err)
		}
		must(t, f.DeleteVault(ctx, testAccount, testRegion, "main"))
	})
}

func TestDeletionThatFailsLeavesTheRecoveryPointExpired(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		r := f.point("main", func(r *RecoveryPoint) { r.Lifecycle.DeleteAfterDays = days(1) })
		must(t, f.DeleteRecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN))
		l := f.deletion(r.ARN)
		must(t, f.FailDeletion(ctx, l, "the repository keeps it until 2026-04-01"))
		got, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN)
		must(t, err)
		if got.Status != PointExpired || got.StatusMessage != "the repository keeps it until 2026-04-01" {
			t.Fatalf("%+v", got)
		}
		f.clock.Advance(25 * time.Hour) // past its date and past the pause
		n, err := f.ExpireDue(ctx, f.clock.Now())
		must(t, err)
		if n != 1 {
			t.Fatalf("tried %d again", n)
		}
		must(t, f.FinishDeletion(ctx, f.deletion(r.ARN)))
		_, err = f.DeletionWork(ctx, l)
		if !fault.Is(err, fault.Conflict) {
			t.Fatalf("an old lease found work: %v", err)
		}
	})
}

func TestOnlyContinuousRecoveryPointsAreDisassociated(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		r := f.point("main", nil)
		want(t, f.DisassociateRecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN), fault.State, "")
		c := f.point("main", func(r *RecoveryPoint) { r.Continuous = true })
		must(t, f.DisassociateRecoveryPoint(ctx, testAccount, testRegion, "main", c.ARN))
		got, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", c.ARN)
		must(t, err)
		if got.Status != PointStopped {
			t.Fatalf("%+v", got)
		}
	})
}

func TestPointFilters(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		base := f.clock.Now()
		for i := range 6 {
			f.point("main", func(r *RecoveryPoint) {
				r.Created = base.Add(time.Duration(i) * time.Hour)
				if i%2 == 0 {
					r.ResourceARN, r.ResourceType = "arn:aws:s3:::bucket", "S3"
				}
				if i < 3 {
					r.CreatedBy.PlanID = "plan"
				}
				if i == 5 {
					r.ParentARN = "arn:parent"
				}
			})
		}
		for _, c := range []struct {
			name string
			f    PointFilter
			n    int
		}{
			{"all", PointFilter{}, 6},
			{"resource", PointFilter{ResourceARN: testFS}, 3},
			{"type", PointFilter{ResourceType: "S3"}, 3},
			{"plan", PointFilter{PlanID: "plan"}, 3},
			{"plan and type", PointFilter{PlanID: "plan", ResourceType: "S3"}, 2},
			{"parent", PointFilter{ParentARN: "arn:parent"}, 1},
			{"after", PointFilter{CreatedAfter: base.Add(2 * time.Hour)}, 4},
			{"before", PointFilter{CreatedBefore: base.Add(2 * time.Hour)}, 3},
			{"between", PointFilter{CreatedAfter: base.Add(time.Hour), CreatedBefore: base.Add(2 * time.Hour)}, 2},
			{"none", PointFilter{ResourceType: "RDS"}, 0},
		} {
			list, next, err := f.RecoveryPoints(t.Context(), testAccount, testRegion, "main", c.f, Page{})
			must(t, err)
			if len(list) != c.n || next != "" {
				t.Errorf("%s: %d, want %d", c.name, len(list), c.n)
			}
			for i := 1; i < len(list); i++ {
				if list[i].Created.After(list[i-1].Created) {
					t.Errorf("%s: not newest first", c.name)
				}
			}
		}
	})
}

func TestPagesShowEveryStandingRowOnceWhileOthersComeAndGo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		base := f.clock.Now()
		standing := map[string]int{}
		for i := range 60 {
			r := f.point("main", func(r *RecoveryPoint) { r.Created = base.Add(time.Duration(i%7) * time.Second) }) // many ties
			standing[r.ARN] = 0
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r := f.point("main", func(r *RecoveryPoint) { r.Created = base.Add(time.Duration(i%9) * time.Second) })
				err := f.DB.Update(context.Background(), func(ctx context.Context, tx *db.Tx) error { return removePoint(ctx, tx, r) })
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		for range 3 {
			for name := range standing {
				standing[name] = 0
			}
			for p := (Page{Limit: 7}); ; {
				list, next, err := f.RecoveryPoints(ctx, testAccount, testRegion, "main", PointFilter{}, p)
				must(t, err)
				for _, r := range list {
					if _, ok := standing[r.ARN]; ok {
						standing[r.ARN]++
					}
				}
				if next == "" {
					break
				}
				p.Token = next
			}
			for name, n := range standing {
				if n != 1 {
					t.Fatalf("%s was listed %d times", name, n)
				}
			}
		}
		close(stop)
		wg.Wait()
	})
}

func TestPageTokenIsGoodForItsListOnly(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		for range 3 {
			f.point("main", nil)
		}
		_, next, err := f.RecoveryPoints(ctx, testAccount, testRegion, "main", PointFilter{}, Page{Limit: 1})
		must(t, err)
		if next == "" {
			t.Fatal("no token")
		}
		f.vault("other")
		for name, call := range map[string]func() error{
			"other vault": func() error {
				_, _, err := f.RecoveryPoints(ctx, testAccount, testRegion, "other", PointFilter{}, Page{Token: next})
				return err
			},
			"other filter": func() error {
				_, _, err := f.RecoveryPoints(ctx, testAccount, testRegion, "main", PointFilter{ResourceType: "EFS"}, Page{Token: next})
				return err
			},
			"other list": func() error { _, _, err := f.Vaults(ctx, testAccount, testRegion, Page{Token: next}); return err },
			"changed": func() error {
				_, _, err := f.RecoveryPoints(ctx, testAccount, testRegion, "main", PointFilter{}, Page{Token: "A" + next[1:]})
				return err
			},
			"nonsense": func() error {
				_, _, err := f.RecoveryPoints(ctx, testAccount, testRegion, "main", PointFilter{}, Page{Token: "%"})
				return err
			},
		} {
			if err := call(); !fault.Is(err, fault.Invalid) && !(name == "changed" && next[0] == 'A') {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
