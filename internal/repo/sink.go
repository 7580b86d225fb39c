package repo

import (
	"context"
	"sync"
	"sync/atomic"

	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// publishAt is how many new chunks wait at most before the index learns of them; it bounds the memory of a session.
const publishAt = 1 << 16

// maxShards is how many packs of one class a session fills at a time. Workers take whichever is free, so that sealing and
// writing do not serialise them; a small session fills only one.
const maxShards = 4

// sink stores the chunks of one session: it knows which are new, seals them into packs and gathers what the session
// refers to. Its methods may be called concurrently, except finish and abort.
type sink struct {
	r   *Repository
	pin *pin

	mu      sync.Mutex
	pending map[seal.Short]struct{} // new, not in the index yet
	refs    refSet                  // chunks that were there already
	entries []index.Entry           // of finished packs, not in the index yet
	packs   []pack.Info
	own     []pack.Info // all finished packs

	shards map[byte][]*shard

	newChunks, newBytes, storedBytes atomic.Int64
}

// shard is one pack being filled.
type shard struct {
	mu      sync.Mutex
	w       *pack.Writer
	entries []index.Entry // Frame only
	scratch []byte
}

func (r *Repository) newSink(p *pin) *sink {
	s := &sink{r: r, pin: p, pending: map[seal.Short]struct{}{}, refs: refSet{}, shards: map[byte][]*shard{}}
	for range min(r.workers, maxShards) {
		s.shards[pack.ClassData] = append(s.shards[pack.ClassData], &shard{})
	}
	s.shards[pack.ClassMeta] = []*shard{{}}
	return s
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
	s.refs.add(e.Pack, e.Frame, frames)
	return true, nil
}

// claim is known, and if the chunk is new, it is the caller's to store: a second caller is told that it is known.
func (s *sink) claim(ctx context.Context, id seal.Short) (fresh bool, err error) {
	known, err := s.known(ctx, id)
	if known || err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.pending[id]; taken {
		return false, nil
	}
	s.pending[id] = struct{}{}
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
		w, err := pack.NewWriter(ctx, s.r.store, s.r.root, s.r.maint, class)
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
	if sh.w.Full() {
		return s.close(ctx, sh)
	}
	return nil
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

// close finishes a shard's pack, which the caller has locked, and lets the index know when enough has come together.
func (s *sink) close(ctx context.Context, sh *shard) error {
	w := sh.w
	sh.w = nil
	info, err := w.Close(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	n := uint32(len(s.packs))
	s.packs = append(s.packs, info)
	s.own = append(s.own, info)
	for _, e := range sh.entries {
		e.Pack = n
		s.entries = append(s.entries, e)
	}
	full := len(s.entries) >= publishAt
	s.mu.Unlock()
	sh.entries = sh.entries[:0]
	if full {
		return s.publish(ctx)
	}
	return nil
}

// publish hands the entries of finished packs to the index. The chunks stay pending until the index has them.
func (s *sink) publish(ctx context.Context) error {
	s.mu.Lock()
	entries, packs := s.entries, s.packs
	s.entries, s.packs = nil, nil
	s.mu.Unlock()
	if len(packs) == 0 {
		return nil
	}
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
	defer s.mu.Unlock()
	for _, e := range entries {
		delete(s.pending, e.ID)
	}
	for i, p := range packs {
		s.refs.addAll(slots[i], p.Frames) // all that the session stored counts as needed by it
	}
	return nil
}

// accepted reports whether the session has stored a chunk or proved that it has it, or scope (another recovery point's
// references) contains it; then it notes that the session refers to it.
func (s *sink) accepted(ctx context.Context, id seal.Short, scope refSet) (bool, error) {
	s.mu.Lock()
	_, mine := s.pending[id]
	s.mu.Unlock()
	if mine {
		return true, nil
	}
	e, ok, err := s.r.v.index.Lookup(ctx, id, func(slot, frame uint32) bool {
		if !s.pin.sees(slot, frame) {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.refs.has(slot, frame) || scope.has(slot, frame)
	})
	if err != nil || !ok {
		return false, err
	}
	frames := s.r.v.index.Pack(e.Pack).Frames
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs.add(e.Pack, e.Frame, frames)
	return true, nil
}

// finish makes everything durable and returns what the session refers to: the chunks that were there and all it stored.
func (s *sink) finish(ctx context.Context) (refSet, error) {
	for _, shards := range s.shards {
		for _, sh := range shards {
			sh.mu.Lock()
			var err error
			if sh.w != nil {
				err = s.close(ctx, sh)
			}
			sh.mu.Unlock()
			if err != nil {
				return nil, err
			}
		}
	}
	if err := s.publish(ctx); err != nil {
		return nil, err
	}
	s.storedBytes.Store(0)
	for _, p := range s.own {
		s.storedBytes.Add(p.Size)
	}
	return s.refs, nil
}

// abort gives up the packs that are being filled. Finished ones stay as garbage, and as a head start for a retry.
func (s *sink) abort() {
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
