package backup

import (
	"context"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

// UpdateLifecycle replaces a recovery point's lifecycle as a whole: members that are nil become "never". It returns the
// recovery point with its new dates.
// Errors: NotFound, Denied (no vault), Invalid; State with code Locked in a locked vault; State for one that is continuous,
// being made or being deleted, or whose move to cold storage has happened and would change.
func (s *Service) UpdateLifecycle(ctx context.Context, account, region, vaultName, name string, l schedule.Lifecycle) (RecoveryPoint, error) {
	if err := l.Validate(s.ColdMinimumDays[region]); err != nil {
		return RecoveryPoint{}, err
	}
	// Twice: whether it is allowed is asked before the repository is told, and again when the catalog is changed.
	var out RecoveryPoint
	var holder WorkVault
	change := func(write bool) error {
		return s.changeLifecycle(ctx, account, region, vaultName, name, l, write, &out, &holder)
	}
	if s.Retain != nil {
		if err := change(false); err != nil {
			return RecoveryPoint{}, err
		}
		if err := s.Retain(ctx, holder, out.ID, out.DeleteAt); err != nil {
			return RecoveryPoint{}, err
		}
	}
	err := change(true)
	return out, err
}

func (s *Service) changeLifecycle(ctx context.Context, account, region, vaultName, name string, l schedule.Lifecycle, write bool, out *RecoveryPoint, holder *WorkVault) error {
	return s.changePoint(ctx, account, region, vaultName, name, func(ctx context.Context, tx *db.Tx, v Vault, r RecoveryPoint) error {
		if v.Lock.Locked {
			return errLocked(v, "the lifecycle of its recovery points cannot be changed")
		}
		if err := lifecycleChangeable(r, l, tx.Now); err != nil {
			return err
		}
		r.Lifecycle = l
		setDates(&r)
		_, text, _, err := pointJSON(r)
		if err != nil {
			return err
		}
		*out, *holder = r, workVault(v)
		if !write {
			return nil
		}
		_, err = tx.Exec(ctx, "UPDATE recovery_point SET lifecycle = ?, cold_at = ?, delete_at = ? WHERE arn = ?", text, db.Micros(r.MoveToColdAt), db.Micros(r.DeleteAt), r.ARN)
		return err
	})
}

// lifecycleChangeable holds the rules that depend on the recovery point itself.
func lifecycleChangeable(r RecoveryPoint, l schedule.Lifecycle, now time.Time) error {
	state := func(why string) error {
		return fault.New(fault.State, "The lifecycle of recovery point %s cannot be changed: %s.", r.ARN, why).WithResource(r.ARN)
	}
	if r.Continuous {
		return state("it is continuous")
	}
	if !r.Usable() && r.Status != PointStopped {
		return state("its status is " + string(r.Status))
	}
	old := r.Lifecycle.MoveToColdAfterDays
	if r.StorageClass == Cold {
		if l.MoveToColdAfterDays == nil || old == nil || *l.MoveToColdAfterDays != *old {
			return state("it is in cold storage already, so MoveToColdStorageAfterDays must stay as it is")
		}
		return nil
	}
	// A date in the past is no transition. The one that stands may stay, it is merely not due for long.
	age := int64(now.Sub(r.Created) / (24 * time.Hour))
	if m := l.MoveToColdAfterDays; m != nil && *m < age+1 && (old == nil || *m != *old) {
		return fault.New(fault.Invalid, "Invalid lifecycle. MoveToColdStorageAfterDays cannot be less than %d: the recovery point is %d days old", age+1, age)
	}
	return nil
}
