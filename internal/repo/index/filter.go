package index

import (
	"encoding/binary"
	"math/bits"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

// filter is a Bloom filter in cache lines: the first half of an id selects a line of 64 bytes, the second half seven bits in
// it. The ids are already uniform, so their bytes serve as hashes. Lines have the order of the ids: a sorted run fills the
// filter from its beginning to its end. Length 0 or a multiple of 64; an empty filter contains nothing.
type filter []byte

const (
	lineSize = 64
	probes   = 7
)

// filterSize returns the size of a filter for so many pairs.
func filterSize(pairs uint64) int {
	return int((pairs*filterBits/8 + lineSize - 1) / lineSize * lineSize)
}

func (f filter) valid() error {
	if len(f)%lineSize != 0 {
		return fault.New(fault.Corrupt, "the filter has no whole number of lines")
	}
	return nil
}

// place returns the line of an id and the seed of its bits.
func (f filter) place(id seal.Short) (line []byte, seed uint64) {
	n, _ := bits.Mul64(binary.BigEndian.Uint64(id[:8]), uint64(len(f)/lineSize))
	return f[n*lineSize:][:lineSize], binary.LittleEndian.Uint64(id[8:])
}

func (f filter) add(id seal.Short) {
	line, seed := f.place(id)
	for range probes {
		line[seed>>3&63] |= 1 << (seed & 7)
		seed >>= 9
	}
}

func (f filter) has(id seal.Short) bool {
	if len(f) == 0 {
		return false
	}
	line, seed := f.place(id)
	for range probes {
		if line[seed>>3&63]&(1<<(seed&7)) == 0 {
			return false
		}
		seed >>= 9
	}
	return true
}
