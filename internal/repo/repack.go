package repo

import (
	"context"
	"maps"

	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
)

const (
	// smallPack and manySmall: that many packs below that size are rewritten into few large ones.
	smallPack = pack.Target / 4
	manySmall = 16
	// maxRepack and maxMoves bound the work and the memory of one run; the next goes on.
	maxRepack = 64 << 30
	maxMoves  = 4 << 20
)

// choose returns the packs that are worth rewriting.
func (p *pruning) choose(ctx context.Context) (chosen []uint32, err error) {
	limit := p.o.RepackDead
	if p.r.root == nil || limit < 0 {
		return nil, nil
	}
	if limit == 0 {
		limit = 0.4
	}
	var small []uint32
	var bytes int64
	var frames int
	for _, slot := range p.slots {
		bits := p.live.bits(slot)
		if bits == nil || p.cut.bits(slot) != nil || p.r.v.health.of(slot).damaged {
			continue
		}
		info := p.r.v.index.Pack(slot)
		need, all := info.Size, info.Size
		if n := countBits(bits); n < int(info.Frames) {
			if need, all, err = p.needed(ctx, info, bits); unreadable(err) {
				p.r.v.health.lost(slot)
				continue
			} else if err != nil {
				return nil, err
			}
		}
		dead := float64(all-need) >= limit*float64(all)
		if !dead && info.Size >= smallPack {
			continue
		}
		if bytes += need; bytes > maxRepack {
			break
		}
		if frames += countBits(bits); frames > maxMoves {
			break
		}
		if dead {
			chosen = append(chosen, slot)
		} else {
			small = append(small, slot)
		}
	}
	if len(small) >= manySmall {
		chosen = append(chosen, small...)
	}
	return chosen, nil
}

// needed returns how many bytes of a pack's frames are in the set, and how many there are.
func (p *pruning) needed(ctx context.Context, info pack.Info, bits []byte) (need, all int64, err error) {
	d, err := p.r.dirs.get(ctx, info)
	if err != nil {
		return 0, 0, err
	}
	for n := range info.Frames {
		f := d.Frame(n)
		all += int64(f.Len)
		if bits[n/8]&(1<<(n%8)) != 0 {
			need += int64(f.Len)
		}
	}
	return need, all, nil
}

// mover fills new packs with frames of others.
type mover struct {
	p       *pruning
	pin     *pin
	writers map[byte]*moving // by class
	entries []index.Entry
	packs   []pack.Info
	moved   map[framePlace]framePlace // slot is the place in packs, until the index has numbered them
}

// moving is one pack being filled.
type moving struct {
	w       *pack.Writer
	entries []index.Entry
	from    []framePlace
}

// repack moves the needed frames of packs that are mostly dead, or small, into new packs, bit for bit, and lets the
// reference sets point there. Everything stays readable at every moment: the new packs and their index come first, then the
// reference sets, one recovery point at a time; the old packs go by the same rules as all others. It returns the packs that
// nobody needs any more: those with a damaged frame stay as they are, for whoever repairs them.
func (p *pruning) repack(ctx context.Context, chosen []uint32) (done []uint32, err error) {
	if len(chosen) == 0 {
		return nil, nil
	}
	m := &mover{p: p, pin: p.r.v.begin(), writers: map[byte]*moving{}, moved: map[framePlace]framePlace{}}
	defer m.end()
	r := newRunReader(p.r)
	defer r.close()
	for _, slot := range chosen {
		frames := framesOf(p.live.bits(slot))
		// A pack with damage is left alone, from the next Prune on without trying.
		hurt := false
		fail := func(i int, err error) error {
			hurt = unreadable(err)
			p.r.noteDamage(slot, frames[i], err)
			return err
		}
		err := r.each(ctx, slot, frames, func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error {
			// Opened and hashed before it is moved: damage must stay where a scrub finds it, and not get under a new digest.
			if _, err := p.r.unpack(d, frames[i], f, sealed, &r.s, r.codec); err != nil {
				return fail(i, err)
			}
			return m.move(ctx, framePlace{slot, frames[i]}, d, f, sealed)
		}, fail)
		switch {
		case err == nil:
			done = append(done, slot)
		case hurt:
			p.r.log.Warn("a damaged pack is not rewritten", "pack", p.r.v.index.Pack(slot).Name(), "err", err)
			m.leave(slot)
		default:
			return nil, err
		}
	}
	to, err := m.publish(ctx)
	if err != nil || len(done) == 0 {
		return nil, err
	}
	p.report.RepackedPacks = len(done)
	if err := p.marks.redirect(ctx, done, to); err != nil {
		return nil, err
	}
	for _, slot := range done {
		p.live.remove(slot) // every recovery point has found what it needs in the new place
	}
	return done, nil
}

// leave forgets what was moved out of a pack. The copies are garbage.
func (m *mover) leave(slot uint32) {
	maps.DeleteFunc(m.moved, func(from, _ framePlace) bool { return from.slot == slot })
	for _, w := range m.writers {
		for i := range w.from {
			if w.from[i].slot == slot {
				w.from[i] = nowhere
			}
		}
	}
}

// nowhere is no frame's place.
var nowhere = framePlace{slot: 1<<32 - 1}

// move appends one frame to the pack that is being filled.
func (m *mover) move(ctx context.Context, from framePlace, d *pack.Dir, f pack.Frame, sealed []byte) error {
	w := m.writers[d.Class]
	if w == nil {
		pw, err := pack.NewWriter(ctx, m.p.r.store, m.p.r.root, m.p.r.maint, d.Class)
		if err != nil {
			return err
		}
		w = &moving{w: pw}
		m.writers[d.Class] = w
		m.p.r.v.writes(pw.ID(), m.pin)
	}
	n, err := w.w.Move(d, f, sealed)
	if err != nil {
		return err
	}
	w.entries = append(w.entries, index.Entry{ID: f.CID.Short(), Frame: n})
	w.from = append(w.from, from)
	if w.w.Full() {
		return m.close(ctx, d.Class)
	}
	return nil
}

// close finishes the pack of a class.
func (m *mover) close(ctx context.Context, class byte) error {
	w := m.writers[class]
	delete(m.writers, class)
	info, err := w.w.Close(ctx)
	if err != nil {
		return err
	}
	k := uint32(len(m.packs))
	m.packs = append(m.packs, info)
	m.p.report.RepackedBytes += info.Size
	for i, e := range w.entries {
		e.Pack = k
		m.entries = append(m.entries, e)
		if w.from[i] != nowhere {
			m.moved[w.from[i]] = framePlace{k, e.Frame}
		}
	}
	return nil
}

// publish finishes the last packs, makes all known to the index, and says where each frame is now.
func (m *mover) publish(ctx context.Context) (map[framePlace]framePlace, error) {
	for _, class := range []byte{pack.ClassData, pack.ClassMeta} {
		if m.writers[class] != nil {
			if err := m.close(ctx, class); err != nil {
				return nil, err
			}
		}
	}
	if err := m.p.r.v.index.Publish(ctx, m.entries, m.packs); err != nil {
		return nil, err
	}
	slots := make([]uint32, len(m.packs))
	for i, k := range m.packs {
		slot, ok := m.p.r.v.index.Slot(k.ID)
		if !ok {
			return nil, corrupt(k.Name(), "a pack that was just written is not in the index")
		}
		slots[i] = slot
	}
	for from, to := range m.moved {
		to.slot = slots[to.slot]
		m.moved[from] = to
	}
	return m.moved, nil
}

func (m *mover) end() {
	for _, w := range m.writers {
		w.w.Abort()
	}
	m.pin.end()
}
