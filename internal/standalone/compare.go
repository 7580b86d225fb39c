package standalone

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/tree"
)

// Change is one path in which two recovery points differ.
type Change struct {
	Path string `json:"path"`
	Kind string `json:"change"` // "added", "removed" or "changed"
	Type string `json:"type"`   // as it is in the later one, if it is there
	// Fields is what differs in a changed one: type, mode, owner, size, mtime, ctime (of files), link, device, xattrs,
	// hardlink, problem.
	Fields []string `json:"fields,omitempty"`
	Before int64    `json:"size_before"`
	After  int64    `json:"size_after"`
}

// Diff calls fn for each path in which recovery point b differs from a, in tree order. It compares what the manifests say and
// reads no content: a file whose content has changed differs in size, mtime or at least ctime.
func (v *Vault) Diff(ctx context.Context, a, b string, fn func(Change) error) error {
	pa, err := v.point(ctx, a)
	if err != nil {
		return err
	}
	pb, err := v.point(ctx, b)
	if err != nil {
		return err
	}
	nextA, stopA := iter.Pull2(entries(ctx, pa))
	defer stopA()
	nextB, stopB := iter.Pull2(entries(ctx, pb))
	defer stopB()
	x, err := step(nextA)
	if err != nil {
		return err
	}
	y, err := step(nextB)
	for err == nil && (x != nil || y != nil) {
		var c Change
		order := 0
		switch {
		case y == nil:
			order = -1
		case x == nil:
			order = 1
		default:
			order = tree.Compare(x.Path, y.Path)
		}
		switch order {
		case -1:
			c = Change{Path: x.Path, Kind: "removed", Type: x.Type.String(), Before: x.Size}
			x, err = step(nextA)
		case 1:
			c = Change{Path: y.Path, Kind: "added", Type: y.Type.String(), After: y.Size}
			y, err = step(nextB)
		default:
			c = Change{Path: y.Path, Kind: "changed", Type: y.Type.String(), Fields: differences(x, y), Before: x.Size, After: y.Size}
			if x, err = step(nextA); err == nil {
				y, err = step(nextB)
			}
		}
		if err != nil {
			return err
		}
		if c.Kind != "changed" || len(c.Fields) > 0 {
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return err
}

// entries yields what is below the root, which a backup of directories makes up.
func entries(ctx context.Context, p *repo.Point) iter.Seq2[*tree.Entry, error] {
	return func(yield func(*tree.Entry, error) bool) {
		done := fault.New(fault.State, "enough")
		err := p.Walk(ctx, "", func(e *tree.Entry) error {
			if e.Path != "" && !yield(e, nil) {
				return done
			}
			return nil
		})
		if err != nil && err != error(done) {
			yield(nil, err)
		}
	}
}

func step(next func() (*tree.Entry, error, bool)) (*tree.Entry, error) {
	e, err, ok := next()
	if !ok {
		return nil, nil
	}
	return e, err
}

func differences(a, b *tree.Entry) (out []string) {
	note := func(differs bool, field string) {
		if differs {
			out = append(out, field)
		}
	}
	file := a.Type == tree.File && b.Type == tree.File
	note(a.Type != b.Type, "type")
	note(a.Mode != b.Mode, "mode")
	note(a.UID != b.UID || a.GID != b.GID, "owner")
	note(a.Size != b.Size, "size")
	note(a.Mtime != b.Mtime, "mtime")
	note(file && a.Ctime != b.Ctime, "ctime")
	note(a.Link != b.Link, "link")
	note(a.Rdev != b.Rdev, "device")
	note(!slices.EqualFunc(a.Xattrs, b.Xattrs, func(x, y tree.Xattr) bool { return x.Name == y.Name && bytes.Equal(x.Value, y.Value) }), "xattrs")
	note(a.Hardlink != b.Hardlink, "hardlink")
	note(a.Problem != b.Problem, "problem")
	return out
}

// Found is one path of one recovery point.
type Found struct {
	Point   string    `json:"recovery_point"`
	Created time.Time `json:"created"`
	Path    string    `json:"path"`
	Type    string    `json:"type"`
	Size    int64     `json:"size"`
	Mtime   time.Time `json:"mtime"`
}

// Find calls fn for each path that a pattern selects, in every recovery point, oldest first. Recovery points that cannot be
// read are returned, and the others are searched all the same.
func (v *Vault) Find(ctx context.Context, pattern string, fn func(Found) error) ([]Finding, error) {
	p, err := tree.ParsePattern(pattern)
	if err != nil {
		return nil, err
	}
	l, err := v.List(ctx)
	if err != nil {
		return nil, err
	}
	damaged := l.Damaged
	for _, rp := range l.Points {
		point, err := v.repo.Point(ctx, rp.ID)
		if err != nil {
			return damaged, err
		}
		err = point.Walk(ctx, "", func(e *tree.Entry) error {
			if !p.Matches(e.Path) {
				return nil
			}
			return fn(Found{rp.ID, rp.Created, e.Path, e.Type.String(), e.Size, time.Unix(0, e.Mtime).UTC()})
		})
		if fault.Is(err, fault.Corrupt) {
			damaged = append(damaged, Finding{Object: "manifest", Point: rp.ID, Reason: err.Error()})
			continue
		}
		if err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}
