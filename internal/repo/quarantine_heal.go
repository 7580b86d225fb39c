package repo

import (
	"context"
	"errors"
	"maps"
	"slices"

	"strongroom/internal/fault"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// maxHeal bounds the memory of one run of heal; the next goes on.
const maxHeal = 1 << 20

// heal lets the reference sets that name damaged frames name intact copies of the same chunks instead. There are such copies
// when another recovery point brought the content again, as it does from the moment that the frame is in quarantine. Readers
// find them anyway; but only what a reference set names is safe from Prune.
//
// The copies count as needed in this run, whether the reference sets can be written anew (that takes the root key, because each
// copy is read before a recovery point comes to rest on it) or not. everywhere takes copies in the trash too: the caller takes
// out of it what is needed. The caller holds the vault's prune lock and has marked.
func (p *pruning) heal(ctx context.Context, everywhere bool) error {
	bad := p.r.v.health.common(p.live)
	if bad == nil {
		return nil
	}
	pin := p.r.v.begin()
	defer pin.end()
	to, err := p.r.copies(ctx, pin, bad, everywhere)
	if err != nil {
		return err
	}
	if p.r.root != nil && !p.o.DryRun {
		if err := p.r.proved(ctx, to); err != nil {
			return err
		}
		if len(to) > 0 {
			p.marks.partly = true
			if err := p.marks.redirect(ctx, healed(to), to); err != nil {
				return err
			}
			// What is needed now is what the new generations say.
			if err := p.mark(ctx); err != nil {
				return err
			}
			p.r.log.Info("damaged chunks were replaced by copies that came with later recovery points", "chunks", len(to))
		}
	}
	for _, t := range to {
		p.live.add(t.slot, t.frame, p.r.v.index.Pack(t.slot).Frames)
	}
	if everywhere && !p.o.DryRun {
		p.r.v.pardon(p.live)
	}
	return nil
}

// healed returns the packs that frames were replaced in.
func healed(to map[framePlace]framePlace) []uint32 {
	slots := map[uint32]bool{}
	for from := range to {
		slots[from.slot] = true
	}
	return slices.Sorted(maps.Keys(slots))
}

// healNow is heal for when a session has brought back chunks that are in quarantine. It does nothing while a Prune is running,
// which does it itself, or the next one.
func (r *Repository) healNow(ctx context.Context) error {
	if !r.v.prune.TryLock() {
		return nil
	}
	defer r.v.prune.Unlock()
	p := &pruning{r: r, now: r.clock.Now()}
	r.v.look()
	defer r.v.giveUp()
	defer r.v.refs.look()()
	if err := p.mark(ctx); err != nil {
		return err
	}
	return p.heal(ctx, false)
}

// copies finds intact places of the chunks in damaged frames. Which chunk a frame held says the index, so that no key is needed
// and the pack may be unreadable; it is read from end to end once.
func (r *Repository) copies(ctx context.Context, pin *pin, bad *refSet, everywhere bool) (map[framePlace]framePlace, error) {
	held := map[framePlace]seal.Short{}
	errFull := errors.New("enough for one run")
	err := r.v.index.Each(ctx, func(e index.Entry) error {
		if len(held) == maxHeal {
			return errFull
		}
		if bad.has(e.Pack, e.Frame) {
			held[framePlace{e.Pack, e.Frame}] = e.ID
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFull) {
		return nil, err
	}
	to := map[framePlace]framePlace{}
	for from, id := range held {
		e, ok, err := r.v.index.Lookup(ctx, id, pin.sees)
		if err == nil && !ok && everywhere {
			e, ok, err = r.v.index.Lookup(ctx, id, func(slot, frame uint32) bool { return !r.v.health.damaged(slot, frame) })
		}
		if err != nil {
			return nil, err
		}
		if ok {
			to[from] = framePlace{e.Pack, e.Frame}
		}
	}
	return to, nil
}

// proved leaves in to what is intact: it reads and verifies every copy.
func (r *Repository) proved(ctx context.Context, to map[framePlace]framePlace) error {
	bySlot := map[uint32][]uint32{}
	for _, t := range to {
		bySlot[t.slot] = append(bySlot[t.slot], t.frame)
	}
	w := newRunReader(r)
	defer w.close()
	unfit := map[framePlace]bool{}
	for _, slot := range slices.Sorted(maps.Keys(bySlot)) {
		frames := bySlot[slot]
		slices.Sort(frames)
		frames = slices.Compact(frames)
		fail := func(i int, err error) error {
			r.noteDamage(slot, frames[i], err)
			unfit[framePlace{slot, frames[i]}] = true
			return nil
		}
		err := w.each(ctx, slot, frames, func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error {
			if _, err := r.unpack(d, frames[i], f, sealed, &w.s, w.codec); err != nil {
				return fail(i, err)
			}
			return nil
		}, fail)
		if err != nil {
			return err
		}
	}
	maps.DeleteFunc(to, func(_, t framePlace) bool { return unfit[t] })
	return nil
}

// unsound refuses a recovery point that would refer to a frame that is known to be damaged: it was found to be while the recovery
// point was made, after it had been counted as there.
func (s *session) unsound(refs *refSet) error {
	if bad := s.r.v.health.common(refs); bad != nil {
		return fault.New(fault.Unavailable, "%d chunks that the recovery point refers to were found damaged while it was made: another attempt stores them again", bad.total())
	}
	return nil
}
