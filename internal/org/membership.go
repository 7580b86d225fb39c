package org

import (
	"context"
	"fmt"

	"strongroom/internal/db"
)

// Membership is an account's place in its organization. The zero value is an account that is in none.
type Membership struct {
	OrgID      string
	Management string // the management account's id
	FeatureSet string
	ParentID   string
	Path       string // o-.../r-.../ou-.../ of the account's parent, with the trailing slash
	State      string // of the account
}

// Membership returns the account's place; it is the zero value for accounts in no organization and for unknown ones.
func (s *Service) Membership(ctx context.Context, account string) (Membership, error) {
	g, err := s.guard(ctx, account)
	return g.member, err
}

// AccountIDs lists the active accounts of an organization by id, for the node's own work.
func (s *Service) AccountIDs(ctx context.Context, orgID string) (ids []string, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		ids, err = scanStrings(tx.Query(ctx, "SELECT id FROM org_account WHERE org = ? AND state = ? ORDER BY id", orgID, Active))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return ids, nil
}

// AllAccountIDs lists every active account of the node, in organizations or not.
func (s *Service) AllAccountIDs(ctx context.Context) (ids []string, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		ids, err = scanStrings(tx.Query(ctx, "SELECT id FROM org_account WHERE state = ? ORDER BY id", Active))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return ids, nil
}

// IsDelegated reports whether the account is a delegated administrator for a service in its organization.
func (s *Service) IsDelegated(ctx context.Context, account, service string) (bool, error) {
	return s.counted(ctx, "SELECT COUNT(*) FROM org_delegate d JOIN org_account a ON a.id = d.account AND a.org = d.org WHERE d.account = ? AND d.service = ?", account, service)
}

// ServiceAccess reports whether the organization trusts a service.
func (s *Service) ServiceAccess(ctx context.Context, orgID, service string) (bool, error) {
	return s.counted(ctx, "SELECT COUNT(*) FROM org_service_access WHERE org = ? AND service = ?", orgID, service)
}

func (s *Service) counted(ctx context.Context, query string, args ...any) (bool, error) {
	var n int64
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&n)
	})
	return n > 0, err
}
