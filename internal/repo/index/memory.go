package index

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// region is memory for what an index keeps for long and reads at random: filters, tables, pairs. A large one lies outside
// the Go heap, where the collector would let twice as much garbage come together for every byte of it, and where memory that
// a merge has made superfluous would stay until a collection.
type region struct {
	b       []byte
	cleanup runtime.Cleanup
	mapped  bool
}

// mapAt is the size from which a region is a mapping of its own.
const mapAt = 256 << 10

// newRegion returns a region of n zero bytes.
func newRegion(n int) *region {
	if n < mapAt {
		return &region{b: make([]byte, n)}
	}
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return &region{b: make([]byte, n)}
	}
	r := &region{b: b, mapped: true}
	// Whoever forgets a region gives it back all the same.
	r.cleanup = runtime.AddCleanup(r, func(b []byte) { unix.Munmap(b) }, b)
	return r
}

// release gives the memory back at once. Nobody may hold a part of it any more. It may be called twice, and on nil.
func (r *region) release() {
	if r == nil {
		return
	}
	b := r.b
	r.b = nil
	if r.mapped {
		r.mapped = false
		r.cleanup.Stop()
		unix.Munmap(b)
	}
}
