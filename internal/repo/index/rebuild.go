package index

import (
	"context"
	"strings"

	"strongroom/internal/blob"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// rebuildAt is how many entries go into one segment of a rebuilt index.
const rebuildAt = 1 << 20

// Rebuilder writes an index anew from the directories of packs. Until Finish, the segments it writes only add to what is
// there; the last one replaces everything that was there before, readable or not.
type Rebuilder struct {
	store   blob.Store
	maint   *seal.Maint
	old     []SegmentID
	entries []Entry
	packs   []pack.Info
}

// NewRebuilder begins.
func NewRebuilder(ctx context.Context, store blob.Store, m *seal.Maint) (*Rebuilder, error) {
	r := &Rebuilder{store: store, maint: m}
	err := store.List(ctx, prefix, func(i blob.Info) error {
		id, ok := ParseName(i.Name)
		if !ok {
			return corrupt(strings.ToValidUTF8(i.Name, "?"), "the name is no segment's")
		}
		r.old = append(r.old, id)
		return nil
	})
	return r, err
}

// Add adds a pack with the ids of its frames; the zero id stands for a frame of which nothing is known.
func (r *Rebuilder) Add(ctx context.Context, i pack.Info, ids []seal.Short) error {
	if len(r.entries) > 0 && len(r.entries)+len(ids) > rebuildAt {
		if err := r.write(ctx, nil); err != nil {
			return err
		}
		r.entries, r.packs = nil, nil
	}
	n := uint32(len(r.packs))
	r.packs = append(r.packs, i)
	for f, id := range ids {
		if id == (seal.Short{}) {
			continue
		}
		r.entries = append(r.entries, Entry{ID: id, Pack: n, Frame: uint32(f)})
	}
	return nil
}

// Finish writes the last segment.
func (r *Rebuilder) Finish(ctx context.Context) error { return r.write(ctx, r.old) }

func (r *Rebuilder) write(ctx context.Context, replaces []SegmentID) error {
	// Nothing is dropped once the old segments are replaced, so that one sequence serves all.
	seg, err := writeSegment(ctx, r.store, r.maint, &segment{id: newSegmentID(), sequence: 1, replaces: replaces}, r.entries, r.packs, false)
	if err == nil {
		seg.release()
	}
	return err
}
