// Package manifest encodes what a recovery point consists of: the entries of a tree and where their content is.
//
// A manifest is a sorted tree of pages. Where a page ends is decided by the entries' own paths, so that two manifests that
// share most entries share most pages, and a page that has not changed is found in the repository instead of being
// stored again. A page is identified by the hash of its bytes; the root's hash stands for the whole recovery point.
//
// The encoding is canonical: what decodes is exactly what encodes again to the same bytes, and everything else is refused.
// Decoders allocate in proportion to their input. The package reads and writes no object itself: it is handed functions
// that store and fetch pages.
//
// Start with Node and Builder; reading is Cursor.
package manifest

import (
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// Ref names a chunk, or a list of chunks, and says how much content it stands for.
type Ref struct {
	Hash seal.Hash
	Size uint64
}

// ContentKind says how the content of an entry is kept. Part of the format.
type ContentKind byte

// The kinds.
const (
	None   ContentKind = 0 // no content: not a file, a later hard link, or a file that could not be read
	Inline ContentKind = 1 // in the entry
	Slice  ContentKind = 2 // a part of a chunk that holds several small files
	Chunks ContentKind = 3 // a list of chunks in the entry
	Lists  ContentKind = 4 // a list of lists
)

// maxXattrs bounds the attributes of an entry: Linux lists at most 64 KiB of names.
const maxXattrs = 1 << 15

// MaxInline is the largest content that is kept in an entry.
const MaxInline = 128

// Content says where the content of a file is.
type Content struct {
	Kind  ContentKind
	Data  []byte // Inline
	Off   uint32 // Slice: where in the chunk Refs[0]
	Depth byte   // Lists: 1 when the lists hold chunks, 2 when they hold lists of chunks, …
	Refs  []Ref  // Slice (one; Size is the length of the part), Chunks, Lists
}

// Len returns the number of bytes of content.
func (c *Content) Len() (n int64) {
	if c.Kind == Inline {
		return int64(len(c.Data))
	}
	for _, r := range c.Refs {
		n += int64(r.Size)
	}
	return n
}

// Node is an entry with its content.
type Node struct {
	tree.Entry
	Content Content
}

// DataLen is how much content an entry should have: its size without holes.
func DataLen(e *tree.Entry) int64 {
	if e.Extents == nil {
		return e.Size
	}
	var n int64
	for _, x := range e.Extents {
		n += x.Len
	}
	return n
}

// ValidExtents reports whether the extents ascend without overlap and lie in the file.
func ValidExtents(extents []tree.Extent, size int64) bool {
	end := int64(0)
	for _, x := range extents {
		if x.Off < end || x.Len <= 0 || x.Len > size-x.Off {
			return false
		}
		end = x.Off + x.Len
	}
	return size >= 0
}

// Validate reports what makes a node impossible.
func (n *Node) Validate() error {
	bad := func(reason string) error { return fault.New(fault.Invalid, "entry %.200q: %s", n.Path, reason) }
	file := n.Type == tree.File
	switch {
	case !tree.ValidPath(n.Path):
		return bad("invalid path")
	case n.Type < tree.Dir || n.Type > tree.BlockDev:
		return bad("unknown type")
	case len(n.Xattrs) > maxXattrs:
		return bad("too many extended attributes")
	case n.Mode > 0o7777:
		return bad("mode out of range")
	case !file && (n.Size != 0 || n.Extents != nil || n.Hardlink != "" && n.Type == tree.Dir):
		return bad("size, extents or link on what has none")
	case n.Hardlink != "" && (!tree.ValidPath(n.Hardlink) || !tree.Less(n.Hardlink, n.Path)):
		return bad("hard link to an invalid or later path")
	case n.Content.Kind != None && (!file || n.Hardlink != ""):
		return bad("content on what has none")
	case !ValidExtents(n.Extents, n.Size):
		return bad("impossible extents")
	}
	if file && n.Hardlink == "" && n.Problem == "" && n.Content.Len() != DataLen(&n.Entry) {
		return bad("its content is not as long as its size says")
	}
	return n.Content.validate(bad)
}

func (c *Content) validate(bad func(string) error) error {
	var total uint64
	for _, r := range c.Refs {
		if r.Size == 0 || r.Size > 1<<62-total {
			return bad("impossible chunk size")
		}
		total += r.Size
	}
	ok := false
	switch c.Kind {
	case None:
		ok = len(c.Data) == 0 && len(c.Refs) == 0
	case Inline:
		ok = len(c.Data) > 0 && len(c.Data) <= MaxInline && len(c.Refs) == 0
	case Slice:
		ok = len(c.Refs) == 1 && len(c.Data) == 0
	case Chunks:
		ok = len(c.Refs) > 0 && len(c.Data) == 0
	case Lists:
		ok = len(c.Refs) > 0 && len(c.Data) == 0 && c.Depth > 0 && c.Depth <= maxDepth
	}
	if !ok || c.Kind != Slice && c.Off != 0 || c.Kind != Lists && c.Depth != 0 {
		return bad("impossible content")
	}
	return nil
}

// Bits of an entry's flags. The content kind is above them.
const (
	hasUser = 1 << iota
	hasGroup
	hasSize
	hasRdev
	hasLink
	hasHardlink
	hasXattrs
	hasExtents
	hasProblem
	contentShift = 12
)

// encode appends the entry without its path.
func (n *Node) encode(e *seal.Encoder) {
	flags := uint64(n.Content.Kind) << contentShift
	set := func(bit uint64, on bool) {
		if on {
			flags |= bit
		}
	}
	set(hasUser, n.User != "")
	set(hasGroup, n.Group != "")
	set(hasSize, n.Size != 0)
	set(hasRdev, n.Rdev != 0)
	set(hasLink, n.Link != "")
	set(hasHardlink, n.Hardlink != "")
	set(hasXattrs, len(n.Xattrs) > 0)
	set(hasExtents, n.Extents != nil)
	set(hasProblem, n.Problem != "")
	e.Uint(flags)
	e.B = append(e.B, byte(n.Type))
	e.Uint(uint64(n.Mode))
	e.Uint(uint64(n.UID))
	e.Uint(uint64(n.GID))
	e.Int(n.Mtime)
	e.Int(n.Ctime - n.Mtime)
	e.Uint(uint64(n.Nlink))
	e.Uint(n.Dev)
	e.Uint(n.Ino)
	if n.User != "" {
		e.String(n.User)
	}
	if n.Group != "" {
		e.String(n.Group)
	}
	if n.Size != 0 {
		e.Uint(uint64(n.Size))
	}
	if n.Rdev != 0 {
		e.Uint(n.Rdev)
	}
	if n.Link != "" {
		e.String(n.Link)
	}
	if n.Hardlink != "" {
		e.String(n.Hardlink)
	}
	if len(n.Xattrs) > 0 {
		e.Uint(uint64(len(n.Xattrs)))
		for _, x := range n.Xattrs {
			e.String(x.Name)
			e.Bytes(x.Value)
		}
	}
	if n.Extents != nil {
		e.Uint(uint64(len(n.Extents)))
		end := int64(0)
		for _, x := range n.Extents {
			e.Uint(uint64(x.Off - end))
			e.Uint(uint64(x.Len))
			end = x.Off + x.Len
		}
	}
	if n.Problem != "" {
		e.String(n.Problem)
	}
	n.Content.encode(e)
}

func (c *Content) encode(e *seal.Encoder) {
	switch c.Kind {
	case Inline:
		e.Bytes(c.Data)
	case Slice:
		e.Raw(c.Refs[0].Hash[:])
		e.Uint(uint64(c.Off))
		e.Uint(c.Refs[0].Size)
	case Lists:
		e.B = append(e.B, c.Depth)
		encodeRefs(e, c.Refs)
	case Chunks:
		encodeRefs(e, c.Refs)
	}
}

func encodeRefs(e *seal.Encoder, refs []Ref) {
	e.Uint(uint64(len(refs)))
	for _, r := range refs {
		e.Raw(r.Hash[:])
		e.Uint(r.Size)
	}
}

// decode reads the entry without its path.
func (n *Node) decode(d *seal.Decoder) {
	flags := d.Max(1<<(contentShift+3) - 1)
	has := func(bit uint64) bool { return flags&bit != 0 }
	if flags&(1<<contentShift-1) >= hasProblem<<1 {
		d.Fail("unknown flags")
	}
	n.Type = tree.Type(d.Max(255))
	n.Mode = uint32(d.Max(0o7777))
	n.UID = uint32(d.Max(1<<32 - 1))
	n.GID = uint32(d.Max(1<<32 - 1))
	n.Mtime = d.Int()
	n.Ctime = d.Int() + n.Mtime
	n.Nlink = uint32(d.Max(1<<32 - 1))
	n.Dev = d.Uint()
	n.Ino = d.Uint()
	text := func(bit uint64) (s string) {
		if has(bit) {
			if s = d.String(); s == "" {
				d.Fail("empty value")
			}
		}
		return s
	}
	number := func(bit, limit uint64) (v uint64) {
		if has(bit) {
			if v = d.Max(limit); v == 0 {
				d.Fail("zero value")
			}
		}
		return v
	}
	n.User = text(hasUser)
	n.Group = text(hasGroup)
	n.Size = int64(number(hasSize, 1<<62))
	n.Rdev = number(hasRdev, 1<<64-1)
	n.Link = text(hasLink)
	n.Hardlink = text(hasHardlink)
	if has(hasXattrs) {
		n.Xattrs = make([]tree.Xattr, min(d.Count(2), maxXattrs+1))
		if len(n.Xattrs) == 0 || len(n.Xattrs) > maxXattrs {
			d.Fail("no attributes, or too many")
		}
		for i := range n.Xattrs {
			n.Xattrs[i].Name = d.String()
			n.Xattrs[i].Value = append([]byte{}, d.Bytes()...)
		}
	}
	if has(hasExtents) {
		n.Extents = make([]tree.Extent, d.Count(2))
		end := int64(0)
		for i := range n.Extents {
			off, l := end+int64(d.Max(1<<62)), int64(d.Max(1<<62))
			if off < 0 || l < 0 || off+l < 0 {
				d.Fail("impossible extent")
			}
			n.Extents[i] = tree.Extent{Off: off, Len: l}
			end = off + l
		}
	}
	n.Problem = text(hasProblem)
	n.Content.decode(d, ContentKind(flags>>contentShift))
}

func (c *Content) decode(d *seal.Decoder, kind ContentKind) {
	c.Kind = kind
	switch kind {
	case None:
	case Inline:
		c.Data = append([]byte{}, d.Bytes()...)
	case Slice:
		h := d.Hash()
		c.Off = uint32(d.Max(1<<32 - 1))
		c.Refs = []Ref{{Hash: h, Size: d.Uint()}}
	case Lists:
		c.Depth = byte(d.Max(maxDepth))
		c.Refs = decodeRefs(d)
	case Chunks:
		c.Refs = decodeRefs(d)
	default:
		d.Fail("unknown kind of content")
	}
}

func decodeRefs(d *seal.Decoder) []Ref {
	refs := make([]Ref, d.Count(33))
	for i := range refs {
		refs[i].Hash = d.Hash()
		refs[i].Size = d.Uint()
	}
	return refs
}
