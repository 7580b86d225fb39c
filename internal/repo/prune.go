package repo

import (
	"context"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// pruning is one running Prune.
type pruning struct {
	r      *Repository
	o      PruneOptions
	now    time.Time // trusted
	report PruneReport

	recs     []*record
	points   map[string]journaled
	marks    *marking
	live     *refSet
	released *refSet  // what forgotten recovery points needed
	cut      *refSet  // what sessions have that may go on
	ended    *refSet  // what sessions had that will not
	slots    []uint32 // all packs when the look began
}

// Prune frees what no recovery point needs: packs without a needed chunk go to the trash, and are deleted by the first Prune
// after the grace period; packs with few are rewritten (that takes the root key), and so are many small ones; what crashes
// and forgotten recovery points left goes too. It may run beside everything else. What a running operation might still need
// is left for the next Prune and counted as deferred.
//
// It deletes nothing when it cannot tell what is needed: a damaged or missing commit record or reference set is
// fault.Corrupt. fault.Limit: more would go than may go without approval (plan.go). fault.Unavailable: another Prune is
// running. After an error, everything that was begun is left for the next Prune to finish.
func (r *Repository) Prune(ctx context.Context, o PruneOptions) (PruneReport, error) {
	if err := r.desc.needs.mayPrune(); err != nil {
		return PruneReport{}, err
	}
	if !r.v.prune.TryLock() {
		return PruneReport{}, fault.New(fault.Unavailable, "the repository is being pruned already")
	}
	defer r.v.prune.Unlock()
	p := &pruning{r: r, o: o, now: o.Now}
	if p.now.IsZero() {
		p.now = r.clock.Now()
	}
	defer r.keepHealth(ctx)
	err := p.run(ctx)
	if full(err) {
		// Nothing can be moved on a full disk, but much deleted.
		o.RepackDead = -1
		again := func() error {
			p = &pruning{r: r, o: o, now: p.now}
			return p.run(ctx)
		}
		err = r.v.inReserve(ctx, again)
	}
	r.v.reserve(ctx)
	return p.report, err
}

func (p *pruning) run(ctx context.Context) error {
	v := p.r.v
	v.look()
	defer v.giveUp()
	defer v.refs.look()()
	if err := v.index.Refresh(ctx); err != nil {
		return err
	}
	if err := v.hide(ctx); err != nil {
		return err
	}
	// Packs that appear from here on are nobody's candidates.
	p.slots = v.index.Packs()
	if err := p.mark(ctx); err != nil {
		return err
	}
	if err := p.heal(ctx, true); err != nil {
		return err
	}
	if err := p.rescue(ctx); err != nil {
		return err
	}
	if err := p.release(ctx); err != nil {
		return err
	}
	dead := p.dead()
	chosen, err := p.choose(ctx)
	if err != nil {
		return err
	}
	p.plan(dead, chosen)
	if p.o.DryRun {
		return p.foresee(ctx)
	}
	if err := p.approved(); err != nil {
		return err
	}
	repacked, err := p.repack(ctx, chosen)
	if err != nil {
		return err
	}
	v.condemn(append(dead, repacked...))
	if err := p.throw(ctx); err != nil {
		return err
	}
	if err := p.purge(ctx); err != nil {
		return err
	}
	return p.tidy(ctx)
}

// dead counts the packs and returns those that nobody needs and that are not in the trash.
func (p *pruning) dead() (slots []uint32) {
	for _, slot := range p.slots {
		info := p.r.v.index.Pack(slot)
		p.report.Packs++
		p.report.StoredBytes += info.Size
		if p.live.bits(slot) == nil && !p.r.v.inTrash(slot) {
			slots = append(slots, slot)
		}
	}
	return slots
}

// foresee ends a dry run: it counts what this run would put into the trash or delete.
func (p *pruning) foresee(ctx context.Context) error {
	for _, k := range p.report.Plan.Packs {
		switch {
		case k.Repacked:
			p.report.RepackedPacks++
		case p.o.Grace > 0:
			p.report.TrashedPacks++
			p.report.TrashedBytes += k.Bytes
		default:
			p.report.DeletedPacks++
			p.report.FreedBytes += k.Bytes
		}
	}
	waiting, err := p.r.v.journal.inTrash(ctx)
	for _, t := range waiting {
		var size int64
		if slot, ok := p.r.v.index.Slot(t.id); ok {
			if p.live.bits(slot) != nil {
				continue // it would be taken out
			}
			size = p.r.v.index.Pack(slot).Size
		}
		if p.due(t.at) {
			p.report.DeletedPacks++
			p.report.FreedBytes += size
		} else {
			p.report.TrashedPacks++
			p.report.TrashedBytes += size
		}
	}
	return err
}

// tidy removes everything else that nobody needs.
func (p *pruning) tidy(ctx context.Context) error {
	drop := map[string]bool{}
	for id, j := range p.points {
		if !j.forgotten {
			continue
		}
		if wait, err := p.waits(ctx, id, j); wait || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		// The record first: one without a reference set would stop the next Prune.
		if err := p.remove(ctx, pointName(id)); err != nil {
			return err
		}
		drop[id] = true
		p.r.v.records.drop(id)
	}
	if err := p.tidyRefs(ctx, drop); err != nil {
		return err
	}
	if err := p.tidySessions(ctx); err != nil {
		return err
	}
	n, err := p.r.v.journal.checkpoint(ctx, drop, p.now)
	p.report.DeletedObjects += n
	if err != nil {
		return err
	}
	n, err = p.r.v.index.Clean(ctx)
	p.report.DeletedObjects += n
	if err != nil {
		return err
	}
	if c, ok := p.r.store.(blob.Cleaner); ok {
		p.report.TempFiles, err = c.Clean(ctx)
	}
	return err
}

// waits reports whether a forgotten recovery point can still be brought back, or explains packs that are not deleted yet.
func (p *pruning) waits(ctx context.Context, id string, j journaled) (bool, error) {
	rec, err := p.r.record(ctx, id)
	if err == nil {
		var refs *refSet
		if refs, _, err = p.r.v.loadRefs(ctx, rec); err == nil {
			return !p.due(j.at) || p.r.v.holds(refs), nil
		}
	}
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Corrupt) {
		return false, nil
	}
	return false, err
}

func (p *pruning) remove(ctx context.Context, name string) error {
	err := p.r.store.Delete(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil {
		p.report.DeletedObjects++
	}
	return err
}
