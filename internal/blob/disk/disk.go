// Package disk keeps blobs as files below one directory, under their own names.
//
// Objects of more than a few megabytes bypass the page cache (direct I/O): a backup would otherwise spend most of its time
// and of the machine's memory on caching what nobody reads again. Where the file system refuses that, ordinary writes do.
//
// Files that are being written live in the directory ".tmp", each locked by its writer; after a crash they are garbage
// that Clean removes. Nothing else in the directory is ever changed or removed by itself.
//
// Start with Open; writing is in writer.go.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/durable"
	"strongroom/internal/fault"
)

const (
	tempDir  = ".tmp"
	lockFile = ".lock"
	// directRead is the least size of a read for which bypassing the page cache pays.
	directRead = 512 << 10
)

// Store is a directory of objects. Safe for concurrent use, also by several Stores on one directory.
type Store struct {
	dir     string
	buffers chan *[]byte // idle ones, of pieceSize, aligned
	direct  bool         // the file system takes direct I/O

	mu   sync.Mutex
	made map[string]bool // directories known to exist durably
}

// Open returns the store in dir, which is created if it does not exist.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Join(dir, tempDir), 0o700); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := &Store{dir: dir, made: map[string]bool{}, buffers: make(chan *[]byte, maxIdle)}
	s.direct = takesDirect(filepath.Join(dir, tempDir))
	return s, nil
}

// buffer and release lend buffers. A few idle ones are kept, because memory that is touched for the first time is slow.
func (s *Store) buffer() *[]byte {
	select {
	case b := <-s.buffers:
		return b
	default:
		b := durable.AlignedBuffer(pieceSize)
		return &b
	}
}

func (s *Store) release(b *[]byte) {
	select {
	case s.buffers <- b:
	default:
	}
}

// takesDirect tries whether a file of the directory can be opened for direct I/O.
func takesDirect(dir string) bool {
	name := durable.TempName(dir)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_DIRECT|syscall.O_CLOEXEC, 0o600)
	if err == nil {
		f.Close()
	}
	os.Remove(name)
	return err == nil
}

func (s *Store) path(name string) (string, error) {
	if err := blob.CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, filepath.FromSlash(name)), nil
}

// ensureDir makes the directory of an object, durably.
func (s *Store) ensureDir(path string) error {
	dir := filepath.Dir(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[dir] {
		return nil
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.made[dir] = true
	return nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	w, err := s.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit(ctx)
}

// ReadAt implements blob.Store. Large aligned reads bypass the page cache.
func (s *Store) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	flags := os.O_RDONLY | syscall.O_CLOEXEC | unix.O_NOATIME
	if s.direct && len(p) >= directRead && off%durable.BlockSize == 0 && durable.Aligned(p) {
		flags |= unix.O_DIRECT
	}
	f, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EINVAL) {
		f, err = os.Open(path)
	}
	if err != nil {
		return s.missing(name, err)
	}
	defer f.Close()
	n, err := io.ReadFull(io.NewSectionReader(f, off, int64(len(p))), p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return blob.Short(name, off+int64(n), off, len(p))
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func (s *Store) missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return blob.Missing(name)
	}
	return err
}

// Stat implements blob.Store.
func (s *Store) Stat(_ context.Context, name string) (blob.Info, error) {
	path, err := s.path(name)
	if err != nil {
		return blob.Info{}, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return blob.Info{}, s.missing(name, err)
	}
	if !info.Mode().IsRegular() {
		return blob.Info{}, blob.Missing(name)
	}
	return blob.Info{Name: name, Size: info.Size()}, nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	dir := ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		dir = prefix[:i+1]
	}
	return s.list(ctx, dir, prefix, fn)
}

// list walks one directory (dir is "" or ends in a slash).
func (s *Store) list(ctx context.Context, dir, prefix string, fn func(blob.Info) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := dir + e.Name()
		if e.IsDir() {
			name += "/"
			if !strings.HasPrefix(name, prefix) && !strings.HasPrefix(prefix, name) {
				continue
			}
		} else if !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names) // with the slash, so that the order is that of whole names
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			if err := s.list(ctx, name, prefix, fn); err != nil {
				return err
			}
			continue
		}
		info, err := s.Stat(ctx, name)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements blob.Store.
func (s *Store) Delete(_ context.Context, name string) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	if err := durable.Remove(path); err != nil {
		return s.missing(name, err)
	}
	return nil
}

// Acquire implements blob.Exclusive with a lock that the kernel drops when the process ends.
func (s *Store) Acquire(context.Context) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, lockFile), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.Unavailable, "the store %s is in use by another process or registry", s.dir)
		}
		return nil, err
	}
	if err := s.settle(); err != nil {
		f.Close()
		return nil, err
	}
	return sync.OnceFunc(func() { f.Close() }), nil
}

// settle makes the names durable that can be seen. A process that was killed may have given one and not synced it; what is
// built on it from now on would be lost with it when the power fails. One level is enough: what lies deeper is referred to
// by objects that were written after it was durable.
func (s *Store) settle() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			if err := durable.SyncDir(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return durable.SyncDir(s.dir)
}

// Clean implements blob.Cleaner.
func (s *Store) Clean(ctx context.Context) (removed int, err error) {
	dir := filepath.Join(s.dir, tempDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), durable.TempPrefix) {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // published or removed meanwhile
		}
		// A living writer holds the lock.
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && os.Remove(f.Name()) == nil {
			removed++
		}
		f.Close()
	}
	return removed, nil
}
