package mount

import (
	"context"
	"log/slog"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// all is the directory of a vault: one directory for each recovery point. What is in it is read when it is entered.
type all struct {
	fs.Inode
	points []Point
	shown  func(Point) (*node, error)
	log    *slog.Logger
}

var (
	_ fs.NodeGetattrer = (*all)(nil)
	_ fs.NodeLookuper  = (*all)(nil)
	_ fs.NodeReaddirer = (*all)(nil)
	_ fs.NodeUnlinker  = (*all)(nil)
	_ fs.NodeRmdirer   = (*all)(nil)
	_ fs.NodeSetattrer = (*all)(nil)
)

// Getattr implements fs.NodeGetattrer.
func (a *all) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink = syscall.S_IFDIR|0o555, 1
	return 0
}

// Lookup implements fs.NodeLookuper.
func (a *all) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	for _, p := range a.points {
		if p.Name != name {
			continue
		}
		if have := a.GetChild(name); have != nil {
			have.Operations().(*node).fill(&out.Attr)
			return have, 0
		}
		n, err := a.shown(p)
		if err != nil {
			a.log.Error("a recovery point cannot be read", "recovery_point", name, "err", err)
			return nil, syscall.EIO
		}
		n.fill(&out.Attr)
		return a.NewInode(ctx, n, fs.StableAttr{Mode: syscall.S_IFDIR}), 0
	}
	return nil, syscall.ENOENT
}

// Readdir implements fs.NodeReaddirer.
func (a *all) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	list := make([]fuse.DirEntry, len(a.points))
	for i, p := range a.points {
		list[i] = fuse.DirEntry{Name: p.Name, Mode: syscall.S_IFDIR}
	}
	return fs.NewListDirStream(list), 0
}

// Unlink implements fs.NodeUnlinker by refusing, as all that would change something.
func (a *all) Unlink(context.Context, string) syscall.Errno { return syscall.EROFS }

// Rmdir implements fs.NodeRmdirer by refusing.
func (a *all) Rmdir(context.Context, string) syscall.Errno { return syscall.EROFS }

// Setattr implements fs.NodeSetattrer by refusing.
func (a *all) Setattr(context.Context, fs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}
