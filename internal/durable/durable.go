// Package durable writes files so that they survive power loss.
//
// The rules it follows: data is written under a temporary name and synced before it gets its real one; then the directory
// is synced, because the name is the directory's data. A sync that failed is never repeated on the same file: the kernel
// may have dropped the dirty pages and report success the second time. The file is given up instead.
//
// It is not a file system abstraction and has no failpoints: faults are injected one level up, at objects (blob/wrap).
// Start with WriteFile (replace) and Publish (create once).
package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// TempPrefix begins the names of files that are being written. What carries it after a crash is garbage.
const TempPrefix = ".tmp-"

// WriteFile makes path hold data, atomically: after a crash it holds either the old or the new content, whole. When it
// returns nil, the new content is durable. The directory must exist.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	tmp, err := writeTemp(path, data, perm)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// CreateFile is WriteFile for a file that must not exist yet: fs.ErrExist when it does.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	tmp, err := writeTemp(path, data, perm)
	if err != nil {
		return err
	}
	return Publish(tmp, path)
}

func writeTemp(path string, data []byte, perm fs.FileMode) (string, error) {
	tmp := TempName(filepath.Dir(path))
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_CLOEXEC, perm)
	if err != nil {
		return "", err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(tmp)
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return tmp, nil
}

// TempName returns a fresh name for a temporary file in dir.
func TempName(dir string) string {
	var b [12]byte
	rand.Read(b[:]) // never fails
	return filepath.Join(dir, TempPrefix+hex.EncodeToString(b[:]))
}

// Publish gives a synced temporary file its name and makes the name durable. It never replaces: fs.ErrExist when path
// exists. The temporary file is gone afterwards in any case. A name that could not be made durable is taken back, so that
// nobody finds it and builds on it; whether it is there after power loss is unknown.
func Publish(tmp, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		// The file system cannot rename without replacing. A second link fails when the name exists, too.
		if err = os.Link(tmp, path); err == nil {
			err = os.Remove(tmp)
		}
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("publish %s: %w", path, err)
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// MkdirAll creates dir and its missing parents, and makes their names durable.
func MkdirAll(dir string, perm fs.FileMode) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := SyncDir(parent); err != nil {
		os.Remove(dir) // the next attempt must not take it for durable; fails if somebody uses it already
		return err
	}
	return nil
}

// Remove deletes a file and makes its absence durable.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
