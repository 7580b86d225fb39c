package repo

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

const refsMagic = "SRREFS\x00\x01"

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// refsKey names one reference set.
type refsKey struct {
	id         string
	attempt    attempt
	generation uint64
}

func (k refsKey) name() string { return refsName(k.id, k.attempt, k.generation) }

func parseRefsName(name string) (k refsKey, ok bool) {
	id, rest, ok := strings.Cut(strings.TrimPrefix(name, refsPrefix), "/")
	if !ok || len(rest) != 41 {
		return k, false
	}
	k.id = id
	if _, err := hex.Decode(k.attempt[:], []byte(rest[:32])); err != nil {
		return k, false
	}
	g, err := strconv.ParseUint(rest[33:], 16, 64)
	k.generation = g
	return k, err == nil && k.name() == name
}

// encodeRefs makes the object of a reference set. Packs are named by their ids: the index's numbers live in memory only.
func encodeRefs(k refsKey, s *refSet, info func(uint32) pack.Info, maint *seal.Maint) []byte {
	packs := make([]uint32, 0, s.packs())
	for slot := range s.all() {
		packs = append(packs, slot)
	}
	slices.SortFunc(packs, func(a, b uint32) int {
		x, y := info(a).ID, info(b).ID
		return slices.Compare(x[:], y[:])
	})
	var e seal.Encoder
	e.Raw([]byte(refsMagic))
	e.String(k.id)
	e.Raw(k.attempt[:])
	e.Uint(k.generation)
	e.Uint(uint64(len(packs)))
	for _, slot := range packs {
		i := info(slot)
		e.Raw(i.ID[:])
		e.Uint(uint64(i.Frames))
		bits := s.bits(slot)
		if countBits(bits) == int(i.Frames) {
			e.B = append(e.B, 0) // all
			continue
		}
		e.B = append(e.B, 1)
		e.Raw(bits)
	}
	return maint.Wrap(k.name(), e.B)
}

// packRefs is one line of a stored reference set.
type packRefs struct {
	pack   seal.PackID
	frames uint32
	bits   []byte // nil: all
}

// decodeRefs authenticates and reads a reference set.
func decodeRefs(k refsKey, data []byte, maint *seal.Maint) ([]packRefs, error) {
	body, err := maint.Unwrap(k.name(), data)
	if err != nil {
		return nil, err
	}
	if len(body) < len(refsMagic) || string(body[:len(refsMagic)]) != refsMagic {
		return nil, corrupt(k.name(), "this is no reference set")
	}
	d := &seal.Decoder{B: body[len(refsMagic):]}
	if d.String() != k.id || string(d.Raw(16)) != string(k.attempt[:]) || d.Uint() != k.generation {
		d.Fail("it belongs elsewhere")
	}
	out := make([]packRefs, d.Count(18))
	for i := range out {
		p := &out[i]
		copy(p.pack[:], d.Raw(16))
		p.frames = uint32(d.Max(pack.MaxFrames))
		switch d.Max(1) {
		case 1:
			p.bits = d.Raw(int(p.frames+7) / 8)
			if r := p.frames % 8; r != 0 && len(p.bits) > 0 && p.bits[len(p.bits)-1]>>r != 0 {
				d.Fail("a frame that does not exist")
			}
		}
		if i > 0 && slices.Compare(out[i-1].pack[:], p.pack[:]) >= 0 {
			d.Fail("packs out of order")
		}
	}
	if err := d.Done(); err != nil {
		return nil, corrupt(k.name(), "%v", err)
	}
	return out, nil
}

// latestRefs finds the newest generation of the reference set that belongs to a commit record.
func (v *vault) latestRefs(ctx context.Context, r *record) (k refsKey, err error) {
	found := false
	err = v.store.List(ctx, refsPrefix+r.id+"/", func(i blob.Info) error {
		if c, ok := parseRefsName(i.Name); ok && c.attempt == r.attempt && (!found || c.generation > k.generation) {
			k, found = c, true
		}
		return nil
	})
	if err == nil && !found {
		err = corrupt(refsPrefix+r.id, "the reference set of the recovery point is missing")
	}
	return k, err
}

// readRefs reads the newest generation; a Prune may replace it in between.
func (v *vault) readRefs(ctx context.Context, r *record) (k refsKey, data []byte, err error) {
	for range 3 {
		if k, err = v.latestRefs(ctx, r); err != nil {
			return k, nil, err
		}
		if data, err = blob.Get(ctx, v.store, k.name(), maxSmall); !fault.Is(err, fault.NotFound) {
			return k, data, err
		}
	}
	return k, nil, corrupt(k.name(), "the object is missing")
}

// loadRefs reads the reference set of a recovery point. Every pack in it must be known: a set that names unknown packs is
// either an old generation or belongs to a lost pack, and nothing may be concluded from it.
func (v *vault) loadRefs(ctx context.Context, r *record) (*refSet, refsKey, error) {
	k, data, err := v.readRefs(ctx, r)
	if err != nil {
		return nil, k, err
	}
	lines, err := decodeRefs(k, data, v.maint)
	if err != nil {
		return nil, k, err
	}
	s := newRefSet()
	for _, p := range lines {
		slot, ok := v.index.Slot(p.pack)
		if !ok || v.index.Pack(slot).Frames != p.frames {
			return nil, k, corrupt(k.name(), "pack %s is not in the index", p.pack)
		}
		if p.bits == nil {
			s.addAll(slot, p.frames)
		} else {
			s.addBits(slot, p.frames, p.bits)
		}
	}
	return s, k, nil
}
