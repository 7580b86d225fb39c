package index

import (
	"bytes"
	"context"
	"encoding/binary"
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
	max   uint64
	block []byte
	n     uint32
}

// newSegmentWriter begins the segment that s describes: id, sequence, packs with their table, replaces and drops. It will
// have at most pairs pairs, exactly as many if they are known. keep has them stay in memory.
func newSegmentWriter(ctx context.Context, store blob.Store, m *seal.Maint, s *segment, pairs uint64, keep bool) (*segmentWriter, error) {
	w, err := store.Create(ctx, s.id.Name())
	if err != nil {
		return nil, err
	}
	s.newMeta(pairs, filterSize(pairs))
	if keep {
		s.resident = newRegion(int(pairs) * pairSize)
	}
	return &segmentWriter{s: s, m: m, w: w, max: pairs, block: make([]byte, 0, blockSize)}, nil
}

func (w *segmentWriter) add(e Entry) error {
	if len(w.block) == 0 {
		copy(w.s.fences[int(w.n)*fenceSize:], e.ID[:fenceSize])
	}
	w.block = e.append(w.block)
	if w.s.resident != nil {
		copy(w.s.resident.b[w.s.pairs*pairSize:], w.block[len(w.block)-pairSize:])
	}
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
	s := w.s
	s.fences = s.fences[:int(w.n)*fenceSize]
	if s.pairs == 0 {
		s.filter = nil
	}
	lists := s.lists()
	for _, p := range [][]byte{s.table.b, lists, s.fences, s.filter, s.footer(w.m, lists)} {
		if _, err := w.w.Write(p); err != nil {
			return nil, err
		}
	}
	return s, w.w.Commit(ctx)
}

// writeSegment writes entries, which it sorts, as one segment.
func writeSegment(ctx context.Context, store blob.Store, m *seal.Maint, s *segment, entries []Entry, packs []pack.Info, keep bool) (_ *segment, err error) {
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	s.packs, s.table = uint32(len(packs)), newRegion(len(packs)*packLine)
	for i, p := range packs {
		putPack(s.table.b[i*packLine:], p)
	}
	slices.SortFunc(entries, compare)
	w, err := newSegmentWriter(ctx, store, m, s, uint64(len(entries)), keep)
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
	if x, y := binary.BigEndian.Uint64(a.ID[:]), binary.BigEndian.Uint64(b.ID[:]); x != y {
		if x < y {
			return -1
		}
		return 1
	}
	if c := bytes.Compare(a.ID[8:], b.ID[8:]); c != 0 {
		return c
	}
	if a.Pack != b.Pack {
		return int(int64(a.Pack) - int64(b.Pack))
	}
	return int(int64(a.Frame) - int64(b.Frame))
}
