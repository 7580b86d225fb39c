package index

import (
	"context"
	"slices"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

const (
	// mergeAt is how many segments of about one size are merged into one.
	mergeAt = 8
	// deadAt is the part of a segment's pairs, as a divisor, that may belong to dropped packs before it is rewritten.
	deadAt = 4
	// readAhead is how many blocks of each segment a merge reads at once.
	readAhead = 64
)

// Compact merges segments where there are many of about one size, and rewrites those of which much is dead. Replaced ones
// are deleted. It does nothing while another call is at work.
func (s *Set) Compact(ctx context.Context) error {
	if !s.merge.TryLock() {
		return nil
	}
	defer s.merge.Unlock()
	return s.compact(ctx)
}

// MergeAll merges all segments into one, which need not be large to be worth it: for measuring.
func (s *Set) MergeAll(ctx context.Context) error {
	s.merge.Lock()
	defer s.merge.Unlock()
	if err := s.refresh(ctx); err != nil {
		return err
	}
	s.mu.RLock()
	all := slices.Clone(s.segments)
	s.mu.RUnlock()
	return s.rewrite(ctx, all)
}

func (s *Set) compact(ctx context.Context) error {
	if len(s.choose()) == 0 {
		return nil
	}
	// What is in the store and not known may name packs whose dropping could be forgotten now.
	if err := s.refresh(ctx); err != nil {
		return err
	}
	return s.rewrite(ctx, s.choose())
}

// choose returns segments that should become one.
func (s *Set) choose() []*segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var tiers [][]*segment
	var mostlyDead, tombs []*segment
	for _, seg := range s.segments {
		t := 0
		for n := seg.pairs / 1024; n > 0; n /= mergeAt {
			t++
		}
		for len(tiers) <= t {
			tiers = append(tiers, nil)
		}
		tiers[t] = append(tiers[t], seg)
		switch n := s.deadPairs(seg); {
		case seg.pairs == 0:
			tombs = append(tombs, seg)
		case n > 0 && n >= seg.pairs/deadAt:
			mostlyDead = append(mostlyDead, seg)
		}
	}
	for _, t := range tiers {
		var total uint64
		for i, seg := range t {
			if total += seg.pairs; total > maxPairs {
				t = t[:i]
				break
			}
		}
		if len(t) >= mergeAt {
			return t
		}
	}
	if mostlyDead != nil {
		return append(mostlyDead[:1:1], tombs...)
	}
	return nil
}

// deadPairs estimates how many pairs of a segment belong to dropped packs.
func (s *Set) deadPairs(seg *segment) (n uint64) {
	if len(s.dropped) == 0 {
		return 0
	}
	for _, slot := range seg.slots {
		if s.dead(seg, slot) {
			n += uint64(s.packs.frames(slot))
		}
	}
	return n
}

// Clean rewrites what is mostly dead and deletes replaced segments that an interrupted rewrite left.
func (s *Set) Clean(ctx context.Context) (n int, err error) {
	s.merge.Lock()
	defer s.merge.Unlock()
	if err := s.compact(ctx); err != nil {
		return 0, err
	}
	for len(s.stale) > 0 {
		if err := s.store.Delete(ctx, s.stale[0].Name()); err != nil && !fault.Is(err, fault.NotFound) {
			return n, err
		}
		s.forgetStale()
		n++
	}
	return n, nil
}

func (s *Set) forgetStale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = s.stale[1:]
}

// rewrite replaces segments by one. merge is held, so that nobody else replaces segments; new ones may be published
// meanwhile.
func (s *Set) rewrite(ctx context.Context, old []*segment) error {
	if len(old) == 0 {
		return nil
	}
	seg, forgotten, err := s.mergeSegments(ctx, old)
	s.mu.Lock()
	if seg != nil {
		delete(s.writing, seg.id)
	}
	if err != nil {
		s.unsure = true
		s.mu.Unlock()
		return err
	}
	s.retire(old)
	for _, d := range forgotten {
		delete(s.drops, d.pack)
		if slot, ok := s.packs.find(d.pack[:]); ok {
			delete(s.dropped, slot)
		}
	}
	err = s.install(seg)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// The new segment is durable and says what it replaces: a crash from here on leaves superseded objects, no damage.
	for len(s.stale) > 0 {
		if err := s.store.Delete(ctx, s.stale[0].Name()); err != nil && !fault.Is(err, fault.NotFound) {
			return nil // Clean tries again
		}
		s.forgetStale()
	}
	return nil
}

// cursor reads a segment's pairs one by one, many blocks at a time.
type cursor struct {
	s    *Set
	seg  *segment
	next uint32 // block
	buf  []byte
	read uint32 // blocks in buf
	i    uint32 // the current block
	rest []byte // of it
	cur  Entry  // with the set's number of the pack
}

// advance moves to the next entry; ok is false at the end.
func (c *cursor) advance(ctx context.Context) (ok bool, err error) {
	for len(c.rest) == 0 {
		if c.i == c.read {
			if c.next == c.seg.blocks() {
				return false, nil
			}
			if err := c.fill(ctx); err != nil {
				return false, err
			}
		}
		c.rest = c.block(c.i)
		c.i++
	}
	c.cur = decodePair(c.rest)
	c.cur.Pack = c.seg.slots[c.cur.Pack]
	c.rest = c.rest[pairSize:]
	return true, nil
}

func (c *cursor) block(i uint32) []byte {
	return c.seg.pairsOf(c.next-c.read+i, c.buf[int(i)*blockSize:][:blockSize])
}

// fill reads the next blocks and checks what they refer to.
func (c *cursor) fill(ctx context.Context) (err error) {
	if c.buf == nil {
		c.buf = make([]byte, min(readAhead, c.seg.blocks())*blockSize)
	}
	if c.read, err = c.seg.readBlocks(ctx, c.s.store, c.s.maint, c.next, c.buf); err != nil {
		return err
	}
	c.next += c.read
	c.i = 0
	c.s.mu.RLock()
	defer c.s.mu.RUnlock()
	for i := range c.read {
		for b := c.block(i); len(b) > 0; b = b[pairSize:] {
			if !c.s.valid(c.seg, decodePair(b)) {
				return corrupt(c.seg.id.Name(), "an entry names a pack or frame that does not exist")
			}
		}
	}
	return nil
}

// mergeSegments writes one segment with the entries of old that count, and what old say about dropped packs, unless nothing
// is left that they could concern: that is returned as forgotten. Memory is a few blocks for each, and the new segment's.
func (s *Set) mergeSegments(ctx context.Context, old []*segment) (seg *segment, forgotten []drop, err error) {
	seg = s.begin()
	defer func() {
		if err != nil {
			seg.release()
		}
	}()
	var total uint64
	s.mu.RLock()
	number := make([]uint32, s.packs.n) // in the new segment, plus one, by the set's
	dead := make([]bool, s.packs.n)
	for _, o := range old {
		total += o.pairs
		for _, slot := range o.slots {
			if number[slot] == 0 && !s.dead(o, slot) {
				seg.slots = append(seg.slots, slot)
				number[slot] = uint32(len(seg.slots))
			}
		}
		seg.replaces = append(seg.replaces, o.id)
		for _, r := range o.replaces { // what is not in the store any more needs no mention
			if slices.Contains(s.stale, r) {
				seg.replaces = append(seg.replaces, r)
			}
		}
	}
	for slot := range s.dropped {
		dead[slot] = true
	}
	seg.packs, seg.table = uint32(len(seg.slots)), newRegion(len(seg.slots)*packLine)
	for i, slot := range seg.slots {
		copy(seg.table.b[i*packLine:], s.packs.line(slot))
	}
	seg.drops, forgotten = s.carry(old)
	s.mu.RUnlock()
	w, err := newSegmentWriter(ctx, s.store, s.maint, seg, total, false)
	if err != nil {
		return seg, nil, err
	}
	defer w.w.Abort()
	var open []*cursor
	for _, o := range old {
		c := &cursor{s: s, seg: o}
		ok, err := c.advance(ctx)
		if err != nil {
			return seg, nil, err
		}
		if ok {
			open = append(open, c)
		}
	}
	var last Entry
	for len(open) > 0 {
		least := 0
		for i := 1; i < len(open); i++ {
			if compare(open[i].cur, open[least].cur) < 0 {
				least = i
			}
		}
		c := open[least]
		e := c.cur
		switch {
		case dead[e.Pack] && s.deadNow(c.seg, e.Pack):
		case w.s.pairs > 0 && e == last: // the same place, known from two segments
		default:
			last = e
			e.Pack = number[e.Pack] - 1
			if err := w.add(e); err != nil {
				return seg, nil, err
			}
		}
		ok, err := c.advance(ctx)
		if err != nil {
			return seg, nil, err
		}
		if !ok {
			open = slices.Delete(open, least, least+1)
		}
	}
	_, err = w.commit(ctx)
	return seg, forgotten, err
}

func (s *Set) deadNow(seg *segment, slot uint32) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.dead(seg, slot)
}

// carry sorts what segments that are being merged say about dropped packs: what the new one must say again, because other
// segments still name the packs or may do so without our knowledge, and what can be forgotten. The caller holds mu.
func (s *Set) carry(old []*segment) (again, forgotten []drop) {
	drops := map[seal.PackID]uint64{}
	for _, o := range old {
		for _, d := range o.drops {
			drops[d.pack] = max(drops[d.pack], d.sequence)
		}
	}
	if len(drops) == 0 {
		return nil, nil
	}
	needed := map[seal.PackID]bool{}
	for _, o := range s.segments {
		if slices.Contains(old, o) {
			continue
		}
		for _, slot := range o.slots {
			if s.dead(o, slot) {
				needed[s.packs.id(slot)] = true
			}
		}
	}
	for id, sequence := range drops {
		switch d := (drop{id, sequence}); {
		case sequence < s.drops[id]: // another segment says so again, of a later time
		case s.unsure || needed[id]:
			again = append(again, d)
		default:
			forgotten = append(forgotten, d)
		}
	}
	slices.SortFunc(again, func(a, b drop) int { return slices.Compare(a.pack[:], b.pack[:]) })
	return again, forgotten
}
