// Package resourcetest is the contract suite of resource providers, and the simplest possible engine to drive one: Capture
// holds what a source yields in memory, Replay feeds it to a target. For tests only.
//
// Start with Run (suite.go).
package resourcetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"

	"strongroom/internal/tree"
)

// Part is an entry with its content.
type Part struct {
	tree.Entry
	Data []byte // of the extents one after another
}

// Capture is a recovery point in memory.
type Capture []Part

// Problems lists the paths of the marked entries with their problems.
func (c Capture) Problems() map[string]string {
	out := map[string]string{}
	for _, p := range c {
		if p.Problem != "" {
			out[p.Path] = p.Problem
		}
	}
	return out
}

// Find returns the part with a path, or nil.
func (c Capture) Find(path string) *Part {
	for i := range c {
		if c[i].Path == path {
			return &c[i]
		}
	}
	return nil
}

// ReadAll walks a source the way an engine does: contents are opened on other goroutines while the walk goes on. It fails
// when the source breaks the rules of tree.Source.
func ReadAll(ctx context.Context, src tree.Source) (Capture, error) {
	var parts []*Part
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	last, first := "", true
	err := src.Walk(ctx, func(it tree.Item) error {
		e := it.Entry
		switch {
		case first && e.Path != "":
			return fmt.Errorf("the walk begins with %q, not with the root", e.Path)
		case !first && tree.Compare(last, e.Path) >= 0:
			return fmt.Errorf("%q after %q is not tree order", e.Path, last)
		case !tree.ValidPath(e.Path):
			return fmt.Errorf("%q is not a valid path", e.Path)
		case it.Open == nil && e.Type == tree.File && e.Hardlink == "":
			return fmt.Errorf("%q is a file without content", e.Path)
		case it.Open != nil && (e.Type != tree.File || e.Hardlink != ""):
			return fmt.Errorf("%q has content, but is a %v", e.Path, e.Type)
		}
		first, last = false, e.Path
		if it.Late != nil {
			it.Late(&e)
		}
		p := &Part{Entry: e}
		parts = append(parts, p)
		if it.Open == nil {
			return nil
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			p.read(ctx, it)
		})
		return nil
	})
	wg.Wait()
	out := make(Capture, len(parts))
	for i, p := range parts {
		out[i] = *p
	}
	return out, err
}

func (p *Part) read(ctx context.Context, it tree.Item) {
	c, err := it.Open(ctx)
	if err != nil {
		p.Problem = err.Error()
		return
	}
	defer c.Close()
	p.Extents = c.Extents()
	if p.Data, err = io.ReadAll(c); err != nil {
		p.Problem = err.Error()
		return
	}
	if _, problem := c.Check(); problem != "" {
		p.Problem = problem
	}
}

// Replay creates everything in a target: directories and other objects in order, contents in pieces in random order from
// several goroutines. It returns what was refused; err is what ended the restore.
func Replay(ctx context.Context, c Capture, t tree.Target) (refused []*tree.Refused, err error) {
	var mu sync.Mutex
	note := func(e error) error {
		r, rest := tree.Refusals(e)
		mu.Lock()
		defer mu.Unlock()
		refused = append(refused, r...)
		return rest
	}
	var wg sync.WaitGroup
	var failures []error
	slots := make(chan struct{}, 4)
	for i := range c {
		p := &c[i]
		w, err := t.Create(ctx, &p.Entry)
		if err := note(err); err != nil {
			failures = append(failures, err)
			break
		}
		if w == nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := p.write(w)
			if cerr := note(w.Close()); err == nil {
				err = cerr
			}
			if err != nil {
				mu.Lock()
				failures = append(failures, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(failures) > 0 {
		return refused, errors.Join(failures...)
	}
	return refused, note(t.Finish(ctx))
}

func (p *Part) write(w tree.Writer) error {
	type piece struct {
		off  int64
		data []byte
	}
	extents := p.Extents
	if extents == nil {
		extents = []tree.Extent{{Len: p.Size}}
	}
	var pieces []piece
	data := p.Data
	for _, x := range extents {
		for off := int64(0); off < x.Len && len(data) > 0; {
			n := min(x.Len-off, 1+rand.Int64N(100_000), int64(len(data)))
			pieces = append(pieces, piece{x.Off + off, data[:n]})
			data = data[n:]
			off += n
		}
	}
	rand.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	for half := range slices.Chunk(pieces, max(1, (len(pieces)+1)/2)) {
		for _, x := range half {
			if _, err := w.WriteAt(x.data, x.off); err != nil {
				return err
			}
		}
	}
	return nil
}
