package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/schedule"
)

// How the scheduler keeps its promise that each run of a rule happens once and none disappears:
//   - plan_rule.next_at is the next run of a rule. It moves on only in the transaction after the last one that inserted
//     jobs of the runs before it, so a crash repeats a run rather than dropping it.
//   - A run has one job per resource: its id derives from plan, rule, time and resource, and a unique index says it again.
//     So repeating a run, on this node or another, after a crash or a clock that went back, makes nothing twice.
//   - Of runs that were missed, the newest one still inside its start window takes place; for the others each resource
//     gets one EXPIRED job that says how many there were.
//   - A clock that went back behind the last look at a rule makes the rule compute its next run again.

// SchedulerStats says what one pass did.
type SchedulerStats struct {
	Rules   int // rules that were due
	Jobs    int // jobs made, those born EXPIRED or FAILED included
	Expired int // jobs that waited until their start window was over
}

// jobBatch bounds one transaction, so that a plan with many resources does not hold up other writers.
const jobBatch = 250

// RunSchedules makes the jobs of all runs that are due and expires waiting jobs whose start window is over. A rule that
// fails does not hold up the others; the error joins what went wrong. Several nodes may call it at once.
func (s *Service) RunSchedules(ctx context.Context) (st SchedulerStats, err error) {
	due, err := s.dueRules(ctx)
	if err != nil {
		return st, err
	}
	var failed []error
	for _, d := range due {
		n, err := s.runRule(ctx, d)
		st.Rules, st.Jobs = st.Rules+1, st.Jobs+n
		if err != nil {
			failed = append(failed, fmt.Errorf("plan %s, rule %s: %w", d.planID, d.ruleID, err))
		}
	}
	n, err := s.expireWaiting(ctx)
	st.Expired = n
	return st, errors.Join(append(failed, err)...)
}

// NextSchedule returns when RunSchedules has something to do next; ok is false when nothing is planned. A changed plan may make
// it earlier: wait for Jobs.Woken(ScheduleKind) too.
func (s *Service) NextSchedule(ctx context.Context) (at time.Time, ok bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		var us int64
		err := tx.QueryRow(ctx, `SELECT at FROM (SELECT min(next_at) AS at FROM plan_rule WHERE next_at > 0
			UNION ALL SELECT min(start_by) AS at FROM backup_job WHERE state IN ('CREATED', 'PENDING')) AS due WHERE at IS NOT NULL ORDER BY at LIMIT 1`).Scan(&us)
		if db.NoRows(err) {
			return nil
		}
		at, ok = db.Time(us), err == nil
		return err
	})
	return at, ok, err
}

// schedulePoll bounds the wait between two looks, because another node may have changed a plan or somebody the clock.
const (
	schedulePoll  = time.Minute
	scheduleRetry = 10 * time.Second
	scheduleFloor = 10 * time.Millisecond // a rule that another node is moving on is due until it has
)

// RunScheduler calls RunSchedules whenever something is due, until ctx ends.
func (s *Service) RunScheduler(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := schedulePoll
		if _, err := s.RunSchedules(ctx); err != nil {
			if ctx.Err() == nil {
				s.Log.Error("scheduler", "err", err)
			}
			wait = scheduleRetry // what failed is still due
		} else if at, ok, err := s.NextSchedule(ctx); err == nil && ok {
			wait = max(min(wait, at.Sub(s.Clock.Now())), scheduleFloor)
		}
		select {
		case <-ctx.Done():
		case <-s.Jobs.Woken(ScheduleKind):
		case <-s.Clock.After(wait):
		}
	}
	return nil
}

// dueRule is a row of plan_rule.
type dueRule struct {
	account, region, planID, ruleID string
	next                            time.Time
	advanced                        time.Time
}

func (s *Service) dueRules(ctx context.Context) (list []dueRule, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list = nil
		now := db.Micros(tx.Now)
		rows, err := tx.Query(ctx, `SELECT account, region, plan_id, rule_id, next_at, advanced_at FROM plan_rule WHERE next_at > 0 AND next_at <= ?
			UNION SELECT account, region, plan_id, rule_id, next_at, advanced_at FROM plan_rule WHERE advanced_at > ? ORDER BY 5, 3, 4`, now, now)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d dueRule
			var next, advanced int64
			if err := rows.Scan(&d.account, &d.region, &d.planID, &d.ruleID, &next, &advanced); err != nil {
				return err
			}
			d.next, d.advanced = db.Time(next), db.Time(advanced)
			list = append(list, d)
		}
		return rows.Err()
	})
	return list, err
}

// run is one due run of a rule, ready to be given to the resources.
type run struct {
	plan     PlanRecord
	rule     Rule
	at       time.Time // the run that takes place; zero: none does
	missed   int       // runs that do not take place any more
	missedAt time.Time // the newest of them
	next     time.Time // zero: none
	targets  []target
	managed  map[string]bool
	now      time.Time
}

// target is one resource of a run with the role of the selection that chose it.
type target struct {
	Resource
	role       string
	undeclared bool
}

// runRule makes the jobs of a due rule and moves it on to its next run.
func (s *Service) runRule(ctx context.Context, d dueRule) (made int, err error) {
	var r run
	var due bool
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		r, due, err = readRun(ctx, tx, d)
		return err
	})
	if err != nil {
		return 0, err
	}
	if due {
		for targets := r.targets; len(targets) > 0; targets = targets[min(jobBatch, len(targets)):] {
			n, err := s.addRun(ctx, r, targets[:min(jobBatch, len(targets))])
			made += n
			if err != nil {
				return made, err
			}
		}
		if made > 0 {
			s.Jobs.Wake(BackupKind)
		}
	}
	return made, s.advance(ctx, d, r)
}

// advance moves a rule on to its next run, unless somebody else has or the plan was changed meanwhile.
func (s *Service) advance(ctx context.Context, d dueRule, r run) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE plan_rule SET next_at = ?, advanced_at = ? WHERE account = ? AND region = ? AND plan_id = ? AND rule_id = ? AND next_at = ? AND advanced_at = ?",
			db.Micros(r.next), db.Micros(r.now), d.account, d.region, d.planID, d.ruleID, db.Micros(d.next), db.Micros(d.advanced))
		if err != nil || n == 0 || r.at.IsZero() {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE plan SET last_run = ? WHERE account = ? AND region = ? AND id = ?", db.Micros(r.at), d.account, d.region, d.planID)
		return err
	})
}

// readRun computes what a due rule has to do now; due is false when no run of it is.
func readRun(ctx context.Context, tx *db.Tx, d dueRule) (r run, due bool, err error) {
	r.now = tx.Now
	r.plan, err = plan(ctx, tx, d.account, d.region, d.planID, "")
	if fault.Is(err, fault.NotFound) { // deleted meanwhile, its row with it
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	anchors, err := ruleAnchors(ctx, tx, r.plan)
	if err != nil {
		return r, false, err
	}
	rules, err := timeRules(r.plan.Plan, anchors)
	if err != nil {
		return r, false, err
	}
	for i, rule := range r.plan.Rules {
		if rule.ID == d.ruleID {
			r.rule = rule
			due = r.compute(rules, i, d)
		}
	}
	if r.rule.ID == "" || !due {
		return r, false, nil
	}
	settings, err := regionSettings(ctx, tx, d.account, d.region)
	if err != nil {
		return r, false, err
	}
	r.managed = settings.Manage
	r.targets, err = targets(ctx, tx, r.plan, settings.OptIn)
	return r, true, err
}

// compute finds the runs from the due time up to now, and the next one after now. Runs that yield to a rule of longer
// retention are not counted: they were never to take place.
func (r *run) compute(rules []schedule.Rule, i int, d dueRule) (due bool) {
	e := rules[i].Expression
	if at, ok := e.Next(r.now); ok {
		r.next = at
	}
	if r.now.Before(d.advanced) || d.next.IsZero() {
		return false // the clock went back: only the next run is to be computed again
	}
	const most = 100_000 // runs to count: 11 years of an hourly rule
	var newest, before time.Time
	for at := range e.Between(d.next.Add(-time.Microsecond), r.now) {
		if !schedule.Runs(rules, i, at) {
			continue
		}
		newest, before = at, newest
		if r.missed++; r.missed == most {
			break
		}
	}
	if r.missed == 0 {
		return false
	}
	r.missedAt = newest
	if r.now.Before(r.window(newest).StartBy) {
		r.at, r.missedAt = newest, before
		r.missed--
	}
	return true
}

func (r *run) window(at time.Time) schedule.Window {
	return schedule.WindowOf(at, r.rule.StartMinutes, r.rule.CompleteMinutes)
}

// targets are the resources of all selections of a plan, each once: the selection that was made first gives the role.
func targets(ctx context.Context, tx *db.Tx, p PlanRecord, optIn map[string]bool) (list []target, err error) {
	chosen, err := selections(ctx, tx, p.Account, p.Region, p.ID)
	if err != nil || len(chosen) == 0 {
		return nil, err
	}
	declared, err := declaredResources(ctx, tx, p.Account, p.Region)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, sel := range chosen {
		found, undeclared := sel.Match(declared, optIn)
		for _, name := range undeclared {
			if !seen[name] {
				seen[name] = true
				list = append(list, target{Resource: Resource{ARN: name, Type: typeOfARN(name)}, role: sel.RoleARN, undeclared: true})
			}
		}
		for _, r := range found {
			if !seen[r.ARN] {
				seen[r.ARN] = true
				list = append(list, target{Resource: r, role: sel.RoleARN})
			}
		}
	}
	return list, nil
}

// addRun makes the jobs of a run for some resources.
func (s *Service) addRun(ctx context.Context, r run, targets []target) (made int, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		made = 0
		for _, t := range targets {
			if err := s.addMissed(ctx, tx, r, t, &made); err != nil {
				return err
			}
			if r.at.IsZero() {
				continue
			}
			added, err := s.addBackupJob(ctx, tx, r.job(t, r.at, "run"))
			if err != nil {
				return err
			}
			if added {
				made++
			}
		}
		return nil
	})
	return made, err
}

// job is the backup job of a run and resource. Its id is the same whenever and wherever it is computed.
func (r *run) job(t target, at time.Time, what string) BackupJob {
	p, window := r.plan, r.window(at)
	id := ident.NamedUUID(what, p.Account, p.Region, p.ID, r.rule.ID, at.UTC().Format(time.RFC3339Nano), t.ARN)
	j := BackupJob{
		Account: p.Account, Region: p.Region, ID: strings.ToUpper(id), State: StateCreated, ResourceARN: t.ARN, ResourceType: t.Type,
		Vault: r.rule.Vault, Scheduled: at, Created: r.now, StartBy: window.StartBy, CompleteBy: window.CompleteBy,
		backupSpec: backupSpec{ResourceName: t.Name, RoleARN: t.role, Lifecycle: r.rule.lifecycle(), Tags: r.rule.Tags, Copies: r.rule.Copies,
			CreatedBy: Creator{PlanARN: p.ARN(), PlanID: p.ID, PlanName: p.Name, PlanVersion: p.VersionID,
				RuleID: r.rule.ID, RuleName: r.rule.Name, RuleCron: r.rule.Schedule, RuleTimezone: r.rule.Timezone}},
	}
	for _, a := range p.Advanced {
		if a.ResourceType == t.Type {
			j.Options = a.Options
		}
	}
	j.PointARN = pointARN(t.Type, r.managed, p.Account, p.Region, t.ARN, pointID(p.Account, p.Region, j.ID), at)
	if t.undeclared {
		j.State, j.Completed, j.Category = StateFailed, r.now, CategoryMissing
		j.Message = "Backup job failed because " + undeclaredText(t.ARN, p.Account, p.Region)
	}
	return j
}

// addMissed records the runs that do not take place any more as one EXPIRED job of the resource. The record is not the job of
// the run, so that a run which was missed because the clock had jumped ahead still takes place when its time has come.
func (s *Service) addMissed(ctx context.Context, tx *db.Tx, r run, t target, made *int) error {
	if r.missed == 0 {
		return nil
	}
	var ran bool // a crash may have come between the run's jobs and the rule's next run
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM backup_job WHERE account = ? AND region = ? AND plan_id = ? AND rule_id = ? AND scheduled = ? AND resource_arn = ?)",
		r.plan.Account, r.plan.Region, r.plan.ID, r.rule.ID, db.Micros(r.missedAt), t.ARN).Scan(&ran); err != nil || ran {
		return err
	}
	j := r.job(t, r.missedAt, "missed run")
	j.Scheduled = time.Time{}
	j.State, j.Completed, j.Category = StateExpired, r.now, CategoryExpired
	j.Message = messageExpired + " The service was not running when it was due."
	if r.missed > 1 {
		j.Message = fmt.Sprintf("%s The service was not running for %d runs of the rule up to this one.", messageExpired, r.missed)
	}
	added, err := s.addBackupJob(ctx, tx, j)
	if added {
		*made++
	}
	return err
}

// expireWaiting ends the jobs that no worker began in their start window.
func (s *Service) expireWaiting(ctx context.Context) (n int, err error) {
	for {
		var batch []BackupJob
		err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
			batch, err = queryBackupJobs(ctx, tx, " WHERE state IN ('CREATED', 'PENDING') AND start_by <= ? ORDER BY start_by LIMIT ?", db.Micros(tx.Now), jobBatch)
			if err != nil {
				return err
			}
			for i := range batch {
				j := &batch[i]
				message, category := messageExpired, CategoryExpired
				other, err := busy(ctx, tx, j.Account, j.ResourceARN, j.ID)
				if err != nil {
					return err
				}
				if other != "" {
					message, category = messageBusy, CategoryBusy
				}
				if err := s.Jobs.Drop(ctx, tx, BackupKind, j.Account, j.ID); err != nil {
					return err
				}
				if err := s.closeBackup(ctx, tx, j, StateExpired, message, category); err != nil {
					return err
				}
			}
			return nil
		})
		n += len(batch)
		if err != nil || len(batch) < jobBatch {
			return n, err
		}
	}
}
