package repo

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// VerifyAll is Check, and reads every byte of every pack, opens and verifies every chunk, and compares the packs with their
// digests. Damage is reported with each recovery point and path that it spoils. What it finds goes into quarantine, and how
// far it came is kept, so that another VerifyAll may go on there; nothing else is changed.
func (r *Repository) VerifyAll(ctx context.Context, o *PassOptions) (CheckReport, error) {
	if err := needRoot(r); err != nil {
		return CheckReport{}, err
	}
	c := r.newCheck(o)
	defer c.pin.end()
	defer r.keepHealth(ctx)
	if err := c.pass(ctx, depthContent); err != nil {
		return c.report, err
	}
	ids, err := c.tables(ctx)
	if err == nil {
		err = c.points(ctx, ids)
	}
	return c.report, err
}

// Verify reads, opens and verifies every chunk that the recovery point needs, and reports each path that damage spoils. What it
// finds damaged goes into quarantine.
func (p *Point) Verify(ctx context.Context, progress func(Progress)) (CheckReport, error) {
	pin, err := p.begin(ctx)
	if err != nil {
		return CheckReport{}, err
	}
	defer pin.end()
	c := p.r.newCheck(&PassOptions{Progress: progress})
	defer c.pin.end()
	defer p.r.keepHealth(ctx)
	refs, _, err := p.r.v.loadRefs(ctx, p.rec)
	if err != nil {
		if !unreadable(err) {
			return c.report, err
		}
		if refs, err = c.needed(ctx, p.rec); err != nil {
			return c.report, err
		}
	}
	if err = c.content(ctx, refs); err == nil {
		err = c.points(ctx, []string{p.rec.id})
	}
	return c.report, err
}

// needed finds out from the manifest what a recovery point needs, when its reference set cannot be read. What cannot be found
// is left out: point reports it.
func (c *checking) needed(ctx context.Context, rec *record) (*refSet, error) {
	refs := newRefSet()
	add := func(kind byte, h seal.Hash) error {
		slot, frame, err := c.r.locate(ctx, c.pin, kind, h)
		if err == nil {
			refs.add(slot, frame, c.r.v.index.Pack(slot).Frames)
		} else if unreadable(err) {
			err = nil
		}
		return err
	}
	fetch := c.r.fetch(c.pin)
	cursor := manifest.NewCursor(fetch, rec.root)
	cursor.Observe(func(h seal.Hash, _ *manifest.Page) error { return add(pack.Page, h) })
	cursor.Tolerate(func(l manifest.Lost) error {
		if unreadable(l.Err) {
			return nil
		}
		return l.Err
	})
	for {
		n, err := cursor.Next(ctx)
		if n == nil || err != nil {
			return refs, err
		}
		err = manifest.EachChunk(ctx, fetch, &n.Content, func(r manifest.Ref) error { return add(pack.Data, r.Hash) },
			func(h seal.Hash) error { return add(pack.List, h) })
		if err != nil && !unreadable(err) {
			return nil, err
		}
	}
}

// content reads every frame of a set.
func (c *checking) content(ctx context.Context, refs *refSet) error {
	var bytes, read atomic.Int64
	stop := report(ctx, c.r.clock, c.o.Progress, func() Progress { return Progress{Bytes: bytes.Load(), Read: read.Load()} })
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
		for slot, bits := range refs.all() {
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
	err := g.Wait()
	c.report.Bytes += bytes.Load()
	return err
}

// verify reads the frames of a run. A damaged frame goes into quarantine, and the others are still read.
func (c *checking) verify(ctx context.Context, w *runReader, x run, bytes, read *atomic.Int64) error {
	fail := func(i int, err error) error {
		if info := c.r.v.index.Pack(x.slot); c.unlessPruned(info, err) != nil {
			c.r.noteDamage(x.slot, x.frames[i], err)
			return c.find(info.Name(), "", err)
		}
		return nil
	}
	return w.each(ctx, x.slot, x.frames, func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error {
		read.Add(int64(f.Len))
		plain, err := c.r.unpack(d, x.frames[i], f, sealed, &w.s, w.codec)
		if err != nil {
			return fail(i, err)
		}
		bytes.Add(int64(len(plain)))
		return nil
	}, fail)
}
