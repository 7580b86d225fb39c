package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"strongroom/internal/fault"
	"strongroom/internal/resource"
	"strongroom/internal/tree"
)

// target is a restore into a new directory of a place.
type target struct {
	Options
	place          int // descriptor of the directory that the restored one is made in
	root           int // descriptor of the restored directory; holds the lock that keeps other attempts out
	partial, final string
	handles        *handles
	uid, gid       uint32      // who new objects belong to
	foreign        atomic.Bool // some entry belongs to somebody else, and Ownership is off
	undo           func()      // takes back the place if the restore fails, may be nil
	looked         sync.Once   // at the owner of a new file:
	owns           bool        // new files really are uid's and gid's

	mu      sync.Mutex // guards what follows
	dirs    []directory
	implied map[string]bool // directories made for something inside them
	links   []hardlink
	writers map[*writer]struct{}
	state   targetState
}

type targetState int

const (
	filling  targetState = iota
	ending               // Finish has begun: nothing more is created
	complete             // the result has its final name
	over                 // closed
)

type directory struct {
	path string
	attributes
}

var errFinished = fault.New(fault.State, "the restore is finished or closed")

// Names of restored directories. A partial one begins with a dot and ends in .partial, and names the restore it belongs to.
const (
	namePrefix = "aws-backup-restore_"
	nameTime   = "2006-01-02T15-04-05"
)

func finalName(r resource.Request) string {
	at := r.CreatedAt.UTC()
	return fmt.Sprintf("%s%s-%03dZ", namePrefix, at.Format(nameTime), at.Nanosecond()/1e6)
}

func partialName(r resource.Request) string {
	sum := sha256.Sum256([]byte(r.ID))
	return "." + finalName(r) + "." + hex.EncodeToString(sum[:8]) + ".partial"
}

var partialPattern = regexp.MustCompile(`^\.aws-backup-restore_[0-9TZ-]{24}\.[0-9a-f]{16}\.partial$`)

// partials lists the partial directories in place.
func partials(place int) ([]string, error) {
	fd, err := openat(place, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	all, _, err := readNames(fd, make([]byte, 64<<10), false)
	var out []string
	for i := range all.len() {
		if partialPattern.MatchString(all.name(i)) {
			out = append(out, all.name(i))
		}
	}
	return out, err
}

// begin makes the partial directory in place, discarding what an earlier attempt of the same restore left. On success the
// target owns place.
func begin(place int, o Options, r resource.Request) (*target, error) {
	if r.ID == "" || r.CreatedAt.IsZero() {
		return nil, fault.New(fault.Invalid, "a restore needs an id and a time")
	}
	t := &target{
		Options: o, place: place, partial: partialName(r),
		uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()),
		implied: map[string]bool{}, writers: map[*writer]struct{}{},
	}
	var err error
	if t.final, err = freeName(place, finalName(r)); err != nil {
		return nil, cannotBegin(err)
	}
	if err := discard(place, t.partial); err != nil {
		return nil, err
	}
	if err := unix.Mkdirat(place, t.partial, 0o700); err != nil {
		if err == unix.EEXIST {
			return nil, errBusy
		}
		return nil, cannotBegin(err)
	}
	if t.root, err = openat(place, t.partial, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		unix.Unlinkat(place, t.partial, unix.AT_REMOVEDIR)
		return nil, cannotBegin(err)
	}
	if err := t.secure(); err != nil {
		unix.Close(t.root)
		return nil, err
	}
	t.handles = newHandles(t.root)
	return t, nil
}

// secure takes the lock and makes the directory private, whatever it inherited from the one it stands in.
func (t *target) secure() error {
	if err := lock(t.root); err != nil {
		return err
	}
	if same, err := isAt(t.place, t.partial, t.root); err != nil || !same {
		return errBusy // the other attempt removed it before we had the lock
	}
	// The group may be inherited from a setgid directory, and with it new objects' group.
	if err := unix.Fchown(t.root, -1, int(t.gid)); err != nil && err != unix.EPERM {
		return cannotBegin(err)
	}
	if err := unix.Fchmod(t.root, 0o700); err != nil {
		return cannotBegin(err)
	}
	return nil
}

var errBusy = fault.New(fault.Conflict, "another attempt of this restore is still running")

func cannotBegin(err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		return fault.New(fault.State, "the agent may not create a directory in the file system: %v", err).WithCause(err)
	}
	return fault.New(fault.Unavailable, "the restore directory cannot be made: %v", err).WithCause(err)
}

// lock keeps other attempts away for as long as fd is open; a crash releases it. File systems without locks get none.
func lock(fd int) error {
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch err {
		case nil, unix.ENOLCK, unix.ENOTSUP, unix.ENOSYS:
			return nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return errBusy
		default:
			return cannotBegin(err)
		}
	}
}

// freeName returns name, or name with a number when there is something of that name already.
func freeName(dir int, name string) (string, error) {
	for i := 1; ; i++ {
		try := name
		if i > 1 {
			try = fmt.Sprintf("%s_%d", name, i)
		}
		var st unix.Stat_t
		switch err := unix.Fstatat(dir, try, &st, unix.AT_SYMLINK_NOFOLLOW); err {
		case nil:
		case unix.ENOENT:
			return try, nil
		default:
			return "", err
		}
	}
}

// isAt reports whether name in dir is the object that fd has open.
func isAt(dir int, name string, fd int) (bool, error) {
	var here, there unix.Stat_t
	if err := unix.Fstat(fd, &here); err != nil {
		return false, err
	}
	if err := unix.Fstatat(dir, name, &there, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if err == unix.ENOENT {
			err = nil
		}
		return false, err
	}
	return here.Dev == there.Dev && here.Ino == there.Ino, nil
}

// discard removes what an earlier attempt left under name, unless that attempt is alive.
func discard(place int, name string) error {
	fd, err := openat(place, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return cannotBegin(err)
	}
	defer unix.Close(fd)
	if err := lock(fd); err != nil {
		return err
	}
	return remove(place, name)
}

// remove deletes a partial directory with everything in it, following no link.
func remove(place int, name string) error {
	root, err := os.OpenRoot(procPath(place, ""))
	if err == nil {
		err = root.RemoveAll(name)
		root.Close()
	}
	if err != nil {
		return fault.New(fault.Unavailable, "the partial restore %s cannot be removed", name).WithCause(err)
	}
	return nil
}

// Location is the name of the restored directory.
func (t *target) Location() string { return t.final }

func (t *target) filling() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state == filling
}

func (t *target) directory(path string, e *tree.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirs = append(t.dirs, directory{path, attributesOf(e)})
}

func (t *target) imply(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.implied[path] = true
}

// wasImplied reports, once, that path was made by imply.
func (t *target) wasImplied(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.implied[path]
	delete(t.implied, path)
	return was
}

// opened registers a file being written; false when it is too late for that.
func (t *target) opened(w *writer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == filling {
		t.writers[w] = struct{}{}
	}
	return t.state == filling
}

func (t *target) closed(w *writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.writers, w)
}

// Close ends the restore. Without a successful Finish everything that was made is removed.
func (t *target) Close() error {
	t.mu.Lock()
	was := t.state
	t.state = over
	writers := t.writers
	t.writers = nil
	t.mu.Unlock()
	if was == over {
		return nil
	}
	for w := range writers {
		if !w.closed.Swap(true) {
			w.closeDirect()
			unix.Close(w.fd)
		}
	}
	t.handles.close()
	var err error
	if was != complete {
		// The name may have been given to something else meanwhile; only what was made here is removed.
		if same, serr := isAt(t.place, t.partial, t.root); serr == nil && same {
			err = remove(t.place, t.partial)
		}
		if t.undo != nil && err == nil {
			t.undo()
		}
	}
	unix.Close(t.root)
	unix.Close(t.place)
	return err
}
