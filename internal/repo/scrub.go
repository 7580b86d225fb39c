package repo

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"strongroom/internal/blob"
	"strongroom/internal/clock"
	"strongroom/internal/durable"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
)

// PassOptions are the parameters of Scrub and VerifyAll. nil means: everything, at full speed.
type PassOptions struct {
	// Since leaves out packs that were read as thoroughly at that time or later; what was found then is reported. With the time
	// at which a pass began, a pass that was cut off goes on where it was.
	Since time.Time
	// Rate bounds how many bytes are read in a second; 0 means no bound.
	Rate     int64
	Progress func(Progress)
	// Found is called for every finding, of which the report lists the first MaxProblems only, by one goroutine at a time.
	Found func(Finding)
}

// Coverage says how much of the vault's packs was read by passes (Scrub, VerifyAll), and when.
type Coverage struct {
	Packs, Bytes               int64 // all there are
	ScrubbedPacks, ScrubbedAll int64 // of these: compared with their digests at least, packs and bytes
	VerifiedPacks, VerifiedAll int64 // of these: opened and compared with the hashes of their content, packs and bytes
	DamagedPacks               int64
	// Oldest and Newest are the times of the pass that lies back farthest and of the last one; zero when no pack was read.
	Oldest, Newest time.Time
}

// Coverage returns what is known about earlier passes. It reads nothing.
func (r *Repository) Coverage() Coverage {
	var c Coverage
	for _, slot := range r.v.index.Packs() {
		i, h := r.v.index.Pack(slot), r.v.health.of(slot)
		c.Packs++
		c.Bytes += i.Size
		if h.damaged {
			c.DamagedPacks++
		}
		if h.depth >= depthDigest {
			c.ScrubbedPacks++
			c.ScrubbedAll += i.Size
		}
		if h.depth == depthContent {
			c.VerifiedPacks++
			c.VerifiedAll += i.Size
		}
		if h.depth == depthNone {
			continue
		}
		at := time.Unix(h.seen, 0).UTC()
		if c.Oldest.IsZero() || at.Before(c.Oldest) {
			c.Oldest = at
		}
		if at.After(c.Newest) {
			c.Newest = at
		}
	}
	return c
}

// Scrub reads every byte of every pack and compares it with the digest in the pack's end, those first that were not read for
// longest. It takes no root key, and finds what VerifyAll finds except for errors that were sealed in. With the root key it
// says which recovery points and paths damage spoils, without only which recovery points. What it finds goes into quarantine,
// and how far it came is kept, so that another Scrub may go on there; nothing else is changed.
func (r *Repository) Scrub(ctx context.Context, o *PassOptions) (CheckReport, error) {
	c := r.newCheck(o)
	defer c.pin.end()
	defer r.keepHealth(ctx)
	err := c.pass(ctx, depthDigest)
	if err == nil {
		err = c.mapped(ctx)
	}
	return c.report, err
}

// passing is one pass over the packs.
type passing struct {
	c     *checking
	store blob.Store // with the rate bounded
	depth depth

	bytes, read atomic.Int64
	mu          sync.Mutex
	kept        time.Time // when results were made durable last
}

const (
	// keepEvery is how long results wait at most before they are made durable, and keepPacks for how many.
	keepEvery = 10 * time.Second
	keepPacks = 64
)

// pass reads all packs, and notes what it finds in the health of the vault.
func (c *checking) pass(ctx context.Context, d depth) error {
	r := c.r
	p := &passing{c: c, store: paced(r.store, c.o.Rate, r.clock), depth: d, kept: r.clock.Now()}
	slots := r.v.index.Packs()
	slices.SortStableFunc(slots, func(a, b uint32) int { return cmp.Compare(r.v.health.of(a).seen, r.v.health.of(b).seen) })
	stop := report(ctx, r.clock, c.o.Progress, func() Progress { return Progress{Bytes: p.bytes.Load(), Read: p.read.Load()} })
	defer stop()
	todo := make(chan uint32)
	g, gctx := errgroup.WithContext(ctx)
	for range r.workers + 1 {
		g.Go(func() error {
			w := newRunReader(r)
			defer w.close()
			for slot := range todo {
				if err := p.pack(gctx, w, slot); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(todo)
		for _, slot := range slots {
			if err := send(gctx, todo, slot); err != nil {
				return err
			}
		}
		return nil
	})
	err := g.Wait()
	c.report.Bytes += p.bytes.Load()
	return err
}

// pack reads one pack, unless that was done lately.
func (p *passing) pack(ctx context.Context, w *runReader, slot uint32) error {
	c, h := p.c, p.c.r.v.health
	info := c.r.v.index.Pack(slot)
	c.mu.Lock()
	c.report.Packs++
	c.report.Chunks += int64(info.Frames)
	c.mu.Unlock()
	if was := h.of(slot); !c.o.Since.IsZero() && was.depth >= p.depth && was.seen >= c.o.Since.Unix() {
		if was.damaged {
			return c.find(info.Name(), "", c.unlessPruned(info, knownDamage(info, was)))
		}
		return nil
	}
	// Being scrubbed, it is looked at by frames only if there is something to be found.
	depth, bad := p.depth, []uint32(nil)
	var damage, err error
	if depth == depthDigest {
		w.need(runSize)
		damage = pack.Scrub(ctx, p.store, c.r.maint, info, w.buf)
		if damage == nil {
			p.bytes.Add(info.Size)
			p.read.Add(info.Size)
		}
	}
	if depth == depthContent || unreadable(damage) && c.r.root != nil {
		var more error
		bad, more, err = p.frames(ctx, w, info)
		if damage == nil {
			damage = more
		}
		if depth = depthContent; err != nil {
			return err
		}
	}
	if damage = c.unlessPruned(info, damage); damage != nil && !unreadable(damage) {
		return damage
	}
	if _, ok := c.r.v.index.Slot(info.ID); !ok {
		return nil // pruned meanwhile
	}
	h.visited(slot, depth, damage != nil, bad)
	p.keep(ctx)
	return c.find(info.Name(), "", damage)
}

func knownDamage(i pack.Info, was packHealth) error {
	at := "by a reader"
	if was.seen > 0 {
		at = "on " + time.Unix(was.seen, 0).UTC().Format(time.DateTime)
	}
	return corrupt(i.Name(), "it was found damaged %s", at)
}

// keep makes results durable from time to time.
func (p *passing) keep(ctx context.Context) {
	now := p.c.r.clock.Now()
	p.mu.Lock()
	due := now.Sub(p.kept) >= keepEvery || p.c.r.v.health.pending() >= keepPacks
	if due {
		p.kept = now
	}
	p.mu.Unlock()
	if due {
		p.c.r.keepHealth(ctx)
	}
}

// frames reads a whole pack once, compares it with its digest, and opens and verifies every frame. damage is the first thing
// that is wrong with the pack, bad the frames that cannot be had.
func (p *passing) frames(ctx context.Context, w *runReader, i pack.Info) (bad []uint32, damage, err error) {
	r := p.c.r
	// What is wrong and no reason to stop.
	wrong := func(err error) error {
		if fault.Is(err, fault.NotFound) {
			err = corrupt(i.Name(), "the object is missing")
		}
		if err != nil && !unreadable(err) {
			return err
		}
		if damage == nil {
			damage = err
		}
		return nil
	}
	said, sum, err := pack.Stat(ctx, p.store, r.maint, i.Class, i.ID)
	if err == nil && said != i {
		err = corrupt(i.Name(), "its end contradicts the index")
	}
	if err := wrong(err); err != nil {
		return nil, nil, err
	}
	d, err := pack.OpenDir(ctx, p.store, r.root, r.maint, i)
	if err != nil {
		if err := wrong(err); err != nil {
			return nil, nil, err
		}
		for n := range i.Frames {
			bad = append(bad, n)
		}
		return bad, damage, nil
	}
	if err := wrong(d.Damage()); err != nil {
		return nil, nil, err
	}
	x := &packReader{p: p, w: w, d: d, hash: blake3.New()}
	whole, err := x.run(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := wrong(x.damage); err != nil {
		return nil, nil, err
	}
	if whole && damage == nil {
		var got [32]byte
		if x.hash.Sum(got[:0]); got != sum {
			damage = corrupt(i.Name(), "the content is not what was written")
		}
	}
	return x.bad, damage, nil
}

// packReader goes through one pack from its beginning to its end.
type packReader struct {
	p      *passing
	w      *runReader
	d      *pack.Dir
	hash   *blake3.Hasher
	next   uint32 // frame
	bad    []uint32
	damage error
}

// run reports whether every byte could be read.
func (x *packReader) run(ctx context.Context) (whole bool, err error) {
	const room = 2*runSize + 2*durable.BlockSize // a piece, and the beginning of a frame of which the rest is in it
	x.w.need(room)
	buf := x.w.buf
	base, n := int64(0), 0 // buf has the n bytes from base on
	for off := int64(0); off < x.d.Size; {
		p := buf[n:][:min(runSize, x.d.Size-off)]
		if err := x.p.store.ReadAt(ctx, x.d.Name(), p, off); err != nil {
			if fault.Is(err, fault.NotFound) {
				err = corrupt(x.d.Name(), "the object is missing")
			}
			if !unreadable(err) {
				return false, err
			}
			x.note(err)
			return false, x.rest(ctx)
		}
		x.hash.Write(p[:max(0, min(int64(len(p)), x.d.Size-pack.End-off))])
		off, n = off+int64(len(p)), n+len(p)
		x.p.read.Add(int64(len(p)))
		keep := off
		for ; x.next < x.d.Frames; x.next++ {
			if !x.d.Has(x.next) {
				x.bad = append(x.bad, x.next)
				continue
			}
			f := x.d.Frame(x.next)
			if f.Off+int64(f.Len) > off {
				keep = min(off, f.Off&^(durable.BlockSize-1))
				break
			}
			if f.Off < base {
				return false, fault.New(fault.Internal, "pack %s: frame %d lies before what is being read", x.d.ID, x.next)
			}
			if err := x.frame(ctx, f, buf[f.Off-base:][:f.Len]); err != nil {
				return false, err
			}
		}
		n = copy(buf, buf[keep-base:n])
		base = keep
	}
	return true, nil
}

func (x *packReader) note(err error) {
	if x.damage == nil {
		x.damage = err
	}
}

// frame verifies one frame whose bytes were read, and reads them once more before it calls it damaged.
func (x *packReader) frame(ctx context.Context, f pack.Frame, sealed []byte) error {
	r, w := x.p.c.r, x.w
	plain, err := r.unpack(x.d, x.next, f, sealed, &w.s, w.codec)
	if err != nil {
		w.s.sealed = grow(w.s.sealed, f.Len)[:f.Len]
		if rerr := x.p.store.ReadAt(ctx, x.d.Name(), w.s.sealed, f.Off); rerr == nil {
			plain, err = r.unpack(x.d, x.next, f, w.s.sealed, &w.s, w.codec)
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	if err != nil {
		x.note(err)
		x.bad = append(x.bad, x.next)
		return nil
	}
	x.p.bytes.Add(int64(len(plain)))
	return nil
}

// rest verifies the remaining frames by themselves, when they could not be read together.
func (x *packReader) rest(ctx context.Context) error {
	for ; x.next < x.d.Frames; x.next++ {
		if !x.d.Has(x.next) {
			x.bad = append(x.bad, x.next)
			continue
		}
		f := x.d.Frame(x.next)
		w := x.w
		w.s.sealed = grow(w.s.sealed, f.Len)[:f.Len]
		err := x.p.store.ReadAt(ctx, x.d.Name(), w.s.sealed, f.Off)
		switch {
		case err == nil:
			err = x.frame(ctx, f, w.s.sealed)
		case unreadable(err), fault.Is(err, fault.NotFound):
			x.bad = append(x.bad, x.next)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// paced returns a store whose reads are bounded to rate bytes a second; 0 means not at all.
func paced(s blob.Store, rate int64, c clock.Clock) blob.Store {
	if rate <= 0 {
		return s
	}
	return &pacedStore{Store: s, rate: rate, clock: c}
}

type pacedStore struct {
	blob.Store
	rate  int64
	clock clock.Clock

	mu   sync.Mutex
	free time.Time // when the next read may begin
}

// ReadAt waits for its turn.
func (s *pacedStore) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	now := s.clock.Now()
	s.mu.Lock()
	if s.free.Before(now) {
		s.free = now
	}
	wait := s.free.Sub(now)
	s.free = s.free.Add(time.Duration(float64(len(p)) / float64(s.rate) * float64(time.Second)))
	s.mu.Unlock()
	if wait > 0 {
		select {
		case <-s.clock.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return s.Store.ReadAt(ctx, name, p, off)
}
