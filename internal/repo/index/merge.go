package index

import (
	"context"
	"slices"

	"strongroom/internal/repo/pack"
)

// cursor reads a segment's entries one by one, a few blocks at a time.
type cursor struct {
	s    *Set
	seg  *segment
	next uint32 // block
	buf  []Entry
	i    int
	tmp  [blockSize]byte
}

// peek returns the current entry, or false at the end.
func (c *cursor) peek(ctx context.Context) (Entry, bool, error) {
	if c.i == len(c.buf) {
		if c.next == c.seg.blocks() {
			return Entry{}, false, nil
		}
		pairs, err := c.seg.readBlock(ctx, c.s.store, c.s.maint, c.next, c.tmp[:])
		if err != nil {
			return Entry{}, false, err
		}
		c.next++
		c.buf, c.i = c.buf[:0], 0
		for ; len(pairs) > 0; pairs = pairs[pairSize:] {
			e := decodePair(pairs)
			if int(e.Pack) >= len(c.seg.slots) {
				return Entry{}, false, corrupt(c.seg.id.Name(), "an entry names a pack that does not exist")
			}
			e.Pack = c.seg.slots[e.Pack]
			c.buf = append(c.buf, e)
		}
	}
	return c.buf[c.i], true, nil
}

// mergeSegments writes one segment with the entries of old, without those in packs to drop. Memory is one block each.
func (s *Set) mergeSegments(ctx context.Context, old []*segment, drop map[uint32]bool) (*segment, error) {
	var packs []pack.Info
	var replaces []SegmentID
	var total uint64
	number := map[uint32]uint32{} // in the new segment, by the set's
	cursors := make([]*cursor, len(old))
	for i, seg := range old {
		cursors[i] = &cursor{s: s, seg: seg}
		replaces = append(replaces, seg.id)
		replaces = append(replaces, seg.replaces...) // they may still be in the store
		total += seg.pairs
		for k, slot := range seg.slots {
			if _, ok := number[slot]; !ok && !drop[slot] {
				number[slot] = uint32(len(packs))
				packs = append(packs, seg.packs[k])
			}
		}
	}
	// What is neither merged now nor still in the store needs no mention any more.
	replaces = slices.DeleteFunc(replaces, func(id SegmentID) bool {
		return !slices.Contains(s.stale, id) && !slices.ContainsFunc(old, func(o *segment) bool { return o.id == id })
	})
	w, err := newSegmentWriter(ctx, s.store, s.maint, newSegmentID(), total, packs, replaces)
	if err != nil {
		return nil, err
	}
	var last Entry
	for {
		var best *cursor
		var low Entry
		for _, c := range cursors {
			e, ok, err := c.peek(ctx)
			if err != nil {
				w.w.Abort()
				return nil, err
			}
			if ok && (best == nil || compare(e, low) < 0) {
				best, low = c, e
			}
		}
		if best == nil {
			return w.commit(ctx)
		}
		best.i++
		n, ok := number[low.Pack]
		if !ok {
			continue
		}
		if low == last && w.s.pairs > 0 {
			continue // the same place, known from two segments
		}
		last = low
		low.Pack = n
		if err := w.add(low); err != nil {
			w.w.Abort()
			return nil, err
		}
	}
}
