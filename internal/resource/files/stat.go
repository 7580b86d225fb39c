package files

import (
	"math"
	"os/user"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"strongroom/internal/tree"
)

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID

// node is an entry with what the walk needs beside it.
type node struct {
	tree.Entry
	btime  int64 // birth time where the file system has one, else 0: tells a reused inode number from the old one
	mount  uint64
	blocks uint64
	far    bool // its modification time is no number of nanoseconds since 1970; Mtime is the nearest one
}

// stat looks at name in the directory dir, or at dir itself when name is "".
func stat(dir int, name string, n *node) error {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	for {
		err := unix.Statx(dir, name, flags, statMask, &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	e := &n.Entry
	e.Type = typeOf(uint32(st.Mode))
	e.Mode = uint32(st.Mode) & 0o7777
	e.UID, e.GID = st.Uid, st.Gid
	e.Ctime, _ = nanos(st.Ctime)
	e.Mtime, n.far = nanos(st.Mtime)
	e.Size = 0
	if e.Type == tree.File {
		e.Size = int64(st.Size)
	}
	e.Rdev = 0
	if e.Type == tree.CharDev || e.Type == tree.BlockDev {
		e.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	}
	e.Nlink = st.Nlink
	e.Dev, e.Ino = unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino
	n.blocks = st.Blocks
	n.btime = 0
	if st.Mask&unix.STATX_BTIME != 0 {
		n.btime, _ = nanos(st.Btime)
	}
	n.mount = e.Dev
	if st.Mask&unix.STATX_MNT_ID != 0 {
		n.mount = st.Mnt_id // unlike the device number it tells bind mounts, and does not stop at btrfs subvolumes
	}
	return nil
}

// nanos returns a time in nanoseconds since 1970; far when it lies so many years away that they do not fit.
func nanos(t unix.StatxTimestamp) (ns int64, far bool) {
	const most = math.MaxInt64/int64(1e9) - 1
	if t.Sec > most || t.Sec < -most {
		return max(min(t.Sec, most), -most) * 1e9, true
	}
	return t.Sec*1e9 + int64(t.Nsec), false
}

func typeOf(mode uint32) tree.Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return tree.Dir
	case unix.S_IFREG:
		return tree.File
	case unix.S_IFLNK:
		return tree.Symlink
	case unix.S_IFIFO:
		return tree.Fifo
	case unix.S_IFSOCK:
		return tree.Socket
	case unix.S_IFCHR:
		return tree.CharDev
	case unix.S_IFBLK:
		return tree.BlockDev
	}
	return 0
}

// sameObject reports whether two sightings are of one inode that was not touched in between.
func sameState(a, b *node) bool {
	return sameInode(a, b) && a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime
}

func sameInode(a, b *node) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Type == b.Type && a.btime == b.btime
}

// readlink reads the target of the link name in dir.
func readlink(dir int, name string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// xattrsAt reads the extended attributes of name in dir, of dir itself when name is "". buf is scratch space.
func xattrsAt(dir int, name string, buf []byte) ([]tree.Xattr, error) {
	if name == "" {
		return xattrs(buf,
			func(b []byte) (int, error) { return unix.Flistxattr(dir, b) },
			func(attr string, b []byte) (int, error) { return unix.Fgetxattr(dir, attr, b) })
	}
	path := procPath(dir, name)
	return xattrs(buf,
		func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(attr string, b []byte) (int, error) { return unix.Lgetxattr(path, attr, b) })
}

func xattrs(buf []byte, list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]tree.Xattr, error) {
	n, err := grow(&buf, list)
	if err == unix.ENOTSUP || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	out := make([]tree.Xattr, 0, len(names))
	for _, name := range names {
		n, err := grow(&buf, func(b []byte) (int, error) { return get(name, b) })
		switch err {
		case nil:
			out = append(out, tree.Xattr{Name: name, Value: append([]byte{}, buf[:n]...)})
		case unix.ENODATA, unix.ENOTSUP: // removed since it was listed, or listed by a layer that cannot return it
		default:
			return nil, err
		}
	}
	return out, nil
}

// maxXattr is the kernel's own limit for a value and for a list of names.
const maxXattr = 64 << 10

// grow repeats a read that says ERANGE with the largest buffer that can be needed.
func grow(buf *[]byte, read func([]byte) (int, error)) (int, error) {
	n, err := read(*buf)
	if err == unix.ERANGE && len(*buf) < maxXattr {
		*buf = make([]byte, maxXattr)
		n, err = read(*buf)
	}
	return n, err
}

// owners caches the names of users and groups.
type owners struct {
	mu            sync.RWMutex
	users, groups map[uint32]string
}

func newOwners() *owners { return &owners{users: map[uint32]string{}, groups: map[uint32]string{}} }

func (o *owners) name(e *tree.Entry) {
	o.mu.RLock()
	u, okU := o.users[e.UID]
	g, okG := o.groups[e.GID]
	o.mu.RUnlock()
	if !okU || !okG {
		if x, err := user.LookupId(strconv.FormatUint(uint64(e.UID), 10)); err == nil {
			u = x.Username
		}
		if x, err := user.LookupGroupId(strconv.FormatUint(uint64(e.GID), 10)); err == nil {
			g = x.Name
		}
		o.mu.Lock()
		if len(o.users) < maxOwners && len(o.groups) < maxOwners {
			o.users[e.UID], o.groups[e.GID] = u, g
		}
		o.mu.Unlock()
	}
	e.User, e.Group = u, g
}

// maxOwners bounds the cache where a tree has an owner per file.
const maxOwners = 1 << 16
