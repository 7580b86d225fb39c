package kms

import (
	"context"
	"fmt"
	"strings"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const (
	defaultPendingDays = 30
	minPendingDays     = 7
	maxPendingDays     = 30
)

// EnableKey makes a disabled key usable again; an automatic rotation that fell due meanwhile happens soon after.
func (s *Service) EnableKey(ctx context.Context, keyARN string) error {
	return s.change(ctx, keyARN, toManage, func(_ context.Context, _ *db.Tx, k *Key) error {
		k.State = Enabled
		return nil
	})
}

// DisableKey makes the key unusable until it is enabled.
func (s *Service) DisableKey(ctx context.Context, keyARN string) error {
	return s.change(ctx, keyARN, toManage, func(_ context.Context, _ *db.Tx, k *Key) error {
		k.State = Disabled
		return nil
	})
}

// ScheduleDeletion makes the key unusable and due for destruction after days (7 to 30; 0: 30). It is refused, naming them, while
// recovery points in locked vaults depend on the key, and while the clocks do not agree on the date.
func (s *Service) ScheduleDeletion(ctx context.Context, keyARN string, days int) (Key, error) {
	if days == 0 {
		days = defaultPendingDays
	}
	if days < minPendingDays || days > maxPendingDays {
		return Key{}, errInvalid("PendingWindowInDays must be between %d and %d", minPendingDays, maxPendingDays)
	}
	if frozen := s.trusted(); frozen.Frozen {
		return Key{}, fault.New(fault.State, "%s", frozen.Reason).WithCode(CodeInvalidState).WithResource(keyARN)
	}
	k, err := s.Describe(ctx, keyARN)
	if err != nil {
		return Key{}, err
	}
	// State first: asking what depends on a key may take a while.
	if err := k.allows(toManage); err != nil {
		return Key{}, err
	}
	if k.Manager == ManagerCustomer {
		if err := s.unused(ctx, k); err != nil {
			return Key{}, err
		}
	}
	// A recovery point that is written between the question and this transaction is caught by destroyDue, which asks again.
	err = s.change(ctx, keyARN, toManage, func(_ context.Context, tx *db.Tx, c *Key) error {
		c.State, c.PendingDays, c.Deletion = PendingDeletion, days, tx.Now.Add(time.Duration(days)*day)
		k = *c
		return nil
	})
	return k, err
}

// CancelDeletion makes the key Disabled again.
func (s *Service) CancelDeletion(ctx context.Context, keyARN string) error {
	return s.change(ctx, keyARN, toCancel, func(_ context.Context, _ *db.Tx, k *Key) error {
		k.State, k.PendingDays, k.Deletion = Disabled, 0, time.Time{}
		return nil
	})
}

// unused returns nil when nothing depends on the key.
func (s *Service) unused(ctx context.Context, k Key) error {
	if s.InUse == nil {
		return nil
	}
	points, err := s.InUse(ctx, k.ARN())
	if err != nil {
		return fmt.Errorf("ask what depends on %s: %w", k.ARN(), err)
	}
	if len(points) == 0 {
		return nil
	}
	shown, rest := points, ""
	if len(shown) > 20 {
		shown, rest = shown[:20], fmt.Sprintf(" and %d more", len(points)-20)
	}
	return fault.New(fault.State, "%s cannot be deleted: %d unexpired recovery points in locked vaults cannot be restored without it: %s%s.", k.ARN(), len(points), strings.Join(shown, ", "), rest).
		WithCode(CodeInvalidState).WithResource(k.ARN())
}

// destroyDue destroys one key if it is still pending deletion and due by both clocks.
func (s *Service) destroyDue(ctx context.Context, id string, due time.Time) (done bool, err error) {
	var k Key
	if err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		k, err = keyByID(ctx, tx, id)
		return err
	}); err != nil || k.ID == "" {
		return false, err
	}
	if err := s.unused(ctx, k); err != nil {
		return false, err
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		done = false
		k, err := keyByID(ctx, tx, id)
		if err != nil || k.State != PendingDeletion || k.Deletion.After(due) || k.Deletion.After(tx.Now) {
			return err
		}
		// The sealed secrets are overwritten before their rows go, so that SQLite does not keep them in free pages. Copies that
		// remain elsewhere (its log until the next checkpoint, PostgreSQL's old row versions, backups of the catalog) are still
		// sealed under ROOT.
		if _, err := tx.Exec(ctx, "UPDATE kms_material SET wrapped = ? WHERE key = ?", make([]byte, 128), id); err != nil {
			return fmt.Errorf("destroy key material: %w", err)
		}
		for _, q := range []string{"DELETE FROM kms_material WHERE key = ?", "DELETE FROM kms_grant WHERE key = ?", "DELETE FROM kms_tag WHERE key = ?", "DELETE FROM kms_alias WHERE key = ?", "DELETE FROM kms_key WHERE id = ?"} {
			if _, err := tx.Exec(ctx, q, id); err != nil {
				return fmt.Errorf("destroy key: %w", err)
			}
		}
		done = true
		return nil
	})
	return done, err
}
