package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/durable"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

func packName(store string, n int) string { return filepath.Join(store, fmt.Sprintf("pack-%06d", n)) }

// create makes a file to be written past the page cache, or through it where the file system wants that.
func create(name string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(name, flags|unix.O_DIRECT, 0o600)
	if errors.Is(err, unix.EINVAL) {
		f, err = os.OpenFile(name, flags, 0o600)
	}
	return f, err
}

// opener reads frames of a store. It is for one worker.
type opener struct {
	store         string
	pack          int
	f             *os.File
	sealed, plain []byte
	codec         *chunk.Codec
}

func newOpener(store string) *opener { return &opener{store: store, pack: -1, codec: chunk.NewCodec()} }

// open reads a frame and returns it as it was compressed.
func (o *opener) open(f frame) ([]byte, error) {
	if o.pack != f.Pack {
		if o.f != nil {
			o.f.Close()
		}
		var err error
		if o.f, err = os.Open(packName(o.store, f.Pack)); err != nil {
			return nil, err
		}
		o.pack = f.Pack
	}
	if cap(o.sealed) < f.Sealed {
		o.sealed = make([]byte, f.Sealed+1<<20)
	}
	sealed := o.sealed[:f.Sealed]
	if _, err := o.f.ReadAt(sealed, f.Off); err != nil {
		return nil, err
	}
	aead, err := key(o.store)
	if err != nil {
		return nil, err
	}
	return aead.Open(sealed[:0], nonce(f.Pack, f.Off), sealed, nil)
}

// read reads a chunk and verifies its hash.
func (o *opener) read(f frame) ([]byte, error) {
	stored, err := o.open(f)
	if err != nil {
		return nil, err
	}
	if cap(o.plain) < f.Size {
		o.plain = make([]byte, 0, f.Size+1<<20)
	}
	plain, ok := o.codec.Decompress(o.plain[:0], stored, f.Alg, f.Size)
	if !ok || chunk.Sum(plain) != f.Hash {
		return nil, fmt.Errorf("a chunk is damaged")
	}
	return plain, nil
}

func (o *opener) close() error {
	if o.f == nil {
		return nil
	}
	return o.f.Close()
}

// eachFrame feeds the frames of a store in the order of the packs, a pack to a worker.
func eachFrame(c *catalog, fn func(worker int) (func([]frame) error, func() error)) error {
	packs := make([][]frame, c.Packs)
	for _, f := range c.Where {
		packs[f.Pack] = append(packs[f.Pack], f)
	}
	return workers(processors(), func(emit func([]frame) error) error {
		for _, p := range packs {
			sort.Slice(p, func(i, j int) bool { return p[i].Off < p[j].Off })
			if err := emit(p); err != nil {
				return err
			}
		}
		return nil
	}, fn)
}

func verify(store string) error {
	c, err := load(store)
	if err != nil {
		return err
	}
	return eachFrame(c, func(int) (func([]frame) error, func() error) {
		o := newOpener(store)
		return func(p []frame) error {
			for _, f := range p {
				if _, err := o.read(f); err != nil {
					return err
				}
			}
			return nil
		}, o.close
	})
}

// copyStore seals every frame under another key. It does not look at what is in it.
func copyStore(store, other string) error {
	c, err := load(store)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(other, 0o700); err != nil {
		return err
	}
	s := &storing{store: other, c: catalog{Dirs: c.Dirs, Parts: c.Parts, Refs: c.Refs, Where: map[seal.Hash]frame{}}}
	err = eachFrame(c, func(int) (func([]frame) error, func() error) {
		o, w := newOpener(store), packWriter{s: s}
		return func(p []frame) error {
			for _, f := range p {
				stored, err := o.open(f)
				if err != nil {
					return err
				}
				if err := w.add(f, stored); err != nil {
					return err
				}
			}
			return nil
		}, func() error { return errors.Join(w.close(), o.close()) }
	})
	if err != nil {
		return err
	}
	return s.c.save(other)
}

// restore writes the tree anew: whole small files, and ranges of large ones past the page cache.
func restore(store, to string) error {
	c, err := load(store)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, d := range c.Dirs {
		if err := os.Mkdir(filepath.Join(to, d.Path), 0o700); err != nil {
			return err
		}
	}
	err = workers(processors(), func(emit func(int) error) error {
		for i := range c.Parts {
			if err := emit(i); err != nil {
				return err
			}
		}
		return nil
	}, func(int) (func(int) error, func() error) {
		o := newOpener(store)
		buf := durable.AlignedBuffer(4 << 20)
		return func(i int) error {
			p := c.Parts[i]
			if len(p.Files) == 1 && p.Files[0].Size > smallFile {
				return o.large(c, p, c.Refs[i], to, buf)
			}
			return o.small(c, p, c.Refs[i], to)
		}, o.close
	})
	if err != nil {
		return err
	}
	for i := len(c.Dirs) - 1; i >= 0; i-- {
		if err := finish(to, c.Dirs[i]); err != nil {
			return err
		}
	}
	d, err := os.Open(to)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

func finish(to string, f file) error {
	name := filepath.Join(to, f.Path)
	if err := os.Chmod(name, f.Mode.Perm()); err != nil {
		return err
	}
	return os.Chtimes(name, time.Time{}, time.Unix(0, f.Time))
}

func (o *opener) small(c *catalog, p part, refs []seal.Hash, to string) error {
	var data []byte
	if len(refs) > 0 {
		var err error
		if data, err = o.read(c.Where[refs[0]]); err != nil {
			return err
		}
	}
	for _, f := range p.Files {
		fd, err := unix.Open(filepath.Join(to, f.Path), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, uint32(f.Mode.Perm()))
		if err != nil {
			return err
		}
		if f.Size > 0 {
			if _, err = unix.Write(fd, data[:f.Size]); err == nil {
				data = data[f.Size:]
			}
		}
		if err == nil {
			err = unix.Futimes(fd, []unix.Timeval{unix.NsecToTimeval(f.Time), unix.NsecToTimeval(f.Time)})
		}
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *opener) large(c *catalog, p part, refs []seal.Hash, to string, buf []byte) error {
	name := filepath.Join(to, p.Files[0].Path)
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_DIRECT, 0o600)
	if errors.Is(err, unix.EINVAL) {
		out, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	}
	if err != nil {
		return err
	}
	defer out.Close()
	if err := unix.Fallocate(int(out.Fd()), 0, 0, p.Files[0].Size); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	off, n := p.Off, 0
	flush := func() error {
		k := (n + durable.BlockSize - 1) / durable.BlockSize * durable.BlockSize
		_, err := out.WriteAt(buf[:k], off)
		off += int64(n)
		n = 0
		return err
	}
	for _, h := range refs {
		data, err := o.read(c.Where[h])
		if err != nil {
			return err
		}
		for len(data) > 0 {
			k := copy(buf[n:], data)
			data = data[k:]
			if n += k; n == len(buf) {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if n > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	if p.Off+p.Len < p.Files[0].Size {
		return nil
	}
	if err := out.Truncate(p.Files[0].Size); err != nil {
		return err
	}
	return finish(to, p.Files[0])
}
