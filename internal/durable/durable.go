// Package durable writes files so that they survive power loss.
//
// The rules it follows: data is written under a temporary name and synced before it gets its real one; then the directory
// is synced, because the name is the directory's data. A sync that failed is never repeated on the same file: the kernel
// may have dropped the dirty pages and report success the second time. The file is given up instead.
//
// FS is what it takes of a file system, so that all of this can be proved on one that loses power or fails (blob/crashfs).
// Start with WriteFile (replace) and Volume.Publish (create once).
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
)

// TempPrefix begins the names of files that are being written. What carries it after a crash is garbage.
const TempPrefix = ".tmp-"

// TempName returns a fresh name for a temporary file in dir.
func TempName(dir string) string {
	var b [12]byte
	rand.Read(b[:]) // never fails
	return filepath.Join(dir, TempPrefix+hex.EncodeToString(b[:]))
}

// Volume writes durably to a file system. Safe for concurrent use.
type Volume struct{ FS }

// system is where the functions of this package write.
func system() Volume { return Volume{System{}} }

// WriteFile is Volume.WriteFile on the operating system's file system.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return system().WriteFile(path, data, perm)
}

// CreateFile is Volume.CreateFile on the operating system's file system.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	return system().CreateFile(path, data, perm)
}

// SyncDir is Volume.SyncDir on the operating system's file system.
func SyncDir(dir string) error { return system().SyncDir(dir) }

// MkdirAll is Volume.MkdirAll on the operating system's file system.
func MkdirAll(dir string, perm fs.FileMode) error { return system().MkdirAll(dir, perm) }

// Remove is Volume.Remove on the operating system's file system.
func Remove(path string) error { return system().Remove(path) }

// WriteFile makes path hold data, atomically: after a crash it holds either the old or the new content, whole. When it
// returns nil, the new content is durable. The directory must exist.
func (v Volume) WriteFile(path string, data []byte, perm fs.FileMode) error {
	tmp, err := v.writeTemp(path, data, perm)
	if err != nil {
		return err
	}
	if err := v.Rename(tmp, path); err != nil {
		v.Unlink(tmp)
		return err
	}
	return v.SyncDir(filepath.Dir(path))
}

// CreateFile is WriteFile for a file that must not exist yet: fs.ErrExist when it does.
func (v Volume) CreateFile(path string, data []byte, perm fs.FileMode) error {
	tmp, err := v.writeTemp(path, data, perm)
	if err != nil {
		return err
	}
	return v.Publish(tmp, path)
}

func (v Volume) writeTemp(path string, data []byte, perm fs.FileMode) (string, error) {
	tmp := TempName(filepath.Dir(path))
	f, err := v.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return "", err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		v.Unlink(tmp)
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return tmp, nil
}

// Publish gives a synced temporary file its name and makes the name durable. It never replaces: fs.ErrExist when path
// exists. The temporary file is gone afterwards in any case. A name that could not be made durable is taken back, so that
// nobody finds it and builds on it; whether it is there after power loss is unknown.
func (v Volume) Publish(tmp, path string) error {
	if err := v.RenameNew(tmp, path); err != nil {
		v.Unlink(tmp)
		return fmt.Errorf("publish %s: %w", path, err)
	}
	if err := v.SyncDir(filepath.Dir(path)); err != nil {
		v.Unlink(path)
		return err
	}
	return nil
}

// SyncDir makes the names in dir durable.
func (v Volume) SyncDir(dir string) error {
	if err := v.FS.SyncDir(dir); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// MkdirAll creates dir and its missing parents, and makes their names durable.
func (v Volume) MkdirAll(dir string, perm fs.FileMode) error {
	if info, err := v.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := v.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := v.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := v.SyncDir(parent); err != nil {
		v.Unlink(dir) // the next attempt must not take it for durable; fails if somebody uses it already
		return err
	}
	return nil
}

// Remove deletes a file and makes its absence durable.
func (v Volume) Remove(path string) error {
	if err := v.Unlink(path); err != nil {
		return err
	}
	return v.SyncDir(filepath.Dir(path))
}
