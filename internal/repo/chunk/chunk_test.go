package chunk

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"strongroom/test/bound"
)

func noise(n int, seed byte) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func cuts(c *Cutter, p []byte) (ends []int) {
	for off := 0; off < len(p); {
		off += c.Cut(p[off:])
		ends = append(ends, off)
	}
	return ends
}

func TestSizesStayInBoundsAndNearTheAverage(t *testing.T) {
	t.Parallel()
	c := NewCutter(Default, [32]byte{1})
	data := noise(64<<20, 1)
	last := 0
	ends := cuts(c, data)
	for i, e := range ends {
		if n := e - last; n > Default.Max || n < Default.Min && i != len(ends)-1 {
			t.Fatalf("chunk %d has %d bytes", i, n)
		}
		last = e
	}
	if avg := len(data) / len(ends); avg < Default.Avg*7/10 || avg > Default.Avg*14/10 {
		t.Errorf("the average is %d", avg)
	}
}

func TestCutsFollowTheContentAfterAnInsertion(t *testing.T) {
	t.Parallel()
	c := NewCutter(Default, [32]byte{1})
	data := noise(32<<20, 2)
	changed := slices.Concat(data[:10<<20], []byte("inserted"), data[10<<20:])
	seen := map[int]bool{}
	for _, e := range cuts(c, data) {
		seen[e] = true
	}
	lost := 0
	for _, e := range cuts(c, changed) {
		if e > 10<<20 {
			e -= 8
		}
		if !seen[e] {
			lost++
		}
	}
	if lost > 6 {
		t.Errorf("%d cuts were not found again", lost)
	}
}

func TestAnotherKeyCutsElsewhere(t *testing.T) {
	t.Parallel()
	data := noise(8<<20, 3)
	a, b := cuts(NewCutter(Default, [32]byte{1}), data), cuts(NewCutter(Default, [32]byte{2}), data)
	same := 0
	for _, e := range a {
		if slices.Contains(b, e) {
			same++
		}
	}
	if same > 1 { // the end
		t.Errorf("%d of %d cuts are equal", same, len(a))
	}
}

func TestCompressedChunksComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := NewCodec()
		var data []byte
		for range rapid.IntRange(0, 8).Draw(t, "parts") {
			part := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "part")
			data = append(data, bytes.Repeat(part, rapid.IntRange(1, 3000).Draw(t, "times"))...)
		}
		if rapid.Bool().Draw(t, "noise") {
			data = append(data, noise(100_000, 9)...)
		}
		stored, alg := c.Compress(nil, data)
		if len(stored) > len(data) {
			t.Fatalf("%d bytes grew to %d", len(data), len(stored))
		}
		got, ok := c.Decompress(make([]byte, 0, len(data)), stored, alg, len(data))
		if !ok || !bytes.Equal(got, data) {
			t.Fatal("the chunk came back differently")
		}
		if len(data) > 0 {
			if _, ok := c.Decompress(make([]byte, 0, len(data)), stored, alg, len(data)-1); ok {
				t.Fatal("a wrong length was accepted")
			}
		}
	})
}

func TestNoiseIsNotCompressed(t *testing.T) {
	t.Parallel()
	if _, alg := NewCodec().Compress(nil, noise(1<<20, 4)); alg != Raw {
		t.Error("noise was compressed")
	}
	if _, alg := NewCodec().Compress(nil, bytes.Repeat([]byte("text "), 1<<16)); alg != Zstd {
		t.Error("text was not compressed")
	}
}

func FuzzDecompress(f *testing.F) {
	c := NewCodec()
	for _, p := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("ab"), 5000), noise(1000, 5)} {
		stored, alg := c.Compress(nil, p)
		f.Add(stored, alg, len(p))
	}
	room := make([]byte, 0, MaxSize)
	f.Fuzz(func(t *testing.T, stored []byte, alg byte, n int) {
		if n < 0 || n > MaxSize {
			return
		}
		bound.Allocation(t, func() {
			out, ok := c.Decompress(room[:0:n], stored, alg, n)
			if ok && len(out) != n {
				t.Fatalf("%d bytes instead of %d", len(out), n)
			}
		})
	})
}

func BenchmarkCut(b *testing.B) {
	c := NewCutter(Default, [32]byte{1})
	data := noise(16<<20, 6)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		cuts(c, data)
	}
}

func BenchmarkSum(b *testing.B) {
	data := noise(512<<10, 6)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		Sum(data)
	}
}
