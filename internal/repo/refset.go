package repo

import (
	"encoding/binary"
	"iter"
	"math/bits"
)

const (
	refPageSlots = 1 << 10 // packs per page of the table
	refSlabSize  = 1 << 20 // bytes that bit maps are cut from
)

// refSet is a set of frames: for each pack, by its number in the index, one bit per frame. It takes a bit per frame and a
// few bytes per pack, without a pointer or an allocation of its own for each, so that a set of everything in a vault of
// 10^8 chunks fits into 25 MB, and one of a few packs into a few KB. A pack that is in the set has at least one frame in it.
//
// nil is an empty set that nothing can be added to. Reading may happen concurrently, changing not.
type refSet struct {
	pages []*[refPageSlots]uint32 // by number: where the pack's bit map begins, plus one; 0: none
	slabs [][]byte                // of refSlabSize; a bit map is the number of frames (u32), then the bits
	used  int                     // of the last slab
	count int                     // packs
}

func newRefSet() *refSet { return &refSet{} }

// bits returns the bit map of a pack, lowest bit first, or nil when no frame of it is in the set. It belongs to the set.
func (s *refSet) bits(slot uint32) []byte {
	if s == nil || int(slot/refPageSlots) >= len(s.pages) || s.pages[slot/refPageSlots] == nil {
		return nil
	}
	at := s.pages[slot/refPageSlots][slot%refPageSlots]
	if at == 0 {
		return nil
	}
	b := s.slabs[(at-1)/refSlabSize][(at-1)%refSlabSize:]
	n := bitMapSize(binary.LittleEndian.Uint32(b))
	return b[4 : 4+n : 4+n]
}

func bitMapSize(frames uint32) int { return int(frames+7) / 8 }

// room returns the bit map of a pack that has frames frames, an empty one if it has none yet: the caller adds to it.
func (s *refSet) room(slot, frames uint32) []byte {
	if b := s.bits(slot); b != nil {
		return b
	}
	for int(slot/refPageSlots) >= len(s.pages) {
		s.pages = append(s.pages, nil)
	}
	page := s.pages[slot/refPageSlots]
	if page == nil {
		page = new([refPageSlots]uint32)
		s.pages[slot/refPageSlots] = page
	}
	n := 4 + bitMapSize(frames)
	// The first slab grows like any slice, so that a small set stays small.
	last := len(s.slabs) - 1
	if last < 0 || s.used+n > refSlabSize {
		s.slabs = append(s.slabs, nil)
		s.used = 0
		last++
	}
	if need := s.used + n; need > len(s.slabs[last]) {
		size := refSlabSize
		if last == 0 {
			size = min(refSlabSize, max(256, 2*need))
		}
		grown := make([]byte, size)
		copy(grown, s.slabs[last])
		s.slabs[last] = grown
	}
	b := s.slabs[last][s.used : s.used+n : s.used+n]
	binary.LittleEndian.PutUint32(b, frames)
	page[slot%refPageSlots] = uint32(last*refSlabSize+s.used) + 1
	s.used += n
	s.count++
	return b[4:]
}

// add marks one frame of a pack that has frames frames.
func (s *refSet) add(slot, frame, frames uint32) {
	s.room(slot, frames)[frame/8] |= 1 << (frame % 8)
}

// addAll marks every frame of a pack.
func (s *refSet) addAll(slot, frames uint32) {
	b := s.room(slot, frames)
	for i := range b {
		b[i] = 0xff
	}
	if r := frames % 8; r != 0 {
		b[len(b)-1] = 1<<r - 1
	}
}

// addBits marks the frames of a bit map.
func (s *refSet) addBits(slot, frames uint32, set []byte) {
	b := s.room(slot, frames)
	for i := range b {
		b[i] |= set[i]
	}
}

// union adds another set.
func (s *refSet) union(o *refSet) {
	for slot, b := range o.all() {
		s.addBits(slot, o.frames(slot), b)
	}
}

// frames returns how many frames a pack of the set has.
func (s *refSet) frames(slot uint32) uint32 {
	at := s.pages[slot/refPageSlots][slot%refPageSlots] - 1
	return binary.LittleEndian.Uint32(s.slabs[at/refSlabSize][at%refSlabSize:])
}

// remove takes a pack out.
func (s *refSet) remove(slot uint32) {
	if s.bits(slot) != nil {
		s.pages[slot/refPageSlots][slot%refPageSlots] = 0
		s.count--
	}
}

// has reports whether a frame is in the set.
func (s *refSet) has(slot, frame uint32) bool {
	b := s.bits(slot)
	return b != nil && b[frame/8]&(1<<(frame%8)) != 0
}

// all yields the packs, by ascending number, with their bit maps.
func (s *refSet) all() iter.Seq2[uint32, []byte] {
	return func(yield func(uint32, []byte) bool) {
		if s == nil {
			return
		}
		for i, page := range s.pages {
			if page == nil {
				continue
			}
			for k, at := range page {
				if slot := uint32(i*refPageSlots + k); at != 0 && !yield(slot, s.bits(slot)) {
					return
				}
			}
		}
	}
}

// packs returns how many packs are in the set.
func (s *refSet) packs() int {
	if s == nil {
		return 0
	}
	return s.count
}

// total returns how many frames are in the set.
func (s *refSet) total() (n int64) {
	for _, b := range s.all() {
		n += int64(countBits(b))
	}
	return n
}

func countBits(b []byte) (n int) {
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}

// framesOf lists the frames of a bit map.
func framesOf(set []byte) (frames []uint32) {
	for i, b := range set {
		for ; b != 0; b &= b - 1 {
			frames = append(frames, uint32(8*i+bits.TrailingZeros8(b)))
		}
	}
	return frames
}
