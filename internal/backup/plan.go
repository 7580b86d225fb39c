package backup

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/schedule"
)

const (
	maxPlans        = 300  // per account and region
	maxPlanVersions = 2000 // per plan
)

// Plan is the document of a backup plan.
type Plan struct {
	Name     string
	Rules    []Rule
	Advanced []AdvancedSetting `json:",omitempty"`
}

// Rule is one rule of a plan: when, where to, for how long, and what is copied where.
type Rule struct {
	ID              string // stable per name across the versions of a plan
	Name            string
	Vault           string
	Schedule        string
	Timezone        string
	StartMinutes    int64
	CompleteMinutes int64
	Lifecycle       *schedule.Lifecycle `json:",omitempty"`
	Tags            map[string]string   `json:",omitempty"`
	Copies          []CopyAction        `json:",omitempty"`
}

// CopyAction says where completed recovery points of a rule are copied to. Without a Lifecycle a copy inherits its source's.
type CopyAction struct {
	VaultARN  string
	Lifecycle *schedule.Lifecycle `json:",omitempty"`
}

// AdvancedSetting holds backup options of one resource type.
type AdvancedSetting struct {
	ResourceType string
	Options      map[string]string
}

func (r Rule) lifecycle() schedule.Lifecycle {
	if r.Lifecycle == nil {
		return schedule.Lifecycle{}
	}
	return *r.Lifecycle
}

// PlanRecord is one version of a plan with what the service knows of it.
type PlanRecord struct {
	Plan
	Account, Region, ID string
	VersionID           string
	Created             time.Time // of this version
	Deleted             time.Time // zero: not
	LastRun             time.Time // zero: never
	CreatorRequestID    string
	// Upcoming are the next runs, when asked for.
	Upcoming []schedule.Preview
}

// ARN is the plan's name in policies and in replies.
func (p PlanRecord) ARN() string { return PlanARN(p.Account, p.Region, p.ID) }

// PlanARN builds arn:aws:backup:<region>:<account>:backup-plan:<id>.
func PlanARN(account, region, id string) string {
	return arn.Make("backup", region, account, "backup-plan:"+id)
}

func errNoPlan(id string) error {
	return fault.New(fault.NotFound, "Cannot find Backup plan with ID %s.", id).WithResource(id)
}

// CreatePlan makes a plan with its first version. The same CreatorRequestID with the same document is the first call's
// success. Errors: Invalid; Exists (Detail Arn, CreatorRequestId) when a plan has the same document; Limit.
func (s *Service) CreatePlan(ctx context.Context, account, region string, p Plan, tags map[string]string, creatorRequestID string) (r PlanRecord, err error) {
	if p, err = s.validPlan(region, p); err != nil {
		return PlanRecord{}, err
	}
	if creatorRequestID != "" && !requestID.MatchString(creatorRequestID) {
		return PlanRecord{}, fault.New(fault.Invalid, "Invalid CreatorRequestId: 1 to 50 letters, digits and characters of '-_.'.")
	}
	if err := validTags(tags); err != nil {
		return PlanRecord{}, err
	}
	sum := digest(p)
	for i := range p.Rules {
		p.Rules[i].ID = ident.UUID()
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		repeated, err := samePlan(ctx, tx, account, region, sum, creatorRequestID)
		if err != nil || repeated != "" {
			if err == nil {
				r, err = plan(ctx, tx, account, region, repeated, "")
			}
			return err
		}
		var n int64
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM plan WHERE account = ? AND region = ? AND deleted = 0", account, region).Scan(&n); err != nil {
			return err
		}
		if n >= maxPlans {
			return fault.New(fault.Limit, "The limit of %d backup plans in account %s and Region %s is reached.", maxPlans, account, region)
		}
		r = PlanRecord{Plan: p, Account: account, Region: region, ID: ident.UUID(), VersionID: newVersionID(), Created: tx.Now, CreatorRequestID: creatorRequestID}
		if _, err := tx.Exec(ctx, `INSERT INTO plan (account, region, id, name, version, request_id, digest, created, deleted, last_run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0)`,
			account, region, r.ID, p.Name, r.VersionID, creatorRequestID, sum, db.Micros(tx.Now)); err != nil {
			return err
		}
		if err := insertVersion(ctx, tx, r, 1); err != nil {
			return err
		}
		if err := putTags(ctx, tx, r.ARN(), tags); err != nil {
			return err
		}
		return armRules(ctx, tx, r, nil)
	})
	if err != nil {
		return PlanRecord{}, err
	}
	s.Jobs.Wake(ScheduleKind)
	return r, nil
}

// samePlan looks for a plan made by the same request or with the same document. It returns the plan's id when this call
// repeats the one that made it, "" when there is none, and Exists otherwise.
func samePlan(ctx context.Context, tx *db.Tx, account, region, sum, creatorRequestID string) (id string, err error) {
	var request, have string
	err = tx.QueryRow(ctx, `SELECT id, request_id, digest FROM plan WHERE account = ? AND region = ? AND deleted = 0
		AND (digest = ? OR (request_id = ? AND request_id <> '')) ORDER BY CASE WHEN request_id = ? THEN 0 ELSE 1 END, created LIMIT 1`,
		account, region, sum, creatorRequestID, creatorRequestID).Scan(&id, &request, &have)
	switch {
	case db.NoRows(err):
		return "", nil
	case err != nil:
		return "", err
	case request == creatorRequestID && creatorRequestID != "" && have == sum:
		return id, nil
	}
	name := PlanARN(account, region, id)
	msg := "Backup plan with the same plan document already exists"
	if have != sum {
		msg = "Backup plan with the same CreatorRequestId and another plan document already exists"
	}
	return "", fault.New(fault.Exists, "%s", msg).WithResource(name).WithDetail("Arn", name).WithDetail("CreatorRequestId", request)
}

// digest identifies a document without its rule ids.
func digest(p Plan) string {
	c := p
	c.Rules = make([]Rule, len(p.Rules))
	for i, r := range p.Rules {
		r.ID = ""
		c.Rules[i] = r
	}
	text, _ := json.Marshal(c)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// newVersionID is the base64 of a UUID, as in AWS.
func newVersionID() string { return base64.StdEncoding.EncodeToString([]byte(ident.UUID())) }

// UpdatePlan replaces the document and makes a new version. Rules keep the id of the rule of the same name; a rule whose
// schedule is unchanged keeps its due time. Jobs that exist keep the version they were made from.
// Errors: NotFound; Invalid, also when the name changes; Limit.
func (s *Service) UpdatePlan(ctx context.Context, account, region, id string, p Plan) (r PlanRecord, err error) {
	if p, err = s.validPlan(region, p); err != nil {
		return PlanRecord{}, err
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		was, err := plan(ctx, tx, account, region, id, "")
		if err != nil {
			return err
		}
		if was.Name != p.Name {
			return fault.New(fault.Invalid, "The name of a backup plan cannot be changed from %q to %q.", was.Name, p.Name)
		}
		ids := map[string]string{}
		for _, rule := range was.Rules {
			ids[rule.Name] = rule.ID
		}
		r = was
		r.Plan = Plan{Name: p.Name, Advanced: p.Advanced, Rules: make([]Rule, len(p.Rules))}
		for i, rule := range p.Rules {
			if rule.ID = ids[rule.Name]; rule.ID == "" {
				rule.ID = ident.UUID()
			}
			r.Rules[i] = rule
		}
		r.VersionID, r.Created = newVersionID(), tx.Now
		var number int64
		if err := tx.QueryRow(ctx, "SELECT max(number) FROM plan_version WHERE account = ? AND region = ? AND plan_id = ?", account, region, id).Scan(&number); err != nil {
			return err
		}
		if number >= maxPlanVersions {
			return fault.New(fault.Limit, "The limit of %d versions of backup plan %s is reached.", maxPlanVersions, id)
		}
		if err := insertVersion(ctx, tx, r, number+1); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE plan SET version = ?, digest = ? WHERE account = ? AND region = ? AND id = ?", r.VersionID, digest(r.Plan), account, region, id); err != nil {
			return err
		}
		return armRules(ctx, tx, r, was.Rules)
	})
	if err != nil {
		return PlanRecord{}, err
	}
	s.Jobs.Wake(ScheduleKind)
	return r, nil
}

// DeletePlan ends a plan: it makes no more jobs and is listed only with the deleted ones. Its versions stay readable, its
// recovery points and jobs stay as they are. Errors: NotFound; State while it has selections.
func (s *Service) DeletePlan(ctx context.Context, account, region, id string) (r PlanRecord, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		if r, err = plan(ctx, tx, account, region, id, ""); err != nil {
			return err
		}
		var selected bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM selection WHERE account = ? AND region = ? AND plan_id = ?)", account, region, id).Scan(&selected); err != nil {
			return err
		}
		if selected {
			return fault.New(fault.State, "Related backup plan selections must be deleted prior to backup plan deletion").WithResource(id)
		}
		r.Deleted = tx.Now
		if _, err := tx.Exec(ctx, "UPDATE plan SET deleted = ? WHERE account = ? AND region = ? AND id = ?", db.Micros(tx.Now), account, region, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM plan_rule WHERE account = ? AND region = ? AND plan_id = ?", account, region, id); err != nil {
			return err
		}
		return deleteTags(ctx, tx, r.ARN())
	})
	return r, err
}

// Plan returns a version of a plan ("": the current one) with its next runs. A deleted plan is found only by version.
// Errors: NotFound; Invalid when preview is not 0 to 10.
func (s *Service) Plan(ctx context.Context, account, region, id, version string, preview int) (r PlanRecord, err error) {
	if preview < 0 || preview > 10 {
		return PlanRecord{}, fault.New(fault.Invalid, "MaxScheduledRunsPreview must be from 0 to 10.")
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if r, err = plan(ctx, tx, account, region, id, version); err != nil || preview == 0 || !r.Deleted.IsZero() {
			return err
		}
		anchors, err := ruleAnchors(ctx, tx, r)
		if err != nil {
			return err
		}
		rules, err := timeRules(r.Plan, anchors)
		if err == nil {
			r.Upcoming = schedule.Upcoming(rules, tx.Now, preview)
		}
		return err
	})
	return r, err
}

// Plans lists the current versions of an account's plans in a region, newest plan first.
func (s *Service) Plans(ctx context.Context, account, region string, deleted bool, p Page) (list []PlanRecord, next string, err error) {
	return s.planList(ctx, account, region, "", deleted, p)
}

// PlanVersions lists the versions of a plan, newest first. Errors: NotFound.
func (s *Service) PlanVersions(ctx context.Context, account, region, id string, p Page) (list []PlanRecord, next string, err error) {
	return s.planList(ctx, account, region, id, true, p)
}
