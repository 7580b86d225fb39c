package crashfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// Imager takes images while an operation is watched.
type Imager struct{ f *FS }

// Crash is FS.Crash at the moment of the operation.
func (i Imager) Crash(r *rand.Rand) *FS { return i.f.crash(r) }

// Crash returns a file system as it might be found if the power failed now. Everything in it is sure. The file system itself
// stays as it is. Watch, Fail and Limit are not taken over.
func (f *FS) Crash(r *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crash(r)
}

func (f *FS) crash(r *rand.Rand) *FS {
	out := &FS{}
	// How much of what is not sure survives: from nothing to everything, often one of the two.
	keep := []float64{0, 1, 0.5, r.Float64()}[r.IntN(4)]
	seen := map[*inode]*inode{}
	out.root = out.survivor(f.root, r, keep, seen)
	return out
}

// survivor returns what is left of an inode.
func (f *FS) survivor(n *inode, r *rand.Rand, keep float64, seen map[*inode]*inode) *inode {
	if s := seen[n]; s != nil {
		s.links++
		return s
	}
	s := &inode{dir: n.dir, links: 1, blocks: n.blocks}
	seen[n] = s
	if !n.dir {
		s.data = n.sure
		n.cow = true
		if len(n.writes)+len(n.limbo) > 0 {
			s.data = torn(n, r, keep)
		}
		s.sure, s.cow = s.data, true
		s.blocks = (int64(len(s.data)) + blockSize - 1) / blockSize
		f.used += s.blocks
		return s
	}
	f.used += s.blocks
	now := n.durable
	if len(n.changes)+len(n.lost) > 0 {
		// Each name separately is as it was at some moment since the last sync.
		now = maps.Clone(n.durable)
		states := map[string][]*inode{}
		var order []string
		for _, c := range append(slices.Clone(n.lost), n.changes...) {
			if states[c.name] == nil {
				order = append(order, c.name)
				states[c.name] = []*inode{n.durable[c.name]}
			}
			states[c.name] = append(states[c.name], c.to)
		}
		for _, name := range order {
			all := states[name]
			i := 0
			if r.Float64() < keep {
				i = len(all) - 1
				if len(all) > 2 && r.IntN(4) == 0 {
					i = r.IntN(len(all))
				}
			}
			if all[i] == nil {
				delete(now, name)
			} else {
				now[name] = all[i]
			}
		}
	}
	s.names = make(map[string]*inode, len(now))
	for _, name := range slices.Sorted(maps.Keys(now)) {
		s.names[name] = f.survivor(now[name], r, keep, seen)
	}
	s.durable = maps.Clone(s.names)
	return s
}

// torn returns what the disk may have of a file that was written since its last sync.
func torn(n *inode, r *rand.Rand, keep float64) []byte {
	writes := append(slices.Clone(n.limbo), n.writes...)
	if keep == 0 {
		return n.sure
	}
	if keep == 1 && r.IntN(2) == 0 {
		return settle(n.sure, writes, nil)
	}
	unit := int64(512)
	if r.IntN(2) == 0 {
		unit = 4096
	}
	prefix := len(writes)
	if r.IntN(2) == 0 {
		prefix = r.IntN(prefix + 1) // the rest is lost altogether
	}
	out := settle(n.sure, writes[:prefix], func(sector int64) bool { return r.Float64() < keep }, unit)
	if r.IntN(3) == 0 {
		// The size is there before the data: what was not written is arbitrary.
		for i := len(n.sure); i < len(out); i += int(unit) {
			s := out[i:min(len(out), i+int(unit))]
			if !bytes.ContainsFunc(s, func(c rune) bool { return c != 0 }) {
				for k := range s {
					s[k] = byte(r.Uint32())
				}
			}
		}
	}
	return out
}

// settle applies writes to data; survives, if given, decides about each sector of the unit given.
func settle(data []byte, writes []write, survives func(int64) bool, unit ...int64) []byte {
	out := bytes.Clone(data)
	for _, w := range writes {
		if w.data == nil {
			out = sized(out, w.off)
			continue
		}
		end := w.off + int64(len(w.data))
		out = sized(out, max(int64(len(out)), end))
		if survives == nil {
			copy(out[w.off:], w.data)
			continue
		}
		for at := w.off; at < end; {
			next := min(end, (at/unit[0]+1)*unit[0])
			if survives(at / unit[0]) {
				copy(out[at:next], w.data[at-w.off:])
			}
			at = next
		}
	}
	return out
}

func sized(p []byte, n int64) []byte {
	if n <= int64(len(p)) {
		return p[:n]
	}
	return append(p, make([]byte, n-int64(len(p)))...)
}

// Kill returns the file system as the next process finds it when this one is killed and the machine goes on: everything
// that was seen is seen, what is not sure is not, nothing is open.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &FS{}
	seen := map[*inode]*inode{}
	out.root = f.copy(f.root, seen)
	for _, n := range seen {
		if n.links > 0 {
			out.used += n.blocks
		}
	}
	return out
}

// copy copies an inode and everything that it may lead to.
func (f *FS) copy(n *inode, seen map[*inode]*inode) *inode {
	if n == nil {
		return nil
	}
	if s := seen[n]; s != nil {
		return s
	}
	n.cow = true
	s := &inode{
		dir: n.dir, links: n.links, data: n.data, cow: true, sure: n.sure, blocks: n.blocks,
		writes: slices.Clone(n.writes), limbo: slices.Clone(n.limbo),
	}
	seen[n] = s
	if n.dir {
		s.names, s.durable = map[string]*inode{}, map[string]*inode{}
		for name, x := range n.names {
			s.names[name] = f.copy(x, seen)
		}
		for name, x := range n.durable {
			s.durable[name] = f.copy(x, seen)
		}
		for _, c := range n.changes {
			s.changes = append(s.changes, change{c.name, f.copy(c.to, seen)})
		}
		for _, c := range n.lost {
			s.lost = append(s.lost, change{c.name, f.copy(c.to, seen)})
		}
	}
	return s
}
