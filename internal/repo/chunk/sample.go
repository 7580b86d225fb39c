package chunk

import (
	"github.com/klauspost/compress/zstd"
)

// Algorithms of a stored chunk. Values are part of the format.
const (
	Raw  byte = 0
	Zstd byte = 1
)

const (
	sampleFrom = 32 << 10 // smaller chunks are simply tried
	sampleSize = 4 << 10
)

// Codec compresses and decompresses chunks. Each is for one goroutine at a time.
type Codec struct {
	enc    *zstd.Encoder
	dec    *zstd.Decoder
	sample []byte
	try    []byte
}

// NewCodec returns a codec. It keeps buffers, so it is worth reusing.
func NewCodec() *Codec {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err) // the options are constant
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxSize), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecodeAllCapLimit(true), zstd.IgnoreChecksum(true))
	if err != nil {
		panic(err)
	}
	return &Codec{enc: enc, dec: dec}
}

// Compress appends the compressed chunk to dst and returns it, or returns p itself as Raw when less than a thirtieth would
// be saved. What does not look compressible at three places is not tried.
func (c *Codec) Compress(dst, p []byte) ([]byte, byte) {
	if len(p) >= sampleFrom && !c.compressible(p) {
		return p, Raw
	}
	out := c.enc.EncodeAll(p, dst)
	if len(out)-len(dst) >= len(p)-len(p)/30 {
		return p, Raw
	}
	return out, Zstd
}

// compressible compresses three samples. Compressing them is a better test than counting bytes: it sees repeated strings.
func (c *Codec) compressible(p []byte) bool {
	mid := len(p)/2 - sampleSize/2
	c.sample = append(c.sample[:0], p[:sampleSize]...)
	c.sample = append(c.sample, p[mid:mid+sampleSize]...)
	c.sample = append(c.sample, p[len(p)-sampleSize:]...)
	c.try = c.enc.EncodeAll(c.sample, c.try[:0])
	return len(c.try) < len(c.sample)-len(c.sample)/40
}

// Decompress appends the n bytes of a stored chunk to dst, whose capacity must suffice. It returns false when the stored
// bytes do not decode to exactly n bytes. They must have been authenticated.
func (c *Codec) Decompress(dst, stored []byte, alg byte, n int) ([]byte, bool) {
	switch alg {
	case Raw:
		return append(dst, stored...), len(stored) == n
	case Zstd:
		if n > MaxSize || cap(dst)-len(dst) < n {
			return dst, false
		}
		// The capacity limits the output, so that a lying frame cannot make the decoder allocate.
		out, err := c.dec.DecodeAll(stored, dst[:len(dst):len(dst)+n])
		return out, err == nil && len(out)-len(dst) == n
	}
	return dst, false
}
