package repo

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
)

// content reads every frame that the gathered reference sets name.
func (c *checking) content(ctx context.Context, progress func(Progress)) error {
	union := newRefSet()
	for _, refs := range c.refs {
		union.union(refs)
	}
	var bytes, read atomic.Int64
	stop := report(ctx, c.r.clock, progress, func() Progress { return Progress{Bytes: bytes.Load(), Read: read.Load()} })
	defer stop()
	runs := make(chan run, 4*c.r.workers)
	g, gctx := errgroup.WithContext(ctx)
	for range c.r.workers + 1 {
		g.Go(func() error {
			w := newRunReader(c.r)
			defer w.close()
			for x := range runs {
				if err := c.verify(gctx, w, x, &bytes, &read); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(runs)
		for slot, bits := range union.all() {
			for frames := framesOf(bits); len(frames) > 0; {
				k := min(16, len(frames))
				if err := send(gctx, runs, run{slot: slot, frames: frames[:k]}); err != nil {
					return err
				}
				frames = frames[k:]
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	c.report.Bytes = bytes.Load()
	return c.spoiled(ctx)
}

// verify reads the frames of a run. A damaged frame is noted, and the others are still read.
func (c *checking) verify(ctx context.Context, w *runReader, x run, bytes, read *atomic.Int64) error {
	mark := func(frames []uint32) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, n := range frames {
			c.bad[framePlace{x.slot, n}] = true
		}
	}
	next := 0
	err := w.sealed(ctx, x.slot, x.frames, func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error {
		next = i + 1
		read.Add(int64(f.Len))
		plain, err := c.r.unpack(d, x.frames[i], f, sealed, &w.s, w.codec)
		if err != nil {
			mark(x.frames[i : i+1])
			return c.find(d.Name(), "", err)
		}
		bytes.Add(int64(len(plain)))
		return nil
	})
	if fault.Is(err, fault.Corrupt) {
		// The pack's directory or a range of it cannot be had.
		mark(x.frames[next:])
		return c.find(c.r.v.index.Pack(x.slot).Name(), "", err)
	}
	return err
}
