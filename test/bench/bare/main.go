// Command bare is the practical limit that the engine is measured against: parallel read, content-defined cut, BLAKE3,
// Zstandard, AES-256-GCM, packs of 16 MiB past the page cache, one fsync each at the end, and the ways back. It has no
// catalog, no locks, no journal, no verification of what it compresses and no crash safety: a measure, not a product.
//
//	bare backup STORE TREE · bare restore STORE TO · bare copy STORE OTHER · bare verify STORE · bare walk TREE
//
// It shares with the engine what both take from a library or must have alike: the cutter and the compressor with its test
// for what does not compress.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/gob"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/repo/seal"
)

func main() {
	// Without a catalog there is little to collect, and buffers are reused.
	debug.SetGCPercent(400)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: bare backup|restore|copy|verify|walk STORE|TREE …")
	}
	switch verb := args[0]; {
	case verb == "backup" && len(args) == 3:
		return backup(args[1], args[2])
	case verb == "restore" && len(args) == 3:
		return restore(args[1], args[2])
	case verb == "copy" && len(args) == 3:
		return copyStore(args[1], args[2])
	case verb == "verify" && len(args) == 2:
		return verify(args[1])
	case verb == "walk" && len(args) == 2:
		return walk(args[1], func(part) error { return nil })
	}
	return fmt.Errorf("unknown command %q", args)
}

// part is a run of small files or a range of a large one: what one worker reads and cuts by itself.
type part struct {
	Files []file
	Off   int64 // of the range; of a single file
	Len   int64
}

type file struct {
	Path       string
	Mode       os.FileMode
	Size, Time int64
}

// frame is where a sealed chunk is.
type frame struct {
	Hash   seal.Hash
	Pack   int
	Off    int64
	Sealed int
	Size   int
	Alg    byte
}

// catalog is what a store needs beside its packs.
type catalog struct {
	Dirs  []file
	Parts []part
	Refs  [][]seal.Hash // by part
	Where map[seal.Hash]frame
	Packs int
}

func (c *catalog) save(store string) error {
	f, err := os.Create(filepath.Join(store, "catalog"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := gob.NewEncoder(f).Encode(c); err != nil {
		return err
	}
	return f.Sync()
}

func load(store string) (*catalog, error) {
	f, err := os.Open(filepath.Join(store, "catalog"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &catalog{}
	return c, gob.NewDecoder(f).Decode(c)
}

// key is the same for all packs of a store; the frame's place is its nonce.
func key(store string) (cipher.AEAD, error) {
	var k [32]byte
	copy(k[:], store)
	b, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

func nonce(pack int, off int64) []byte {
	return []byte{byte(pack), byte(pack >> 8), byte(pack >> 16), byte(pack >> 24),
		byte(off), byte(off >> 8), byte(off >> 16), byte(off >> 24), byte(off >> 32), byte(off >> 40), byte(off >> 48), byte(off >> 56)}
}

// workers runs fn on every item, on all processors and one goroutine more that waits for the disk.
func workers[T any](n int, feed func(emit func(T) error) error, fn func(worker int) (func(T) error, func() error)) error {
	g := errgroup.Group{}
	items := make(chan T, 2*n)
	failed := make(chan struct{})
	for i := range n {
		g.Go(func() error {
			do, end := fn(i)
			for it := range items {
				if err := do(it); err != nil {
					select {
					case <-failed:
					default:
						close(failed)
					}
					return err
				}
			}
			return end()
		})
	}
	err := feed(func(it T) error {
		select {
		case items <- it:
			return nil
		case <-failed:
			return fmt.Errorf("a worker failed")
		}
	})
	close(items)
	if werr := g.Wait(); werr != nil {
		return werr
	}
	return err
}

func processors() int { return runtime.GOMAXPROCS(0) }
