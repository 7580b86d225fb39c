// Package blob is the ground under the vault engine: named, immutable objects.
//
// A Store is what a directory on disk, an S3 bucket and a map in memory have in common. It is not a file system: an object
// is created once, whole, and never changes; there is no append, no rename and no overwrite. That is what makes crashes,
// retries and object locks easy to reason about.
//
// Invariants every implementation keeps (package blobtest proves them):
//   - An object is visible under its name either not at all or complete.
//   - When Put or Writer.Commit returns nil, the object survives power loss.
//   - Creating a name that exists fails with fault.Exists and leaves the object as it was.
//   - A missing object is fault.NotFound, everywhere; a shorter object than asked for is fault.Corrupt.
//
// Start with Store. Package disk keeps objects in files, mem in memory (with a simulated crash), wrap injects faults.
package blob

import (
	"context"

	"strongroom/internal/fault"
)

// Store holds immutable objects under slash-separated names. All methods may be called concurrently.
type Store interface {
	// Put creates a small object from memory. nil means durable. fault.Exists when the name is taken.
	Put(ctx context.Context, name string, data []byte) error
	// Create begins an object that is written in pieces. Nothing is visible before Commit.
	Create(ctx context.Context, name string) (Writer, error)
	// ReadAt fills p from the object beginning at off. It returns nil only when p is full: fault.NotFound when there is no
	// such object, fault.Corrupt when it ends before.
	ReadAt(ctx context.Context, name string, p []byte, off int64) error
	// Stat returns the object's size, or fault.NotFound.
	Stat(ctx context.Context, name string) (Info, error)
	// List calls fn for each object whose name begins with prefix, in ascending byte order of the names. It returns early
	// with fn's error. An object created or deleted during the listing may or may not be seen.
	List(ctx context.Context, prefix string, fn func(Info) error) error
	// Delete removes an object; nil means that it stays away after power loss. fault.NotFound when there is none, and then
	// it stays away, too.
	Delete(ctx context.Context, name string) error
}

// Writer receives one object. It is for one goroutine.
type Writer interface {
	// Write appends. After an error the object cannot be committed any more.
	Write(p []byte) (int, error)
	// Commit makes the object visible and durable. After a failed Commit it is unknown whether the object exists: its name
	// must not be used again, and nothing may refer to it. A failed sync is never repeated.
	Commit(ctx context.Context) error
	// Abort discards what was written. It may be called after Commit, where it does nothing.
	Abort()
}

// Info describes one object.
type Info struct {
	Name string
	Size int64
}

// Exclusive is implemented by stores that can keep a second process away from the same objects.
type Exclusive interface {
	// Acquire fails with fault.Unavailable while another holder exists. The claim ends with the process at the latest.
	Acquire(ctx context.Context) (release func(), err error)
}

// Cleaner is implemented by stores that leave temporary files behind when the process dies while it writes.
type Cleaner interface {
	// Clean removes what unfinished writes of dead processes left; writes under way are not touched.
	Clean(ctx context.Context) (removed int, err error)
}

// Reserver is implemented by stores that can run out of space.
type Reserver interface {
	// Reserve keeps n bytes free for what frees space: nothing else is written there. It does nothing if as much is kept
	// already. 0 gives the space back; whoever has a full store and must write to make room does that, and reserves anew
	// afterwards. fault.Limit: there is not as much space.
	Reserve(ctx context.Context, n int64) error
}

// Suspicious is implemented by stores that take no more changes after the disk has failed them.
type Suspicious interface {
	// Suspect returns why nothing can be changed, nil if all is well.
	Suspect() error
	// Distrust tells a store what another one found out about the same disk.
	Distrust(why error)
}

// MaxName bounds the length of an object's name.
const MaxName = 512

// CheckName refuses names that not every store can hold: empty elements, "." and "..", elements that begin with a dot,
// and bytes other than letters, digits, '-', '_', '.' and '/'.
func CheckName(name string) error {
	bad := func() error { return fault.New(fault.Invalid, "%.80q is no valid object name", name) }
	if name == "" || len(name) > MaxName {
		return bad()
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '/' {
			if i == start || name[start] == '.' || i-start > 200 {
				return bad()
			}
			start = i + 1
			continue
		}
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return bad()
		}
	}
	return nil
}

// Missing is the error for an object that does not exist.
func Missing(name string) error {
	return fault.New(fault.NotFound, "there is no object %s", name).WithResource(name)
}

// Taken is the error for creating an object that exists.
func Taken(name string) error {
	return fault.New(fault.Exists, "object %s exists already", name).WithResource(name)
}

// Short is the error for an object that ends before the range asked for.
func Short(name string, size, off int64, n int) error {
	return fault.New(fault.Corrupt, "object %s has %d bytes, too few for %d at %d", name, size, n, off).WithResource(name)
}

// Get reads a whole object of at most limit bytes; a larger one is fault.Corrupt.
func Get(ctx context.Context, s Store, name string, limit int64) ([]byte, error) {
	info, err := s.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if info.Size > limit {
		return nil, fault.New(fault.Corrupt, "object %s has %d bytes, more than the %d it may have", name, info.Size, limit).WithResource(name)
	}
	p := make([]byte, info.Size)
	if len(p) == 0 {
		return p, nil
	}
	return p, s.ReadAt(ctx, name, p, 0)
}
