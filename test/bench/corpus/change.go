package corpus

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Undo takes a change back, as far as the content goes: the files keep their new modification times.
type Undo func() error

// change runs fn while the tree does not count as complete: whoever is cut off before the Undo makes it again.
func (t Tree) change(fn func() (Undo, error)) (Undo, error) {
	if err := os.Remove(complete(t.Path)); err != nil {
		return nil, err
	}
	undo, err := fn()
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := undo(); err != nil {
			return err
		}
		return os.WriteFile(complete(t.Path), nil, 0o644)
	}, nil
}

// line is what ChangeFiles appends to a file.
const line = "// a line more than there was before\n"

// ChangeFiles appends a line to one file of each hundred.
func (t Tree) ChangeFiles() (Undo, error) { return t.change(t.appendLines) }

func (t Tree) appendLines() (Undo, error) {
	sizes := map[string]int64{}
	n := 0
	err := filepath.WalkDir(t.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if n++; n%100 != 0 {
			return nil
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		sizes[path] = info.Size()
		if _, err := f.WriteString(line); err != nil {
			return err
		}
		return f.Close()
	})
	return func() error {
		for path, size := range sizes {
			if err := os.Truncate(path, size); err != nil {
				return err
			}
		}
		return nil
	}, err
}

// block is the unit in which ChangeBlocks changes files.
const block = 4 << 10

// ChangeBlocks overwrites one in fifty of the 4 KiB blocks of the tree's volumes and databases (*.img, *.db), anywhere, as
// random writes do. What was there waits for Undo in a file beside the tree.
func (t Tree) ChangeBlocks() (Undo, error) { return t.change(t.overwrite) }

// overwritten is a block of a file; the n-th one's old content is the n-th block of the file beside the tree.
type overwritten struct {
	path string
	off  int64
}

func (t Tree) overwrite() (Undo, error) {
	keep, err := os.Create(t.Path + ".undo")
	if err != nil {
		return nil, err
	}
	var olds []overwritten
	r := rand.New(rand.NewPCG(3, 4))
	was, is, scratch := make([]byte, block), make([]byte, block), make([]byte, 8192)
	err = filepath.WalkDir(t.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".img") && !strings.HasSuffix(path, ".db") {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		for n := range info.Size() / block {
			if r.IntN(50) != 0 {
				continue
			}
			if _, err := f.ReadAt(was, n*block); err != nil {
				return err
			}
			if _, err := keep.Write(was); err != nil {
				return err
			}
			records(r, scratch)
			copy(is, scratch)
			noise(r, is[block/2:])
			if _, err := f.WriteAt(is, n*block); err != nil {
				return err
			}
			olds = append(olds, overwritten{path, n * block})
		}
		return f.Close()
	})
	return func() error {
		defer os.Remove(keep.Name())
		defer keep.Close()
		for n, o := range olds {
			if _, err := keep.ReadAt(was, int64(n)*block); err != nil {
				return err
			}
			if err := writeAt(o.path, was, o.off); err != nil {
				return err
			}
		}
		return nil
	}, err
}

func writeAt(path string, p []byte, off int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(p, off); err != nil {
		return err
	}
	return f.Close()
}
