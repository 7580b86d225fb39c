package manifest

import (
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

const (
	version = 1
	// Page sizes: content-defined between min and max, about avg.
	minPage = 16 << 10
	avgPage = 64 << 10
	maxPage = 256 << 10
	// MaxPage bounds the plaintext of a page: one entry may exceed maxPage (long lists of extents and attributes).
	MaxPage = 4 << 20
	// MaxLines bounds the lines of a page, and what is allocated for one before it is known to be well-formed.
	MaxLines = 1 << 15
	maxLevel = 12
	maxDepth = 8
)

// Child is a line of an inner page: a page below, and what it holds.
type Child struct {
	First   string // path of its first entry
	Hash    seal.Hash
	Entries uint64
	Bytes   uint64 // content
}

// Page is one decoded page: a leaf with nodes or an inner page with children.
type Page struct {
	Level    int
	Nodes    []Node  // level 0
	Children []Child // above
}

// hashPath decides where pages end. It is part of how well manifests share pages, not of the format.
func hashPath(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// pageWriter collects the lines of one page.
type pageWriter struct {
	level int
	count int
	body  seal.Encoder
	last  string
	first string
	// totals of what is below
	entries, bytes uint64
}

// path begins a line.
func (w *pageWriter) path(p string) {
	if w.count == 0 {
		w.first, w.last = p, ""
	}
	n := sharedPrefix(w.last, p)
	w.body.Uint(uint64(n))
	w.body.String(p[n:])
	w.last = p
	w.count++
}

// ends decides whether the page ends after a line of some size.
func (w *pageWriter) ends(size int) bool {
	n := len(w.body.B)
	return n >= maxPage || n >= minPage && w.count > 1 && int(hashPath(w.last)%(avgPage-minPage)) < size
}

// page returns the page's bytes and begins the next page.
func (w *pageWriter) page() []byte {
	var e seal.Encoder
	e.B = make([]byte, 0, len(w.body.B)+8)
	e.B = append(e.B, version, byte(w.level))
	e.Uint(uint64(w.count))
	e.Raw(w.body.B)
	w.count, w.entries, w.bytes = 0, 0, 0
	w.body.B = w.body.B[:0]
	return e.B
}

// DecodePage reads a page. It accepts only what a Builder could have written, page borders excepted.
func DecodePage(b []byte) (*Page, error) {
	if len(b) > MaxPage {
		return nil, fault.New(fault.Corrupt, "malformed manifest page: too large")
	}
	d := &seal.Decoder{B: b}
	if d.Max(255) != version {
		d.Fail("unknown version")
	}
	p := &Page{Level: int(d.Max(maxLevel))}
	count := d.Count(13)
	if count == 0 || count > MaxLines {
		d.Fail("empty page, or too many lines")
		return nil, d.Done()
	}
	last := ""
	readPath := func(i int) string {
		shared := int(d.Max(uint64(len(last))))
		suffix := d.Bytes()
		s := last[:shared] + string(suffix)
		if i == 0 && shared != 0 || i > 0 && (!tree.Less(last, s) || sharedPrefix(last, s) != shared) {
			d.Fail("paths out of order")
		}
		last = s
		return s
	}
	if p.Level > 0 {
		p.Children = make([]Child, count)
		for i := range p.Children {
			c := &p.Children[i]
			c.First = readPath(i)
			c.Hash = d.Hash()
			c.Entries, c.Bytes = d.Uint(), d.Uint()
			if c.Entries == 0 {
				d.Fail("empty page below")
			}
		}
		return p, d.Done()
	}
	p.Nodes = make([]Node, count)
	for i := range p.Nodes {
		n := &p.Nodes[i]
		n.Path = readPath(i)
		if n.decode(d); d.Err() != nil {
			break
		}
		if err := n.Validate(); err != nil {
			d.Fail(err.Error())
			break
		}
	}
	return p, d.Done()
}
