package kms

import (
	"context"
	"fmt"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const (
	defaultRotationDays = 365
	minRotationDays     = 90
	maxRotationDays     = 2560
	maxOnDemand         = 25 // rotations on demand in a key's life
	// tooClose is how near an automatic rotation one on demand is refused: two materials within minutes help nobody.
	tooClose = 20 * time.Minute
)

const day = 24 * time.Hour

// EnableRotation rotates the key every periodDays (0: 365) from now on. Enabling again with the same period changes nothing.
func (s *Service) EnableRotation(ctx context.Context, keyARN string, periodDays int) error {
	if periodDays == 0 {
		periodDays = defaultRotationDays
	}
	if periodDays < minRotationDays || periodDays > maxRotationDays {
		return errInvalid("RotationPeriodInDays must be between %d and %d", minRotationDays, maxRotationDays)
	}
	return s.change(ctx, keyARN, toUse, func(_ context.Context, tx *db.Tx, k *Key) error {
		if k.RotationDays == periodDays {
			return nil
		}
		k.RotationDays, k.NextRotation = periodDays, tx.Now.Add(time.Duration(periodDays)*day)
		return nil
	})
}

// DisableRotation stops automatic rotation.
func (s *Service) DisableRotation(ctx context.Context, keyARN string) error {
	return s.change(ctx, keyARN, toUse, func(_ context.Context, _ *db.Tx, k *Key) error {
		k.RotationDays, k.NextRotation = 0, time.Time{}
		return nil
	})
}

// Rotate gives the key new material at once and returns its id. The automatic schedule stays as it is.
func (s *Service) Rotate(ctx context.Context, keyARN string) (materialID string, err error) {
	err = s.change(ctx, keyARN, toUse, func(ctx context.Context, tx *db.Tx, k *Key) error {
		if !k.NextRotation.IsZero() && k.NextRotation.Sub(tx.Now) < tooClose {
			return fault.New(fault.Conflict, "An automatic rotation of %s is due at %s", k.ARN(), k.NextRotation.Format(time.RFC3339)).WithResource(k.ARN())
		}
		var n int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM kms_material WHERE key = ? AND cause = ?", k.ID, causeOnDemand).Scan(&n); err != nil {
			return fmt.Errorf("count rotations: %w", err)
		}
		if n >= maxOnDemand {
			return fault.New(fault.Limit, "%s has been rotated on demand %d times, the most allowed", k.ARN(), n).WithResource(k.ARN())
		}
		materialID, err = s.addMaterial(ctx, tx, *k, causeOnDemand)
		return err
	})
	return materialID, err
}

// Material is one generation of a key, without its secret.
type Material struct {
	ID      string
	Ordinal int    // from 1
	Type    string // "AUTOMATIC" or "ON_DEMAND"; "" for the initial one
	Created time.Time
	Current bool
}

// Materials lists the key's generations from the oldest: at most limit after the ordinal `after`, and whether there are more.
func (s *Service) Materials(ctx context.Context, keyARN string, after, limit int) (out []Material, more bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		out = nil
		k, err := keyByARN(ctx, tx, keyARN)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT id, ordinal, cause, created FROM kms_material WHERE key = ? AND ordinal > ? ORDER BY ordinal LIMIT ?", k.ID, after, limit+1)
		if err != nil {
			return fmt.Errorf("list key materials: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var m Material
			var created int64
			if err := rows.Scan(&m.ID, &m.Ordinal, &m.Type, &created); err != nil {
				return err
			}
			if m.Type == causeInitial {
				m.Type = ""
			}
			m.Created, m.Current = db.Time(created), m.ID == k.MaterialID
			out = append(out, m)
		}
		return rows.Err()
	})
	if len(out) > limit {
		return out[:limit], true, err
	}
	return out, false, err
}

// rotateDue rotates one key if it is still enabled and due. A key that was disabled over several dates is rotated once.
func (s *Service) rotateDue(ctx context.Context, id string) (done bool, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		done = false
		k, err := keyByID(ctx, tx, id)
		if err != nil || k.ID == "" || k.State != Enabled || k.NextRotation.IsZero() || k.NextRotation.After(tx.Now) {
			return err
		}
		if _, err := s.addMaterial(ctx, tx, k, causeAutomatic); err != nil {
			return err
		}
		period := time.Duration(k.RotationDays) * day
		for !k.NextRotation.After(tx.Now) {
			k.NextRotation = k.NextRotation.Add(period)
		}
		done = true
		return updateKey(ctx, tx, k)
	})
	return done, err
}
