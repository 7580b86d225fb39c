package backup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/schedule"
)

// protectAll makes a plan with the rules and a selection of everything declared.
func (f *fixture) protectAll(rules ...Rule) PlanRecord {
	f.t.Helper()
	for i := range rules {
		if rules[i].Vault == "" {
			rules[i].Vault = "main"
		}
		if rules[i].Name == "" {
			rules[i].Name = fmt.Sprint("rule-", i)
		}
	}
	p := f.plan(Plan{Name: "plan", Rules: rules})
	_, err := f.CreateSelection(context.Background(), testAccount, testRegion, p.ID, Selection{Name: "all", RoleARN: testRole, Resources: []string{"*"}}, "")
	must(f.t, err)
	return p
}

func (f *fixture) runSchedules() SchedulerStats {
	f.t.Helper()
	st, err := f.RunSchedules(context.Background())
	must(f.t, err)
	return st
}

// runs lists the jobs of plans as "time resource state", oldest first.
func (f *fixture) runs() (list []string) {
	f.t.Helper()
	must(f.t, f.DB.View(context.Background(), func(ctx context.Context, tx *db.Tx) error {
		jobs, err := queryBackupJobs(ctx, tx, " WHERE plan_id <> '' ORDER BY start_by, resource_arn, id")
		for _, j := range jobs {
			at := j.StartBy.Add(-time.Hour)
			list = append(list, at.Format("01-02T15:04")+" "+j.ResourceARN[len(j.ResourceARN)-1:]+" "+string(j.State))
		}
		return err
	}))
	return list
}

func hourly() Rule {
	return Rule{Schedule: "cron(0 * * * ? *)", StartMinutes: 60, CompleteMinutes: 120}
}

func TestSchedulerRunsEachRuleOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		f.declare(testFS+"a", testFS+"b")
		f.protectAll(Rule{Schedule: "cron(0 5 * * ? *)", StartMinutes: 60, CompleteMinutes: 120})
		if st := f.runSchedules(); st.Jobs != 0 {
			t.Fatalf("before time: %+v", st)
		}
		if at, ok, err := f.NextSchedule(context.Background()); err != nil || !ok || !at.Equal(time.Date(2026, 3, 2, 5, 0, 0, 0, time.UTC)) {
			t.Fatal(at, ok, err)
		}
		f.clock.Set(time.Date(2026, 3, 2, 5, 0, 0, 0, time.UTC))
		if st := f.runSchedules(); st.Jobs != 2 || st.Rules != 1 {
			t.Fatalf("%+v", st)
		}
		for range 3 {
			if st := f.runSchedules(); st.Jobs != 0 {
				t.Fatalf("again: %+v", st)
			}
		}
		if got := strings.Join(f.runs(), ", "); got != "03-02T05:00 a CREATED, 03-02T05:00 b CREATED" {
			t.Fatal(got)
		}
		if at, _, err := f.NextSchedule(context.Background()); err != nil || !at.Equal(time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)) {
			t.Fatal("the start windows end first:", at, err)
		}
		f.clock.Set(time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC))
		if st := f.runSchedules(); st.Expired != 2 {
			t.Fatalf("%+v", st)
		}
		f.idle(BackupKind)
	})
}

func TestMissedRunsAreNeverSilent(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		f.declare(testFS + "a")
		f.protectAll(hourly())
		f.clock.Set(time.Date(2026, 3, 1, 16, 20, 0, 0, time.UTC)) // 13, 14, 15 and 16 o'clock are due
		f.runSchedules()
		if got := strings.Join(f.runs(), ", "); got != "03-01T15:00 a EXPIRED, 03-01T16:00 a CREATED" {
			t.Fatal(got)
		}
		list, _, err := f.BackupJobs(context.Background(), testAccount, testRegion, JobFilter{State: StateExpired}, Page{})
		must(t, err)
		if !strings.Contains(list[0].Message, "Backup job expired before completion. The service was not running for 3 runs") {
			t.Fatal(list[0].Message)
		}
	})
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		f.declare(testFS + "a")
		f.protectAll(Rule{Schedule: "cron(0 5 * * ? *)", StartMinutes: 60, CompleteMinutes: 120})
		f.clock.Set(time.Date(2026, 3, 2, 5, 59, 0, 0, time.UTC))
		f.runSchedules() // late, but inside the window
		f.clock.Set(time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC))
		f.runSchedules() // too late
		if got := strings.Join(f.runs(), ", "); got != "03-02T05:00 a EXPIRED, 03-03T05:00 a EXPIRED" {
			t.Fatal(got)
		}
	})
}

func TestClockJumpsNeitherDoubleNorLoseRuns(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		f.declare(testFS + "a")
		f.protectAll(hourly())
		day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
		random := rand.New(rand.NewPCG(7, 7))
		// The clock stumbles through a day: forward a little, now and then back, once a month ahead and home again.
		for now := day; now.Before(day.Add(24 * time.Hour)); {
			f.clock.Set(now)
			f.runSchedules()
			switch random.IntN(12) {
			case 0:
				f.clock.Set(now.Add(-time.Duration(random.IntN(180)) * time.Minute))
				f.runSchedules()
			case 1:
				f.clock.Set(now.AddDate(0, 1, 0))
				f.runSchedules()
				f.clock.Set(now)
				f.runSchedules()
			default:
				now = now.Add(time.Duration(1+random.IntN(20)) * time.Minute)
			}
		}
		seen := map[string]int{}
		must(t, f.DB.View(context.Background(), func(ctx context.Context, tx *db.Tx) error {
			jobs, err := queryBackupJobs(ctx, tx, " WHERE scheduled > 0")
			for _, j := range jobs {
				seen[j.Scheduled.Format("01-02T15:04")]++
			}
			return err
		}))
		for h := range 24 {
			if n := seen[fmt.Sprintf("03-02T%02d:00", h)]; n != 1 {
				t.Errorf("%d jobs for %d o'clock", n, h)
			}
		}
	})
}

func TestARunIsRepeatedWithoutDoublesAfterACrash(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS+"a", testFS+"b", testFS+"c")
		f.protectAll(hourly())
		f.clock.Set(time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC))
		due, err := f.dueRules(ctx)
		must(t, err)
		var r run
		must(t, f.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
			r, _, err = readRun(ctx, tx, due[0])
			return err
		}))
		_, err = f.addRun(ctx, r, r.targets[:2]) // and here the process dies
		must(t, err)
		if st := f.runSchedules(); st.Jobs != 1 {
			t.Fatalf("%+v", st)
		}
		if n := len(f.runs()); n != 3 {
			t.Fatalf("%d jobs", n)
		}
	})
}

func TestUndeclaredResourcesAreReported(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		p := f.plan(testPlan())
		_, err := f.CreateSelection(ctx, testAccount, testRegion, p.ID, Selection{Name: "s", RoleARN: testRole, Resources: []string{testFS}}, "")
		must(t, err)
		f.clock.Set(time.Date(2026, 3, 2, 5, 0, 0, 0, time.UTC))
		f.runSchedules()
		list, _, err := f.BackupJobs(ctx, testAccount, testRegion, JobFilter{}, Page{})
		must(t, err)
		if len(list) != 1 || list[0].State != StateFailed || list[0].Category != CategoryMissing || !strings.Contains(list[0].Message, testFS+" is not declared by any agent") || list[0].ResourceType != "EFS" {
			t.Fatalf("%+v", list)
		}
		f.idle(BackupKind)
	})
}

func TestTwoSelectionsOfOneResourceMakeOneJob(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS + "a")
		p := f.protectAll(hourly())
		f.clock.Advance(time.Minute)
		_, err := f.CreateSelection(ctx, testAccount, testRegion, p.ID, Selection{Name: "t", RoleARN: testRole + "2", Tags: []KeyValue{{"Criticality", "high"}}}, "")
		must(t, err)
		f.clock.Set(time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC))
		f.runSchedules()
		list, _, err := f.BackupJobs(ctx, testAccount, testRegion, JobFilter{}, Page{})
		must(t, err)
		if len(list) != 1 || list[0].RoleARN != testRole {
			t.Fatalf("%+v", list)
		}
	})
}

func TestAChangedRuleRunsByItsNewSchedule(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS + "a")
		p := f.protectAll(hourly())
		f.clock.Set(time.Date(2026, 3, 1, 13, 30, 0, 0, time.UTC)) // 13:00 is due and nobody has looked yet
		changed := p.Plan
		changed.Rules = []Rule{changed.Rules[0]}
		changed.Rules[0].CompleteMinutes = 240
		_, err := f.UpdatePlan(ctx, testAccount, testRegion, p.ID, changed) // the same schedule: it stays due
		must(t, err)
		f.runSchedules()
		changed.Rules[0].Schedule = "cron(45 13 * * ? *)"
		_, err = f.UpdatePlan(ctx, testAccount, testRegion, p.ID, changed)
		must(t, err)
		f.clock.Set(time.Date(2026, 3, 1, 14, 5, 0, 0, time.UTC))
		f.runSchedules()
		if got := strings.Join(f.runs(), ", "); got != "03-01T13:00 a EXPIRED, 03-01T13:45 a CREATED" {
			t.Fatal(got)
		}
	})
}

func TestOnlyTheLongestOfOverlappingRulesRuns(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.vault("main")
		f.declare(testFS + "a")
		days := func(n int64) *schedule.Lifecycle { return &schedule.Lifecycle{DeleteAfterDays: &n} }
		p := f.protectAll(
			Rule{Schedule: "cron(0 * * * ? *)", StartMinutes: 60, CompleteMinutes: 120, Lifecycle: days(1)},
			Rule{Schedule: "cron(0 0/12 * * ? *)", StartMinutes: 480, CompleteMinutes: 600, Lifecycle: days(7)})
		end := f.clock.Now().Add(24 * time.Hour)
		for f.clock.Now().Before(end) {
			f.clock.Advance(30 * time.Minute)
			f.runSchedules()
		}
		n := map[string]int{}
		must(t, f.DB.View(context.Background(), func(ctx context.Context, tx *db.Tx) error {
			jobs, err := queryBackupJobs(ctx, tx, "")
			for _, j := range jobs {
				n[j.CreatedBy.RuleID]++
			}
			return err
		}))
		if n[p.Rules[0].ID] != 8 || n[p.Rules[1].ID] != 2 {
			t.Fatalf("runs: %v", n)
		}
	})
}

// A year of daily and hourly-of-night rules in several time zones through the real catalog and queue, every job worked
// off: each intended window has exactly one job, across both clock changes.
func TestAYearOfSchedules(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a simulated year")
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	k := clock.NewFake(begin)
	f := newFixture(t, dbtest.Open(t, t.TempDir()+"/catalog.db", k.Now), k)
	ctx := context.Background()
	f.vault("main")
	f.declare(testFS + "a")
	zones := []string{"Etc/UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"}
	var rules []Rule
	for i, z := range zones {
		rules = append(rules, Rule{Name: strings.ReplaceAll(z, "/", "-"), Schedule: fmt.Sprintf("cron(%d 2 * * ? *)", 7*i), Timezone: z, StartMinutes: 60, CompleteMinutes: 120})
	}
	p := f.protectAll(rules...)
	end := begin.AddDate(1, 0, 0)
	for {
		at, ok, err := f.NextSchedule(ctx)
		must(t, err)
		if !ok || at.After(end) {
			break
		}
		if at.After(k.Now()) {
			k.Set(at)
		}
		f.runSchedules()
		for {
			l, ok, err := f.Jobs.Claim(ctx, BackupKind)
			must(t, err)
			if !ok {
				break
			}
			must(t, f.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error { // the shortest body there is
				if _, err := tx.Exec(ctx, "UPDATE backup_job SET state = 'COMPLETED' WHERE id = ?", l.ID); err != nil {
					return err
				}
				return l.Complete(ctx, tx)
			}))
		}
	}
	got := map[string]map[int64]int{}
	must(t, f.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		jobs, err := queryBackupJobs(ctx, tx, "")
		for _, j := range jobs {
			if got[j.CreatedBy.RuleID] == nil {
				got[j.CreatedBy.RuleID] = map[int64]int{}
			}
			if j.State != StateCompleted {
				t.Errorf("job of %v ended %s: %s", j.Scheduled, j.State, j.Message)
			}
			got[j.CreatedBy.RuleID][j.Scheduled.Unix()]++
		}
		return err
	}))
	for _, rule := range p.Rules {
		loc, err := time.LoadLocation(rule.Timezone)
		must(t, err)
		days := map[string]bool{}
		for at, n := range got[rule.ID] {
			local := time.Unix(at, 0).In(loc).Format("2006-01-02")
			if n != 1 || days[local] {
				t.Errorf("%s: %d jobs at %v, or two on one day", rule.Timezone, n, time.Unix(at, 0).UTC())
			}
			days[local] = true
		}
		for day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC); day.Year() == 2026; day = day.AddDate(0, 0, 1) {
			if !days[day.Format("2006-01-02")] {
				t.Errorf("%s: no backup on %s", rule.Timezone, day.Format("2006-01-02"))
			}
		}
	}
}

func TestOldJobsAreForgottenAndWaitingOnesAreNot(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.vault("main")
		f.declare(testFS)
		old := f.start(BackupRequest{Token: "t"})
		must(t, f.StopBackup(ctx, testAccount, testRegion, old.ID))
		waits := f.start(BackupRequest{StartMinutes: schedule.MaxStartMinutes})
		if n, err := f.ForgetJobs(ctx); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		f.clock.Advance(jobKept + time.Second)
		if n, err := f.ForgetJobs(ctx); err != nil || n != 2 { // the job and its token
			t.Fatal(n, err)
		}
		if f.job(waits.ID).State != StateCreated {
			t.Fatal("a waiting job was touched")
		}
	})
}
