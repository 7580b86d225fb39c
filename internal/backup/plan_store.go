package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/schedule"
)

const planColumns = `p.account, p.region, p.id, v.version, v.document, v.created, p.deleted, p.last_run, p.request_id`

const planTables = ` FROM plan p JOIN plan_version v ON v.account = p.account AND v.region = p.region AND v.plan_id = p.id`

// plan reads a version of a plan; version "" is the current one and not found once the plan is deleted. Errors: NotFound.
func plan(ctx context.Context, tx *db.Tx, account, region, id, version string) (PlanRecord, error) {
	var w where
	w.add("p.account = ? AND p.region = ? AND p.id = ?", account, region, id)
	if version == "" {
		w.add("p.deleted = 0 AND v.version = p.version")
	} else {
		w.add("v.version = ?", version)
	}
	r, err := scanPlan(tx.QueryRow(ctx, "SELECT "+planColumns+planTables+w.String(), w.args...))
	if db.NoRows(err) {
		return PlanRecord{}, errNoPlan(id)
	}
	return r, err
}

func scanPlan(row scanner) (r PlanRecord, err error) {
	var document string
	var created, deleted, lastRun int64
	if err := row.Scan(&r.Account, &r.Region, &r.ID, &r.VersionID, &document, &created, &deleted, &lastRun, &r.CreatorRequestID); err != nil {
		return PlanRecord{}, err
	}
	if err := json.Unmarshal([]byte(document), &r.Plan); err != nil {
		return PlanRecord{}, fmt.Errorf("read backup plan %s: %w", r.ID, err)
	}
	r.Created, r.Deleted, r.LastRun = db.Time(created), db.Time(deleted), db.Time(lastRun)
	return r, nil
}

func insertVersion(ctx context.Context, tx *db.Tx, r PlanRecord, number int64) error {
	text, err := json.Marshal(r.Plan)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO plan_version (account, region, plan_id, version, number, document, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
		r.Account, r.Region, r.ID, r.VersionID, number, string(text), db.Micros(r.Created))
	return err
}

// planList reads plans, or with id the versions of one plan.
func (s *Service) planList(ctx context.Context, account, region, id string, deleted bool, p Page) (list []PlanRecord, next string, err error) {
	at := []string{"plans", account, region, id, fmt.Sprint(deleted)}
	c, started, err := s.start(p, at...)
	if err != nil {
		return nil, "", err
	}
	var w where
	w.add("p.account = ? AND p.region = ?", account, region)
	key := "p.created, p.id"
	if id == "" {
		w.add("v.version = p.version")
	} else {
		w.add("p.id = ?", id)
		key = "v.number, v.version"
	}
	if !deleted {
		w.add("p.deleted = 0")
	}
	if started {
		w.add("("+key+") < (?, ?)", c.At, c.ID)
	}
	order := "p.created DESC, p.id DESC"
	if id != "" {
		order = "v.number DESC, v.version DESC"
	}
	var keys []cursor
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if id != "" {
			var found bool
			if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM plan WHERE account = ? AND region = ? AND id = ?)", account, region, id).Scan(&found); err != nil {
				return err
			}
			if !found {
				return errNoPlan(id)
			}
		}
		rows, err := tx.Query(ctx, "SELECT "+key+", "+planColumns+planTables+w.String()+" ORDER BY "+order+" LIMIT ?", append(w.args, p.size()+1)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k cursor
			r, err := scanPlan(prefixed{rows, []any{&k.At, &k.ID}})
			if err != nil {
				return err
			}
			list, keys = append(list, r), append(keys, k)
		}
		return rows.Err()
	})
	if len(list) > p.size() {
		list = list[:p.size()]
		next = s.token(keys[len(list)-1], at...)
	}
	return list, next, err
}

// prefixed scans further columns that stand before those of a row.
type prefixed struct {
	scanner
	first []any
}

func (p prefixed) Scan(dest ...any) error {
	return p.scanner.Scan(append(slices.Clone(p.first), dest...)...)
}

// armRules makes the due rows of a plan those of its current rules. A rule that was there with the same schedule keeps its
// row: what is due and not yet run stays due.
func armRules(ctx context.Context, tx *db.Tx, r PlanRecord, was []Rule) error {
	keep := map[string]bool{}
	for _, rule := range r.Rules {
		keep[rule.ID] = slices.ContainsFunc(was, func(w Rule) bool {
			return w.ID == rule.ID && w.Schedule == rule.Schedule && w.Timezone == rule.Timezone
		})
	}
	for _, w := range was {
		if !keep[w.ID] {
			if _, err := tx.Exec(ctx, "DELETE FROM plan_rule WHERE account = ? AND region = ? AND plan_id = ? AND rule_id = ?", r.Account, r.Region, r.ID, w.ID); err != nil {
				return err
			}
		}
	}
	for _, rule := range r.Rules {
		if keep[rule.ID] {
			continue
		}
		e, err := schedule.Parse(rule.Schedule, rule.Timezone)
		if err != nil {
			return err
		}
		next, _ := e.Anchored(tx.Now).Next(tx.Now)
		if _, err := tx.Exec(ctx, "INSERT INTO plan_rule (account, region, plan_id, rule_id, anchor, next_at, advanced_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
			r.Account, r.Region, r.ID, rule.ID, db.Micros(tx.Now), db.Micros(next), db.Micros(tx.Now)); err != nil {
			return err
		}
	}
	return nil
}

// ruleAnchors reads since when each rule of a plan has its schedule, by rule id.
func ruleAnchors(ctx context.Context, tx *db.Tx, r PlanRecord) (map[string]time.Time, error) {
	rows, err := tx.Query(ctx, "SELECT rule_id, anchor FROM plan_rule WHERE account = ? AND region = ? AND plan_id = ?", r.Account, r.Region, r.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	anchors := map[string]time.Time{}
	for rows.Next() {
		var id string
		var at int64
		if err := rows.Scan(&id, &at); err != nil {
			return nil, err
		}
		anchors[id] = db.Time(at)
	}
	return anchors, rows.Err()
}

// timeRules turns the rules of a plan into what the schedule package computes with.
func timeRules(p Plan, anchors map[string]time.Time) ([]schedule.Rule, error) {
	rules := make([]schedule.Rule, len(p.Rules))
	for i, r := range p.Rules {
		e, err := schedule.Parse(r.Schedule, r.Timezone)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		rules[i] = schedule.Rule{Expression: e.Anchored(anchors[r.ID]), StartMinutes: r.StartMinutes, Lifecycle: r.lifecycle()}
	}
	return rules, nil
}
