package iam

import (
	"context"
	"sync"
	"time"

	"strongroom/internal/db"
)

// usage remembers when keys were used until the next flush, so that reads do not write.
type usage struct {
	mu      sync.Mutex
	pending map[string]Use // by access key id
	roles   map[string]Use // by role id
}

func newUsage() *usage { return &usage{pending: map[string]Use{}, roles: map[string]Use{}} }

func (u *usage) role(id string, now time.Time, region string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.roles[id] = Use{Time: now, Region: region}
}

func (u *usage) of(id string) Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.pending[id]
}

// RecordUse notes that a long-term key signed a valid request to a service ("kms") in a region. It writes nothing; see Run.
func (s *Service) RecordUse(accessKeyID, service, region string) {
	if len(accessKeyID) < 4 || accessKeyID[:4] != prefixKey {
		return
	}
	now := s.clock.Now().UTC().Truncate(time.Second)
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	s.usage.pending[accessKeyID] = Use{now, service, region}
}

// FlushUse stores what RecordUse noted. What a failed flush would have stored is lost unless used again.
func (s *Service) FlushUse(ctx context.Context) error {
	s.usage.mu.Lock()
	pending, roles := s.usage.pending, s.usage.roles
	s.usage.pending, s.usage.roles = map[string]Use{}, map[string]Use{}
	s.usage.mu.Unlock()
	if len(pending)+len(roles) == 0 {
		return nil
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		for id, u := range pending {
			if _, err := tx.Exec(ctx, `UPDATE iam_access_keys SET last_used = ?, last_service = ?, last_region = ? WHERE id = ? AND last_used < ?`,
				db.Micros(u.Time), u.Service, u.Region, id, db.Micros(u.Time)); err != nil {
				return err
			}
		}
		return flushRoles(ctx, tx, roles)
	})
}

const flushEvery = time.Minute

// Run stores key usage every minute until ctx ends, and once more then.
func (s *Service) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return s.FlushUse(last)
		case <-s.clock.After(flushEvery):
			if err := s.FlushUse(ctx); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "access key usage was not stored", "error", err)
			}
		}
	}
}
