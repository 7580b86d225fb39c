package repo

import (
	"context"
	"maps"
	"slices"
	"sync"

	"strongroom/internal/fault"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// checking gathers findings. Its methods may be called concurrently.
type checking struct {
	r   *Repository
	pin *pin
	o   PassOptions

	mu     sync.Mutex
	report CheckReport
}

func (r *Repository) newCheck(o *PassOptions) *checking {
	c := &checking{r: r, pin: r.v.begin()}
	if o != nil {
		c.o = *o
	}
	return c
}

// find notes a finding about an object. An error that is not damage is not one: it ends the check.
func (c *checking) find(object, point string, err error) error {
	return c.found(Finding{Object: object, Point: point}, err)
}

// found notes a finding whose reason is err.
func (c *checking) found(f Finding, err error) error {
	if err == nil {
		return nil
	}
	if !unreadable(err) && !fault.Is(err, fault.NotFound) {
		return err
	}
	f.Reason = err.Error()
	if x := fault.As(err); x != nil && f.Path != "" && x.Resource != "" {
		f.Object = x.Resource
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.FindingCount++
	if len(c.report.Findings) < MaxProblems {
		c.report.Findings = append(c.report.Findings, f)
	}
	if c.o.Found != nil {
		c.o.Found(f)
	}
	return nil
}

// Check verifies the structure: journal, commit records, reference sets, index, the ends of all packs, and, with the root
// key, the packs' directories and every manifest down to each chunk's place in the index. It does not read content, but
// reports what is known to be damaged, with every recovery point and path that it spoils. It changes nothing, except that
// damage it comes upon goes into quarantine; the error is for what kept it from looking.
func (r *Repository) Check(ctx context.Context) (CheckReport, error) {
	c := r.newCheck(nil)
	defer c.pin.end()
	defer r.keepHealth(ctx)
	ids, err := c.tables(ctx)
	if err == nil {
		err = c.ends(ctx)
	}
	if err == nil {
		err = c.points(ctx, ids)
	}
	return c.report, err
}

// tables checks everything that is about the vault as a whole, and returns the recovery points that there are.
func (c *checking) tables(ctx context.Context) (ids []string, err error) {
	j := &journal{store: c.r.store, maint: c.r.maint}
	if err := c.find(journalPrefix, "", settled(func() error { return j.load(ctx) })); err != nil {
		return nil, err
	}
	all, err := c.r.stored(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(j.points)) {
		if !j.points[id].forgotten && !slices.Contains(all, id) {
			if err := c.find(pointName(id), id, c.r.pruned(ctx, id)); err != nil {
				return nil, err
			}
		}
	}
	for _, id := range all {
		if !j.points[id].forgotten {
			ids = append(ids, id)
		}
	}
	err = settled(func() error {
		set, err := index.Load(ctx, c.r.store, c.r.maint, 0)
		if err != nil {
			return err
		}
		return set.Verify(ctx)
	})
	if err := c.find("index", "", err); err != nil {
		return nil, err
	}
	_, lost, err := loadHealth(ctx, c.r.store, c.r.maint, c.r.v.index, c.r.clock.Now)
	if err != nil {
		return nil, err
	}
	for _, err := range lost {
		if err := c.find(fault.As(err).Resource, "", err); err != nil {
			return nil, err
		}
	}
	return ids, ctx.Err()
}

// ends checks all packs as far as that goes without reading their content.
func (c *checking) ends(ctx context.Context) error {
	for _, slot := range c.r.v.index.Packs() {
		if err := c.pack(ctx, slot); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (c *checking) pack(ctx context.Context, slot uint32) error {
	want := c.r.v.index.Pack(slot)
	c.report.Packs++
	c.report.Chunks += int64(want.Frames)
	i, _, err := pack.Stat(ctx, c.r.store, c.r.maint, want.Class, want.ID)
	if err == nil && i != want {
		err = corrupt(want.Name(), "its end contradicts the index")
	}
	if err == nil && c.r.root != nil {
		_, err = pack.ReadDir(ctx, c.r.store, c.r.root, c.r.maint, want)
	}
	if was := c.r.v.health.of(slot); err == nil && was.damaged {
		err = knownDamage(want, was)
	}
	return c.find(want.Name(), "", c.unlessPruned(want, err))
}

// settled repeats a look at objects that something else may be replacing by others: one that was listed may be gone.
func settled(look func() error) (err error) {
	for range 4 {
		if err = look(); !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return err
}

// unlessPruned drops an error about a pack that was deleted while it was looked at: nothing needed it.
func (c *checking) unlessPruned(i pack.Info, err error) error {
	if _, ok := c.r.v.index.Slot(i.ID); err != nil && !ok {
		return nil
	}
	return err
}

// points checks recovery points.
func (c *checking) points(ctx context.Context, ids []string) error {
	for _, id := range ids {
		c.report.Points++
		if err := c.point(ctx, id); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// point checks one recovery point from its record, read anew, down to the places of its chunks.
func (c *checking) point(ctx context.Context, id string) error {
	c.r.v.records.forget(id)
	rec, err := c.r.record(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return c.find(pointName(id), id, c.r.pruned(ctx, id))
	}
	if err != nil {
		return c.find(pointName(id), id, err)
	}
	refs, key, err := c.r.v.loadRefs(ctx, rec)
	if err != nil {
		if p, known, jerr := c.r.v.journal.state(ctx, id); jerr == nil && (p.forgotten || !known) {
			return nil // meanwhile nobody needs it
		}
		if err := c.find(key.name(), id, err); err != nil {
			return err
		}
		refs = nil
	}
	if c.r.root == nil {
		return c.spoiled(id, refs)
	}
	return c.manifest(ctx, rec, refs)
}

// spoiled reports the damaged packs that a recovery point needs, when its manifest cannot be read.
func (c *checking) spoiled(id string, refs *refSet) error {
	for slot, bits := range c.r.v.health.common(refs).all() {
		i := c.r.v.index.Pack(slot)
		if err := c.find(i.Name(), id, corrupt(i.Name(), "%d of its frames that the recovery point needs are or may be damaged", countBits(bits))); err != nil {
			return err
		}
	}
	return nil
}

// mapped reports what is known to be damaged with the recovery points that need it.
func (c *checking) mapped(ctx context.Context) error {
	if !c.r.v.health.any.Load() {
		return nil
	}
	recs, _, err := c.r.all(ctx, false)
	if err != nil {
		return c.find(pointsPrefix, "", err)
	}
	for _, rec := range recs {
		refs, key, err := c.r.v.loadRefs(ctx, rec)
		if err != nil {
			if _, _, _, gone := c.r.live(ctx, rec.id); fault.Is(gone, fault.NotFound) {
				continue
			}
			if err := c.find(key.name(), rec.id, err); err != nil {
				return err
			}
			continue
		}
		switch {
		case c.r.v.health.common(refs) == nil:
		case c.r.root == nil:
			err = c.spoiled(rec.id, refs)
		default:
			if rec, err = c.r.record(ctx, rec.id); err == nil {
				err = c.manifest(ctx, rec, refs)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// manifest walks a manifest and reports every path that a missing or damaged chunk spoils, and every part of the manifest that
// cannot be read. refs may be nil when the reference set is not known.
func (c *checking) manifest(ctx context.Context, rec *record, refs *refSet) error {
	fetch := c.r.fetch(c.pin)
	cursor := manifest.NewCursor(fetch, rec.root)
	cursor.Observe(func(h seal.Hash, _ *manifest.Page) error {
		c.report.Pages++
		return c.find(pointName(rec.id), rec.id, c.placed(ctx, refs, pack.Page, h))
	})
	cursor.Tolerate(func(l manifest.Lost) error {
		f := Finding{Object: pointName(rec.id), Point: rec.id, Path: l.First, Lost: int64(l.Entries), Until: l.Until}
		if x := fault.As(l.Err); x != nil && x.Resource != "" {
			f.Object = x.Resource
		}
		if f.Lost == 0 {
			f.Lost = max(1, rec.stats.Entries)
		}
		return c.found(f, l.Err)
	})
	var last seal.Hash
	var reason error // what is wrong with the chunk last
	for {
		n, err := cursor.Next(ctx)
		if n == nil || err != nil {
			return err
		}
		err = manifest.EachChunk(ctx, fetch, &n.Content, func(r manifest.Ref) error {
			if r.Hash != last {
				last = r.Hash
				reason = c.placed(ctx, refs, pack.Data, r.Hash)
			}
			return reason
		}, func(h seal.Hash) error { return c.placed(ctx, refs, pack.List, h) })
		if err := c.found(Finding{Object: pointName(rec.id), Point: rec.id, Path: n.Path}, err); err != nil {
			return err
		}
	}
}

// placed makes sure that a chunk is where the index says, is not known to be damaged, and that the reference set protects it
// there.
func (c *checking) placed(ctx context.Context, refs *refSet, kind byte, h seal.Hash) error {
	id := c.r.root.CID(kind, h).Short()
	var tried []framePlace
	var first error
	look := func(usable func(slot, frame uint32) bool) (ok bool, err error) {
		for {
			e, ok, err := c.r.v.index.Lookup(ctx, id, func(slot, frame uint32) bool {
				return usable(slot, frame) && !slices.Contains(tried, framePlace{slot, frame})
			})
			if err != nil || !ok {
				return false, err
			}
			if _, _, err = c.r.frame(ctx, e.Pack, e.Frame, kind, h); err == nil || !unreadable(err) {
				return err == nil, err
			}
			if first == nil {
				first = err
			}
			tried = append(tried, framePlace{e.Pack, e.Frame})
		}
	}
	mine := func(slot, frame uint32) bool { return refs == nil || refs.has(slot, frame) }
	ok, err := look(func(slot, frame uint32) bool { return mine(slot, frame) && !c.r.v.health.damaged(slot, frame) })
	if ok || err != nil {
		return err
	}
	// Where it is protected it is damaged, or it is not protected.
	damaged := len(tried) > 0
	_, known, err := c.r.v.index.Lookup(ctx, id, func(slot, frame uint32) bool { return mine(slot, frame) })
	if err != nil {
		return err
	}
	damaged = damaged || known
	if ok, err = look(c.pin.sees); err != nil {
		return err
	}
	switch {
	case ok && damaged:
		return nil // it came back with another recovery point, and Prune lets the reference set name that place
	case ok:
		return fault.New(fault.Corrupt, "a chunk is not protected by the recovery point's reference set")
	case first != nil:
		return first
	case damaged:
		e, _, err := c.r.v.index.Lookup(ctx, id, c.pin.reads)
		if err != nil {
			return err
		}
		return corrupt(c.r.v.index.Pack(e.Pack).Name(), "a chunk is damaged")
	}
	return fault.New(fault.Corrupt, "a chunk is not in the index")
}
