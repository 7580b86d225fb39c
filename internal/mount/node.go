package mount

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/tree"
)

// ProblemXattr is an extended attribute that every entry has which is not a faithful copy: it says why.
const ProblemXattr = "user.strongroom.problem"

// point is one mounted recovery point: what its nodes share.
type point struct {
	// ctx is that of the mount: an operation is short, and one that the kernel interrupts must not spoil what others wait for.
	ctx    context.Context
	browse *repo.Browser
	log    *slog.Logger

	mu    sync.Mutex
	links map[string]uint64 // inode numbers of files with several links, by the path of the first
	next  *inodes
}

// inodes hands out the numbers of files with several links. All other numbers come from the library. Those that the manifest
// has are not used: two files of a hostile manifest may have one number, and would be one file.
type inodes struct {
	mu   sync.Mutex
	last uint64
}

func (i *inodes) take() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last++
	return i.last
}

// node is one entry.
type node struct {
	fs.Inode
	p     *point
	entry tree.Entry
}

var (
	_ fs.NodeGetattrer   = (*node)(nil)
	_ fs.NodeLookuper    = (*node)(nil)
	_ fs.NodeReaddirer   = (*node)(nil)
	_ fs.NodeReadlinker  = (*node)(nil)
	_ fs.NodeOpener      = (*node)(nil)
	_ fs.NodeReader      = (*node)(nil)
	_ fs.NodeGetxattrer  = (*node)(nil)
	_ fs.NodeListxattrer = (*node)(nil)
	_ fs.NodeStatfser    = (*node)(nil)
	_ fs.NodeLseeker     = (*node)(nil)
)

var typeBits = map[tree.Type]uint32{
	tree.Dir: syscall.S_IFDIR, tree.File: syscall.S_IFREG, tree.Symlink: syscall.S_IFLNK, tree.Fifo: syscall.S_IFIFO,
	tree.Socket: syscall.S_IFSOCK, tree.CharDev: syscall.S_IFCHR, tree.BlockDev: syscall.S_IFBLK,
}

// errno is what a program is told. What is wrong in detail stands in the log.
func (p *point) errno(err error, what string) syscall.Errno {
	switch {
	case err == nil:
		return 0
	case fault.Is(err, fault.NotFound):
		return syscall.ENOENT
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return syscall.EINTR
	}
	p.log.Error("cannot be read", "path", what, "err", err)
	return syscall.EIO
}

func (n *node) fill(a *fuse.Attr) {
	e := &n.entry
	a.Mode = typeBits[e.Type] | e.Mode
	a.Nlink = max(e.Nlink, 1)
	a.Owner = fuse.Owner{Uid: e.UID, Gid: e.GID}
	a.Size = uint64(e.Size)
	switch e.Type {
	case tree.Symlink:
		a.Size = uint64(len(e.Link))
	case tree.CharDev, tree.BlockDev:
		a.Rdev = uint32(e.Rdev)
	}
	a.Blksize = 128 << 10
	stored := e.Size
	if e.Extents != nil {
		stored = 0
		for _, x := range e.Extents {
			stored += x.Len
		}
	}
	a.Blocks = uint64((stored + 511) / 512)
	sec, nsec := floor(e.Mtime)
	a.Mtime, a.Mtimensec = sec, nsec
	a.Atime, a.Atimensec = sec, nsec
	a.Ctime, a.Ctimensec = floor(e.Ctime)
}

// floor splits nanoseconds, also those before 1970, into the form of a timespec.
func floor(ns int64) (sec uint64, nsec uint32) {
	s, r := ns/1e9, ns%1e9
	if r < 0 {
		s, r = s-1, r+1e9
	}
	return uint64(s), uint32(r)
}

// Getattr implements fs.NodeGetattrer.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fill(&out.Attr)
	return 0
}

// Lookup implements fs.NodeLookuper.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if have := n.GetChild(name); have != nil {
		if c, ok := have.Operations().(*node); ok {
			c.fill(&out.Attr)
			return have, 0
		}
	}
	at := join(n.entry.Path, name)
	e, err := n.p.browse.Lookup(n.p.ctx, at)
	if err != nil {
		return nil, n.p.errno(err, at)
	}
	child := &node{p: n.p, entry: e}
	if e.Hardlink != "" { // what all links of a file have in common is said by the first
		first, err := n.p.browse.Lookup(n.p.ctx, e.Hardlink)
		if err != nil || first.Hardlink != "" || first.Type != e.Type {
			if err == nil || fault.Is(err, fault.NotFound) {
				err = fault.New(fault.Corrupt, "a hard link to %.200q, which is no such file", e.Hardlink)
			}
			return nil, n.p.errno(err, at)
		}
		child.entry = first
	}
	child.fill(&out.Attr)
	return n.NewInode(ctx, child, fs.StableAttr{Mode: typeBits[child.entry.Type], Ino: n.p.number(&child.entry)}), 0
}

// number is the inode number of an entry, 0 where the library may choose one.
func (p *point) number(e *tree.Entry) uint64 {
	if e.Type == tree.Dir || e.Nlink < 2 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.links[e.Path]
	if !ok {
		n = p.next.take()
		p.links[e.Path] = n
	}
	return n
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// Readdir implements fs.NodeReaddirer.
func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	return &listing{n: n}, 0
}

// listing reads a directory piece by piece, so that one of any size takes little memory.
type listing struct {
	n     *node
	marks []string // the last path of each whole piece that was read
	piece int      // which one comes next
	ahead []tree.Entry
	ended bool
	errno syscall.Errno
}

// perPiece is how many entries are read at once.
const perPiece = 512

var _ fs.FileSeekdirer = (*listing)(nil)

// HasNext implements fs.DirStream.
func (l *listing) HasNext() bool {
	if len(l.ahead) == 0 && !l.ended && l.errno == 0 {
		l.load()
	}
	return len(l.ahead) > 0 || l.errno != 0
}

// load reads the next piece.
func (l *listing) load() {
	after := ""
	if l.piece > 0 {
		after = l.marks[l.piece-1]
	}
	es, err := l.n.p.browse.Children(l.n.p.ctx, l.n.entry.Path, after, perPiece)
	if l.errno = l.n.p.errno(err, l.n.entry.Path); l.errno != 0 {
		return
	}
	l.ahead, l.ended = es, len(es) < perPiece
	if !l.ended {
		if l.piece == len(l.marks) {
			l.marks = append(l.marks, es[len(es)-1].Path)
		}
		l.piece++
	}
}

// Next implements fs.DirStream.
func (l *listing) Next() (fuse.DirEntry, syscall.Errno) {
	if l.errno != 0 {
		return fuse.DirEntry{}, l.errno
	}
	e := &l.ahead[0]
	l.ahead = l.ahead[1:]
	return fuse.DirEntry{Name: path.Base(e.Path), Mode: typeBits[e.Type]}, 0
}

// Seekdir implements fs.FileSeekdirer: offsets count entries.
func (l *listing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	l.ahead, l.ended, l.errno = nil, false, 0
	l.piece = int(min(off/perPiece, uint64(len(l.marks))))
	for skip := off - uint64(l.piece)*perPiece; skip > 0; {
		if !l.HasNext() {
			return 0
		}
		if l.errno != 0 {
			return l.errno
		}
		n := min(skip, uint64(len(l.ahead)))
		l.ahead = l.ahead[n:]
		skip -= n
	}
	return 0
}

// Close implements fs.DirStream.
func (l *listing) Close() {}

// Readlink implements fs.NodeReadlinker.
func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	if n.entry.Type != tree.Symlink {
		return nil, syscall.EINVAL
	}
	return []byte(n.entry.Link), 0
}

// Open implements fs.NodeOpener. Content never changes, so the kernel may keep it.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_ACCMODE|syscall.O_TRUNC|syscall.O_APPEND|syscall.O_CREAT) != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	f, err := n.p.browse.Open(n.p.ctx, n.entry.Path)
	if err != nil {
		return nil, 0, n.p.errno(err, n.entry.Path)
	}
	return f, fuse.FOPEN_KEEP_CACHE, 0
}

// Read implements fs.NodeReader.
func (n *node) Read(_ context.Context, h fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f, ok := h.(*repo.BrowsedFile)
	if !ok {
		return nil, syscall.EBADF
	}
	read, err := f.ReadAt(n.p.ctx, dest, off)
	if err != nil {
		return nil, n.p.errno(err, n.entry.Path)
	}
	return fuse.ReadResultData(dest[:read]), 0
}

// Lseek implements fs.NodeLseeker: the holes of a sparse file.
func (n *node) Lseek(_ context.Context, _ fs.FileHandle, from uint64, whence uint32) (uint64, syscall.Errno) {
	off, size := int64(from), n.entry.Size
	if off < 0 || off >= size {
		return 0, syscall.ENXIO
	}
	extents := n.entry.Extents
	if extents == nil {
		extents = []tree.Extent{{Len: size}}
	}
	switch whence {
	case unix.SEEK_DATA:
		for _, x := range extents {
			if off < x.Off+x.Len {
				return uint64(max(off, x.Off)), 0
			}
		}
		return 0, syscall.ENXIO
	case unix.SEEK_HOLE:
		for _, x := range extents {
			if off < x.Off {
				break
			}
			off = max(off, x.Off+x.Len)
		}
		return uint64(off), 0
	}
	return 0, syscall.EINVAL
}

// xattrs lists the attributes of the entry, and its problem as one.
func (n *node) xattrs() []tree.Xattr {
	if n.entry.Problem == "" {
		return n.entry.Xattrs
	}
	own := slices.DeleteFunc(slices.Clone(n.entry.Xattrs), func(x tree.Xattr) bool { return x.Name == ProblemXattr })
	return append(own, tree.Xattr{Name: ProblemXattr, Value: []byte(n.entry.Problem)})
}

// Getxattr implements fs.NodeGetxattrer.
func (n *node) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	for _, x := range n.xattrs() {
		if x.Name == name {
			return give(dest, x.Value)
		}
	}
	return 0, syscall.ENODATA
}

// Listxattr implements fs.NodeListxattrer.
func (n *node) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	var names strings.Builder
	for _, x := range n.xattrs() {
		names.WriteString(x.Name + "\x00")
	}
	return give(dest, []byte(names.String()))
}

// give answers a question for bytes of unknown length: a caller without room learns the length.
func give(dest, value []byte) (uint32, syscall.Errno) {
	if len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

// Statfs implements fs.NodeStatfser: there is no room.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	return 0
}
