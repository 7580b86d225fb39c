package files

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"strongroom/internal/fault"
	"strongroom/internal/resource"
	"strongroom/internal/tree"
)

// Options are the policy of one place; the zero value is the cautious one.
type Options struct {
	// CrossMounts walks into other file systems mounted inside the tree.
	CrossMounts bool
	// Blocks declares files that are rewritten in place, by their paths in the tree.
	Blocks []tree.Blocks
	// Ownership restores owner and group by number, and ACLs. Without it everything belongs to the restoring user.
	Ownership bool
	// SetID restores setuid and setgid bits of files, file capabilities and other privileged attributes (security.*,
	// trusted.*; SELinux labels are restored with Ownership). The setgid bit of directories gives no privilege and is always
	// restored. It has no effect without Ownership: the bits would then stand for another user than they did.
	SetID bool
	// Devices restores character and block devices.
	Devices bool
}

// Config is where a Provider reads and writes.
type Config struct {
	// Root is a directory of this host. It comes from the administrator; symbolic links in it are followed.
	Root string
	// Dir, if set, is one name directly below Root, and the place is that directory. It is never reached through a symbolic
	// link, and Target makes it (mode 0700) when the request says Create.
	Dir string
	Options
}

// Provider implements resource.Provider for one directory.
type Provider struct {
	Config
	owners *owners
}

var _ resource.Provider = (*Provider)(nil)

// New returns the provider for a directory, which need not exist yet.
func New(c Config) *Provider { return &Provider{Config: c, owners: newOwners()} }

// Features says what this type can do.
func (p *Provider) Features() resource.Features {
	return resource.Features{Type: "EFS", Items: true, HardLinks: true, Sparse: true, Metadata: true}
}

// Source opens the directory. The same Source may be walked more than once.
func (p *Provider) Source(context.Context) (resource.Source, error) {
	fd, err := p.open(false)
	if err != nil {
		return nil, err
	}
	return &source{root: fd, options: p.Options, owners: p.owners}, nil
}

// Target begins a restore into a new directory of the place. The result of Close is worth logging: a partial directory
// that could not be removed is named in it.
func (p *Provider) Target(_ context.Context, r resource.Request) (resource.Restoration, error) {
	fd, err := p.open(r.Create)
	if err != nil {
		return nil, err
	}
	t, err := begin(fd, p.Options, r)
	if err != nil {
		unix.Close(fd)
		if r.Create && p.Dir != "" {
			p.removeEmpty()
		}
		return nil, err
	}
	if r.Create && p.Dir != "" {
		t.undo = p.removeEmpty
	}
	return t, nil
}

// Sweep removes what restores that nobody goes on with have left in the place: partial directories without an owner. One
// that is being filled, by this process or another one of this host, is left alone.
func (p *Provider) Sweep(ctx context.Context) (removed []string, err error) {
	fd, err := p.open(false)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	names, err := partials(fd)
	if err != nil {
		return nil, p.unreachable(err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		switch err := discard(fd, name); {
		case err == nil:
			removed = append(removed, name)
		case !fault.Is(err, fault.Conflict):
			return removed, err
		}
	}
	if len(removed) > 0 && p.Dir != "" {
		p.removeEmpty()
	}
	return removed, nil
}

// open opens the place for reading, making Dir first if create is set.
func (p *Provider) open(create bool) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	root, err := openat(unix.AT_FDCWD, p.Root, flags, 0)
	if err != nil || p.Dir == "" {
		return root, p.unreachable(err)
	}
	defer unix.Close(root)
	if !tree.ValidPath(p.Dir) || p.Dir == "" || hasSlash(p.Dir) {
		return -1, fault.New(fault.Invalid, "%q is not the name of a directory", p.Dir)
	}
	if create {
		if err := unix.Mkdirat(root, p.Dir, 0o700); err == nil {
			err = unix.Fsync(root)
			if err != nil {
				return -1, p.unreachable(err)
			}
		} else if !errors.Is(err, unix.EEXIST) {
			return -1, p.unreachable(err)
		}
	}
	fd, err := openat(root, p.Dir, flags|unix.O_NOFOLLOW, 0)
	return fd, p.unreachable(err)
}

// removeEmpty takes back a Dir that a failed restore made and left empty.
func (p *Provider) removeEmpty() {
	root, err := openat(unix.AT_FDCWD, p.Root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(root)
	unix.Unlinkat(root, p.Dir, unix.AT_REMOVEDIR) // fails when there is anything in it, which is the point
}

// unreachable says why the place cannot be opened. The host's path goes into the cause only.
func (p *Provider) unreachable(err error) error {
	if err == nil {
		return nil
	}
	path := p.Root
	if p.Dir != "" {
		path += "/" + p.Dir
	}
	cause := &fs.PathError{Op: "open", Path: path, Err: err}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return fault.New(fault.NotFound, "the file system's directory does not exist on the agent's host").WithCause(cause)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fault.New(fault.State, "the agent may not open the file system's directory").WithCause(cause)
	}
	return fault.New(fault.Unavailable, "the file system's directory cannot be opened: %v", err).WithCause(cause)
}
