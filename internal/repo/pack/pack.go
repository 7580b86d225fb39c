// Package pack writes and reads packs: large sealed objects that hold the chunks of a vault.
//
//	header 4 KiB, plain        who made it, under which key
//	group ...                  frames (sealed chunks), their sealed directory, zeros to 4 KiB, a sealed 64-byte trailer
//	footer                     the directory of all groups, sealed, with padding inside
//	end 128 bytes, plain       size, place of the footer, digest of the ciphertext, tag under the maintenance key
//
// The footer serves reading. The directories of the groups serve the case that it is lost: what a torn pack holds in
// complete groups can be recovered. The end serves a scrub without the customer's key. Lengths of chunks appear in
// ciphertext only, and the footer is padded so that the pack's size says little about what is in it.
//
// A pack is sealed under a key of its own. It is never changed. A frame that moves into another pack is not sealed anew: the
// directory there says where it comes from. Start with Writer and Dir; docs/FORMAT.md has the bytes.
package pack

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"strings"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

// Kinds of chunks. Part of the format.
const (
	Data byte = 1 // content of files
	Page byte = 2 // page of a manifest tree
	List byte = 3 // part of a long list of chunks
)

// Classes of packs. Part of the format.
const (
	ClassData byte = 1
	ClassMeta byte = 2 // pages and lists: needed for browsing, never moved to slow storage
)

const (
	headerSize = 4096
	endSize    = 128
	entrySize  = 48
	originSize = 48
	footGroup  = 24      // a group's line in the footer
	groupSize  = 8 << 20 // a group is closed when it has reached this
	align      = 4096
	trailerLen = 64

	// Target is the size at which a pack should be closed.
	Target = 64 << 20
	// MaxSize bounds what a reader accepts.
	MaxSize = 4 << 30
	// MaxFrames bounds the frames of a pack.
	MaxFrames = 65535
	// maxFooter bounds the footer: all entries, groups and padding.
	maxFooter = 1 << 30
)

var (
	headerMagic = [8]byte{'S', 'R', 'P', 'A', 'C', 'K', 0, 1}
	endMagic    = [8]byte{'S', 'R', 'P', 'E', 'N', 'D', 0, 1}
)

// Name returns the name of a pack's object.
func Name(class byte, id seal.PackID) string {
	s := id.String()
	if class == ClassMeta {
		return "mpacks/" + s[:2] + "/" + s
	}
	return "packs/" + s[:2] + "/" + s
}

// ParseName is the inverse of Name.
func ParseName(name string) (class byte, id seal.PackID, ok bool) {
	raw, err := hex.DecodeString(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil || len(raw) != len(id) {
		return 0, id, false
	}
	copy(id[:], raw)
	for _, class := range []byte{ClassData, ClassMeta} {
		if Name(class, id) == name {
			return class, id, true
		}
	}
	return 0, id, false
}

// Prefixes begin the names of all packs.
func Prefixes() []string { return []string{"mpacks/", "packs/"} }

// Info describes a finished pack: what the index keeps about it.
type Info struct {
	ID        seal.PackID
	Class     byte
	Frames    uint32
	Size      int64
	FooterOff int64
	FooterLen uint32
}

// Name returns the name of the pack's object.
func (i Info) Name() string { return Name(i.Class, i.ID) }

// header is the plain beginning of a pack.
type header struct {
	class  byte
	vault  seal.VaultID
	id     seal.PackID
	salt   [32]byte
	commit [32]byte
}

func (h *header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, headerMagic[:])
	binary.LittleEndian.PutUint16(b[8:], 1) // format
	b[10] = h.class
	b[11] = 1 // AES-256-GCM, HKDF-SHA-256, BLAKE3
	// 12: key epoch, 4 bytes, 0
	copy(b[16:], h.vault[:])
	copy(b[32:], h.id[:])
	copy(b[48:], h.salt[:])
	copy(b[80:], h.commit[:])
	return b
}

func decodeHeader(b []byte) (h header, err error) {
	if len(b) != headerSize || [8]byte(b[:8]) != headerMagic {
		return h, fault.New(fault.Corrupt, "no pack header")
	}
	h.class = b[10]
	copy(h.vault[:], b[16:])
	copy(h.id[:], b[32:])
	copy(h.salt[:], b[48:])
	copy(h.commit[:], b[80:])
	if string(h.encode()) != string(b) {
		return h, fault.New(fault.Corrupt, "pack header of an unknown format or damaged")
	}
	return h, nil
}

// frameAAD binds a frame to what it is said to be.
func frameAAD(dst []byte, kind, alg byte, ulen uint32, cid seal.CID) []byte {
	dst = append(dst[:0], byte(seal.Frame), kind, alg, 0)
	dst = binary.LittleEndian.AppendUint32(dst, ulen)
	return append(dst, cid[:]...)
}

// partAAD binds a directory, trailer or footer to its pack's header and its place.
func partAAD(p seal.Part, headerSum [32]byte, group, first uint32, off int64) []byte {
	b := append([]byte{byte(p)}, headerSum[:]...)
	b = binary.LittleEndian.AppendUint32(b, group)
	b = binary.LittleEndian.AppendUint32(b, first)
	return binary.LittleEndian.AppendUint64(b, uint64(off))
}

// entry is one line of a directory. Where the frame lies follows from the lengths of those before it.
type entry struct {
	hash      seal.Hash
	number    uint32 // under which it was sealed: its own in this pack, or the one that it had where it comes from
	clen      uint32 // sealed length
	ulen      uint32
	kind, alg byte
	origin    uint16 // 0: sealed for this pack; else the line of the group's table of origins, counted from 1
}

func (e *entry) append(b []byte) []byte {
	b = append(b, e.hash[:]...)
	b = binary.LittleEndian.AppendUint32(b, e.number)
	b = binary.LittleEndian.AppendUint32(b, e.clen)
	b = binary.LittleEndian.AppendUint32(b, e.ulen)
	b = append(b, e.kind, e.alg)
	return binary.LittleEndian.AppendUint16(b, e.origin)
}

func decodeEntry(b []byte) (e entry) {
	copy(e.hash[:], b)
	e.number = binary.LittleEndian.Uint32(b[32:])
	e.clen = binary.LittleEndian.Uint32(b[36:])
	e.ulen = binary.LittleEndian.Uint32(b[40:])
	e.kind, e.alg = b[44], b[45]
	e.origin = binary.LittleEndian.Uint16(b[46:])
	return e
}

// origin names the pack that a frame was sealed for. A frame that is moved into another pack keeps its bytes, and with them
// the key and the number of its nonce.
type origin struct {
	id   seal.PackID
	salt [32]byte
}

func (o *origin) append(b []byte) []byte {
	b = append(b, o.id[:]...)
	return append(b, o.salt[:]...)
}

func decodeOrigin(b []byte) (o origin) {
	copy(o.id[:], b)
	copy(o.salt[:], b[16:])
	return o
}

func alignUp(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// maxPadding is the coarsest step that sizes are rounded up to. A pack so large holds many chunks: its size tells of none.
const maxPadding = 256 << 10

// padded rounds a size up so that only O(log log size) bits of it remain visible, by at most an eighth (the scheme is
// known as Padmé), in steps of at most maxPadding.
func padded(n int64) int64 {
	e := bits.Len64(uint64(n)) - 1
	s := bits.Len64(uint64(e))
	if e <= s {
		return n
	}
	mask := min(int64(1)<<(e-s), maxPadding) - 1
	return (n + mask) &^ mask
}
