package repo

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// dirBudget bounds the memory for directories of packs that were read.
const dirBudget = 32 << 20

// dirCache keeps the directories of packs that were read last.
type dirCache struct {
	r *Repository

	mu    sync.Mutex
	dirs  map[seal.PackID]*list.Element
	order *list.List // of *cachedDir, the latest first
	bytes int
}

type cachedDir struct {
	id   seal.PackID
	once sync.Once
	dir  *pack.Dir
	err  error
}

func newDirCache(r *Repository) *dirCache {
	return &dirCache{r: r, dirs: map[seal.PackID]*list.Element{}, order: list.New()}
}

// get returns the directory of a pack.
func (c *dirCache) get(ctx context.Context, i pack.Info) (*pack.Dir, error) {
	for {
		d, err := c.load(ctx, i)
		// Another operation may have begun to read it and been cancelled.
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return d, err
		}
	}
}

func (c *dirCache) load(ctx context.Context, i pack.Info) (*pack.Dir, error) {
	c.mu.Lock()
	e, ok := c.dirs[i.ID]
	if ok {
		c.order.MoveToFront(e)
	} else {
		e = c.order.PushFront(&cachedDir{id: i.ID})
		c.dirs[i.ID] = e
	}
	c.mu.Unlock()
	d := e.Value.(*cachedDir)
	d.once.Do(func() {
		d.dir, d.err = pack.OpenDir(ctx, c.r.store, c.r.root, c.r.maint, i)
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.err != nil {
			// Not kept: the next reader may have more luck with the store, or a context that lives longer.
			if c.dirs[i.ID] == e {
				delete(c.dirs, i.ID)
				c.order.Remove(e)
			}
			return
		}
		for c.bytes += d.dir.Bytes(); c.bytes > dirBudget && c.order.Len() > 1; {
			last := c.order.Back()
			old := last.Value.(*cachedDir)
			if old == d {
				break
			}
			if old.dir != nil {
				c.bytes -= old.dir.Bytes()
			}
			delete(c.dirs, old.id)
			c.order.Remove(last)
		}
	})
	return d.dir, d.err
}

// locate finds a chunk for a reader: at a place that is not known to be damaged if there is one. A chunk that a manifest names
// and that is not there is corruption.
func (r *Repository) locate(ctx context.Context, p *pin, kind byte, h seal.Hash) (slot, frame uint32, err error) {
	return r.locateBut(ctx, p, kind, h, nil)
}

// locateBut is locate for a reader who has tried some places already.
func (r *Repository) locateBut(ctx context.Context, p *pin, kind byte, h seal.Hash, tried []framePlace) (slot, frame uint32, err error) {
	id := r.root.CID(kind, h).Short()
	untried := func(slot, frame uint32) bool { return !slices.Contains(tried, framePlace{slot, frame}) }
	e, ok, err := r.v.index.Lookup(ctx, id, func(slot, frame uint32) bool { return p.sees(slot, frame) && untried(slot, frame) })
	if err == nil && !ok && r.v.health.any.Load() {
		// Every byte is verified: what was found damaged may have been misread.
		e, ok, err = r.v.index.Lookup(ctx, id, func(slot, frame uint32) bool { return p.reads(slot, frame) && untried(slot, frame) })
	}
	if err != nil {
		return 0, 0, err
	}
	if !ok {
		return 0, 0, fault.New(fault.Corrupt, "a chunk that a recovery point needs is not in the index")
	}
	return e.Pack, e.Frame, nil
}

// frame describes one frame, checked against what the reader wants it to be.
func (r *Repository) frame(ctx context.Context, slot, frame uint32, kind byte, h seal.Hash) (*pack.Dir, pack.Frame, error) {
	dir, err := r.dirs.get(ctx, r.v.index.Pack(slot))
	if err != nil {
		return nil, pack.Frame{}, err
	}
	if !dir.Has(frame) {
		return nil, pack.Frame{}, corrupt(dir.Name(), "the directory of frame %d is lost", frame)
	}
	f := dir.Frame(frame)
	if f.Hash != h || f.Kind != kind {
		return nil, f, corrupt(dir.Name(), "frame %d holds another chunk than the index says", frame)
	}
	return dir, f, nil
}

// scratch is the memory for reading one frame.
type scratch struct {
	sealed, stored, plain []byte
}

// grow returns an empty slice with room for n bytes, p's memory if it suffices. It grows in steps, so that slightly larger
// chunks do not each allocate anew.
func grow(p []byte, n int) []byte {
	if cap(p) < n {
		return make([]byte, 0, (n+growStep-1)/growStep*growStep)
	}
	return p[:0]
}

const growStep = 64 << 10

// unpack opens, decompresses and verifies one frame whose sealed bytes were read. The result lives in s.plain.
func (r *Repository) unpack(d *pack.Dir, n uint32, f pack.Frame, sealed []byte, s *scratch, c *chunk.Codec) ([]byte, error) {
	var err error
	if s.stored, err = d.Open(grow(s.stored, len(sealed)), n, f, sealed); err != nil {
		return nil, err
	}
	plain := s.stored
	if f.Alg != chunk.Raw || len(plain) != f.Size {
		var ok bool
		if s.plain, ok = c.Decompress(grow(s.plain, f.Size), s.stored, f.Alg, f.Size); !ok {
			return nil, corrupt(d.Name(), "frame %d does not decompress", n)
		}
		plain = s.plain
	}
	if chunk.Sum(plain) != f.Hash {
		return nil, corrupt(d.Name(), "frame %d does not have its hash", n)
	}
	return plain, nil
}

// readFrame reads one frame by itself into s.sealed.
func (r *Repository) readFrame(ctx context.Context, slot, n uint32, kind byte, h seal.Hash, s *scratch) (*pack.Dir, pack.Frame, error) {
	d, f, err := r.frame(ctx, slot, n, kind, h)
	if err != nil {
		return nil, f, err
	}
	s.sealed = grow(s.sealed, f.Len)[:f.Len]
	err = r.store.ReadAt(ctx, d.Name(), s.sealed, f.Off)
	if fault.Is(err, fault.NotFound) {
		err = corrupt(d.Name(), "the object is missing")
	}
	return d, f, err
}

// chunk reads one chunk by itself, from wherever it is intact. The stored form and the plaintext returned live in s. Places
// that turn out to be damaged go into quarantine; the error is that of the first of them.
func (r *Repository) chunk(ctx context.Context, p *pin, kind byte, h seal.Hash, s *scratch, c *chunk.Codec) (f pack.Frame, plain []byte, err error) {
	var tried []framePlace
	var first error
	again := false
	for {
		slot, n, err := r.locateBut(ctx, p, kind, h, tried)
		if err != nil {
			if first != nil && unreadable(err) {
				err = first
			}
			return f, nil, err
		}
		d, f, err := r.readFrame(ctx, slot, n, kind, h, s)
		var plain []byte
		if err == nil {
			plain, err = r.unpack(d, n, f, s.sealed, s, c)
		}
		if err == nil {
			return f, plain, nil
		}
		if !unreadable(err) {
			return f, nil, err
		}
		if !again {
			again = true // what was misread once may be read well now
			continue
		}
		again = false
		if first == nil {
			first = err
		}
		if d != nil || f.Len == 0 { // else the frame is what its pack says, and the index is wrong
			r.noteDamage(slot, n, err)
		}
		tried = append(tried, framePlace{slot, n})
	}
}

func metaKind(list bool) byte {
	if list {
		return pack.List
	}
	return pack.Page
}

// fetch reads pages and lists for package manifest.
func (r *Repository) fetch(p *pin) manifest.Fetch {
	return func(ctx context.Context, h seal.Hash, list bool) ([]byte, error) {
		_, plain, err := r.fetchStored(p)(ctx, h, list)
		return plain, err
	}
}

// fetchStored reads pages and lists for a copy. The results stay valid.
func (r *Repository) fetchStored(p *pin) storedFetch {
	return func(ctx context.Context, h seal.Hash, list bool) (Frame, []byte, error) {
		var s scratch
		c := r.codecs.Get().(*chunk.Codec)
		defer r.codecs.Put(c)
		f, plain, err := r.chunk(ctx, p, metaKind(list), h, &s, c)
		return Frame{Hash: h, Alg: f.Alg, Size: uint32(f.Size), Stored: s.stored}, plain, err
	}
}
