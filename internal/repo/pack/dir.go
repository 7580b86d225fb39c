package pack

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/zeebo/blake3"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

// Dir is the opened directory of one pack: what is needed to read its frames. Safe for concurrent use.
type Dir struct {
	Info
	root   *seal.Root
	key    *seal.PackKey
	groups []group
	raw    []byte // entries
}

// Frame says where a frame is and what it holds.
type Frame struct {
	Hash      seal.Hash
	CID       seal.CID
	Kind, Alg byte
	Size      int   // of the plaintext
	Off       int64 // in the pack
	Len       int   // sealed
}

func corrupt(i Info, reason string) error {
	return fault.New(fault.Corrupt, "pack %s: %s", i.Name(), reason).WithResource(i.Name())
}

// ReadDir reads and authenticates the directory of a pack.
func ReadDir(ctx context.Context, store blob.Store, root *seal.Root, maint *seal.Maint, i Info) (*Dir, error) {
	if i.FooterLen > maxFooter || i.FooterOff < headerSize || i.Size != i.FooterOff+int64(i.FooterLen)+endSize {
		return nil, corrupt(i, "the index describes an impossible pack")
	}
	head := make([]byte, headerSize)
	if err := store.ReadAt(ctx, i.Name(), head, 0); err != nil {
		return nil, lost(i, err)
	}
	h, err := decodeHeader(head)
	if err != nil {
		return nil, corrupt(i, err.Error())
	}
	key := root.Pack(h.id, h.salt)
	if h.id != i.ID || h.class != i.Class || h.vault != maint.Vault() || !seal.Equal(key.Commit[:], h.commit[:]) {
		return nil, corrupt(i, "the header belongs to another pack, vault or key")
	}
	sealed := make([]byte, i.FooterLen)
	if err := store.ReadAt(ctx, i.Name(), sealed, i.FooterOff); err != nil {
		return nil, lost(i, err)
	}
	if len(sealed) < seal.Overhead+24 {
		return nil, corrupt(i, "the footer is too short")
	}
	d := &Dir{Info: i, root: root, key: key}
	plain, ok := openFooter(key, blake3.Sum256(head), i, sealed)
	if !ok {
		return nil, corrupt(i, "the footer does not authenticate")
	}
	if err := d.parse(plain); err != nil {
		return nil, corrupt(i, err.Error())
	}
	return d, nil
}

// lost turns a missing pack into a corrupt repository: the index says that it exists.
func lost(i Info, err error) error {
	if fault.Is(err, fault.NotFound) {
		return corrupt(i, "the object is missing")
	}
	return err
}

func openFooter(key *seal.PackKey, sum [32]byte, i Info, sealed []byte) ([]byte, bool) {
	return key.Open(nil, sealed, partAAD(seal.Footer, sum, 0, i.Frames, i.FooterOff), seal.Footer, 0)
}

// parse takes the opened footer apart. It accepts one encoding only.
func (d *Dir) parse(p []byte) error {
	groups, frames := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:])
	plain := binary.LittleEndian.Uint64(p[8:])
	need := 24 + int64(groups)*16 + int64(frames)*entrySize
	if frames != d.Frames || frames > MaxFrames || groups > frames || int64(len(p)) < need || binary.LittleEndian.Uint64(p[16:]) != 0 {
		return fault.New(fault.Corrupt, "the footer contradicts itself")
	}
	for _, b := range p[need:] {
		if b != 0 {
			return fault.New(fault.Corrupt, "the footer's padding is not empty")
		}
	}
	d.groups = make([]group, groups)
	d.raw = bytes.Clone(p[24+int(groups)*16 : need]) // without the padding
	next, off, total := uint32(0), int64(headerSize), uint64(0)
	for k := range d.groups {
		b := p[24+k*16:]
		g := group{start: int64(binary.LittleEndian.Uint64(b)), first: binary.LittleEndian.Uint32(b[8:]), frames: binary.LittleEndian.Uint32(b[12:])}
		if g.first != next || g.frames == 0 || g.frames > frames-next || g.start != off {
			return fault.New(fault.Corrupt, "the footer's groups do not join")
		}
		pos := int64(0)
		for f := g.first; f < g.first+g.frames; f++ {
			raw := d.raw[int(f)*entrySize:][:entrySize]
			e := decodeEntry(raw)
			if int64(e.off) != pos || e.clen < seal.Overhead || e.ulen > chunk.MaxSize || e.clen > e.ulen+seal.Overhead ||
				e.kind < Data || e.kind > List || e.alg > chunk.Zstd || raw[46] != 0 || raw[47] != 0 {
				return fault.New(fault.Corrupt, "frame %d is described impossibly", f)
			}
			pos += int64(e.clen)
			total += uint64(e.ulen)
		}
		d.groups[k] = g
		next += g.frames
		off = alignUp(g.start + pos + int64(g.frames)*entrySize + seal.Overhead + trailerLen)
	}
	if next != frames || off != d.FooterOff || total != plain {
		return fault.New(fault.Corrupt, "the footer's totals are wrong")
	}
	return nil
}

// Bytes returns about how much memory the directory takes.
func (d *Dir) Bytes() int { return len(d.raw) + 16*len(d.groups) + 400 }

// Frame describes frame n, which must be less than Frames.
func (d *Dir) Frame(n uint32) Frame {
	e := decodeEntry(d.raw[int(n)*entrySize:])
	lo, hi := 0, len(d.groups)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; d.groups[mid].first <= n {
			lo = mid
		} else {
			hi = mid
		}
	}
	return Frame{
		Hash: e.hash, CID: d.root.CID(e.kind, e.hash), Kind: e.kind, Alg: e.alg, Size: int(e.ulen),
		Off: d.groups[lo].start + int64(e.off), Len: int(e.clen),
	}
}

// Open appends the stored (compressed) chunk of frame n to dst, given the frame's bytes as read from the pack.
func (d *Dir) Open(dst []byte, n uint32, f Frame, sealed []byte) ([]byte, error) {
	var buf [64]byte
	out, ok := d.key.Open(dst, sealed, frameAAD(buf[:0], f.Kind, f.Alg, uint32(f.Size), f.CID), seal.Frame, n)
	if !ok {
		return dst, fault.New(fault.Corrupt, "pack %s: frame %d does not authenticate", d.Name(), n).WithResource(d.Name())
	}
	return out, nil
}
