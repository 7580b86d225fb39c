package repo

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"strongroom/internal/durable"
	"strongroom/internal/fault"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// checking gathers findings. Its methods may be called concurrently.
type checking struct {
	r   *Repository
	pin *pin

	mu     sync.Mutex
	report CheckReport
	refs   map[string]*refSet // of the recovery points whose reference set is intact
	bad    map[framePlace]bool
}

func (r *Repository) newCheck() *checking {
	return &checking{r: r, pin: r.v.begin(), refs: map[string]*refSet{}, bad: map[framePlace]bool{}}
}

// find notes a finding. An error that is not corruption is not one: it ends the check.
func (c *checking) find(object, point string, err error) error {
	if err == nil {
		return nil
	}
	if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.NotFound) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.FindingCount++
	if len(c.report.Findings) < MaxProblems {
		c.report.Findings = append(c.report.Findings, Finding{Object: object, Point: point, Reason: err.Error()})
	}
	return nil
}

// Check verifies the structure: journal, commit records, reference sets, index, the ends of all packs, and, with the root
// key, the packs' directories and every manifest down to each chunk's place in the index. It does not read content. It
// changes nothing; the error is for what kept it from looking.
func (r *Repository) Check(ctx context.Context) (CheckReport, error) {
	c := r.newCheck()
	defer c.pin.end()
	err := c.structure(ctx)
	return c.report, err
}

func (c *checking) structure(ctx context.Context) error {
	j := &journal{store: c.r.store, maint: c.r.maint}
	if err := c.find(journalPrefix, "", settled(func() error { return j.load(ctx) })); err != nil {
		return err
	}
	ids, err := c.r.stored(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(j.points)) {
		if !j.points[id].forgotten && !slices.Contains(ids, id) {
			if err := c.find(pointName(id), id, c.r.pruned(ctx, id)); err != nil {
				return err
			}
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
		return err
	}
	for _, slot := range c.r.v.index.Packs() {
		if err := c.pack(ctx, c.r.v.index.Pack(slot)); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if j.points[id].forgotten {
			continue
		}
		if err := c.point(ctx, id); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (c *checking) pack(ctx context.Context, want pack.Info) error {
	c.report.Packs++
	c.report.Chunks += int64(want.Frames)
	i, _, err := pack.Stat(ctx, c.r.store, c.r.maint, want.Class, want.ID)
	if err == nil && i != want {
		err = corrupt(want.Name(), "its end contradicts the index")
	}
	if err == nil && c.r.root != nil {
		_, err = pack.ReadDir(ctx, c.r.store, c.r.root, c.r.maint, want)
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

// point checks one recovery point from its record, read anew, down to the places of its chunks.
func (c *checking) point(ctx context.Context, id string) error {
	c.report.Points++
	c.r.v.mu.Lock()
	delete(c.r.v.records, id)
	c.r.v.mu.Unlock()
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
		return c.find(key.name(), id, err)
	}
	c.refs[id] = refs
	if c.r.root == nil {
		return nil
	}
	return c.find(pointName(id), id, c.manifest(ctx, rec, refs))
}

// manifest walks a manifest. Problems of single chunks are findings, a page that cannot be read is the error.
func (c *checking) manifest(ctx context.Context, rec *record, refs *refSet) error {
	fetch := c.r.fetch(c.pin)
	cursor := manifest.NewCursor(fetch, rec.root)
	cursor.Observe(func(h seal.Hash, _ *manifest.Page) error {
		c.report.Pages++
		return c.placed(ctx, refs, pack.Page, h)
	})
	var last seal.Hash
	for {
		n, err := cursor.Next(ctx)
		if n == nil || err != nil {
			return err
		}
		err = manifest.EachChunk(ctx, fetch, &n.Content, func(r manifest.Ref) error {
			if r.Hash == last {
				return nil
			}
			last = r.Hash
			return c.placed(ctx, refs, pack.Data, r.Hash)
		}, func(h seal.Hash) error { return c.placed(ctx, refs, pack.List, h) })
		if err := c.find(n.Path, rec.id, err); err != nil {
			return err
		}
	}
}

// placed makes sure that a chunk is where the index says, and that the reference set protects it there.
func (c *checking) placed(ctx context.Context, refs *refSet, kind byte, h seal.Hash) error {
	e, ok, err := c.r.v.index.Lookup(ctx, c.r.root.CID(kind, h).Short(), refs.has)
	if err == nil && !ok {
		err = fault.New(fault.Corrupt, "a chunk is not in the index, or not protected by the recovery point's reference set")
	}
	if err == nil {
		_, _, err = c.r.frame(ctx, e.Pack, e.Frame, kind, h)
	}
	return err
}

// Scrub reads every byte of every pack and compares it with the digest in the pack's end. It takes no root key, and finds
// what VerifyAll finds except for errors that were sealed in. It changes nothing.
func (r *Repository) Scrub(ctx context.Context) (CheckReport, error) {
	c := r.newCheck()
	defer c.pin.end()
	buf := durable.AlignedBuffer(runSize)
	for _, slot := range r.v.index.Packs() {
		info := r.v.index.Pack(slot)
		c.report.Packs++
		c.report.Bytes += info.Size
		if err := c.find(info.Name(), "", c.unlessPruned(info, pack.Scrub(ctx, r.store, r.maint, info, buf))); err != nil {
			return c.report, err
		}
	}
	return c.report, nil
}

// VerifyAll is Check, and reads, opens and verifies every chunk that a recovery point needs. Damaged chunks are reported
// with each recovery point and path that they spoil. It changes nothing.
func (r *Repository) VerifyAll(ctx context.Context, progress func(Progress)) (CheckReport, error) {
	if err := needRoot(r); err != nil {
		return CheckReport{}, err
	}
	c := r.newCheck()
	defer c.pin.end()
	err := c.structure(ctx)
	if err == nil {
		err = c.content(ctx, progress)
	}
	return c.report, err
}

// Verify is VerifyAll for one recovery point.
func (p *Point) Verify(ctx context.Context, progress func(Progress)) (CheckReport, error) {
	pin, err := p.begin(ctx)
	if err != nil {
		return CheckReport{}, err
	}
	defer pin.end()
	c := p.r.newCheck()
	defer c.pin.end()
	if err = c.point(ctx, p.rec.id); err == nil {
		err = c.content(ctx, progress)
	}
	return c.report, err
}

// spoiled reports the paths whose content lies in damaged frames.
func (c *checking) spoiled(ctx context.Context) error {
	if len(c.bad) == 0 {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(c.refs)) {
		refs := c.refs[id]
		if !anyBad(refs, c.bad) {
			continue
		}
		rec, err := c.r.record(ctx, id)
		if err != nil {
			return c.find(pointName(id), id, err)
		}
		fetch := c.r.fetch(c.pin)
		cursor := manifest.NewCursor(fetch, rec.root)
		for {
			n, err := cursor.Next(ctx)
			if err != nil {
				if err := c.find(pointName(id), id, err); err != nil {
					return err
				}
			}
			if n == nil {
				break
			}
			if err := c.spoils(ctx, fetch, id, refs, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func anyBad(refs *refSet, bad map[framePlace]bool) bool {
	for k := range bad {
		if refs.has(k.slot, k.frame) {
			return true
		}
	}
	return false
}

func (c *checking) spoils(ctx context.Context, fetch manifest.Fetch, id string, refs *refSet, n *manifest.Node) error {
	if n.Type != tree.File {
		return nil
	}
	damaged := false
	err := manifest.EachChunk(ctx, fetch, &n.Content, func(r manifest.Ref) error {
		e, ok, err := c.r.v.index.Lookup(ctx, c.r.root.CID(pack.Data, r.Hash).Short(), refs.has)
		damaged = damaged || ok && c.bad[framePlace{e.Pack, e.Frame}]
		return err
	}, nil)
	if err == nil && damaged {
		err = fault.New(fault.Corrupt, "the content is damaged")
	}
	return c.find(strings.ToValidUTF8(n.Path, "?"), id, err)
}
