package repo

import (
	"context"

	"strongroom/internal/fault"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/tree"
)

// Point is one recovery point. It holds nothing open: whether the recovery point still exists is asked by each method,
// which answers fault.NotFound when it was forgotten meanwhile. What a method has begun to read stays until it is done.
type Point struct {
	r      *Repository
	commit Commit
	rec    *record
}

// Point returns a recovery point. fault.NotFound; fault.Corrupt when its record is damaged; fault.State without root key.
func (r *Repository) Point(ctx context.Context, id string) (*Point, error) {
	if err := needRoot(r); err != nil {
		return nil, err
	}
	rec, retain, locked, err := r.live(ctx, id)
	if err != nil {
		return nil, err
	}
	return &Point{r: r, rec: rec, commit: rec.commit(retain, locked)}, nil
}

// Commit returns what the repository knew about the recovery point when Point was called.
func (p *Point) Commit() Commit { return p.commit }

// begin pins what the recovery point needs for one operation.
func (p *Point) begin(ctx context.Context) (*pin, error) {
	pin := p.r.v.begin()
	// Asked after pinning: a Forget before this is seen here, and after it Prune waits for the pin.
	if _, _, _, err := p.r.live(ctx, p.rec.id); err != nil {
		pin.end()
		return nil, err
	}
	return pin, nil
}

// cursor returns a cursor over the manifest.
func (p *Point) cursor(pin *pin) *manifest.Cursor {
	return manifest.NewCursor(p.r.fetch(pin), p.rec.root)
}

// Walk calls fn for the entry prefix and everything below it, in tree order; "" is everything. fn may keep the entry. It
// returns early with fn's error. A prefix that does not exist is fault.NotFound.
func (p *Point) Walk(ctx context.Context, prefix string, fn func(*tree.Entry) error) error {
	pin, err := p.begin(ctx)
	if err != nil {
		return err
	}
	defer pin.end()
	c := p.cursor(pin)
	if err := c.Seek(ctx, prefix); err != nil {
		return err
	}
	for first := true; ; first = false {
		n, err := c.Next(ctx)
		if err != nil {
			return err
		}
		if first && (n == nil || n.Path != prefix) {
			return noEntry(prefix)
		}
		if n == nil || !manifest.Within(n.Path, prefix) {
			return nil
		}
		if err := fn(&n.Entry); err != nil {
			return err
		}
	}
}

// Lookup returns one entry. fault.NotFound when there is none with this path.
func (p *Point) Lookup(ctx context.Context, path string) (tree.Entry, error) {
	pin, err := p.begin(ctx)
	if err != nil {
		return tree.Entry{}, err
	}
	defer pin.end()
	n, err := p.node(ctx, p.cursor(pin), path)
	if err != nil {
		return tree.Entry{}, err
	}
	return n.Entry, nil
}

func (p *Point) node(ctx context.Context, c *manifest.Cursor, path string) (*manifest.Node, error) {
	if err := c.Seek(ctx, path); err != nil {
		return nil, err
	}
	n, err := c.Next(ctx)
	if err != nil {
		return nil, err
	}
	if n == nil || n.Path != path {
		return nil, noEntry(path)
	}
	return n, nil
}

func noEntry(path string) error {
	return fault.New(fault.NotFound, "the recovery point has no entry %.300q", path).WithResource(path)
}
