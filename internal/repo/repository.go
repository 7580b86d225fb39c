package repo

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

// Repository holds the recovery points of one vault. Safe for concurrent use; Close it when done.
type Repository struct {
	v        *vault
	registry *Registry
	store    blob.Store
	maint    *seal.Maint
	root     *seal.Root // nil: maintenance only
	cutter   *chunk.Cutter
	clock    clock.Clock
	workers  int
	trust    bool
	log      *slog.Logger
	desc     Descriptor
	dirs     *dirCache
	codecs   sync.Pool // *chunk.Codec
	ingest   sync.Pool // *ingestMemory
	unit     int64     // size of packs; 0 = pack.Target
	close    func()
}

// Open opens a repository. fault.NotFound: the store is empty. fault.Denied: a key or the id is not this vault's.
// fault.Corrupt: index or journal are damaged. fault.Unavailable: another process has it open. fault.Unsupported: a newer program
// made it. A vault that a newer program has added something to may be open for reading only; then whatever would change it is
// fault.Unsupported.
func Open(ctx context.Context, c Config) (*Repository, error) {
	vault, err := seal.ParseVaultID(c.Vault)
	if err != nil {
		return nil, err
	}
	if c.Clock == nil || c.Store == nil {
		return nil, fault.New(fault.Invalid, "a repository needs a store and a clock")
	}
	r := &Repository{clock: c.Clock, registry: c.Registry, workers: c.Workers, trust: c.TrustMemory, log: c.Log}
	if r.maint, err = seal.NewMaint(c.Maint, vault); err != nil {
		return nil, err
	}
	if c.Root != nil {
		if r.root, err = seal.NewRoot(c.Root, vault); err != nil {
			return nil, err
		}
		r.cutter = chunk.NewCutter(chunk.Default, r.root.Gear())
	}
	if r.desc, err = authenticate(ctx, &c, vault, r.root, r.maint); err != nil {
		return nil, err
	}
	r.store = c.Store
	if r.workers <= 0 {
		r.workers = runtime.GOMAXPROCS(0)
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.log = r.log.With("vault", c.Vault)
	if r.registry == nil {
		r.registry = NewRegistry()
	}
	r.dirs = newDirCache(r)
	r.codecs.New = func() any { return chunk.NewCodec() }
	r.ingest.New = func() any { return &ingestMemory{codec: chunk.NewCodec()} }
	if r.v, err = r.registry.acquire(ctx, vault, c.Store, r.maint, c.Clock.Now); err != nil {
		return nil, err
	}
	r.store = r.v.store // one for all that have the vault open, so that they share its syncs
	r.close = sync.OnceFunc(func() { r.registry.drop(r.v) })
	return r, nil
}

// Close ends the use of the repository. Operations under way must have returned.
func (r *Repository) Close() error {
	r.close()
	return nil
}

// Descriptor returns the authenticated descriptor.
func (r *Repository) Descriptor() Descriptor { return r.desc }

// live returns the record of a recovery point that is not forgotten, and its retention.
func (r *Repository) live(ctx context.Context, id string) (rec *record, retain time.Time, locked bool, err error) {
	if rec, err = r.record(ctx, id); err != nil {
		return nil, retain, false, err
	}
	p, known, err := r.v.journal.state(ctx, id)
	if err == nil && !known {
		// Either the note of its commit got lost, or it was forgotten and pruned a moment ago.
		if _, err = r.store.Stat(ctx, pointName(id)); fault.Is(err, fault.NotFound) {
			err = noPoint(id)
		}
	}
	if err != nil {
		return nil, retain, false, err
	}
	if p.forgotten {
		return nil, retain, false, noPoint(id)
	}
	retain, locked = mergeRetention(rec, p)
	return rec, retain, locked, nil
}

// pruned returns nil when a commit record that was expected and is not there was forgotten, and maybe pruned, meanwhile.
func (r *Repository) pruned(ctx context.Context, id string) error {
	p, known, err := r.v.journal.state(ctx, id)
	if err != nil || p.forgotten || !known {
		return err
	}
	return corrupt(pointName(id), "the commit record of recovery point %s is missing", id)
}

// Forget drops a recovery point: from then on it is not found, and the next Prune frees what only it needed. now comes
// from the trusted clock. fault.State while the recovery point is locked.
func (r *Repository) Forget(ctx context.Context, id string, now time.Time) error {
	return r.change(ctx, id, func(retain time.Time, locked bool) (journalEntry, error) {
		if locked && (retain.IsZero() || now.Before(retain)) {
			until := "for ever"
			if !retain.IsZero() {
				until = "until " + retain.UTC().Format(time.RFC3339)
			}
			return journalEntry{}, fault.New(fault.State, "recovery point %s is locked %s", id, until).WithResource(id)
		}
		return journalEntry{kind: jForget, at: now}, nil
	})
}

// SetRetention changes when a recovery point may be forgotten. A locked one can only be extended and never unlocked
// (fault.State).
func (r *Repository) SetRetention(ctx context.Context, id string, until time.Time, locked bool) error {
	return r.change(ctx, id, func(retain time.Time, was bool) (journalEntry, error) {
		if was && (!locked || !later(retain, until).Equal(until)) {
			return journalEntry{}, fault.New(fault.State, "recovery point %s is locked: its retention can only be extended", id).WithResource(id)
		}
		return journalEntry{kind: jRetention, retain: until.UTC(), locked: locked}, nil
	})
}

// change decides about one recovery point and journals the decision, with nothing in between: a lock that is set at the
// same time is either seen or comes after.
func (r *Repository) change(ctx context.Context, id string, decide func(retain time.Time, locked bool) (journalEntry, error)) error {
	rec, err := r.record(ctx, id)
	if err != nil {
		return err
	}
	j := r.v.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.fresh(ctx); err != nil {
		return err
	}
	p := j.points[id]
	if p.forgotten {
		return noPoint(id)
	}
	e, err := decide(mergeRetention(rec, p))
	if err != nil {
		return err
	}
	e.id = id
	if e.at.IsZero() {
		e.at = r.clock.Now()
	}
	return r.v.inReserve(ctx, func() error { return j.append(ctx, e) })
}
