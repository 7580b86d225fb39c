package repo

import (
	"context"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
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
// fault.Corrupt: index or journal are damaged. fault.Unavailable: another process has it open.
func Open(ctx context.Context, c Config) (*Repository, error) {
	vault, err := seal.ParseVaultID(c.Vault)
	if err != nil {
		return nil, err
	}
	if c.Clock == nil || c.Store == nil {
		return nil, fault.New(fault.Invalid, "a repository needs a store and a clock")
	}
	r := &Repository{store: c.Store, clock: c.Clock, registry: c.Registry, workers: c.Workers, trust: c.TrustMemory, log: c.Log}
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

// record reads a commit record, whatever the journal says about it. fault.NotFound, fault.Corrupt.
func (r *Repository) record(ctx context.Context, id string) (*record, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	r.v.mu.RLock()
	rec := r.v.records[id]
	r.v.mu.RUnlock()
	if rec != nil && (rec.open || r.root == nil) {
		return rec, nil
	}
	data, err := blob.Get(ctx, r.store, pointName(id), maxSmall)
	if fault.Is(err, fault.NotFound) {
		return nil, noPoint(id)
	}
	if err != nil {
		return nil, err
	}
	if rec, err = decodeRecord(id, data, r.root, r.maint); err != nil {
		return nil, err
	}
	r.v.mu.Lock()
	r.v.records[id] = rec
	r.v.mu.Unlock()
	return rec, nil
}

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

// stored lists the ids of all commit records in the store.
func (r *Repository) stored(ctx context.Context) (ids []string, err error) {
	err = r.store.List(ctx, pointsPrefix, func(i blob.Info) error {
		ids = append(ids, strings.TrimPrefix(i.Name, pointsPrefix))
		return nil
	})
	return ids, err
}

// List returns the recovery points, in the order of their ids. A commit record that is missing or damaged is fault.Corrupt:
// Check says more.
func (r *Repository) List(ctx context.Context) ([]Commit, error) {
	recs, points, err := r.all(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Commit, len(recs))
	for i, rec := range recs {
		if r.root == nil {
			rec = rec.public()
		}
		out[i] = rec.commit(mergeRetention(rec, points[rec.id]))
	}
	return out, nil
}

// all reads the records of all live recovery points. It fails when one that the journal knows is missing, so that whoever
// decides what is needed never decides without it.
func (r *Repository) all(ctx context.Context) ([]*record, map[string]journaled, error) {
	// The journal first: what is committed after it only adds records.
	points, err := r.v.journal.snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids, err := r.stored(ctx)
	if err != nil {
		return nil, nil, err
	}
	var recs []*record
	there := map[string]bool{}
	for _, id := range ids {
		if points[id].forgotten {
			there[id] = true
			continue
		}
		rec, err := r.record(ctx, id)
		if fault.Is(err, fault.NotFound) {
			continue // gone since the listing; asked about below
		}
		if err != nil {
			return nil, nil, err
		}
		there[id] = true
		recs = append(recs, rec)
	}
	var now map[string]journaled
	for _, id := range slices.Sorted(maps.Keys(points)) {
		if points[id].forgotten || there[id] {
			continue
		}
		// A record goes only after the journal says that its recovery point is forgotten: ask it again.
		if now == nil {
			if now, err = r.v.journal.snapshot(ctx); err != nil {
				return nil, nil, err
			}
		}
		if p, ok := now[id]; ok && !p.forgotten {
			return nil, nil, corrupt(pointName(id), "the commit record of recovery point %s is missing", id)
		}
	}
	return recs, points, nil
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
	return j.append(ctx, e)
}
