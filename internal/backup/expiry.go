package backup

import (
	"context"
	"time"

	"strongroom/internal/db"
)

// expiryBatch bounds one transaction of the loops below, so that a backlog does not hold up other writers.
const expiryBatch = 200

// ExpireDue begins to delete the recovery points whose retention has ended by both clocks: the catalog's and trusted, the
// compliance clock's time. Locked vaults expire like others. It returns how many it began with; call it again while
// that is not zero, then after a while.
//
// EXPIRED recovery points, which could not be deleted before, are tried again.
func (s *Service) ExpireDue(ctx context.Context, trusted time.Time) (n int, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		n = 0
		by := tx.Now
		if trusted.Before(by) {
			by = trusted
		}
		due, err := queryPoints(ctx, tx, ` WHERE r.delete_at > 0 AND r.delete_at <= ? AND r.status NOT IN ('DELETING', 'CREATING')
			AND (r.status <> 'EXPIRED' OR r.retry_at <= ?) ORDER BY r.delete_at LIMIT ?`, db.Micros(by), db.Micros(tx.Now), expiryBatch)
		if err != nil {
			return err
		}
		for _, r := range due {
			if err := s.beginDeletion(ctx, tx, r, expiredMessage); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if n > 0 && err == nil {
		s.Jobs.Wake(DeleteKind)
	}
	return n, err
}

// TransitionDue moves recovery points whose date has come to cold storage and returns how many. The move is a fact of
// the catalog (it may no longer be copied, its move date is fixed); the bytes stay where they are.
func (s *Service) TransitionDue(ctx context.Context) (n int, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		changed, err := tx.Exec(ctx, `UPDATE recovery_point SET storage_class = 'COLD' WHERE arn IN (SELECT arn FROM recovery_point
			WHERE cold_at > 0 AND storage_class = 'WARM' AND cold_at <= ? AND status IN ('COMPLETED', 'AVAILABLE', 'PARTIAL') ORDER BY cold_at LIMIT ?)`, db.Micros(tx.Now), expiryBatch)
		n = int(changed)
		return err
	})
	return n, err
}

// Retired is the repository of a vault that was deleted: its bytes and its key grant are to be removed.
type Retired struct {
	Repository, Account, Region, Vault string
	KeyARN, KeyGrant                   string
	At                                 time.Time
}

// RetiredRepositories lists repositories whose vaults are gone, oldest first.
func (s *Service) RetiredRepositories(ctx context.Context) (list []Retired, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, "SELECT repository, account, region, vault, key_arn, key_grant, retired FROM retired_repository ORDER BY retired, repository LIMIT ?", pageLimit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r Retired
			var at int64
			if err := rows.Scan(&r.Repository, &r.Account, &r.Region, &r.Vault, &r.KeyARN, &r.KeyGrant, &at); err != nil {
				return err
			}
			r.At = db.Time(at)
			list = append(list, r)
		}
		return rows.Err()
	})
	return list, err
}

// ForgetRepository drops a retired repository from the list once its bytes are gone.
func (s *Service) ForgetRepository(ctx context.Context, repository string) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM retired_repository WHERE repository = ?", repository)
		return err
	})
}
