package repo

import (
	"context"
	"fmt"

	"strongroom/internal/fault"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// manifestCheck is the manifest as far as it has come: pages from the bottom up, in tree order, some of them left out
// because the base has them. It holds one line per page that waits for the page above it.
type manifestCheck struct {
	levels [][]subtree // pages without a parent yet
	last   string      // path
	begun  bool

	lists map[seal.Hash]sentList // since the last leaf

	files    int64 // in the pages that were sent
	problems []Problem
	count    int64
}

// sentList is what a list of chunks stands for.
type sentList struct {
	depth byte
	bytes uint64
}

// subtree is a page and what is below it.
type subtree struct {
	manifest.Child
	last string // path of the last entry; of a page of the base only if it was asked for
	base *basePage
}

func unproven() error {
	return fault.New(fault.Denied, "the manifest refers to data that this session has not shown")
}

// content checks what an entry refers to.
func (x *Session) content(ctx context.Context, c *manifest.Content) error {
	return x.refs(ctx, c.Refs, c.Depth, c.Kind == manifest.Slice, c.Off)
}

// refs checks references to chunks with their sizes, or to lists when depth is not 0: those are sent before the leaf that
// needs them. slice: the reference is to a part of the chunk, from off.
func (x *Session) refs(ctx context.Context, refs []manifest.Ref, depth byte, slice bool, off uint32) error {
	for _, r := range refs {
		if depth > 0 {
			l, ok := x.tree.lists[r.Hash]
			if !ok {
				return unproven()
			}
			if l.depth != depth-1 || l.bytes != r.Size {
				return fault.New(fault.Invalid, "a list of chunks is not what the manifest says")
			}
			continue
		}
		c, ok, err := x.s.sink.accepted(ctx, x.r.root.CID(pack.Data, r.Hash).Short(), x.scope, x.early)
		if err != nil {
			return err
		}
		if !ok {
			return unproven()
		}
		size, err := x.s.sink.sizeOf(ctx, c)
		if err != nil {
			return err
		}
		if n := uint64(size); n > 0 && (slice && uint64(off)+r.Size > n || !slice && r.Size != n) {
			return fault.New(fault.Invalid, "a chunk is not as long as the manifest says")
		}
	}
	return nil
}

// maxLists bounds the lists that wait for what names them: a leaf has no room to name more.
const maxLists = 1 << 17

func (x *Session) list(ctx context.Context, h seal.Hash, plain []byte) error {
	if len(plain) < 2 {
		return fault.New(fault.Invalid, "a malformed list")
	}
	l := sentList{depth: plain[1]}
	refs, err := manifest.DecodeList(plain, l.depth)
	if err != nil {
		return err
	}
	for _, r := range refs {
		if r.Size > 1<<62-l.bytes {
			return fault.New(fault.Invalid, "a list of chunks of impossible size")
		}
		l.bytes += r.Size
	}
	if err := x.refs(ctx, refs, l.depth, false, 0); err != nil {
		return err
	}
	if l.depth > 0 {
		for _, r := range refs {
			delete(x.tree.lists, r.Hash) // another list that names it comes after it again
		}
	}
	if len(x.tree.lists) >= maxLists {
		return fault.New(fault.Limit, "more than %d lists of chunks before a page", maxLists)
	}
	if x.tree.lists == nil {
		x.tree.lists = map[seal.Hash]sentList{}
	}
	x.tree.lists[h] = l
	return nil
}

// page takes the next page: a leaf that continues the last one, or the page above all pages that wait for one.
func (x *Session) page(ctx context.Context, h seal.Hash, plain []byte) error {
	p, err := manifest.DecodePage(plain)
	if err != nil {
		return err
	}
	t := &x.tree
	c := subtree{Child: manifest.Child{Hash: h}}
	if p.Level == 0 {
		c.First = p.Nodes[0].Path
		for i := range p.Nodes {
			if err := x.node(ctx, &p.Nodes[i]); err != nil {
				return err
			}
			c.Bytes += uint64(p.Nodes[i].Content.Len())
		}
		c.Entries = uint64(len(p.Nodes))
		c.last = t.last
		clear(t.lists)
	} else if c, err = x.inner(ctx, h, p); err != nil {
		return err
	}
	for len(t.levels) <= p.Level {
		t.levels = append(t.levels, nil)
	}
	t.levels[p.Level] = append(t.levels[p.Level], c)
	return nil
}

// inner checks that a page stands for the pages that wait for one, and between them for pages of the base.
func (x *Session) inner(ctx context.Context, h seal.Hash, p *manifest.Page) (subtree, error) {
	t := &x.tree
	var waiting []subtree
	if p.Level-1 < len(t.levels) {
		waiting = t.levels[p.Level-1]
		t.levels[p.Level-1] = nil
	}
	c := subtree{Child: manifest.Child{Hash: h, First: p.Children[0].First}}
	var before *subtree
	for _, line := range p.Children {
		var s subtree
		if len(waiting) > 0 && waiting[0].Child == line {
			s, waiting = waiting[0], waiting[1:]
		} else if b := x.base.granted(line.Hash); b != nil && b.Child == line && b.level == p.Level-1 {
			b.used = true
			s = subtree{Child: line, base: b}
		} else {
			return c, fault.New(fault.Invalid, "a manifest page that does not stand for the pages before it")
		}
		if before != nil {
			if err := x.follows(ctx, before, s.First); err != nil {
				return c, err
			}
		}
		if line.Entries > 1<<62-c.Entries || line.Bytes > 1<<62-c.Bytes {
			return c, fault.New(fault.Invalid, "a manifest page with impossible totals")
		}
		c.Entries += line.Entries
		c.Bytes += line.Bytes
		before = &s
	}
	if len(waiting) > 0 {
		return c, fault.New(fault.Invalid, "a manifest page that leaves out pages before it")
	}
	c.last, c.base = before.last, before.base
	return c, nil
}

// follows checks that a path comes after everything in a subtree.
func (x *Session) follows(ctx context.Context, s *subtree, path string) (err error) {
	if s.last == "" && s.base != nil {
		if s.base.bounded && !tree.Less(path, s.base.bound) {
			return nil
		}
		if s.last, err = x.base.last(ctx, s.base); err != nil {
			return err
		}
	}
	if !tree.Less(s.last, path) {
		return fault.New(fault.Invalid, "the manifest's pages are out of order at %.200q", path)
	}
	return nil
}

// node checks and counts one entry.
func (x *Session) node(ctx context.Context, n *manifest.Node) error {
	t := &x.tree
	if t.begun && !tree.Less(t.last, n.Path) {
		return fault.New(fault.Invalid, "the manifest's entries are out of order at %.200q", n.Path)
	}
	t.begun, t.last = true, n.Path
	if err := x.content(ctx, &n.Content); err != nil {
		return err
	}
	if n.Type == tree.File && n.Hardlink == "" {
		t.files++
	}
	if n.Problem != "" {
		t.count++
		if len(t.problems) < MaxProblems {
			t.problems = append(t.problems, Problem{Path: n.Path, Reason: n.Problem})
		}
	}
	return nil
}

// total checks that the manifest is complete and returns what it holds.
func (x *Session) total(ctx context.Context, root seal.Hash) (Stats, []Problem, int64, error) {
	t := &x.tree
	var c subtree
	if b := x.base.granted(root); b != nil && len(t.levels) == 0 && b.root {
		b.used = true
		c = subtree{Child: b.Child, base: b}
	} else {
		top := len(t.levels) - 1
		ok := top >= 0 && len(t.levels[top]) == 1 && t.levels[top][0].Hash == root && t.levels[top][0].First == ""
		for i := range max(top, 0) {
			ok = ok && len(t.levels[i]) == 0
		}
		if !ok {
			return Stats{}, nil, 0, fault.New(fault.Invalid, "the root does not stand for the manifest that was sent")
		}
		c = t.levels[top][0]
	}
	stats := Stats{Entries: int64(c.Entries), Files: t.files, LogicalBytes: int64(c.Bytes)}
	problems, count := t.problems, t.count
	if x.base.inUse() {
		kept, err := x.base.kept(ctx)
		if err != nil {
			return Stats{}, nil, 0, fmt.Errorf("read the last recovery point of the resource: %w", err)
		}
		stats.Files += kept.files
		count += kept.count
		problems = mergeProblems(kept.problems, problems)
	}
	return stats, problems, count, nil
}
