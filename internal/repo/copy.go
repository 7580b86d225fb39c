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
	dst  *sender
	ask  *outbound // what to ask, and the pages in the end, one after the other
	runs chan run

	window *window
	offer  Offer
	places []framePlace
	last   seal.Hash // offered last
	// same are the pages that the destination has with all that is below, where they border on what has changed.
	same map[seal.Hash]bool

	entries, bytes, read, pages atomic.Int64
}

// Copy stores src as a new recovery point of dst, a repository under unrelated keys. The manifest tells what the
// destination might need; parts of it that the last recovery point of the same resource has there are left out unread, and
// what is asked for is read in the order of the packs, opened, and passed on compressed as it is. The destination recomputes
// every hash and seals under its own key. Copying again to an id that exists returns that recovery point's receipt; a copy that was
// cut off goes on where it was. Errors are those of Backup, and fault.Corrupt for damage on either side.
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
	defer s.Close()
	c := newCopying(src, pin, s)
	stop := report(ctx, src.r.clock, o.Progress, func() Progress { return c.progress(s) })
	err = c.run(ctx)
	stop()
	if err != nil {
		return Receipt{}, err
	}
	r, err := c.seal(ctx)
	if err == nil && o.Progress != nil {
		o.Progress(c.progress(s))
	}
	return r, err
}

func newCopying(src *Point, pin *pin, dst conversation) *copying {
	s := newSender(dst, src.r.clock)
	return &copying{
		src: src, pin: pin, dst: s, ask: s.stream(), runs: make(chan run, 4*src.r.workers), window: newWindow(), same: map[seal.Hash]bool{},
	}
}

func (c *copying) progress(s *Session) Progress {
	return Progress{
		Entries: c.entries.Load(), Bytes: c.bytes.Load(), Read: c.read.Load(), Stored: s.s.sink.storedBytes.Load(),
		Total: c.src.rec.stats.LogicalBytes,
	}
}

// run sends the content and then the manifest, whose changed part is read twice: holding it back in between would need
// memory in proportion to it.
func (c *copying) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for range c.src.r.workers + 1 {
		out := c.dst.stream()
		g.Go(func() error {
			w := newRunReader(c.src.r)
			defer w.close()
			for x := range c.runs {
				if err := c.send(gctx, w, x, out); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(c.runs)
		p := &planner{c: c, fetch: c.src.r.fetch(c.pin)}
		if err := p.root(gctx); err != nil {
			return err
		}
		return c.flush(gctx)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if c.same[c.src.rec.root] {
		return nil
	}
	p := &pageSender{c: c, fetch: c.src.r.fetchStored(c.pin)}
	if err := p.page(ctx, c.src.rec.root); err != nil {
		return err
	}
	return p.flush(ctx)
}

func (c *copying) seal(ctx context.Context) (Receipt, error) {
	return c.dst.seal(ctx, Seal{Root: c.src.rec.root, Chunks: c.src.rec.stats.Chunks})
}

// planner walks the part of the manifest that has changed and asks about its chunks.
type planner struct {
	c     *copying
	fetch manifest.Fetch
}

func (p *planner) open(ctx context.Context, h seal.Hash) (*manifest.Page, error) {
	plain, err := p.fetch(ctx, h, false)
	if err != nil {
		return nil, err
	}
	p.c.pages.Add(1)
	return manifest.DecodePage(plain)
}

func (p *planner) root(ctx context.Context) error {
	root := p.c.src.rec.root
	page, err := p.open(ctx, root)
	if err != nil {
		return err
	}
	line := whole(root, page)
	if err := p.compare(ctx, []manifest.Child{line}, page.Level); err != nil {
		return err
	}
	if p.c.same[root] {
		p.c.skip(&line)
		return nil
	}
	return p.page(ctx, page)
}

// compare finds out which pages of one level the destination has.
func (p *planner) compare(ctx context.Context, lines []manifest.Child, level int) error {
	for len(lines) > 0 {
		var m Compare
		size := 0
		for len(lines) > 0 && len(m.Pages) < MaxCompare && size+len(lines[0].First) <= MaxMessage {
			m.Pages = append(m.Pages, OfferedPage{Hash: lines[0].Hash, Level: uint8(level), First: lines[0].First})
			size += len(lines[0].First)
			lines = lines[1:]
		}
		need, err := p.c.ask.compare(ctx, m)
		if err != nil {
			return err
		}
		for i, send := range need.Send {
			if !send {
				p.c.same[m.Pages[i].Hash] = true
			}
		}
	}
	return nil
}

// skip counts what is not sent.
func (c *copying) skip(l *manifest.Child) {
	c.entries.Add(int64(l.Entries))
	c.bytes.Add(int64(l.Bytes))
}

// page offers everything below a page that the destination does not have.
func (p *planner) page(ctx context.Context, page *manifest.Page) error {
	if page.Level == 0 {
		for i := range page.Nodes {
			if err := p.node(ctx, &page.Nodes[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := p.compare(ctx, page.Children, page.Level-1); err != nil {
		return err
	}
	for i := range page.Children {
		line := &page.Children[i]
		if p.c.same[line.Hash] {
			p.c.skip(line)
			continue
		}
		below, err := p.open(ctx, line.Hash)
		if err != nil {
			return err
		}
		if below.Level != page.Level-1 {
			return fault.New(fault.Corrupt, "a manifest page stands in the wrong place")
		}
		if err := p.page(ctx, below); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) node(ctx context.Context, n *manifest.Node) error {
	c := p.c
	c.entries.Add(1)
	c.bytes.Add(n.Content.Len())
	return manifest.EachChunk(ctx, p.fetch, &n.Content, func(r manifest.Ref) error {
		if r.Hash == c.last {
			return nil // small files share chunks
		}
		c.last = r.Hash
		slot, frame, err := c.src.r.locate(ctx, c.pin, pack.Data, r.Hash)
		if err != nil {
			return err
		}
		c.offer.Chunks = append(c.offer.Chunks, OfferedChunk{Hash: r.Hash, Size: uint32(min(r.Size, 1<<32-1))})
		c.places = append(c.places, framePlace{slot, frame})
		if len(c.places) == 256 {
			return c.flush(ctx)
		}
		return nil
	}, nil)
}

// flush offers what has come together and has the needed chunks sent.
func (c *copying) flush(ctx context.Context) error {
	if len(c.places) == 0 {
		return nil
	}
	need, err := c.ask.offer(ctx, c.offer)
	if err != nil {
		return err
	}
	for i, send := range need.Send {
		if send {
			c.window.uses[c.places[i]] = []use{{hash: c.offer.Chunks[i].Hash}}
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

// send reads frames, opens them and passes them on. A chunk that cannot be read where it was looked for is taken from wherever
// it is intact.
func (c *copying) send(ctx context.Context, w *runReader, x run, out *outbound) error {
	elsewhere := func(i int, cause error) error {
		if !unreadable(cause) {
			return cause
		}
		f, _, err := c.src.r.chunk(ctx, c.pin, pack.Data, x.uses[i][0].hash, &w.s, w.codec)
		if err != nil {
			return err
		}
		return c.pass(ctx, f, w.s.stored, out)
	}
	return w.each(ctx, x.slot, x.frames, func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error {
		var err error
		w.s.stored, err = d.Open(grow(w.s.stored, len(sealed)), x.frames[i], f, sealed)
		if err == nil && f.Hash != x.uses[i][0].hash { // the index is authentic, but made without the root key
			err = corrupt(d.Name(), "frame %d holds another chunk than the index says", x.frames[i])
		}
		if err != nil {
			return elsewhere(i, err)
		}
		return c.pass(ctx, f, w.s.stored, out)
	}, elsewhere)
}

// pass sends one chunk.
func (c *copying) pass(ctx context.Context, f pack.Frame, stored []byte, out *outbound) error {
	c.read.Add(int64(f.Len))
	return out.data(ctx, Data{Frames: []Frame{{Hash: f.Hash, Alg: f.Alg, Size: uint32(f.Size), Stored: stored}}})
}

// storedFetch returns a page or a list as it is stored, and its plaintext.
type storedFetch func(ctx context.Context, h seal.Hash, list bool) (Frame, []byte, error)

// pageBatch is about how much of the manifest goes into one message.
const pageBatch = 1 << 20

// pageSender sends the changed part of the manifest from the bottom up.
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
	p.c.pages.Add(1)
	page, err := manifest.DecodePage(plain)
	if err != nil {
		return err
	}
	for _, child := range page.Children {
		if p.c.same[child.Hash] {
			continue
		}
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
	if p.size+len(f.Stored) > pageBatch {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	p.batch.Frames = append(p.batch.Frames, f)
	if p.size += len(f.Stored); len(p.batch.Frames) == MaxFrames {
		return p.flush(ctx)
	}
	return nil
}

func (p *pageSender) flush(ctx context.Context) error {
	if len(p.batch.Frames) == 0 {
		return nil
	}
	err := p.c.ask.pages(ctx, p.batch)
	p.batch, p.size = Pages{}, 0
	return err
}
