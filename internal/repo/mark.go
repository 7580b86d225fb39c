package repo

import (
	"cmp"
	"context"
	"slices"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// marking is what a Prune knows about the reference sets in the store. Each object is read once, however many recovery points
// build on it: the cost of marking follows what was recorded, not the number of recovery points times their size.
type marking struct {
	v      *vault
	nodes  map[refsKey]*refsNode
	latest map[refsKey]uint64 // the highest generation of each attempt (in the key 0)
	points map[string]*refsNode
	buf    []byte
	partly bool // redirect leaves what it is not told of where it is
}

// refsNode is a reference set that was read.
type refsNode struct {
	key   refsKey
	depth int
	base  *refsNode
	live  bool      // a recovery point that is not forgotten needs it
	next  *refsNode // the generation that this Prune wrote in its place
}

// now is the node that stands for n since frames were moved.
func (n *refsNode) now() *refsNode {
	if n != nil && n.next != nil {
		return n.next
	}
	return n
}

// newMarking lists the reference sets.
func newMarking(ctx context.Context, v *vault) (*marking, error) {
	m := &marking{v: v, nodes: map[refsKey]*refsNode{}, latest: map[refsKey]uint64{}, points: map[string]*refsNode{}}
	err := v.store.List(ctx, refsPrefix, func(i blob.Info) error {
		if k, ok := parseRefsName(i.Name); ok {
			g := k.generation
			k.generation = 0
			m.latest[k] = max(m.latest[k], g)
		}
		return nil
	})
	return m, err
}

// need adds what a recovery point refers to, as far as it has not been added yet.
func (m *marking) need(ctx context.Context, rec *record, set *refSet, live bool) error {
	k := refsKey{id: rec.id, attempt: rec.attempt}
	g, ok := m.latest[k]
	if !ok {
		return corrupt(refsPrefix+rec.id, "the reference set of the recovery point is missing")
	}
	k.generation = g
	n, err := m.visit(ctx, k, set, live)
	if fault.Is(err, fault.NotFound) {
		err = corrupt(k.name(), "it, or what it builds on, is missing: %v", err)
	}
	if err == nil {
		m.points[rec.id] = n
	}
	return err
}

func (m *marking) visit(ctx context.Context, k refsKey, set *refSet, live bool) (*refsNode, error) {
	if n := m.nodes[k]; n != nil {
		return n, nil
	}
	o, err := m.v.readRefs(ctx, k, &m.buf)
	if err != nil {
		return nil, err
	}
	if err := o.addTo(set, m.v); err != nil {
		return nil, err
	}
	n := &refsNode{key: k, depth: o.depth, live: live}
	if o.depth > 0 {
		if n.base, err = m.visit(ctx, o.base, set, live); err != nil {
			return nil, err
		}
		if n.base.depth != n.depth-1 {
			return nil, corrupt(o.base.name(), "it is no base for a set of depth %d", n.depth)
		}
	}
	m.nodes[k] = n
	return n, nil
}

// redirect writes the next generation of every reference set that names moved frames, or builds on one that is written anew:
// bases before what builds on them, so that after a crash each set that exists is complete.
func (m *marking) redirect(ctx context.Context, chosen []uint32, to map[framePlace]framePlace) error {
	moved := make(map[uint32]bool, len(chosen))
	for _, slot := range chosen {
		moved[slot] = true
	}
	var order []*refsNode
	for _, n := range m.nodes {
		if n.live {
			order = append(order, n)
		}
	}
	slices.SortFunc(order, func(a, b *refsNode) int {
		// The newest generation last: the one that is written last is the newest again.
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.key.id, b.key.id), cmp.Compare(a.key.generation, b.key.generation))
	})
	for _, n := range order {
		if err := m.rewrite(ctx, n, moved, to); err != nil {
			return err
		}
	}
	return nil
}

// rewrite is redirect for one reference set.
func (m *marking) rewrite(ctx context.Context, n *refsNode, moved map[uint32]bool, to map[framePlace]framePlace) error {
	o, err := m.v.readRefs(ctx, n.key, &m.buf)
	if err != nil {
		return err
	}
	hit := n.base.now() != n.base
	err = o.each(func(p packRefs) error {
		slot, ok := m.v.index.Slot(p.pack)
		hit = hit || ok && moved[slot]
		return nil
	})
	if err != nil || !hit {
		return err
	}
	old, set := newRefSet(), newRefSet()
	if err := o.addTo(old, m.v); err != nil {
		return err
	}
	for slot, bits := range old.all() {
		if !moved[slot] {
			set.addBits(slot, old.frames(slot), bits)
			continue
		}
		for _, f := range framesOf(bits) {
			t, ok := to[framePlace{slot, f}]
			if !ok && m.partly {
				t = framePlace{slot, f}
			} else if !ok {
				return corrupt(n.key.name(), "it names a chunk that was not there before")
			}
			set.add(t.slot, t.frame, m.v.index.Pack(t.slot).Frames)
		}
	}
	attempt := refsKey{id: n.key.id, attempt: n.key.attempt}
	m.latest[attempt]++
	next := &refsNode{key: n.key, depth: n.depth, base: n.base.now(), live: true}
	next.key.generation = m.latest[attempt]
	var base *refsObject
	if next.base != nil {
		base = &refsObject{key: next.base.key, depth: next.base.depth}
	}
	if err := m.v.store.Put(ctx, next.key.name(), encodeRefs(next.key, base, set, m.v.index.Pack, m.v.maint)); err != nil {
		return err
	}
	n.next = next
	return nil
}

// needed returns the reference sets of recovery points and all that they build on. gone are recovery points that need nothing
// any more.
func (m *marking) needed(gone map[string]bool) map[refsKey]bool {
	out := make(map[refsKey]bool, len(m.nodes))
	for id, n := range m.points {
		if gone[id] {
			continue
		}
		for n = n.now(); n != nil && !out[n.key]; n = n.base {
			out[n.key] = true
		}
	}
	return out
}

// mark finds out what is needed.
func (p *pruning) mark(ctx context.Context) (err error) {
	if p.recs, p.points, err = p.r.all(ctx, false); err != nil {
		return err
	}
	if p.marks, err = newMarking(ctx, p.r.v); err != nil {
		return err
	}
	p.live = newRefSet()
	for _, rec := range p.recs {
		if err := p.marks.need(ctx, rec, p.live, true); err != nil {
			return err
		}
		if _, ok := p.points[rec.id]; !ok && !p.o.DryRun {
			// The commit's own note got lost in a crash.
			if err := p.r.v.journal.committed(ctx, rec.id, rec.committed); err != nil {
				return err
			}
		}
	}
	return p.markSessions(ctx)
}

// tidyRefs removes reference sets that belong to no recovery point, to attempts that did not commit, and generations that
// have a successor, unless something builds on them.
func (p *pruning) tidyRefs(ctx context.Context, gone map[string]bool) error {
	needed := p.marks.needed(gone)
	var idle []refsKey
	err := p.r.store.List(ctx, refsPrefix, func(i blob.Info) error {
		if k, ok := parseRefsName(i.Name); ok && !needed[k] {
			idle = append(idle, k)
		}
		return nil
	})
	for len(idle) > 0 && err == nil {
		n := 1
		for n < len(idle) && idle[n].id == idle[0].id {
			n++
		}
		err = p.tidyPoint(ctx, idle[:n], gone[idle[0].id])
		idle = idle[n:]
	}
	return err
}

// tidyPoint removes reference sets of one id that nothing this Prune has marked needs.
func (p *pruning) tidyPoint(ctx context.Context, keys []refsKey, gone bool) error {
	id := keys[0].id
	free, err := p.r.v.claim(id)
	if err != nil {
		return nil // being written: next time
	}
	defer free()
	keep := map[refsKey]bool{}
	if p.marks.points[id] == nil && !gone {
		// Committed since the marking, or forgotten and not readable.
		rec, err := p.r.record(ctx, id)
		if err == nil {
			var k refsKey
			k, err = p.r.v.latestRefs(ctx, rec)
			keep[k] = true
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	for _, k := range keys {
		if keep[k] {
			continue
		}
		done, ok := p.r.v.refs.remove(k)
		if !ok {
			continue // a session builds on it
		}
		err := p.remove(ctx, k.name())
		done(err == nil)
		if err != nil {
			return err
		}
	}
	return nil
}
