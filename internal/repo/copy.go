package repo

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/fault"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// copying is one running Copy: the source's side of the ingest conversation.
type copying struct {
	src  *Point
	pin  *pin
	dst  *Session
	runs chan run

	window *window
	offer  Offer
	places []framePlace

	entries, bytes, read atomic.Int64
}

// Copy stores src as a new recovery point of dst, a repository under unrelated keys. The manifest tells what the
// destination might need; what it asks for is read in the order of the packs, opened, and passed on compressed as it is.
// The destination recomputes every hash and seals under its own key. Copying again to an id that exists returns that
// recovery point's receipt. Errors are those of Backup, and fault.Corrupt for damage on either side.
func Copy(ctx context.Context, src *Point, dst *Repository, o CopyOptions) (Receipt, error) {
	pin, err := src.begin(ctx)
	if err != nil {
		return Receipt{}, err
	}
	defer pin.end()
	s, done, err := dst.Ingest(ctx, o.ID, o.Meta)
	if err != nil {
		return Receipt{}, err
	}
	if done != nil {
		if done.Root != src.rec.root {
			return Receipt{}, fault.New(fault.Conflict, "recovery point %s exists and has other content", o.ID).WithResource(o.ID)
		}
		return *done, nil
	}
	defer s.Abort()
	c := &copying{src: src, pin: pin, dst: s, runs: make(chan run, 4*src.r.workers), window: newWindow()}
	stop := report(ctx, src.r.clock, o.Progress, c.progress)
	err = c.run(ctx)
	stop()
	if err != nil {
		return Receipt{}, err
	}
	r, err := s.Seal(ctx, Seal{Root: src.rec.root})
	if err == nil && o.Progress != nil {
		o.Progress(c.progress())
	}
	return r, err
}

func (c *copying) progress() Progress {
	return Progress{
		Entries: c.entries.Load(), Bytes: c.bytes.Load(), Read: c.read.Load(), Stored: c.dst.s.sink.storedBytes.Load(),
		Total: c.src.rec.stats.LogicalBytes,
	}
}

// run sends the content and then the manifest, which is read twice: holding it back in between would need memory in
// proportion to the tree.
func (c *copying) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for range c.src.r.workers + 1 {
		g.Go(func() error {
			w := newRunReader(c.src.r)
			defer w.close()
			for x := range c.runs {
				if err := c.send(gctx, w, x); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(c.runs)
		return c.plan(gctx)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	p := &pageSender{c: c, fetch: c.src.r.fetchStored(c.pin)}
	if err := p.page(ctx, c.src.rec.root); err != nil {
		return err
	}
	return p.flush(ctx)
}

// plan walks the manifest and asks the destination about its chunks.
func (c *copying) plan(ctx context.Context) error {
	fetch := c.src.r.fetch(c.pin)
	cursor := c.src.cursor(c.pin)
	var last seal.Hash
	for {
		n, err := cursor.Next(ctx)
		if err != nil {
			return err
		}
		if n == nil {
			return c.ask(ctx)
		}
		c.entries.Add(1)
		c.bytes.Add(n.Content.Len())
		err = manifest.EachChunk(ctx, fetch, &n.Content, func(r manifest.Ref) error {
			if r.Hash == last {
				return nil // small files share chunks
			}
			last = r.Hash
			slot, frame, err := c.src.r.locate(ctx, c.pin, pack.Data, r.Hash)
			if err != nil {
				return err
			}
			c.offer.Chunks = append(c.offer.Chunks, OfferedChunk{Hash: r.Hash, Size: uint32(min(r.Size, 1<<32-1))})
			c.places = append(c.places, framePlace{slot, frame})
			if len(c.places) == 256 {
				return c.ask(ctx)
			}
			return nil
		}, nil)
		if err != nil {
			return err
		}
	}
}

// ask offers what has come together and has the needed chunks sent.
func (c *copying) ask(ctx context.Context) error {
	need, err := c.dst.Offer(ctx, c.offer)
	if err != nil {
		return err
	}
	for i, send := range need.Send {
		if send {
			c.window.uses[c.places[i]] = nil
		}
	}
	c.offer.Chunks, c.places = c.offer.Chunks[:0], c.places[:0]
	for _, x := range c.window.take(c.src.r) {
		if err := send(ctx, c.runs, x); err != nil {
			return err
		}
	}
	return nil
}

// send reads frames, opens them and passes them on.
func (c *copying) send(ctx context.Context, w *runReader, x run) error {
	return w.sealed(ctx, x.slot, x.frames, func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error {
		var err error
		if w.s.stored, err = d.Open(grow(w.s.stored, len(sealed)), x.frames[i], f, sealed); err != nil {
			return err
		}
		c.read.Add(int64(len(sealed)))
		return c.dst.Data(ctx, Data{Frames: []Frame{{Hash: f.Hash, Alg: f.Alg, Size: uint32(f.Size), Stored: w.s.stored}}})
	})
}

// storedFetch returns a page or a list as it is stored, and its plaintext.
type storedFetch func(ctx context.Context, h seal.Hash, list bool) (Frame, []byte, error)

// pageSender sends the manifest from the bottom up.
type pageSender struct {
	c     *copying
	fetch storedFetch
	batch Pages
	size  int
}

// page sends everything below a page and then the page.
func (p *pageSender) page(ctx context.Context, h seal.Hash) error {
	f, plain, err := p.fetch(ctx, h, false)
	if err != nil {
		return err
	}
	page, err := manifest.DecodePage(plain)
	if err != nil {
		return err
	}
	for _, child := range page.Children {
		if err := p.page(ctx, child.Hash); err != nil {
			return err
		}
	}
	for i := range page.Nodes {
		if err := p.lists(ctx, page.Nodes[i].Content.Refs, page.Nodes[i].Content.Depth); err != nil {
			return err
		}
	}
	return p.add(ctx, f)
}

// lists sends lists of chunks from the bottom up.
func (p *pageSender) lists(ctx context.Context, refs []manifest.Ref, depth byte) error {
	if depth == 0 {
		return nil
	}
	for _, r := range refs {
		f, plain, err := p.fetch(ctx, r.Hash, true)
		if err != nil {
			return err
		}
		below, err := manifest.DecodeList(plain, depth-1)
		if err != nil {
			return err
		}
		if err := p.lists(ctx, below, depth-1); err != nil {
			return err
		}
		f.List = true
		if err := p.add(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (p *pageSender) add(ctx context.Context, f Frame) error {
	p.batch.Frames = append(p.batch.Frames, f)
	if p.size += len(f.Stored); p.size >= 1<<20 || len(p.batch.Frames) == MaxFrames {
		return p.flush(ctx)
	}
	return nil
}

func (p *pageSender) flush(ctx context.Context) error {
	if len(p.batch.Frames) == 0 {
		return nil
	}
	err := p.c.dst.Pages(ctx, p.batch)
	p.batch, p.size = Pages{}, 0
	return err
}
