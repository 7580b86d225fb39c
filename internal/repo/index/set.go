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

// DefaultBudget is how many entries are kept in memory: 24 bytes each.
const DefaultBudget = 1 << 20

// Set is the index of one repository. Packs get a number in it, which stays the same while the Set lives, whatever happens
// to segments. Safe for concurrent use.
type Set struct {
	store  blob.Store
	maint  *seal.Maint
	budget int

	mu       sync.RWMutex
	segments []*segment
	kept     int // entries in memory
	packs    packTable
	sequence uint64 // the highest of any segment
	drops    map[seal.PackID]uint64
	dropped  map[uint32]uint64 // drops by number
	gone     map[uint32]bool   // dropped, and not published again since
	stale    []SegmentID       // replaced, still in the store
	// writing are the segments that Publish is about to install: refresh leaves them to it. Otherwise a segment that is
	// durable but not installed yet could be loaded, merged and deleted before its publisher installs it once more.
	writing map[SegmentID]bool
	// unsure is set when the writing of a segment was reported to have failed: it may be in the store all the same, and name
	// packs that were dropped since.
	unsure bool

	merge sync.Mutex // held by whoever rewrites segments or looks for new ones; always before mu
}

func newSet(store blob.Store, m *seal.Maint, budget int) *Set {
	return &Set{
		store: store, maint: m, budget: budget, drops: map[seal.PackID]uint64{}, dropped: map[uint32]uint64{},
		gone: map[uint32]bool{}, writing: map[SegmentID]bool{},
	}
}

// Load reads the index. Memory is what stays in it. Another Set on the same store may merge segments meanwhile.
// fault.Corrupt: a segment that counts is missing or damaged.
func Load(ctx context.Context, store blob.Store, m *seal.Maint, budget int) (s *Set, err error) {
	for range 3 {
		s = newSet(store, m, budget)
		// A segment that was listed and is missing was merged in between: list again.
		if err = s.refresh(ctx); !fault.Is(err, fault.NotFound) {
			return s, err
		}
	}
	return s, corrupt(prefix, "segments are listed and then missing")
}

// Refresh takes notice of segments in the store that are not known: those of a Publish or a merge that was reported to have
// failed. Whoever is about to remove a pack, or what seems to belong to nothing, refreshes first.
func (s *Set) Refresh(ctx context.Context) error {
	s.merge.Lock()
	defer s.merge.Unlock()
	return s.refresh(ctx)
}

// refresh is Refresh for a caller who holds merge or is alone.
func (s *Set) refresh(ctx context.Context) error {
	known := map[string]bool{}
	s.mu.RLock()
	for _, seg := range s.segments {
		known[seg.id.Name()] = true
	}
	for _, id := range s.stale {
		known[id.Name()] = true
	}
	for id := range s.writing {
		known[id.Name()] = true
	}
	room := s.budget - s.kept
	s.mu.RUnlock()
	var news []blob.Info
	err := s.store.List(ctx, prefix, func(i blob.Info) error {
		if !known[i.Name] {
			news = append(news, i)
		}
		return nil
	})
	if err != nil || len(news) == 0 {
		return err
	}
	damaged := map[SegmentID]error{}
	var found []*segment
	for _, i := range news {
		seg, err := openSegment(ctx, s.store, s.maint, i)
		if id, ok := ParseName(i.Name); ok && fault.Is(err, fault.Corrupt) {
			damaged[id] = err
			continue
		}
		if err != nil {
			return err
		}
		found = append(found, seg)
	}
	// Small segments first: they are the new ones, and profit most from memory.
	slices.SortFunc(found, func(a, b *segment) int { return cmp.Compare(a.pairs, b.pairs) })
	replaced := s.replaced(found)
	for id, err := range damaged {
		if !replaced[id] {
			return err
		}
	}
	for _, seg := range found {
		if n := int(seg.pairs); !replaced[seg.id] && n > 0 && n <= room {
			if err := s.keep(ctx, seg); err != nil {
				return err
			}
			room -= n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range damaged {
		s.stale = append(s.stale, id)
	}
	return s.adopt(found, replaced)
}

// replaced returns the segments that do not count, according to those that are known and those that were found.
func (s *Set) replaced(found []*segment) map[SegmentID]bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[SegmentID]bool{}
	for _, seg := range append(slices.Clone(s.segments), found...) {
		for _, r := range seg.replaces {
			out[r] = true
		}
	}
	return out
}

// adopt makes segments that were found part of the set. The caller holds mu.
func (s *Set) adopt(found []*segment, replaced map[SegmentID]bool) error {
	var old []*segment
	for _, seg := range s.segments {
		if replaced[seg.id] {
			old = append(old, seg)
		}
	}
	s.retire(old)
	for _, seg := range found {
		known := slices.ContainsFunc(s.segments, func(o *segment) bool { return o.id == seg.id })
		switch {
		case known || s.writing[seg.id]:
			seg.release() // published since the listing
		case replaced[seg.id]:
			s.stale = append(s.stale, seg.id)
			s.sequence = max(s.sequence, seg.sequence)
			seg.release()
		default:
			if err := s.install(seg); err != nil {
				return err
			}
		}
	}
	s.drop(s.segments...)
	return nil
}

// retire takes segments out of the set; they are still in the store. The caller holds mu.
func (s *Set) retire(old []*segment) {
	s.segments = slices.DeleteFunc(slices.Clone(s.segments), func(seg *segment) bool { return slices.Contains(old, seg) })
	for _, seg := range old {
		if seg.resident != nil {
			s.kept -= int(seg.pairs)
		}
		s.stale = append(s.stale, seg.id)
		seg.release()
	}
}

// install makes a segment part of the set. The caller holds mu or is alone.
func (s *Set) install(seg *segment) error {
	s.sequence = max(s.sequence, seg.sequence)
	if seg.slots == nil {
		seg.slots = make([]uint32, seg.packs)
		for i := range seg.slots {
			line := seg.table.b[i*packLine:][:packLine]
			slot, ok := s.packs.number(line)
			if !ok {
				return corrupt(getPack(line).Name(), "two segments disagree about this pack")
			}
			seg.slots[i] = slot
			if len(s.drops) > 0 {
				if d, ok := s.drops[s.packs.id(slot)]; ok {
					s.dropped[slot] = d
				}
			}
		}
	}
	if len(s.gone) > 0 {
		for _, slot := range seg.slots {
			if !s.dead(seg, slot) {
				delete(s.gone, slot)
			}
		}
	}
	seg.table.release()
	if seg.resident != nil {
		s.kept += int(seg.pairs)
	}
	s.segments = append(s.segments, seg)
	return nil
}

// drop takes notice of what segments say about packs that are gone. Those segments are installed. The caller holds mu.
func (s *Set) drop(segments ...*segment) {
	any := false
	for _, seg := range segments {
		for _, d := range seg.drops {
			any = true
			if d.sequence <= s.drops[d.pack] {
				continue
			}
			s.drops[d.pack] = d.sequence
			if slot, ok := s.packs.find(d.pack[:]); ok {
				s.dropped[slot] = d.sequence
			}
		}
	}
	if !any {
		return
	}
	for slot := range s.dropped {
		s.gone[slot] = true
	}
	for _, seg := range s.segments {
		for _, slot := range seg.slots {
			if !s.dead(seg, slot) {
				delete(s.gone, slot)
			}
		}
	}
}

// keep reads the pairs of a segment into memory.
func (s *Set) keep(ctx context.Context, seg *segment) error {
	r := newRegion(int(seg.pairs) * pairSize)
	to := r.b
	err := s.each(ctx, seg, func(pairs []byte) error {
		to = to[copy(to, pairs):]
		return nil
	})
	if err == nil {
		seg.resident = r
	}
	return err
}

// each yields the pairs of a segment, block by block.
func (s *Set) each(ctx context.Context, seg *segment, fn func(pairs []byte) error) error {
	buf := make([]byte, min(64, seg.blocks())*blockSize)
	for n := uint32(0); n < seg.blocks(); {
		k, err := seg.readBlocks(ctx, s.store, s.maint, n, buf)
		if err != nil {
			return err
		}
		for i := range k {
			if err := fn(seg.pairsOf(n+i, buf[int(i)*blockSize:][:blockSize])); err != nil {
				return err
			}
		}
		n += k
	}
	return nil
}

// Lookup finds a chunk at a place that usable accepts. usable must not call the Set. A chunk that is not in the index costs
// no I/O but for about one in a hundred per segment; one that is costs the read of one block if it is not in memory.
func (s *Set) Lookup(ctx context.Context, id seal.Short, usable func(slot, frame uint32) bool) (e Entry, ok bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, seg := range s.segments {
		found, err := seg.find(ctx, s.store, s.maint, id, func(c Entry) bool {
			if int(c.Pack) >= len(seg.slots) {
				return false
			}
			c.Pack = seg.slots[c.Pack]
			if s.dead(seg, c.Pack) || !usable(c.Pack, c.Frame) {
				return false
			}
			e = c
			return true
		})
		if fault.Is(err, fault.NotFound) {
			err = corrupt(seg.id.Name(), "the object is missing")
		}
		if found || err != nil {
			return e, found, err
		}
	}
	return Entry{}, false, nil
}

// dead reports whether what a segment says about a pack does not count any more.
func (s *Set) dead(seg *segment, slot uint32) bool {
	if len(s.dropped) == 0 {
		return false
	}
	d, ok := s.dropped[slot]
	return ok && seg.sequence < d
}

// Pack returns what the index knows about a pack.
func (s *Set) Pack(slot uint32) pack.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.packs.info(slot)
}

// Slot returns the number of a pack.
func (s *Set) Slot(id seal.PackID) (uint32, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	slot, ok := s.packs.find(id[:])
	return slot, ok && !s.gone[slot]
}

// Find returns the number of a pack and how many frames it has.
func (s *Set) Find(id seal.PackID) (slot, frames uint32, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	slot, ok = s.packs.find(id[:])
	if !ok || len(s.gone) > 0 && s.gone[slot] {
		return 0, 0, false
	}
	return slot, s.packs.frames(slot), true
}

// Has reports whether a pack is still in the index.
func (s *Set) Has(slot uint32) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slot < s.packs.n && !s.gone[slot]
}

// Packs returns the numbers of all packs.
func (s *Set) Packs() []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]uint32, 0, int(s.packs.n)-len(s.gone))
	for n := range s.packs.n {
		if !s.gone[n] {
			out = append(out, n)
		}
	}
	return out
}

// Entries returns how many entries all segments have together, those of dropped packs included.
func (s *Set) Entries() (n uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, seg := range s.segments {
		n += seg.pairs
	}
	return n
}

// begin names a new segment and keeps refresh from it.
func (s *Set) begin() *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	seg := &segment{id: newSegmentID(), sequence: s.sequence}
	s.writing[seg.id] = true
	return seg
}

// Publish adds entries of durable packs: writes a segment and makes it visible. Entry.Pack counts in packs. A pack that was
// dropped before counts again.
func (s *Set) Publish(ctx context.Context, entries []Entry, packs []pack.Info) error {
	if len(packs) == 0 {
		return nil
	}
	seg := s.begin()
	s.mu.RLock()
	keep := s.kept+len(entries) <= s.budget
	s.mu.RUnlock()
	done, err := writeSegment(ctx, s.store, s.maint, seg, entries, packs, keep)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.writing, seg.id)
	if err != nil {
		s.unsure = true
		return err // it may be in the store all the same: the next refresh finds out
	}
	return s.install(done)
}

// Drop removes packs from the index, durably: when it returns nil, no segment's word about them counts any more.
func (s *Set) Drop(ctx context.Context, packs map[uint32]bool) error {
	if len(packs) == 0 {
		return nil
	}
	s.merge.Lock()
	defer s.merge.Unlock()
	if err := s.refresh(ctx); err != nil {
		return err
	}
	seg := s.begin()
	s.mu.RLock()
	for n := range packs {
		seg.drops = append(seg.drops, drop{s.packs.id(n), seg.sequence})
	}
	s.mu.RUnlock()
	slices.SortFunc(seg.drops, func(a, b drop) int { return slices.Compare(a.pack[:], b.pack[:]) })
	done, err := writeSegment(ctx, s.store, s.maint, seg, nil, nil, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.writing, seg.id)
	if err != nil {
		s.unsure = true
		return err
	}
	if err := s.install(done); err != nil {
		return err
	}
	s.drop(done)
	return nil
}

// Verify reads every block of every segment.
func (s *Set) Verify(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, seg := range s.segments {
		var last [16]byte
		var block uint32
		err := s.each(ctx, seg, func(pairs []byte) error {
			if string(pairs[:fenceSize]) != string(seg.fences[int(block)*fenceSize:][:fenceSize]) {
				return corrupt(seg.id.Name(), "a block begins with another id than it should")
			}
			block++
			for ; len(pairs) > 0; pairs = pairs[pairSize:] {
				if string(pairs[:16]) < string(last[:]) {
					return corrupt(seg.id.Name(), "its entries are out of order")
				}
				copy(last[:], pairs)
				if e := decodePair(pairs); !s.valid(seg, e) || !seg.filter.has(e.ID) {
					return corrupt(seg.id.Name(), "an entry names a pack or frame that does not exist, or is missing in the filter")
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// valid reports whether an entry's pack and frame exist.
func (s *Set) valid(seg *segment, e Entry) bool {
	return int(e.Pack) < len(seg.slots) && e.Frame < s.packs.frames(seg.slots[e.Pack])
}
