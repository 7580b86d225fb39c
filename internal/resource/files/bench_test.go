package files

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"strongroom/internal/resource"
	"strongroom/internal/tree"
)

// smallFiles is the shape of a source tree: 77,000 files of about 13 KB in 6,000 directories. It is made once, where
// STRONGROOM_BENCH_DIR says or in a temporary directory.
func smallFiles(b *testing.B) []tree.Entry {
	b.Helper()
	const dirs, perDir = 6000, 13
	out := []tree.Entry{{Type: tree.Dir, Mode: 0o755}}
	for i := range dirs / 100 {
		top := fmt.Sprintf("package-%03d", i)
		out = append(out, tree.Entry{Path: top, Type: tree.Dir, Mode: 0o755, Mtime: 1e18})
		for j := range 100 {
			dir := fmt.Sprintf("%s/dir-%03d", top, j)
			out = append(out, tree.Entry{Path: dir, Type: tree.Dir, Mode: 0o755, Mtime: 1e18})
			for k := range perDir {
				out = append(out, tree.Entry{Path: fmt.Sprintf("%s/file-%03d.go", dir, k), Type: tree.File, Mode: 0o644, Mtime: 1e18, Size: int64(1000 + 2000*k)})
			}
		}
	}
	return out
}

func fill(b *testing.B, place string, entries []tree.Entry, i int) string {
	b.Helper()
	ctx := context.Background()
	r, err := New(Config{Root: place, Options: everything}).Target(ctx, resource.Request{ID: fmt.Sprint(i), CreatedAt: day})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	data := bytes.Repeat([]byte("data"), 10_000)
	for i := range entries {
		w, err := r.Create(ctx, &entries[i])
		if err != nil {
			b.Fatal(err)
		}
		if w == nil {
			continue
		}
		if _, err := w.WriteAt(data[:entries[i].Size], 0); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Finish(ctx); err != nil {
		b.Fatal(err)
	}
	return filepath.Join(place, r.Location())
}

func BenchmarkRestoreSmallFiles(b *testing.B) {
	entries := smallFiles(b)
	place := b.TempDir()
	for i := 0; b.Loop(); i++ {
		dir := fill(b, place, entries, i)
		b.StopTimer()
		os.RemoveAll(dir)
		b.StartTimer()
	}
	b.ReportMetric(float64(len(entries)*b.N)/b.Elapsed().Seconds(), "objects/s")
}

func BenchmarkWalk(b *testing.B) {
	entries := smallFiles(b)
	dir := fill(b, b.TempDir(), entries, 0)
	p := New(Config{Root: dir, Options: everything})
	n := 0
	for b.Loop() {
		src, err := p.Source(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if err := src.Walk(context.Background(), func(tree.Item) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
		src.Close()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "objects/s")
}

func BenchmarkWalkAndRead(b *testing.B) {
	entries := smallFiles(b)
	dir := fill(b, b.TempDir(), entries, 0)
	p := New(Config{Root: dir, Options: everything})
	buf := make([]byte, 1<<20)
	for b.Loop() {
		src, err := p.Source(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		err = src.Walk(context.Background(), func(it tree.Item) error {
			if it.Open == nil {
				return nil
			}
			c, err := it.Open(context.Background())
			if err != nil {
				return err
			}
			defer c.Close()
			for {
				if _, err := c.Read(buf); err == io.EOF {
					break
				} else if err != nil {
					return err
				}
			}
			if _, problem := c.Check(); problem != "" {
				return fmt.Errorf("%s: %s", it.Entry.Path, problem)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		src.Close()
	}
	b.ReportMetric(float64(len(entries)*b.N)/b.Elapsed().Seconds(), "objects/s")
}

// Pieces of the sizes that content-defined chunks have, from two goroutines.
func BenchmarkRestoreLargeFile(b *testing.B) {
	const size = 1 << 30
	place := b.TempDir()
	data := make([]byte, 4<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	for i := 0; b.Loop(); i++ {
		ctx := context.Background()
		r, err := New(Config{Root: place}).Target(ctx, resource.Request{ID: fmt.Sprint(i), CreatedAt: day})
		if err != nil {
			b.Fatal(err)
		}
		w, err := r.Create(ctx, &tree.Entry{Path: "image", Type: tree.File, Mode: 0o600, Size: size})
		if err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		for half := range int64(2) {
			wg.Go(func() {
				for off := half * size / 2; off < (half+1)*size/2; {
					n := min(200_000+off%800_001, (half+1)*size/2-off)
					if _, err := w.WriteAt(data[:n], off); err != nil {
						b.Error(err)
						return
					}
					off += n
				}
			})
		}
		wg.Wait()
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		if err := r.Finish(ctx); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		r.Close()
		os.RemoveAll(filepath.Join(place, r.Location()))
		b.StartTimer()
	}
	b.SetBytes(size)
}
