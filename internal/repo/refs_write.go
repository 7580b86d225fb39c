package repo

import (
	"context"

	"strongroom/internal/fault"
)

// refsRule says when a reference set builds on another one.
type refsRule struct {
	small   int   // up to this size it is complete: it is a few blocks of a disk anyway
	added   int   // percent of a complete one's size that what it adds may take
	surplus int64 // percent more frames than are needed that the base may name
}

func usualRefs() refsRule { return refsRule{small: 16 << 10, added: 25, surplus: 10} }

// putRefs makes sure that what a recovery point needs stays, and writes its reference set: complete, or as what it adds to
// that of the recovery point before. From here on Prune leaves every pack in it alone.
func (s *session) putRefs(ctx context.Context, rec *record, refs *refSet) error {
	v := s.r.v
	key := refsKey{id: rec.id, attempt: rec.attempt}
	if refsSize(refs) > v.rule.small {
		base, added, err := s.delta(ctx, rec, refs)
		if err != nil {
			return err
		}
		if base != nil {
			return v.store.Put(ctx, key.name(), encodeRefs(key, base, added, v.index.Pack, v.maint))
		}
	}
	if err := s.pin.keep(refs); err != nil {
		return err
	}
	set := encodeRefs(key, nil, refs, v.index.Pack, v.maint)
	if len(set) > maxSmall {
		return fault.New(fault.Limit, "the recovery point refers to %d packs, more than can be recorded", refs.packs())
	}
	return v.store.Put(ctx, key.name(), set)
}

// delta returns what a set adds to the base's, having made sure that all packs of both stay; or no base, when a complete set
// is better or the base cannot be used.
//
// The base's packs must stay as well as those that are needed, for a reference set that names a pack which is gone tells
// nothing any more.
func (s *session) delta(ctx context.Context, rec *record, refs *refSet) (base *refsObject, added *refSet, err error) {
	v := s.r.v
	// One owner's resource only: whoever may refer to what the new recovery point refers to must not get at others' chunks.
	if s.base == nil || s.base.meta.Owner != rec.meta.Owner || s.base.meta.ResourceARN != rec.meta.ResourceARN {
		return nil, nil, nil
	}
	var old *refSet
	begin := func() { base, old = nil, newRefSet() }
	hold := func(k refsKey) error {
		free, ok := v.refs.hold(k)
		if !ok {
			return corrupt(k.name(), "it is being removed")
		}
		s.free = append(s.free, free)
		return nil
	}
	_, err = v.eachOf(ctx, s.base, begin, hold, func(o *refsObject) error {
		if base == nil {
			base = o
		}
		return o.addTo(old, v)
	})
	if fault.Is(err, fault.Corrupt) {
		s.r.log.Info("a complete reference set is written: that of the last recovery point cannot be built on", "base", s.base.id, "err", err)
		return nil, nil, nil
	}
	if err != nil || base.depth == maxDepth || v.holds(old) {
		return nil, nil, err
	}
	added = newRefSet()
	for slot, bits := range refs.all() {
		had := old.bits(slot)
		for i, b := range bits {
			if had != nil {
				b &^= had[i]
			}
			if b != 0 {
				added.room(slot, refs.frames(slot))[i] |= b
			}
		}
	}
	old.union(refs)
	if refsSize(added)*100 > refsSize(refs)*v.rule.added || (old.total()-refs.total())*100 > refs.total()*v.rule.surplus {
		return nil, nil, nil
	}
	if s.pin.keep(old) != nil {
		return nil, nil, nil
	}
	// Nothing in the set can go from here on. Had something gone before, the index would not know it any more.
	for slot := range old.all() {
		if refs.bits(slot) == nil && !v.index.Has(slot) {
			return nil, nil, nil
		}
	}
	return base, added, nil
}
