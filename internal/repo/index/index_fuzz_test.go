package index

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
	"strongroom/test/bound"
)

// FuzzSegment opens a segment, of which every tag is right, and looks up what is in it, from memory and from the store.
func FuzzSegment(f *testing.F) {
	ctx := f.Context()
	m := key(f)
	for _, pairs := range []int{0, 3, 200} {
		store := mem.New()
		set, err := Load(ctx, store, m, 0)
		if err != nil {
			f.Fatal(err)
		}
		fill(f, set, 0, 1, pairs)
		if pairs == 3 {
			slot, _ := set.Slot(set.Pack(0).ID)
			if err := set.Drop(ctx, map[uint32]bool{slot: true}); err != nil {
				f.Fatal(err)
			}
		}
		for _, n := range store.Names() {
			f.Add(store.Bytes(n))
		}
	}
	name := SegmentID{7}.Name()
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		seed := retag(m, name, b)
		store := mem.New()
		store.Damage(name, b)
		bound.Allocation(t, func() {
			s, err := openSegment(ctx, store, m, blob.Info{Name: name, Size: int64(len(b))})
			if err != nil {
				if !fault.Is(err, fault.Corrupt) {
					t.Fatal(err)
				}
				return
			}
			if again := s.footer(m, s.lists()); seed && !bytes.Equal(again, b[len(b)-footerSize:]) {
				t.Fatal("two encodings")
			}
			s.release()
			for _, budget := range []int{0, 1 << 20} {
				set, err := Load(ctx, store, m, budget)
				if err != nil {
					if !fault.Is(err, fault.Corrupt) {
						t.Fatal(err)
					}
					return
				}
				for at := 0; at+pairSize <= min(len(b), 10*pairSize); at += pairSize {
					e := decodePair(b[at:])
					_, _, err := set.Lookup(ctx, e.ID, func(slot, frame uint32) bool {
						set.Pack(slot)
						return frame%2 == 0
					})
					if err != nil && !fault.Is(err, fault.Corrupt) {
						t.Fatal(err)
					}
				}
			}
		})
	})
}

// retag makes the tags right, of the blocks too if the footer lets one tell where they are.
func retag(m *seal.Maint, name string, b []byte) bool {
	if len(b) < footerSize {
		return false
	}
	foot := b[len(b)-footerSize:]
	blocks := (binary.LittleEndian.Uint64(foot[8:]) + perBlock - 1) / perBlock
	if blocks > uint64(len(b)-footerSize)/blockSize {
		return false
	}
	for n := range uint32(blocks) {
		block := b[int(n)*blockSize:][:blockSize]
		tag := m.BlockTag(SegmentID{7}, n, block[:perBlock*pairSize])
		copy(block[perBlock*pairSize:], tag[:])
	}
	copy(foot[footerSize-seal.TagSize:], m.Tag(name, foot[:footerSize-seal.TagSize], b[blocks*blockSize:len(b)-footerSize]))
	return true
}

// FuzzFilter: what was added is found, whatever else is in the filter.
func FuzzFilter(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), uint8(1))
	f.Fuzz(func(t *testing.T, ids []byte, lines uint8) {
		fl := filter(make([]byte, (int(lines)+1)*lineSize))
		for c := range slices.Chunk(ids, 16) {
			if len(c) == 16 {
				fl.add(seal.Short(c))
			}
		}
		for c := range slices.Chunk(ids, 16) {
			if len(c) == 16 && !fl.has(seal.Short(c)) {
				t.Fatal("the filter forgot an id")
			}
		}
		if filter(nil).has(seal.Short{}) {
			t.Fatal("an empty filter knows something")
		}
	})
}
