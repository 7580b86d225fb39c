package repo

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/fault"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

const (
	// publishAt is how many new chunks wait at most before the index learns of them; it bounds the memory of a session.
	publishAt = 1 << 16

	// maxShards is how many packs of one class a session fills at a time. Workers take whichever is free, so that sealing
	// and writing do not serialise them; a small session fills only one.
	maxShards = 4

	// recordPart is how much of what a session has stored may wait to be recorded, as a divisor; as much again may be under
	// way. A session that is cut off stores that much again, and what was in the packs that it was filling.
	recordPart = 48
)

// sink stores the chunks of one session: it knows which are new, seals them into packs and gathers what the session
// refers to. Its methods may be called concurrently, except checkpoint, finish and abort.
//
// Finished packs are made known to the index, and recorded by the keeper for a session that has one, on the way, so that a
// session that is cut off goes on where it was (ingest_keeper.go). That happens on one goroutine beside the workers.
type sink struct {
	r    *Repository
	pin  *pin
	keep *keeper // nil: nothing is recorded

	mu      sync.Mutex
	pending map[seal.Short]uint32 // new, not in the index yet: size of the plaintext
	refs    *refSet               // all chunks that the session refers to and the index has
	proven  *refSet               // of refs, since the last checkpoint: chunks that were there already
	ready   batch                 // finished packs that are not in the index yet
	own     []pack.Info           // all finished packs
	fault   error                 // of the goroutine beside the workers

	publisher sync.Mutex // held by whoever makes packs known
	recorded  int64      // bytes in packs that were published

	shards map[byte][]*shard
	unit   int64 // size of a pack

	newChunks, newBytes, storedBytes atomic.Int64
}

// batch is some finished packs with what is in them.
type batch struct {
	entries []index.Entry
	packs   []pack.Info
	bytes   int64
}

// add appends a pack. The entries' numbers of packs are those of the batch afterwards.
func (b *batch) add(info pack.Info, entries []index.Entry) {
	for _, e := range entries {
		e.Pack = uint32(len(b.packs))
		b.entries = append(b.entries, e)
	}
	b.packs = append(b.packs, info)
	b.bytes += info.Size
}

// shard is one pack being filled.
type shard struct {
	mu      sync.Mutex
	w       *pack.Writer
	entries []index.Entry // Frame only
	scratch []byte
}

func (r *Repository) newSink(p *pin) *sink {
	s := &sink{r: r, pin: p, pending: map[seal.Short]uint32{}, refs: newRefSet(), proven: newRefSet(), shards: map[byte][]*shard{}, unit: pack.Target}
	if r.unit > 0 {
		s.unit = r.unit
	}
	for range min(r.workers, maxShards) {
		s.shards[pack.ClassData] = append(s.shards[pack.ClassData], &shard{})
	}
	s.shards[pack.ClassMeta] = []*shard{{}}
	return s
}

// refer notes that the session refers to a frame. The caller holds mu.
func (s *sink) refer(slot, frame, frames uint32) {
	if s.refs.has(slot, frame) {
		return
	}
	s.refs.add(slot, frame, frames)
	if s.keep.proves() {
		s.proven.add(slot, frame, frames)
	}
}

// known reports whether the repository has a chunk and notes that the session refers to it.
func (s *sink) known(ctx context.Context, id seal.Short) (bool, error) {
	s.mu.Lock()
	_, mine := s.pending[id]
	s.mu.Unlock()
	if mine {
		return true, nil
	}
	e, ok, err := s.r.v.index.Lookup(ctx, id, s.pin.sees)
	if err != nil || !ok {
		return false, err
	}
	frames := s.r.v.index.Pack(e.Pack).Frames
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refer(e.Pack, e.Frame, frames)
	return true, nil
}

// claim is known, and if the chunk is new, it is the caller's to store: a second caller is told that it is known.
func (s *sink) claim(ctx context.Context, id seal.Short, size int) (fresh bool, err error) {
	known, err := s.known(ctx, id)
	if known || err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.pending[id]; taken {
		return false, nil
	}
	s.pending[id] = uint32(size)
	return true, nil
}

// store seals a claimed chunk into a pack.
func (s *sink) store(ctx context.Context, h seal.Hash, cid seal.CID, kind, alg byte, ulen int, stored []byte) error {
	class := pack.ClassData
	if kind != pack.Data {
		class = pack.ClassMeta
	}
	sh := s.lock(s.shards[class])
	defer sh.mu.Unlock()
	if sh.w == nil {
		w, err := pack.NewWriterIn(ctx, s.r.store, s.r.root, s.r.maint, class, s.r.v.dirs.next())
		if err != nil {
			return err
		}
		sh.w = w
		s.r.v.writes(w.ID(), s.pin)
	}
	sh.scratch = grow(sh.scratch, len(stored)+seal.Overhead)
	n, err := sh.w.Append(h, cid, kind, alg, ulen, stored, &sh.scratch)
	if err != nil {
		return err
	}
	sh.entries = append(sh.entries, index.Entry{ID: cid.Short(), Frame: n})
	s.newChunks.Add(1)
	s.newBytes.Add(int64(ulen))
	s.storedBytes.Add(int64(len(stored)))
	if !sh.w.Full() && sh.w.Size() < s.unit {
		return nil
	}
	if err := s.close(ctx, sh, &s.ready); err != nil {
		return err
	}
	return s.publishSoon(ctx)
}

// lock locks the first shard that is free, preferring those in use.
func (s *sink) lock(shards []*shard) *shard {
	for _, sh := range shards {
		if sh.mu.TryLock() {
			return sh
		}
	}
	shards[0].mu.Lock()
	return shards[0]
}

// close finishes a shard's pack, which the caller has locked, into a batch.
func (s *sink) close(ctx context.Context, sh *shard, into *batch) error {
	w := sh.w
	sh.w = nil
	info, err := w.Close(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	into.add(info, sh.entries)
	s.own = append(s.own, info)
	sh.entries = sh.entries[:0]
	return nil
}

// take returns the finished packs, for publish.
func (s *sink) take() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.ready
	s.ready = batch{}
	return &b
}

// publishSoon has finished packs made known when enough has come together, beside the caller. It waits only when the
// session would need too much memory otherwise.
func (s *sink) publishSoon(ctx context.Context) error {
	if s.due() && s.publisher.TryLock() {
		go func() {
			defer s.publisher.Unlock()
			ctx := context.WithoutCancel(ctx) // one segment: an operation that ends waits for it
			for s.due() {
				if err := s.publish(ctx, s.take()); err != nil {
					s.fail(err)
					return
				}
				if s.keep.eager() {
					s.keep.record(ctx, nil)
				}
			}
		}()
	}
	s.mu.Lock()
	full, err := len(s.ready.entries) >= publishAt, s.fault
	s.mu.Unlock()
	if full && err == nil {
		s.publisher.Lock()
		s.publisher.Unlock()
		return s.failed()
	}
	return err
}

// due reports whether finished packs should be made known now.
func (s *sink) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil || len(s.ready.packs) == 0 {
		return false
	}
	return len(s.ready.entries) >= publishAt || s.keep.eager() && s.ready.bytes*recordPart >= s.recorded
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.fault = err
	}
}

func (s *sink) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// publish hands the entries of finished packs to the index. The chunks stay pending until the index has them. The caller
// holds publisher.
func (s *sink) publish(ctx context.Context, b *batch) error {
	if len(b.packs) == 0 {
		return nil
	}
	entries, packs := b.entries, b.packs
	if err := s.r.v.index.Publish(ctx, entries, packs); err != nil {
		return err
	}
	slots := make([]uint32, len(packs))
	for i, p := range packs {
		slot, ok := s.r.v.index.Slot(p.ID)
		if !ok {
			return corrupt(p.Name(), "a pack that was just written is not in the index")
		}
		slots[i] = slot
	}
	s.mu.Lock() // not while asking the index, which asks us in accepted
	for _, e := range entries {
		delete(s.pending, e.ID)
	}
	for i, p := range packs {
		s.refs.addAll(slots[i], p.Frames) // all that the session stored counts as needed by it
	}
	s.recorded += b.bytes
	s.mu.Unlock()
	return s.keep.published(slots, packs)
}

// shown is a chunk that the session has shown: in the index, or on its way there.
type shown struct {
	place framePlace
	size  uint32 // of the plaintext; 0: the directory of the place knows it
}

// accepted finds a chunk that the session has stored or proved that it has, or that one of the scopes (frames that it may
// refer to) contains, and notes that the session refers to it.
func (s *sink) accepted(ctx context.Context, id seal.Short, scopes ...*refSet) (c shown, ok bool, err error) {
	s.mu.Lock()
	size, mine := s.pending[id]
	s.mu.Unlock()
	if mine {
		return shown{size: size}, true, nil
	}
	e, ok, err := s.r.v.index.Lookup(ctx, id, func(slot, frame uint32) bool {
		if !s.pin.sees(slot, frame) {
			return false
		}
		for _, scope := range scopes {
			if scope.has(slot, frame) {
				return true
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.refs.has(slot, frame)
	})
	if err != nil || !ok {
		return c, false, err
	}
	frames := s.r.v.index.Pack(e.Pack).Frames
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refer(e.Pack, e.Frame, frames)
	return shown{place: framePlace{e.Pack, e.Frame}}, true, nil
}

// sizeOf returns the size of a chunk that was accepted, or 0 when the directory that knows it cannot be read.
func (s *sink) sizeOf(ctx context.Context, c shown) (uint32, error) {
	if c.size > 0 {
		return c.size, nil
	}
	d, err := s.r.dirs.get(ctx, s.r.v.index.Pack(c.place.slot))
	if fault.Is(err, fault.Corrupt) || err == nil && !d.Has(c.place.frame) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return uint32(d.Frame(c.place.frame).Size), nil
}

// checkpoint begins new packs and has the old ones completed, made known and recorded beside the caller, with everything
// that the session has proved until now. Nothing may be stored meanwhile; it takes no longer than the last checkpoint needs
// to end.
func (s *sink) checkpoint(ctx context.Context) error {
	s.publisher.Lock()
	if err := s.failed(); err != nil {
		s.publisher.Unlock()
		return err
	}
	var old []*shard
	for _, shards := range s.shards {
		for _, sh := range shards {
			sh.mu.Lock()
			if sh.w != nil {
				old = append(old, &shard{w: sh.w, entries: sh.entries})
				sh.w, sh.entries = nil, nil
			}
			sh.mu.Unlock()
		}
	}
	// What is finished and proven until now, and nothing that comes while the rest is finished: see ingest_keeper.go.
	done := s.take()
	s.mu.Lock()
	proven := s.proven
	s.proven = newRefSet()
	s.mu.Unlock()
	go func() {
		defer s.publisher.Unlock()
		if err := s.complete(context.WithoutCancel(ctx), done, old, proven); err != nil {
			s.fail(err)
		}
	}()
	return nil
}

// complete ends a checkpoint. The caller holds publisher.
func (s *sink) complete(ctx context.Context, done *batch, old []*shard, proven *refSet) error {
	var g errgroup.Group
	for _, sh := range old {
		g.Go(func() error { return s.close(ctx, sh, done) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := s.publish(ctx, done); err != nil {
		return err
	}
	s.keep.record(ctx, proven)
	return nil
}

// finish makes everything durable and returns what the session refers to: the chunks that were there and all it stored.
func (s *sink) finish(ctx context.Context) (*refSet, error) {
	if err := s.closeAll(ctx, 0); err != nil {
		return nil, err
	}
	s.publisher.Lock()
	defer s.publisher.Unlock()
	if err := s.failed(); err != nil {
		return nil, err
	}
	if err := s.publish(ctx, s.take()); err != nil {
		return nil, err
	}
	s.storedBytes.Store(0)
	for _, p := range s.own {
		s.storedBytes.Add(p.Size)
	}
	return s.refs, nil
}

// closeAll finishes the packs that have at least so many bytes.
func (s *sink) closeAll(ctx context.Context, least int64) error {
	for _, shards := range s.shards {
		for _, sh := range shards {
			sh.mu.Lock()
			var err error
			if sh.w != nil && sh.w.Size() >= least {
				err = s.close(ctx, sh, &s.ready)
			}
			sh.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// abort gives up the packs that are being filled. Finished ones stay: as garbage, or recorded, as a head start for a retry.
func (s *sink) abort() {
	s.publisher.Lock()
	defer s.publisher.Unlock()
	for _, shards := range s.shards {
		for _, sh := range shards {
			sh.mu.Lock()
			if sh.w != nil {
				sh.w.Abort()
				sh.w = nil
			}
			sh.mu.Unlock()
		}
	}
}
