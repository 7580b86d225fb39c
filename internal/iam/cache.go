package iam

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"strongroom/internal/db"
)

// staleAfter is how long this process may go on with what it remembers of an account without asking the database whether
// another process changed it.
const staleAfter = 2 * time.Second

// cache remembers what authorization reads on every request. An entry is good while no account that it was made from has
// changed since before it was read.
type cache struct {
	seq      atomic.Uint64 // counts invalidations
	accounts sync.Map      // account → *accountState

	mu      sync.RWMutex
	entries map[string]cacheEntry
}

type cacheEntry struct {
	value    any
	seq      uint64 // of the cache before the value was read
	accounts []*accountState
}

type accountState struct {
	account   string
	changedAt atomic.Uint64 // seq of the last invalidation

	mu      sync.Mutex
	checked atomic.Int64 // when changes was last read, nanoseconds
	changes int64        // the account's change counter in the database; guarded by mu
}

const mostEntries = 20_000 // then the cache starts anew: bounded memory matters more than the rare reload

func newCache() *cache { return &cache{entries: map[string]cacheEntry{}} }

func (c *cache) state(account string) *accountState {
	if st, ok := c.accounts.Load(account); ok {
		return st.(*accountState)
	}
	st, _ := c.accounts.LoadOrStore(account, &accountState{account: account, changes: -1})
	return st.(*accountState)
}

// invalidate makes everything remembered about the account bad. It must be called after the commit.
func (c *cache) invalidate(account string) { c.state(account).changedAt.Store(c.seq.Add(1)) }

func (c *cache) get(key string) (cacheEntry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[key]
	return e, ok
}

func (c *cache) put(key string, e cacheEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= mostEntries {
		clear(c.entries)
	}
	c.entries[key] = e
}

// cached returns the value of key, which load reads when it is not remembered. load also returns the accounts that the
// value depends on. Errors are not remembered.
func cached[T any](ctx context.Context, s *Service, key string, load func(ctx context.Context, tx *db.Tx) (T, []string, error)) (T, error) {
	if e, ok := s.cache.get(key); ok {
		good, err := s.good(ctx, e)
		if err != nil {
			var zero T
			return zero, err
		}
		if good {
			return e.value.(T), nil
		}
	}
	e := cacheEntry{seq: s.cache.seq.Load()} // before reading: a change meanwhile makes the entry bad at once
	var v T
	err := s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		var accounts []string
		var err error
		v, accounts, err = load(ctx, tx)
		e.accounts = e.accounts[:0]
		for _, a := range accounts {
			e.accounts = append(e.accounts, s.cache.state(a))
		}
		return err
	})
	if err != nil {
		var zero T
		return zero, err
	}
	e.value = v
	s.cache.put(key, e)
	return v, nil
}

func (s *Service) good(ctx context.Context, e cacheEntry) (bool, error) {
	now := s.clock.Now()
	for _, st := range e.accounts {
		if d := now.UnixNano() - st.checked.Load(); d >= int64(staleAfter) || d < 0 {
			if err := s.refresh(ctx, st, now); err != nil {
				return false, err
			}
		}
		if st.changedAt.Load() > e.seq {
			return false, nil
		}
	}
	return true, nil
}

// refresh compares the account's change counter with the one last seen.
func (s *Service) refresh(ctx context.Context, st *accountState, now time.Time) error {
	if !st.mu.TryLock() {
		return nil // someone else is asking
	}
	defer st.mu.Unlock()
	var n int64
	err := s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		err := tx.QueryRow(ctx, `SELECT changes FROM iam_accounts WHERE account = ?`, st.account).Scan(&n)
		if db.NoRows(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if n != st.changes {
		st.changes = n
		s.cache.invalidate(st.account)
	}
	st.checked.Store(now.UnixNano())
	return nil
}
