// Command cuts measures on real trees what the way of cutting costs: how many chunks a tree becomes, how much of it is
// stored, and how much of a later version of the same tree is stored anew.
//
//	go run ./test/bench/cuts NAME=OLD:NEW...
//
// OLD and NEW are two versions of one directory. It uses the engine's cutter and compressor; bundles are put together as
// the engine does it. docs/decisions/0014-chunk-parameters.md holds its tables and what was decided by them.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

// way is one way of cutting.
type way struct {
	name  string
	gear  chunk.Params // of files that are not small
	fixed int          // or fixed blocks
	// small files are put together into pieces of about bundle bytes; 0 means that each is a chunk
	bundle int
}

// perChunk is what a chunk costs beside its content: seal, directory entry twice, index, manifest.
const perChunk = 16 + 2*48 + 24 + 34

// smallFile is the engine's border between bundled and cut files.
const smallFile = 256 << 10

func gear(avg, bundle int) way {
	return way{name: fmt.Sprintf("gear %dK, bundles %dK", avg>>10, bundle>>10), gear: chunk.Params{Min: avg / 4, Avg: avg, Max: 4 * avg}, bundle: bundle}
}

func ways() []way {
	out := []way{
		gear(64<<10, 1<<20), gear(128<<10, 1<<20), gear(256<<10, 1<<20), gear(512<<10, 1<<20), gear(1<<20, 1<<20),
		gear(512<<10, 0), gear(512<<10, 64<<10), gear(512<<10, 256<<10), gear(512<<10, 512<<10), gear(512<<10, 2<<20),
	}
	for _, n := range []int{4, 8, 16, 32, 64, 256, 1024} {
		out = append(out, way{name: fmt.Sprintf("fixed %dK", n), fixed: n << 10, bundle: 1 << 20})
	}
	return out
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: cuts NAME=OLD:NEW...")
		os.Exit(2)
	}
	for _, arg := range os.Args[1:] {
		name, dirs, _ := strings.Cut(arg, "=")
		was, is, ok := strings.Cut(dirs, ":")
		if !ok {
			fmt.Fprintln(os.Stderr, "usage: cuts NAME=OLD:NEW...")
			os.Exit(2)
		}
		if err := compare(name, was, is); err != nil {
			fmt.Fprintln(os.Stderr, "cuts:", err)
			os.Exit(1)
		}
	}
}

// result is what one way of cutting comes to.
type result struct {
	chunks            int   // in the old version
	stored            int64 // of it, everything counted
	again             int64 // stored for the new version with the old one as base
	anew              int64 // the same without a base: everything read and cut again
	againChunks       int
	logical, newLogic int64
	files             int
}

func compare(name, was, is string) error {
	all := ways()
	results := make([]result, len(all))
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, w := range all {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i], errs[i] = measure(w, was, is)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	r := results[0]
	fmt.Printf("\n%s: %d files, %.1f MB, then %.1f MB\n\n| cut | chunks | stored | stored again | its chunks | without base |\n|---|---|---|---|---|---|\n",
		name, r.files, mb(r.logical), mb(r.newLogic))
	for i, w := range all {
		r := results[i]
		fmt.Printf("| %s | %d | %.2f MB | %.2f MB | %d | %.2f MB |\n", w.name, r.chunks, mb(r.stored), mb(r.again), r.againChunks, mb(r.anew))
	}
	return nil
}

func mb(n int64) float64 { return float64(n) / 1e6 }

// store counts the chunks that are new to it.
type store struct {
	codec  *chunk.Codec
	known  map[seal.Hash]bool
	stored int64
	chunks int
	out    []byte
}

func (s *store) add(p []byte) {
	h := chunk.Sum(p)
	if s.known[h] {
		return
	}
	s.known[h] = true
	stored, alg := s.codec.Compress(s.out[:0], p)
	if alg != chunk.Raw {
		s.out = stored
	}
	s.stored += int64(len(stored)) + perChunk
	s.chunks++
}

func measure(w way, was, is string) (r result, err error) {
	s := &store{codec: chunk.NewCodec(), known: map[seal.Hash]bool{}}
	base := map[string]seal.Hash{}
	r.files, r.logical, err = walk(w, was, s, nil, base)
	if err != nil {
		return r, err
	}
	r.chunks, r.stored = s.chunks, s.stored
	full := &store{codec: s.codec, known: map[seal.Hash]bool{}}
	for h := range s.known {
		full.known[h] = true
	}
	if _, r.newLogic, err = walk(w, is, s, base, nil); err != nil {
		return r, err
	}
	r.again, r.againChunks = s.stored-r.stored, s.chunks-r.chunks
	_, _, err = walk(w, is, full, nil, nil)
	r.anew = full.stored
	return r, err
}

// walk cuts a tree. Files that are in base with the same content are passed over; note gets all.
func walk(w way, dir string, s *store, base, note map[string]seal.Hash) (files int, bytes int64, err error) {
	cutter := chunk.NewCutter(chunk.Params{Min: 1 << 10, Avg: 1 << 12, Max: 1 << 14}, [32]byte{1})
	if w.fixed == 0 {
		cutter = chunk.NewCutter(w.gear, [32]byte{1})
	}
	var open []byte
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, dir)
		files++
		bytes += int64(len(data))
		h := chunk.Sum(data)
		if note != nil {
			note[rel] = h
		}
		if was, ok := base[rel]; ok && was == h || len(data) == 0 {
			return nil
		}
		if len(data) <= smallFile {
			if w.bundle == 0 {
				s.add(data)
				return nil
			}
			if len(open)+len(data) > 2*w.bundle {
				s.add(open)
				open = open[:0]
			}
			open = append(open, data...)
			least := w.bundle / 4
			if len(open) >= least && int(hash(rel)%uint64(w.bundle-least)) < len(data) {
				s.add(open)
				open = open[:0]
			}
			return nil
		}
		for len(data) > 0 {
			n := min(w.fixed, len(data))
			if w.fixed == 0 {
				n = cutter.Cut(data)
			}
			s.add(data[:n])
			data = data[n:]
		}
		return nil
	})
	if len(open) > 0 {
		s.add(open)
	}
	return files, bytes, err
}

// hash is the engine's, which decides where bundles end.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}
