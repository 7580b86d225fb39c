package standalone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
)

// Where the engine keeps what a rescue can do without, and what it lists.
const (
	indexObjects   = "index/"
	journalObjects = "journal/"
	pointObjects   = "rps/"
	packObjects    = "packs/"
	metaObjects    = "mpacks/"
)

// rescue opens the vault as far as it is still there. What has to be written for that goes to a directory of its own for temporary
// files: the vault may be on a read-only medium, and is evidence in any case.
func (v *Vault) rescue(ctx context.Context, reindex bool) error {
	const cost = "recovery points that were forgotten may be listed, lost ones cannot be named, and dates and locks are those they were made with"
	r := &salvage{v: v, below: v.store}
	why := ""
	switch index, err := r.holds(ctx, indexObjects); {
	case err != nil:
		return err
	case reindex:
		why = "as asked for"
	case !index:
		packs, err := r.holds(ctx, packObjects, metaObjects)
		if err != nil {
			return err
		}
		if packs {
			why = "it is missing"
		}
	}
	for {
		if why != "" {
			if err := r.reindex(ctx, why); err != nil {
				return err
			}
			why = ""
		}
		var err error
		v.repo, err = repo.Open(ctx, v.config())
		switch {
		case err == nil:
			journal, err := r.holds(ctx, journalObjects)
			if err != nil || journal {
				return err
			}
			// An empty journal and recovery points do not go together.
			points, err := r.holds(ctx, pointObjects)
			if points {
				v.caveats = append(v.caveats, "the journal is missing: "+cost)
			}
			return err
		case damagedIn(err, indexObjects) && !slices.Contains(r.hidden, indexObjects):
			why = err.Error()
		case damagedIn(err, journalObjects) && !slices.Contains(r.hidden, journalObjects):
			v.caveats = append(v.caveats, fmt.Sprintf("the journal is damaged (%v): %s", err, cost))
			if err := r.hide(journalObjects); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// salvage is a rescue under way.
type salvage struct {
	v      *Vault
	below  blob.Store // the vault as it is
	hidden []string   // what of it is not shown
}

// hide takes what is below a prefix away from the vault's store.
func (r *salvage) hide(prefix string) (err error) {
	if r.v.scratch == "" {
		if r.v.scratch, err = os.MkdirTemp("", "strongroom-rescue-"); err != nil {
			return err
		}
	}
	above, err := disk.Open(r.v.scratch)
	if err != nil {
		return err
	}
	r.hidden = append(r.hidden, prefix)
	r.v.store = &overlay{below: r.below, above: above, hidden: r.hidden}
	return nil
}

// reindex makes the index anew beside the vault.
func (r *salvage) reindex(ctx context.Context, why string) error {
	if err := r.hide(indexObjects); err != nil {
		return err
	}
	r.v.caveats = append(r.v.caveats, "the index was made anew from the packs ("+why+")")
	report, err := repo.Reindex(ctx, r.v.config())
	if err != nil {
		return fmt.Errorf("make the index anew: %w", err)
	}
	for _, f := range report.Findings {
		r.v.caveats = append(r.v.caveats, fmt.Sprintf("not in the index: %s: %s", f.Object, f.Reason))
	}
	if n := report.FindingCount - int64(len(report.Findings)); n > 0 {
		r.v.caveats = append(r.v.caveats, fmt.Sprintf("and %d more packs", n))
	}
	return nil
}

// holds reports whether there is an object below one of the prefixes, hidden or not.
func (r *salvage) holds(ctx context.Context, prefixes ...string) (bool, error) {
	found := errors.New("found")
	for _, p := range prefixes {
		if err := r.below.List(ctx, p, func(blob.Info) error { return found }); err != nil {
			return err == found, ignore(err, found)
		}
	}
	return false, nil
}

// damagedIn reports whether an error is about an object below a prefix.
func damagedIn(err error, prefix string) bool {
	f := fault.As(err)
	return f != nil && f.Kind == fault.Corrupt && strings.HasPrefix(f.Resource, prefix)
}

func ignore(err, expected error) error {
	if err == expected {
		return nil
	}
	return err
}

func (v *Vault) discard() {
	if v.scratch != "" {
		os.RemoveAll(v.scratch)
	}
}
