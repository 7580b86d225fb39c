package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
	"strongroom/test/bound"
)

// Every decoder of a part of a pack either refuses its input or takes it as the only encoding of what it decodes to. Seals and
// tags are made right here: a decoder must be safe even from whoever has the keys.

// FuzzHeader takes the fields of a header and bytes at some place of the rest.
func FuzzHeader(f *testing.F) {
	h := header{class: ClassMeta, vault: seal.VaultID{1}, id: seal.PackID{2}, salt: [32]byte{3}, commit: [32]byte{4}}
	f.Add(h.encode()[:112], uint16(0), []byte{})
	f.Add(h.encode()[:112], uint16(3983), []byte{0})
	f.Fuzz(func(t *testing.T, fields []byte, at uint16, rest []byte) {
		b := make([]byte, headerSize)
		copy(b, fields)
		copy(b[min(112+int(at), headerSize):], rest)
		bound.Allocation(t, func() {
			h, err := decodeHeader(b)
			switch {
			case err != nil:
				if !fault.Is(err, fault.Corrupt) {
					t.Fatal(err)
				}
			case !bytes.Equal(h.encode(), b):
				t.Fatal("two encodings")
			}
		})
	})
}

func FuzzEnd(f *testing.F) {
	_, maint := keys(f)
	id := seal.PackID{9}
	end := encodeEnd(maint, Info{ID: id, Class: ClassData, Frames: 7, Size: 1 << 20, FooterOff: 1 << 19, FooterLen: 100}, [32]byte{8})
	f.Add(end[:96])
	f.Fuzz(func(t *testing.T, fields []byte) {
		b := append(bytes.Clone(fields), maint.PackTag(id, fields)...)
		bound.Allocation(t, func() {
			i, digest, err := decodeEnd(maint, id, b)
			switch {
			case err != nil:
				if !fault.Is(err, fault.Corrupt) {
					t.Fatal(err)
				}
			case !bytes.Equal(encodeEnd(maint, i, digest), b):
				t.Fatal("two encodings")
			}
		})
	})
}

// encodeFooter writes a parsed footer again, with padding up to a size.
func encodeFooter(d *Dir, size int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(d.groups)))
	b = binary.LittleEndian.AppendUint32(b, d.Frames)
	total := uint64(0)
	for n := range d.Frames {
		total += uint64(d.Frame(n).Size)
	}
	b = binary.LittleEndian.AppendUint64(b, total)
	b = append(b, make([]byte, 8)...)
	for _, g := range d.groups {
		b = binary.LittleEndian.AppendUint64(b, uint64(g.start))
		for _, n := range []uint32{g.first, g.frames, g.origins, 0} {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
	}
	for _, g := range d.groups {
		b = append(b, encodeDirectory(d, g)...)
	}
	return append(b, make([]byte, max(0, size-len(b)))...)
}

// encodeDirectory writes the directory of one group again.
func encodeDirectory(d *Dir, g group) (b []byte) {
	lines := map[*home]uint16{}
	for i, h := range g.homes {
		b = h.append(b)
		lines[h] = uint16(i + 1)
	}
	for n := g.first; n < g.first+g.frames; n++ {
		fr := d.Frame(n)
		e := entry{hash: fr.Hash, number: fr.number, clen: uint32(fr.Len), ulen: uint32(fr.Size), kind: fr.Kind, alg: fr.Alg, origin: lines[fr.home]}
		b = e.append(b)
	}
	return b
}

// footers seeds with what is in the footers of real packs: of one group, of several, of moved frames.
func footers(f *testing.F, add func(plain []byte, info Info)) {
	root, maint := keys(f)
	for _, n := range []int{1, 3, 900, -20} {
		s := mem.New()
		var info Info
		if n > 0 {
			info = write(f, s, n)
		} else { // moved frames
			info = move(f, s, write(f, s, -n), write(f, s, -n))
		}
		d, err := ReadDir(context.Background(), s, root, maint, info)
		if err != nil {
			f.Fatal(err)
		}
		raw := s.Bytes(info.Name())
		plain, ok := openFooter(d.key, chunk.Sum(raw[:headerSize]), info, raw[info.FooterOff:][:info.FooterLen])
		if !ok {
			f.Fatal("the footer does not open")
		}
		add(plain, info)
	}
}

func FuzzFooter(f *testing.F) {
	root, _ := keys(f)
	footers(f, func(plain []byte, info Info) {
		if info.Frames < 100 { // the padding of large ones tells the fuzzer nothing
			f.Add(bytes.TrimRight(plain, "\x00"), uint16(0), info.Frames, info.FooterOff)
		}
	})
	f.Fuzz(func(t *testing.T, p []byte, padding uint16, frames uint32, off int64) {
		if p = append(p, make([]byte, padding)...); len(p) < 24 {
			return // ReadDir refuses it
		}
		bound.Allocation(t, func() {
			d := &Dir{Info: Info{Frames: frames, FooterOff: off}, root: root}
			if err := d.parse(p); err != nil {
				if !fault.Is(err, fault.Corrupt) {
					t.Fatal(err)
				}
				return
			}
			for i := range min(frames, 100) {
				if fr := d.Frame(i); fr.Off < headerSize || fr.Off+int64(fr.Len) > off || fr.Size > chunk.MaxSize {
					t.Fatalf("frame %d at %d+%d of %d", i, fr.Off, fr.Len, off)
				}
			}
			if !bytes.Equal(encodeFooter(d, len(p)), p) {
				t.Fatal("two encodings")
			}
		})
	})
}

// FuzzDirectory takes the directory of one group that begins with some frame.
func FuzzDirectory(f *testing.F) {
	root, _ := keys(f)
	footers(f, func(plain []byte, info Info) {
		groups, origins := binary.LittleEndian.Uint32(plain), binary.LittleEndian.Uint32(plain[24+16:])
		if info.Frames < 100 {
			f.Add(plain[24+groups*footGroup:][:(info.Frames+origins)*entrySize], uint32(0), origins)
		}
	})
	f.Fuzz(func(t *testing.T, p []byte, first, origins uint32) {
		lines := uint32(len(p) / entrySize)
		if origins > lines/2 || first > MaxFrames-lines || len(p)%entrySize != 0 {
			return // callers refuse it
		}
		bound.Allocation(t, func() {
			d := &Dir{Info: Info{ID: seal.PackID{1}}, root: root, raw: make([]byte, int(first)*entrySize), starts: make([]uint32, first)}
			g := group{start: headerSize, first: first, frames: lines - origins, origins: origins}
			if _, _, err := d.group(&g, p, map[origin]*home{}); err != nil {
				if !fault.Is(err, fault.Corrupt) {
					t.Fatal(err)
				}
				return
			}
			d.groups = []group{g}
			if !bytes.Equal(encodeDirectory(d, g), p) {
				t.Fatal("two encodings")
			}
		})
	})
}

// FuzzTrailer walks a pack without footer and end whose trailers say whatever they like.
func FuzzTrailer(f *testing.F) {
	root, maint := keys(f)
	s := mem.New()
	info := write(f, s, 3)
	good := s.Bytes(info.Name())
	d, err := ReadDir(f.Context(), s, root, maint, info)
	if err != nil {
		f.Fatal(err)
	}
	sum := chunk.Sum(good[:headerSize])
	at := int(info.FooterOff) - trailerLen
	aad := partAAD(seal.Trailer, sum, 0, 0, headerSize)
	plain, ok := d.key.Open(nil, good[at:info.FooterOff], aad, seal.Trailer, 0)
	if !ok {
		f.Fatal("the trailer does not open")
	}
	f.Add(plain)
	torn := bytes.Clone(good[:info.FooterOff])
	f.Fuzz(func(t *testing.T, trailer []byte) {
		if len(trailer) != trailerLen-seal.Overhead {
			return
		}
		copy(torn[at:], d.key.Seal(nil, trailer, aad, seal.Trailer, 0))
		m := mem.New()
		m.Damage(info.Name(), torn)
		bound.Allocation(t, func() {
			found, err := Salvage(t.Context(), m, root, maint, info.Class, info.ID)
			if err != nil {
				if !fault.Is(err, fault.Corrupt) {
					t.Fatal(err)
				}
				return
			}
			for n := range min(found.Frames, 100) {
				if found.Has(n) && found.Frame(n).Hash != d.Frame(n).Hash {
					t.Fatal("a frame out of nothing")
				}
			}
		})
	})
}
