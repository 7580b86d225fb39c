package repo

import (
	"context"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// pruning is one running Prune.
type pruning struct {
	r      *Repository
	o      PruneOptions
	report PruneReport

	recs   []*record
	points map[string]journaled
	live   *refSet
	slots  []uint32 // all packs when the look began
}

// Prune frees what no recovery point needs: packs without a needed chunk are deleted, packs with few are rewritten (that
// takes the root key), and so are many small ones; what crashes and forgotten recovery points left goes too. It may run
// beside everything else. What a running operation might still need is left for the next Prune and counted as deferred.
//
// It deletes nothing when it cannot tell what is needed: a damaged or missing commit record or reference set is
// fault.Corrupt. fault.Limit: MaxFraction. fault.Unavailable: another Prune is running.
func (r *Repository) Prune(ctx context.Context, o PruneOptions) (PruneReport, error) {
	if !r.v.prune.TryLock() {
		return PruneReport{}, fault.New(fault.Unavailable, "the repository is being pruned already")
	}
	defer r.v.prune.Unlock()
	p := &pruning{r: r, o: o}
	r.v.look()
	defer r.v.giveUp()
	if err := r.v.index.Refresh(ctx); err != nil {
		return PruneReport{}, err
	}
	// Packs that appear from here on are nobody's candidates.
	p.slots = r.v.index.Packs()
	if err := p.mark(ctx); err != nil {
		return p.report, err
	}
	var dead []uint32
	var freed int64
	for _, slot := range p.slots {
		info := r.v.index.Pack(slot)
		p.report.Packs++
		p.report.StoredBytes += info.Size
		if p.live.bits(slot) == nil {
			dead = append(dead, slot)
			freed += info.Size
		}
	}
	if o.MaxFraction > 0 && float64(freed) > o.MaxFraction*float64(p.report.StoredBytes) {
		return p.report, fault.New(fault.Limit, "pruning would free %d of %d bytes, more than the part of %.2f that is allowed at once", freed, p.report.StoredBytes, o.MaxFraction)
	}
	repacked, err := p.repack(ctx)
	if err != nil {
		return p.report, err
	}
	if o.DryRun {
		p.report.DeletedPacks, p.report.FreedBytes = len(dead), freed
		return p.report, nil
	}
	r.v.condemn(append(dead, repacked...))
	if err := p.sweep(ctx); err != nil {
		return p.report, err
	}
	err = p.tidy(ctx)
	return p.report, err
}

// sweep deletes what may be deleted. First the index forgets the packs, durably; then they go.
func (p *pruning) sweep(ctx context.Context) error {
	packs, deferred := p.r.v.sweep()
	p.report.DeferredPacks = deferred
	if len(packs) == 0 {
		return nil
	}
	if err := p.r.v.index.Drop(ctx, packs); err != nil {
		return err
	}
	for slot := range packs {
		info := p.r.v.index.Pack(slot)
		if err := p.r.store.Delete(ctx, info.Name()); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		p.report.DeletedPacks++
		p.report.FreedBytes += info.Size
	}
	return nil
}

// tidy removes everything else that nobody needs.
func (p *pruning) tidy(ctx context.Context) error {
	drop := map[string]bool{}
	for id, j := range p.points {
		if !j.forgotten {
			continue
		}
		// The record first: one without a reference set would stop the next Prune.
		if err := p.remove(ctx, pointName(id)); err != nil {
			return err
		}
		drop[id] = true
		p.r.v.mu.Lock()
		delete(p.r.v.records, id)
		p.r.v.mu.Unlock()
	}
	if err := p.tidyRefs(ctx); err != nil {
		return err
	}
	n, err := p.r.v.journal.checkpoint(ctx, drop, p.r.clock.Now())
	p.report.DeletedObjects += n
	if err != nil {
		return err
	}
	if err := p.tidyPacks(ctx); err != nil {
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

// tidyRefs removes reference sets that belong to no recovery point, to attempts that did not commit, and generations that
// have a successor.
func (p *pruning) tidyRefs(ctx context.Context) error {
	byID := map[string][]refsKey{}
	err := p.r.store.List(ctx, refsPrefix, func(i blob.Info) error {
		if k, ok := parseRefsName(i.Name); ok {
			byID[k.id] = append(byID[k.id], k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, keys := range byID {
		if err := p.tidyPoint(ctx, id, keys); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruning) tidyPoint(ctx context.Context, id string, keys []refsKey) error {
	free, err := p.r.v.claim(id)
	if err != nil {
		return nil // being written: next time
	}
	defer free()
	var keep refsKey
	rec, err := p.r.record(ctx, id)
	if err == nil && !p.points[id].forgotten {
		keep, err = p.r.v.latestRefs(ctx, rec)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	for _, k := range keys {
		if k != keep {
			if err := p.remove(ctx, k.name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// tidyPacks removes packs that are not in the index: a crash came before they could be published.
func (p *pruning) tidyPacks(ctx context.Context) error {
	orphans := map[seal.PackID]blob.Info{}
	for _, prefix := range pack.Prefixes() {
		err := p.r.store.List(ctx, prefix, func(i blob.Info) error {
			if _, id, ok := pack.ParseName(i.Name); ok && p.r.v.abandoned(id) {
				orphans[id] = i
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(orphans) == 0 {
		return nil
	}
	// Whoever wrote them is gone, but may have got them into the index without knowing.
	if err := p.r.v.index.Refresh(ctx); err != nil {
		return err
	}
	for id, i := range orphans {
		if !p.r.v.abandoned(id) {
			continue
		}
		if err := p.remove(ctx, i.Name); err != nil {
			return err
		}
		p.report.FreedBytes += i.Size
	}
	return nil
}
