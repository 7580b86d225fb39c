package main

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

// smallFiles gathers real small files from the Go toolchain, its module cache and the system's headers and documentation
// until there are enough. The copy is kept between runs.
func smallFiles(dir string, want int64) (corpus, error) {
	c := corpus{name: "small files", path: dir}
	if _, err := os.Stat(filepath.Join(dir, ".complete")); err == nil {
		return c, c.measure()
	}
	os.RemoveAll(dir)
	sources, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE").Output()
	if err != nil {
		return c, err
	}
	roots := append(strings.Fields(string(sources)), "/usr/include", "/usr/share", "/usr/lib")
	var total int64
	for i, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || total >= want {
				return fs.SkipAll
			}
			info, err := d.Info()
			if err != nil || !info.Mode().IsRegular() || info.Size() > 256<<10 || info.Size() == 0 {
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
			return c, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".complete"), nil, 0o644); err != nil {
		return c, err
	}
	return c, c.measure()
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

// mixedFiles makes large files: a third like a disk image (real small files one after another, with holes of zeros), a
// third like a database (records of 8 KiB, half empty), a third that does not compress.
func mixedFiles(dir string, want int64, small string) (corpus, error) {
	c := corpus{name: "mixed large files", path: dir}
	if _, err := os.Stat(filepath.Join(dir, ".complete")); err == nil {
		return c, c.measure()
	}
	os.RemoveAll(dir)
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
	if err := os.WriteFile(filepath.Join(dir, ".complete"), nil, 0o644); err != nil {
		return c, err
	}
	return c, c.measure()
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

func (c *corpus) measure() error {
	return filepath.WalkDir(c.path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		c.files++
		c.bytes += info.Size()
		return nil
	})
}

// warm reads a tree once, so that every tool finds it in the page cache.
func warm(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
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
