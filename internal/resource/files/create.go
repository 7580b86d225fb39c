package files

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"strongroom/internal/tree"
)

func refuse(path, why string) error { return &tree.Refused{Path: path, Reason: why} }

// Create makes the object that e describes, private to this process until Finish. Nothing that exists is opened, replaced
// or followed.
func (t *target) Create(ctx context.Context, e *tree.Entry) (tree.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !t.filling() {
		return nil, errFinished
	}
	if !tree.ValidPath(e.Path) {
		return nil, refuse(e.Path, "its path is not a relative path inside the tree")
	}
	if (e.UID != t.uid || e.GID != t.gid) && !t.Ownership {
		t.foreign.Store(true)
	}
	if e.Path == "" {
		if e.Type != tree.Dir {
			return nil, refuse("", "the root is not a directory")
		}
		t.directory("", e)
		return nil, nil
	}
	if e.Hardlink != "" && e.Type != tree.Dir {
		return nil, t.hardlink(e)
	}
	if (e.Type == tree.CharDev || e.Type == tree.BlockDev) && !t.Devices {
		return nil, refuse(e.Path, "devices are not restored: the restore policy does not allow it")
	}
	parent, name := split(e.Path)
	dir, err := t.parent(parent)
	if err != nil {
		return nil, refusal(e.Path, "was not created", err)
	}
	defer t.handles.release(dir)
	switch e.Type {
	case tree.Dir:
		return nil, t.mkdir(dir.fd, name, e)
	case tree.File:
		return t.create(dir.fd, name, e)
	case tree.Symlink:
		if e.Link == "" {
			return nil, refuse(e.Path, "a symbolic link without a target")
		}
		err = symlinkat(e.Link, dir.fd, name)
	case tree.Fifo:
		err = unix.Mknodat(dir.fd, name, unix.S_IFIFO|0o600, 0)
	case tree.Socket:
		err = unix.Mknodat(dir.fd, name, unix.S_IFSOCK|0o600, 0)
	case tree.CharDev:
		err = unix.Mknodat(dir.fd, name, unix.S_IFCHR|0o600, int(e.Rdev))
	case tree.BlockDev:
		err = unix.Mknodat(dir.fd, name, unix.S_IFBLK|0o600, int(e.Rdev))
	default:
		return nil, refuse(e.Path, "an object of unknown type")
	}
	if err != nil {
		return nil, refusal(e.Path, "was not created", err)
	}
	return nil, t.dress(dir.fd, name, e)
}

// symlinkat refuses targets the kernel would cut short.
func symlinkat(target string, dir int, name string) error {
	for i := range len(target) {
		if target[i] == 0 {
			return unix.EINVAL
		}
	}
	return unix.Symlinkat(target, dir, name)
}

// create makes a regular file.
func (t *target) create(dir int, name string, e *tree.Entry) (tree.Writer, error) {
	if e.Size < 0 {
		return nil, refuse(e.Path, "its size is negative")
	}
	fd, err := openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, refusal(e.Path, "was not created", err)
	}
	w := &writer{t: t, fd: fd, path: e.Path, size: e.Size, sparse: e.Extents != nil, attrs: attributesOf(e)}
	w.attrs.owned = e.UID == t.uid && e.GID == t.gid && t.ownsNew(fd)
	if !t.opened(w) {
		unix.Close(fd)
		return nil, errFinished
	}
	return w, nil
}

// ownsNew reports whether the files that this restore makes belong to its user and group, as a look at one of them tells:
// nothing is setgid before Finish, but what a server or a mount option says about owners holds for all.
func (t *target) ownsNew(fd int) bool {
	t.looked.Do(func() {
		var st unix.Stat_t
		t.owns = unix.Fstat(fd, &st) == nil && st.Uid == t.uid && st.Gid == t.gid
	})
	return t.owns
}

// dress sets the attributes of an object that cannot be opened. Between its creation and here somebody might have put
// something else in its place: what is reached must be of the type that was made, and have one name.
func (t *target) dress(dir int, name string, e *tree.Entry) error {
	fd, err := openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return refusal(e.Path, "its attributes were not set", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return refusal(e.Path, "its attributes were not set", err)
	}
	device := e.Type == tree.CharDev || e.Type == tree.BlockDev
	if typeOf(st.Mode) != e.Type || st.Nlink != 1 || device && uint64(st.Rdev) != e.Rdev {
		return refuse(e.Path, "was replaced while it was created")
	}
	return t.apply(descriptor{fd: fd, path: true}, e.Path, attributesOf(e))
}

// mkdir makes a directory and remembers its attributes for Finish.
func (t *target) mkdir(dir int, name string, e *tree.Entry) error {
	err := unix.Mkdirat(dir, name, 0o700)
	if err == unix.EEXIST && t.wasImplied(e.Path) {
		err = nil // made for something inside it that came first
	}
	if err != nil {
		return refusal(e.Path, "was not created", err)
	}
	t.directory(e.Path, e)
	return nil
}

// parent returns the directory at path, making it and what is missing above it: a restore of single items need not name
// the directories that lead to them. Those keep mode 0700 unless their entry comes later.
func (t *target) parent(path string) (*handle, error) {
	d, err := t.handles.get(path)
	if !errors.Is(err, unix.ENOENT) || path == "" {
		return d, err
	}
	above, name := split(path)
	up, err := t.parent(above)
	if err != nil {
		return nil, err
	}
	defer t.handles.release(up)
	switch err := unix.Mkdirat(up.fd, name, 0o700); {
	case err == nil:
		t.imply(path)
	case err != unix.EEXIST:
		return nil, err
	}
	return t.handles.get(path)
}
