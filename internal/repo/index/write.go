package index

import (
	"bytes"
	"context"
	"slices"

	"strongroom/internal/blob"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// segmentWriter writes pairs that come in ascending order.
type segmentWriter struct {
	s     *segment
	m     *seal.Maint
	w     blob.Writer
	block []byte
	n     uint32
}

// newSegmentWriter begins a segment of at most pairs pairs (exactly as many if they are known).
func newSegmentWriter(ctx context.Context, store blob.Store, m *seal.Maint, id SegmentID, pairs uint64, packs []pack.Info, replaces []SegmentID) (*segmentWriter, error) {
	s := &segment{id: id, packs: packs, replaces: replaces, filter: newFilter(pairs)}
	w, err := store.Create(ctx, s.id.Name())
	if err != nil {
		return nil, err
	}
	return &segmentWriter{s: s, m: m, w: w, block: make([]byte, 0, blockSize)}, nil
}

func (w *segmentWriter) add(e Entry) error {
	w.block = e.append(w.block)
	w.s.filter.add(e.ID)
	w.s.pairs++
	if len(w.block) == perBlock*pairSize {
		return w.flush()
	}
	return nil
}

func (w *segmentWriter) flush() error {
	if len(w.block) == 0 {
		return nil
	}
	b := w.block[:perBlock*pairSize]
	clear(b[len(w.block):])
	tag := w.m.BlockTag(w.s.id, w.n, b)
	if _, err := w.w.Write(append(b, tag[:]...)); err != nil {
		return err
	}
	w.n++
	w.block = w.block[:0]
	return nil
}

// commit completes the segment and makes it durable.
func (w *segmentWriter) commit(ctx context.Context) (*segment, error) {
	defer w.w.Abort()
	if err := w.flush(); err != nil {
		return nil, err
	}
	if w.s.pairs == 0 {
		w.s.filter = nil
	}
	meta := w.s.meta()
	foot := w.s.footer(w.m, meta)
	for _, p := range [][]byte{meta, foot} {
		if _, err := w.w.Write(p); err != nil {
			return nil, err
		}
	}
	w.s.size = int64(w.s.blocks())*blockSize + int64(len(meta)) + footerSize
	return w.s, w.w.Commit(ctx)
}

// writeSegment writes entries, which it sorts, as one segment.
func writeSegment(ctx context.Context, store blob.Store, m *seal.Maint, id SegmentID, entries []Entry, packs []pack.Info, replaces []SegmentID) (*segment, error) {
	slices.SortFunc(entries, compare)
	w, err := newSegmentWriter(ctx, store, m, id, uint64(len(entries)), packs, replaces)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := w.add(e); err != nil {
			w.w.Abort()
			return nil, err
		}
	}
	return w.commit(ctx)
}

func compare(a, b Entry) int {
	if c := bytes.Compare(a.ID[:], b.ID[:]); c != 0 {
		return c
	}
	if a.Pack != b.Pack {
		return int(int64(a.Pack) - int64(b.Pack))
	}
	return int(int64(a.Frame) - int64(b.Frame))
}
