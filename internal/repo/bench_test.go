package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

// text is data that compresses to about a third, as sources and documents do.
func text(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%x word %d\n", r.Uint32()>>12, r.IntN(1000))
	}
	return b.Bytes()[:n]
}

// corpora are the shapes that matter: many small files, few large ones.
func corpora() map[string]*repotest.Tree {
	r := rand.New(rand.NewPCG(1, 2))
	small, large := repotest.New(), repotest.New()
	for d := range 60 {
		dir := fmt.Sprintf("d%02d", d)
		small.Add(repotest.File{Entry: tree.Entry{Path: dir, Type: tree.Dir}})
		for f := range 100 {
			small.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("%s/f%03d", dir, f), Type: tree.File}, Data: text(r, 1000+r.IntN(25_000))})
		}
	}
	for i := range 6 {
		data := text(r, 32<<20)
		if i%3 == 2 {
			data = repotest.Noise(r, 32<<20)
		}
		large.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprint("f", i), Type: tree.File}, Data: data})
	}
	return map[string]*repotest.Tree{"small": small, "large": large}
}

func diskStore(b *testing.B) blob.Store {
	b.Helper()
	s, err := disk.Open(b.TempDir())
	must(b, err)
	return s
}

// discard is a target that keeps nothing.
type discard struct{}

func (discard) Create(_ context.Context, e *tree.Entry) (tree.Writer, error) {
	if e.Type != tree.File || e.Hardlink != "" {
		return nil, nil
	}
	return discard{}, nil
}
func (discard) Finish(context.Context) error           { return nil }
func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (discard) Discard() error                         { return nil }
func (discard) Close() error                           { return nil }

func BenchmarkEngine(b *testing.B) {
	for name, tr := range corpora() {
		var size int64
		for _, f := range tr.Files {
			size += f.Size
		}
		source := create(b, diskStore(b), vaultA)
		backup(b, source, tr, "one", "")
		b.Run("backup/"+name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				b.StopTimer()
				r := create(b, diskStore(b), vaultB)
				b.StartTimer()
				backup(b, r, tr, "one", "")
			}
		})
		b.Run("unchanged/"+name, func(b *testing.B) {
			b.SetBytes(size)
			for i := 0; b.Loop(); i++ {
				backup(b, source, tr, fmt.Sprint("again", i), "one")
			}
		})
		b.Run("copy/"+name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				b.StopTimer()
				r := create(b, diskStore(b), vaultB)
				b.StartTimer()
				_, err := repo.Copy(b.Context(), point(b, source, "one"), r, repo.CopyOptions{ID: "one"})
				must(b, err)
			}
		})
		b.Run("restore/"+name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				_, err := point(b, source, "one").Restore(b.Context(), discard{}, repo.RestoreOptions{})
				must(b, err)
			}
		})
		b.Run("verify/"+name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				_, err := point(b, source, "one").Verify(b.Context(), nil)
				must(b, err)
			}
		})
	}
}
