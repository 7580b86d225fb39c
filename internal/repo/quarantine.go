package repo

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

const (
	healthPrefix = "scrub/"
	healthMagic  = "SRSCRB\x00\x01"
	// mergeHealth is how many objects with results there are before they are merged into one.
	mergeHealth = 32
)

// depth is how thoroughly a pack was read. Part of the format.
type depth uint8

const (
	depthNone    depth = 0
	depthDigest  depth = 1 // every byte, compared with the digest of the pack
	depthContent depth = 2 // every byte and every frame, opened, decompressed and compared with its hash
)

// health is what is known about the health of a vault's packs: when each was read last, and which frames were found damaged.
// Damaged frames are in quarantine: nothing new may come to refer to them, so that the next backup that has their content
// stores it again, and readers turn to them last.
//
// It is knowledge, not truth. It is kept in objects of its own, which add up, and losing them costs that the packs are read
// again: no decision to delete rests on a frame's being sound. Safe for concurrent use.
type health struct {
	store blob.Store
	maint *seal.Maint
	index *index.Set
	now   func() time.Time

	// any tells look-ups, which all ask, that bad is not empty.
	any atomic.Bool

	// mu is never held while the index is asked: look-ups hold the index's lock while they ask here.
	mu      sync.RWMutex
	bad     *refSet      // damaged frames
	packs   []packHealth // by the index's number
	changed map[uint32]bool
	next    uint64   // number of the next object
	objects []string // in the store, whose content is in packs

	saving sync.Mutex
}

type packHealth struct {
	seen    int64 // seconds since 1970; 0 = never
	depth   depth
	damaged bool // in any way; which frames is in bad
}

func healthName(n uint64) string { return fmt.Sprintf("%s%016d", healthPrefix, n) }

// loadHealth reads what is kept. What cannot be read is as good as lost, and named in lost.
func loadHealth(ctx context.Context, store blob.Store, maint *seal.Maint, set *index.Set, now func() time.Time) (h *health, lost []error, err error) {
	h = &health{store: store, maint: maint, index: set, now: now, bad: newRefSet(), changed: map[uint32]bool{}}
	var names []string
	err = store.List(ctx, healthPrefix, func(i blob.Info) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(i.Name, healthPrefix), 10, 64)
		if err != nil || healthName(n) != i.Name {
			lost = append(lost, corrupt(i.Name, "no result of a scrub has this name"))
			return nil
		}
		h.next = n + 1
		names = append(names, i.Name)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		data, err := blob.Get(ctx, store, name, maxSmall)
		if err == nil {
			err = h.apply(name, data)
		}
		switch {
		case err == nil:
			h.objects = append(h.objects, name)
		case fault.Is(err, fault.NotFound): // merged into another one meanwhile
		case unreadable(err):
			lost = append(lost, err)
		default:
			return nil, nil, err
		}
	}
	return h, lost, nil
}

// apply authenticates an object and takes over what it says about packs that are in the index.
func (h *health) apply(name string, data []byte) error {
	body, err := h.maint.Unwrap(name, data)
	if err != nil {
		return err
	}
	if len(body) < len(healthMagic) || string(body[:len(healthMagic)]) != healthMagic {
		return corrupt(name, "these are no results of a scrub")
	}
	d := &seal.Decoder{B: body[len(healthMagic):]}
	var last seal.PackID
	for i := range d.Count(20) {
		var id seal.PackID
		copy(id[:], d.Raw(16))
		if i > 0 && slices.Compare(last[:], id[:]) >= 0 {
			d.Fail("packs out of order")
		}
		last = id
		p := packHealth{depth: depth(d.Max(uint64(depthContent))), seen: d.Int()}
		frames := uint32(0)
		var bits []byte
		if p.damaged = d.Bool(); p.damaged {
			frames = uint32(d.Max(pack.MaxFrames))
			bits = d.Raw(bitMapSize(frames))
		}
		if d.Err() != nil {
			break
		}
		slot, ok := h.index.Slot(id)
		if !ok || p.damaged && h.index.Pack(slot).Frames != frames {
			continue // gone, or replaced by what an index made anew says
		}
		h.line(slot, h.index.Pack(slot).Frames, p, bits)
	}
	if err := d.Done(); err != nil {
		return corrupt(name, "%v", err)
	}
	return nil
}

// line notes what is known about one pack of frames frames. bits, a map of its damaged frames, may be nil for none. The caller
// holds mu or is alone.
func (h *health) line(slot, frames uint32, p packHealth, bits []byte) {
	for int(slot) >= len(h.packs) {
		h.packs = append(h.packs, packHealth{})
	}
	h.packs[slot] = p
	h.bad.remove(slot)
	if countBits(bits) > 0 {
		h.bad.addBits(slot, frames, bits)
	}
	h.any.Store(h.bad.packs() > 0)
}

// damaged reports whether a frame is in quarantine.
func (h *health) damaged(slot, frame uint32) bool {
	if !h.any.Load() {
		return false
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.bad.has(slot, frame)
}

// common returns the frames of a set that are in quarantine, nil when none is.
func (h *health) common(s *refSet) *refSet {
	if !h.any.Load() {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	var out *refSet
	for slot, bad := range h.bad.all() {
		var both []byte
		for i, b := range s.bits(slot) {
			if b &= bad[i]; b != 0 && both == nil {
				both = make([]byte, len(bad))
			}
			if both != nil {
				both[i] = b & bad[i]
			}
		}
		if both != nil {
			if out == nil {
				out = newRefSet()
			}
			out.addBits(slot, h.bad.frames(slot), both)
		}
	}
	return out
}

// found puts frames into quarantine that a reader found damaged. keep makes it durable.
func (h *health) found(slot uint32, frames ...uint32) {
	n := h.index.Pack(slot).Frames
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.at(slot)
	changed := !p.damaged
	for _, f := range frames {
		if f < n && !h.bad.has(slot, f) {
			h.bad.add(slot, f, n)
			changed = true
		}
	}
	if changed {
		for int(slot) >= len(h.packs) {
			h.packs = append(h.packs, packHealth{})
		}
		p.damaged = true
		h.packs[slot] = p
		h.changed[slot] = true
		h.any.Store(h.bad.packs() > 0)
	}
}

// lost puts all frames of a pack into quarantine.
func (h *health) lost(slot uint32) {
	all := make([]uint32, h.index.Pack(slot).Frames)
	for i := range all {
		all[i] = uint32(i)
	}
	h.found(slot, all...)
}

// visited notes that a whole pack was read. Read by frames, it is known which of them are damaged (none may be, when the
// damage lies outside of them). Otherwise damaged says whether the digest is wrong: then all count, unless an earlier look by
// frames knows better.
func (h *health) visited(slot uint32, d depth, damaged bool, frames []uint32) {
	n := h.index.Pack(slot).Frames
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.at(slot)
	p := packHealth{seen: h.now().Unix(), depth: d, damaged: damaged}
	var bits []byte
	switch {
	case !damaged:
	case d == depthContent:
		bits = make([]byte, bitMapSize(n))
		for _, f := range frames {
			bits[f/8] |= 1 << (f % 8)
		}
	case was.damaged && was.depth == depthContent:
		p.depth, bits = depthContent, slices.Clone(h.bad.bits(slot))
	default:
		all := newRefSet()
		all.addAll(slot, n)
		bits = all.bits(slot)
	}
	h.line(slot, n, p, bits)
	h.changed[slot] = true
}

// at returns what is known about a pack. The caller holds mu.
func (h *health) at(slot uint32) packHealth {
	if int(slot) < len(h.packs) {
		return h.packs[slot]
	}
	return packHealth{}
}

// of returns what is known about a pack.
func (h *health) of(slot uint32) packHealth {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.at(slot)
}

// pending returns how many packs have news that are not durable.
func (h *health) pending() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.changed)
}

// keep makes durable what is known. Failing does no harm but that the work has to be done again, so that the error is only to
// be logged; a store that is open for reading keeps nothing.
func (h *health) keep(ctx context.Context) error {
	h.saving.Lock()
	defer h.saving.Unlock()
	h.mu.Lock()
	news := h.changed
	if len(news) == 0 {
		h.mu.Unlock()
		return nil
	}
	h.changed = map[uint32]bool{}
	merge := len(h.objects) >= mergeHealth
	var slots []uint32
	for slot, p := range h.packs {
		if news[uint32(slot)] || merge && p != (packHealth{}) {
			slots = append(slots, uint32(slot))
		}
	}
	name := healthName(h.next)
	h.next++
	var old []string
	if merge {
		old = h.objects
	}
	h.mu.Unlock()

	err := h.store.Put(ctx, name, h.encode(name, slots))
	h.mu.Lock()
	if err != nil {
		for slot := range news {
			h.changed[slot] = true
		}
		h.mu.Unlock()
		return err
	}
	h.objects = append(slices.Clone(h.objects[len(old):]), name)
	h.mu.Unlock()
	for _, name := range old {
		if err := h.store.Delete(ctx, name); err != nil && !fault.Is(err, fault.NotFound) {
			return err // it says nothing that the new one does not
		}
	}
	return nil
}

// encode makes an object about some packs.
func (h *health) encode(name string, slots []uint32) []byte {
	type line struct {
		slot uint32
		info pack.Info
	}
	var lines []line
	for _, slot := range slots {
		i := h.index.Pack(slot)
		if _, ok := h.index.Slot(i.ID); ok { // not deleted
			lines = append(lines, line{slot, i})
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return slices.Compare(a.info.ID[:], b.info.ID[:]) })
	var e seal.Encoder
	e.Raw([]byte(healthMagic))
	e.Uint(uint64(len(lines)))
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, l := range lines {
		p := h.packs[l.slot]
		e.Raw(l.info.ID[:])
		e.Uint(uint64(p.depth))
		e.Int(p.seen)
		e.Bool(p.damaged)
		if p.damaged {
			e.Uint(uint64(l.info.Frames))
			if bits := h.bad.bits(l.slot); bits != nil {
				e.Raw(bits)
			} else {
				e.Raw(make([]byte, bitMapSize(l.info.Frames)))
			}
		}
	}
	return h.maint.Wrap(name, e.B)
}

// keepHealth makes durable what an operation has found out, and logs what keeps it from that. The operation's own result does
// not depend on it, and it is not given up with the operation.
func (r *Repository) keepHealth(ctx context.Context) {
	if r.v.health.pending() == 0 {
		return
	}
	if err := r.v.health.keep(context.WithoutCancel(ctx)); err != nil {
		level := slog.LevelWarn
		if fault.Is(err, fault.State) {
			level = slog.LevelDebug // open for reading only
		}
		r.log.Log(ctx, level, "what was found out about damage is not kept", "err", err)
	}
}

// noteDamage puts a frame into quarantine and says so.
func (r *Repository) noteDamage(slot, frame uint32, err error) {
	if !r.v.health.damaged(slot, frame) {
		r.log.Error("a chunk is damaged", "pack", r.v.index.Pack(slot).Name(), "frame", frame, "err", err)
	}
	r.v.health.found(slot, frame)
}
