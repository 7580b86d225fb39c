// Package corpus makes the trees that benchmarks back up, always the same ones on one machine, and changes them a little and
// back again. A tree is kept until it is removed: making it takes longer than most measurements.
package corpus

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tree is a directory to back up.
type Tree struct {
	Name, Path string
	Bytes      int64
	Files      int
}

// complete marks, beside a tree, that it was made to its end.
func complete(dir string) string { return dir + ".complete" }

// made returns a tree that is there already.
func made(name, dir string) (t Tree, ok bool, err error) {
	t = Tree{Name: name, Path: dir}
	if _, err := os.Stat(complete(dir)); err != nil {
		return t, false, os.RemoveAll(dir)
	}
	return t, true, t.measure()
}

func (t Tree) finish() (Tree, error) {
	if err := os.WriteFile(complete(t.Path), nil, 0o644); err != nil {
		return t, err
	}
	return t, t.measure()
}

// Remove deletes a tree.
func (t Tree) Remove() error {
	if err := os.Remove(complete(t.Path)); err != nil {
		return err
	}
	return os.RemoveAll(t.Path)
}

// Small gathers real small files from the Go toolchain, its module cache and the system's headers, documentation and
// libraries until there are want bytes; 1 GB are about 77,000 files.
func Small(dir string, want int64) (Tree, error) {
	t, ok, err := made("small files", dir)
	if ok || err != nil {
		return t, err
	}
	sources, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE").Output()
	if err != nil {
		return t, err
	}
	roots := append(strings.Fields(string(sources)), "/usr/include", "/usr/share", "/usr/lib")
	var total int64
	for i, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || total >= want {
				return fs.SkipAll
			}
			info, err := d.Info()
			if err != nil || !info.Mode().IsRegular() || info.Size() > 256<<10 || info.Size() < 1<<10 {
				return nil
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			to := filepath.Join(dir, fmt.Sprint(i), rel)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			total += info.Size()
			return copyFile(path, to)
		})
		if err != nil {
			return t, err
		}
	}
	return t.finish()
}

// Many makes n files of which every fourth holds a few bytes, a thousand to a directory.
func Many(dir string, n int) (Tree, error) {
	t, ok, err := made("many files", dir)
	if ok || err != nil {
		return t, err
	}
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("%03d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return t, err
			}
		}
		var content []byte
		if i%4 == 0 {
			content = fmt.Appendf(nil, "record %d\n", i)
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("%06d.rec", i)), content, 0o644); err != nil {
			return t, err
		}
	}
	return t.finish()
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return nil // unreadable as this user
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

// Mixed makes large files: a third like a disk image (real small files one after another, with holes of zeros), a
// third like a database (records of 8 KiB, half empty), a third that does not compress.
func Mixed(dir string, want int64, small string) (Tree, error) {
	c, ok, err := made("mixed large files", dir)
	if ok || err != nil {
		return c, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return c, err
	}
	part := want / 3
	if err := image(filepath.Join(dir, "disk.img"), part, small); err != nil {
		return c, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 8 {
		if err := write(filepath.Join(dir, fmt.Sprintf("table-%d.db", i)), part/8, func(p []byte) { records(r, p) }); err != nil {
			return c, err
		}
		if err := write(filepath.Join(dir, fmt.Sprintf("video-%d.bin", i)), part/8, func(p []byte) { noise(r, p) }); err != nil {
			return c, err
		}
	}
	return c.finish()
}

func image(path string, size int64, small string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	var n int64
	zeros := make([]byte, 1<<20)
	for n < size {
		before := n
		err := filepath.WalkDir(small, func(p string, d fs.DirEntry, err error) error {
			if err != nil || n >= size {
				return fs.SkipAll
			}
			if !d.Type().IsRegular() {
				return nil
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			pad := (4096 - len(data)%4096) % 4096
			m, err := out.Write(append(data, zeros[:pad]...))
			n += int64(m)
			return err
		})
		if err != nil {
			return err
		}
		if n == before {
			return fmt.Errorf("no small files below %s", small)
		}
		m, err := out.Write(zeros)
		n += int64(m)
		if err != nil {
			return err
		}
	}
	return out.Close()
}

func write(path string, size int64, fill func([]byte)) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	buf := make([]byte, 1<<20)
	for n := int64(0); n < size; n += int64(len(buf)) {
		fill(buf)
		if _, err := out.Write(buf); err != nil {
			return err
		}
	}
	return out.Close()
}

var words = strings.Fields("account customer order invoice status pending shipped total amount region street city notes updated created reference")

func records(r *rand.Rand, p []byte) {
	clear(p)
	for page := 0; page < len(p); page += 8192 {
		for off := page + 24; off < page+5000; {
			off += copy(p[off:page+8192], fmt.Sprintf("%08x|%s %s %d|%016x;", r.Uint32(), words[r.IntN(len(words))], words[r.IntN(len(words))], r.IntN(1e6), r.Uint64()))
		}
	}
}

func noise(r *rand.Rand, p []byte) {
	for i := 0; i+8 <= len(p); i += 8 {
		v := r.Uint64()
		for j := range 8 {
			p[i+j] = byte(v >> (8 * j))
		}
	}
}

func (t *Tree) measure() error {
	return filepath.WalkDir(t.Path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		t.Files++
		t.Bytes += info.Size()
		return nil
	})
}

// Size is how many bytes the files below a directory have.
func Size(dir string) (int64, error) {
	t := Tree{Path: dir}
	err := t.measure()
	return t.Bytes, err
}

// Warm reads a tree once, so that every tool finds it in the page cache.
func (t Tree) Warm() error {
	return filepath.WalkDir(t.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(io.Discard, in)
		return err
	})
}
