package backup

import (
	"context"
	"fmt"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

// The states of a vault's lock as jobs show them.
const (
	Unlocked   = "UNLOCKED"
	Governance = "GOVERNANCE"
	Compliance = "COMPLIANCE"
)

// Lock is a vault's lock. The zero value is unlocked.
type Lock struct {
	Locked           bool
	MinRetentionDays *int64    // nil: no lower bound
	MaxRetentionDays *int64    // nil: no upper bound
	Date             time.Time // when a compliance lock becomes immutable; zero for governance
	immutable        bool      // Date was seen to have passed, whatever the clock says now
}

// State is Unlocked, Governance or Compliance.
func (l Lock) State() string {
	switch {
	case !l.Locked:
		return Unlocked
	case l.Date.IsZero():
		return Governance
	}
	return Compliance
}

// Immutable reports whether nobody can change or remove the lock any more.
func (l Lock) Immutable(now time.Time) bool {
	return l.immutable || l.Locked && !l.Date.IsZero() && !now.Before(l.Date)
}

// CheckRetention says whether a new recovery point with this lifecycle may enter the vault. Recovery points that are
// there already are not asked. A recovery point that is kept for ever satisfies every minimum and no maximum.
func (l Lock) CheckRetention(c schedule.Lifecycle) error {
	if !l.Locked {
		return nil
	}
	days := c.DeleteAfterDays
	tooShort := l.MinRetentionDays != nil && days != nil && *days < *l.MinRetentionDays
	tooLong := l.MaxRetentionDays != nil && (days == nil || *days > *l.MaxRetentionDays)
	if tooShort || tooLong {
		return fault.New(fault.Invalid, "The retention specified in the job is not within the range specified for the target Backup Vault.").
			WithCode("Retention").WithContext(l.rangeText())
	}
	return nil
}

func (l Lock) rangeText() string {
	text := func(n *int64, none string) string {
		if n == nil {
			return none
		}
		return fmt.Sprint(*n)
	}
	return "MinRetentionDays " + text(l.MinRetentionDays, "1") + ", MaxRetentionDays " + text(l.MaxRetentionDays, "unlimited")
}

// LockSpec is what LockVault sets; absent bounds are unbounded.
type LockSpec struct {
	MinRetentionDays, MaxRetentionDays *int64
	ChangeableForDays                  *int64 // nil: governance; else days until the lock becomes immutable
}

const (
	maxRetentionDays = 36500
	minGraceDays     = 3
)

func (l LockSpec) valid() error {
	for _, m := range []struct {
		name     string
		days     *int64
		min, max int64
	}{
		{"MinRetentionDays", l.MinRetentionDays, 1, maxRetentionDays},
		{"MaxRetentionDays", l.MaxRetentionDays, 1, maxRetentionDays},
		{"ChangeableForDays", l.ChangeableForDays, minGraceDays, maxRetentionDays},
	} {
		if m.days != nil && (*m.days < m.min || *m.days > m.max) {
			return fault.New(fault.Invalid, "Invalid %s %d: it must be between %d and %d days.", m.name, *m.days, m.min, m.max)
		}
	}
	if l.MinRetentionDays != nil && l.MaxRetentionDays != nil && *l.MinRetentionDays > *l.MaxRetentionDays {
		return fault.New(fault.Invalid, "MinRetentionDays %d must not be greater than MaxRetentionDays %d.", *l.MinRetentionDays, *l.MaxRetentionDays)
	}
	return nil
}

// LockVault locks a vault or replaces its lock, with effect for the next call. Errors: NotFound, Invalid; State with code
// Locked when the present lock is immutable.
func (s *Service) LockVault(ctx context.Context, account, region, name string, spec LockSpec) error {
	if err := spec.valid(); err != nil {
		return err
	}
	return s.changeVault(ctx, account, region, name, func(ctx context.Context, tx *db.Tx, v Vault) error {
		if v.Lock.Immutable(tx.Now) {
			return fault.New(fault.State, "Vault Lock configuration is immutable and cannot be modified").WithCode("Locked").WithResource(name)
		}
		v.Lock = Lock{Locked: true, MinRetentionDays: spec.MinRetentionDays, MaxRetentionDays: spec.MaxRetentionDays}
		if spec.ChangeableForDays != nil {
			v.Lock.Date = tx.Now.AddDate(0, 0, int(*spec.ChangeableForDays))
		}
		return updateVault(ctx, tx, v)
	})
}

// UnlockVault removes a vault's lock; without a lock it does nothing. Errors: NotFound; State with code Locked when the
// lock is immutable.
func (s *Service) UnlockVault(ctx context.Context, account, region, name string) error {
	return s.changeVault(ctx, account, region, name, func(ctx context.Context, tx *db.Tx, v Vault) error {
		if v.Lock.Immutable(tx.Now) {
			return fault.New(fault.State, "Vault Lock configuration is immutable and cannot be deleted").WithCode("Locked").WithResource(name)
		}
		v.Lock = Lock{}
		return updateVault(ctx, tx, v)
	})
}

// errLocked refuses what a lock forbids.
func errLocked(v Vault, what string) error {
	return fault.New(fault.State, "Backup vault %s is locked: %s.", v.Name, what).WithCode("Locked").WithResource(v.ARN())
}

// SealLocks records which compliance locks have become immutable, so that a clock that is turned back afterwards cannot
// reopen them. Call it periodically; it returns how many it sealed.
func (s *Service) SealLocks(ctx context.Context) (n int, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		changed, err := tx.Exec(ctx, "UPDATE vault SET immutable = 1 WHERE lock_date > 0 AND immutable = 0 AND lock_date <= ?", db.Micros(tx.Now))
		n = int(changed)
		return err
	})
	return n, err
}
