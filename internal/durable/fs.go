package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// FS is a file system as far as keeping objects takes one. System is the operating system's; blob/crashfs is one in
// memory that can lose power. Errors are those of package os: fs.ErrNotExist, fs.ErrExist and errno are in their chains.
// Safe for concurrent use.
type FS interface {
	// Open opens a file with the flags of package os and O_DIRECT, O_NOATIME.
	Open(name string, flag int, perm fs.FileMode) (File, error)
	// Mkdir makes one directory. Like every name given here, it survives power loss only once SyncDir has returned nil for
	// the directory that it is in.
	Mkdir(name string, perm fs.FileMode) error
	// Rename gives a file another name; a file that had it loses it.
	Rename(from, to string) error
	// RenameNew is Rename that fails with fs.ErrExist when the name is taken.
	RenameNew(from, to string) error
	// Unlink removes the name of a file or of an empty directory.
	Unlink(name string) error
	// Lstat describes what has a name; Stat what a symbolic link of that name leads to.
	Lstat(name string) (fs.FileInfo, error)
	Stat(name string) (fs.FileInfo, error)
	// ReadDir lists a directory, in the order of the names.
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes what happened to the names in a directory durable. It is never repeated after a failure.
	SyncDir(name string) error
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Sync makes the content and the size durable. It is called once; a file whose Sync failed is given up.
	Sync() error
	// Reserve makes sure that writing the first n bytes will not find the disk full; the file is n bytes long then.
	Reserve(n int64) error
	// Lock takes a lock that ends with the file's Close, without waiting: errno EWOULDBLOCK when it is held by another.
	Lock(shared bool) error
	// Linked tells whether the file still has a name.
	Linked() (bool, error)
}

// System is the operating system's file system.
type System struct{}

var _ FS = System{}

// Open implements FS.
func (System) Open(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag|syscall.O_CLOEXEC, perm)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

// Mkdir implements FS.
func (System) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

// Rename implements FS.
func (System) Rename(from, to string) error { return os.Rename(from, to) }

// RenameNew implements FS.
func (System) RenameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		// The file system cannot rename without replacing. A second link fails when the name exists, too.
		if err = os.Link(from, to); err == nil {
			err = os.Remove(from)
		}
	}
	return err
}

// Unlink implements FS.
func (System) Unlink(name string) error { return os.Remove(name) }

// Lstat implements FS.
func (System) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// Stat implements FS.
func (System) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// ReadDir implements FS.
func (System) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// SyncDir implements FS.
func (System) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

type file struct{ *os.File }

func (f file) Lock(shared bool) error {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	return unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
}

func (f file) Linked() (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Nlink > 0, err
}

func (f file) Reserve(n int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, n)
	if !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// Written out; zeros would do, and a file system that compresses them away gives the space to nobody else either.
	zeros := make([]byte, 64<<10)
	for off := int64(0); off < n; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(n-off, int64(len(zeros)))], off); err != nil {
			return err
		}
	}
	return nil
}
