package org

import (
	"context"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// right is what an operation asks of the calling account's standing in its organization.
type right int

const (
	member  right = iota // any account of the organization
	reader               // the management account or a delegated administrator
	manager              // the management account
)

// caller finds the calling account's organization and checks its standing.
func caller(ctx context.Context, tx *db.Tx, account string, need right) (Organization, error) {
	o, err := organizationOf(ctx, tx, account)
	if err != nil {
		return Organization{}, err
	}
	switch {
	case o.ID == "":
		return Organization{}, errNotInUse()
	case need == member, o.Management == account:
		return o, nil
	case need == reader:
		var n int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_delegate WHERE org = ? AND account = ?", o.ID, account).Scan(&n); err != nil {
			return Organization{}, err
		}
		if n > 0 {
			return o, nil
		}
	}
	return Organization{}, errDenied()
}

// view and update are the frames of all operations: a transaction with the caller's organization, checked for its standing.
func (s *Service) view(ctx context.Context, account string, need right, fn func(context.Context, *db.Tx, Organization) error) error {
	return s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		o, err := caller(ctx, tx, account, need)
		if err != nil {
			return err
		}
		return fn(ctx, tx, o)
	})
}

func (s *Service) update(ctx context.Context, account string, need right, fn func(context.Context, *db.Tx, Organization) error) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		o, err := caller(ctx, tx, account, need)
		if err != nil {
			return err
		}
		if err := fn(ctx, tx, o); err != nil {
			return err
		}
		// Every change counts, also those that authorization does not see: forgetting one would be worse than a cache miss.
		return touch(ctx, tx)
	})
}

// Standing is what an adapter needs to name resources: the organization that the account is in, or the zero value.
func (s *Service) Standing(ctx context.Context, account string) (Organization, error) {
	var o Organization
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		o, err = organizationOf(ctx, tx, account)
		return err
	})
	return o, err
}

// unsupportedType is the answer for the policy types that exist in AWS but not here yet.
func unsupportedType(t string) *fault.Error {
	return fault.New(fault.Unsupported, "The policy type %s is not supported by this server yet; SERVICE_CONTROL_POLICY is.", t).WithCode("UnsupportedAPIEndpoint")
}
