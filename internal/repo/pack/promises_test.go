package pack

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

// A pack whose header commits to another key than the one that opens it is refused, although every seal in it is right: else one
// pack could be made to open under two keys.
func TestAPackThatCommitsToAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	s := mem.New()
	h := header{class: ClassData, vault: maint.Vault(), id: seal.PackID{1}, salt: [32]byte{2}, commit: [32]byte{3}}
	bw, err := s.Create(t.Context(), Name(h.class, h.id))
	if err != nil {
		t.Fatal(err)
	}
	head := h.encode()
	w := &Writer{w: bw, key: root.Pack(h.id, h.salt), maint: maint, head: h, digest: blake3.New(), sum: blake3.Sum256(head)}
	if err := w.write(head); err != nil {
		t.Fatal(err)
	}
	w.groupStart = w.off
	p := data(1)
	sum := chunk.Sum(p)
	var scratch []byte
	if _, err := w.Append(sum, root.CID(Data, sum), Data, chunk.Raw, len(p), p, &scratch); err != nil {
		t.Fatal(err)
	}
	info, err := w.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDir(t.Context(), s, root, maint, info); !fault.Is(err, fault.Corrupt) {
		t.Errorf("the directory opens: %v", err)
	}
}

// The size of a finished pack is one of the few that sizes are rounded up to.
func TestPacksHaveFewSizes(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	var scratch []byte
	for i := range 6 {
		s := mem.New()
		w, err := NewWriter(context.Background(), s, root, maint, ClassData)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1<<20+i*50_001)
		rand.NewChaCha8([32]byte{byte(i)}).Read(p)
		h := chunk.Sum(p)
		if _, err := w.Append(h, root.CID(Data, h), Data, chunk.Raw, len(p), p, &scratch); err != nil {
			t.Fatal(err)
		}
		info, err := w.Close(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if alignUp(padded(info.Size)) != info.Size {
			t.Errorf("a pack of %d bytes", info.Size)
		}
	}
}
