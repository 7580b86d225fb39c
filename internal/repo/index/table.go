package index

import (
	"encoding/binary"

	"strongroom/internal/repo/seal"
)

// table is a hash table of entries without pointers. The ids are uniform and serve as hashes. An id may be there several
// times, for copies of a chunk in several packs.
type table struct {
	cells []Entry // Frame is stored plus one; 0 marks an empty cell
	n     int
}

func (t *table) index(id seal.Short) int {
	return int(binary.LittleEndian.Uint64(id[:8]) & uint64(len(t.cells)-1))
}

func (t *table) add(e Entry) {
	if 4*(t.n+1) > 3*len(t.cells) {
		t.grow(max(1024, 2*len(t.cells)))
	}
	e.Frame++
	t.put(e)
	t.n++
}

func (t *table) put(e Entry) {
	i := t.index(e.ID)
	for t.cells[i].Frame != 0 {
		i = (i + 1) & (len(t.cells) - 1)
	}
	t.cells[i] = e
}

func (t *table) grow(n int) {
	old := t.cells
	t.cells = make([]Entry, n)
	for _, e := range old {
		if e.Frame != 0 {
			t.put(e)
		}
	}
}

// find offers the entries of an id to take until it says yes.
func (t *table) find(id seal.Short, take func(Entry) bool) bool {
	if len(t.cells) == 0 {
		return false
	}
	for i := t.index(id); t.cells[i].Frame != 0; i = (i + 1) & (len(t.cells) - 1) {
		if t.cells[i].ID == id {
			e := t.cells[i]
			e.Frame--
			if take(e) {
				return true
			}
		}
	}
	return false
}
