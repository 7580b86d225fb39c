package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/durable"
	"strongroom/internal/fault"
)

// Reader is a directory of objects that is only looked at: nothing in it is made, changed or removed, not even a lock
// file, so that it works on read-only media. Safe for concurrent use.
type Reader struct{ s *Store }

var (
	_ blob.Store     = (*Reader)(nil)
	_ blob.Exclusive = (*Reader)(nil)
)

// OpenReader returns the store in dir for reading. fault.NotFound when there is no such directory.
func OpenReader(dir string) (*Reader, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, fault.New(fault.NotFound, "%s is not a directory", dir)
	}
	if err != nil {
		return nil, err
	}
	return &Reader{newStore(durable.System{}, dir)}, nil
}

// ReadAt implements blob.Store.
func (r *Reader) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	return r.s.ReadAt(ctx, name, p, off)
}

// Stat implements blob.Store.
func (r *Reader) Stat(ctx context.Context, name string) (blob.Info, error) {
	return r.s.Stat(ctx, name)
}

// List implements blob.Store.
func (r *Reader) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	return r.s.List(ctx, prefix, fn)
}

func (r *Reader) refuse() error {
	return fault.New(fault.State, "the store %s is open for reading only", r.s.dir)
}

// Put implements blob.Store by refusing.
func (r *Reader) Put(context.Context, string, []byte) error { return r.refuse() }

// Create implements blob.Store by refusing.
func (r *Reader) Create(context.Context, string) (blob.Writer, error) { return nil, r.refuse() }

// Delete implements blob.Store by refusing.
func (r *Reader) Delete(context.Context, string) error { return r.refuse() }

// Acquire implements blob.Exclusive: it keeps writers away for as long as it is held, and readers not. Where no writer has
// ever been there is no lock file, and where the file system has no locks there can be none: then nobody is kept away.
func (r *Reader) Acquire(context.Context) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(r.s.dir, lockFile), os.O_RDONLY|syscall.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case err == nil, errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS):
		return sync.OnceFunc(func() { f.Close() }), nil
	case errors.Is(err, unix.EWOULDBLOCK):
		f.Close()
		return nil, fault.New(fault.Unavailable, "the store %s is being written by another process", r.s.dir)
	default:
		f.Close()
		return nil, err
	}
}
