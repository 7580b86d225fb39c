package repo

import (
	"context"
	"errors"
	"io"

	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// piece is a chunk on its way to a pack.
type piece struct {
	data  []byte
	block *block
	hash  seal.Hash     // valid when done is closed
	done  chan struct{} // closed when the chunk is stored, or known to be
}

func newPiece() *piece { return &piece{done: make(chan struct{})} }

type opener = func(context.Context) (tree.Content, error)

// finishFile brings an entry into agreement with what was read: n bytes of content with these extents. now and problem
// are what Content.Check said.
func finishFile(e *entry, extents []tree.Extent, n int64, more bool, now tree.Entry, problem string) {
	was := e.Problem
	if now.Type == tree.File && problem == "" {
		// The metadata that the content was read with, not what the walk saw some time before.
		path, link := e.Path, e.Hardlink
		e.Entry = now
		e.Path, e.Hardlink = path, link
		normalise(&e.Entry)
	} else {
		if e.complete(); was == "" && problem == "" {
			problem = e.Problem
		}
	}
	e.Extents = extents
	if want := manifest.DataLen(&e.Entry); problem == "" && (n < want || n > want || more) {
		problem = "its length is not what the source said"
	}
	if extents == nil {
		e.Size = n
	} else if n < manifest.DataLen(&e.Entry) {
		e.Extents = cutExtents(extents, n)
	}
	if !manifest.ValidExtents(e.Extents, e.Size) {
		last := e.Extents[len(e.Extents)-1]
		e.Size = last.Off + last.Len // the file was cut after its extents were listed
	}
	if e.Problem = was; was == "" {
		e.Problem = problem
	}
}

// cutExtents keeps the first n bytes of data.
func cutExtents(extents []tree.Extent, n int64) []tree.Extent {
	out := []tree.Extent{}
	for _, x := range extents {
		if x.Len = min(x.Len, n); x.Len == 0 {
			break
		}
		out = append(out, x)
		n -= x.Len
	}
	return out
}

// unreadable marks an entry whose content could not be had.
func (e *entry) unreadable(err error) {
	e.complete()
	e.Content, e.Extents = manifest.Content{}, nil
	e.Problem = err.Error()
	if e.Problem == "" {
		e.Problem = "cannot be read"
	}
}

// bundle is a run of small files that become one chunk.
type bundle struct {
	files []smallRead
	size  int // as the walk saw it
	piece *piece
}

type smallRead struct {
	e    *entry
	open opener
}

func (t *bundle) add(e *entry, open opener) {
	t.files = append(t.files, smallRead{e, open})
	if e.Size > manifest.MaxInline {
		t.size += int(e.Size)
	}
}

// run reads the files one after the other into one block.
func (t *bundle) run(ctx context.Context, b *backup) error {
	blk, err := b.blocks.get(ctx)
	if err != nil {
		return err
	}
	buf, n := blk.data(), 0
	for _, f := range t.files {
		k, err := f.read(ctx, buf[n:])
		if err != nil {
			blk.drop()
			return err
		}
		b.read.Add(int64(k))
		switch body := buf[n : n+k]; {
		case k == 0:
		case k <= manifest.MaxInline:
			f.e.Content = manifest.Content{Kind: manifest.Inline, Data: append([]byte{}, body...)}
		default:
			f.e.Content = manifest.Content{Kind: manifest.Slice, Off: uint32(n), Refs: []manifest.Ref{{Size: uint64(k)}}}
			n += k
		}
	}
	if n == 0 {
		blk.drop()
		close(t.piece.done)
		return nil
	}
	t.piece.data, t.piece.block = buf[:n], blk
	return send(ctx, b.pieces, t.piece)
}

// read reads one small file into buf and completes its entry, except for where the content is.
func (f *smallRead) read(ctx context.Context, buf []byte) (n int, err error) {
	c, err := f.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		f.e.unreadable(err)
		return 0, nil
	}
	defer c.Close()
	e := f.e
	extents := c.Extents()
	if !manifest.ValidExtents(extents, e.Size) {
		e.unreadable(errors.New("the source names impossible extents"))
		return 0, nil
	}
	// What a file has grown by since the walk is not read: it would be another state than its metadata's.
	probe := tree.Entry{Size: e.Size, Extents: extents}
	want := int(manifest.DataLen(&probe))
	n, err = io.ReadFull(c, buf[:want])
	more := false
	if err == nil {
		var one [1]byte
		k, _ := io.ReadFull(c, one[:])
		more = k > 0
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		e.unreadable(err)
		return 0, nil
	}
	now, problem := c.Check()
	finishFile(e, extents, int64(n), more, now, problem)
	return n, nil
}

// fileRead is the reading of one large file.
type fileRead struct {
	e      *entry
	open   opener
	blocks int           // what the source says about blocks
	done   chan struct{} // closed when everything is read and cut

	lists *manifest.ListBuilder
	queue []*piece // cut, not yet in lists, in order
	sizes []int
}

// ahead is how many chunks of one file wait for their place in its list.
const ahead = 64

// run reads the file, cuts it and passes the chunks on.
func (f *fileRead) run(ctx context.Context, b *backup) error {
	err := f.read(ctx, b)
	if err == nil {
		close(f.done)
	}
	return err
}

func (f *fileRead) read(ctx context.Context, b *backup) error {
	c, err := f.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.e.unreadable(err)
		return nil
	}
	defer c.Close()
	extents := c.Extents()
	if !manifest.ValidExtents(extents, max(f.e.Size, 0)) {
		f.e.unreadable(errors.New("the source names impossible extents"))
		return nil
	}
	f.lists = manifest.NewListBuilder(b.putPage(ctx))
	cut := f.cutter(b)
	var total int64
	limit := int64(-1)
	if extents != nil {
		probe := tree.Entry{Extents: extents}
		limit = manifest.DataLen(&probe)
	}
	blk, err := b.blocks.get(ctx)
	if err != nil {
		return err
	}
	n, more := 0, false
	for end := false; !end; {
		buf := blk.data()
		for n < len(buf) && !end {
			if limit >= 0 && total == limit {
				var one [1]byte
				k, _ := io.ReadFull(c, one[:])
				end, more = true, k > 0
				break
			}
			p := buf[n:]
			if limit >= 0 {
				p = p[:min(int64(len(p)), limit-total)]
			}
			k, err := c.Read(p)
			n += k
			total += int64(k)
			b.read.Add(int64(k))
			if errors.Is(err, io.EOF) {
				end = true
			} else if err != nil {
				blk.drop()
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				// What was passed on stays in the repository as garbage.
				f.lists, f.queue, f.sizes = nil, nil, nil
				f.e.unreadable(err)
				return nil
			}
		}
		off := 0
		for n-off >= chunk.Default.Max || end && off < n {
			k := cut(buf[off:n])
			if err := f.pass(ctx, b, blk, buf[off:off+k]); err != nil {
				blk.drop()
				return err
			}
			off += k
		}
		if end {
			break
		}
		next, err := b.blocks.get(ctx)
		if err != nil {
			blk.drop()
			return err
		}
		n = copy(next.data(), buf[off:n])
		blk.drop()
		blk = next
	}
	blk.drop()
	now, problem := c.Check()
	finishFile(f.e, extents, total, more, now, problem)
	return nil
}

// cutter returns how this file is cut.
func (f *fileRead) cutter(b *backup) func([]byte) int {
	n := f.blocks
	if b.opts.BlockSize != nil {
		n = b.opts.BlockSize(&f.e.Entry)
	}
	if n >= 4<<10 && n <= chunk.Default.Max && n&(n-1) == 0 {
		return func(p []byte) int { return min(n, len(p)) }
	}
	return b.r.cutter.Cut
}

// pass hands a chunk on and moves finished ones into the list.
func (f *fileRead) pass(ctx context.Context, b *backup, blk *block, data []byte) error {
	p := newPiece()
	p.data, p.block = data, blk
	blk.keep()
	if err := send(ctx, b.pieces, p); err != nil {
		return err
	}
	f.queue = append(f.queue, p)
	f.sizes = append(f.sizes, len(data))
	return f.drain(ctx, ahead)
}

// drain moves chunks into the list until at most left remain, waiting for them.
func (f *fileRead) drain(ctx context.Context, left int) error {
	i := 0
	for ; len(f.queue)-i > left; i++ {
		if err := wait(ctx, f.queue[i].done); err != nil {
			return err
		}
		if err := f.lists.Add(manifest.Ref{Hash: f.queue[i].hash, Size: uint64(f.sizes[i])}); err != nil {
			return err
		}
	}
	f.queue = append(f.queue[:0], f.queue[i:]...)
	f.sizes = append(f.sizes[:0], f.sizes[i:]...)
	return nil
}

// finish returns the content once everything is read. Called by the manifest.
func (f *fileRead) finish(ctx context.Context) error {
	if f.lists == nil {
		return nil
	}
	if err := f.drain(ctx, 0); err != nil {
		return err
	}
	c, err := f.lists.Finish()
	f.e.Content = c
	return err
}
