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

const (
	refsMagic = "SRREFS\x00\x01"
	// maxDepth is how many reference sets one may build on.
	maxDepth = 15
)

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

// refsObject is one stored reference set: all frames that its recovery point needs, or, if depth is not 0, those that its
// base lacks. The base is another object, of a depth that is one lower.
//
// What holds: an object that another one builds on stays, also when its own recovery point is gone (marking.needed). It is
// never changed: when Prune moves frames, every object that names one is written anew as the next generation of itself, and
// so is every object that builds on it; the old ones stay until nothing builds on them.
type refsObject struct {
	key   refsKey
	depth int
	base  refsKey
	packs int
	lines []byte
}

// encodeRefs makes the object of a reference set. base is nil for a complete one. Packs are named by their ids: the index's
// numbers live in memory only.
func encodeRefs(k refsKey, base *refsObject, s *refSet, info func(uint32) pack.Info, maint *seal.Maint) []byte {
	type line struct {
		slot uint32
		id   seal.PackID
	}
	packs := make([]line, 0, s.packs())
	for slot := range s.all() {
		packs = append(packs, line{slot, info(slot).ID})
	}
	slices.SortFunc(packs, func(a, b line) int { return slices.Compare(a.id[:], b.id[:]) })
	e := seal.Encoder{B: make([]byte, 0, refsSize(s)+512)}
	e.Raw([]byte(refsMagic))
	e.String(k.id)
	e.Raw(k.attempt[:])
	e.Uint(k.generation)
	if base == nil {
		e.Uint(0)
	} else {
		e.Uint(uint64(base.depth) + 1)
		e.String(base.key.id)
		e.Raw(base.key.attempt[:])
		e.Uint(base.key.generation)
	}
	e.Uint(uint64(len(packs)))
	for _, p := range packs {
		e.Raw(p.id[:])
		frames, bits := s.frames(p.slot), s.bits(p.slot)
		e.Uint(uint64(frames))
		if countBits(bits) == int(frames) {
			e.B = append(e.B, 0) // all
			continue
		}
		e.B = append(e.B, 1)
		e.Raw(bits)
	}
	return maint.Wrap(k.name(), e.B)
}

// refsSize is about how many bytes a set takes when it is stored.
func refsSize(s *refSet) int {
	n := 0
	for slot, bits := range s.all() {
		if n += 20; countBits(bits) != int(s.frames(slot)) {
			n += len(bits)
		}
	}
	return n
}

// packRefs is one line of a stored reference set.
type packRefs struct {
	pack   seal.PackID
	frames uint32
	bits   []byte // nil: all
}

// decodeRefs authenticates a reference set. What it returns refers to data.
func decodeRefs(k refsKey, data []byte, maint *seal.Maint) (*refsObject, error) {
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
	o := &refsObject{key: k, depth: int(d.Max(maxDepth))}
	if o.depth > 0 {
		o.base.id = d.String()
		copy(o.base.attempt[:], d.Raw(len(o.base.attempt)))
		o.base.generation = d.Uint()
		if checkID(o.base.id) != nil {
			d.Fail("no recovery point has the id of its base")
		}
	}
	o.packs = d.Count(18)
	if err := d.Err(); err != nil {
		return nil, corrupt(k.name(), "%v", err)
	}
	o.lines = d.B
	return o, nil
}

// each passes on the lines of a reference set.
func (o *refsObject) each(fn func(p packRefs) error) error {
	d := &seal.Decoder{B: o.lines}
	var last seal.PackID
	for i := range o.packs {
		var p packRefs
		copy(p.pack[:], d.Raw(len(p.pack)))
		p.frames = uint32(d.Max(pack.MaxFrames))
		if d.Max(1) == 1 {
			p.bits = d.Raw(bitMapSize(p.frames))
			if r := p.frames % 8; r != 0 && len(p.bits) > 0 && p.bits[len(p.bits)-1]>>r != 0 {
				d.Fail("a frame that does not exist")
			}
			if n := countBits(p.bits); n == 0 || n == int(p.frames) {
				d.Fail("a bit map of all frames or none")
			}
		}
		if p.frames == 0 {
			d.Fail("a pack without frames")
		}
		if i > 0 && slices.Compare(last[:], p.pack[:]) >= 0 {
			d.Fail("packs out of order")
		}
		if err := d.Err(); err != nil {
			return corrupt(o.key.name(), "%v", err)
		}
		last = p.pack
		if err := fn(p); err != nil {
			return err
		}
	}
	if err := d.Done(); err != nil {
		return corrupt(o.key.name(), "%v", err)
	}
	return nil
}

// addTo adds what the object names to a set. Every pack in it must be known: an object that names unknown packs belongs to a
// lost pack, and nothing may be concluded from it.
func (o *refsObject) addTo(s *refSet, v *vault) error {
	return o.each(func(p packRefs) error {
		slot, frames, ok := v.index.Find(p.pack)
		switch {
		case !ok || frames != p.frames:
			return corrupt(o.key.name(), "pack %s is not in the index", p.pack)
		case p.bits == nil:
			s.addAll(slot, p.frames)
		default:
			s.addBits(slot, p.frames, p.bits)
		}
		return nil
	})
}

// readRefs reads one object. buf is memory that it may use, and grow; what it returns refers to it.
func (v *vault) readRefs(ctx context.Context, k refsKey, buf *[]byte) (*refsObject, error) {
	info, err := v.store.Stat(ctx, k.name())
	if err != nil {
		return nil, err
	}
	if info.Size > maxSmall {
		return nil, corrupt(k.name(), "it is larger than it may be")
	}
	*buf = grow(*buf, int(info.Size))[:info.Size]
	if info.Size > 0 {
		if err := v.store.ReadAt(ctx, k.name(), *buf, 0); err != nil {
			return nil, err
		}
	}
	return decodeRefs(k, *buf, v.maint)
}

// chain passes on a reference set and then those that it builds on. before is asked before each is read, if it is not nil.
func (v *vault) chain(ctx context.Context, k refsKey, before func(refsKey) error, fn func(*refsObject) error) error {
	var buf []byte
	for depth := -1; ; {
		if before != nil {
			if err := before(k); err != nil {
				return err
			}
		}
		o, err := v.readRefs(ctx, k, &buf)
		if err != nil {
			return err
		}
		if depth >= 0 && o.depth != depth-1 {
			return corrupt(k.name(), "it is no base for a set of depth %d", depth)
		}
		if err := fn(o); err != nil {
			return err
		}
		if o.depth == 0 {
			return nil
		}
		depth, k = o.depth, o.base
	}
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

// eachOf passes on the newest generation of a recovery point's reference set and what it builds on. A Prune may replace them
// in between: then begin is called once more, and all comes again.
func (v *vault) eachOf(ctx context.Context, r *record, begin func(), before func(refsKey) error, fn func(*refsObject) error) (k refsKey, err error) {
	for range 4 {
		if k, err = v.latestRefs(ctx, r); err != nil {
			return k, err
		}
		begin()
		if err = v.chain(ctx, k, before, fn); !fault.Is(err, fault.NotFound) {
			return k, err
		}
	}
	return k, corrupt(k.name(), "it, or what it builds on, is missing: %v", err)
}

// loadRefs reads what a recovery point refers to: at least what it needs.
func (v *vault) loadRefs(ctx context.Context, r *record) (*refSet, refsKey, error) {
	var s *refSet
	k, err := v.eachOf(ctx, r, func() { s = newRefSet() }, nil, func(o *refsObject) error { return o.addTo(s, v) })
	if err != nil {
		return nil, k, err
	}
	return s, k, nil
}
