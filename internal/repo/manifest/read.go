package manifest

import (
	"context"
	"sort"
	"strings"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// Fetch returns the bytes of a page or a list (list true) by its hash. It has checked the hash. The result is not changed
// and stays valid.
type Fetch func(ctx context.Context, h seal.Hash, list bool) ([]byte, error)

// Visit is called by a Cursor for each page it comes to, before what is in it.
type Visit func(h seal.Hash, page *Page) error

// Lost is a part of a manifest that cannot be read: the entries from the path First up to and without Until, which is "" when
// nothing comes after them.
type Lost struct {
	First, Until string
	Entries      uint64 // 0 if not known
	Bytes        uint64 // of content
	Err          error
}

// Cursor reads the nodes of a manifest in tree order.
type Cursor struct {
	fetch Fetch
	visit Visit            // may be nil
	skip  func(Lost) error // may be nil
	stack []*place
	root  seal.Hash
	last  string
	any   bool
}

type place struct {
	page *Page
	i    int
}

// NewCursor returns a cursor before the first node.
func NewCursor(fetch Fetch, root seal.Hash) *Cursor { return &Cursor{fetch: fetch, root: root} }

// Observe makes the cursor report the pages it reads.
func (c *Cursor) Observe(v Visit) { c.visit = v }

// Tolerate makes Next go on after pages that cannot be read. fn is told of each before what comes after it, decides whether the
// error is one to go on after, and returns nil then.
func (c *Cursor) Tolerate(fn func(Lost) error) { c.skip = fn }

// lost passes a page on that cannot be read: child of the page on top of the stack, or the root.
func (c *Cursor) lost(child *Child, err error) error {
	if c.skip == nil {
		return err
	}
	l := Lost{Err: err}
	if child != nil {
		l.First, l.Entries, l.Bytes = child.First, child.Entries, child.Bytes
	}
	for i := len(c.stack) - 1; i >= 0 && l.Until == ""; i-- {
		if p := c.stack[i]; p.i < len(p.page.Children) {
			l.Until = p.page.Children[p.i].First
		}
	}
	return c.skip(l)
}

// open reads a page that must be of a level (any level for the root) and begin with a path.
func (c *Cursor) open(ctx context.Context, h seal.Hash, level int, first string) (*Page, error) {
	b, err := c.fetch(ctx, h, false)
	if err != nil {
		return nil, err
	}
	p, err := DecodePage(b)
	if err != nil {
		return nil, err
	}
	begins := ""
	if p.Level > 0 {
		begins = p.Children[0].First
	} else {
		begins = p.Nodes[0].Path
	}
	if level >= 0 && p.Level != level || begins != first {
		return nil, fault.New(fault.Corrupt, "a manifest page stands in the wrong place")
	}
	if c.visit != nil {
		if err := c.visit(h, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Seek moves to the first node at or after path; where the page that it would be in cannot be read and that is tolerated, to
// the first after that page.
func (c *Cursor) Seek(ctx context.Context, path string) error {
	p, err := c.open(ctx, c.root, -1, "")
	if err != nil {
		c.stack = []*place{}
		return c.lost(nil, err)
	}
	c.stack = append(c.stack[:0], &place{page: p})
	c.any = false
	for p.Level > 0 {
		top := c.stack[len(c.stack)-1]
		top.i = max(0, sort.Search(len(p.Children), func(i int) bool { return tree.Less(path, p.Children[i].First) })-1)
		child := p.Children[top.i]
		top.i++
		if p, err = c.open(ctx, child.Hash, p.Level-1, child.First); err != nil {
			return c.lost(&child, err)
		}
		c.stack = append(c.stack, &place{page: p})
	}
	top := c.stack[len(c.stack)-1]
	top.i = sort.Search(len(p.Nodes), func(i int) bool { return !tree.Less(p.Nodes[i].Path, path) })
	return nil
}

// Next returns the next node, or nil at the end. The node is the caller's.
func (c *Cursor) Next(ctx context.Context) (*Node, error) {
	if c.stack == nil {
		if err := c.Seek(ctx, ""); err != nil {
			return nil, err
		}
	}
	for len(c.stack) > 0 {
		top := c.stack[len(c.stack)-1]
		if top.page.Level == 0 && top.i < len(top.page.Nodes) {
			n := &top.page.Nodes[top.i]
			top.i++
			if c.any && !tree.Less(c.last, n.Path) {
				return nil, fault.New(fault.Corrupt, "the manifest's pages are out of order at %.200q", n.Path)
			}
			c.any, c.last = true, n.Path
			return n, nil
		}
		if top.page.Level > 0 && top.i < len(top.page.Children) {
			child := top.page.Children[top.i]
			top.i++
			p, err := c.open(ctx, child.Hash, top.page.Level-1, child.First)
			if err == nil {
				c.stack = append(c.stack, &place{page: p})
			} else if err = c.lost(&child, err); err != nil {
				return nil, err
			}
			continue
		}
		c.stack = c.stack[:len(c.stack)-1]
	}
	c.stack = []*place{}
	return nil, nil
}

// Within reports whether path is prefix or below it.
func Within(path, prefix string) bool {
	return prefix == "" || path == prefix || strings.HasPrefix(path, prefix) && path[len(prefix)] == '/'
}

// EachChunk calls fn for each chunk of a content in order, reading lists as needed; a Slice's chunk is named with the size of
// the part. lists, if not nil, is called for each list before what is in it.
func EachChunk(ctx context.Context, fetch Fetch, c *Content, fn func(Ref) error, lists func(seal.Hash) error) error {
	return eachChunk(ctx, fetch, c.Refs, c.Depth, fn, lists)
}

func eachChunk(ctx context.Context, fetch Fetch, refs []Ref, depth byte, fn func(Ref) error, lists func(seal.Hash) error) error {
	for _, r := range refs {
		if depth == 0 {
			if err := fn(r); err != nil {
				return err
			}
			continue
		}
		b, err := fetch(ctx, r.Hash, true)
		if err != nil {
			return err
		}
		if lists != nil {
			if err := lists(r.Hash); err != nil {
				return err
			}
		}
		below, err := DecodeList(b, depth-1)
		if err != nil {
			return err
		}
		var total uint64
		for _, x := range below {
			total += x.Size
		}
		if total != r.Size {
			return fault.New(fault.Corrupt, "a list of chunks has the wrong size")
		}
		if err := eachChunk(ctx, fetch, below, depth-1, fn, lists); err != nil {
			return err
		}
	}
	return nil
}
