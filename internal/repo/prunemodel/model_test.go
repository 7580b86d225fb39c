// Package prunemodel explores, state by state, the protocol by which the vault engine frees space beside running work
// (internal/repo/registry.go, prune.go, trash.go; docs/STATES.md has the states of a pack).
//
// It is a model, not the engine: chunks are numbers, packs are sets of them, and a step is what the engine does under one lock
// or with one object. The explorer walks through every order in which the steps of two backups, a copy that reads, a prune, a
// forget and a crash can come, and asks of every state whether a recovery point lost something; then it lets two quiet prunes
// run from every final state and asks whether anything is left over. The grace period is a choice of the explorer, not a
// clock: whether it is over may come out either way at any time.
//
// That the explorer would find a mistake is shown by making some on purpose (explore_test.go). Start with state and step.
package prunemodel

import "math/bits"

const (
	maxPacks  = 8
	maxPoints = 4 // two from before, one of each backup
	chunks    = 3
	writers   = 2
)

// frames is a set of chunks in packs: bit pack*chunks+chunk.
type frames uint32

func frame(pack, chunk int) frames { return 1 << (pack*chunks + chunk) }

// of returns the frames of one pack.
func (f frames) of(pack int) uint8 { return uint8(f>>(pack*chunks)) & (1<<chunks - 1) }

// pack is one pack. An object that is in no index and not being written is what a crash left.
type pack struct {
	holds     uint8 // chunks
	object    bool  // durable
	indexed   bool  // durable
	trash     bool  // durable: in the journal
	hidden    bool  // in memory: in the trash, or about to be
	condemned uint8 // in memory: the epoch, 0 if not
}

// point is a recovery point: its record and reference set.
type point struct {
	exists, forgotten bool
	refs              frames
}

// writer is a backup. It needs chunks, one after the other.
type writer struct {
	at    uint8 // step
	start uint8 // epoch
	pack  int8  // its own pack, -1: none
	fresh uint8 // chunks that it stores
	refs  frames
	needs frames // since its commit check
}

// reader is a copy out of this vault: it reads what recovery point 1 needs.
type reader struct {
	at, start uint8
	found     int8 // pack
}

// pruner is the prune.
type pruner struct {
	at        uint8
	start     uint8 // of the pin that it holds while it moves frames
	pinned    bool
	slots     uint8 // packs when the look began
	forgotten uint8 // points, when the journal was read
	recs      uint8 // points that were marked
	live      frames
	chosen    int8 // pack that is rewritten
	fresh     int8 // by this one
	sweep     uint8
	due       uint8
	repack    bool // rewrite whatever has a dead frame (quiet prunes)
}

// state is everything. It is comparable, so that a state is explored once.
type state struct {
	packs   [maxPacks]pack
	points  [maxPoints]point
	writers [writers]writer
	reader  reader
	pruner  pruner
	epoch   uint8
	looking bool
	touched uint8 // packs
	crashed bool
	lost    uint8 // what went wrong, see damage
}

// mistakes are variants of the protocol that must be found out.
type mistakes struct {
	noCommitCheck, noEpoch, sweepIgnoresPins, noTouched, needsIgnored, condemnedSeen, indexLast, noRedirect,
	trashSeenAfterCrash, orphansIgnoreWriters, trashSeen bool
}

// wants are the chunks that each backup needs: the first shares with what is kept and what is forgotten, the second brings
// a chunk that nobody has.
var wants = [writers][]int{{0, 1}, {1, 2}}

// start is a vault (and as many backups as are to run, one or two) with two recovery points: 0 stays, 1 may be forgotten at any time. Pack 0 holds what both need and
// something dead, pack 1 what only point 1 needs, pack 2 nothing that anybody needs.
func start(backups int) state {
	s := state{epoch: 1}
	for i, holds := range []uint8{0b101, 0b010, 0b010} {
		s.packs[i] = pack{holds: holds, object: true, indexed: true}
	}
	s.points[0] = point{exists: true, refs: frame(0, 0)}
	s.points[1] = point{exists: true, refs: frame(0, 0) | frame(1, 1)}
	for i := range s.writers {
		s.writers[i].pack = -1
		if i >= backups {
			s.writers[i].at = 9
		}
	}
	s.pruner.chosen, s.pruner.fresh = -1, -1
	return s
}

// slot finds room for a new pack: the number of one that is gone without a trace, as numbers are names in this model only.
func (s *state) slot() int {
	for i, p := range s.packs {
		used := p.object || p.indexed || p.trash || s.touched>>i&1 != 0 || s.pruner.slots>>i&1 != 0
		for _, r := range s.points {
			used = used || r.exists && r.refs.of(i) != 0
		}
		for _, w := range s.writers {
			used = used || w.pack == int8(i) || w.refs.of(i) != 0
		}
		if !used && int8(i) != s.pruner.fresh && int8(i) != s.pruner.chosen {
			return i
		}
	}
	panic("the model has too few packs")
}

// sees is the engine's pin.sees.
func (s *state) sees(m *mistakes, pack int, start uint8) bool {
	p := &s.packs[pack]
	if p.hidden && !m.trashSeen {
		return false
	}
	return p.condemned == 0 || p.condemned > start || m.condemnedSeen
}

// look returns every pack in which an operation may find a chunk.
func (s *state) look(m *mistakes, chunk int, start uint8) (found []int) {
	for i := range s.packs {
		if p := &s.packs[i]; p.indexed && p.holds>>chunk&1 != 0 && s.sees(m, i, start) {
			found = append(found, i)
		}
	}
	return found
}

func (w *writer) running() bool { return w.at > 0 && w.at < 9 }

// steps of a writer: 0 begin, 1–2 a chunk each, 3 write the pack, 4 publish it, 5 commit check, 6 record, 7 end.
func (s state) write(m *mistakes, k int) (next []state) {
	w := &s.writers[k]
	switch at := w.at; at {
	case 0:
		*w = writer{at: 1, start: s.epoch, pack: -1}
		return []state{s}
	case 1, 2:
		c := wants[k][at-1]
		w.at++
		found := s.look(m, c, w.start)
		for _, p := range found {
			n := s
			n.writers[k].refs |= frame(p, c)
			next = append(next, n)
		}
		if len(found) == 0 {
			w.fresh |= 1 << c
			next = append(next, s)
		}
		return next
	case 3:
		if w.fresh == 0 {
			w.at = 5
			return []state{s}
		}
		p := s.slot()
		s.packs[p] = pack{holds: w.fresh, object: true}
		w.pack, w.at = int8(p), 4
	case 4:
		s.packs[w.pack].indexed = true
		w.refs |= frames(w.fresh) << (int(w.pack) * chunks)
		w.at = 5
	case 5:
		w.needs = w.refs
		for p := range s.packs {
			if w.refs.of(p) == 0 {
				continue
			}
			if s.packs[p].hidden {
				w.at = 9 // the engine refuses to commit
				w.needs, w.refs = 0, 0
				return []state{s}
			}
			if !m.noCommitCheck {
				s.packs[p].condemned = 0
			}
		}
		w.at = 6
	case 6:
		s.points[2+k] = point{exists: true, refs: w.refs}
		w.at = 7
	case 7:
		if s.looking && !m.noTouched {
			for p := range s.packs {
				if w.needs.of(p) != 0 {
					s.touched |= 1 << p
				}
			}
		}
		*w = writer{at: 9, pack: -1}
	default:
		return nil
	}
	return []state{s}
}

// abort ends a writer that has not committed.
func (s state) abort(k int) []state {
	if w := &s.writers[k]; w.at >= 1 && w.at <= 5 {
		*w = writer{at: 9, pack: -1}
		return []state{s}
	}
	return nil
}

// read is a step of the reader: 0 begin, 1 find, 2 read.
func (s state) read(m *mistakes) (next []state) {
	r := &s.reader
	switch r.at {
	case 0:
		if !s.points[1].exists || s.points[1].forgotten {
			*r = reader{at: 9}
			return []state{s}
		}
		*r = reader{at: 1, start: s.epoch}
		return []state{s}
	case 1:
		found := s.look(m, 1, r.start)
		if len(found) == 0 {
			s.lost = 1
			return []state{s}
		}
		for _, p := range found {
			n := s
			n.reader.at, n.reader.found = 2, int8(p)
			next = append(next, n)
		}
		return next
	case 2:
		if !s.packs[r.found].object {
			s.lost = 2
		}
		*r = reader{at: 9}
		return []state{s}
	}
	return nil
}

// oldest returns the epoch of the oldest pin.
func (s *state) oldest() uint8 {
	oldest := s.epoch
	for _, w := range s.writers {
		if w.running() {
			oldest = min(oldest, w.start)
		}
	}
	if s.reader.at == 1 || s.reader.at == 2 {
		oldest = min(oldest, s.reader.start)
	}
	if s.pruner.pinned {
		oldest = min(oldest, s.pruner.start)
	}
	return oldest
}

// hide is the engine's vault.hide.
func (s *state) hide() {
	for i := range s.packs {
		s.packs[i].hidden = s.packs[i].trash && s.packs[i].indexed
	}
}

func (s *state) list() (slots uint8) {
	for i := range s.packs {
		if s.packs[i].indexed {
			slots |= 1 << i
		}
	}
	return slots
}

// prune is a step of the pruner.
func (s state) prune(m *mistakes) (next []state) {
	p := &s.pruner
	switch p.at {
	case 0: // look
		*p = pruner{at: 1, chosen: -1, fresh: -1, repack: p.repack}
		s.looking, s.touched = true, 0
		s.hide()
		p.slots = s.list()
	case 1: // journal
		for i, r := range s.points {
			if r.forgotten {
				p.forgotten |= 1 << i
			}
		}
		p.at = 2
	case 2: // mark, rescue
		for i, r := range s.points {
			if r.exists && p.forgotten>>i&1 == 0 {
				p.recs |= 1 << i
				p.live |= r.refs
			}
		}
		for i := range s.packs {
			if k := &s.packs[i]; k.trash && k.indexed && p.live.of(i) != 0 {
				k.trash = false
			}
		}
		s.hide()
		p.at = 3
	case 3: // choose
		p.at = 7
		if !p.repack {
			next = append(next, s)
		}
		for i := range s.packs {
			live := p.live.of(i)
			if p.slots>>i&1 == 0 || live == 0 || live == s.packs[i].holds {
				continue
			}
			n := s
			n.pruner.at, n.pruner.chosen = 4, int8(i)
			next = append(next, n)
			if p.repack {
				return next // one per run is enough here: there is one at most
			}
		}
		if len(next) == 0 {
			next = append(next, s)
		}
		return next
	case 4: // pin, write the new pack
		p.pinned, p.start = true, s.epoch
		k := s.slot()
		s.packs[k] = pack{holds: p.live.of(int(p.chosen)), object: true}
		p.fresh, p.at = int8(k), 5
	case 5:
		s.packs[p.fresh].indexed = true
		p.at = 6
	case 6: // redirect one recovery point after the other
		if m.noRedirect {
			p.recs &^= 1 << 0
		}
		if p.recs == 0 {
			p.live &^= frames(1<<chunks-1) << (int(p.chosen) * chunks)
			p.pinned, p.at = false, 7
			return []state{s}
		}
		i := bits.TrailingZeros8(p.recs)
		p.recs &^= 1 << i
		if r := &s.points[i]; r.exists {
			moved := r.refs.of(int(p.chosen))
			r.refs &^= frames(moved) << (int(p.chosen) * chunks)
			r.refs |= frames(moved) << (int(p.fresh) * chunks)
		}
	case 7: // condemn
		if !m.noEpoch {
			s.epoch++
		}
		for i := range s.packs {
			k := &s.packs[i]
			needed := s.touched>>i&1 != 0
			for _, w := range s.writers {
				needed = needed || w.running() && w.needs.of(i) != 0 && !m.needsIgnored
			}
			if p.slots>>i&1 != 0 && p.live.of(i) == 0 && !k.hidden && !needed && k.condemned == 0 {
				k.condemned = s.epoch
			}
		}
		s.looking, s.touched = false, 0
		p.recs, p.live, p.slots, p.forgotten, p.at = 0, 0, 0, 0, 8
	case 8: // sweep, orphans
		oldest := s.oldest()
		if m.sweepIgnoresPins {
			oldest = s.epoch
		}
		for i := range s.packs {
			k := &s.packs[i]
			if k.condemned != 0 && k.condemned <= oldest {
				k.hidden, k.condemned = true, 0
				p.sweep |= 1 << i
			}
			if k.object && !k.indexed && !k.trash {
				writing := false
				for _, w := range s.writers {
					writing = writing || w.running() && w.pack == int8(i)
				}
				if !writing || m.orphansIgnoreWriters {
					p.sweep |= 1 << i
				}
			}
		}
		p.at = 9
	case 9: // into the trash
		for i := range s.packs {
			if p.sweep>>i&1 != 0 {
				s.packs[i].trash = true
			}
		}
		p.sweep, p.at = 0, 10
	case 10: // is the grace period over?
		for i := range s.packs {
			if s.packs[i].trash {
				p.due |= 1 << i
			}
		}
		p.at = 11
		if m.indexLast {
			p.at = 12
		}
		n := s
		n.pruner.due = 0
		n.pruner.at = 13
		if p.repack || p.due == 0 {
			return []state{s}
		}
		return []state{s, n}
	case 11: // out of the index
		for i := range s.packs {
			if p.due>>i&1 != 0 {
				s.packs[i].indexed = false
			}
		}
		p.at = 12
		if m.indexLast {
			p.due, p.at = 0, 14
		}
	case 12: // one object goes
		left := uint8(0)
		for i := range s.packs {
			if p.due>>i&1 != 0 && s.packs[i].object {
				left |= 1 << i
			}
		}
		if left == 0 {
			p.at = 13
			return []state{s}
		}
		for i := range s.packs {
			if left>>i&1 != 0 {
				n := s
				n.packs[i].object = false
				next = append(next, n)
			}
		}
		return next
	case 13: // out of the trash
		for i := range s.packs {
			if p.due>>i&1 != 0 {
				s.packs[i] = pack{indexed: s.packs[i].indexed, holds: s.packs[i].holds}
			}
		}
		s.hide()
		if m.indexLast {
			p.at = 11
			return []state{s}
		}
		p.due, p.at = 0, 14
	case 14: // forgotten recovery points that explain nothing any more
		for i := range s.points {
			r := &s.points[i]
			if !r.exists || !r.forgotten {
				continue
			}
			waits := false
			for k := range s.packs {
				waits = waits || r.refs.of(k) != 0 && (s.packs[k].condemned != 0 || s.packs[k].hidden)
			}
			if !waits {
				*r = point{}
			}
		}
		p.at = 30
	default:
		return nil
	}
	return []state{s}
}

// forget drops recovery point 1.
func (s state) forget() []state {
	if r := &s.points[1]; r.exists && !r.forgotten {
		r.forgotten = true
		return []state{s}
	}
	return nil
}

// crash ends everything that runs, loses what is in memory and opens the vault again. What has not begun may begin later.
func (s state) crash(m *mistakes) []state {
	if s.crashed {
		return nil
	}
	s.crashed = true
	s.epoch, s.looking, s.touched = 1, false, 0
	for i := range s.writers {
		if s.writers[i].at > 0 {
			s.writers[i] = writer{at: 9, pack: -1}
		}
	}
	if s.reader.at > 0 {
		s.reader = reader{at: 9}
	}
	if s.pruner.at > 0 {
		s.pruner = pruner{at: 30, chosen: -1, fresh: -1}
	}
	for i := range s.packs {
		s.packs[i].condemned = 0
	}
	s.hide()
	if m.trashSeenAfterCrash {
		for i := range s.packs {
			s.packs[i].hidden = false
		}
	}
	return []state{s}
}

// step returns every state that may come next.
func (s state) step(m *mistakes) (next []state) {
	for k := range s.writers {
		next = append(next, s.write(m, k)...)
		next = append(next, s.abort(k)...)
	}
	next = append(next, s.read(m)...)
	next = append(next, s.prune(m)...)
	next = append(next, s.forget()...)
	return append(next, s.crash(m)...)
}

// damage says what is wrong with a state, "" if nothing: a recovery point that exists and is not forgotten has every frame
// that it needs in a pack that is there, in the index, and not in the trash.
func (s *state) damage() string {
	if s.lost != 0 {
		return [...]string{"", "a running copy does not find a chunk", "a pack went away under a running copy"}[s.lost]
	}
	for _, r := range s.points {
		if !r.exists || r.forgotten {
			continue
		}
		for i := range s.packs {
			p := &s.packs[i]
			if need := r.refs.of(i); need != 0 && (!p.object || !p.indexed || p.trash || need&^p.holds != 0) {
				return "a recovery point lost a pack"
			}
		}
	}
	return ""
}

// quiet runs one prune by itself, with the grace period over.
func (s state) quiet(m *mistakes) state {
	s.pruner = pruner{chosen: -1, fresh: -1, repack: true}
	for s.pruner.at != 30 {
		s = s.prune(m)[0]
	}
	return s
}

// garbage says what is there and not needed.
func (s *state) garbage() string {
	var needed frames
	for _, r := range s.points {
		if r.exists && r.forgotten {
			return "a forgotten recovery point"
		}
		needed |= r.refs
	}
	for i := range s.packs {
		p := &s.packs[i]
		if p.trash || p.object && needed.of(i) != p.holds || !p.object && p.indexed {
			return "a pack"
		}
	}
	return ""
}
