package repo

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

func flipSeed(t *testing.T) uint64 {
	s := uint64(time.Now().UnixNano())
	if v := os.Getenv("STRONGROOM_SEED"); v != "" {
		s, _ = strconv.ParseUint(v, 10, 64)
	}
	t.Logf("STRONGROOM_SEED=%d", s)
	return s
}

func flipRepo(t *testing.T, s blob.Store) *Repository {
	t.Helper()
	c := Config{
		Store: s, Vault: "00000000-0000-4000-8000-00000000000a", Clock: clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), Workers: 1,
		Root: bytes.Repeat([]byte{1}, 32), Maint: bytes.Repeat([]byte{2}, 32),
	}
	r, err := Create(t.Context(), c, Descriptor{Owner: "1", Name: "v", Region: "r"}, []Envelope{{Kind: "kms", KeyID: "k", Blob: []byte("w")}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// flip changes one bit.
func flip(rnd *rand.Rand, p []byte) []byte {
	p = bytes.Clone(p)
	p[rnd.IntN(len(p))] ^= 1 << rnd.IntN(8)
	return p
}

// payload is content that compresses, or not.
func payload(rnd *rand.Rand, i int) []byte {
	p := make([]byte, 2000)
	for k := range p {
		p[k] = byte(rnd.IntN(256))
		if i%2 == 0 {
			p[k] = "abcd"[p[k]%4]
		}
	}
	return p
}

// bitFlipper changes a bit of one write to a pack of content, as faulty memory or a faulty controller would, after the engine has
// let go of it.
type bitFlipper struct {
	*mem.Store
	rnd *rand.Rand
}

func (b *bitFlipper) Create(ctx context.Context, name string) (blob.Writer, error) {
	w, err := b.Store.Create(ctx, name)
	if class, _, ok := pack.ParseName(name); ok && class == pack.ClassData {
		return &flippedWriter{Writer: w, rnd: b.rnd, at: 1}, err // the frame
	}
	return w, err
}

type flippedWriter struct {
	blob.Writer
	rnd *rand.Rand
	at  int
}

func (w *flippedWriter) Write(p []byte) (int, error) {
	if w.at--; w.at < 0 {
		w.at = 1 << 30
		return w.Writer.Write(flip(w.rnd, p))
	}
	return w.Writer.Write(p)
}

// B11: a bit that changes between the stages of the pipeline stops the chunk before a commit: after hashing (plain), after
// compressing (compressed), and on the way from a source (wire). A bit that changes after sealing, on the way to storage, cannot be
// noticed without reading everything back: it is found by the first scrub, which knows the digest from before.
func TestB11FlippedBitsBetweenTheStagesAreStopped(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rnd := rand.New(rand.NewPCG(11, flipSeed(t)))
	n := bar.Size(50, 1000)
	r := flipRepo(t, mem.New())
	s, _, err := r.open(ctx, "plain")
	if err != nil {
		t.Fatal(err)
	}
	var out, back []byte
	codec := chunk.NewCodec()
	for i := range n {
		p := payload(rnd, i)
		h := chunk.Sum(p)
		if err := s.storeNew(ctx, pack.Data, h, flip(rnd, p), codec, &out, &back); !fault.Is(err, fault.Internal) {
			t.Fatalf("plain %d: %v", i, err)
		}
	}
	if got := s.sink.newChunks.Load(); got != 0 {
		t.Errorf("%d flipped chunks were stored", got)
	}
	s.end()
	compressed, wire := 0, 0
	for i := 0; compressed < n || wire < n; i++ {
		x, _, err := r.Ingest(ctx, "wire", Meta{})
		if err != nil {
			t.Fatal(err)
		}
		p := payload(rnd, i)
		stored, alg := codec.Compress(nil, p)
		f := Frame{Hash: chunk.Sum(p), Alg: alg, Size: uint32(len(p)), Stored: bytes.Clone(stored)}
		switch {
		case alg != chunk.Raw && compressed < n:
			f.Stored = flip(rnd, f.Stored)
			compressed++
		case rnd.IntN(4) == 0:
			f.Hash = [32]byte(flip(rnd, f.Hash[:]))
			wire++
		default:
			f.Stored = flip(rnd, f.Stored)
			wire++
		}
		err = x.Data(ctx, Data{Frames: []Frame{f}})
		if err == nil && bytes.Equal(f.Stored, stored) {
			t.Fatalf("frame %d with a flipped bit was taken", i)
		}
		if err == nil { // the bit does not matter to the decompressor: the content is what its hash says
			got, ok := codec.Decompress(make([]byte, 0, len(p)), f.Stored, alg, len(p))
			if !ok || !bytes.Equal(got, p) {
				t.Fatalf("frame %d with a flipped bit was taken", i)
			}
		} else if !fault.Is(err, fault.Invalid) {
			t.Fatalf("frame %d: %v", i, err)
		}
		if _, err := x.Seal(ctx, Seal{}); err == nil {
			t.Fatal("a session with a flipped bit was committed")
		}
		x.Abort()
	}
	sealed := 0
	for i := range bar.Size(5, 1000) {
		store := &bitFlipper{Store: mem.New(), rnd: rnd}
		r := flipRepo(t, store)
		tr := repotest.New()
		tr.Add(repotest.File{Entry: tree.Entry{Path: "f", Type: tree.File}, Data: payload(rnd, i)})
		if _, err := r.Backup(ctx, tr, BackupOptions{ID: "one"}); err != nil {
			continue // stopped even before
		}
		report, err := r.Scrub(ctx, nil)
		if err != nil || report.OK() {
			t.Fatalf("sealed %d: %+v, %v", i, report, err)
		}
		sealed++
	}
	bar.Report(t, "B11", "%d plain, %d compressed, %d on the wire: all stopped before a commit; %d sealed, on the way to storage: all found by the first scrub", n, compressed, wire, sealed)
}
