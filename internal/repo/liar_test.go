package repo

import (
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// Who has the keys can seal a chunk as another one, and a fault in memory on the way into a pack does the same. What comes out
// is compared with its hash all the same: such a chunk is damage, and not restored.
func TestAChunkThatIsSealedAsAnotherIsNotRestored(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := Config{Store: mem.New(), Vault: seal.VaultID{1}.String(), Root: make([]byte, 32), Maint: make([]byte, 32), Clock: clock.System{}}
	r, err := Create(ctx, c, Descriptor{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	right, wrong := make([]byte, 1000), make([]byte, 1000)
	wrong[500] = 1
	s, _, err := r.open(ctx, "lie")
	if err != nil {
		t.Fatal(err)
	}
	h := chunk.Sum(right)
	cid := r.root.CID(pack.Data, h)
	if fresh, err := s.sink.claim(ctx, cid.Short(), len(right)); err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	if err := s.sink.store(ctx, h, cid, pack.Data, chunk.Raw, len(wrong), wrong); err != nil {
		t.Fatal(err)
	}
	if _, err := s.sink.finish(ctx); err != nil {
		t.Fatal(err)
	}
	s.end()
	src := repotest.New()
	src.Add(repotest.File{Entry: tree.Entry{Path: "f", Type: tree.File}, Data: right})
	if _, err := r.Backup(ctx, src, BackupOptions{ID: "rp"}); err != nil {
		t.Fatal(err)
	}
	p, err := r.Point(ctx, "rp")
	if err != nil {
		t.Fatal(err)
	}
	target := repotest.NewTarget()
	rep, err := p.Restore(ctx, target, RestoreOptions{})
	if f := target.Files()["f"]; err == nil && rep.DamagedCount == 0 || f != nil && len(f.Data) > 500 && f.Data[500] == 1 {
		t.Errorf("%+v, %v: restored as %v", rep, err, f)
	}
}

// A source's word about what a frame holds is worth nothing: the hash is computed again.
func TestAFrameWithAWrongHashEndsTheSession(t *testing.T) {
	t.Parallel()
	c := Config{Store: mem.New(), Vault: seal.VaultID{1}.String(), Root: make([]byte, 32), Maint: make([]byte, 32), Clock: clock.System{}}
	r, err := Create(t.Context(), c, Descriptor{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x, _, err := r.Ingest(t.Context(), "rp", Meta{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	f := Frame{Hash: chunk.Sum([]byte("announced")), Alg: chunk.Raw, Size: 9, Stored: []byte("something")}
	if err := x.Data(t.Context(), Data{Frames: []Frame{f}}); err == nil {
		t.Error("it was taken")
	}
}
