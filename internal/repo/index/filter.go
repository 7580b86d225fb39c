package index

import (
	"encoding/binary"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

// filter is a Bloom filter in cache lines: an id selects a line of 64 bytes and seven bits in it. The ids are already
// uniform, so their bytes serve as hashes. Length 0 or a multiple of 64; an empty filter contains nothing.
type filter []byte

const (
	lineSize = 64
	probes   = 7
)

func newFilter(pairs uint64) filter {
	if pairs == 0 {
		return nil
	}
	return make(filter, (pairs*filterBits/8+lineSize-1)/lineSize*lineSize)
}

func (f filter) valid() error {
	if len(f)%lineSize != 0 {
		return fault.New(fault.Corrupt, "the filter has no whole number of lines")
	}
	return nil
}

// place returns the line of an id and the seed of its bits.
func (f filter) place(id seal.Short) (line []byte, bits uint64) {
	n := uint64(len(f) / lineSize)
	hi := binary.LittleEndian.Uint64(id[8:])
	i := hi % n * lineSize
	return f[i : i+lineSize], binary.LittleEndian.Uint64(id[:8])
}

func (f filter) add(id seal.Short) {
	line, bits := f.place(id)
	for range probes {
		line[bits>>3&63] |= 1 << (bits & 7)
		bits >>= 9
	}
}

func (f filter) has(id seal.Short) bool {
	if len(f) == 0 {
		return false
	}
	line, bits := f.place(id)
	for range probes {
		if line[bits>>3&63]&(1<<(bits&7)) == 0 {
			return false
		}
		bits >>= 9
	}
	return true
}
