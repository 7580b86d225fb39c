package org

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"strongroom/internal/db"
	"strongroom/internal/policy"
)

// guarded is what authorization needs of an account, as of one generation.
type guarded struct {
	member Membership
	place  policy.Place
	scps   [][]policy.Source
}

// guardrailCache keeps guarded values of one generation. Every change of the organization counts the generation up in its own
// transaction, and every request reads the generation, one row, before it trusts the cache. So a detached or attached policy
// counts at once, on every node that shares the database.
type guardrailCache struct {
	mu         sync.Mutex
	generation int64
	accounts   map[string]guarded
}

const maxCached = 10000

func (c *guardrailCache) get(generation int64, account string) (guarded, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation {
		return guarded{}, false
	}
	g, ok := c.accounts[account]
	return g, ok
}

func (c *guardrailCache) put(generation int64, account string, g guarded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation < c.generation {
		return // a slow reader of an old state
	}
	if generation > c.generation || c.accounts == nil || len(c.accounts) >= maxCached {
		c.generation, c.accounts = generation, map[string]guarded{}
	}
	c.accounts[account] = g
}

// touch counts the generation up, in the transaction of the change.
func touch(ctx context.Context, tx *db.Tx) error {
	if _, err := tx.Exec(ctx, "UPDATE org_generation SET n = n + 1 WHERE id = 1"); err != nil {
		return fmt.Errorf("count organization generation: %w", err)
	}
	return nil
}

// Guardrails returns the account's place and the service control policies over it, one list per level from the root to the account;
// nil when none apply: in no organization, with the policy type disabled, and for the management account. A stored policy
// that cannot be read any more is a Source without document, which denies.
func (s *Service) Guardrails(ctx context.Context, account string) (policy.Place, [][]policy.Source, error) {
	g, err := s.guard(ctx, account)
	return g.place, g.scps, err
}

func (s *Service) guard(ctx context.Context, account string) (guarded, error) {
	var g guarded
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		// Read in one consistent state, so what is cached under a generation is what that generation has.
		var generation int64
		if err := tx.QueryRow(ctx, "SELECT n FROM org_generation WHERE id = 1").Scan(&generation); err != nil {
			return err
		}
		var ok bool
		if g, ok = s.cache.get(generation, account); ok {
			return nil
		}
		var err error
		if g, err = s.load(ctx, tx, account); err != nil {
			return err
		}
		s.cache.put(generation, account, g)
		return nil
	})
	if err != nil {
		return guarded{}, fmt.Errorf("read guardrails of %s: %w", account, err)
	}
	return g, nil
}

func (s *Service) load(ctx context.Context, tx *db.Tx, account string) (guarded, error) {
	o, err := organizationOf(ctx, tx, account)
	if err != nil || o.ID == "" {
		return guarded{}, err
	}
	a, err := accountByID(ctx, tx, account)
	if err != nil {
		return guarded{}, err
	}
	line, err := lineage(ctx, tx, o, account)
	if err != nil {
		return guarded{}, err
	}
	if line == nil {
		return guarded{}, fmt.Errorf("account %s of %s has no place in its tree", account, o.ID)
	}
	path := o.ID + "/" + strings.Join(line[:len(line)-1], "/") + "/"
	g := guarded{
		member: Membership{OrgID: o.ID, Management: o.Management, FeatureSet: o.FeatureSet, ParentID: a.ParentID, Path: path, State: a.State},
		place:  policy.Place{OrgID: o.ID, OrgPath: path, Management: o.Management == account, Levels: line},
	}
	if g.place.Management || !o.enabled(SCP) {
		return g, nil
	}
	for _, level := range line {
		list, err := s.attached(ctx, tx, o, level)
		if err != nil {
			return guarded{}, err
		}
		g.scps = append(g.scps, list)
	}
	return g, nil
}

// attached returns the service control policies of one level, never nil: a level without any allows nothing.
func (s *Service) attached(ctx context.Context, tx *db.Tx, o Organization, target string) ([]policy.Source, error) {
	ids, err := scanStrings(tx.Query(ctx, "SELECT policy FROM org_attachment WHERE org = ? AND target = ? AND type = ? ORDER BY ordinal", o.ID, target, SCP))
	if err != nil {
		return nil, err
	}
	out := make([]policy.Source, 0, len(ids))
	for _, id := range ids {
		p, err := policyByID(ctx, tx, o, id)
		if err != nil {
			return nil, err
		}
		doc, err := s.docs.Parse(policy.SCP, p.Content)
		if err != nil {
			s.Log.ErrorContext(ctx, "a stored service control policy cannot be read and denies everything", "policy", p.ID, "error", err)
			doc = nil
		}
		out = append(out, policy.Source{Type: policy.TypeSCP, Name: o.PolicyARN(p.ID, SCP), Owner: o.Management, Doc: doc})
	}
	return out, nil
}
