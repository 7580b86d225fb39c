package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

func key(t testing.TB) *seal.Maint {
	t.Helper()
	m, err := seal.NewMaint(bytes.Repeat([]byte{7}, 32), seal.VaultID{1})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func shortID(n uint64) (s seal.Short) {
	r := rand.New(rand.NewPCG(n, 99))
	binary.LittleEndian.PutUint64(s[:], r.Uint64())
	binary.LittleEndian.PutUint64(s[8:], r.Uint64())
	return s
}

// fill publishes per-pack segments: pack p has the ids p*frames … (p+1)*frames-1.
func fill(t testing.TB, s *Set, from, packs, frames int) {
	t.Helper()
	for p := from; p < from+packs; p++ {
		var entries []Entry
		for f := range frames {
			entries = append(entries, Entry{ID: shortID(uint64(p*frames + f)), Frame: uint32(f)})
		}
		info := pack.Info{ID: seal.PackID{byte(p), byte(p >> 8), 1}, Class: pack.ClassData, Frames: uint32(frames), Size: int64(p)}
		if err := s.Publish(context.Background(), entries, []pack.Info{info}); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, s *Set, packs, frames int, dropped func(int) bool) {
	t.Helper()
	for p := range packs {
		for f := range frames {
			e, ok, err := s.Lookup(context.Background(), shortID(uint64(p*frames+f)), func(_, _ uint32) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			if ok == dropped(p) {
				t.Fatalf("pack %d frame %d: found %v", p, f, ok)
			}
			if ok && (e.Frame != uint32(f) || s.Pack(e.Pack).Size != int64(p)) {
				t.Fatalf("pack %d frame %d was found at %+v", p, f, e)
			}
		}
	}
	for n := range 2000 {
		if _, ok, err := s.Lookup(context.Background(), shortID(1<<40+uint64(n)), func(_, _ uint32) bool { return true }); ok || err != nil {
			t.Fatalf("an unknown id was found (%v)", err)
		}
	}
}

func TestEntriesAreFoundInMemoryAndInTheStoreAlsoAfterMergesAndDrops(t *testing.T) {
	t.Parallel()
	for _, budget := range []int{0, 500, 1 << 20} {
		t.Run(fmt.Sprint(budget), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			store, m := mem.New(), key(t)
			s, err := Load(ctx, store, m, budget)
			if err != nil {
				t.Fatal(err)
			}
			const packs, frames = 30, 180
			none := func(int) bool { return false }
			fill(t, s, 0, packs, frames)
			verify(t, s, packs, frames, none)
			if err := s.Compact(ctx); err != nil {
				t.Fatal(err)
			}
			verify(t, s, packs, frames, none)
			odd := func(p int) bool { return p%2 == 1 }
			drop := map[uint32]bool{}
			for p := range packs {
				if odd(p) {
					slot, ok := s.Slot(seal.PackID{byte(p), byte(p >> 8), 1})
					if !ok {
						t.Fatal("a pack is not known")
					}
					drop[slot] = true
				}
			}
			if err := s.Drop(ctx, drop); err != nil {
				t.Fatal(err)
			}
			verify(t, s, packs, frames, odd)
			again, err := Load(ctx, store, m, budget)
			if err != nil {
				t.Fatal(err)
			}
			verify(t, again, packs, frames, odd)
			if len(again.Packs()) != packs/2 {
				t.Fatalf("%d packs are known", len(again.Packs()))
			}
		})
	}
}

func TestAReplacedSegmentThatSurvivesACrashStaysReplaced(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, m := mem.New(), key(t)
	s, _ := Load(ctx, store, m, 100)
	fill(t, s, 0, 10, 50)
	before := store.Clone()
	slot, _ := s.Slot(seal.PackID{3, 0, 1})
	if err := s.Drop(ctx, map[uint32]bool{slot: true}); err != nil {
		t.Fatal(err)
	}
	for _, n := range before.Names() { // as if no deletion had reached the disk
		if store.Bytes(n) == nil {
			store.Damage(n, before.Bytes(n))
		}
	}
	for range 3 {
		s, err := Load(ctx, store, m, 100)
		if err != nil {
			t.Fatal(err)
		}
		verify(t, s, 10, 50, func(p int) bool { return p == 3 })
		if err := s.Compact(ctx); err != nil {
			t.Fatal(err)
		}
		verify(t, s, 10, 50, func(p int) bool { return p == 3 })
		if _, err := s.Clean(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryFlippedByteOfASegmentIsNoticed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, m := mem.New(), key(t)
	s, _ := Load(ctx, store, m, 0)
	fill(t, s, 0, 1, 400)
	name := store.Names()[0]
	good := bytes.Clone(store.Bytes(name))
	for i := 0; i < len(good); i += 1 + i%13 {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		store.Damage(name, bad)
		if _, err := Load(ctx, store, m, 1<<20); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("byte %d of %d: %v", i, len(good), err)
		}
	}
	for _, n := range []int{0, 1, 100, 4096, len(good) - 1} {
		store.Damage(name, good[:n])
		if _, err := Load(ctx, store, m, 1<<20); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
}

func TestTheFilterKnowsAllAndFewOthers(t *testing.T) {
	t.Parallel()
	const n = 100_000
	f := make(filter, filterSize(n))
	for i := range uint64(n) {
		f.add(shortID(i))
	}
	wrong := 0
	for i := range uint64(n) {
		if !f.has(shortID(i)) {
			t.Fatal("the filter forgot an id")
		}
		if f.has(shortID(i + n)) {
			wrong++
		}
	}
	if wrong > n/40 {
		t.Errorf("%d of %d unknown ids pass", wrong, n)
	}
}

func BenchmarkLookupInStore(b *testing.B) {
	ctx := b.Context()
	store, m := mem.New(), key(b)
	s, _ := Load(ctx, store, m, 0)
	fill(b, s, 0, 4, 60_000)
	for i := 0; b.Loop(); i++ {
		if _, ok, _ := s.Lookup(ctx, shortID(uint64(i%240_000)), func(_, _ uint32) bool { return true }); !ok {
			b.Fatal("lost")
		}
	}
}
