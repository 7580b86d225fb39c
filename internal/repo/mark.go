package repo

import "context"

// mark finds out what is needed.
func (p *pruning) mark(ctx context.Context) (err error) {
	if p.recs, p.points, err = p.r.all(ctx); err != nil {
		return err
	}
	p.live = newRefSet()
	for _, rec := range p.recs {
		refs, _, err := p.r.v.loadRefs(ctx, rec)
		if err != nil {
			return err
		}
		p.live.union(refs)
		if _, ok := p.points[rec.id]; !ok && !p.o.DryRun {
			// The commit's own note got lost in a crash.
			if err := p.r.v.journal.committed(ctx, rec.id, rec.committed); err != nil {
				return err
			}
		}
	}
	return p.markSessions(ctx)
}
