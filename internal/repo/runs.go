package repo

import (
	"context"
	"slices"

	"strongroom/internal/durable"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

const (
	// runSize is how much of a pack is read at once.
	runSize = 4 << 20
	// runGap is how much is read without need rather than reading twice.
	runGap = 256 << 10
)

// place names a frame in the index's numbers.
type framePlace struct{ slot, frame uint32 }

// window gathers which frames are needed for what, so that they can be read in the order of the packs.
type window struct {
	uses  map[framePlace][]use
	n     int
	bytes int64

	lastHash  seal.Hash
	lastPlace framePlace
	any       bool
}

func newWindow() *window { return &window{uses: map[framePlace][]use{}} }

// locate finds a chunk of content; the same one again costs nothing, as small files share chunks.
func (w *window) locate(ctx context.Context, r *Repository, p *pin, h seal.Hash) (slot, frame uint32, err error) {
	if w.any && w.lastHash == h {
		return w.lastPlace.slot, w.lastPlace.frame, nil
	}
	slot, frame, err = r.locate(ctx, p, pack.Data, h)
	if err == nil {
		w.any, w.lastHash, w.lastPlace = true, h, framePlace{slot, frame}
	}
	return slot, frame, err
}

func (w *window) add(slot, frame uint32, u use) {
	k := framePlace{slot, frame}
	w.uses[k] = append(w.uses[k], u)
	w.n++
	w.bytes += int64(u.to - u.from)
}

func (w *window) full() bool { return w.n >= windowUses || w.bytes >= windowBytes }

// run is a part of a pack to be read at once.
type run struct {
	slot   uint32
	frames []uint32 // ascending
	uses   [][]use  // by frame; nil where nothing is delivered
}

// take empties the window and returns its content as runs in the order of the packs. How long frames are is known to the
// pack's directory only, which the worker reads; until then a run is a number of frames.
func (w *window) take(r *Repository) []run {
	places := make([]framePlace, 0, len(w.uses))
	for k := range w.uses {
		places = append(places, k)
	}
	slices.SortFunc(places, func(a, b framePlace) int {
		if a.slot != b.slot {
			return int(int64(a.slot) - int64(b.slot))
		}
		return int(int64(a.frame) - int64(b.frame))
	})
	var out []run
	for _, k := range places {
		last := len(out) - 1
		if last < 0 || out[last].slot != k.slot || len(out[last].frames) >= 16 {
			out = append(out, run{slot: k.slot})
			last++
		}
		x := &out[last]
		x.frames = append(x.frames, k.frame)
		x.uses = append(x.uses, w.uses[k])
	}
	w.uses, w.n, w.bytes = map[framePlace][]use{}, 0, 0
	return out
}

// runReader reads runs. It is for one goroutine.
type runReader struct {
	r     *Repository
	buf   []byte
	codec *chunk.Codec
	s     scratch
}

func newRunReader(r *Repository) *runReader {
	return &runReader{r: r, codec: r.codecs.Get().(*chunk.Codec)}
}

// need makes the buffer large enough for size bytes.
func (w *runReader) need(size int) {
	if size > len(w.buf) {
		w.buf = durable.AlignedBuffer(max(size, min(4*len(w.buf), runSize+2*durable.BlockSize)))
	}
}

func (w *runReader) close() { w.r.codecs.Put(w.codec) }

// do reads the frames of a run in as few reads as make sense and passes each verified chunk on, or to lost when it cannot be
// read here.
func (w *runReader) do(ctx context.Context, x run, deliver func(context.Context, pack.Frame, []byte, []use) error, lost func(ctx context.Context, w *runReader, uses []use, err error) error) error {
	return w.each(ctx, x.slot, x.frames, func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error {
		plain, err := w.r.unpack(d, x.frames[i], f, sealed, &w.s, w.codec)
		if err != nil {
			return lost(ctx, w, x.uses[i], err)
		}
		return deliver(ctx, f, plain, x.uses[i])
	}, func(i int, err error) error { return lost(ctx, w, x.uses[i], err) })
}

// sealed reads frames of one pack and passes their sealed bytes on, in order.
func (w *runReader) sealed(ctx context.Context, slot uint32, frames []uint32, fn func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error) error {
	return w.each(ctx, slot, frames, fn, func(_ int, err error) error { return err })
}

// each is sealed for a reader who can do without some: frames whose bytes cannot be had are passed to fail.
func (w *runReader) each(ctx context.Context, slot uint32, frames []uint32, fn func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error, fail func(i int, err error) error) error {
	d, err := w.r.dirs.get(ctx, w.r.v.index.Pack(slot))
	if err != nil {
		return failAll(0, len(frames), err, fail)
	}
	for i := 0; i < len(frames); {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if !d.Has(frames[i]) {
			if err := fail(i, corrupt(d.Name(), "the directory of frame %d is lost", frames[i])); err != nil {
				return err
			}
			i++
			continue
		}
		// Take as many frames as fit into the buffer without large gaps.
		first := d.Frame(frames[i])
		start := first.Off &^ (durable.BlockSize - 1)
		end := first.Off + int64(first.Len)
		k := i + 1
		for ; k < len(frames) && d.Has(frames[k]); k++ {
			f := d.Frame(frames[k])
			if f.Off-end > runGap || f.Off+int64(f.Len)-start > runSize {
				break
			}
			end = f.Off + int64(f.Len)
		}
		size := int((end - start + durable.BlockSize - 1) &^ (durable.BlockSize - 1))
		w.need(size)
		buf := w.buf[:size]
		if err := w.r.store.ReadAt(ctx, d.Name(), buf, start); err != nil {
			if fault.Is(err, fault.NotFound) {
				err = corrupt(d.Name(), "the object is missing")
			}
			if err := w.oneByOne(ctx, d, frames, i, k, err, fn, fail); err != nil {
				return err
			}
			i = k
			continue
		}
		for ; i < k; i++ {
			f := d.Frame(frames[i])
			if err := fn(i, d, f, buf[f.Off-start:][:f.Len]); err != nil {
				return err
			}
		}
	}
	return nil
}

func failAll(from, to int, err error, fail func(int, error) error) error {
	if !unreadable(err) {
		return err
	}
	for i := from; i < to; i++ {
		if err := fail(i, err); err != nil {
			return err
		}
	}
	return nil
}

// oneByOne reads frames that could not be read together: some of them may be all right.
func (w *runReader) oneByOne(ctx context.Context, d *pack.Dir, frames []uint32, from, to int, cause error, fn func(i int, d *pack.Dir, f pack.Frame, sealed []byte) error, fail func(i int, err error) error) error {
	if !unreadable(cause) {
		return cause
	}
	for i := from; i < to; i++ {
		f := d.Frame(frames[i])
		w.s.sealed = grow(w.s.sealed, f.Len)[:f.Len]
		err := w.r.store.ReadAt(ctx, d.Name(), w.s.sealed, f.Off)
		if fault.Is(err, fault.NotFound) {
			err = corrupt(d.Name(), "the object is missing")
		}
		switch {
		case err == nil:
			err = fn(i, d, f, w.s.sealed)
		case unreadable(err):
			err = fail(i, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
