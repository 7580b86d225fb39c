package disk

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// names gives files their names and makes the names durable. Whoever waits for the sync of a directory that is being synced
// shares the next one with all others who wait: one alone never waits for company, and many need few syncs.
type names struct {
	s *Store

	mu      sync.Mutex
	sure    map[string]bool     // directories whose own names are known to be durable
	made    map[string]bool     // made by this store, and not sure yet
	settled bool                // what was there when the store was claimed is sure
	dirs    map[string]*syncing // by directory; none for those at rest
}

// syncing is what goes on with one directory.
type syncing struct {
	running *round // under way: names given since it began are not in it
	next    *round // those who wait for the one under way
}

// round is one sync and its outcome.
type round struct {
	done chan struct{}
	err  error
}

func (n *names) init(s *Store) {
	n.s, n.sure, n.made, n.dirs = s, map[string]bool{s.dir: true}, map[string]bool{}, map[string]*syncing{}
}

// sync makes durable what happened to the names in dir before the call.
func (n *names) sync(dir string) error {
	if err := n.s.check(); err != nil {
		return err
	}
	n.mu.Lock()
	d := n.dirs[dir]
	if d == nil {
		d = &syncing{}
		n.dirs[dir] = d
	}
	var r, before *round
	switch {
	case d.next != nil: // somebody will do it
		r = d.next
		n.mu.Unlock()
		<-r.done
		return r.err
	case d.running != nil:
		r, before = &round{done: make(chan struct{})}, d.running
		d.next = r
		n.mu.Unlock()
		<-before.done
		n.mu.Lock()
		d.running, d.next = r, nil
		n.mu.Unlock()
	default:
		r = &round{done: make(chan struct{})}
		d.running = r
		n.mu.Unlock()
	}
	if r.err = n.s.check(); r.err == nil {
		r.err = n.s.syncDir(dir)
	}
	n.mu.Lock()
	if d.running == r {
		d.running = nil
	}
	if d.next == nil && d.running == nil {
		delete(n.dirs, dir)
	}
	n.mu.Unlock()
	close(r.done)
	return r.err
}

// syncDir syncs a directory and distrusts the disk if that fails.
func (s *Store) syncDir(dir string) error {
	err := s.fs.SyncDir(dir)
	if p := (*fs.PathError)(nil); err == nil || errors.As(err, &p) && p.Op == "open" {
		return err // it was not even tried: too many open files, no permission
	}
	return s.distrust(err)
}

// ensure makes the directory dir. unsure are those directories among it and the ones above it whose own names are not
// durable yet.
func (n *names) ensure(dir string) (unsure []string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var missing []string
	for d := dir; !n.sure[d] && d != filepath.Dir(d); d = filepath.Dir(d) {
		missing = append(missing, d)
	}
	for _, d := range slices.Backward(missing) {
		err := n.s.fs.Mkdir(d, 0o700)
		switch {
		case err == nil:
			n.made[d] = true
		case !errors.Is(err, fs.ErrExist):
			return nil, err
		case n.settled && !n.made[d]:
			n.sure[d] = true
			continue
		}
		unsure = append(unsure, d)
	}
	return unsure, nil
}

// durable notes that the names of dirs are durable.
func (n *names) durable(dirs []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range dirs {
		n.sure[d] = true
		delete(n.made, d)
	}
}

// publish gives a synced file its name, durably, and never takes one away from another: fs.ErrExist. The temporary file is
// gone afterwards in any case. A name that could not be made durable is taken back, so that nobody finds it and builds on
// it; whether it is there after power loss is unknown.
func (n *names) publish(tmp, path string) error {
	dir := filepath.Dir(path)
	unsure, err := n.ensure(dir)
	if err == nil {
		err = n.s.fs.RenameNew(tmp, path)
	}
	if err != nil {
		n.s.fs.Unlink(tmp)
		return err
	}
	for _, d := range unsure {
		if err == nil {
			err = n.sync(filepath.Dir(d))
		}
	}
	if err == nil {
		err = n.sync(dir)
	}
	if err != nil {
		n.s.fs.Unlink(path)
		return err
	}
	n.durable(unsure)
	return nil
}

// Delete implements blob.Store.
func (s *Store) Delete(_ context.Context, name string) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	gone := s.fs.Unlink(path)
	if gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return s.missing(name, gone)
	}
	// What is missing may be so since an attempt that could not make it durable: the caller counts on it staying away.
	if err := s.names.sync(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if gone != nil {
		return s.missing(name, gone)
	}
	return nil
}

// check returns why nothing may be changed, or nil.
func (s *Store) check() error {
	if f := s.suspect.Load(); f != nil {
		return f
	}
	return nil
}

// distrust ends all changes: a directory could not be synced. What the kernel shows of it from now on need not be what the
// disk has, and no later sync tells; only a file system that is mounted anew shows the disk.
func (s *Store) distrust(cause error) error {
	s.suspect.CompareAndSwap(nil, fault.New(fault.Unavailable,
		"the disk failed to keep names of files in %s, so the vault takes no changes; what it acknowledged before is there. Check the disk, mount its file system anew and start again", s.dir).
		WithResource(s.dir).WithCause(cause))
	return s.check()
}

var _ blob.Suspicious = (*Store)(nil)

// Suspect implements blob.Suspicious.
func (s *Store) Suspect() error { return s.check() }

// Distrust implements blob.Suspicious.
func (s *Store) Distrust(why error) {
	if f := fault.As(why); f != nil {
		s.suspect.CompareAndSwap(nil, f)
	}
}

// settle makes the names durable that can be seen, or distrusts the disk. A process that was killed may have given one and not synced it; what is
// built on it from now on would be lost with it when the power fails. One level is enough: what lies deeper is referred to
// by objects that were written after it was durable.
func (s *Store) settle() error {
	if s.check() != nil {
		return nil // nothing will be built on them
	}
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			if err := s.names.sync(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := s.names.sync(s.dir); err != nil {
		return err
	}
	// And the store itself: who made it may have been killed, too. Where that is not ours to sync it is not ours to make.
	for _, d := range []string{filepath.Dir(s.dir), filepath.Dir(filepath.Dir(s.dir))} {
		err := s.fs.SyncDir(d)
		foreign := errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOTSUP)
		if err != nil && !foreign {
			return s.distrust(err)
		}
	}
	s.names.mu.Lock()
	s.names.settled = true
	s.names.mu.Unlock()
	return nil
}

var _ blob.Store = (*Store)(nil)
