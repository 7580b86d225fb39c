package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"strongroom/internal/fault"
	"strongroom/internal/tree"
)

// hardlink is a further name of a file, made when the first one exists.
type hardlink struct {
	path, first string
	kind        tree.Type
}

func (t *target) hardlink(e *tree.Entry) error {
	if !tree.ValidPath(e.Hardlink) {
		return refuse(e.Path, "a hard link to something outside the tree")
	}
	if (e.Type == tree.CharDev || e.Type == tree.BlockDev) && !t.Devices {
		return refuse(e.Path, "devices are not restored: the restore policy does not allow it")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != filling {
		return errFinished
	}
	t.links = append(t.links, hardlink{e.Path, e.Hardlink, e.Type})
	return nil
}

// Finish completes the tree in the only safe order: hard links while all directories are still private, attributes of
// directories with the deepest first (creating something in a directory changes its time, and its mode may forbid it), the
// root last; then everything is made durable; then, and not before, the directory gets its final name, and that is made
// durable too. Refusals do not stop it.
func (t *target) Finish(ctx context.Context) error {
	t.mu.Lock()
	if t.state != filling {
		t.mu.Unlock()
		return errFinished
	}
	if n := len(t.writers); n > 0 {
		t.mu.Unlock()
		return fault.New(fault.State, "%d files of the restore are still open", n)
	}
	t.state = ending
	t.mu.Unlock()

	var refused []error
	note := func(err error) error {
		r, rest := tree.Refusals(err)
		for _, e := range r {
			refused = append(refused, e)
		}
		return rest
	}
	slices.SortFunc(t.links, func(a, b hardlink) int { return tree.Compare(a.path, b.path) })
	for _, l := range t.links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := note(t.link(l)); err != nil {
			return err
		}
	}
	t.handles.close()
	slices.SortFunc(t.dirs, func(a, b directory) int { return cmp.Compare(0, tree.Compare(a.path, b.path)) })
	for _, d := range t.dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := note(t.dressDir(d)); err != nil {
			return err
		}
	}
	if t.foreign.Load() {
		refused = append(refused, &tree.Refused{Reason: "owners and groups were not restored: the restore policy does not allow it"})
	}
	if err := t.publish(ctx); err != nil {
		return err
	}
	return errors.Join(refused...)
}

// link makes one hard link. The first name must have been restored, as the same type of object.
func (t *target) link(l hardlink) error {
	const what = "the hard link was not made"
	fd, err := openBeneath(t.root, l.first, unix.O_PATH, unix.RESOLVE_NO_XDEV)
	if err == unix.ENOENT {
		return refuse(l.path, what+": its first name was not restored")
	}
	if err != nil {
		return refusal(l.path, what, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return refusal(l.path, what, err)
	}
	if typeOf(st.Mode) != l.kind || l.kind == tree.Dir {
		return refuse(l.path, what+": its first name is another type of object")
	}
	parent, name := split(l.path)
	dir, err := t.parent(parent)
	if err != nil {
		return refusal(l.path, what, err)
	}
	defer t.handles.release(dir)
	return refusal(l.path, what, unix.Linkat(unix.AT_FDCWD, procPath(fd, ""), dir.fd, name, unix.AT_SYMLINK_FOLLOW))
}

func (t *target) dressDir(d directory) error {
	fd := t.root
	if d.path != "" {
		var err error
		fd, err = openBeneath(t.root, d.path, unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_NO_XDEV)
		if err != nil {
			return refusal(d.path, "its attributes were not set", err)
		}
		defer unix.Close(fd)
	}
	return t.apply(descriptor{fd: fd}, d.path, d.attributes)
}

// publish makes the tree durable and gives it its name. One syncfs replaces an fsync per file and directory; since Linux
// 5.8 it reports writes that failed.
func (t *target) publish(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := unix.Syncfs(t.root); err != nil {
		return fmt.Errorf("make the restored files durable: %w", err)
	}
	if same, err := isAt(t.place, t.partial, t.root); err != nil || !same {
		return errMoved(err)
	}
	err := unix.Renameat2(t.place, t.partial, t.place, t.final, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // a file system that cannot refuse to replace: look first
		var st unix.Stat_t
		if err = unix.Fstatat(t.place, t.final, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			err = unix.EEXIST
		} else if err == unix.ENOENT {
			err = unix.Renameat(t.place, t.partial, t.place, t.final)
		}
	}
	if err == unix.EEXIST {
		return fault.New(fault.Exists, "%s was made by somebody else meanwhile", t.final)
	}
	if err != nil {
		return fmt.Errorf("name the restored directory: %w", err)
	}
	// From here on the result is visible: it is never removed, whatever follows.
	t.mu.Lock()
	t.state = complete
	t.mu.Unlock()
	if same, err := isAt(t.place, t.final, t.root); err != nil || !same {
		return errMoved(err)
	}
	if err := unix.Fsync(t.place); err != nil {
		return fmt.Errorf("make the name of the restored directory durable: %w", err)
	}
	return nil
}

func errMoved(cause error) error {
	return fault.New(fault.Conflict, "the directory being restored was moved or replaced by somebody else").WithCause(cause)
}
