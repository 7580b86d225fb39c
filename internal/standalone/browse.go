package standalone

import (
	"context"

	"strongroom/internal/repo"
)

// Browsed is a recovery point that can be read piece by piece.
type Browsed struct {
	RecoveryPoint
	*repo.Browser
}

// Browse returns a recovery point (by its id or ARN), or all of them when id is "", oldest first, for reading single files
// without restoring. All share a cache of so many bytes. Damaged recovery points are left out of all, and named.
func (v *Vault) Browse(ctx context.Context, id string, cache int) ([]Browsed, []Finding, error) {
	kept := repo.NewBrowseCache(cache)
	if id != "" {
		p, err := v.point(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		c := p.Commit()
		return []Browsed{{describe(&c), p.Browse(kept)}}, nil, nil
	}
	l, err := v.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	out := make([]Browsed, 0, len(l.Points))
	for _, rp := range l.Points {
		p, err := v.repo.Point(ctx, rp.ID)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, Browsed{rp, p.Browse(kept)})
	}
	return out, l.Damaged, nil
}
