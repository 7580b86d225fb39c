package backup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/job"
)

func (f *fixture) startRestore(point RecoveryPoint, token string) RestoreJob {
	f.t.Helper()
	j, err := f.StartRestore(context.Background(), testAccount, testRegion, RestoreRequest{PointARN: point.ARN, RoleARN: testRole, Token: token, Metadata: map[string]string{"newFileSystem": "true"}})
	must(f.t, err)
	return j
}

func (f *fixture) wantRestore(id string, state State, message string) RestoreJob {
	f.t.Helper()
	j, err := f.RestoreJob(context.Background(), testAccount, testRegion, id)
	must(f.t, err)
	if j.State != state || !strings.Contains(j.Message, message) {
		f.t.Fatalf("job is %s %q, want %s %q", j.State, j.Message, state, message)
	}
	return j
}

func TestRestoreJobs(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		v := f.vault("main")
		point := f.point("main", func(r *RecoveryPoint) { r.SizeBytes = 5 })
		j := f.startRestore(point, "t")
		if again := f.startRestore(point, "t"); again.ID != j.ID {
			t.Fatal("the token started a second job")
		}
		f.wantRestore(j.ID, StatePending, "")
		l := f.leased(RestoreKind, j.ID)
		w, err := f.BeginRestore(ctx, l)
		must(t, err)
		if w.Vault.ID != v.Repository || w.Point.ID != point.ID || w.Metadata["newFileSystem"] != "true" {
			t.Fatalf("%+v", w)
		}
		must(t, f.Reporter(l).Progress(ctx, Progress{Percent: 50}))
		if got := f.wantRestore(j.ID, StateRunning, ""); got.Percent != 50 {
			t.Fatalf("%+v", got)
		}
		f.clock.Advance(3 * time.Minute)
		must(t, f.FinishRestore(ctx, l, RestoreResult{CreatedResourceARN: testFS + "new", SizeBytes: 5}))
		if got := f.wantRestore(j.ID, StateCompleted, ""); got.CreatedARN != testFS+"new" || got.Percent != 100 || got.Completed.IsZero() {
			t.Fatalf("%+v", got)
		}
		if p, err := f.ProtectedResource(ctx, testAccount, testRegion, testFS); err != nil || p.RestoreMinutes != 3 {
			t.Fatalf("%+v %v", p, err)
		}

		bad := f.startRestore(point, "")
		l = f.leased(RestoreKind, bad.ID)
		_, err = f.BeginRestore(ctx, l)
		must(t, err)
		must(t, f.FinishRestore(ctx, l, RestoreResult{CreatedResourceARN: testFS + "half", Problems: 2, FirstProblems: []string{"dev/null: not permitted"}}))
		if got := f.wantRestore(bad.ID, StateFailed, `2 entries could not be restored: "dev/null: not permitted" and 1 more. Everything else was restored to `+testFS+"half."); got.CreatedARN == "" {
			t.Fatalf("%+v", got)
		}

		failed := f.startRestore(point, "")
		l = f.leased(RestoreKind, failed.ID)
		_, err = f.BeginRestore(ctx, l)
		must(t, err)
		must(t, f.EndRestore(ctx, l, StateFailed, "no space"))
		f.wantRestore(failed.ID, StateFailed, "no space")

		gone := f.startRestore(point, "")
		must(t, f.DeleteRecoveryPoint(ctx, testAccount, testRegion, "main", point.ARN))
		if _, err := f.BeginRestore(ctx, f.leased(RestoreKind, gone.ID)); !errors.Is(err, job.ErrEnded) {
			t.Fatal(err)
		}
		f.wantRestore(gone.ID, StateFailed, "DELETING")
		f.idle(RestoreKind)

		list, _, err := f.RestoreJobs(ctx, testAccount, testRegion, JobFilter{State: StateFailed}, Page{})
		must(t, err)
		if len(list) != 3 {
			t.Fatalf("%d failed jobs", len(list))
		}
		byResource, _, err := f.RestoreJobsByResource(ctx, testAccount, testRegion, testFS, time.Time{}, time.Time{}, "", Page{})
		must(t, err)
		if len(byResource) != 4 {
			t.Fatalf("%d jobs of the resource", len(byResource))
		}
	})
}

func TestRestoreIsRefused(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		point := f.point("main", nil)
		creating := f.point("main", func(r *RecoveryPoint) { r.Status = PointCreating })
		meta := map[string]string{}
		for _, c := range []struct {
			account string
			q       RestoreRequest
			kind    fault.Kind
		}{
			{testAccount, RestoreRequest{PointARN: point.ARN, RoleARN: testRole}, fault.Missing},
			{testAccount, RestoreRequest{PointARN: point.ARN, Metadata: meta}, fault.Missing},
			{testAccount, RestoreRequest{PointARN: point.ARN + "x", RoleARN: testRole, Metadata: meta}, fault.NotFound},
			{testAccount, RestoreRequest{PointARN: creating.ARN, RoleARN: testRole, Metadata: meta}, fault.State},
			{testAccount, RestoreRequest{PointARN: point.ARN, RoleARN: testRole, Metadata: meta, ResourceType: "RDS"}, fault.Invalid},
			{testAccount, RestoreRequest{PointARN: point.ARN, RoleARN: testRole, Metadata: map[string]string{"x": strings.Repeat("y", maxMetadataBytes)}}, fault.Invalid},
			{testOther, RestoreRequest{PointARN: point.ARN, RoleARN: "arn:aws:iam::222222222222:role/x", Metadata: meta}, fault.NotFound},
		} {
			if _, err := f.StartRestore(ctx, c.account, testRegion, c.q); !fault.Is(err, c.kind) {
				t.Errorf("%+v: %v", c.q, err)
			}
		}
	})
}
