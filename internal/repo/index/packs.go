package index

import (
	"encoding/binary"

	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// packLine is the size of a pack in the table of a segment, and in memory.
const packLine = 48

// packsPerPage is how many packs a page of the table in memory holds.
const packsPerPage = 1 << 14

// packTable numbers packs in the order in which it is told of them. It takes about 60 bytes per pack. Numbers are never
// given twice.
type packTable struct {
	pages []*region
	n     uint32
	slots []uint32 // hash table of numbers plus one, by id; pack ids are random and serve as hashes
}

func putPack(b []byte, p pack.Info) {
	clear(b[:packLine])
	copy(b, p.ID[:])
	b[16] = p.Class
	binary.LittleEndian.PutUint32(b[20:], p.Frames)
	binary.LittleEndian.PutUint64(b[24:], uint64(p.Size))
	binary.LittleEndian.PutUint64(b[32:], uint64(p.FooterOff))
	binary.LittleEndian.PutUint32(b[40:], p.FooterLen)
}

func getPack(b []byte) (p pack.Info) {
	copy(p.ID[:], b)
	p.Class = b[16]
	p.Frames = binary.LittleEndian.Uint32(b[20:])
	p.Size = int64(binary.LittleEndian.Uint64(b[24:]))
	p.FooterOff = int64(binary.LittleEndian.Uint64(b[32:]))
	p.FooterLen = binary.LittleEndian.Uint32(b[40:])
	return p
}

func (t *packTable) line(slot uint32) []byte {
	return t.pages[slot/packsPerPage].b[slot%packsPerPage*packLine:][:packLine]
}

func (t *packTable) info(slot uint32) pack.Info { return getPack(t.line(slot)) }

func (t *packTable) frames(slot uint32) uint32 { return binary.LittleEndian.Uint32(t.line(slot)[20:]) }

// find returns the number of a pack.
func (t *packTable) find(id []byte) (slot uint32, ok bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	for i := t.hash(id); t.slots[i] != 0; i = (i + 1) & (len(t.slots) - 1) {
		if slot = t.slots[i] - 1; string(t.line(slot)[:16]) == string(id[:16]) {
			return slot, true
		}
	}
	return 0, false
}

func (t *packTable) hash(id []byte) int {
	return int(binary.LittleEndian.Uint64(id) & uint64(len(t.slots)-1))
}

// number returns the number of a pack, which is added if it is new. ok is false when the pack was told of differently.
func (t *packTable) number(line []byte) (slot uint32, ok bool) {
	if slot, ok = t.find(line); ok {
		return slot, string(t.line(slot)) == string(line[:packLine])
	}
	if 4*(int(t.n)+1) > 3*len(t.slots) {
		t.slots = make([]uint32, max(64, 2*len(t.slots)))
		for s := range t.n {
			t.place(s)
		}
	}
	slot = t.n
	if int(slot/packsPerPage) == len(t.pages) {
		size := packsPerPage * packLine
		t.pages = append(t.pages, newRegion(size))
	}
	t.n++
	copy(t.line(slot), line[:packLine])
	t.place(slot)
	return slot, true
}

func (t *packTable) place(slot uint32) {
	i := t.hash(t.line(slot))
	for t.slots[i] != 0 {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = slot + 1
}

// id returns the id of a pack.
func (t *packTable) id(slot uint32) seal.PackID { return seal.PackID(t.line(slot)[:16]) }
