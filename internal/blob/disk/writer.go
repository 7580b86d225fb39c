package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/durable"
)

const (
	// pieceSize is what one direct write hands to the kernel. Larger pieces were not faster.
	pieceSize = 2 << 20
	// inFlight is how many pieces of one object may wait for the disk, beside the one being written.
	inFlight = 1
	// maxIdle is how many buffers a store keeps for later.
	maxIdle = 8
)

// writer collects an object in pieces. An object of one piece or less is written at Commit; of a larger one each full
// piece goes to a goroutine that writes it while the next is filled.
type writer struct {
	s    *Store
	name string
	path string

	buf   *[]byte // nil before the first Write
	whole []byte  // the content, if it was given in one piece
	n     int
	size  int64
	done  bool
	err   error

	// Set once the object outgrows one piece.
	f      durable.File
	tmp    string
	direct bool
	pieces chan *[]byte
	result chan error
}

// Create implements blob.Store.
func (s *Store) Create(_ context.Context, name string) (blob.Writer, error) {
	return s.create(name)
}

func (s *Store) create(name string) (*writer, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if _, err := s.fs.Lstat(path); err == nil {
		return nil, blob.Taken(name) // Commit decides; this only saves the work
	}
	return &writer{s: s, name: name, path: path}, nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	w, err := s.create(name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if len(data) > pieceSize {
		if _, err := w.Write(data); err != nil {
			return err
		}
	} else {
		w.whole, w.n, w.size = data, len(data), int64(len(data))
	}
	return w.Commit(ctx)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.err != nil || w.done {
		return 0, fmt.Errorf("write %s: %w", w.name, errors.Join(w.err, fs.ErrClosed))
	}
	total := len(p)
	if w.buf == nil {
		w.buf = w.s.buffer()
	}
	for len(p) > 0 {
		if w.n == pieceSize {
			if err := w.flush(); err != nil {
				w.err = err
				return 0, err
			}
		}
		c := copy((*w.buf)[w.n:], p)
		w.n += c
		w.size += int64(c)
		p = p[c:]
	}
	return total, nil
}

// flush hands the full piece to the writing goroutine and takes an empty one.
func (w *writer) flush() error {
	if w.f == nil {
		if err := w.begin(w.s.direct); err != nil {
			return err
		}
		w.pieces = make(chan *[]byte, inFlight)
		w.result = make(chan error, 1)
		go w.drain(w.pieces)
	}
	select {
	case w.pieces <- w.buf:
	case err := <-w.result:
		w.result <- err
		return err
	}
	w.buf, w.n = w.s.buffer(), 0
	return nil
}

// begin makes the temporary file and locks it, so that Clean sees it in use.
func (w *writer) begin(direct bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if direct {
		flags |= unix.O_DIRECT
	}
	for {
		w.tmp = durable.TempName(filepath.Join(w.s.dir, tempDir))
		f, err := w.s.fs.Open(w.tmp, flags, 0o600)
		if err != nil {
			w.tmp = ""
			return fmt.Errorf("create %s: %w", w.name, w.s.explain(err))
		}
		w.f, w.direct = f, direct
		if f.Lock(false) == nil {
			linked, err := f.Linked()
			if err != nil || linked {
				return err
			}
		}
		f.Close() // Clean was between our two calls; the file is gone or going
		w.f = nil
	}
}

// drain writes the pieces in order. After a failure it only takes them off the channel.
func (w *writer) drain(pieces <-chan *[]byte) {
	var off int64
	var err error
	for b := range pieces {
		if err == nil {
			_, err = w.f.WriteAt(*b, off)
			off += pieceSize
			if err != nil {
				err = fmt.Errorf("write %s: %w", w.name, w.s.explain(err))
				w.result <- err
			}
		}
		w.s.release(b)
	}
	if err == nil {
		w.result <- nil
	}
}

// wait ends the writing goroutine and returns what became of it.
func (w *writer) wait() error {
	if w.pieces == nil {
		return nil
	}
	close(w.pieces)
	w.pieces = nil
	return <-w.result
}

func (w *writer) Commit(ctx context.Context) error {
	if w.err == nil && w.done {
		w.err = fs.ErrClosed
	}
	if w.err == nil {
		w.err = ctx.Err()
	}
	if w.err != nil {
		return fmt.Errorf("commit %s: %w", w.name, w.err)
	}
	if w.err = w.finish(); w.err == nil {
		w.err = w.publish()
	}
	err := w.err
	w.Abort() // releases what is left; the published file has another name
	return err
}

// finish writes what is left and makes the temporary file's content durable.
func (w *writer) finish() error {
	if err := w.wait(); err != nil {
		return err
	}
	if w.f == nil {
		if err := w.begin(false); err != nil {
			return err
		}
	}
	off := w.size - int64(w.n)
	tail := w.whole
	if tail == nil && w.n > 0 {
		tail = (*w.buf)[:w.n]
	}
	if w.direct && w.n > 0 {
		// The last piece is written in whole blocks and cut to size.
		n := (w.n + durable.BlockSize - 1) / durable.BlockSize * durable.BlockSize
		tail = (*w.buf)[:n]
		clear(tail[w.n:])
	}
	if len(tail) > 0 {
		if _, err := w.f.WriteAt(tail, off); err != nil {
			return fmt.Errorf("write %s: %w", w.name, w.s.explain(err))
		}
	}
	if len(tail) > w.n {
		if err := w.f.Truncate(w.size); err != nil {
			return fmt.Errorf("write %s: %w", w.name, w.s.explain(err))
		}
	}
	// The only sync of this file. If it fails, the file is given up.
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("%s could not be made durable and is given up; it must be written anew: %w", w.name, w.s.explain(err))
	}
	return nil
}

func (w *writer) publish() error {
	tmp := w.tmp
	w.tmp = ""
	if err := w.s.names.publish(tmp, w.path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return blob.Taken(w.name)
		}
		return fmt.Errorf("publish %s: %w", w.name, w.s.explain(err))
	}
	return nil
}

func (w *writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.wait()
	if w.tmp != "" {
		w.s.fs.Unlink(w.tmp)
	}
	if w.f != nil {
		w.f.Close()
	}
	if w.buf != nil {
		w.s.release(w.buf)
		w.buf = nil
	}
}
