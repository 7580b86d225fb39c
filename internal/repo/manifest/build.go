package manifest

import (
	"encoding/binary"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// Put stores a page or a list (list true) and returns its hash.
type Put func(plain []byte, list bool) (seal.Hash, error)

// Builder makes a manifest from nodes that come in tree order.
type Builder struct {
	put    Put
	levels []*pageWriter
	last   string
	any    bool
}

// NewBuilder returns an empty builder.
func NewBuilder(put Put) *Builder { return &Builder{put: put} }

// Add appends a node.
func (b *Builder) Add(n *Node) error {
	if err := n.Validate(); err != nil {
		return err
	}
	switch {
	case !b.any && n.Path != "":
		return fault.New(fault.Invalid, "a tree begins with its root, not with %.200q", n.Path)
	case b.any && !tree.Less(b.last, n.Path):
		return fault.New(fault.Invalid, "the source breaks tree order: %.200q after %.200q", n.Path, b.last)
	}
	b.any, b.last = true, n.Path
	w := b.level(0)
	before := len(w.body.B)
	w.path(n.Path)
	n.encode(&w.body)
	w.entries++
	w.bytes += uint64(n.Content.Len())
	if len(w.body.B)-before > MaxPage-maxPage-64 {
		return fault.New(fault.Limit, "entry %.200q needs %d bytes of metadata, more than a page holds", n.Path, len(w.body.B)-before)
	}
	if w.ends(len(w.body.B) - before) {
		return b.flush(0)
	}
	return nil
}

func (b *Builder) level(n int) *pageWriter {
	if n == len(b.levels) {
		b.levels = append(b.levels, &pageWriter{level: n})
	}
	return b.levels[n]
}

// flush stores the page of a level and adds it to the one above.
func (b *Builder) flush(level int) error {
	w := b.levels[level]
	c := Child{First: w.first, Entries: w.entries, Bytes: w.bytes}
	last := w.last
	var err error
	if c.Hash, err = b.store(w); err != nil {
		return err
	}
	if level == maxLevel {
		return fault.New(fault.Limit, "the manifest is too deep")
	}
	up := b.level(level + 1)
	before := len(up.body.B)
	up.path(c.First)
	up.body.Raw(c.Hash[:])
	up.body.Uint(c.Entries)
	up.body.Uint(c.Bytes)
	up.entries += c.Entries
	up.bytes += c.Bytes
	// The page below ended at its last path: that decides here, too, so that equal runs of pages end alike.
	n := len(up.body.B)
	if up.count > 1 && (n >= maxPage || n >= minPage && int(hashPath(last)>>8%(avgPage-minPage)) < n-before) {
		return b.flush(level + 1)
	}
	return nil
}

// store stores a page. One line may be as long as a page, so several in a page above may be longer.
func (b *Builder) store(w *pageWriter) (seal.Hash, error) {
	p := w.page()
	if len(p) > MaxPage {
		return seal.Hash{}, fault.New(fault.Limit, "the paths about %.200q are too long: a page of the manifest would have %d bytes", w.first, len(p))
	}
	return b.put(p, false)
}

// Finish stores what is left and returns the hash of the root page.
func (b *Builder) Finish() (seal.Hash, error) {
	if !b.any {
		return seal.Hash{}, fault.New(fault.Invalid, "the source is empty: not even a root")
	}
	for level := 0; ; level++ {
		w := b.levels[level]
		if level == len(b.levels)-1 {
			return b.store(w)
		}
		if w.count > 0 {
			if err := b.flush(level); err != nil {
				return seal.Hash{}, err
			}
		}
	}
}

const (
	directRefs = 64 // more chunks than this go into lists
	minList    = 128
	avgList    = 512
	maxList    = 2048
)

// ListBuilder collects the chunks of one file.
type ListBuilder struct {
	put    Put
	levels [][]Ref
}

// NewListBuilder returns an empty builder.
func NewListBuilder(put Put) *ListBuilder { return &ListBuilder{put: put, levels: [][]Ref{nil}} }

// Add appends a chunk.
func (b *ListBuilder) Add(r Ref) error { return b.add(0, r) }

func (b *ListBuilder) add(level int, r Ref) error {
	if level == len(b.levels) {
		b.levels = append(b.levels, nil)
	}
	b.levels[level] = append(b.levels[level], r)
	n := len(b.levels[level])
	if n >= maxList || n >= minList && binary.LittleEndian.Uint32(r.Hash[:])%(avgList-minList) == 0 {
		return b.flush(level)
	}
	return nil
}

func (b *ListBuilder) flush(level int) error {
	refs := b.levels[level]
	if len(refs) == 0 {
		return nil
	}
	if level+1 > maxDepth {
		return fault.New(fault.Limit, "a file has too many chunks")
	}
	var e seal.Encoder
	e.B = append(e.B, version, byte(level))
	encodeRefs(&e, refs)
	h, err := b.put(e.B, true)
	if err != nil {
		return err
	}
	up := Ref{Hash: h}
	for _, r := range refs {
		up.Size += r.Size
	}
	b.levels[level] = refs[:0]
	return b.add(level+1, up)
}

// Finish returns the content.
func (b *ListBuilder) Finish() (Content, error) {
	for level := 0; ; level++ {
		if level == len(b.levels)-1 && len(b.levels[level]) <= directRefs {
			refs := append([]Ref(nil), b.levels[level]...)
			switch {
			case len(refs) == 0:
				return Content{}, nil
			case level == 0:
				return Content{Kind: Chunks, Refs: refs}, nil
			}
			return Content{Kind: Lists, Depth: byte(level), Refs: refs}, nil
		}
		if err := b.flush(level); err != nil {
			return Content{}, err
		}
	}
}

// DecodeList reads a list. depth is what the reader expects: 0 for chunks below.
func DecodeList(b []byte, depth byte) ([]Ref, error) {
	d := &seal.Decoder{B: b}
	if d.Max(255) != version || d.Max(maxDepth) != uint64(depth) {
		d.Fail("unknown version or depth of a list")
	}
	refs := decodeRefs(d)
	for _, r := range refs {
		if r.Size == 0 || r.Size > 1<<62 {
			d.Fail("impossible chunk size")
		}
	}
	if len(refs) == 0 {
		d.Fail("empty list")
	}
	return refs, d.Done()
}
