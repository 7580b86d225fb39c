package files

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Path-safe primitives. None of them follows a symbolic link below the directory it starts from.

func hasSlash(s string) bool { return strings.IndexByte(s, '/') >= 0 }

// split cuts a path into its parent ("" for the root) and its last element.
func split(path string) (parent, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// join is the inverse of split.
func join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "/" + name
}

// openat is unix.Openat, repeated when a signal interrupts it.
func openat(dir int, path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, path, flags, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// maxLookup bounds what is handed to the kernel in one path; PATH_MAX is 4096 with the NUL.
const maxLookup = 4000

// openBeneath opens path below the directory root without passing a symbolic link or leaving root; resolve adds
// RESOLVE_NO_XDEV where mounts must not be crossed either. path must be a valid tree path; "" opens root itself anew.
// Paths of any length work: long ones are resolved piece by piece.
func openBeneath(root int, path string, flags int, resolve uint64) (int, error) {
	if path == "" {
		path = "."
	}
	dir := root
	for len(path) > maxLookup {
		cut := strings.LastIndexByte(path[:maxLookup], '/')
		if cut < 0 {
			break // one element that long does not exist: the kernel says so
		}
		next, err := openPiece(dir, path[:cut], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, resolve)
		if dir != root {
			unix.Close(dir)
		}
		if err != nil {
			return -1, err
		}
		dir, path = next, path[cut+1:]
	}
	fd, err := openPiece(dir, path, flags, resolve)
	if dir != root {
		unix.Close(dir)
	}
	return fd, err
}

func openPiece(dir int, path string, flags int, resolve uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	for {
		fd, err := unix.Openat2(dir, path, &how)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN:
			continue
		case err == unix.ENOSYS:
			return openElements(dir, path, flags, resolve)
		}
		return fd, err
	}
}

// openElements does what openat2 does where a sandbox denies that call: one element at a time, none of them a link.
func openElements(root int, path string, flags int, resolve uint64) (int, error) {
	var top unix.Stat_t
	if err := unix.Fstat(root, &top); err != nil {
		return -1, err
	}
	dir := root
	for {
		element, rest, more := strings.Cut(path, "/")
		f := flags | unix.O_NOFOLLOW | unix.O_CLOEXEC
		if more {
			f = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		next, err := openat(dir, element, f, 0)
		if dir != root {
			unix.Close(dir)
		}
		if err != nil {
			return -1, err
		}
		if resolve&unix.RESOLVE_NO_XDEV != 0 {
			var st unix.Stat_t
			if err := unix.Fstat(next, &st); err != nil || st.Dev != top.Dev {
				unix.Close(next)
				return -1, errors.Join(err, unix.EXDEV)
			}
		}
		if !more {
			return next, nil
		}
		dir, path = next, rest
	}
}

// openNoAtime opens for reading without touching the access time where that is permitted (the owner and root may).
func openNoAtime(open func(flags int) (int, error), flags int) (int, error) {
	fd, err := open(flags | unix.O_NOATIME)
	if err == unix.EPERM {
		return open(flags)
	}
	return fd, err
}

// procPath names an open descriptor's object, and optionally an entry of that directory, for the calls that exist only
// with paths. The descriptor pins the directory; the calls used with a name do not follow it if it is a link.
func procPath(fd int, name string) string {
	p := "/proc/self/fd/" + strconv.Itoa(fd)
	if name != "" {
		p += "/" + name
	}
	return p
}
