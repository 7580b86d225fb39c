package repo

import (
	"bytes"
	"container/list"
	"context"
	"sort"
	"sync"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// Browser reads single entries, directories and ranges of files of a recovery point, in any order, as a mounted file system
// does. A restore reads in the order of the packs instead, and is much faster for whole trees. Safe for concurrent use; it
// holds nothing open.
type Browser struct {
	p     *Point
	cache *BrowseCache
}

// BrowseCache keeps what browsers of one vault's recovery points read last, up to a bound. Safe for concurrent use.
type BrowseCache struct {
	mu    sync.Mutex
	kept  map[seal.Hash]*list.Element
	order *list.List // of *keptChunk, the latest first
	room  int        // bytes left
}

type keptChunk struct {
	hash seal.Hash
	data []byte
}

// NewBrowseCache returns a cache of up to so many bytes, though always of the chunk that was read last.
func NewBrowseCache(bytes int) *BrowseCache {
	return &BrowseCache{kept: map[seal.Hash]*list.Element{}, order: list.New(), room: bytes}
}

func (c *BrowseCache) get(h seal.Hash) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.kept[h]
	if e == nil {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*keptChunk).data, true
}

func (c *BrowseCache) put(h seal.Hash, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[h] != nil {
		return
	}
	c.kept[h] = c.order.PushFront(&keptChunk{h, data})
	for c.room -= cap(data); c.room < 0 && c.order.Len() > 1; {
		last := c.order.Back()
		old := last.Value.(*keptChunk)
		c.order.Remove(last)
		delete(c.kept, old.hash)
		c.room += cap(old.data)
	}
}

// Browse returns a browser. The cache may be shared with other recovery points of the same vault.
func (p *Point) Browse(c *BrowseCache) *Browser { return &Browser{p: p, cache: c} }

// get returns a page, a list or a chunk of data, verified. The result must not be changed.
func (b *Browser) get(ctx context.Context, pin *pin, kind byte, h seal.Hash) ([]byte, error) {
	if data, ok := b.cache.get(h); ok {
		return data, nil
	}
	c := b.p.r.codecs.Get().(*chunk.Codec)
	defer b.p.r.codecs.Put(c)
	var s scratch
	_, plain, err := b.p.r.chunk(ctx, pin, kind, h, &s, c)
	if err != nil {
		return nil, err
	}
	if cap(plain) > 2*len(plain) {
		plain = bytes.Clone(plain)
	}
	b.cache.put(h, plain)
	return plain, nil
}

func (b *Browser) fetch(pin *pin) manifest.Fetch {
	return func(ctx context.Context, h seal.Hash, list bool) ([]byte, error) {
		return b.get(ctx, pin, metaKind(list), h)
	}
}

// Lookup returns one entry. fault.NotFound when there is none with this path.
func (b *Browser) Lookup(ctx context.Context, path string) (tree.Entry, error) {
	n, err := b.node(ctx, path)
	if err != nil {
		return tree.Entry{}, err
	}
	return n.Entry, nil
}

func (b *Browser) node(ctx context.Context, path string) (*manifest.Node, error) {
	pin, err := b.p.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer pin.end()
	return b.p.node(ctx, manifest.NewCursor(b.fetch(pin), b.p.rec.root), path)
}

// Children returns up to most entries of the directory dir, in the order of their paths, after the path after ("" begins).
// What lies deeper is not read.
func (b *Browser) Children(ctx context.Context, dir, after string, most int) ([]tree.Entry, error) {
	pin, err := b.p.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer pin.end()
	c := manifest.NewCursor(b.fetch(pin), b.p.rec.root)
	// No path holds NUL, and only what lies below a path comes before that path with NUL at its end.
	const past = "\x00"
	if after != "" {
		err = c.Seek(ctx, after+past)
	} else if err = c.Seek(ctx, dir); err == nil {
		var n *manifest.Node
		if n, err = c.Next(ctx); err == nil && (n == nil || n.Path != dir) {
			err = noEntry(dir)
		}
	}
	var out []tree.Entry
	for err == nil && len(out) < most {
		n, nerr := c.Next(ctx)
		if nerr != nil {
			return nil, nerr
		}
		if n == nil || !manifest.Within(n.Path, dir) {
			break
		}
		if len(out) > 0 && manifest.Within(n.Path, out[len(out)-1].Path) {
			err = c.Seek(ctx, out[len(out)-1].Path+past)
			continue
		}
		out = append(out, n.Entry)
	}
	return out, err
}

// BrowsedFile is a regular file of a recovery point, for reading ranges. Safe for concurrent use.
type BrowsedFile struct {
	b      *Browser
	entry  tree.Entry
	stored manifest.Content
	before []int64 // content of the extents before each one
}

// Open opens a regular file; of a hard link, the file that it is. fault.NotFound; fault.Invalid for anything but a file.
func (b *Browser) Open(ctx context.Context, path string) (*BrowsedFile, error) {
	n, err := b.node(ctx, path)
	if err != nil {
		return nil, err
	}
	if n.Type == tree.File && n.Hardlink != "" {
		first := n.Hardlink
		if n, err = b.node(ctx, first); fault.Is(err, fault.NotFound) || err == nil && (n.Type != tree.File || n.Hardlink != "") {
			return nil, corrupt(pointName(b.p.rec.id), "%.300q is a link to %.300q, which is no file", path, first)
		}
		if err != nil {
			return nil, err
		}
	}
	if n.Type != tree.File {
		return nil, fault.New(fault.Invalid, "%.300q is a %s", path, n.Type)
	}
	f := &BrowsedFile{b: b, entry: n.Entry, stored: n.Content}
	total := int64(0)
	for _, x := range n.Extents {
		f.before = append(f.before, total)
		total += x.Len
	}
	return f, nil
}

// Entry describes the file.
func (f *BrowsedFile) Entry() tree.Entry { return f.entry }

// ReadAt fills p from off on and returns less than len(p) only at the end of the file. fault.Corrupt when what belongs there
// is damaged or is not in the recovery point; then nothing in p counts.
func (f *BrowsedFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "a negative offset")
	}
	if off >= f.entry.Size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), f.entry.Size-off)]
	pin, err := f.b.p.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer pin.end()
	if f.entry.Extents == nil {
		return len(p), f.content(ctx, pin, p, off)
	}
	clear(p)
	i := sort.Search(len(f.entry.Extents), func(i int) bool { x := f.entry.Extents[i]; return x.Off+x.Len > off })
	for end := off + int64(len(p)); i < len(f.entry.Extents) && f.entry.Extents[i].Off < end; i++ {
		x := f.entry.Extents[i]
		from, to := max(x.Off, off), min(x.Off+x.Len, end)
		if err := f.content(ctx, pin, p[from-off:to-off], f.before[i]+from-x.Off); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// content fills p from an offset in the content, holes left out.
func (f *BrowsedFile) content(ctx context.Context, pin *pin, p []byte, off int64) error {
	c := &f.stored
	if off+int64(len(p)) > c.Len() {
		return f.short()
	}
	switch c.Kind {
	case manifest.Inline:
		copy(p, c.Data[off:])
		return nil
	case manifest.Slice:
		data, err := f.b.get(ctx, pin, pack.Data, c.Refs[0].Hash)
		if err != nil {
			return err
		}
		from := int64(c.Off) + off
		if from+int64(len(p)) > int64(len(data)) {
			return f.short()
		}
		copy(p, data[from:])
		return nil
	}
	return f.chunks(ctx, pin, c.Refs, c.Depth, p, off)
}

// chunks fills p from an offset in what refs stand for.
func (f *BrowsedFile) chunks(ctx context.Context, pin *pin, refs []manifest.Ref, depth byte, p []byte, off int64) error {
	for _, r := range refs {
		size := int64(r.Size)
		if off >= size {
			off -= size
			continue
		}
		if len(p) == 0 {
			return nil
		}
		part := p[:min(int64(len(p)), size-off)]
		kind := byte(pack.Data)
		if depth > 0 {
			kind = metaKind(true)
		}
		data, err := f.b.get(ctx, pin, kind, r.Hash)
		if err != nil {
			return err
		}
		if depth == 0 {
			if int64(len(data)) != size {
				return f.short()
			}
			copy(part, data[off:])
		} else {
			below, err := manifest.DecodeList(data, depth-1)
			if err != nil {
				return err
			}
			if err := f.chunks(ctx, pin, below, depth-1, part, off); err != nil {
				return err
			}
		}
		p, off = p[len(part):], 0
	}
	if len(p) > 0 {
		return f.short()
	}
	return nil
}

func (f *BrowsedFile) short() error {
	why := f.entry.Problem
	if why == "" {
		why = "its content is not as long as its size says"
	}
	return corrupt(pointName(f.b.p.rec.id), "%.300q: %s", f.entry.Path, why)
}
