package files

import (
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"strongroom/internal/tree"
)

// writer is a regular file being restored.
type writer struct {
	t      *target
	fd     int
	path   string
	size   int64
	sparse bool
	end    atomic.Int64 // highest offset written
	attrs  attributes
	closed atomic.Bool

	opening   sync.Once // of the descriptor for direct writes
	directFD  int
	hasDirect bool
}

var _ tree.Writer = (*writer)(nil)

// WriteAt writes inside the size that the entry announced; holes are what is never written.
func (w *writer) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > w.size || int64(len(p)) > w.size-off {
		return 0, &failure{w.path, "write", errors.New("outside the file's size")}
	}
	done, fd := 0, w.direct(p, off)
	for done < len(p) {
		to := w.fd
		if fd >= 0 && done == 0 {
			to = fd
		}
		n, err := unix.Pwrite(to, p[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err == unix.EINVAL && to == fd {
			fd = -1 // the file system takes no direct writes after all
			continue
		}
		if err != nil {
			return done, &failure{w.path, "write", err}
		}
		done += n
	}
	for end := off + int64(done); ; {
		was := w.end.Load()
		if end <= was || w.end.CompareAndSwap(was, end) {
			return done, nil
		}
	}
}

// Close gives the file its size and attributes. A second Close does nothing.
func (w *writer) Close() error {
	if w.closed.Swap(true) {
		return nil
	}
	var err error
	w.closeDirect()
	if w.end.Load() < w.size {
		err = unix.Ftruncate(w.fd, w.size)
		if errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EINVAL) {
			err = &tree.Refused{Path: w.path, Reason: "the file system does not allow files of its size"}
		} else if err != nil {
			err = &failure{w.path, "set its size", err}
		}
	}
	if err == nil {
		err = w.t.apply(descriptor{fd: w.fd}, w.path, w.attrs)
	}
	// Errors of delayed writes show up here on some file systems; the others report them to Finish.
	if cerr := unix.Close(w.fd); cerr != nil && cerr != unix.EINTR {
		err = errors.Join(err, &failure{w.path, "close", cerr})
	}
	w.t.closed(w)
	return err
}

// Discard removes the file. What somebody may have put in its place stays.
func (w *writer) Discard() error {
	if w.closed.Swap(true) {
		return nil
	}
	w.closeDirect()
	defer w.t.closed(w)
	defer unix.Close(w.fd)
	parent, name := split(w.path)
	dir, err := w.t.parent(parent)
	if err != nil {
		return &failure{w.path, "remove", err}
	}
	defer w.t.handles.release(dir)
	same, err := isAt(dir.fd, name, w.fd)
	if err == nil && same {
		err = unix.Unlinkat(dir.fd, name, 0)
	}
	if err != nil {
		return &failure{w.path, "remove", err}
	}
	return nil
}
