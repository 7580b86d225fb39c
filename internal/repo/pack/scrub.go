package pack

import (
	"context"

	"github.com/zeebo/blake3"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

// End is how many bytes at the end of a pack its digest does not cover; they have a tag of their own.
const End = endSize

// Stat reads what a pack's end says about it; enough to index the pack again. No root key is needed.
func Stat(ctx context.Context, store blob.Store, maint *seal.Maint, class byte, id seal.PackID) (Info, [32]byte, error) {
	info, err := store.Stat(ctx, Name(class, id))
	if err != nil {
		return Info{}, [32]byte{}, err
	}
	if info.Size < headerSize+endSize || info.Size > MaxSize {
		return Info{}, [32]byte{}, fault.New(fault.Corrupt, "pack %s has an impossible size of %d", info.Name, info.Size).WithResource(info.Name)
	}
	end := make([]byte, endSize)
	if err := store.ReadAt(ctx, info.Name, end, info.Size-endSize); err != nil {
		return Info{}, [32]byte{}, err
	}
	i, digest, err := decodeEnd(maint, id, end)
	if err != nil {
		return i, digest, err
	}
	if i.Size != info.Size || i.Class != class {
		return i, digest, corrupt(i, "the size or class is not what the end says")
	}
	return i, digest, nil
}

// Scrub reads a whole pack and compares it with its digest. No root key is needed. buf is the memory to use, at least
// 4 KiB, page-aligned for speed.
func Scrub(ctx context.Context, store blob.Store, maint *seal.Maint, want Info, buf []byte) error {
	i, digest, err := Stat(ctx, store, maint, want.Class, want.ID)
	if err != nil {
		return lost(want, err)
	}
	if i != want {
		return corrupt(want, "its end contradicts the index")
	}
	h := blake3.New()
	for off := int64(0); off < i.Size; {
		p := buf[:min(int64(len(buf)), i.Size-off)]
		if err := store.ReadAt(ctx, i.Name(), p, off); err != nil {
			return lost(want, err)
		}
		h.Write(p[:max(0, min(int64(len(p)), i.Size-endSize-off))])
		off += int64(len(p))
	}
	var sum [32]byte
	h.Sum(sum[:0])
	if sum != digest {
		return corrupt(want, "the content is not what was written")
	}
	return nil
}
