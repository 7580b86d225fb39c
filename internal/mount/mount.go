package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/tree"
)

// Point is a recovery point to show.
type Point struct {
	// Name is the directory's, where several are shown.
	Name   string
	Made   time.Time
	Browse *repo.Browser
}

// Config says what to mount and where.
type Config struct {
	// Points: one that is shown as the mount point itself when Single is set, and otherwise a directory for each.
	Points []Point
	Single bool
	At     string // an empty directory
	// AllowOther lets other users in, as far as modes and owners allow.
	AllowOther bool
	Log        *slog.Logger
}

// Device is what a mount needs of the machine.
const Device = "/dev/fuse"

// Mount shows recovery points until ctx ends or somebody unmounts, and returns nil then; ready is called once they can be
// seen. It unmounts also what is in use: who has a file open there reads EIO or ENOTCONN afterwards. fault.Unavailable: this
// machine has no FUSE, or does not let the caller use it. fault.Invalid: At is no empty directory.
func Mount(ctx context.Context, c Config, ready func()) error {
	if err := checkPlace(c.At); err != nil {
		return err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	// What is being read when the mount ends may be read to its end.
	root, err := New(context.WithoutCancel(ctx), c)
	if err != nil {
		return err
	}
	server, err := fs.Mount(c.At, root, options(c))
	if err != nil {
		return fault.New(fault.Unavailable, "%s cannot be mounted (%v): FUSE needs %s, and fusermount3 unless you are root", c.At, err, Device).WithCause(err)
	}
	if ready != nil {
		ready()
	}
	ended := make(chan struct{})
	go func() { server.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	if err := unmount(c.At); err != nil {
		return fmt.Errorf("unmount %s: %w; try umount -l %s", c.At, err, c.At)
	}
	return nil
}

// unmount takes the file system away from where it is at once, and from those who use it when they are done.
func unmount(at string) error {
	err := unix.Unmount(at, unix.MNT_DETACH)
	if errors.Is(err, unix.EPERM) {
		for _, program := range []string{"fusermount3", "fusermount"} {
			out, ferr := exec.Command(program, "-u", "-z", "--", at).CombinedOutput()
			if ferr == nil {
				return nil
			}
			err = fmt.Errorf("%w: %s", ferr, out)
		}
	}
	return err
}

func checkPlace(at string) error {
	es, err := os.ReadDir(at)
	switch {
	case err != nil:
		return fault.New(fault.Invalid, "%s is not a directory to mount at: %v", at, err)
	case len(es) > 0:
		return fault.New(fault.Invalid, "%s is not empty: what is in it would be hidden; name an empty directory", at)
	}
	return nil
}

// options tells kernel and library what kind of file system this is. Times are kept for long, as nothing changes.
func options(c Config) *fs.Options {
	long := time.Hour
	return &fs.Options{
		EntryTimeout: &long, AttrTimeout: &long, NegativeTimeout: &long, NullPermissions: true, FirstAutomaticIno: 1 << 63,
		MountOptions: fuse.MountOptions{
			AllowOther: c.AllowOther, FsName: "strongroom", Name: "strongroom", DirectMount: os.Geteuid() == 0,
			DirectMountFlags: syscall.MS_RDONLY | syscall.MS_NOSUID | syscall.MS_NODEV,
			Options:          mountOptions(os.Geteuid() == 0),
		},
	}
}

// mountOptions are those for mount(2), which takes the flags apart, or for fusermount.
func mountOptions(direct bool) []string {
	if direct {
		return []string{"default_permissions", "nosuid", "nodev"}
	}
	return []string{"ro", "default_permissions", "nosuid", "nodev"}
}

// New returns the root of a file system without mounting it. ctx is that of all reading.
func New(ctx context.Context, c Config) (fs.InodeEmbedder, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	numbers := &inodes{}
	numbers.last = 1 // the root's
	shown := func(p Point) (*node, error) {
		e, err := p.Browse.Lookup(ctx, "")
		if err != nil {
			return nil, err
		}
		if e.Type != tree.Dir {
			return nil, fault.New(fault.Invalid, "%s is a %s, not a tree of files: it cannot be mounted", p.Name, e.Type)
		}
		return &node{p: &point{ctx: ctx, browse: p.Browse, log: c.Log, links: map[string]uint64{}, next: numbers}, entry: e}, nil
	}
	if c.Single {
		return shown(c.Points[0])
	}
	return &all{points: c.Points, shown: shown, log: c.Log}, nil
}
