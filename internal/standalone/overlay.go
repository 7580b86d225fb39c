package standalone

import (
	"context"
	"slices"
	"strings"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// overlay shows a vault that cannot be written as if parts of it were not there and others were: what is written goes to a
// store above it, which hides the objects below it with the same names. Nothing below is changed.
type overlay struct {
	below, above blob.Store
	hidden       []string // prefixes of names below that are not shown
}

var (
	_ blob.Store     = (*overlay)(nil)
	_ blob.Exclusive = (*overlay)(nil)
)

func (o *overlay) shown(name string) bool {
	return !slices.ContainsFunc(o.hidden, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Put implements blob.Store above.
func (o *overlay) Put(ctx context.Context, name string, data []byte) error {
	if err := o.free(ctx, name); err != nil {
		return err
	}
	return o.above.Put(ctx, name, data)
}

// Create implements blob.Store above.
func (o *overlay) Create(ctx context.Context, name string) (blob.Writer, error) {
	if err := o.free(ctx, name); err != nil {
		return nil, err
	}
	return o.above.Create(ctx, name)
}

func (o *overlay) free(ctx context.Context, name string) error {
	if !o.shown(name) {
		return nil
	}
	_, err := o.below.Stat(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil {
		err = blob.Taken(name)
	}
	return err
}

// ReadAt implements blob.Store: above, else below.
func (o *overlay) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	err := o.above.ReadAt(ctx, name, p, off)
	if fault.Is(err, fault.NotFound) && o.shown(name) {
		err = o.below.ReadAt(ctx, name, p, off)
	}
	return err
}

// Stat implements blob.Store: above, else below.
func (o *overlay) Stat(ctx context.Context, name string) (blob.Info, error) {
	i, err := o.above.Stat(ctx, name)
	if fault.Is(err, fault.NotFound) && o.shown(name) {
		i, err = o.below.Stat(ctx, name)
	}
	return i, err
}

// List implements blob.Store over both. What is above is little and held in memory.
func (o *overlay) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	var above []blob.Info
	if err := o.above.List(ctx, prefix, func(i blob.Info) error { above = append(above, i); return nil }); err != nil {
		return err
	}
	err := o.below.List(ctx, prefix, func(i blob.Info) error {
		if !o.shown(i.Name) || slices.ContainsFunc(above, func(a blob.Info) bool { return a.Name == i.Name }) {
			return nil
		}
		for len(above) > 0 && above[0].Name < i.Name {
			if err := fn(above[0]); err != nil {
				return err
			}
			above = above[1:]
		}
		return fn(i)
	})
	if err != nil {
		return err
	}
	for _, i := range above {
		if err := fn(i); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements blob.Store above; what is below stays.
func (o *overlay) Delete(ctx context.Context, name string) error {
	return o.above.Delete(ctx, name)
}

// Acquire implements blob.Exclusive as the store below does.
func (o *overlay) Acquire(ctx context.Context) (func(), error) {
	if x, ok := o.below.(blob.Exclusive); ok {
		return x.Acquire(ctx)
	}
	return func() {}, nil
}
