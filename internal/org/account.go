package org

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// How an account came into its organization.
const (
	MethodCreated = "CREATED"
	MethodInvited = "INVITED"
)

// The states of an account that this service gives.
const (
	Pending = "PENDING_ACTIVATION" // being created
	Active  = "ACTIVE"
)

// Account is one account.
type Account struct {
	ID, Name, Email string
	OrgID           string // "" when it is in no organization
	ParentID        string
	Method, State   string
	Joined          time.Time
	Path            string // o-.../r-.../ou-.../<id>/; only where a method says that it fills it
}

const waitPeriod = 4 * 24 * time.Hour // before a created account may leave, as in AWS

// AddFirstAccount registers an account that exists by itself, in no organization: the first one of a node. Adding it again changes
// nothing.
func (s *Service) AddFirstAccount(ctx context.Context, id string) error {
	if !arn.ValidAccount(id) {
		return errInput("INVALID_PATTERN", "An account id has 12 digits: %q", id)
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		email := "root@" + id + ".invalid" // RFC 2606: a name that never is anybody's
		_, err := tx.Exec(ctx, `INSERT INTO org_account (id, org, parent, name, email, email_key, method, state, joined)
			VALUES (?, '', '', ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`, id, "account-"+id, email, email, MethodInvited, Active, db.Micros(tx.Now))
		if err != nil {
			return fmt.Errorf("add first account: %w", err)
		}
		return touch(ctx, tx)
	})
}

// Holds reports whether a catalog is home to the account, changing nothing: it may be asked before New has made or updated
// the tables. A catalog that has no such table is an error.
func Holds(ctx context.Context, d *db.DB, account string) (ok bool, err error) {
	err = d.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		var n int64
		err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_account WHERE id = ?", account).Scan(&n)
		ok = n > 0
		return err
	})
	return ok, err
}

// Exists reports whether the node is home to the account.
func (s *Service) Exists(ctx context.Context, id string) (bool, error) {
	var ok bool
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		a, err := accountByID(ctx, tx, id)
		ok = a.ID != ""
		return err
	})
	return ok, err
}

// Account returns a member with its path.
func (s *Service) Account(ctx context.Context, callerID, id string) (a Account, err error) {
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		a, err = memberOf(ctx, tx, o, id)
		if err == nil {
			a.Path, err = pathOf(ctx, tx, o, id)
		}
		return err
	})
	return a, err
}

// Accounts lists the members by id, with their paths.
func (s *Service) Accounts(ctx context.Context, callerID string, p Page) (out []Account, next string, err error) {
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		out, next, err = s.accountsWhere(ctx, tx, o, p, "accounts "+callerID, "org = ?", o.ID)
		return err
	})
	return out, next, err
}

// AccountsFor lists the accounts directly under a root or unit.
func (s *Service) AccountsFor(ctx context.Context, callerID, parent string, p Page) (out []Account, next string, err error) {
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if err := parentExists(ctx, tx, o, parent); err != nil {
			return err
		}
		out, next, err = s.accountsWhere(ctx, tx, o, p, "accounts "+callerID+" "+parent, "org = ? AND parent = ?", o.ID, parent)
		return err
	})
	return out, next, err
}

func (s *Service) accountsWhere(ctx context.Context, tx *db.Tx, o Organization, p Page, scope, where string, args ...any) ([]Account, string, error) {
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, selectAccount+" WHERE "+where+" AND id > ? ORDER BY id LIMIT ?", append(args, after, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list accounts: %w", err)
	}
	out, err := scanAccounts(rows)
	if err != nil {
		return nil, "", err
	}
	out, next := finish(s, out, limit, scope, func(a Account) string { return a.ID })
	for i := range out {
		if out[i].Path, err = pathOf(ctx, tx, o, out[i].ID); err != nil {
			return nil, "", err
		}
	}
	return out, next, nil
}

// RemoveAccount takes a member out of the organization.
func (s *Service) RemoveAccount(ctx context.Context, callerID, id string) error {
	return s.remove(ctx, callerID, id, manager)
}

// LeaveOrganization takes the calling member out of the organization.
func (s *Service) LeaveOrganization(ctx context.Context, callerID string) error {
	return s.remove(ctx, callerID, callerID, member)
}

func (s *Service) remove(ctx context.Context, callerID, id string, need right) error {
	return s.update(ctx, callerID, need, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if id == o.Management {
			return fault.New(fault.State, "You can't remove a management account from an organization.").WithCode("MasterCannotLeaveOrganization")
		}
		a, err := memberOf(ctx, tx, o, id)
		if err != nil {
			return err
		}
		var delegated int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_delegate WHERE org = ? AND account = ?", o.ID, id).Scan(&delegated); err != nil {
			return err
		}
		if delegated > 0 {
			return errConstraint("CANNOT_REMOVE_DELEGATED_ADMINISTRATOR_FROM_ORG", "The account %s is a delegated administrator. Deregister it first.", id)
		}
		if a.State == Pending {
			return fault.New(fault.Conflict, "The account %s is still being created.", id).WithCode("ConcurrentModification")
		}
		if a.Method == MethodCreated && tx.Now.Before(a.Joined.Add(waitPeriod)) {
			return errConstraint("WAIT_PERIOD_ACTIVE", "The account %s was created in this organization and can leave it after %s.", id, a.Joined.Add(waitPeriod).Format(time.RFC3339))
		}
		if _, err := tx.Exec(ctx, "UPDATE org_account SET org = '', parent = '' WHERE id = ?", id); err != nil {
			return fmt.Errorf("remove account: %w", err)
		}
		return forget(ctx, tx, o, id)
	})
}

// forget deletes what an organization holds about a target that goes away.
func forget(ctx context.Context, tx *db.Tx, o Organization, target string) error {
	for _, table := range []string{"org_tag", "org_attachment"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE org = ? AND target = ?", o.ID, target); err != nil {
			return fmt.Errorf("forget %s: %w", target, err)
		}
	}
	return nil
}

const selectAccount = "SELECT id, name, email, org, parent, method, state, joined FROM org_account"

func scanAccounts(rows *sql.Rows) ([]Account, error) {
	defer rows.Close()
	var out []Account
	for rows.Next() {
		var a Account
		var joined int64
		if err := rows.Scan(&a.ID, &a.Name, &a.Email, &a.OrgID, &a.ParentID, &a.Method, &a.State, &joined); err != nil {
			return nil, err
		}
		a.Joined = db.Time(joined)
		out = append(out, a)
	}
	return out, rows.Err()
}

// accountByID returns the zero Account when there is none.
func accountByID(ctx context.Context, tx *db.Tx, id string) (Account, error) {
	rows, err := tx.Query(ctx, selectAccount+" WHERE id = ?", id)
	if err != nil {
		return Account{}, fmt.Errorf("read account: %w", err)
	}
	list, err := scanAccounts(rows)
	if err != nil || len(list) == 0 {
		return Account{}, err
	}
	return list[0], nil
}

func memberOf(ctx context.Context, tx *db.Tx, o Organization, id string) (Account, error) {
	a, err := accountByID(ctx, tx, id)
	if err == nil && (a.ID == "" || a.OrgID != o.ID) {
		err = errNoAccount(id)
	}
	return a, err
}
