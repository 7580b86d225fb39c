package repo

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// maxOpen is how many whole commit records stay in memory.
const maxOpen = 1024

// recordCache is what the vault remembers of the commit records in the store: of each that was read what the maintenance key
// may see, of some everything, which recovery points each resource has, and which ids there are. A record never changes;
// whether its recovery point still exists is the journal's to say. The zero value is ready to use. Safe for concurrent use.
type recordCache struct {
	mu     sync.Mutex
	public map[string]*record
	open   map[string]*record // at most maxOpen of them

	bySource map[source][]sourcePoint // by time, those that were read with the root key
	read     bool                     // that is all of them

	ids    []string // in order, if listed
	listed bool

	pass sync.Mutex // held by whoever reads all of them
}

// source is whose recovery point of what.
type source struct{ owner, resource string }

type sourcePoint struct {
	id        string
	committed time.Time
}

// get returns a record as far as it is known: whole, or at least its public part.
func (c *recordCache) get(id string, whole bool) *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.open[id]; r != nil || whole {
		return r
	}
	return c.public[id]
}

// put notes a record that is in the store.
func (c *recordCache) put(r *record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.public == nil {
		c.public, c.open, c.bySource = map[string]*record{}, map[string]*record{}, map[source][]sourcePoint{}
	}
	if c.public[r.id] == nil {
		c.public[r.id] = r.public()
	}
	if c.listed {
		if at, known := slices.BinarySearch(c.ids, r.id); !known {
			c.ids = slices.Insert(c.ids, at, r.id)
		}
	}
	if !r.open {
		return
	}
	for id := range c.open {
		if len(c.open) < maxOpen {
			break
		}
		delete(c.open, id)
	}
	c.open[r.id] = r
	k, p := source{r.meta.Owner, r.meta.ResourceARN}, sourcePoint{r.id, r.committed}
	line := c.bySource[k]
	if at, known := slices.BinarySearchFunc(line, p, compareSourcePoints); !known {
		c.bySource[k] = slices.Insert(line, at, p)
	}
}

func compareSourcePoints(a, b sourcePoint) int {
	return cmp.Or(a.committed.Compare(b.committed), cmp.Compare(a.id, b.id))
}

// forget makes the next reader read the record anew.
func (c *recordCache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.public, id)
	delete(c.open, id)
}

// drop notes that a record is not in the store any more.
func (c *recordCache) drop(id string) {
	c.forget(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, known := slices.BinarySearch(c.ids, id); known {
		c.ids = slices.Delete(c.ids, at, at+1)
	}
}

// record reads a commit record, whatever the journal says about it. fault.NotFound, fault.Corrupt.
func (r *Repository) record(ctx context.Context, id string) (*record, error) {
	return r.recordWith(ctx, id, r.root != nil)
}

// recordWith is record, with the private part or without.
func (r *Repository) recordWith(ctx context.Context, id string, whole bool) (*record, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if rec := r.v.records.get(id, whole); rec != nil {
		return rec, nil
	}
	data, err := blob.Get(ctx, r.store, pointName(id), maxSmall)
	if fault.Is(err, fault.NotFound) {
		return nil, noPoint(id)
	}
	if err != nil {
		return nil, err
	}
	root := r.root
	if !whole {
		root = nil
	}
	rec, err := decodeRecord(id, data, root, r.maint)
	if err != nil {
		return nil, err
	}
	r.v.records.put(rec)
	return rec, nil
}

// stored lists the ids of all commit records in the store.
func (r *Repository) stored(ctx context.Context) (ids []string, err error) {
	err = r.store.List(ctx, pointsPrefix, func(i blob.Info) error {
		ids = append(ids, strings.TrimPrefix(i.Name, pointsPrefix))
		return nil
	})
	return ids, err
}

// all reads the records of all live recovery points, whole or their public parts only. It fails when one that the journal knows is missing,
// so that whoever decides what is needed never decides without it.
func (r *Repository) all(ctx context.Context, whole bool) ([]*record, map[string]journaled, error) {
	// The journal first: what is committed after it only adds records.
	points, err := r.v.journal.snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids, err := r.stored(ctx)
	if err != nil {
		return nil, nil, err
	}
	recs := make([]*record, 0, len(ids))
	there := make(map[string]bool, len(ids))
	for _, id := range ids {
		if points[id].forgotten {
			there[id] = true
			continue
		}
		rec, err := r.recordWith(ctx, id, whole)
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

// List returns the recovery points, in the order of their ids. A commit record that is missing or damaged is fault.Corrupt:
// Check says more. It takes time and memory for each; Page does not.
func (r *Repository) List(ctx context.Context) ([]Commit, error) {
	recs, points, err := r.all(ctx, r.root != nil)
	if err != nil {
		return nil, err
	}
	out := make([]Commit, len(recs))
	for i, rec := range recs {
		out[i] = r.describe(rec, points[rec.id])
	}
	return out, nil
}

// describe returns what the repository knows of a recovery point.
func (r *Repository) describe(rec *record, p journaled) Commit {
	if r.root == nil {
		rec = rec.public()
	}
	return rec.commit(mergeRetention(rec, p))
}

// Page returns the next recovery points after an id ("" for the first), at most limit, in the order of their ids: fewer than
// limit are the last. The first call after the vault was opened lists the store; then a page costs what it holds, however
// many there are. fault.Corrupt as for List, for a record on the page.
func (r *Repository) Page(ctx context.Context, after string, limit int) ([]Commit, error) {
	if err := r.listed(ctx); err != nil {
		return nil, err
	}
	var out []Commit
	for len(out) < limit {
		ids := r.v.records.after(after, limit-len(out))
		if len(ids) == 0 {
			return out, nil
		}
		after = ids[len(ids)-1]
		for _, id := range ids {
			p, _, err := r.v.journal.state(ctx, id)
			if err == nil && p.forgotten {
				continue
			}
			var rec *record
			if err == nil {
				rec, err = r.record(ctx, id)
			}
			if fault.Is(err, fault.NotFound) {
				if err = r.pruned(ctx, id); err == nil {
					continue
				}
			}
			if err != nil {
				return nil, err
			}
			out = append(out, r.describe(rec, p))
		}
	}
	return out, nil
}

// listed makes sure that the cache knows all ids.
func (r *Repository) listed(ctx context.Context) error {
	c := &r.v.records
	c.pass.Lock()
	defer c.pass.Unlock()
	c.mu.Lock()
	done := c.listed
	c.listed = true // from here on, commits add themselves
	c.mu.Unlock()
	if done {
		return nil
	}
	ids, err := r.stored(ctx)
	if err == nil {
		// Those that the journal expects and that are not there are damage, which a page must not hide.
		var points map[string]journaled
		if points, err = r.v.journal.snapshot(ctx); err == nil {
			for id := range points {
				ids = append(ids, id)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.ids, c.listed = nil, false
		return err
	}
	ids = append(ids, c.ids...)
	slices.Sort(ids)
	c.ids = slices.Compact(ids)
	return nil
}

// after returns the ids that follow one.
func (c *recordCache) after(id string, limit int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := slices.BinarySearch(c.ids, id)
	if known {
		at++
	}
	return slices.Clone(c.ids[at:min(at+limit, len(c.ids))])
}

// newest returns the last recovery point of an owner's resource, or nil. The first call after the vault was opened reads all
// commit records; later ones know.
func (r *Repository) newest(ctx context.Context, meta Meta) (*record, error) {
	c := &r.v.records
	if err := r.readAll(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	line := slices.Clone(c.bySource[source{meta.Owner, meta.ResourceARN}])
	c.mu.Unlock()
	for _, p := range slices.Backward(line) {
		rec, _, _, err := r.live(ctx, p.id)
		if fault.Is(err, fault.NotFound) {
			if err = r.pruned(ctx, p.id); err == nil {
				continue
			}
		}
		return rec, err
	}
	return nil, nil
}

// readAll makes sure that the cache knows the recovery points of every source.
func (r *Repository) readAll(ctx context.Context) error {
	c := &r.v.records
	c.pass.Lock()
	defer c.pass.Unlock()
	c.mu.Lock()
	read := c.read
	c.mu.Unlock()
	if read {
		return nil
	}
	points, err := r.v.journal.snapshot(ctx)
	if err != nil {
		return err
	}
	ids, err := r.stored(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		// Those that are forgotten, too: they may be recalled.
		if _, err := r.record(ctx, id); err != nil && !fault.Is(err, fault.NotFound) && !points[id].forgotten {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = true
	return nil
}
