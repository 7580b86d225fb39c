package seal

import (
	"encoding/binary"

	"strongroom/internal/fault"
)

// Encoder appends the primitive values of the format's small records. All integers are minimal unsigned varints (signed
// ones zigzag-mapped); byte strings carry their length.
type Encoder struct{ B []byte }

// Uint appends an unsigned integer.
func (e *Encoder) Uint(v uint64) { e.B = binary.AppendUvarint(e.B, v) }

// Int appends a signed integer.
func (e *Encoder) Int(v int64) { e.B = binary.AppendVarint(e.B, v) }

// Bool appends 0 or 1.
func (e *Encoder) Bool(v bool) {
	if v {
		e.B = append(e.B, 1)
	} else {
		e.B = append(e.B, 0)
	}
}

// Bytes appends a byte string with its length.
func (e *Encoder) Bytes(p []byte) {
	e.Uint(uint64(len(p)))
	e.B = append(e.B, p...)
}

// String appends a string with its length.
func (e *Encoder) String(s string) {
	e.Uint(uint64(len(s)))
	e.B = append(e.B, s...)
}

// Raw appends bytes whose length the reader knows.
func (e *Encoder) Raw(p []byte) { e.B = append(e.B, p...) }

// Decoder reads what an Encoder wrote. After the first fault every read yields zero values; Done returns the fault. It
// accepts exactly one encoding of each value and never allocates more than the input is long.
type Decoder struct {
	B   []byte
	err error
}

// Fail records a fault, the first one wins.
func (d *Decoder) Fail(reason string) {
	if d.err == nil {
		d.err = fault.New(fault.Corrupt, "malformed record: %s", reason)
		d.B = nil
	}
}

// Err returns the fault so far.
func (d *Decoder) Err() error { return d.err }

// Done returns the fault, or one for bytes left over.
func (d *Decoder) Done() error {
	if d.err == nil && len(d.B) > 0 {
		d.Fail("bytes after the end")
	}
	return d.err
}

// Uint reads an unsigned integer.
func (d *Decoder) Uint() uint64 {
	if len(d.B) > 0 && d.B[0] < 0x80 {
		v := d.B[0]
		d.B = d.B[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.B)
	if n <= 0 || d.B[n-1] == 0 {
		d.Fail("bad integer")
		return 0
	}
	d.B = d.B[n:]
	return v
}

// Max reads an unsigned integer of at most limit.
func (d *Decoder) Max(limit uint64) uint64 {
	v := d.Uint()
	if v > limit {
		d.Fail("value out of range")
		return 0
	}
	return v
}

// Count reads a number of items of at least size bytes each; more than the input can hold is a fault.
func (d *Decoder) Count(size int) int {
	return int(d.Max(uint64(len(d.B) / max(size, 1))))
}

// Int reads a signed integer.
func (d *Decoder) Int() int64 {
	v := d.Uint()
	return int64(v>>1) ^ -int64(v&1)
}

// Bool reads 0 or 1.
func (d *Decoder) Bool() bool { return d.Max(1) == 1 }

// Bytes reads a byte string; the result aliases the input.
func (d *Decoder) Bytes() []byte { return d.Raw(d.Count(1)) }

// String reads a string.
func (d *Decoder) String() string { return string(d.Bytes()) }

// Raw reads n bytes; the result aliases the input.
func (d *Decoder) Raw(n int) []byte {
	if n < 0 || n > len(d.B) {
		d.Fail("too short")
		return nil
	}
	p := d.B[:n:n]
	d.B = d.B[n:]
	return p
}

// Hash reads 32 bytes.
func (d *Decoder) Hash() (h Hash) {
	copy(h[:], d.Raw(len(h)))
	return h
}
