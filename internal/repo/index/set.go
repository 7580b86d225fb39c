package index

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// DefaultBudget is how many entries are kept in memory: about 40 bytes each.
const DefaultBudget = 1 << 20

// mergeAt is how many segments of about one size are merged into one.
const mergeAt = 8

// Set is the index of one repository. Packs get a number in it, which stays the same while the Set lives, whatever happens
// to segments. Safe for concurrent use.
type Set struct {
	store  blob.Store
	maint  *seal.Maint
	budget int

	mu       sync.RWMutex
	segments []*segment
	memory   table    // entries of the segments that are in memory
	loaded   []uint32 // parallel to segments: 1 if its entries are in memory
	packs    []pack.Info
	slots    map[seal.PackID]uint32
	gone     map[uint32]bool // packs dropped by Drop
	stale    []SegmentID     // replaced, still in the store
	// writing are the segments that Publish is about to install: refresh leaves them to it. Otherwise a segment that is
	// durable but not installed yet could be loaded, merged and deleted before its publisher installs it once more.
	writing map[SegmentID]bool

	merge sync.Mutex // held by whoever rewrites segments
}

// Load reads the index.
func Load(ctx context.Context, store blob.Store, m *seal.Maint, budget int) (*Set, error) {
	s := &Set{store: store, maint: m, budget: budget, slots: map[seal.PackID]uint32{}, gone: map[uint32]bool{}, writing: map[SegmentID]bool{}}
	return s, s.read(ctx)
}

// read loads all segments that are in the store. Another Set on the same store (a check has its own) may merge some of them
// in between; then they are listed again. The caller holds merge and mu, or is alone.
func (s *Set) read(ctx context.Context) (err error) {
	for range 3 {
		if err = s.readOnce(ctx); !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return corrupt(prefix, "segments are listed and then missing")
}

// readOnce loads all segments that are in the store in place of those in memory.
func (s *Set) readOnce(ctx context.Context) error {
	var infos []blob.Info
	if err := s.store.List(ctx, prefix, func(i blob.Info) error { infos = append(infos, i); return nil }); err != nil {
		return err
	}
	replaced := map[SegmentID]bool{}
	damaged := map[SegmentID]error{}
	var all []*segment
	for _, i := range infos {
		id, ok := ParseName(i.Name)
		if ok && s.writing[id] {
			continue
		}
		seg, err := openSegment(ctx, s.store, s.maint, i)
		if ok && fault.Is(err, fault.Corrupt) {
			damaged[id] = err
			continue
		}
		if err != nil {
			return err
		}
		all = append(all, seg)
		for _, r := range seg.replaces {
			replaced[r] = true
		}
	}
	// Small segments first: they are the new ones, and profit most from memory.
	slices.SortFunc(all, func(a, b *segment) int { return cmp.Compare(a.pairs, b.pairs) })
	next := s.empty()
	for id, err := range damaged {
		if !replaced[id] {
			return err
		}
		next.stale = append(next.stale, id)
	}
	for _, seg := range all {
		if replaced[seg.id] {
			next.stale = append(next.stale, seg.id)
			continue
		}
		if err := next.install(ctx, seg, nil); err != nil {
			return err
		}
	}
	s.take(next)
	s.stale = next.stale
	return nil
}

// empty returns a Set with the same numbers of packs and no segments; take moves its content into s.
func (s *Set) empty() *Set {
	return &Set{store: s.store, maint: s.maint, budget: s.budget, packs: s.packs, slots: s.slots, gone: s.gone}
}

func (s *Set) take(n *Set) {
	s.segments, s.loaded, s.memory, s.packs, s.slots = n.segments, n.loaded, n.memory, n.packs, n.slots
}

// Refresh takes notice of segments in the store that are not known: those of a Publish or a merge that was reported to have
// failed. Whoever is about to remove a pack, or what seems to belong to nothing, refreshes first.
func (s *Set) Refresh(ctx context.Context) error {
	s.merge.Lock()
	defer s.merge.Unlock()
	return s.refresh(ctx)
}

func (s *Set) refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[string]bool{}
	for _, seg := range s.segments {
		known[seg.id.Name()] = true
	}
	for _, id := range s.stale {
		known[id.Name()] = true
	}
	for id := range s.writing {
		known[id.Name()] = true
	}
	news := false
	err := s.store.List(ctx, prefix, func(i blob.Info) error {
		news = news || !known[i.Name]
		return nil
	})
	if err != nil || !news {
		return err
	}
	return s.read(ctx)
}

// install makes a segment part of the set. entries are its content if the caller has it, with the segment's numbers of
// packs. The caller holds mu or is alone.
func (s *Set) install(ctx context.Context, seg *segment, entries []Entry) error {
	seg.slots = make([]uint32, len(seg.packs))
	for i, p := range seg.packs {
		slot, err := s.slot(p)
		if err != nil {
			return err
		}
		seg.slots[i] = slot
	}
	inMemory := uint32(0)
	if s.memory.n+int(seg.pairs) <= s.budget {
		inMemory = 1
		for _, e := range entries {
			e.Pack = seg.slots[e.Pack]
			s.memory.add(e)
		}
		if entries == nil {
			if err := s.each(ctx, seg, func(e Entry) error { s.memory.add(e); return nil }); err != nil {
				return err
			}
		}
	}
	s.segments = append(s.segments, seg)
	s.loaded = append(s.loaded, inMemory)
	return nil
}

// slot returns the number of a pack, a new one if it is not known.
func (s *Set) slot(p pack.Info) (uint32, error) {
	if n, ok := s.slots[p.ID]; ok {
		if s.packs[n] != p {
			return 0, corrupt(p.Name(), "two segments disagree about this pack")
		}
		return n, nil
	}
	n := uint32(len(s.packs))
	s.packs = append(s.packs, p)
	s.slots[p.ID] = n
	return n, nil
}

// each yields the entries of a segment in order, with the set's pack numbers.
func (s *Set) each(ctx context.Context, seg *segment, fn func(Entry) error) error {
	buf := make([]byte, 64*blockSize)
	for n := uint32(0); n < seg.blocks(); {
		k := min(64, seg.blocks()-n)
		b := buf[:k*blockSize]
		if err := s.store.ReadAt(ctx, seg.id.Name(), b, int64(n)*blockSize); err != nil {
			return err
		}
		for ; k > 0; k, n, b = k-1, n+1, b[blockSize:] {
			pairs, err := seg.checkBlock(s.maint, n, b[:blockSize])
			if err != nil {
				return err
			}
			for ; len(pairs) > 0; pairs = pairs[pairSize:] {
				e := decodePair(pairs)
				if int(e.Pack) >= len(seg.slots) || e.Frame >= seg.packs[e.Pack].Frames {
					return corrupt(seg.id.Name(), "an entry names a pack or frame that does not exist")
				}
				e.Pack = seg.slots[e.Pack]
				if err := fn(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Lookup finds a chunk at a place that usable accepts. usable must not call the Set.
func (s *Set) Lookup(ctx context.Context, id seal.Short, usable func(slot, frame uint32) bool) (e Entry, ok bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	take := func(c Entry) bool {
		if s.gone[c.Pack] || !usable(c.Pack, c.Frame) {
			return false
		}
		e = c
		return true
	}
	if s.memory.find(id, take) {
		return e, true, nil
	}
	for i, seg := range s.segments {
		if s.loaded[i] != 0 {
			continue
		}
		found, err := seg.find(ctx, s.store, s.maint, id, func(c Entry) bool {
			if int(c.Pack) >= len(seg.slots) {
				return false
			}
			c.Pack = seg.slots[c.Pack]
			return take(c)
		})
		if err != nil {
			if fault.Is(err, fault.NotFound) {
				err = corrupt(seg.id.Name(), "the object is missing")
			}
			return Entry{}, false, err
		}
		if found {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}

// Pack returns what the index knows about a pack.
func (s *Set) Pack(slot uint32) pack.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.packs[slot]
}

// Slot returns the number of a pack.
func (s *Set) Slot(id seal.PackID) (uint32, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, ok := s.slots[id]
	return n, ok && !s.gone[n]
}

// Packs returns the numbers of all packs.
func (s *Set) Packs() []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]uint32, 0, len(s.packs))
	for n := range uint32(len(s.packs)) {
		if !s.gone[n] {
			out = append(out, n)
		}
	}
	return out
}

// Entries returns how many entries all segments have together.
func (s *Set) Entries() (n uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, seg := range s.segments {
		n += seg.pairs
	}
	return n
}

// Publish adds entries of durable packs: writes a segment and makes it visible. Entry.Pack counts in packs.
func (s *Set) Publish(ctx context.Context, entries []Entry, packs []pack.Info) error {
	if len(packs) == 0 {
		return nil
	}
	id := newSegmentID()
	s.mu.Lock()
	s.writing[id] = true
	s.mu.Unlock()
	seg, err := writeSegment(ctx, s.store, s.maint, id, entries, packs, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.writing, id)
	if err != nil {
		return err // it may be in the store all the same: the next refresh finds out
	}
	return s.install(ctx, seg, entries)
}

// Compact merges segments where there are many of about one size. Replaced ones are deleted.
func (s *Set) Compact(ctx context.Context) error {
	s.merge.Lock()
	defer s.merge.Unlock()
	s.mu.RLock()
	tiers := map[int][]*segment{}
	for _, seg := range s.segments {
		t := 0
		for n := seg.pairs / 1024; n > 0; n /= mergeAt {
			t++
		}
		tiers[t] = append(tiers[t], seg)
	}
	s.mu.RUnlock()
	for _, t := range tiers {
		if len(t) >= mergeAt {
			return s.rewrite(ctx, t, nil)
		}
	}
	return nil
}

// Drop removes packs from the index, durably: when it returns nil, no segment that will be loaded names them.
func (s *Set) Drop(ctx context.Context, packs map[uint32]bool) error {
	s.merge.Lock()
	defer s.merge.Unlock()
	if err := s.refresh(ctx); err != nil {
		return err
	}
	s.mu.RLock()
	var touched []*segment
	for _, seg := range s.segments {
		if slices.ContainsFunc(seg.slots, func(n uint32) bool { return packs[n] }) {
			touched = append(touched, seg)
		}
	}
	s.mu.RUnlock()
	if err := s.rewrite(ctx, touched, packs); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range packs {
		s.gone[n] = true
		delete(s.slots, s.packs[n].ID)
	}
	return nil
}

// Clean deletes replaced segments that an interrupted rewrite left.
func (s *Set) Clean(ctx context.Context) (n int, err error) {
	s.merge.Lock()
	defer s.merge.Unlock()
	for len(s.stale) > 0 {
		if err := s.store.Delete(ctx, s.stale[0].Name()); err != nil && !fault.Is(err, fault.NotFound) {
			return n, err
		}
		s.stale = s.stale[1:]
		n++
	}
	return n, nil
}

// rewrite replaces segments by one without the packs to drop. merge is held, so that nobody else replaces segments; new
// ones may be published meanwhile.
func (s *Set) rewrite(ctx context.Context, old []*segment, drop map[uint32]bool) error {
	if len(old) == 0 {
		return nil
	}
	seg, err := s.mergeSegments(ctx, old, drop)
	if err != nil {
		return err
	}
	s.mu.Lock()
	err = s.swap(ctx, seg, old)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// The new segment is durable and says what it replaces: a crash from here on leaves superseded objects, no damage.
	for _, o := range old {
		s.stale = append(s.stale, o.id)
	}
	for len(s.stale) > 0 {
		if err := s.store.Delete(ctx, s.stale[0].Name()); err != nil && !fault.Is(err, fault.NotFound) {
			return nil // Clean tries again
		}
		s.stale = s.stale[1:]
	}
	return nil
}

// swap puts seg in the place of old and rebuilds what is in memory. The caller holds mu.
func (s *Set) swap(ctx context.Context, seg *segment, old []*segment) error {
	keep := s.empty()
	for _, o := range append(slices.Clone(s.segments), seg) {
		if !slices.Contains(old, o) {
			if err := keep.install(ctx, o, nil); err != nil {
				return err
			}
		}
	}
	s.take(keep)
	return nil
}

// Verify reads every block of every segment.
func (s *Set) Verify(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, seg := range s.segments {
		var last Entry
		first := true
		err := s.each(ctx, seg, func(e Entry) error {
			if !first && string(e.ID[:]) < string(last.ID[:]) {
				return corrupt(seg.id.Name(), "its entries are out of order")
			}
			first, last = false, e
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
