package pack

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/blake3"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

// Writer fills one pack. It is for one goroutine at a time.
type Writer struct {
	w      blob.Writer
	key    *seal.PackKey
	maint  *seal.Maint
	head   header
	sum    [32]byte // of the header
	digest *blake3.Hasher

	off        int64 // in the object
	groupStart int64
	groupFirst uint32
	frames     uint32
	groups     []group
	dirs       []byte // directories of the groups that are closed
	entries    []byte // of the open group
	origins    []origin
	lines      map[origin]uint16 // in origins, counted from 1
	aad        []byte
	plain      int64
}

type group struct {
	start   int64
	first   uint32
	frames  uint32
	origins uint32
	homes   []*home // of a reader
	end     int64   // of a reader that had to look for it
}

// directory returns the size of the group's directory.
func (g *group) directory() int64 { return int64(g.origins)*originSize + int64(g.frames)*entrySize }

// NewWriter begins a pack of a class under a fresh key, in a random directory.
func NewWriter(ctx context.Context, store blob.Store, root *seal.Root, maint *seal.Maint, class byte) (*Writer, error) {
	var b [1]byte
	rand.Read(b[:])
	return NewWriterIn(ctx, store, root, maint, class, b[0])
}

// NewWriterIn is NewWriter for those who choose the directory, which is the first byte of the id: packs that are finished at
// once in one directory cost one sync of its names.
func NewWriterIn(ctx context.Context, store blob.Store, root *seal.Root, maint *seal.Maint, class, dir byte) (*Writer, error) {
	h := header{class: class, vault: maint.Vault()}
	rand.Read(h.id[:])
	h.id[0] = dir
	rand.Read(h.salt[:])
	key := root.Pack(h.id, h.salt)
	h.commit = key.Commit
	bw, err := store.Create(ctx, Name(class, h.id))
	if err != nil {
		return nil, err
	}
	w := &Writer{w: bw, key: key, maint: maint, head: h, digest: blake3.New()}
	b := h.encode()
	w.sum = blake3.Sum256(b)
	if err := w.write(b); err != nil {
		bw.Abort()
		return nil, err
	}
	w.groupStart = w.off
	return w, nil
}

// ID returns the pack's id.
func (w *Writer) ID() seal.PackID { return w.head.id }

// Size returns how many bytes the pack has so far.
func (w *Writer) Size() int64 { return w.off }

// Frames returns how many frames it has so far.
func (w *Writer) Frames() uint32 { return w.frames }

// Full reports whether the pack should be closed before more is appended.
func (w *Writer) Full() bool { return w.off >= Target || w.Frames() >= MaxFrames }

func (w *Writer) write(p []byte) error {
	w.digest.Write(p) // before anything can happen to it on its way
	if _, err := w.w.Write(p); err != nil {
		return fmt.Errorf("write pack %s: %w", w.head.id, err)
	}
	w.off += int64(len(p))
	return nil
}

// Append seals a chunk into the pack and returns its frame number. stored is the chunk as compressed by alg. scratch is
// memory to reuse for sealing.
func (w *Writer) Append(hash seal.Hash, cid seal.CID, kind, alg byte, ulen int, stored []byte, scratch *[]byte) (uint32, error) {
	n := w.Frames()
	w.aad = frameAAD(w.aad, kind, alg, uint32(ulen), cid)
	sealed := w.key.Seal((*scratch)[:0], stored, w.aad, seal.Frame, n)
	*scratch = sealed
	return w.append(entry{hash: hash, number: n, clen: uint32(len(sealed)), ulen: uint32(ulen), kind: kind, alg: alg}, sealed)
}

// Move takes over a frame of another pack as it is sealed there, and returns its number here. The caller has made sure that
// sealed is what the directory d describes as f: a frame that does not open would be damage under a digest that says it is
// sound.
func (w *Writer) Move(d *Dir, f Frame, sealed []byte) (uint32, error) {
	if len(sealed) != f.Len {
		return 0, fault.New(fault.Internal, "a frame of %d bytes is moved with %d", f.Len, len(sealed))
	}
	from := d.self()
	if f.home != nil {
		from = f.home.origin
	}
	if from.id == w.head.id {
		return 0, fault.New(fault.Internal, "a frame is moved into the pack that it comes from")
	}
	line, ok := w.lines[from]
	if !ok {
		if w.lines == nil {
			w.lines = map[origin]uint16{}
		}
		w.origins = append(w.origins, from)
		line = uint16(len(w.origins))
		w.lines[from] = line
	}
	return w.append(entry{hash: f.Hash, number: f.number, clen: uint32(len(sealed)), ulen: uint32(f.Size), kind: f.Kind, alg: f.Alg, origin: line}, sealed)
}

func (w *Writer) append(e entry, sealed []byte) (uint32, error) {
	n := w.frames
	if n >= MaxFrames {
		return 0, fault.New(fault.Internal, "pack %s is full", w.head.id)
	}
	if err := w.write(sealed); err != nil {
		return 0, err
	}
	w.entries = e.append(w.entries)
	w.frames++
	w.plain += int64(e.ulen)
	if w.off-w.groupStart >= groupSize {
		return n, w.closeGroup()
	}
	return n, nil
}

// closeGroup writes the directory and the trailer of the frames since the last one.
func (w *Writer) closeGroup() error {
	g := group{start: w.groupStart, first: w.groupFirst, frames: w.frames - w.groupFirst, origins: uint32(len(w.origins))}
	if g.frames == 0 {
		return nil
	}
	no := uint32(len(w.groups))
	dirOff := w.off
	began := len(w.dirs)
	for _, o := range w.origins {
		w.dirs = o.append(w.dirs)
	}
	w.dirs = append(w.dirs, w.entries...)
	w.entries, w.origins = w.entries[:0], w.origins[:0]
	clear(w.lines)
	aad := partAAD(seal.Directory, w.sum, no, g.first, g.start)
	sealed := w.key.Seal(nil, w.dirs[began:], aad, seal.Directory, no)
	if err := w.write(sealed); err != nil {
		return err
	}
	end := alignUp(w.off + trailerLen)
	if err := w.write(make([]byte, end-trailerLen-w.off)); err != nil {
		return err
	}
	t := make([]byte, 0, trailerLen-seal.Overhead)
	t = append(t, "SRGT"...)
	t = binary.LittleEndian.AppendUint32(t, no)
	t = binary.LittleEndian.AppendUint32(t, g.first)
	t = binary.LittleEndian.AppendUint32(t, g.frames)
	t = binary.LittleEndian.AppendUint64(t, uint64(g.start))
	t = binary.LittleEndian.AppendUint64(t, uint64(dirOff))
	t = binary.LittleEndian.AppendUint64(t, uint64(end))
	t = binary.LittleEndian.AppendUint32(t, g.origins)
	t = append(t, make([]byte, 4)...)
	if err := w.write(w.key.Seal(nil, t, partAAD(seal.Trailer, w.sum, no, g.first, g.start), seal.Trailer, no)); err != nil {
		return err
	}
	w.groups = append(w.groups, g)
	w.groupStart, w.groupFirst = w.off, w.Frames()
	return nil
}

// Close completes the pack. When it returns nil, the pack is durable.
func (w *Writer) Close(ctx context.Context) (Info, error) {
	defer w.w.Abort()
	if err := w.closeGroup(); err != nil {
		return Info{}, err
	}
	info := Info{ID: w.head.id, Class: w.head.class, Frames: w.Frames(), FooterOff: w.off}
	f := make([]byte, 0, 24+len(w.groups)*footGroup+len(w.dirs))
	f = binary.LittleEndian.AppendUint32(f, uint32(len(w.groups)))
	f = binary.LittleEndian.AppendUint32(f, w.Frames())
	f = binary.LittleEndian.AppendUint64(f, uint64(w.plain))
	f = append(f, make([]byte, 8)...) // reserved
	for _, g := range w.groups {
		f = binary.LittleEndian.AppendUint64(f, uint64(g.start))
		f = binary.LittleEndian.AppendUint32(f, g.first)
		f = binary.LittleEndian.AppendUint32(f, g.frames)
		f = binary.LittleEndian.AppendUint32(f, g.origins)
		f = append(f, make([]byte, 4)...)
	}
	f = append(f, w.dirs...)
	info.Size = alignUp(padded(w.off + int64(len(f)) + seal.Overhead + endSize))
	f = append(f, make([]byte, info.Size-endSize-seal.Overhead-w.off-int64(len(f)))...)
	aad := partAAD(seal.Footer, w.sum, 0, w.Frames(), w.off)
	sealed := w.key.Seal(nil, f, aad, seal.Footer, 0)
	info.FooterLen = uint32(len(sealed))
	if err := w.write(sealed); err != nil {
		return Info{}, err
	}
	var digest [32]byte
	w.digest.Sum(digest[:0])
	if _, err := w.w.Write(encodeEnd(w.maint, info, digest)); err != nil {
		return Info{}, fmt.Errorf("write pack %s: %w", w.head.id, err)
	}
	if err := w.w.Commit(ctx); err != nil {
		return Info{}, err
	}
	return info, nil
}

// Abort gives the pack up.
func (w *Writer) Abort() { w.w.Abort() }

// encodeEnd makes the plain end of a pack.
func encodeEnd(m *seal.Maint, i Info, digest [32]byte) []byte {
	b := make([]byte, 0, endSize)
	b = append(b, endMagic[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(i.Size))
	b = binary.LittleEndian.AppendUint64(b, uint64(i.FooterOff))
	b = binary.LittleEndian.AppendUint32(b, i.FooterLen)
	b = binary.LittleEndian.AppendUint32(b, i.Frames)
	b = append(b, i.Class)
	b = append(b, make([]byte, 31)...) // place of a parity section, reserved
	b = append(b, digest[:]...)
	return append(b, m.PackTag(i.ID, b)...)
}

// decodeEnd reads the plain end of the pack with this id.
func decodeEnd(m *seal.Maint, id seal.PackID, b []byte) (i Info, digest [32]byte, err error) {
	if len(b) != endSize || [8]byte(b[:8]) != endMagic {
		return i, digest, fault.New(fault.Corrupt, "pack %s has no end", id)
	}
	i = Info{
		ID: id, Class: b[32], Frames: binary.LittleEndian.Uint32(b[28:]),
		Size:      int64(binary.LittleEndian.Uint64(b[8:])),
		FooterOff: int64(binary.LittleEndian.Uint64(b[16:])), FooterLen: binary.LittleEndian.Uint32(b[24:]),
	}
	copy(digest[:], b[64:])
	if !seal.Equal(encodeEnd(m, i, digest), b) {
		return Info{}, digest, fault.New(fault.Corrupt, "the end of pack %s does not authenticate", id)
	}
	return i, digest, nil
}
