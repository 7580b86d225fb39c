package repo

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"strongroom/internal/fault"
)

// What a Prune may take out of a vault at once without being asked for by a person.
const (
	defaultFraction = 0.1
	defaultFloor    = 1 << 30 // what interrupted work leaves behind, or a small vault as a whole
	maxUnasked      = 1 << 40
)

// Plan says what a Prune would take out of the vault.
type Plan struct {
	Packs []PlannedPack // in the order of their ids
	// Unaccounted is how many of the bytes belong to packs that no forgotten recovery point explains: interrupted work, or a
	// mistake about what is needed. Limit is how many of them may go without approval.
	Unaccounted, Limit int64
	// Digest names the unaccounted packs of this vault, "" if there are none. PruneOptions.Approved takes it.
	Digest string
}

// PlannedPack is one pack that would go.
type PlannedPack struct {
	Name        string
	Bytes       int64
	Repacked    bool // what is needed of it is moved first
	Unaccounted bool
}

// Approvable reports whether the plan needs somebody's approval.
func (p *Plan) Approvable() bool { return p.Unaccounted > p.Limit }

// release gathers what forgotten recovery points needed that are still known. One that cannot be read explains nothing.
func (p *pruning) release(ctx context.Context) error {
	p.released = newRefSet()
	p.released.union(p.ended)
	for id, j := range p.points {
		if !j.forgotten {
			continue
		}
		rec, err := p.r.record(ctx, id)
		if err == nil {
			err = p.marks.need(ctx, rec, p.released, false)
		}
		if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Corrupt) {
			return err
		}
	}
	return nil
}

// plan lists what the run would take out of the vault: dead packs, and those to be rewritten.
//
// A dead pack is accounted for when a forgotten recovery point named it, or an earlier run had decided about it: that
// somebody deleted the recovery point, or that the rule for its retention was given, is the approval. What nobody can
// account for may go up to a limit only. Packs that are rewritten are not counted: that every recovery point finds what it
// needs in the new place is checked for each of them.
func (p *pruning) plan(dead, chosen []uint32) {
	plan := &p.report.Plan
	add := func(slot uint32, repacked, unaccounted bool) {
		i := p.r.v.index.Pack(slot)
		plan.Packs = append(plan.Packs, PlannedPack{Name: i.Name(), Bytes: i.Size, Repacked: repacked, Unaccounted: unaccounted})
		if unaccounted {
			plan.Unaccounted += i.Size
		}
	}
	decided := p.r.v.decided()
	for _, slot := range dead {
		add(slot, false, p.released.bits(slot) == nil && !decided[slot])
	}
	for _, slot := range chosen {
		add(slot, true, false)
	}
	slices.SortFunc(plan.Packs, func(a, b PlannedPack) int { return compareIDs(a.Name, b.Name) })
	fraction, floor := p.o.MaxFraction, p.o.MinBytes
	if fraction == 0 {
		fraction = defaultFraction
	}
	if floor == 0 {
		floor = defaultFloor
	}
	plan.Limit = min(maxUnasked, max(floor, int64(fraction*float64(p.report.StoredBytes))))
	if fraction < 0 {
		plan.Limit = 1<<63 - 1
	}
	if plan.Unaccounted == 0 {
		return
	}
	h := sha256.New()
	vault := p.r.maint.Vault()
	h.Write([]byte("strongroom prune 1\x00"))
	h.Write(vault[:])
	for _, k := range plan.Packs {
		if k.Unaccounted {
			h.Write([]byte(k.Name))
			h.Write(binary.LittleEndian.AppendUint64([]byte{0}, uint64(k.Bytes)))
		}
	}
	plan.Digest = hex.EncodeToString(h.Sum(nil))
}

// compareIDs orders names of packs by the ids at their ends.
func compareIDs(a, b string) int {
	const id = 32
	x, y := a[len(a)-id:], b[len(b)-id:]
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// approved refuses a plan that needs approval and does not have it.
func (p *pruning) approved() error {
	plan := &p.report.Plan
	if !plan.Approvable() || p.o.Approved == plan.Digest {
		return nil
	}
	what := "nobody approved it"
	if p.o.Approved != "" {
		what = "what was approved is another plan"
	}
	return fault.New(fault.Limit, "pruning would delete %d of %d bytes that no forgotten recovery point accounts for, more than the %d that may go at once, and %s: look at the plan of a dry run, and approve it by its digest %s if it is right",
		plan.Unaccounted, p.report.StoredBytes, plan.Limit, what, plan.Digest)
}
