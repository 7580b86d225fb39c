package files

import (
	"errors"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"strongroom/internal/tree"
)

const setIDBits = unix.S_ISUID | unix.S_ISGID

// attributes are the metadata of one object, apart from its content.
type attributes struct {
	kind     tree.Type
	mode     uint32
	uid, gid uint32
	mtime    int64
	xattrs   []tree.Xattr
	owned    bool // it has its owner and group from its creation
}

func attributesOf(e *tree.Entry) attributes {
	return attributes{kind: e.Type, mode: e.Mode & 0o7777, uid: e.UID, gid: e.GID, mtime: e.Mtime, xattrs: e.Xattrs}
}

// fatal reports errors that concern the whole restore, not one object: going on would only repeat them.
func fatal(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EROFS, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ESTALE, unix.ENODEV, unix.EBADF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refusal wraps what went wrong with one object: an error of the whole restore stays what it is.
func refusal(path, what string, err error) error {
	if err == nil {
		return nil
	}
	if fatal(err) {
		return &failure{path: path, what: what, err: err}
	}
	return &tree.Refused{Path: path, Reason: what + ": " + reason(err)}
}

// reason words the errors that mean more here than their text says.
func reason(err error) string {
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return "a directory on its path is a symbolic link or another kind of object"
	case errors.Is(err, unix.EXDEV):
		return "its path leaves the restored directory"
	}
	return err.Error()
}

// failure is an error that ends the restore.
type failure struct {
	path, what string
	err        error
}

func (f *failure) Error() string { return f.path + ": " + f.what + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// descriptor is how an object's attributes are reached: a real descriptor for files and directories, an O_PATH one for
// everything that must not be opened.
type descriptor struct {
	fd   int
	path bool // O_PATH
}

// apply sets the attributes in the one order that works: the owner first, because changing it clears setuid bits and
// capabilities; user.* attributes before a mode that may take the right to write them; ACLs and capabilities after it,
// because changing the mode rewrites an ACL's mask; times last. What Options or the system refuse is collected; the
// object keeps the rest.
func (o Options) apply(d descriptor, path string, a attributes) error {
	var errs []error
	note := func(what string, err error) bool {
		if err != nil {
			errs = append(errs, refusal(path, what, err))
		}
		return err == nil
	}
	owned := o.Ownership && (a.owned || note("its owner was not set", d.chown(a.uid, a.gid)))
	for _, x := range a.xattrs {
		if strings.HasPrefix(x.Name, "user.") {
			note("attribute "+x.Name+" was not set", d.setxattr(x))
		}
	}
	if a.kind != tree.Symlink {
		mode := a.mode
		if mode&setIDBits != 0 && a.kind != tree.Dir && !(o.SetID && owned) {
			mode &^= setIDBits
			errs = append(errs, &tree.Refused{Path: path, Reason: "its setuid or setgid bit was not set: the restore policy does not allow it"})
		}
		note("its mode was not set", d.chmod(mode))
	}
	for _, x := range a.xattrs {
		switch {
		case strings.HasPrefix(x.Name, "user."):
		case o.allows(x.Name, owned):
			note("attribute "+x.Name+" was not set", d.setxattr(x))
		default:
			errs = append(errs, &tree.Refused{Path: path, Reason: "attribute " + x.Name + " was not set: the restore policy does not allow it"})
		}
	}
	note("its modification time was not set", d.utime(a.mtime))
	return errors.Join(errs...)
}

// allows says whether an attribute outside user.* may be restored. Capabilities and the attributes that only the
// administrator can set are privileges; ACLs and labels grant rights by number and name, like owners.
func (o Options) allows(name string, owned bool) bool {
	if strings.HasPrefix(name, "system.") || name == "security.selinux" {
		return owned
	}
	return o.SetID && owned
}

func (d descriptor) chown(uid, gid uint32) error {
	if d.path {
		return unix.Fchownat(d.fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH)
	}
	return unix.Fchown(d.fd, int(uid), int(gid))
}

// An O_PATH descriptor cannot be given to fchmod; its name in /proc leads to the very object it holds.
func (d descriptor) chmod(mode uint32) error {
	if d.path {
		return unix.Chmod(procPath(d.fd, ""), mode)
	}
	return unix.Fchmod(d.fd, mode)
}

func (d descriptor) setxattr(x tree.Xattr) error {
	if d.path {
		return unix.Setxattr(procPath(d.fd, ""), x.Name, x.Value, 0)
	}
	return unix.Fsetxattr(d.fd, x.Name, x.Value, 0)
}

// utime sets the modification time; the access time stays as the restore left it.
func (d descriptor) utime(mtime int64) error {
	sec, nsec := mtime/1e9, mtime%1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: sec, Nsec: nsec}}
	if d.path {
		return unix.UtimesNanoAt(d.fd, "", ts[:], unix.AT_EMPTY_PATH)
	}
	// utimensat without a path is futimens, for which there is no wrapper.
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(d.fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0)
	runtime.KeepAlive(&ts)
	if errno != 0 {
		return errno
	}
	return nil
}
