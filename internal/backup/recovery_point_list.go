package backup

import (
	"context"
	"fmt"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// PointFilter narrows a list of recovery points; zero members do not filter.
type PointFilter struct {
	ResourceARN, ResourceType string
	PlanID                    string
	ParentARN                 string
	CreatedAfter              time.Time // inclusive
	CreatedBefore             time.Time // inclusive
}

func (f PointFilter) apply(w *where) {
	for _, m := range []struct{ column, value string }{
		{"r.resource_arn", f.ResourceARN}, {"r.resource_type", f.ResourceType}, {"r.plan_id", f.PlanID}, {"r.parent_arn", f.ParentARN},
	} {
		if m.value != "" {
			w.add(m.column+" = ?", m.value)
		}
	}
	if !f.CreatedAfter.IsZero() {
		w.add("r.created >= ?", db.Micros(f.CreatedAfter))
	}
	if !f.CreatedBefore.IsZero() {
		w.add("r.created <= ?", db.Micros(f.CreatedBefore))
	}
}

// RecoveryPoints lists the recovery points of a vault, of any status, newest first. Errors: Denied when there is no such vault.
func (s *Service) RecoveryPoints(ctx context.Context, account, region, vaultName string, f PointFilter, p Page) ([]RecoveryPoint, string, error) {
	if err := s.ensureDefaultVault(ctx, account, region, vaultName); err != nil {
		return nil, "", err
	}
	var w where
	w.add("r.account = ? AND r.region = ? AND r.vault = ?", account, region, vaultName)
	f.apply(&w)
	return s.listPoints(ctx, w, p, func(ctx context.Context, tx *db.Tx) error {
		_, err := vault(ctx, tx, account, region, vaultName)
		if fault.Is(err, fault.NotFound) {
			return errNoVault(account, region, vaultName)
		}
		return err
	}, "points", account, region, vaultName, fmt.Sprintf("%+v", f))
}

// RecoveryPointsByResource lists the recovery points of a resource in all vaults of an account and region, newest first.
func (s *Service) RecoveryPointsByResource(ctx context.Context, account, region, resourceARN string, p Page) ([]RecoveryPoint, string, error) {
	var w where
	w.add("r.account = ? AND r.region = ? AND r.resource_arn = ?", account, region, resourceARN)
	return s.listPoints(ctx, w, p, nil, "points-by-resource", account, region, resourceARN)
}

func (s *Service) listPoints(ctx context.Context, w where, p Page, before func(context.Context, *db.Tx) error, at ...string) (list []RecoveryPoint, next string, err error) {
	c, started, err := s.start(p, at...)
	if err != nil {
		return nil, "", err
	}
	if started {
		w.add("(r.created < ? OR r.created = ? AND r.arn < ?)", c.At, c.At, c.ID)
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if before != nil {
			if err := before(ctx, tx); err != nil {
				return err
			}
		}
		list, err = queryPoints(ctx, tx, w.String()+" ORDER BY r.created DESC, r.arn DESC LIMIT ?", append(w.args, p.size()+1)...)
		return err
	})
	if len(list) > p.size() {
		list = list[:p.size()]
		last := list[len(list)-1]
		next = s.token(cursor{At: db.Micros(last.Created), ID: last.ARN}, at...)
	}
	return list, next, err
}
