// Package chunk decides where data is cut into chunks, and whether a chunk is worth compressing.
//
// Content-defined cutting: a rolling "gear" hash of the last 64 bytes is compared with a mask; where it hits, a chunk ends,
// so that an insertion moves the cuts with the data. Two masks keep the sizes near the average: a stricter one before it, a
// looser one after. The table is derived from a key of the vault, so that sizes do not tell an observer which known file
// was stored; the sizes themselves are never visible in the store.
//
// Cuts are not part of the format: a reader finds the chunks listed in the manifest, and a copy keeps the source's. Only
// deduplication between two backups depends on equal cuts. Start with Cutter.
package chunk

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/blake3"

	"strongroom/internal/repo/seal"
)

// Params bound the sizes of chunks. Avg is a power of two.
type Params struct{ Min, Avg, Max int }

// Default suits files of every kind that are larger than SmallFile. Halving the average saves about a fifth of what
// scattered changes store anew and doubles index and manifests; measured in docs/decisions/0014-chunk-parameters.md.
var Default = Params{Min: 128 << 10, Avg: 512 << 10, Max: 2 << 20}

// MaxSize bounds the plaintext of every chunk, whatever cut it.
const MaxSize = 4 << 20

// Sum is the hash that identifies content.
func Sum(p []byte) seal.Hash { return blake3.Sum256(p) }

// Cutter finds the ends of chunks. Safe for concurrent use.
type Cutter struct {
	p            Params
	table        [256]uint64
	strict, lose uint64
}

// NewCutter derives the table from a key.
func NewCutter(p Params, key [32]byte) *Cutter {
	c := &Cutter{p: p}
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	var raw [256 * 8]byte
	h.Write([]byte("gear table"))
	h.Digest().Read(raw[:])
	for i := range c.table {
		c.table[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	// The upper bits of a gear hash depend on the most bytes.
	n := bits.Len(uint(p.Avg)) - 1
	c.strict = ^uint64(0) << (64 - n - 1)
	c.lose = ^uint64(0) << (64 - n + 2)
	return c
}

// Params returns the sizes.
func (c *Cutter) Params() Params { return c.p }

// Cut returns the length of the first chunk of p: at most Params.Max, and all of p if no cut is found. The caller passes
// at least Params.Max bytes unless the data ends before.
func (c *Cutter) Cut(p []byte) int {
	if len(p) <= c.p.Min {
		return len(p)
	}
	if len(p) > c.p.Max {
		p = p[:c.p.Max]
	}
	i, h := c.p.Min, uint64(0)
	// A cut at Min depends on the 64 bytes before it, as everywhere else.
	for _, b := range p[c.p.Min-64 : c.p.Min] {
		h = h<<1 + c.table[b]
	}
	if i, h = c.scan(p, i, min(c.p.Avg, len(p)), h, c.strict); i < 0 {
		return -i
	}
	if i, _ = c.scan(p, i, len(p), h, c.lose); i < 0 {
		return -i
	}
	return len(p)
}

// scan rolls over p[i:end] and returns minus the position after the first hit, or end.
func (c *Cutter) scan(p []byte, i, end int, h, mask uint64) (int, uint64) {
	table := &c.table
	q := p[i:end]
	for len(q) >= 8 {
		a := q[:8:8]
		h = h<<1 + table[a[0]]
		h1 := h<<1 + table[a[1]]
		h2 := h1<<1 + table[a[2]]
		h3 := h2<<1 + table[a[3]]
		h4 := h3<<1 + table[a[4]]
		h5 := h4<<1 + table[a[5]]
		h6 := h5<<1 + table[a[6]]
		h7 := h6<<1 + table[a[7]]
		if h&mask == 0 || h1&mask == 0 || h2&mask == 0 || h3&mask == 0 || h4&mask == 0 || h5&mask == 0 || h6&mask == 0 || h7&mask == 0 {
			for k, x := range [8]uint64{h, h1, h2, h3, h4, h5, h6, h7} {
				if x&mask == 0 {
					return -(end - len(q) + k + 1), x
				}
			}
		}
		h = h7
		q = q[8:]
	}
	for k, b := range q {
		h = h<<1 + table[b]
		if h&mask == 0 {
			return -(end - len(q) + k + 1), h
		}
	}
	return end, h
}
