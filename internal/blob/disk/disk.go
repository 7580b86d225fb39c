// Package disk keeps blobs as files below one directory, under their own names.
//
// Objects of more than a few megabytes bypass the page cache (direct I/O): a backup would otherwise spend most of its time
// and of the machine's memory on caching what nobody reads again. Where the file system refuses that, ordinary writes do.
//
// Files that are being written live in the directory ".tmp", each locked by its writer; after a crash they are garbage
// that Clean removes. The file ".reserve" keeps space free for what frees space. Nothing else in the directory is ever
// changed or removed by itself.
//
// A sync that failed is never repeated. A file whose content could not be synced is given up: the writer's Commit fails, and
// whoever wants the object writes it anew. When a directory could not be synced, nobody can tell any more which names the
// disk has: the store is suspect and takes no changes until it is opened again. What was acknowledged before stays readable.
//
// Start with Open; writing is in writer.go, the names of files in names.go, space in space.go.
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
	"sync/atomic"
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
	fs      durable.Volume
	dir     string
	buffers chan *[]byte // idle ones, of pieceSize, aligned
	direct  bool         // the file system takes direct I/O
	names   names
	suspect atomic.Pointer[fault.Error] // why nothing may be changed any more
	space   space
}

// Open returns the store in dir, which is created if it does not exist.
func Open(dir string) (*Store, error) { return OpenOn(durable.System{}, dir) }

// OpenOn is Open on a file system that is not the operating system's.
func OpenOn(fsys durable.FS, dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := newStore(fsys, dir)
	if err := s.fs.MkdirAll(filepath.Join(dir, tempDir), 0o700); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, s.explain(err))
	}
	s.direct = s.takesDirect(filepath.Join(dir, tempDir))
	return s, nil
}

func newStore(fsys durable.FS, dir string) *Store {
	s := &Store{fs: durable.Volume{FS: fsys}, dir: dir, buffers: make(chan *[]byte, maxIdle)}
	s.names.init(s)
	return s
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
func (s *Store) takesDirect(dir string) bool {
	name := durable.TempName(dir)
	f, err := s.fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_DIRECT, 0o600)
	if err == nil {
		f.Close()
	}
	s.fs.Unlink(name)
	return err == nil
}

func (s *Store) path(name string) (string, error) {
	if err := blob.CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, filepath.FromSlash(name)), nil
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
	flags := os.O_RDONLY | unix.O_NOATIME
	if s.direct && len(p) >= directRead && off%durable.BlockSize == 0 && durable.Aligned(p) {
		flags |= unix.O_DIRECT
	}
	f, err := s.fs.Open(path, flags, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EINVAL) {
		f, err = s.fs.Open(path, os.O_RDONLY, 0)
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
	info, err := s.fs.Lstat(path)
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
	entries, err := s.fs.ReadDir(filepath.Join(s.dir, filepath.FromSlash(dir)))
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

// Acquire implements blob.Exclusive with a lock that the kernel drops when the process ends.
func (s *Store) Acquire(context.Context) (release func(), err error) {
	f, err := s.fs.Open(filepath.Join(s.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, s.explain(err)
	}
	if err := f.Lock(false); err != nil {
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

// Clean implements blob.Cleaner.
func (s *Store) Clean(ctx context.Context) (removed int, err error) {
	dir := filepath.Join(s.dir, tempDir)
	entries, err := s.fs.ReadDir(dir)
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
		path := filepath.Join(dir, e.Name())
		f, err := s.fs.Open(path, os.O_RDONLY, 0)
		if err != nil {
			continue // published or removed meanwhile
		}
		// A living writer holds the lock.
		if f.Lock(false) == nil && s.fs.Unlink(path) == nil {
			removed++
		}
		f.Close()
	}
	return removed, nil
}
