package repo

import (
	"context"
	"slices"
	"sort"

	"strongroom/internal/fault"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// ingestBase is the last recovery point of the resource during a session: the manifest that pages may be left out for. It
// reads the pages above what has changed and, at the end, the leaves that were replaced: as much as the source sends.
//
// A page is granted only where it stands: same hash, level and path of the first entry, found by going down from the base's
// root. Everything below it belongs to the base, which is complete.
type ingestBase struct {
	rec   *record
	fetch manifest.Fetch
	root  *manifest.Page
	spine map[int]*spinePage // by level: the page that was looked at last

	grants map[seal.Hash]*basePage
}

type spinePage struct {
	hash seal.Hash
	page *manifest.Page
	// everything in the page comes before bound, if bounded
	bound   string
	bounded bool
}

// basePage is a page of the base that the source need not send.
type basePage struct {
	manifest.Child
	level   int
	root    bool
	bound   string // everything in it comes before this path, if bounded
	bounded bool
	used    bool // the new manifest has it
}

// compare answers a Compare.
func (x *Session) compare(ctx context.Context, pages []OfferedPage) (Need, error) {
	n := Need{Send: make([]bool, len(pages))}
	x.order.Lock()
	defer x.order.Unlock()
	for i := range pages {
		p := &pages[i]
		b, err := x.base.grant(ctx, seal.Hash(p.Hash), int(p.Level), p.First)
		if fault.Is(err, fault.Corrupt) {
			x.r.log.Warn("the last recovery point of a resource is damaged: pages of it are sent again", "point", x.base.rec.id, "err", err)
			err = nil
		}
		if err != nil {
			return Need{}, err
		}
		n.Send[i] = b == nil
	}
	return n, nil
}

// openBase returns the base, or nil when pages cannot be left out: there is none, a part of it is missing or in quarantine, or
// it has more problems than its record lists.
func (x *Session) openBase(ctx context.Context, rec *record) *ingestBase {
	if rec == nil || rec.problem > int64(len(rec.shown)) {
		return nil
	}
	for slot, bits := range x.scope.all() {
		for _, frame := range framesOf(bits) {
			if !x.s.pin.sees(slot, frame) {
				return nil
			}
		}
	}
	b := &ingestBase{rec: rec, fetch: x.r.fetch(x.s.pin), spine: map[int]*spinePage{}, grants: map[seal.Hash]*basePage{}}
	plain, err := b.fetch(ctx, rec.root, false)
	if err == nil {
		b.root, err = manifest.DecodePage(plain)
	}
	if err != nil {
		x.r.log.Warn("the last recovery point of a resource cannot be read: everything is sent", "point", rec.id, "err", err)
		return nil
	}
	return b
}

// granted returns a page that was granted, or nil.
func (b *ingestBase) granted(h seal.Hash) *basePage {
	if b == nil {
		return nil
	}
	return b.grants[h]
}

// inUse reports whether the new manifest has pages of the base.
func (b *ingestBase) inUse() bool {
	if b == nil {
		return false
	}
	for _, g := range b.grants {
		if g.used {
			return true
		}
	}
	return false
}

// grant finds a page of the base at its place.
func (b *ingestBase) grant(ctx context.Context, h seal.Hash, level int, first string) (*basePage, error) {
	if b == nil || level > b.root.Level {
		return nil, nil
	}
	g := b.grants[h]
	if g == nil {
		var err error
		if g, err = b.find(ctx, level, first); err != nil || g == nil || g.Hash != h {
			return nil, err
		}
		b.grants[h] = g
	}
	if g.level != level || g.First != first {
		return nil, nil
	}
	return g, nil
}

// find goes down to the page of a level that begins with a path.
func (b *ingestBase) find(ctx context.Context, level int, first string) (*basePage, error) {
	at := &spinePage{hash: b.rec.root, page: b.root}
	if level == b.root.Level {
		if first != "" {
			return nil, nil
		}
		return &basePage{Child: whole(b.rec.root, b.root), level: level, root: true}, nil
	}
	for {
		lines := at.page.Children
		i := sort.Search(len(lines), func(i int) bool { return tree.Less(first, lines[i].First) }) - 1
		if i < 0 {
			return nil, nil
		}
		bound, bounded := at.bound, at.bounded
		if i+1 < len(lines) {
			bound, bounded = lines[i+1].First, true
		}
		if at.page.Level-1 == level {
			if lines[i].First != first {
				return nil, nil
			}
			return &basePage{Child: lines[i], level: level, bound: bound, bounded: bounded}, nil
		}
		below := b.spine[at.page.Level-1]
		if below == nil || below.hash != lines[i].Hash {
			page, err := b.open(ctx, lines[i], at.page.Level-1)
			if err != nil {
				return nil, err
			}
			below = &spinePage{hash: lines[i].Hash, page: page, bound: bound, bounded: bounded}
			b.spine[page.Level] = below
		}
		at = below
	}
}

// whole is the line that stands for a root page.
func whole(h seal.Hash, p *manifest.Page) manifest.Child {
	c := manifest.Child{Hash: h}
	for _, l := range p.Children {
		c.Entries += l.Entries
		c.Bytes += l.Bytes
	}
	for i := range p.Nodes {
		c.Entries++
		c.Bytes += uint64(p.Nodes[i].Content.Len())
	}
	return c
}

// open reads a page of the base.
func (b *ingestBase) open(ctx context.Context, c manifest.Child, level int) (*manifest.Page, error) {
	plain, err := b.fetch(ctx, c.Hash, false)
	if err != nil {
		return nil, err
	}
	p, err := manifest.DecodePage(plain)
	if err == nil && p.Level != level {
		err = fault.New(fault.Corrupt, "a manifest page stands in the wrong place")
	}
	return p, err
}

// last returns the path of the last entry below a page.
func (b *ingestBase) last(ctx context.Context, g *basePage) (string, error) {
	c := g.Child
	for level := g.level; ; level-- {
		p, err := b.open(ctx, c, level)
		if err != nil {
			return "", err
		}
		if level == 0 {
			return p.Nodes[len(p.Nodes)-1].Path, nil
		}
		c = p.Children[len(p.Children)-1]
	}
}

// keptPart is what the new manifest has from the base.
type keptPart struct {
	files    int64
	count    int64
	problems []Problem
}

// kept returns what the base holds without what was replaced, which it reads.
func (b *ingestBase) kept(ctx context.Context) (keptPart, error) {
	k := keptPart{files: b.rec.stats.Files, count: b.rec.problem}
	gone := map[string]bool{}
	var drop func(h seal.Hash, p *manifest.Page) error
	drop = func(h seal.Hash, p *manifest.Page) error {
		if g := b.grants[h]; g != nil && g.used {
			return nil
		}
		for i := range p.Nodes {
			n := &p.Nodes[i]
			if n.Type == tree.File && n.Hardlink == "" {
				k.files--
			}
			if n.Problem != "" {
				k.count--
				gone[n.Path] = true
			}
		}
		for _, c := range p.Children {
			if g := b.grants[c.Hash]; g != nil && g.used {
				continue
			}
			below, err := b.open(ctx, c, p.Level-1)
			if err != nil {
				return err
			}
			if err := drop(c.Hash, below); err != nil {
				return err
			}
		}
		return nil
	}
	if err := drop(b.rec.root, b.root); err != nil {
		return k, err
	}
	for _, p := range b.rec.shown {
		if !gone[p.Path] {
			k.problems = append(k.problems, p)
		}
	}
	return k, nil
}

// mergeProblems returns the first of both in tree order.
func mergeProblems(a, b []Problem) []Problem {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y Problem) int { return tree.Compare(x.Path, y.Path) })
	return all[:min(len(all), MaxProblems)]
}

// inherit completes what the recovery point refers to, when pages of the base stand in its manifest: by all that the base
// refers to, which is more than is needed, as long as that is not much more than the source counts; else by what the new
// manifest names, which is read for that.
func (x *Session) inherit(ctx context.Context, m Seal) error {
	if !x.base.inUse() {
		return nil
	}
	refs, err := x.s.sink.finish(ctx)
	if err != nil {
		return err
	}
	refs.union(x.scope)
	if refs.total() <= m.Chunks+m.Chunks/10+64 {
		return nil
	}
	exact := newRefSet()
	add := func(kind byte, h seal.Hash) error {
		slot, frame, err := x.r.locate(ctx, x.s.pin, kind, h)
		if err == nil {
			exact.add(slot, frame, x.r.v.index.Pack(slot).Frames)
		}
		return err
	}
	c := manifest.NewCursor(x.base.fetch, m.Root)
	c.Observe(func(h seal.Hash, _ *manifest.Page) error { return add(pack.Page, h) })
	for {
		n, err := c.Next(ctx)
		if err != nil {
			return err
		}
		if n == nil {
			break
		}
		err = manifest.EachChunk(ctx, x.base.fetch, &n.Content,
			func(r manifest.Ref) error { return add(pack.Data, r.Hash) },
			func(h seal.Hash) error { return add(pack.List, h) })
		if err != nil {
			return err
		}
	}
	x.s.sink.refs = exact
	return nil
}
