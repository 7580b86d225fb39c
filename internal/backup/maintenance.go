package backup

import (
	"context"
	"time"

	"strongroom/internal/db"
)

// EveryVault lists the vaults of all accounts and regions, for the node's own maintenance. It is not for callers of the API.
func (s *Service) EveryVault(ctx context.Context) (list []WorkVault, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		vaults, err := queryVaults(ctx, tx, " ORDER BY account, region, name")
		list = make([]WorkVault, 0, len(vaults))
		for _, v := range vaults {
			list = append(list, workVault(v))
		}
		return err
	})
	return list, err
}

// KeptUntil lists when the recovery points that a vault keeps end, by their ids in its repository; a zero time is never.
func (s *Service) KeptUntil(ctx context.Context, v WorkVault) (ends map[string]time.Time, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, "SELECT point, delete_at FROM recovery_point WHERE account = ? AND region = ? AND vault = ? AND status NOT IN ('CREATING', 'DELETING')", v.Account, v.Region, v.Name)
		if err != nil {
			return err
		}
		defer rows.Close()
		ends = map[string]time.Time{}
		for rows.Next() {
			var id string
			var end int64
			if err := rows.Scan(&id, &end); err != nil {
				return err
			}
			ends[id] = db.Time(end)
		}
		return rows.Err()
	})
	return ends, err
}

// LockedPointsUnderKey lists recovery points in locked vaults that cannot be read without the key, at most ten: enough to
// say why the key must stay.
func (s *Service) LockedPointsUnderKey(ctx context.Context, keyARN string) (arns []string, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, `SELECT r.arn FROM vault v JOIN recovery_point r ON r.account = v.account AND r.region = v.region AND r.vault = v.name
			WHERE v.key_arn = ? AND v.locked = 1 AND r.status <> 'DELETING' ORDER BY r.arn LIMIT 10`, keyARN)
		if err != nil {
			return err
		}
		defer rows.Close()
		arns = nil
		for rows.Next() {
			var a string
			if err := rows.Scan(&a); err != nil {
				return err
			}
			arns = append(arns, a)
		}
		return rows.Err()
	})
	return arns, err
}

// DeclaringAgents lists the ids of the agents that have declared resources.
func (s *Service) DeclaringAgents(ctx context.Context) (ids []string, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, "SELECT DISTINCT agent FROM declared_resource ORDER BY agent")
		if err != nil {
			return err
		}
		defer rows.Close()
		ids = nil
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	return ids, err
}
