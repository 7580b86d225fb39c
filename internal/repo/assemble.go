package repo

import (
	"slices"
	"sync"

	"strongroom/internal/durable"
)

const (
	// assembleFrom is the size from which a file's chunks are put together into aligned pieces before they are written, so
	// that the target can bypass the page cache; that makes restoring large files three times as fast.
	assembleFrom = 2 * blockSize
	// maxAssembled is how many pieces are being put together at once, over all files of a restore.
	maxAssembled = 8
)

// assembler collects chunks of one file. Chunks come in nearly any order, from several goroutines.
type assembler struct {
	file *outFile
	mu   sync.Mutex
	open map[int64]*assembled // by offset
}

// assembled is one piece of blockSize, at a multiple of it.
type assembled struct {
	buf    *[]byte
	off    int64
	filled int
	spans  []span
}

type span struct{ from, to int }

// write takes a part of the content. A piece is written as soon as it is complete; when too many are open, what belongs to
// no open one is written as it is.
func (a *assembler) write(p []byte, off int64) error {
	for len(p) > 0 {
		base := off &^ (blockSize - 1)
		n := min(len(p), int(base+blockSize-off))
		if err := a.part(p[:n], base, int(off-base)); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (a *assembler) part(p []byte, base int64, at int) error {
	size := int(min(blockSize, a.file.entry.Size-base))
	a.mu.Lock()
	x := a.open[base]
	if x == nil {
		if len(p) == size || !a.file.r.takePiece() {
			a.mu.Unlock()
			_, err := a.file.w.WriteAt(p, base+int64(at))
			return err
		}
		x = &assembled{off: base, buf: a.file.r.pieceMemory()}
		a.open[base] = x
	}
	x.filled += copy((*x.buf)[at:], p)
	x.spans = append(x.spans, span{at, at + len(p)})
	whole := x.filled == size
	if whole {
		delete(a.open, base)
	}
	a.mu.Unlock()
	if !whole {
		return nil
	}
	_, err := a.file.w.WriteAt((*x.buf)[:size], base)
	a.file.r.dropPiece(x)
	return err
}

// flush writes what could not be completed, because a part of it was written before.
func (a *assembler) flush() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.open {
		slices.SortFunc(x.spans, func(p, q span) int { return p.from - q.from })
		for i := 0; i < len(x.spans); {
			s := x.spans[i]
			for i++; i < len(x.spans) && x.spans[i].from == s.to; i++ {
				s.to = x.spans[i].to
			}
			if _, err := a.file.w.WriteAt((*x.buf)[s.from:s.to], x.off+int64(s.from)); err != nil {
				return err
			}
		}
		a.file.r.dropPiece(x)
	}
	a.open = nil
	return nil
}

// takePiece asks for the right to open one more piece.
func (r *restore) takePiece() bool {
	select {
	case r.pieces <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *restore) pieceMemory() *[]byte {
	if b, ok := r.p.r.registry.blocks.Get().(*[]byte); ok {
		return b
	}
	b := durable.AlignedBuffer(blockSize)
	return &b
}

func (r *restore) dropPiece(x *assembled) {
	r.p.r.registry.blocks.Put(x.buf)
	x.buf = nil
	<-r.pieces
}
