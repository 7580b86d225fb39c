// Package tree holds the words in which a recovery point's content is described: entries with their metadata, where
// their bytes come from, and where they go to.
//
// It is the border between providers (which read and write real resources and know nothing of vaults) and the vault
// engine (which stores entries and knows nothing of file systems). Both speak these types; neither imports the other.
//
// Order. A Source emits entries in tree order: depth first, a directory before what is in it, the names of one directory
// in ascending byte order. Less compares two paths that way. The engine relies on it for its sorted manifest and for the
// merge with the previous recovery point, and refuses a source that breaks it.
package tree

import (
	"context"
	"errors"
	"io"
)

// Type is the type of an entry.
type Type uint8

// The types. Stored in manifests: values never change.
const (
	Dir      Type = 1
	File     Type = 2
	Symlink  Type = 3
	Fifo     Type = 4
	Socket   Type = 5
	CharDev  Type = 6
	BlockDev Type = 7
)

var typeNames = [...]string{"unknown", "directory", "file", "symlink", "fifo", "socket", "character device", "block device"}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// Extent is a run of data in a sparse file; what no extent covers reads as zero.
type Extent struct{ Off, Len int64 }

// Xattr is one extended attribute, ACLs and capabilities included, as the kernel returns it.
type Xattr struct {
	Name  string
	Value []byte
}

// Entry describes one object of a tree. Names are bytes, not text: Path may hold anything but NUL.
type Entry struct {
	// Path relative to the root of the resource, slash-separated, no leading slash, no "." or ".." element.
	// "" is the root itself.
	Path  string
	Type  Type
	Mode  uint32 // permission bits with setuid, setgid and sticky (07777)
	UID   uint32
	GID   uint32
	User  string // name of the owner where it was read, informative; "" if unknown
	Group string
	Mtime int64 // nanoseconds since 1970
	Ctime int64 // change detection only, never restored
	Size  int64 // logical size of a File
	Rdev  uint64
	Link  string // target of a Symlink, bytes
	// Hardlink groups files that are links of one inode: the path of the first link in tree order. "" for a file with one
	// link and for that first link itself; such an entry carries the content, the others none.
	Hardlink string
	Nlink    uint32
	Dev, Ino uint64 // change detection and hard link groups; never restored
	Xattrs   []Xattr
	// Extents lists the data of a sparse file in ascending order; nil means the whole of [0, Size) is data. An empty
	// non-nil list means the file is one hole.
	Extents []Extent
	// Problem says why this entry is not a faithful copy ("changed while it was read", "permission denied"); "" is clean.
	Problem string
}

// Content is the data of one regular file, opened for reading.
type Content interface {
	// Read yields the bytes of the extents one after another (of the whole file when Extents is nil).
	io.ReadCloser
	// Extents is valid after Open: nil for a dense file.
	Extents() []Extent
	// Check is called once after the last Read. It returns what the object looks like now and a reason when it is not
	// what Open saw ("" if it is): the engine then marks the entry.
	Check() (now Entry, problem string)
}

// Item is one step of a walk.
type Item struct {
	Entry Entry
	// Open opens the content of a regular file. It may be called on another goroutine than Walk's, at any time until Walk's
	// caller is done with the whole walk, and not at all when the engine recognises the entry as unchanged. nil for
	// everything without content.
	Open func(ctx context.Context) (Content, error)
	// Late, if not nil, completes the entry of a regular file with what takes another look at it: extended attributes, and a
	// problem if they cannot be read. A file that is recognised as unchanged has those that it had, because whoever changes
	// them changes Ctime; of one that is read without a problem Content.Check tells them. In all other cases Late must be
	// called. It may be called where and when Open may.
	Late func(*Entry)
	// Blocks, if not 0, says that the file is rewritten in place in blocks and is to be cut at multiples of so many bytes: a
	// power of two from MinBlock to MaxBlock.
	Blocks int
}

// Source is a tree to be backed up.
type Source interface {
	// Walk calls emit for each entry in tree order, beginning with the root (Path ""). An object that cannot be read is
	// emitted with Problem set. Walk returns early with emit's error.
	Walk(ctx context.Context, emit func(Item) error) error
}

// Unchanged reports whether two sightings of a regular file's metadata prove that its content is the same: same inode,
// size, mtime and ctime, and neither was marked with a problem.
func Unchanged(was, is *Entry) bool {
	return was.Type == File && is.Type == File && was.Problem == "" && is.Problem == "" &&
		was.Size == is.Size && was.Mtime == is.Mtime && was.Ctime == is.Ctime && was.Ino == is.Ino && was.Dev == is.Dev &&
		was.Hardlink == is.Hardlink
}

// Target is a tree to be restored into. Its methods may be called from several goroutines, but a directory is created
// before anything in it.
type Target interface {
	// Create makes the object with restrictive permissions. For a regular file with content of its own it returns the file
	// to write; nil for everything else. Metadata of files is applied when File.Close is called, of hard links and
	// directories in Finish. An object that cannot or may not be created (a device without permission to make one) is an
	// error that wraps *Refused: the engine reports it and goes on. Any other error ends the restore. Close and Finish may
	// return refusals too (an attribute that may not be set, a hard link whose first link was refused): what they name is
	// as close to the entry as was allowed, everything else is in place. Refusals takes such an error apart.
	Create(ctx context.Context, e *Entry) (Writer, error)
	// Finish makes hard links, sets directory metadata deepest first, and syncs. After it the tree is durable.
	Finish(ctx context.Context) error
}

// Writer is a regular file being restored.
type Writer interface {
	io.WriterAt // safe for concurrent use with disjoint ranges
	// Close sets the metadata; the file is complete when it returns nil.
	Close() error
	// Discard takes the file back instead: a part of its content is lost, and it must not look whole. Nothing is left under its
	// path when it returns nil; hard links to it are refused by Finish.
	Discard() error
}

// Refused says that one object was not restored and why; the restore as a whole goes on and reports it.
type Refused struct{ Path, Reason string }

func (r *Refused) Error() string { return r.Path + ": " + r.Reason }

// Refusals takes apart what a Target's methods return: the refusals in it, one or several joined, and the error that
// remains (nil when there were only refusals).
func Refusals(err error) (refused []*Refused, rest error) {
	switch e := err.(type) {
	case nil:
		return nil, nil
	case *Refused:
		return []*Refused{e}, nil
	case interface{ Unwrap() []error }:
		var others []error
		for _, part := range e.Unwrap() {
			r, o := Refusals(part)
			refused = append(refused, r...)
			if o != nil {
				others = append(others, o)
			}
		}
		return refused, errors.Join(others...)
	}
	var r *Refused
	if errors.As(err, &r) {
		return []*Refused{r}, nil
	}
	return nil, err
}

// Less orders paths in tree order: element by element, byte-wise, so that a directory's content follows it at once.
func Less(a, b string) bool { return Compare(a, b) < 0 }

// Compare is -1, 0 or +1 in tree order. It is byte order with '/' sorting before every other byte.
func Compare(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		switch {
		case x == '/':
			return -1
		case y == '/':
			return 1
		case x < y:
			return -1
		default:
			return 1
		}
	}
	switch {
	case len(a) < len(b):
		return -1
	case len(a) > len(b):
		return 1
	}
	return 0
}

// ValidPath reports whether p may stand in an Entry: "" or relative, without empty, "." or ".." elements and NUL.
func ValidPath(p string) bool {
	if p == "" {
		return true
	}
	start := 0
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] == 0 {
			return false
		}
		if i == len(p) || p[i] == '/' {
			switch p[start:i] {
			case "", ".", "..":
				return false
			}
			start = i + 1
		}
	}
	return true
}
