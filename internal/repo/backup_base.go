package repo

import (
	"context"

	"strongroom/internal/fault"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// base is the previous recovery point during a backup: a cursor that keeps pace with the walk.
type base struct {
	r      *Repository
	s      *session
	id     string
	fetch  manifest.Fetch
	cursor *manifest.Cursor
	node   *manifest.Node // the next one; nil at the end
	known  map[seal.Hash]bool
}

// maxKnown bounds the memory of chunks that were looked up.
const maxKnown = 1 << 15

// openBase returns the base, or nil when there is none that can be used.
func (r *Repository) openBase(ctx context.Context, s *session, id string) (*base, error) {
	if id == "" {
		return nil, nil
	}
	rec, _, _, err := r.live(ctx, id)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Corrupt) {
		r.log.Warn("the base of a backup cannot be used, everything is read", "base", id, "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.base = rec
	b := &base{r: r, s: s, id: id, fetch: r.fetch(s.pin), known: map[seal.Hash]bool{}}
	b.cursor = manifest.NewCursor(b.fetch, rec.root)
	return b, b.next(ctx)
}

// next moves on. A damaged base ends here: what follows is read from the source.
func (b *base) next(ctx context.Context) error {
	n, err := b.cursor.Next(ctx)
	if fault.Is(err, fault.Corrupt) {
		b.r.log.Warn("the base of a backup is damaged, the rest is read", "base", b.id, "err", err)
		n, err = nil, nil
	}
	b.node = n
	return err
}

// reuse takes over the content of a file that has not changed since the base, if the repository still has all of it.
func (b *base) reuse(ctx context.Context, e *entry) (bool, error) {
	if b == nil {
		return false, nil
	}
	for b.node != nil && tree.Less(b.node.Path, e.Path) {
		if err := b.next(ctx); err != nil {
			return false, err
		}
	}
	if b.node == nil || b.node.Path != e.Path || !tree.Unchanged(&b.node.Entry, &e.Entry) {
		return false, nil
	}
	if b.node.Content.Kind == manifest.None && manifest.DataLen(&b.node.Entry) != 0 {
		return false, nil
	}
	there, err := b.there(ctx, &b.node.Content)
	if err != nil || !there {
		return false, err
	}
	e.Content, e.Extents = b.node.Content, b.node.Extents
	if e.late != nil {
		e.Xattrs, e.late = b.node.Xattrs, nil
	}
	e.unchanged = true
	return true, nil
}

// there reports whether every chunk of a content is in the repository, and notes that this backup needs them.
func (b *base) there(ctx context.Context, c *manifest.Content) (bool, error) {
	ok := true
	look := func(kind byte, h seal.Hash) error {
		if b.known[h] {
			return nil
		}
		found, err := b.s.sink.known(ctx, b.r.root.CID(kind, h).Short())
		if err != nil {
			return err
		}
		if !found {
			ok = false
			return fault.New(fault.Corrupt, "a chunk is missing")
		}
		if len(b.known) >= maxKnown {
			clear(b.known)
		}
		b.known[h] = true
		return nil
	}
	err := manifest.EachChunk(ctx, b.fetch, c,
		func(r manifest.Ref) error { return look(pack.Data, r.Hash) },
		func(h seal.Hash) error { return look(pack.List, h) })
	if fault.Is(err, fault.Corrupt) {
		if ok {
			b.r.log.Warn("a list of chunks of the base is damaged, its file is read", "base", b.id, "err", err)
		}
		return false, nil
	}
	return ok, err
}
