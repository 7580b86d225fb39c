package pack

import (
	"context"
	"encoding/binary"
	"sync"

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
	salt   [32]byte
	groups []group
	raw    []byte   // entries
	starts []uint32 // of each frame, in its group
	homes  []*home  // where frames come from, each pack once
	damage error    // why it had to be salvaged
}

// home is another pack under whose key frames of this one are sealed.
type home struct {
	origin
	once sync.Once
	key  *seal.PackKey
}

// Frame says where a frame is and what it holds.
type Frame struct {
	Hash      seal.Hash
	CID       seal.CID
	Kind, Alg byte
	Size      int   // of the plaintext
	Off       int64 // in the pack
	Len       int   // sealed

	home   *home  // nil: this pack
	number uint32 // there
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
	d := &Dir{Info: i, root: root, key: key, salt: h.salt}
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
	table := 24 + int64(groups)*footGroup
	if frames != d.Frames || frames > MaxFrames || groups > frames || int64(len(p)) < table+int64(frames)*entrySize || binary.LittleEndian.Uint64(p[16:]) != 0 {
		return fault.New(fault.Corrupt, "the footer contradicts itself")
	}
	d.groups = make([]group, groups)
	d.raw = make([]byte, 0, int(frames)*entrySize) // without the padding
	d.starts = make([]uint32, 0, frames)
	homes := map[origin]*home{}
	rest := p[table:]
	next, off, total := uint32(0), int64(headerSize), uint64(0)
	for k := range d.groups {
		b := p[24+k*footGroup:]
		g := group{
			start: int64(binary.LittleEndian.Uint64(b)), first: binary.LittleEndian.Uint32(b[8:]), frames: binary.LittleEndian.Uint32(b[12:]),
			origins: binary.LittleEndian.Uint32(b[16:]),
		}
		if g.first != next || g.frames == 0 || g.frames > frames-next || g.start != off || g.origins > g.frames ||
			binary.LittleEndian.Uint32(b[20:]) != 0 || int64(len(rest)) < g.directory() {
			return fault.New(fault.Corrupt, "the footer's groups do not join")
		}
		size, sum, err := d.group(&g, rest[:g.directory()], homes)
		if err != nil {
			return err
		}
		rest = rest[g.directory():]
		d.groups[k] = g
		next += g.frames
		total += sum
		off = alignUp(g.start + size + g.directory() + seal.Overhead + trailerLen)
	}
	if next != frames || off != d.FooterOff || total != plain {
		return fault.New(fault.Corrupt, "the footer's totals are wrong")
	}
	for _, b := range rest {
		if b != 0 {
			return fault.New(fault.Corrupt, "the footer's padding is not empty")
		}
	}
	return nil
}

// group takes the directory of one group apart and returns how many bytes its frames have, sealed and in the clear. homes
// has the packs named so far.
func (d *Dir) group(g *group, p []byte, homes map[origin]*home) (size int64, plain uint64, err error) {
	named := map[origin]bool{d.self(): true}
	for range g.origins {
		o := decodeOrigin(p)
		if named[o] {
			return 0, 0, fault.New(fault.Corrupt, "a directory names an origin twice")
		}
		named[o] = true
		if homes[o] == nil {
			homes[o] = &home{origin: o}
			d.homes = append(d.homes, homes[o])
		}
		g.homes = append(g.homes, homes[o])
		p = p[originSize:]
	}
	used := uint32(0)
	for n := g.first; n < g.first+g.frames; n++ {
		e := decodeEntry(p)
		k := uint32(e.origin)
		used = max(used, min(k, used+1)) // origins are listed in the order of their first use
		if e.clen < seal.Overhead || e.ulen > chunk.MaxSize || e.clen > e.ulen+seal.Overhead || e.kind < Data || e.kind > List || e.alg > chunk.Zstd ||
			k > used || k > g.origins || k == 0 && e.number != n || e.number >= MaxFrames {
			return 0, 0, fault.New(fault.Corrupt, "frame %d is described impossibly", n)
		}
		d.raw = append(d.raw, p[:entrySize]...)
		d.starts = append(d.starts, uint32(size))
		if size += int64(e.clen); size > MaxSize-1 {
			return 0, 0, fault.New(fault.Corrupt, "group of impossible size")
		}
		plain += uint64(e.ulen)
		p = p[entrySize:]
	}
	if used != g.origins {
		return 0, 0, fault.New(fault.Corrupt, "a directory names an origin that no frame has")
	}
	return size, plain, nil
}

// self is the origin of the pack's own frames.
func (d *Dir) self() origin { return origin{d.ID, d.salt} }

// Bytes returns about how much memory the directory takes.
func (d *Dir) Bytes() int {
	return len(d.raw) + 4*len(d.starts) + 24*len(d.groups) + 800*len(d.homes) + 400
}

// Frame describes frame n, which must be less than Frames. The zero Frame stands for one of which nothing is known, see Has.
func (d *Dir) Frame(n uint32) Frame {
	e := decodeEntry(d.raw[int(n)*entrySize:])
	if e.kind == 0 {
		return Frame{}
	}
	lo, hi := 0, len(d.groups)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; d.groups[mid].first <= n {
			lo = mid
		} else {
			hi = mid
		}
	}
	f := Frame{
		Hash: e.hash, CID: d.root.CID(e.kind, e.hash), Kind: e.kind, Alg: e.alg, Size: int(e.ulen),
		Off: d.groups[lo].start + int64(d.starts[n]), Len: int(e.clen), number: e.number,
	}
	if e.origin > 0 {
		f.home = d.groups[lo].homes[e.origin-1]
	}
	return f
}

// Open appends the stored (compressed) chunk of frame n to dst, given the frame's bytes as read from the pack.
func (d *Dir) Open(dst []byte, n uint32, f Frame, sealed []byte) ([]byte, error) {
	key := d.key
	if h := f.home; h != nil {
		h.once.Do(func() { h.key = d.root.Pack(h.id, h.salt) })
		key, n = h.key, f.number
	}
	var buf [64]byte
	out, ok := key.Open(dst, sealed, frameAAD(buf[:0], f.Kind, f.Alg, uint32(f.Size), f.CID), seal.Frame, n)
	if !ok {
		return dst, fault.New(fault.Corrupt, "pack %s: frame %d does not authenticate", d.Name(), n).WithResource(d.Name())
	}
	return out, nil
}
