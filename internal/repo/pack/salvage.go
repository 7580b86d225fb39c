package pack

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/zeebo/blake3"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

// salvageStep is how much of a pack is read at once while its groups are looked for.
const salvageStep = 1 << 20

// damaged reports whether an error is about what is stored, not about the store.
func damaged(err error) bool { return fault.Is(err, fault.Corrupt) || errors.Is(err, syscall.EIO) }

// OpenDir is ReadDir, and for a pack whose header, footer or end is damaged or cut off, what can still be known: Damage says
// then what is wrong, and Has which frames are known. The error is ReadDir's when that is none.
func OpenDir(ctx context.Context, store blob.Store, root *seal.Root, maint *seal.Maint, i Info) (*Dir, error) {
	d, err := ReadDir(ctx, store, root, maint, i)
	if !damaged(err) {
		return d, err
	}
	s, serr := salvage(ctx, store, root, maint, i)
	switch {
	case serr == nil:
		s.damage = err
		return s, nil
	case damaged(serr), fault.Is(serr, fault.NotFound):
		return nil, err
	}
	return nil, serr
}

// Salvage looks for the groups of a pack of which nothing but its name is known. The Info returned describes what was found: it
// has no footer, and as many frames as there are in complete groups. fault.Corrupt when the pack's key cannot be had.
func Salvage(ctx context.Context, store blob.Store, root *seal.Root, maint *seal.Maint, class byte, id seal.PackID) (*Dir, error) {
	o, err := store.Stat(ctx, Name(class, id))
	if err != nil {
		return nil, err
	}
	return salvage(ctx, store, root, maint, Info{ID: id, Class: class, Size: o.Size})
}

// Damage says what kept the pack's directory from being read as it should; nil when nothing did.
func (d *Dir) Damage() error { return d.damage }

// Has reports whether it is known what frame n is. It is, for all frames, unless Damage.
func (d *Dir) Has(n uint32) bool {
	return int64(n) < int64(len(d.starts)) && d.raw[int(n)*entrySize+44] != 0
}

func salvage(ctx context.Context, store blob.Store, root *seal.Root, maint *seal.Maint, i Info) (*Dir, error) {
	o, err := store.Stat(ctx, i.Name())
	if err != nil {
		return nil, err
	}
	if o.Size < headerSize || o.Size > MaxSize {
		return nil, corrupt(i, "too short or too long for a pack")
	}
	head := make([]byte, headerSize)
	if err := store.ReadAt(ctx, i.Name(), head, 0); err != nil {
		return nil, err
	}
	h, key, err := repairHeader(head, i, root, maint)
	if err != nil {
		return nil, err
	}
	sum := blake3.Sum256(h.encode())
	d := &Dir{Info: i, root: root, key: key, salt: h.salt}
	// The header may have been all that was wrong.
	if i.FooterLen > seal.Overhead+24 && i.FooterLen <= maxFooter && i.FooterOff+int64(i.FooterLen) <= o.Size {
		sealed := make([]byte, i.FooterLen)
		if err := store.ReadAt(ctx, i.Name(), sealed, i.FooterOff); err == nil {
			if plain, ok := openFooter(key, sum, i, sealed); ok && d.parse(plain) == nil {
				return d, nil
			}
		} else if !damaged(err) {
			return nil, err
		}
		d = &Dir{Info: i, root: root, key: key, salt: h.salt}
	}
	if err := d.walk(ctx, store, sum, o.Size); err != nil {
		return nil, err
	}
	if i.Frames == 0 {
		d.Frames = uint32(len(d.starts))
		d.FooterOff = int64(headerSize)
		if n := len(d.groups); n > 0 {
			d.FooterOff = d.groups[n-1].end
		}
	}
	// Frames that nothing is known of.
	for uint32(len(d.starts)) < d.Frames {
		d.blank()
	}
	if uint32(len(d.starts)) != d.Frames {
		return nil, corrupt(i, "it has more frames than the index says")
	}
	return d, nil
}

// blank adds a frame that nothing is known of.
func (d *Dir) blank() {
	d.raw = append(d.raw, make([]byte, entrySize)...)
	d.starts = append(d.starts, 0)
}

// repairHeader makes the header of a pack from what is left of it. All but the salt is known without it; in the salt, one wrong
// bit can be found, as the commitment tells the right key.
func repairHeader(head []byte, i Info, root *seal.Root, maint *seal.Maint) (header, *seal.PackKey, error) {
	h := header{class: i.Class, vault: maint.Vault(), id: i.ID}
	copy(h.salt[:], head[48:])
	copy(h.commit[:], head[80:])
	key := root.Pack(h.id, h.salt)
	if seal.Equal(key.Commit[:], h.commit[:]) {
		return h, key, nil
	}
	for bit := range 8 * len(h.salt) {
		try := h
		try.salt[bit/8] ^= 1 << (bit % 8)
		if k := root.Pack(try.id, try.salt); seal.Equal(k.Commit[:], h.commit[:]) {
			return try, k, nil
		}
	}
	// The commitment may be what is damaged. Whether the key is right shows when something opens: it also has to be bound to
	// the header as it was, commitment included.
	h.commit = key.Commit
	return h, key, nil
}

// walk finds the groups one after the other by their trailers. It ends at the first that cannot be found.
func (d *Dir) walk(ctx context.Context, store blob.Store, sum [32]byte, size int64) error {
	homes := map[origin]*home{}
	next, off := uint32(0), int64(headerSize)
	var piece []byte
	at := int64(0)
	for pos := off + align; pos <= size; pos += align {
		if pos > at+int64(len(piece)) {
			// From the block with the trailer on.
			at = pos - align
			piece = make([]byte, min(salvageStep, (size-at)&^(align-1)))
			if err := store.ReadAt(ctx, d.Name(), piece, at); err != nil {
				if !damaged(err) {
					return lost(d.Info, err)
				}
				clear(piece) // what cannot be read is no trailer
			}
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
		}
		no := uint32(len(d.groups))
		plain, ok := d.key.Open(nil, piece[pos-at-trailerLen:pos-at], partAAD(seal.Trailer, sum, no, next, off), seal.Trailer, no)
		if !ok {
			continue
		}
		g := group{start: off, end: pos, first: next, frames: binary.LittleEndian.Uint32(plain[12:]), origins: binary.LittleEndian.Uint32(plain[40:])}
		dirOff := int64(binary.LittleEndian.Uint64(plain[24:]))
		if string(plain[:4]) != "SRGT" || g.frames == 0 || g.frames > MaxFrames-next || g.origins > g.frames ||
			dirOff < off || dirOff+g.directory()+seal.Overhead+trailerLen > pos || int64(binary.LittleEndian.Uint64(plain[32:])) != pos {
			return corrupt(d.Info, "a group's trailer contradicts itself")
		}
		if err := d.salvageGroup(ctx, store, sum, &g, dirOff, homes); err != nil {
			return err
		}
		d.groups = append(d.groups, g)
		next, off = next+g.frames, pos
	}
	return nil
}

// salvageGroup reads the directory of a group whose trailer is intact. If it is damaged, the group's frames stay unknown.
func (d *Dir) salvageGroup(ctx context.Context, store blob.Store, sum [32]byte, g *group, dirOff int64, homes map[origin]*home) error {
	sealed := make([]byte, g.directory()+seal.Overhead)
	err := store.ReadAt(ctx, d.Name(), sealed, dirOff)
	if err != nil && !damaged(err) {
		return lost(d.Info, err)
	}
	no := uint32(len(d.groups))
	plain, ok := d.key.Open(nil, sealed, partAAD(seal.Directory, sum, no, g.first, g.start), seal.Directory, no)
	if ok {
		size, _, err := d.group(g, plain, homes)
		if err == nil && g.start+size == dirOff {
			return nil
		}
		d.raw, d.starts, g.homes = d.raw[:int(g.first)*entrySize], d.starts[:g.first], nil
	}
	for range g.frames {
		d.blank()
	}
	return nil
}
