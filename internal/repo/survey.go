package repo

import (
	"context"
	"maps"
	"slices"

	"strongroom/internal/fault"
)

// Survey is List for a repository that may be damaged: it returns every recovery point whose commit record is intact, in the
// order of their ids, and names those that are not. Whoever decides what is needed uses List, which fails instead.
func (r *Repository) Survey(ctx context.Context) (points []Commit, damaged []Finding, err error) {
	journal, err := r.v.journal.snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids, err := r.stored(ctx)
	if err != nil {
		return nil, nil, err
	}
	there := map[string]bool{}
	for _, id := range ids {
		there[id] = true
		if journal[id].forgotten {
			continue
		}
		rec, err := r.record(ctx, id)
		switch {
		case err == nil:
			points = append(points, rec.commit(mergeRetention(rec, journal[id])))
		case fault.Is(err, fault.Corrupt), fault.Is(err, fault.Invalid):
			damaged = append(damaged, Finding{Object: pointName(id), Point: id, Reason: err.Error()})
		default:
			return nil, nil, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(journal)) {
		if !journal[id].forgotten && !there[id] {
			damaged = append(damaged, Finding{Object: pointName(id), Point: id, Reason: "the commit record is missing"})
		}
	}
	return points, damaged, nil
}
