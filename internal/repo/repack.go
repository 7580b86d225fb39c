package repo

import (
	"context"

	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

const (
	// smallPack and manySmall: that many packs below that size are rewritten into few large ones.
	smallPack = pack.Target / 4
	manySmall = 16
	// maxRepack bounds the work of one run; the next goes on.
	maxRepack = 64 << 30
)

// repack moves the needed chunks of packs that are mostly dead, or small, into new packs, and lets the reference sets
// point there. It returns the packs that nobody needs any more. Everything stays readable at every moment: the new packs
// and their index come first, then the reference sets, one recovery point at a time; the old packs go by the same rules as
// all others.
func (p *pruning) repack(ctx context.Context) ([]uint32, error) {
	if p.r.root == nil || p.o.RepackDead < 0 {
		return nil, nil
	}
	pin := p.r.v.begin()
	defer pin.end()
	chosen, err := p.choose(ctx)
	if err != nil || len(chosen) == 0 || p.o.DryRun {
		return nil, err
	}
	s := p.r.newSink(pin)
	defer s.abort()
	moved := map[framePlace]seal.Short{}
	w := newRunReader(p.r)
	defer w.close()
	for _, slot := range chosen {
		frames := framesOf(p.live.bits(slot))
		err := w.sealed(ctx, slot, frames, func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error {
			// Verified before it is sealed anew: damage must stay where a scrub finds it.
			if _, err := p.r.unpack(d, frames[i], f, sealed, &w.s, w.codec); err != nil {
				return err
			}
			moved[framePlace{slot, frames[i]}] = f.CID.Short()
			return s.store(ctx, f.Hash, f.CID, f.Kind, f.Alg, f.Size, w.s.stored)
		})
		if err != nil {
			return nil, err
		}
	}
	if _, err := s.finish(ctx); err != nil {
		return nil, err
	}
	p.report.RepackedPacks, p.report.RepackedBytes = len(chosen), s.storedBytes.Load()
	to, err := p.destinations(ctx, s, moved)
	if err != nil {
		return nil, err
	}
	for _, rec := range p.recs {
		if err := p.redirect(ctx, rec, chosen, to); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// choose returns the packs that are worth rewriting.
func (p *pruning) choose(ctx context.Context) (chosen []uint32, err error) {
	limit := p.o.RepackDead
	if limit == 0 {
		limit = 0.4
	}
	var small []uint32
	var total int64
	for _, slot := range p.slots {
		if p.live.bits(slot) == nil {
			continue
		}
		info := p.r.v.index.Pack(slot)
		d, err := p.r.dirs.get(ctx, info)
		if err != nil {
			return nil, err
		}
		var need, all int64
		for n := range info.Frames {
			f := d.Frame(n)
			all += int64(f.Len)
			if p.live.has(slot, n) {
				need += int64(f.Len)
			}
		}
		if total+need > maxRepack {
			break
		}
		switch {
		case float64(all-need) >= limit*float64(all):
			chosen = append(chosen, slot)
			total += need
		case info.Size < smallPack:
			small = append(small, slot)
		}
	}
	if len(small) >= manySmall {
		chosen = append(chosen, small...)
	}
	return chosen, nil
}

// destinations finds where the moved chunks are now.
func (p *pruning) destinations(ctx context.Context, s *sink, moved map[framePlace]seal.Short) (map[framePlace]framePlace, error) {
	own := map[uint32]bool{}
	for _, i := range s.own {
		if slot, ok := p.r.v.index.Slot(i.ID); ok {
			own[slot] = true
		}
	}
	to := make(map[framePlace]framePlace, len(moved))
	for from, id := range moved {
		e, ok, err := p.r.v.index.Lookup(ctx, id, func(slot, _ uint32) bool { return own[slot] })
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, corrupt(p.r.v.index.Pack(from.slot).Name(), "a chunk got lost while it was moved")
		}
		to[from] = framePlace{e.Pack, e.Frame}
	}
	return to, nil
}

// redirect writes the next generation of a reference set, if it names moved chunks.
func (p *pruning) redirect(ctx context.Context, rec *record, chosen []uint32, to map[framePlace]framePlace) error {
	refs, key, err := p.r.v.loadRefs(ctx, rec)
	if err != nil {
		return err
	}
	changed := false
	for _, slot := range chosen {
		bits := refs.bits(slot)
		if bits == nil {
			continue
		}
		changed = true
		refs.remove(slot)
		for _, n := range framesOf(bits) {
			t, ok := to[framePlace{slot, n}]
			if !ok {
				return corrupt(key.name(), "it names a chunk that was not there before")
			}
			refs.add(t.slot, t.frame, p.r.v.index.Pack(t.slot).Frames)
		}
	}
	if !changed {
		return nil
	}
	key.generation++
	return p.r.store.Put(ctx, key.name(), encodeRefs(key, refs, p.r.v.index.Pack, p.r.maint))
}
