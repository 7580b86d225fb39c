// Package crashfs is a file system in memory that can lose power, fail and fill up. It is for tests.
//
// It keeps apart what programs see and what the disk has for sure: a write is sure once the file was synced, a name once
// its directory was. Crash gives the file system that a machine might find after power loss: of everything that is not
// sure each part is there or not, independently, files torn at sectors with stale, zero or arbitrary bytes in between. It is
// harsher than real file systems, which order more than they promise.
//
// A failed sync behaves as on Linux: the data that it should have written counts as clean from then on. It may have reached
// the disk or not, and no later sync makes it sure.
//
// It is not fast, knows no permissions, no links and no times. Invariant: whatever Crash returns could have been read back
// from a disk that honours every sync that returned nil. Start with New; Watch sees each operation and takes images, Fail
// makes operations fail, Limit bounds the space. Images are made in crash.go.
package crashfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/durable"
)

// blockSize is the unit of space.
const blockSize = 4096

// Kind is what an operation does.
type Kind int

// The kinds of operations.
const (
	Open Kind = iota // without making a file
	Create
	Read
	Write
	Truncate
	Sync
	Reserve
	Mkdir
	Rename
	Unlink
	Stat
	ReadDir
	SyncDir
)

var kindNames = [...]string{"open", "create", "read", "write", "truncate", "sync", "reserve", "mkdir", "rename", "unlink", "stat", "readdir", "syncdir"}

func (k Kind) String() string { return kindNames[k] }

// Changes tells whether operations of the kind change anything.
func (k Kind) Changes() bool { return k != Open && k != Read && k != Stat && k != ReadDir }

// Op is one operation.
type Op struct {
	N    int // counts from 1
	Kind Kind
	Name string // full path; of a Rename the new one
}

// Fault is how an operation fails. A nil Err lets it succeed.
type Fault struct {
	Err   error
	Short bool // a write takes half of the data before it fails, a read gives half
	After bool // it takes effect all the same
}

// FS is the file system. Safe for concurrent use.
type FS struct {
	mu    sync.Mutex
	root  *inode
	n     int
	watch func(Op, Imager)
	fail  func(Op) Fault
	limit int64 // blocks; 0 = no limit
	used  int64
}

var _ durable.FS = (*FS)(nil)

// inode is a file or directory.
type inode struct {
	dir   bool
	links int
	opens int

	// A file: what programs see, what is sure, and what was done since the last sync.
	data   []byte
	cow    bool // data is somebody else's too: copied before it is changed
	sure   []byte
	writes []write
	limbo  []write // a failed sync dropped them
	blocks int64

	// A directory: what programs see, what is sure, and what changed since the last sync.
	names   map[string]*inode
	durable map[string]*inode
	changes []change
	lost    []change // a failed sync dropped them

	exclusive bool
	shared    int
}

type write struct {
	off  int64
	data []byte // nil: a change of the size to off
}

// change is what became of a name; nil: it was removed.
type change struct {
	name string
	to   *inode
}

func newDir() *inode {
	return &inode{dir: true, links: 1, names: map[string]*inode{}, durable: map[string]*inode{}}
}

// New returns an empty file system with the directory dir (an absolute path), durably.
func New(dir string) *FS {
	f := &FS{root: newDir()}
	at := f.root
	for _, name := range split(dir) {
		next := newDir()
		at.names[name], at.durable[name] = next, next
		at = next
	}
	return f
}

// Watch lets fn see each operation after it took effect, whether it failed or not. fn must not use the file system; it may
// take images. nil ends it.
func (f *FS) Watch(fn func(Op, Imager)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch = fn
}

// Fail lets fn decide about each operation before it takes effect, and counts operations from 1 again. nil ends it.
func (f *FS) Fail(fn func(Op) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.n = fn, 0
}

// Ops returns how many operations there were since New or Fail.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// Limit bounds the space to n bytes more than is used now; negative ends the limit.
func (f *FS) Limit(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = 0
	if n >= 0 {
		f.limit = max(1, f.used+n/blockSize)
	}
}

// Used returns the space in use.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used * blockSize
}

func split(name string) []string {
	return strings.FieldsFunc(filepath.Clean(name), func(r rune) bool { return r == '/' })
}

// do runs one operation under the lock.
func (f *FS) do(k Kind, name string, op func(Fault) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	o := Op{N: f.n, Kind: k, Name: name}
	var x Fault
	if f.fail != nil {
		x = f.fail(o)
	}
	var err error
	switch {
	case x.Err == nil, k == Sync, k == SyncDir, x.Short && (k == Read || k == Write):
		err = op(x)
	case x.After:
		if err = op(Fault{}); err == nil {
			err = bad(k, name, x.Err)
		}
	default:
		err = bad(k, name, x.Err)
	}
	if f.watch != nil {
		f.watch(o, Imager{f})
	}
	return err
}

func bad(k Kind, name string, err error) error {
	return &fs.PathError{Op: k.String(), Path: name, Err: err}
}

// find returns what has a name, or nil.
func (f *FS) find(name string) *inode {
	at := f.root
	for _, n := range split(name) {
		if at == nil || !at.dir {
			return nil
		}
		at = at.names[n]
	}
	return at
}

// place returns the directory and last element of a name.
func (f *FS) place(k Kind, name string) (*inode, string, error) {
	d := f.find(filepath.Dir(name))
	switch {
	case d == nil:
		return nil, "", bad(k, name, unix.ENOENT)
	case !d.dir:
		return nil, "", bad(k, name, unix.ENOTDIR)
	}
	return d, filepath.Base(name), nil
}

// set changes what a name stands for.
func (f *FS) set(d *inode, name string, to *inode) {
	if old := d.names[name]; old != nil {
		old.links--
		f.drop(old)
	}
	if to == nil {
		delete(d.names, name)
	} else {
		to.links++
		d.names[name] = to
	}
	d.changes = append(d.changes, change{name, to})
}

// drop gives the space of a file back that has no name and is not open.
func (f *FS) drop(n *inode) {
	if n.links == 0 && n.opens == 0 {
		f.used -= n.blocks
		n.blocks = 0
	}
}

// Open implements durable.FS.
func (f *FS) Open(name string, flag int, _ fs.FileMode) (out durable.File, err error) {
	k := Open
	f.mu.Lock()
	if flag&os.O_CREATE != 0 && (flag&os.O_EXCL != 0 || f.find(name) == nil) {
		k = Create
	}
	f.mu.Unlock()
	err = f.do(k, name, func(Fault) error {
		d, base, err := f.place(k, name)
		if err != nil {
			return err
		}
		n := d.names[base]
		switch {
		case n == nil && flag&os.O_CREATE == 0:
			return bad(k, name, unix.ENOENT)
		case n == nil:
			n = &inode{}
			f.set(d, base, n)
		case flag&os.O_EXCL != 0:
			return bad(k, name, unix.EEXIST)
		case n.dir:
			return bad(k, name, unix.EISDIR)
		}
		n.opens++
		out = &handle{f: f, n: n, name: name, direct: flag&unix.O_DIRECT != 0}
		return nil
	})
	return out, err
}

// Mkdir implements durable.FS.
func (f *FS) Mkdir(name string, _ fs.FileMode) error {
	return f.do(Mkdir, name, func(Fault) error {
		d, base, err := f.place(Mkdir, name)
		if err != nil {
			return err
		}
		if d.names[base] != nil {
			return bad(Mkdir, name, unix.EEXIST)
		}
		if f.limit > 0 && f.used >= f.limit {
			return bad(Mkdir, name, unix.ENOSPC)
		}
		n := newDir()
		n.links, n.blocks = 0, 1
		f.used++
		f.set(d, base, n)
		return nil
	})
}

func (f *FS) rename(from, to string, replace bool) error {
	return f.do(Rename, to, func(Fault) error {
		fd, fbase, err := f.place(Rename, from)
		if err != nil {
			return err
		}
		td, tbase, err := f.place(Rename, to)
		if err != nil {
			return err
		}
		n := fd.names[fbase]
		switch {
		case n == nil:
			return bad(Rename, from, unix.ENOENT)
		case td.names[tbase] != nil && !replace:
			return bad(Rename, to, unix.EEXIST)
		}
		f.set(td, tbase, n)
		f.set(fd, fbase, nil)
		return nil
	})
}

// Rename implements durable.FS.
func (f *FS) Rename(from, to string) error { return f.rename(from, to, true) }

// RenameNew implements durable.FS.
func (f *FS) RenameNew(from, to string) error { return f.rename(from, to, false) }

// Unlink implements durable.FS.
func (f *FS) Unlink(name string) error {
	return f.do(Unlink, name, func(Fault) error {
		d, base, err := f.place(Unlink, name)
		if err != nil {
			return err
		}
		n := d.names[base]
		switch {
		case n == nil:
			return bad(Unlink, name, unix.ENOENT)
		case len(n.names) > 0:
			return bad(Unlink, name, unix.ENOTEMPTY)
		}
		f.set(d, base, nil)
		return nil
	})
}

// Lstat implements durable.FS.
func (f *FS) Lstat(name string) (info fs.FileInfo, err error) {
	err = f.do(Stat, name, func(Fault) error {
		n := f.find(name)
		if n == nil {
			return bad(Stat, name, unix.ENOENT)
		}
		info = stat{name: filepath.Base(name), size: int64(len(n.data)), dir: n.dir}
		return nil
	})
	return info, err
}

// Stat implements durable.FS.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.Lstat(name) }

// ReadDir implements durable.FS.
func (f *FS) ReadDir(name string) (out []fs.DirEntry, err error) {
	err = f.do(ReadDir, name, func(Fault) error {
		d := f.find(name)
		switch {
		case d == nil:
			return bad(ReadDir, name, unix.ENOENT)
		case !d.dir:
			return bad(ReadDir, name, unix.ENOTDIR)
		}
		for base, n := range d.names {
			out = append(out, fs.FileInfoToDirEntry(stat{name: base, size: int64(len(n.data)), dir: n.dir}))
		}
		slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		return nil
	})
	return out, err
}

// SyncDir implements durable.FS.
func (f *FS) SyncDir(name string) error {
	return f.do(SyncDir, name, func(x Fault) error {
		d := f.find(name)
		switch {
		case d == nil:
			return bad(SyncDir, name, unix.ENOENT)
		case !d.dir:
			return bad(SyncDir, name, unix.ENOTDIR)
		case x.Err != nil:
			d.lost = append(d.lost, d.changes...)
			d.changes = nil
			return bad(SyncDir, name, x.Err)
		}
		for _, c := range d.changes {
			if c.to == nil {
				delete(d.durable, c.name)
			} else {
				d.durable[c.name] = c.to
			}
			d.lost = slices.DeleteFunc(d.lost, func(l change) bool { return l.name == c.name })
		}
		d.changes = nil
		return nil
	})
}

// stat is a fs.FileInfo.
type stat struct {
	name string
	size int64
	dir  bool
}

func (s stat) Name() string       { return s.name }
func (s stat) Size() int64        { return s.size }
func (s stat) IsDir() bool        { return s.dir }
func (s stat) ModTime() time.Time { return time.Time{} }
func (s stat) Sys() any           { return nil }
func (s stat) Mode() fs.FileMode {
	if s.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
