package org

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// The states of a request for an account.
const (
	InProgress = "IN_PROGRESS"
	Succeeded  = "SUCCEEDED"
	Failed     = "FAILED"
)

// DefaultRole is the role by which the management account enters an account that it created.
const DefaultRole = "OrganizationAccountAccessRole"

// AccountIDTag is the tag of a CreateAccount request that chooses the new account's 12 digits; it is not kept as a tag.
const AccountIDTag = "strongroom:account-id"

// NewAccount says what account to make.
type NewAccount struct {
	Email, Name string
	Role        string // "" for DefaultRole
	Tags        map[string]string
}

// AccountRequest is a request for an account and how it went.
type AccountRequest struct {
	ID        string // car-...
	Name      string
	AccountID string // set when Succeeded
	State     string
	Reason    string // why it Failed: EMAIL_ALREADY_EXISTS, ACCOUNT_LIMIT_EXCEEDED, ...
	Requested time.Time
	Completed time.Time // zero while InProgress
}

var (
	emailForm = regexp.MustCompile(`^[^\s@]+@[^\s@]+\.[^\s@]+$`)
	roleForm  = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
)

// CreateAccount starts the creation of an account under the root and returns the request as it was started: InProgress, or Failed when
// it is clear at once that it cannot be done. It is normally finished before CreateAccount returns; if not, by RunOnce.
func (s *Service) CreateAccount(ctx context.Context, callerID string, n NewAccount) (AccountRequest, error) {
	if n.Role == "" {
		n.Role = DefaultRole
	}
	if l := utf8.RuneCountInString(n.Name); l < 1 || l > 50 {
		return AccountRequest{}, errInput("INVALID_PATTERN", "AccountName must have 1 to 50 characters.")
	}
	if !roleForm.MatchString(n.Role) || strings.HasPrefix(strings.ToLower(n.Role), "awsservicerolefor") {
		return AccountRequest{}, errInput("INVALID_ROLE_NAME", "RoleName %q cannot be used.", n.Role)
	}
	chosen := n.Tags[AccountIDTag]
	if chosen != "" && !arn.ValidAccount(chosen) {
		return AccountRequest{}, errInput("INVALID_PATTERN", "The tag %s must hold 12 digits, not %q.", AccountIDTag, chosen)
	}
	tags := map[string]string{}
	for k, v := range n.Tags {
		if k != AccountIDTag {
			tags[k] = v
		}
	}
	if err := validTags(tags, 0); err != nil {
		return AccountRequest{}, err
	}
	r := AccountRequest{ID: "car-" + ident.Random(ident.LowerAlnum, 32), Name: n.Name}
	err := s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		r.State, r.Reason, r.Requested, r.Completed = InProgress, "", tx.Now, time.Time{}
		id, reason, err := s.reserve(ctx, tx, o, n, chosen, tags)
		if err != nil {
			return err
		}
		if reason != "" {
			r.State, r.Reason, r.Completed, id = Failed, reason, tx.Now, ""
		}
		_, err = tx.Exec(ctx, "INSERT INTO org_account_request (id, org, account, name, role, state, reason, requested, completed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			r.ID, o.ID, id, n.Name, n.Role, r.State, r.Reason, db.Micros(r.Requested), db.Micros(r.Completed))
		if err != nil {
			return fmt.Errorf("insert account request: %w", err)
		}
		return nil
	})
	if err != nil || r.State == Failed {
		return r, err
	}
	if err := s.finishRequest(ctx, r.ID); err != nil {
		s.Log.WarnContext(ctx, "creating an account will be tried again", "request", r.ID, "error", err)
	}
	return r, nil
}

// reserve puts the account into its place, with its policies, but not active: nobody can act in it before its role is made. A reason
// says why it cannot be.
func (s *Service) reserve(ctx context.Context, tx *db.Tx, o Organization, n NewAccount, chosen string, tags map[string]string) (id, reason string, err error) {
	key := strings.ToLower(n.Email)
	if len(n.Email) < 6 || len(n.Email) > 64 || !emailForm.MatchString(n.Email) {
		return "", "INVALID_EMAIL", nil
	}
	var members, sameEmail int
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_account WHERE org = ?", o.ID).Scan(&members); err != nil {
		return "", "", err
	}
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_account WHERE email_key = ?", key).Scan(&sameEmail); err != nil {
		return "", "", err
	}
	switch {
	case members >= s.MaxAccounts:
		return "", "ACCOUNT_LIMIT_EXCEEDED", nil
	case sameEmail > 0:
		return "", "EMAIL_ALREADY_EXISTS", nil
	}
	for id = chosen; ; id = randomAccount() {
		if id == "" {
			continue
		}
		a, err := accountByID(ctx, tx, id)
		if err != nil {
			return "", "", err
		}
		if a.ID == "" {
			break
		}
		if chosen != "" {
			return "", "CONCURRENT_ACCOUNT_MODIFICATION", nil // the enum has no word for an id that is taken
		}
	}
	_, err = tx.Exec(ctx, "INSERT INTO org_account (id, org, parent, name, email, email_key, method, state, joined) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		id, o.ID, o.RootID, n.Name, n.Email, key, MethodCreated, Pending, db.Micros(tx.Now))
	if err != nil {
		return "", "", fmt.Errorf("insert account: %w", err)
	}
	if err := putTags(ctx, tx, o.ID, id, tags); err != nil {
		return "", "", err
	}
	return id, "", attachDefaults(ctx, tx, o, id)
}

func randomAccount() string {
	n, err := rand.Int(rand.Reader, big.NewInt(9e11))
	if err != nil {
		panic("org: crypto/rand does not fail: " + err.Error())
	}
	return fmt.Sprint(n.Int64() + 1e11) // no leading zero: tools lose them
}

// finishRequest makes the account's access role and then lets the account be active. It may be repeated.
func (s *Service) finishRequest(ctx context.Context, id string) error {
	var account, role, management, state string
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, "SELECT r.account, r.role, r.state, o.management FROM org_account_request r JOIN org_organization o ON o.id = r.org WHERE r.id = ?", id).Scan(&account, &role, &state, &management)
	})
	if err != nil || state != InProgress {
		return err
	}
	err = s.Config.Accounts.CreateAccessRole(ctx, account, role, management)
	if f := fault.As(err); f != nil && f.Kind == fault.Invalid {
		return s.failRequest(ctx, id, account)
	}
	if err != nil && !fault.Is(err, fault.Exists) {
		return fmt.Errorf("make role %s in %s: %w", role, account, err)
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE org_account SET state = ? WHERE id = ? AND state = ?", Active, account, Pending); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE org_account_request SET state = ?, completed = ? WHERE id = ? AND state = ?", Succeeded, db.Micros(tx.Now), id, InProgress); err != nil {
			return err
		}
		return touch(ctx, tx)
	})
}

// failRequest ends a request that can never succeed and frees the account's id and e-mail address.
func (s *Service) failRequest(ctx context.Context, id, account string) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE org_account_request SET state = ?, reason = ?, account = '', completed = ? WHERE id = ? AND state = ?", Failed, "INTERNAL_FAILURE", db.Micros(tx.Now), id, InProgress)
		if err != nil || n == 0 {
			return err
		}
		a, err := accountByID(ctx, tx, account)
		if err != nil || a.State != Pending {
			return err
		}
		if err := forget(ctx, tx, Organization{ID: a.OrgID}, account); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM org_account WHERE id = ?", account); err != nil {
			return err
		}
		return touch(ctx, tx)
	})
}

// Stats is what one pass of RunOnce did.
type Stats struct{ Finished int }

// RunOnce finishes requests for accounts that were cut off.
func (s *Service) RunOnce(ctx context.Context) (Stats, error) {
	var ids []string
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		ids, err = scanStrings(tx.Query(ctx, "SELECT id FROM org_account_request WHERE state = ? ORDER BY requested", InProgress))
		return err
	})
	if err != nil {
		return Stats{}, fmt.Errorf("find account requests: %w", err)
	}
	var st Stats
	var errs []error
	for _, id := range ids {
		if err := s.finishRequest(ctx, id); err != nil {
			errs = append(errs, err)
			continue
		}
		st.Finished++
	}
	return st, errors.Join(errs...)
}

// AccountRequest returns one request.
func (s *Service) AccountRequest(ctx context.Context, callerID, id string) (r AccountRequest, err error) {
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		list, err := requestsWhere(ctx, tx, "org = ? AND id = ?", o.ID, id)
		if err == nil && len(list) == 0 {
			return fault.New(fault.NotFound, "We can't find a create account request with the specified CreateAccountRequestId.").WithCode("CreateAccountStatusNotFound").WithResource(id)
		}
		if err == nil {
			r = list[0]
		}
		return err
	})
	return r, err
}

// AccountRequests lists requests by id, in the given states or, if there are none, in all.
func (s *Service) AccountRequests(ctx context.Context, callerID string, states []string, p Page) (out []AccountRequest, next string, err error) {
	for _, st := range states {
		if !slices.Contains([]string{InProgress, Succeeded, Failed}, st) {
			return nil, "", errInput("INVALID_ENUM:STATES", "%s is not a state of a request for an account.", st)
		}
	}
	if len(states) == 0 {
		states = []string{InProgress, Succeeded, Failed}
	}
	scope := "requests " + callerID + " " + strings.Join(states, ",")
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		args := []any{o.ID, after}
		for _, st := range states {
			args = append(args, st)
		}
		list, err := requestsWhere(ctx, tx, "org = ? AND id > ? AND state IN (?"+strings.Repeat(", ?", len(states)-1)+") ORDER BY id LIMIT ?", append(args, limit+1)...)
		out, next = finish(s, list, limit, scope, func(r AccountRequest) string { return r.ID })
		return err
	})
	return out, next, err
}

func requestsWhere(ctx context.Context, tx *db.Tx, where string, args ...any) ([]AccountRequest, error) {
	rows, err := tx.Query(ctx, "SELECT id, name, account, state, reason, requested, completed FROM org_account_request WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read account requests: %w", err)
	}
	defer rows.Close()
	var out []AccountRequest
	for rows.Next() {
		var r AccountRequest
		var requested, completed int64
		if err := rows.Scan(&r.ID, &r.Name, &r.AccountID, &r.State, &r.Reason, &requested, &completed); err != nil {
			return nil, err
		}
		if r.State != Succeeded {
			r.AccountID = "" // reserved, but not there yet
		}
		r.Requested, r.Completed = db.Time(requested), db.Time(completed)
		out = append(out, r)
	}
	return out, rows.Err()
}
