package repo

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// These tests speak the ingest conversation as a hostile source would.

func newDestination(t *testing.T) *Repository {
	t.Helper()
	r, err := Create(t.Context(), Config{
		Store: mem.New(), Vault: "00000000-0000-4000-8000-00000000000c", Root: make([]byte, 32), Maint: bytes.Repeat([]byte{1}, 32),
		Clock: clock.NewFake(time.Unix(1e9, 0)), Workers: 2,
	}, Descriptor{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// talk is a session with a source that numbers its messages.
type talk struct {
	*Session
	out *outbound
}

func (k talk) Compare(ctx context.Context, m Compare) (Need, error) { return k.out.compare(ctx, m) }
func (k talk) Offer(ctx context.Context, m Offer) (Need, error)     { return k.out.offer(ctx, m) }
func (k talk) Data(ctx context.Context, m Data) error               { return k.out.data(ctx, m) }
func (k talk) Pages(ctx context.Context, m Pages) error             { return k.out.pages(ctx, m) }

func ingest(t *testing.T, r *Repository, id, resource string) talk {
	t.Helper()
	s, done, err := r.Ingest(t.Context(), id, Meta{Owner: "o", ResourceARN: resource})
	if err != nil || done != nil {
		t.Fatal(done, err)
	}
	return talk{s, newSender(s, r.clock).stream()}
}

func frameOf(p []byte) Frame { return Frame{Hash: chunk.Sum(p), Size: uint32(len(p)), Stored: p} }

// manifestOf returns the pages of a tree of one directory with one file per chunk, bottom up.
func manifestOf(t *testing.T, chunks ...[]byte) (pages []Frame, root seal.Hash) {
	t.Helper()
	b := manifest.NewBuilder(func(p []byte, list bool) (seal.Hash, error) {
		f := frameOf(bytes.Clone(p))
		f.List = list
		pages = append(pages, f)
		return f.Hash, nil
	})
	nodes := []manifest.Node{{Entry: tree.Entry{Type: tree.Dir}}}
	for i, c := range chunks {
		nodes = append(nodes, manifest.Node{
			Entry:   tree.Entry{Path: fmt.Sprintf("f%06d", i), Type: tree.File, Size: int64(len(c))},
			Content: manifest.Content{Kind: manifest.Chunks, Refs: []manifest.Ref{{Hash: chunk.Sum(c), Size: uint64(len(c))}}},
		})
	}
	for i := range nodes {
		if err := b.Add(&nodes[i]); err != nil {
			t.Fatal(err)
		}
	}
	root, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return pages, root
}

func wantFault(t *testing.T, err error, kinds ...fault.Kind) {
	t.Helper()
	for _, k := range kinds {
		if fault.Is(err, k) {
			return
		}
	}
	t.Fatalf("got %v, want %v", err, kinds)
}

func TestIngestTakesWhatIsProvenAndNothingElse(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newDestination(t)
	secret, mine := []byte("another resource's secret content"), []byte("my own content")
	s := ingest(t, r, "victim", "victim")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pages, root := manifestOf(t, secret)
	must(s.Data(ctx, Data{Frames: []Frame{frameOf(secret)}}))
	must(s.Pages(ctx, Pages{Frames: pages}))
	_, err := s.Seal(ctx, Seal{Root: root})
	must(err)

	t.Run("a chunk of somebody else is asked for like an unknown one", func(t *testing.T) {
		s := ingest(t, r, "a", "attacker")
		defer s.Abort()
		n, err := s.Offer(ctx, Offer{Chunks: []OfferedChunk{{Hash: chunk.Sum(secret), Size: uint32(len(secret))}, {Hash: chunk.Sum(mine), Size: 1}}})
		must(err)
		if !n.Send[0] || !n.Send[1] {
			t.Errorf("%v", n.Send)
		}
	})
	t.Run("knowing a hash gives no content", func(t *testing.T) {
		s := ingest(t, r, "b", "attacker")
		defer s.Abort()
		wantFault(t, s.Pages(ctx, Pages{Frames: pages}), fault.Denied)
		_, err := s.Seal(ctx, Seal{Root: root})
		wantFault(t, err, fault.Denied)
	})
	t.Run("the same resource may refer to its last recovery point", func(t *testing.T) {
		s := ingest(t, r, "c", "victim")
		n, err := s.Offer(ctx, Offer{Chunks: []OfferedChunk{{Hash: chunk.Sum(secret), Size: uint32(len(secret))}}})
		must(err)
		if n.Send[0] {
			t.Error("it is asked for again")
		}
		must(s.Pages(ctx, Pages{Frames: pages}))
		rc, err := s.Seal(ctx, Seal{Root: root})
		must(err)
		if rc.Stats.Entries != 2 || rc.Stats.LogicalBytes != int64(len(secret)) || rc.Stats.NewChunks != 0 {
			t.Errorf("%+v", rc.Stats)
		}
	})
	pagesOf := func(t *testing.T, chunks ...[]byte) []Frame { p, _ := manifestOf(t, chunks...); return p }
	inner := func(c ...[]byte) []Frame { // enough files for several leaves
		for i := range 3000 {
			c = append(c, fmt.Appendf(nil, "content %d", i))
		}
		return pagesOf(t, c...)
	}()
	for name, c := range map[string]struct {
		data  []Frame
		pages []Frame
		root  seal.Hash
		kind  fault.Kind
	}{
		"wrong bytes under a hash":    {data: []Frame{{Hash: chunk.Sum(mine), Size: uint32(len(secret)), Stored: secret}}, kind: fault.Invalid},
		"wrong size":                  {data: []Frame{{Hash: chunk.Sum(mine), Size: uint32(len(mine) + 1), Stored: mine}}, kind: fault.Invalid},
		"an unknown algorithm":        {data: []Frame{{Hash: chunk.Sum(mine), Size: uint32(len(mine)), Alg: 7, Stored: mine}}, kind: fault.Invalid},
		"a broken frame":              {data: []Frame{{Hash: chunk.Sum(mine), Size: 1 << 20, Alg: 1, Stored: mine}}, kind: fault.Invalid},
		"a giant":                     {data: []Frame{{Hash: chunk.Sum(mine), Size: 1 << 31, Alg: 1, Stored: mine}}, kind: fault.Invalid},
		"too many frames":             {data: make([]Frame, MaxFrames+1), kind: fault.Limit},
		"a page that is none":         {pages: []Frame{frameOf(mine)}, kind: fault.Corrupt},
		"no pages":                    {root: root, kind: fault.Invalid},
		"another root":                {data: []Frame{frameOf(mine)}, pages: pagesOf(t, mine), root: root, kind: fault.Invalid},
		"a page that comes twice":     {data: []Frame{frameOf(mine)}, pages: append(pagesOf(t, mine), pagesOf(t, mine)...), kind: fault.Invalid},
		"an inner page without below": {pages: inner[len(inner)-1:], kind: fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			s := ingest(t, r, "x", "attacker")
			defer s.Abort()
			err := s.Data(ctx, Data{Frames: c.data})
			if err == nil {
				err = s.Pages(ctx, Pages{Frames: c.pages})
			}
			if err == nil {
				_, err = s.Seal(ctx, Seal{Root: c.root})
			}
			wantFault(t, err, c.kind)
			// The session is dead.
			if err := s.Data(ctx, Data{Frames: []Frame{frameOf(mine)}}); err == nil {
				t.Error("the session goes on")
			}
		})
	}
	if ids, err := r.stored(ctx); err != nil || len(ids) != 2 {
		t.Errorf("%v, %v", ids, err)
	}
	report, err := r.VerifyAll(ctx, nil)
	must(err)
	if !report.OK() {
		t.Errorf("%+v", report)
	}
}

func TestASecondCopyOfAResourceSendsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	src, dst := newDestination(t), newDestination(t)
	tr := repotest.Random(3, 300)
	read := int64(0)
	for i, id := range []string{"one", "two"} {
		if i > 0 {
			tr = tr.Clone()
			repotest.Mutate(tr, 4, 50)
		}
		if _, err := src.Backup(ctx, tr, BackupOptions{ID: id, Base: "one"}); err != nil {
			t.Fatal(err)
		}
		p, err := src.Point(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		var last Progress
		rc, err := Copy(ctx, p, dst, CopyOptions{ID: id, Meta: Meta{Owner: "o", ResourceARN: "r"}, Progress: func(p Progress) { last = p }})
		if err != nil {
			t.Fatal(err)
		}
		if rc.Stats.LogicalBytes != p.commit.Stats.LogicalBytes || rc.Stats.Entries != p.commit.Stats.Entries || rc.Stats.Files != p.commit.Stats.Files {
			t.Errorf("source %+v, copy %+v", p.commit.Stats, rc.Stats)
		}
		if i > 0 && last.Read*4 > read {
			t.Errorf("the second copy read %d bytes, the first %d", last.Read, read)
		}
		read = last.Read
	}
}
