package pack

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

func keys(t testing.TB) (*seal.Root, *seal.Maint) {
	t.Helper()
	root, err := seal.NewRoot(bytes.Repeat([]byte{1}, 32), seal.VaultID{1})
	if err != nil {
		t.Fatal(err)
	}
	maint, err := seal.NewMaint(bytes.Repeat([]byte{2}, 32), seal.VaultID{1})
	if err != nil {
		t.Fatal(err)
	}
	return root, maint
}

func data(n int) []byte {
	p := make([]byte, 1+n*997%30_000)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(p)
	return p
}

// write makes a pack of n frames.
func write(t testing.TB, s *mem.Store, n int) Info {
	t.Helper()
	root, maint := keys(t)
	w, err := NewWriter(context.Background(), s, root, maint, ClassData)
	if err != nil {
		t.Fatal(err)
	}
	var scratch []byte
	for i := range n {
		p := data(i)
		h := chunk.Sum(p)
		if k, err := w.Append(h, root.CID(Data, h), Data, chunk.Raw, len(p), p, &scratch); err != nil || k != uint32(i) {
			t.Fatal(k, err)
		}
	}
	info, err := w.Close(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestFramesComeBackFromPacksOfOneAndOfManyGroups(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	for _, n := range []int{1, 2, 700, 2000} {
		s := mem.New()
		info := write(t, s, n)
		if st, _, err := Stat(t.Context(), s, maint, ClassData, info.ID); err != nil || st != info {
			t.Fatalf("%+v, %v", st, err)
		}
		if err := Scrub(t.Context(), s, maint, info, make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDir(t.Context(), s, root, maint, info)
		if err != nil {
			t.Fatal(err)
		}
		if n == 2000 && len(d.groups) < 3 {
			t.Errorf("%d groups", len(d.groups))
		}
		raw := s.Bytes(info.Name())
		for i := range uint32(n) {
			f := d.Frame(i)
			got, err := d.Open(nil, i, f, raw[f.Off:][:f.Len])
			if err != nil || !bytes.Equal(got, data(int(i))) {
				t.Fatalf("frame %d: %v", i, err)
			}
			if _, err := d.Open(nil, i+1, f, raw[f.Off:][:f.Len]); err == nil {
				t.Fatal("a frame opens under another number")
			}
			f.Size++
			if _, err := d.Open(nil, i, f, raw[f.Off:][:f.Len]); err == nil {
				t.Fatal("a frame opens with another size")
			}
		}
	}
}

func TestThePlaintextAndItsHashAreNowhereInThePack(t *testing.T) {
	t.Parallel()
	s := mem.New()
	info := write(t, s, 50)
	raw := s.Bytes(info.Name())
	for i := range 50 {
		p := data(i)
		h := chunk.Sum(p)
		if len(p) >= 16 && bytes.Contains(raw, p[:16]) || bytes.Contains(raw, h[:8]) {
			t.Fatalf("chunk %d shows", i)
		}
	}
}

func TestEveryPartOfAPackIsBoundToItsPlace(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	s := mem.New()
	info := write(t, s, 20)
	good := s.Bytes(info.Name())
	other := write(t, s, 20)
	for name, change := range map[string]func(p []byte){
		"header of another pack": func(p []byte) { copy(p, s.Bytes(other.Name())[:headerSize]) },
		"footer of another pack": func(p []byte) { copy(p[info.FooterOff:], s.Bytes(other.Name())[other.FooterOff:]) },
		"class":                  func(p []byte) { p[10] = ClassMeta },
		"suite":                  func(p []byte) { p[11]++ },
		"vault":                  func(p []byte) { p[16]++ },
		"salt":                   func(p []byte) { p[48]++ },
		"commitment":             func(p []byte) { p[80]++ },
		"reserved byte":          func(p []byte) { p[4000]++ },
	} {
		bad := bytes.Clone(good)
		change(bad)
		m := mem.New()
		m.Damage(info.Name(), bad)
		if _, err := ReadDir(t.Context(), m, root, maint, info); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if err := Scrub(t.Context(), m, maint, info, make([]byte, 4096)); !fault.Is(err, fault.Corrupt) {
			t.Errorf("scrub, %s: %v", name, err)
		}
	}
	foreign, _ := seal.NewRoot(make([]byte, 32), seal.VaultID{1})
	if _, err := ReadDir(t.Context(), s, foreign, maint, info); !fault.Is(err, fault.Corrupt) {
		t.Errorf("another root key: %v", err)
	}
}

func TestPaddingHidesTheSize(t *testing.T) {
	t.Parallel()
	sizes := map[int64]bool{}
	for n := int64(1 << 20); n < 2<<20; n += 1000 {
		p := padded(n)
		if p < n || p > n+n/8 {
			t.Fatalf("%d became %d", n, p)
		}
		sizes[p] = true
	}
	if len(sizes) > 33 {
		t.Errorf("%d sizes remain", len(sizes))
	}
	if p := padded(64<<20 + 1); p > 64<<20+maxPadding {
		t.Errorf("a full pack is padded to %d", p)
	}
}

func BenchmarkAppend(b *testing.B) {
	root, maint := keys(b)
	p := make([]byte, 512<<10)
	h := chunk.Sum(p)
	var scratch []byte
	var w *Writer
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		if i%64 == 0 {
			w, _ = NewWriter(context.Background(), mem.New(), root, maint, ClassData)
		}
		if _, err := w.Append(h, root.CID(Data, h), Data, chunk.Raw, len(p), p, &scratch); err != nil {
			b.Fatal(fmt.Sprint(i), err)
		}
	}
}
