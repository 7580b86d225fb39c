package backup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/schedule"
)

const testIsolated = "arn:aws:backup:us-east-1:222222222222:backup-vault:isolated"

func (f *fixture) isolated() Vault {
	f.t.Helper()
	v, err := f.CreateVault(context.Background(), rootOf(testOther), access.Env{Region: testRegion}, VaultSpec{Name: "isolated"})
	must(f.t, err)
	return v
}

func (f *fixture) startCopy(point RecoveryPoint, l *schedule.Lifecycle) CopyJob {
	f.t.Helper()
	j, err := f.StartCopy(context.Background(), testAccount, testRegion, CopyRequest{PointARN: point.ARN, SourceVault: point.Vault, DestinationVaultARN: testIsolated, RoleARN: testRole, Lifecycle: l})
	must(f.t, err)
	return j
}

func (f *fixture) wantCopy(id string, state State, category, message string) CopyJob {
	f.t.Helper()
	j, err := f.CopyJob(context.Background(), testAccount, testRegion, id)
	must(f.t, err)
	if j.State != state || j.Category != category || !strings.Contains(j.Message, message) {
		f.t.Fatalf("job is %s %q %q, want %s %q %q", j.State, j.Category, j.Message, state, category, message)
	}
	return j
}

func TestCopyIntoAnotherAccount(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		dest := f.isolated()
		source := f.point("main", func(r *RecoveryPoint) { r.SizeBytes = 10 })
		f.clock.Advance(48 * time.Hour)
		j := f.startCopy(source, &schedule.Lifecycle{MoveToColdAfterDays: schedule.Days(7), DeleteAfterDays: schedule.Days(90)})
		l := f.leased(CopyKind, j.ID)
		w, err := f.BeginCopy(ctx, l)
		must(t, err)
		if w.Destination.ID != dest.Repository || w.Destination.Account != testOther || w.SourcePoint.ID != source.ID || !w.Point.Created.Equal(source.Created) ||
			!w.DeleteAt.Equal(source.Created.AddDate(0, 0, 90)) || w.Tags["from"] != "test" || !strings.HasPrefix(w.Point.ARN, "arn:aws:backup:us-east-1:222222222222:recovery-point:") {
			t.Fatalf("%+v", w)
		}
		again, err := f.BeginCopy(ctx, l)
		must(t, err)
		if again.Point.ARN != w.Point.ARN || again.Point.ID != w.Point.ID {
			t.Fatal("a second attempt makes another recovery point")
		}
		// The source is deleted while it is copied: the copy does not need it any more.
		must(t, f.DeleteRecoveryPoint(ctx, testAccount, testRegion, "main", source.ARN))
		must(t, f.FinishDeletion(ctx, f.leased(DeleteKind, source.ARN)))
		must(t, f.FinishCopy(ctx, l, CopyResult{SizeBytes: 10, TransferredBytes: 4, Receipt: []byte{7}}))
		done := f.wantCopy(j.ID, StateCompleted, CategorySuccess, "")
		if done.DestinationKey != dest.KeyARN || done.DestinationPointARN != w.Point.ARN || *done.Resolved.DeleteAfterDays != 90 || done.TransferredBytes != 4 {
			t.Fatalf("%+v", done)
		}
		r, err := f.RecoveryPoint(ctx, testOther, testRegion, "isolated", w.Point.ARN)
		must(t, err)
		if r.Status != PointCompleted || r.ResourceARN != testFS || r.SourceVaultARN != VaultARN(testAccount, testRegion, "main") || r.SourceARN != source.ARN ||
			r.SourceAccount != testAccount || r.KeyARN != dest.KeyARN || !r.Created.Equal(source.Created) || !r.DeleteAt.Equal(source.Created.AddDate(0, 0, 90)) || r.RestoreMetadata["file-system-id"] == "" {
			t.Fatalf("%+v", r)
		}
		f.idle(CopyKind)
		if list, _, err := f.CopyJobs(ctx, testAccount, testRegion, JobFilter{DestinationARN: testIsolated, SourcePointARN: source.ARN}, Page{}); err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if list, _, err := f.CopyJobs(ctx, testOther, testRegion, JobFilter{}, Page{}); err != nil || len(list) != 0 {
			t.Fatalf("the destination sees the source's job: %v %v", list, err)
		}
	})
}

func TestCopiesThatCannotBeMade(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.isolated()
		creating := f.point("main", func(r *RecoveryPoint) { r.Status = PointCreating })
		_, err := f.StartCopy(ctx, testAccount, testRegion, CopyRequest{PointARN: creating.ARN, SourceVault: "main", DestinationVaultARN: testIsolated, RoleARN: testRole})
		want(t, err, fault.State, "")
		good := f.point("main", nil)
		for _, c := range []struct {
			q    CopyRequest
			kind fault.Kind
		}{
			{CopyRequest{PointARN: good.ARN, SourceVault: "main", DestinationVaultARN: "x", RoleARN: testRole}, fault.Invalid},
			{CopyRequest{PointARN: good.ARN, SourceVault: "main", DestinationVaultARN: testIsolated}, fault.Missing},
			{CopyRequest{PointARN: good.ARN + "x", SourceVault: "main", DestinationVaultARN: testIsolated, RoleARN: testRole}, fault.NotFound},
			{CopyRequest{PointARN: good.ARN, SourceVault: "none", DestinationVaultARN: testIsolated, RoleARN: testRole}, fault.NotFound},
			{CopyRequest{PointARN: good.ARN, SourceVault: "main", DestinationVaultARN: testIsolated, RoleARN: "arn:aws:iam::222222222222:role/x"}, fault.Invalid},
		} {
			if _, err := f.StartCopy(ctx, testAccount, testRegion, c.q); !fault.Is(err, c.kind) {
				t.Errorf("%+v: %v", c.q, err)
			}
		}
		refused := func(l *schedule.Lifecycle, category, message string) {
			t.Helper()
			j := f.startCopy(good, l)
			if _, err := f.BeginCopy(ctx, f.leased(CopyKind, j.ID)); !errors.Is(err, job.ErrEnded) {
				t.Fatal(err)
			}
			f.wantCopy(j.ID, StateFailed, category, message)
			f.idle(CopyKind)
		}
		f.clock.Advance(10 * 24 * time.Hour)
		refused(&schedule.Lifecycle{DeleteAfterDays: schedule.Days(9)}, "INVALID_PARAMETERS", "has ended already")
		must(t, f.LockVault(ctx, testOther, testRegion, "isolated", LockSpec{MinRetentionDays: schedule.Days(31), MaxRetentionDays: schedule.Days(100)}))
		const outside = "Copy job failed. The retention specified in the job is not within the range specified for the target Backup Vault."
		refused(nil, CategoryRange, outside) // inherits 30 days
		refused(&schedule.Lifecycle{DeleteAfterDays: schedule.Days(schedule.KeepSourceExpiry)}, CategoryRange, outside)
		refused(&schedule.Lifecycle{}, CategoryRange, outside) // for ever
		must(t, f.UnlockVault(ctx, testOther, testRegion, "isolated"))
		must(t, f.DeleteVault(ctx, testOther, testRegion, "isolated"))
		refused(nil, CategoryMissing, "Copy job failed because the destination Backup vault "+testIsolated+" does not exist.")
	})
}

func TestTheVaultMayVanishWhileACopyRuns(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.isolated()
		j := f.startCopy(f.point("main", nil), nil)
		l := f.leased(CopyKind, j.ID)
		_, err := f.BeginCopy(ctx, l)
		must(t, err)
		must(t, f.DeleteVault(ctx, testOther, testRegion, "isolated"))
		err = f.FinishCopy(ctx, l, CopyResult{})
		if !job.IsPermanent(err) || !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
		must(t, f.EndCopy(ctx, l, fault.As(err).Msg, CategoryMissing))
		f.wantCopy(j.ID, StateFailed, CategoryMissing, "does not exist")
	})
}

// A vault made anew under the destination's name has another repository: it does not hold what was copied.
func TestACopyDoesNotAppearInAVaultMadeAnew(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.isolated()
		j := f.startCopy(f.point("main", nil), nil)
		l := f.leased(CopyKind, j.ID)
		w, err := f.BeginCopy(ctx, l)
		must(t, err)
		must(t, f.DeleteVault(ctx, testOther, testRegion, "isolated"))
		f.isolated()
		if err := f.FinishCopy(ctx, l, CopyResult{}); !job.IsPermanent(err) || !fault.Is(err, fault.NotFound) {
			t.Errorf("finished: %v", err)
		}
		if _, err := f.BeginCopy(ctx, l); !errors.Is(err, job.ErrEnded) {
			t.Errorf("taken up again: %v", err)
		}
		f.wantCopy(j.ID, StateFailed, CategoryMissing, "does not exist")
		_, err = f.RecoveryPoint(ctx, testOther, testRegion, "isolated", w.Point.ARN)
		want(t, err, fault.NotFound, "Point")
	})
}

// Whoever holds the source cannot move the end of a copy that was let in.
func TestTheSourcesLifecycleDoesNotReachACopyThatRuns(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.isolated()
		must(t, f.LockVault(ctx, testOther, testRegion, "isolated", LockSpec{MinRetentionDays: schedule.Days(30)}))
		source := f.point("main", nil)
		j := f.startCopy(source, nil)
		l := f.leased(CopyKind, j.ID)
		first, err := f.BeginCopy(ctx, l)
		must(t, err)
		_, err = f.UpdateLifecycle(ctx, testAccount, testRegion, "main", source.ARN, schedule.Lifecycle{DeleteAfterDays: schedule.Days(1)})
		must(t, err)
		again, err := f.BeginCopy(ctx, l)
		must(t, err)
		if !again.DeleteAt.Equal(first.DeleteAt) || *again.Point.Lifecycle.DeleteAfterDays != 30 {
			t.Fatalf("the second attempt keeps the copy until %v, the first until %v", again.DeleteAt, first.DeleteAt)
		}
	})
}

func TestCopyActionsFollowACompletedBackupOnly(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.isolated()
		f.declare(testFS)
		p := testPlan()
		p.Rules[0].Copies = []CopyAction{{VaultARN: testIsolated, Lifecycle: &schedule.Lifecycle{DeleteAfterDays: schedule.Days(90)}}, {VaultARN: VaultARN(testAccount, testRegion, "second")}}
		plan := f.plan(p)
		_, err := f.CreateSelection(ctx, testAccount, testRegion, plan.ID, Selection{Name: "s", RoleARN: testRole, Tags: []KeyValue{{"Criticality", "high"}}}, "")
		must(t, err)
		run := func(res BackupResult) BackupJob {
			t.Helper()
			at, ok, err := f.NextSchedule(ctx)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			f.clock.Set(at)
			st, err := f.RunSchedules(ctx)
			must(t, err)
			if st.Jobs != 1 {
				t.Fatalf("%+v", st)
			}
			list, _, err := f.BackupJobs(ctx, testAccount, testRegion, JobFilter{State: StateCreated}, Page{})
			must(t, err)
			l := f.leased(BackupKind, list[0].ID)
			_, err = f.BeginBackup(ctx, l)
			must(t, err)
			must(t, f.FinishBackup(ctx, l, res))
			return f.job(list[0].ID)
		}
		b := run(BackupResult{SizeBytes: 3})
		if b.CreatedBy.PlanID != plan.ID || b.CreatedBy.RuleID != plan.Rules[0].ID || b.CreatedBy.PlanVersion != plan.VersionID || b.CreatedBy.RuleCron != "cron(0 5 * * ? *)" || b.CreatedBy.RuleTimezone != "Etc/UTC" {
			t.Fatalf("%+v", b.CreatedBy)
		}
		copies, _, err := f.CopyJobs(ctx, testAccount, testRegion, JobFilter{}, Page{})
		must(t, err)
		if len(copies) != 2 || copies[0].BackupJob != b.ID || copies[0].RoleARN != testRole || copies[0].CreatedBy != b.CreatedBy {
			t.Fatalf("%+v", copies)
		}
		// One copy of the resource at a time.
		first, ok, err := f.Jobs.Claim(ctx, CopyKind)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		second, ok, err := f.Jobs.Claim(ctx, CopyKind)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		began := 0
		for _, l := range []job.Lease{first, second} {
			_, err := f.BeginCopy(ctx, l)
			var later *job.Later
			switch {
			case err == nil:
				began++
			case errors.As(err, &later):
				must(t, f.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error { return l.Release(ctx, tx, later.At) }))
			case errors.Is(err, job.ErrEnded): // the vault "second" does not exist
			default:
				t.Fatal(err)
			}
		}
		if began != 1 {
			t.Fatalf("%d copies of one resource began", began)
		}
		if r, err := f.Plan(ctx, testAccount, testRegion, plan.ID, "", 0); err != nil || !r.LastRun.Equal(b.Scheduled) {
			t.Fatalf("last run %v %v", r.LastRun, err)
		}
	})
}

func TestAPartialBackupIsNotCopiedByItsPlan(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.isolated()
		f.declare(testFS)
		p := testPlan()
		p.Rules[0].Copies = []CopyAction{{VaultARN: testIsolated}}
		plan := f.plan(p)
		_, err := f.CreateSelection(ctx, testAccount, testRegion, plan.ID, Selection{Name: "s", RoleARN: testRole, Resources: []string{testFS}}, "")
		must(t, err)
		f.clock.Set(time.Date(2026, 3, 2, 5, 0, 0, 0, time.UTC))
		_, err = f.RunSchedules(ctx)
		must(t, err)
		l, ok, err := f.Jobs.Claim(ctx, BackupKind)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		w, err := f.BeginBackup(ctx, l)
		must(t, err)
		must(t, f.FinishBackup(ctx, l, BackupResult{Problems: 1, FirstProblems: []string{"log: changed while it was read"}}))
		f.wantJob(l.ID, StatePartial, CategoryOther, "The copy actions of the rule were not run.")
		f.idle(CopyKind)
		// By hand it is, and the copy is PARTIAL too.
		r, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", w.Point.ARN)
		must(t, err)
		j := f.startCopy(r, nil)
		cl := f.leased(CopyKind, j.ID)
		cw, err := f.BeginCopy(ctx, cl)
		must(t, err)
		must(t, f.FinishCopy(ctx, cl, CopyResult{}))
		f.wantCopy(j.ID, StatePartial, CategoryOther, "The source is PARTIAL")
		if c, err := f.RecoveryPoint(ctx, testOther, testRegion, "isolated", cw.Point.ARN); err != nil || c.Status != PointPartial {
			t.Fatalf("%+v %v", c, err)
		}
	})
}
