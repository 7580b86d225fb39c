package repo

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// A refSet must say the same as a plain map, whatever is done to it in whatever order.
func TestARefSetIsTheSetThatAMapWouldBe(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		packs := []int{3, 300, 5000}[seed%3]
		frames := make([]uint32, packs)
		for i := range frames {
			frames[i] = 1 + r.Uint32N([]uint32{9, 300, 65535}[r.IntN(3)])
		}
		set, other := newRefSet(), newRefSet()
		want, wantOther := map[framePlace]bool{}, map[framePlace]bool{}
		for range 400 {
			slot := r.Uint32N(uint32(packs))
			n := frames[slot]
			switch r.IntN(6) {
			case 0:
				other.add(slot, n-1, n)
				wantOther[framePlace{slot, n - 1}] = true
			case 1:
				set.remove(slot)
				for f := range n {
					delete(want, framePlace{slot, f})
				}
			case 2:
				if n < 400 {
					set.addAll(slot, n)
					for f := range n {
						want[framePlace{slot, f}] = true
					}
				}
			default:
				f := r.Uint32N(n)
				set.add(slot, f, n)
				want[framePlace{slot, f}] = true
			}
		}
		if seed%2 == 0 {
			set.union(other)
			for k := range wantOther {
				want[k] = true
			}
		}
		if set.total() != int64(len(want)) {
			t.Fatalf("seed %d: %d frames, not %d", seed, set.total(), len(want))
		}
		last, count := -1, 0
		for slot, bits := range set.all() {
			if int(slot) <= last {
				t.Fatal("out of order")
			}
			last = int(slot)
			count++
			if !bytes.Equal(bits, set.bits(slot)) || set.frames(slot) != frames[slot] || countBits(bits) != len(framesOf(bits)) {
				t.Fatal("two views of one pack")
			}
			for _, f := range framesOf(bits) {
				if !want[framePlace{slot, f}] || !set.has(slot, f) {
					t.Fatalf("seed %d: pack %d frame %d should not be there", seed, slot, f)
				}
			}
		}
		if count != set.packs() {
			t.Fatalf("%d packs, not %d", set.packs(), count)
		}
	}
	var none *refSet
	if none.has(1, 2) || none.packs() != 0 || none.total() != 0 || len(slices.Collect(func(y func(uint32) bool) {
		for s := range none.all() {
			y(s)
		}
	})) != 0 {
		t.Fatal("nil is not empty")
	}
}
