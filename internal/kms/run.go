package kms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
)

// Stats is what one pass of RunOnce did.
type Stats struct {
	Destroyed []string // ARNs of keys whose waiting period was over
	Rotated   []string
}

// RunOnce destroys the keys that are due and rotates those that are due. Keys that could not be are left for the next pass and
// named in the error; the others are done all the same.
func (s *Service) RunOnce(ctx context.Context) (Stats, error) {
	var st Stats
	var errs []error
	reading := s.trusted()
	if !reading.Frozen {
		due, err := s.due(ctx, "k.state = 'PendingDeletion' AND k.deletion <= ?", reading.Now)
		if err != nil {
			return st, err
		}
		for _, k := range due {
			done, err := s.destroyDue(ctx, k.ID, reading.Now)
			if err != nil {
				errs = append(errs, fmt.Errorf("destroy %s: %w", k.ARN(), err))
			} else if done {
				st.Destroyed = append(st.Destroyed, k.ARN())
				s.Log.InfoContext(ctx, "key destroyed", "key", k.ARN())
			}
		}
	}
	due, err := s.due(ctx, "k.state = 'Enabled' AND k.next_rotation > 0 AND k.next_rotation <= ?", s.Clock.Now())
	if err != nil {
		return st, errors.Join(append(errs, err)...)
	}
	for _, k := range due {
		done, err := s.rotateDue(ctx, k.ID)
		if err != nil {
			errs = append(errs, fmt.Errorf("rotate %s: %w", k.ARN(), err))
		} else if done {
			st.Rotated = append(st.Rotated, k.ARN())
			s.Log.InfoContext(ctx, "key rotated", "key", k.ARN())
		}
	}
	return st, errors.Join(errs...)
}

func (s *Service) due(ctx context.Context, where string, at time.Time) (keys []Key, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, selectKey+" WHERE "+where+" ORDER BY k.id", db.Micros(at))
		if err != nil {
			return fmt.Errorf("find due keys: %w", err)
		}
		keys, err = scanKeys(rows)
		return err
	})
	return keys, err
}

func (s *Service) trusted() clock.Reading {
	if s.Trusted == nil {
		return clock.Reading{Now: s.Clock.Now()}
	}
	return s.Trusted()
}
