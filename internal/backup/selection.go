package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

const (
	maxSelections         = 100 // per plan
	maxSelectionsByTag    = 10  // of those, with ListOfTags
	maxSelectionARNs      = 500
	maxSelectionPatterns  = 30
	maxSelectionCriteria  = 30 // conditions, and tags
	resourceTagKeyPrefix  = "aws:ResourceTag/"
	conditionStringEquals = "STRINGEQUALS"
)

// Selection says which resources a plan protects and with which role. It is never changed, only made and deleted.
type Selection struct {
	Name         string
	RoleARN      string
	Resources    []string   `json:",omitempty"` // ARNs and patterns, any of them
	NotResources []string   `json:",omitempty"` // ARNs and patterns, wins over everything
	Tags         []KeyValue `json:",omitempty"` // tags by their bare key, any of them
	Conditions   Conditions
}

// KeyValue is a tag or a condition on one.
type KeyValue struct{ Key, Value string }

// Conditions all must hold. Their keys have the form aws:ResourceTag/<tag key>.
type Conditions struct {
	Equals    []KeyValue `json:",omitempty"`
	NotEquals []KeyValue `json:",omitempty"`
	Like      []KeyValue `json:",omitempty"`
	NotLike   []KeyValue `json:",omitempty"`
}

func (c Conditions) len() int {
	return len(c.Equals) + len(c.NotEquals) + len(c.Like) + len(c.NotLike)
}

// SelectionRecord is a selection with what the service knows of it.
type SelectionRecord struct {
	Selection
	Account, Region, PlanID, ID string
	Created                     time.Time
	CreatorRequestID            string
}

// errPlanGone is how the calls about selections say that there is no such plan: AWS's text, which clients match on.
func errPlanGone(id string) error {
	return fault.New(fault.Invalid, "Cannot find Backup plan with ID %s.", id).WithResource(id)
}

// CreateSelection adds a selection to a plan. The role must be assumable by the backup service now; the resources need not
// exist. The same CreatorRequestID with the same selection is the first call's success.
// Errors: Invalid, also when there is no such plan; Exists; Limit.
func (s *Service) CreateSelection(ctx context.Context, account, region, planID string, sel Selection, creatorRequestID string) (r SelectionRecord, err error) {
	if err := sel.valid(); err != nil {
		return SelectionRecord{}, err
	}
	if creatorRequestID != "" && !requestID.MatchString(creatorRequestID) {
		return SelectionRecord{}, fault.New(fault.Invalid, "Invalid CreatorRequestId: 1 to 50 letters, digits and characters of '-_.'.")
	}
	if err := s.Roles.Assumable(ctx, account, sel.RoleARN); err != nil {
		return SelectionRecord{}, err
	}
	text, err := json.Marshal(sel)
	if err != nil {
		return SelectionRecord{}, err
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := plan(ctx, tx, account, region, planID, ""); fault.Is(err, fault.NotFound) {
			return errPlanGone(planID)
		} else if err != nil {
			return err
		}
		have, err := selections(ctx, tx, account, region, planID)
		if err != nil {
			return err
		}
		byTag := 0
		for _, h := range have {
			old, err := json.Marshal(h.Selection)
			if err != nil {
				return err
			}
			sameRequest := creatorRequestID != "" && h.CreatorRequestID == creatorRequestID
			switch same := string(old) == string(text); {
			case sameRequest && same:
				r = h
				return nil
			case sameRequest || same:
				return fault.New(fault.Exists, "Backup selection with the same selection document or CreatorRequestId already exists").
					WithResource(h.ID).WithDetail("Arn", PlanARN(account, region, planID)).WithDetail("CreatorRequestId", h.CreatorRequestID)
			}
			if len(h.Tags) > 0 {
				byTag++
			}
		}
		if len(have) >= maxSelections {
			return fault.New(fault.Limit, "The limit of %d selections of backup plan %s is reached.", maxSelections, planID)
		}
		if len(sel.Tags) > 0 && byTag >= maxSelectionsByTag {
			return fault.New(fault.Limit, "The limit of %d selections by tag of backup plan %s is reached.", maxSelectionsByTag, planID)
		}
		r = SelectionRecord{Selection: sel, Account: account, Region: region, PlanID: planID, ID: ident.UUID(), Created: tx.Now, CreatorRequestID: creatorRequestID}
		_, err = tx.Exec(ctx, "INSERT INTO selection (account, region, plan_id, id, name, request_id, by_tag, document, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			account, region, planID, r.ID, sel.Name, creatorRequestID, number(len(sel.Tags) > 0), string(text), db.Micros(tx.Now))
		return err
	})
	return r, err
}

// Selection returns a selection of a plan. Errors: Invalid when there is no such plan; NotFound.
func (s *Service) Selection(ctx context.Context, account, region, planID, id string) (r SelectionRecord, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := plan(ctx, tx, account, region, planID, ""); fault.Is(err, fault.NotFound) {
			return errPlanGone(planID)
		} else if err != nil {
			return err
		}
		r, err = scanSelection(tx.QueryRow(ctx, "SELECT "+selectionColumns+" FROM selection WHERE account = ? AND region = ? AND plan_id = ? AND id = ?", account, region, planID, id))
		if db.NoRows(err) {
			return fault.New(fault.NotFound, "Cannot find Backup selection with ID %s.", id).WithResource(id)
		}
		return err
	})
	return r, err
}

// DeleteSelection removes a selection. Jobs that exist are not touched.
// Errors: Invalid when there is no such selection or plan.
func (s *Service) DeleteSelection(ctx context.Context, account, region, planID, id string) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM selection WHERE account = ? AND region = ? AND plan_id = ? AND id = ?", account, region, planID, id)
		if err == nil && n == 0 {
			return fault.New(fault.Invalid, "Cannot find Backup selection with ID %s in Backup plan %s.", id, planID).WithResource(id)
		}
		return err
	})
}

// Selections lists the selections of a plan, newest first. Errors: NotFound when there is no such plan.
func (s *Service) Selections(ctx context.Context, account, region, planID string, p Page) (list []SelectionRecord, next string, err error) {
	at := []string{"selections", account, region, planID}
	c, started, err := s.start(p, at...)
	if err != nil {
		return nil, "", err
	}
	var w where
	w.add("account = ? AND region = ? AND plan_id = ?", account, region, planID)
	if started {
		w.add("(created, id) < (?, ?)", c.At, c.ID)
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := plan(ctx, tx, account, region, planID, ""); err != nil {
			return err
		}
		list, err = querySelections(ctx, tx, w.String()+" ORDER BY created DESC, id DESC LIMIT ?", append(w.args, p.size()+1)...)
		return err
	})
	if len(list) > p.size() {
		list = list[:p.size()]
		last := list[len(list)-1]
		next = s.token(cursor{At: db.Micros(last.Created), ID: last.ID}, at...)
	}
	return list, next, err
}

const selectionColumns = "account, region, plan_id, id, request_id, document, created"

// selections reads all selections of a plan in the order they were made.
func selections(ctx context.Context, tx *db.Tx, account, region, planID string) ([]SelectionRecord, error) {
	return querySelections(ctx, tx, " WHERE account = ? AND region = ? AND plan_id = ? ORDER BY created, id", account, region, planID)
}

func querySelections(ctx context.Context, tx *db.Tx, tail string, args ...any) (list []SelectionRecord, err error) {
	rows, err := tx.Query(ctx, "SELECT "+selectionColumns+" FROM selection"+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanSelection(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

func scanSelection(row scanner) (r SelectionRecord, err error) {
	var document string
	var created int64
	if err := row.Scan(&r.Account, &r.Region, &r.PlanID, &r.ID, &r.CreatorRequestID, &document, &created); err != nil {
		return SelectionRecord{}, err
	}
	r.Created = db.Time(created)
	if err := json.Unmarshal([]byte(document), &r.Selection); err != nil {
		return SelectionRecord{}, fmt.Errorf("read backup selection %s: %w", r.ID, err)
	}
	return r, nil
}
