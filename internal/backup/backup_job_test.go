package backup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/schedule"
)

// declare makes an agent say that resources exist in the test account, with a tag.
func (f *fixture) declare(names ...string) {
	f.t.Helper()
	var list []Resource
	for _, n := range names {
		list = append(list, Resource{ARN: n, Type: typeOfARN(n), Name: "app", Account: testAccount, Region: testRegion, Tags: map[string]string{"Criticality": "high"}})
	}
	must(f.t, f.DeclareResources(context.Background(), "agent-1", list))
}

func (f *fixture) start(q BackupRequest) BackupJob {
	f.t.Helper()
	if q.Vault == "" {
		q.Vault = "main"
	}
	if q.ResourceARN == "" {
		q.ResourceARN = testFS
	}
	q.RoleARN = testRole
	j, err := f.StartBackup(context.Background(), testAccount, testRegion, q)
	must(f.t, err)
	return j
}

// leased claims the job of a kind that is due; it must be the one with the id.
func (f *fixture) leased(kind job.Kind, id string) job.Lease {
	f.t.Helper()
	l, ok, err := f.Jobs.Claim(context.Background(), kind)
	must(f.t, err)
	if !ok || l.ID != id {
		f.t.Fatalf("claimed %+v %v, want %s", l, ok, id)
	}
	return l
}

func (f *fixture) idle(kind job.Kind) {
	f.t.Helper()
	if l, ok, err := f.Jobs.Claim(context.Background(), kind); err != nil || ok {
		f.t.Fatalf("claimed %+v, %v", l, err)
	}
}

func (f *fixture) job(id string) BackupJob {
	f.t.Helper()
	j, err := f.BackupJob(context.Background(), testAccount, testRegion, id)
	must(f.t, err)
	return j
}

func (f *fixture) wantJob(id string, state State, category, message string) BackupJob {
	f.t.Helper()
	j := f.job(id)
	if j.State != state || j.Category != category || !strings.Contains(j.Message, message) {
		f.t.Fatalf("job is %s %q %q, want %s %q %q", j.State, j.Category, j.Message, state, category, message)
	}
	return j
}

// pointGone checks that a job left no recovery point behind.
func (f *fixture) pointGone(j BackupJob) {
	f.t.Helper()
	_, err := f.RecoveryPoint(context.Background(), testAccount, testRegion, j.Vault, j.PointARN)
	want(f.t, err, fault.NotFound, "Point")
}

func TestBackupJobFromStartToRecoveryPoint(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		v := f.vault("main")
		f.declare(testFS)
		j := f.start(BackupRequest{Token: "t1", Lifecycle: &schedule.Lifecycle{DeleteAfterDays: schedule.Days(30)}, Tags: map[string]string{"by": "hand"}})
		if !j.KnownAtStart() || !strings.HasPrefix(j.PointARN, "arn:aws:backup:us-east-1:111111111111:recovery-point:") || j.ID != strings.ToUpper(j.ID) {
			t.Fatalf("%+v", j)
		}
		again := f.start(BackupRequest{Token: "t1", Lifecycle: &schedule.Lifecycle{DeleteAfterDays: schedule.Days(30)}, Tags: map[string]string{"by": "hand"}})
		if again.ID != j.ID {
			t.Fatal("the token started a second job")
		}
		_, err := f.StartBackup(ctx, testAccount, testRegion, BackupRequest{Vault: "main", ResourceARN: testFS, RoleARN: testRole, Token: "t1"})
		want(t, err, fault.Invalid, "")
		f.clock.Advance(time.Minute)
		l := f.leased(BackupKind, j.ID)
		w, err := f.BeginBackup(ctx, l)
		must(t, err)
		if w.Vault.ID != v.Repository || w.Vault.KeyARN != v.KeyARN || w.Point.ARN != j.PointARN || w.BaseID != "" || !w.DeleteAt.Equal(f.clock.Now().AddDate(0, 0, 30)) ||
			w.Tags["Criticality"] != "high" || w.Tags["by"] != "hand" || w.Attempt != 1 {
			t.Fatalf("%+v", w)
		}
		point, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", j.PointARN)
		must(t, err)
		if point.Status != PointCreating || point.ID != w.Point.ID {
			t.Fatalf("%+v", point)
		}
		// A crash: the next attempt makes the same recovery point.
		f.clock.Advance(time.Minute)
		other, err := job.Open(ctx, job.Config{DB: f.DB, Clock: f.clock})
		must(t, err)
		l2, ok, err := other.Claim(ctx, BackupKind)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		w2, err := f.BeginBackup(ctx, l2)
		must(t, err)
		if w2.Point.ID != w.Point.ID || !w2.Point.Created.Equal(w.Point.Created) || w2.Attempt != 2 {
			t.Fatalf("second attempt %+v after %+v", w2.Point, w.Point)
		}
		if err := f.FinishBackup(ctx, l, BackupResult{}); !fault.Is(err, fault.Conflict) {
			t.Fatalf("the first attempt finished: %v", err)
		}
		r := f.Reporter(l2)
		must(t, r.Progress(ctx, Progress{Bytes: 5, Percent: 12.34, Message: "reading"}))
		must(t, r.Progress(ctx, Progress{Bytes: 6, Percent: 50})) // too soon
		if got := f.wantJob(j.ID, StateRunning, "", "reading"); got.TransferredBytes != 5 || got.Percent != 12.3 {
			t.Fatalf("%+v", got)
		}
		must(t, f.FinishBackup(ctx, l2, BackupResult{SizeBytes: 100, TransferredBytes: 40, Receipt: []byte{1, 2}, RestoreMetadata: map[string]string{"file-system-id": "fs-1"}}))
		got := f.wantJob(j.ID, StateCompleted, CategorySuccess, "")
		if got.Percent != 100 || got.SizeBytes != 100 || got.Message != "" || got.VaultLock != Unlocked || got.KeyARN != v.KeyARN {
			t.Fatalf("%+v", got)
		}
		point, err = f.RecoveryPoint(ctx, testAccount, testRegion, "main", j.PointARN)
		must(t, err)
		if point.Status != PointCompleted || point.SizeBytes != 100 || string(point.Receipt) != "\x01\x02" || point.RestoreMetadata["file-system-id"] != "fs-1" || point.Completed.IsZero() {
			t.Fatalf("%+v", point)
		}
		f.idle(BackupKind)
		// The next one builds on it.
		next := f.start(BackupRequest{})
		w3, err := f.BeginBackup(ctx, f.leased(BackupKind, next.ID))
		must(t, err)
		if w3.BaseID != w.Point.ID {
			t.Fatalf("base %q, want %q", w3.BaseID, w.Point.ID)
		}
	})
}

func TestBackupWithProblemsIsPartialAndSaysWhich(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS)
		j := f.start(BackupRequest{})
		l := f.leased(BackupKind, j.ID)
		_, err := f.BeginBackup(ctx, l)
		must(t, err)
		must(t, f.FinishBackup(ctx, l, BackupResult{SizeBytes: 9, Problems: 7, FirstProblems: []string{"a\n\xff: changed while it was read", "b"}}))
		f.wantJob(j.ID, StatePartial, CategoryOther, `7 entries could not be backed up faithfully: "a\n\xff: changed while it was read", "b" and 5 more.`)
		point, err := f.RecoveryPoint(ctx, testAccount, testRegion, "main", j.PointARN)
		must(t, err)
		if point.Status != PointPartial || point.StatusMessage == "" {
			t.Fatalf("%+v", point)
		}
	})
}

func TestBackupIsRefusedBeforeItBegins(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS)
		for _, c := range []struct {
			q    BackupRequest
			kind fault.Kind
			want string
		}{
			{BackupRequest{ResourceARN: testFS, RoleARN: testRole}, fault.Missing, "BackupVaultName"},
			{BackupRequest{Vault: "main", ResourceARN: "fs-1", RoleARN: testRole}, fault.Invalid, "Invalid ResourceArn"},
			{BackupRequest{Vault: "none", ResourceARN: testFS, RoleARN: testRole}, fault.NotFound, "does not exist"},
			{BackupRequest{Vault: "main", ResourceARN: testFS + "x", RoleARN: testRole}, fault.NotFound, "not declared by any agent"},
			{BackupRequest{Vault: "main", ResourceARN: testFS, RoleARN: "arn:aws:iam::222222222222:role/x"}, fault.Invalid, "cannot be assumed"},
			{BackupRequest{Vault: "main", ResourceARN: testFS, RoleARN: testRole, StartMinutes: 59}, fault.Invalid, "StartWindowMinutes"},
			{BackupRequest{Vault: "main", ResourceARN: testFS, RoleARN: testRole, Lifecycle: &schedule.Lifecycle{DeleteAfterDays: schedule.Days(0)}}, fault.Invalid, "Invalid lifecycle"},
		} {
			_, err := f.StartBackup(ctx, testAccount, testRegion, c.q)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c.q, err)
			}
		}
		f.idle(BackupKind)
		// The lock's range is asked when the job runs.
		locked := f.start(BackupRequest{Lifecycle: &schedule.Lifecycle{DeleteAfterDays: schedule.Days(3)}})
		must(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{MinRetentionDays: schedule.Days(7)}))
		if _, err := f.BeginBackup(ctx, f.leased(BackupKind, locked.ID)); !errors.Is(err, job.ErrEnded) {
			t.Fatal(err)
		}
		f.wantJob(locked.ID, StateFailed, CategoryRange, "The retention specified in the job is not within the range specified for the target Backup Vault.")
		f.pointGone(locked)
		// So is whether the resource is still there.
		gone := f.start(BackupRequest{Lifecycle: &schedule.Lifecycle{DeleteAfterDays: schedule.Days(8)}})
		f.declare()
		if _, err := f.BeginBackup(ctx, f.leased(BackupKind, gone.ID)); !errors.Is(err, job.ErrEnded) {
			t.Fatal(err)
		}
		f.wantJob(gone.ID, StateFailed, CategoryMissing, testFS+" is not declared by any agent")
		f.idle(BackupKind)
	})
}

func TestBackupInAVaultThatIsGone(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS)
		j := f.start(BackupRequest{})
		must(t, f.DeleteVault(ctx, testAccount, testRegion, "main"))
		if _, err := f.BeginBackup(ctx, f.leased(BackupKind, j.ID)); !errors.Is(err, job.ErrEnded) {
			t.Fatal(err)
		}
		f.wantJob(j.ID, StateFailed, CategoryMissing, "Backup job failed because backup vault arn:aws:backup:us-east-1:111111111111:backup-vault:main does not exist.")
	})
}

func TestOneJobPerResourceAtATime(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS, testFS+"2")
		first, second := f.start(BackupRequest{}), f.start(BackupRequest{StartMinutes: 60, CompleteMinutes: 600})
		elsewhere := f.start(BackupRequest{ResourceARN: testFS + "2"})
		var leases = map[string]job.Lease{}
		for range 3 {
			l, ok, err := f.Jobs.Claim(ctx, BackupKind)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			leases[l.ID] = l
		}
		for _, id := range []string{first.ID, elsewhere.ID} {
			_, err := f.BeginBackup(ctx, leases[id])
			must(t, err)
		}
		_, err := f.BeginBackup(ctx, leases[second.ID])
		var later *job.Later
		if !errors.As(err, &later) || !later.At.Equal(f.clock.Now().Add(busyRetry)) {
			t.Fatal(err)
		}
		f.wantJob(second.ID, StateCreated, "", "waits for job "+first.ID)
		must(t, f.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error { return leases[second.ID].Release(ctx, tx, later.At) }))
		f.idle(BackupKind)
		must(t, f.FinishBackup(ctx, leases[first.ID], BackupResult{}))
		l := f.leased(BackupKind, second.ID) // due at once, not after ten minutes
		w, err := f.BeginBackup(ctx, l)
		must(t, err)
		if w.BaseID == "" {
			t.Fatal("does not build on the first")
		}
		// A third waits until its window is over.
		third := f.start(BackupRequest{StartMinutes: 60, CompleteMinutes: 600})
		f.clock.Advance(61 * time.Minute)
		st, err := f.RunSchedules(ctx)
		must(t, err)
		if st.Expired != 1 {
			t.Fatalf("%+v", st)
		}
		f.wantJob(third.ID, StateExpired, CategoryBusy, "Backup job failed because there was a running job for the same resource.")
		f.idle(BackupKind)
	})
}

func TestStopBackup(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS)
		waiting := f.start(BackupRequest{})
		must(t, f.StopBackup(ctx, testAccount, testRegion, waiting.ID))
		f.wantJob(waiting.ID, StateAborted, CategoryOther, "Backup job was stopped by user.")
		f.idle(BackupKind)
		want(t, f.StopBackup(ctx, testAccount, testRegion, waiting.ID), fault.State, "")
		want(t, f.StopBackup(ctx, testOther, testRegion, waiting.ID), fault.NotFound, "")

		running := f.start(BackupRequest{})
		l := f.leased(BackupKind, running.ID)
		_, err := f.BeginBackup(ctx, l)
		must(t, err)
		must(t, f.StopBackup(ctx, testAccount, testRegion, running.ID))
		must(t, f.StopBackup(ctx, testAccount, testRegion, running.ID))
		f.wantJob(running.ID, StateAborting, "", "")
		if cancelled, err := f.Jobs.Heartbeat(ctx, l); err != nil || !cancelled {
			t.Fatal(cancelled, err)
		}
		must(t, f.EndBackup(ctx, l, StateFailed, "read interrupted", "x"))
		f.wantJob(running.ID, StateAborted, CategoryOther, "Backup job was stopped by user.")
		f.pointGone(running)

		// Stopped while its worker is dead: the next worker ends it.
		crashed := f.start(BackupRequest{})
		_, err = f.BeginBackup(ctx, f.leased(BackupKind, crashed.ID))
		must(t, err)
		must(t, f.StopBackup(ctx, testAccount, testRegion, crashed.ID))
		again, err := job.Open(ctx, job.Config{DB: f.DB, Clock: f.clock, Sole: true})
		must(t, err)
		l, ok, err := again.Claim(ctx, BackupKind)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, err := f.BeginBackup(ctx, l); !errors.Is(err, job.ErrEnded) {
			t.Fatal(err)
		}
		f.wantJob(crashed.ID, StateAborted, CategoryOther, "Backup job was stopped by user.")
		f.pointGone(crashed)

		// The stop came after the commit: what is stored is said to be stored.
		late := f.start(BackupRequest{})
		l = f.leased(BackupKind, late.ID)
		_, err = f.BeginBackup(ctx, l)
		must(t, err)
		must(t, f.StopBackup(ctx, testAccount, testRegion, late.ID))
		must(t, f.FinishBackup(ctx, l, BackupResult{SizeBytes: 1}))
		f.wantJob(late.ID, StateCompleted, CategorySuccess, "")
	})
}

func TestBackupExpiresWithItsWindows(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS)
		late := f.start(BackupRequest{StartMinutes: 60, CompleteMinutes: 120})
		l := f.leased(BackupKind, late.ID)
		f.clock.Advance(time.Hour)
		if _, err := f.BeginBackup(ctx, l); !errors.Is(err, job.ErrEnded) {
			t.Fatal(err)
		}
		f.wantJob(late.ID, StateExpired, CategoryExpired, "Backup job expired before completion.")
		slow := f.start(BackupRequest{StartMinutes: 60, CompleteMinutes: 120})
		l = f.leased(BackupKind, slow.ID)
		_, err := f.BeginBackup(ctx, l)
		must(t, err)
		f.clock.Advance(2 * time.Hour)
		must(t, f.EndBackup(ctx, l, StateExpired, "", ""))
		f.wantJob(slow.ID, StateExpired, CategoryExpired, "Backup job expired before completion.")
		f.pointGone(slow)
	})
}

func TestJobListsAreStableAndSeeOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS)
		var ids []string
		for i := range 7 {
			j := f.start(BackupRequest{})
			ids = append(ids, j.ID)
			if i%3 != 0 {
				f.clock.Advance(time.Second) // some share their second and even microsecond
			}
		}
		seen := map[string]int{}
		var last BackupJob
		for p, n := (Page{Limit: 2}), 0; ; n++ {
			list, next, err := f.BackupJobs(ctx, testAccount, testRegion, JobFilter{}, p)
			must(t, err)
			for _, j := range list {
				seen[j.ID]++
				if !last.Created.IsZero() && last.Created.Before(j.Created) {
					t.Fatal("not newest first")
				}
				last = j
			}
			if p.Token = next; next == "" {
				break
			}
			f.start(BackupRequest{}) // in between
		}
		for _, id := range ids {
			if seen[id] != 1 {
				t.Fatalf("job %s was listed %d times", id, seen[id])
			}
		}
		_, next, err := f.BackupJobs(ctx, testAccount, testRegion, JobFilter{}, Page{Limit: 2})
		must(t, err)
		_, _, err = f.BackupJobs(ctx, testAccount, testRegion, JobFilter{State: StateFailed}, Page{Limit: 2, Token: next})
		want(t, err, fault.Invalid, "")
		count := func(account string, fl JobFilter) int {
			t.Helper()
			list, _, err := f.BackupJobs(ctx, account, testRegion, fl, Page{})
			must(t, err)
			return len(list)
		}
		all := count(testAccount, JobFilter{})
		must(t, f.StopBackup(ctx, testAccount, testRegion, ids[0]))
		for _, c := range []struct {
			account string
			f       JobFilter
			want    int
		}{
			{testAccount, JobFilter{State: StateAborted}, 1},
			{testAccount, JobFilter{ResourceARN: testFS, Vault: "main", ResourceType: "EFS"}, all},
			{testAccount, JobFilter{Vault: "other"}, 0},
			{testAccount, JobFilter{MessageCategory: CategoryOther}, 1},
			{testAccount, JobFilter{CompleteAfter: f.clock.Now().Add(-time.Minute)}, 1},
			{testAccount, JobFilter{CreatedBefore: f.job(ids[0]).Created}, 0},
			{testAccount, JobFilter{CreatedAfter: f.clock.Now().Add(time.Second)}, 0},
			{testAccount, JobFilter{ParentID: "x"}, 0},
			{testManager, JobFilter{}, 0},
			{testManager, JobFilter{Account: AllAccounts}, all},
			{testManager, JobFilter{Account: testAccount}, all},
			{testManager, JobFilter{Account: "333333333333"}, 0},
			{testOther, JobFilter{Account: AllAccounts}, 0},
			{testOther, JobFilter{Account: testAccount}, 0},
			{testAccount, JobFilter{Account: AllAccounts}, all},
		} {
			if got := count(c.account, c.f); got != c.want {
				t.Errorf("%s %+v: %d jobs, want %d", c.account, c.f, got, c.want)
			}
		}
		f.clock.Advance(31 * 24 * time.Hour)
		if got := count(testAccount, JobFilter{}); got != 0 {
			t.Errorf("%d jobs after a month", got)
		}
		if f.job(ids[0]).ID != ids[0] {
			t.Error("an old job cannot be described")
		}
	})
}

// Every step that the service may take is in the tables, no final state is left, and every state can be reached and ended.
func TestStateMachines(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]machine{"backup": backupStates, "copy": copyStates, "restore": restoreStates} {
		reached, todo := map[State]bool{}, []State{""}
		for len(todo) > 0 {
			s := todo[0]
			todo = todo[1:]
			for _, next := range m[s] {
				if !reached[next] {
					reached[next] = true
					todo = append(todo, next)
				}
			}
		}
		for s := range m {
			if s != "" && !reached[s] {
				t.Errorf("%s: %s is never reached", name, s)
			}
		}
		for s := range reached {
			ends := map[State]bool{StateAborted: true, StateCompleted: true, StateFailed: true, StateExpired: true, StatePartial: true}[s]
			if m.final(s) != ends {
				t.Errorf("%s: final(%s) = %v", name, s, m.final(s))
			}
			for from := range m {
				if err := m.step(from, s); (err == nil) != slices.Contains(m[from], s) {
					t.Errorf("%s: step %s to %s: %v", name, from, s, err)
				}
			}
		}
	}
}

func TestPointARNsHaveTheFormOfTheirType(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	id := pointID(testAccount, testRegion, "JOB")
	if id != pointID(testAccount, testRegion, "JOB") || id == pointID(testOther, testRegion, "JOB") || id == copyPointID(testAccount, testRegion, "JOB") {
		t.Fatal("ids do not derive from the job alone")
	}
	hex := strings.ReplaceAll(id, "-", "")
	for _, c := range []struct{ kind, resource, want string }{
		{"EFS", testFS, "arn:aws:backup:us-east-1:111111111111:recovery-point:" + id},
		{"EBS", "arn:aws:ec2:us-east-1:111111111111:volume/vol-1", "arn:aws:ec2:us-east-1::snapshot/snap-" + hex[:17]},
		{"RDS", "arn:aws:rds:us-east-1:111111111111:db:main", "arn:aws:rds:us-east-1:111111111111:snapshot:awsbackup:job-" + id},
		{"S3", "arn:aws:s3:::app-uploads", "arn:aws:backup:us-east-1:111111111111:recovery-point:app-uploads-20260301120000-" + hex[:8]},
		{"DynamoDB", "arn:aws:dynamodb:us-east-1:111111111111:table/users", "arn:aws:dynamodb:us-east-1:111111111111:table/users/backup/20260301120000-" + hex[:8]},
	} {
		if got := pointARN(c.kind, nil, testAccount, testRegion, c.resource, id, made); got != c.want {
			t.Errorf("%s: %s, want %s", c.kind, got, c.want)
		}
		if got := typeOfARN(c.resource); got != c.kind {
			t.Errorf("%s is taken for %q", c.resource, got)
		}
	}
	if got := pointARN("DynamoDB", map[string]bool{"DynamoDB": true}, testAccount, testRegion, "arn:aws:dynamodb:us-east-1:111111111111:table/users", id, made); got != PointARN(testAccount, testRegion, id) {
		t.Errorf("managed DynamoDB: %s", got)
	}
}
