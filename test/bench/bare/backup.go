package main

import (
	"io"
	"os"
	"path/filepath"
	"sync"

	"strongroom/internal/durable"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

const (
	smallFile = 256 << 10
	bundle    = 1 << 20
	segment   = 64 << 20
	packSize  = 16 << 20
	piece     = 2 << 20
)

// walk lists a tree and emits its content in parts.
func walk(tree string, emit func(part) error) error {
	_, err := walkDirs(tree, emit)
	return err
}

func walkDirs(tree string, emit func(part) error) (dirs []file, err error) {
	var open part
	var list func(dir string) error
	list = func(dir string) error {
		entries, err := os.ReadDir(filepath.Join(tree, dir))
		if err != nil {
			return err
		}
		for _, d := range entries {
			info, err := d.Info()
			if err != nil {
				return err
			}
			f := file{filepath.Join(dir, d.Name()), info.Mode(), info.Size(), info.ModTime().UnixNano()}
			switch {
			case d.IsDir():
				dirs = append(dirs, f)
				if err := list(f.Path); err != nil {
					return err
				}
			case !info.Mode().IsRegular():
			case f.Size <= smallFile:
				open.Files = append(open.Files, f)
				if open.Len += f.Size; open.Len >= bundle || len(open.Files) >= 1024 {
					if err := emit(open); err != nil {
						return err
					}
					open = part{}
				}
			default:
				for off := int64(0); off < f.Size; off += segment {
					if err := emit(part{[]file{f}, off, min(segment, f.Size-off)}); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
	if err := list(""); err != nil {
		return nil, err
	}
	if len(open.Files) > 0 {
		return dirs, emit(open)
	}
	return dirs, nil
}

// storing is a running backup.
type storing struct {
	store  string
	cutter *chunk.Cutter

	mu sync.Mutex
	c  catalog
}

func backup(store, tree string) error {
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	s := &storing{store: store, cutter: chunk.NewCutter(chunk.Params{Min: 64 << 10, Avg: 256 << 10, Max: 1 << 20}, [32]byte{1})}
	s.c.Where = map[seal.Hash]frame{}
	err := workers(processors()+1, func(emit func(part) error) (err error) {
		s.c.Dirs, err = walkDirs(tree, emit)
		return err
	}, func(int) (func(part) error, func() error) {
		w := &storer{s: s, tree: tree, codec: chunk.NewCodec(), buf: make([]byte, 4<<20), packs: packWriter{s: s}}
		return w.part, w.packs.close
	})
	if err != nil {
		return err
	}
	return s.c.save(store)
}

// storer is one worker.
type storer struct {
	s     *storing
	tree  string
	codec *chunk.Codec
	buf   []byte
	out   []byte
	packs packWriter
}

func (w *storer) part(p part) error {
	var refs []seal.Hash
	add := func(data []byte) error {
		h := chunk.Sum(data)
		refs = append(refs, h)
		return w.store(h, data)
	}
	var err error
	if p.Len > 0 && len(p.Files) == 1 && p.Files[0].Size > smallFile {
		err = w.large(p, add)
	} else {
		err = w.small(p, add)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.c.Parts, w.s.c.Refs = append(w.s.c.Parts, p), append(w.s.c.Refs, refs)
	return err
}

func (w *storer) small(p part, add func([]byte) error) error {
	n := 0
	for _, f := range p.Files {
		in, err := os.Open(filepath.Join(w.tree, f.Path))
		if err != nil {
			return err
		}
		k, err := io.ReadFull(in, w.buf[n:n+int(f.Size)])
		in.Close()
		if err != nil && f.Size > 0 {
			return err
		}
		n += k
	}
	if n == 0 {
		return nil
	}
	return add(w.buf[:n])
}

func (w *storer) large(p part, add func([]byte) error) error {
	in, err := os.Open(filepath.Join(w.tree, p.Files[0].Path))
	if err != nil {
		return err
	}
	defer in.Close()
	n := 0
	for off, end := p.Off, p.Off+p.Len; ; {
		k, err := in.ReadAt(w.buf[n:n+int(min(int64(len(w.buf)-n), end-off))], off)
		if err != nil && err != io.EOF {
			return err
		}
		n += k
		off += int64(k)
		at := 0
		for n-at >= 1<<20 || off == end && at < n {
			c := w.s.cutter.Cut(w.buf[at:n])
			if err := add(w.buf[at : at+c]); err != nil {
				return err
			}
			at += c
		}
		if off == end {
			return nil
		}
		n = copy(w.buf, w.buf[at:n])
	}
}

func (w *storer) store(h seal.Hash, data []byte) error {
	w.s.mu.Lock()
	_, known := w.s.c.Where[h]
	if !known {
		w.s.c.Where[h] = frame{}
	}
	w.s.mu.Unlock()
	if known {
		return nil
	}
	stored, alg := w.codec.Compress(w.out[:0], data)
	if alg != chunk.Raw {
		w.out = stored
	}
	return w.packs.add(frame{Hash: h, Size: len(data), Alg: alg}, stored)
}

// packWriter fills packs.
type packWriter struct {
	s      *storing
	f      *os.File
	no     int
	off    int64
	sealed []byte
	buf    []byte
	n      int
	full   chan []byte
	free   chan []byte
	done   chan error
}

func (w *packWriter) add(f frame, stored []byte) error {
	if w.f == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	aead, err := key(w.s.store)
	if err != nil {
		return err
	}
	w.sealed = aead.Seal(w.sealed[:0], nonce(w.no, w.off), stored, nil)
	f.Pack, f.Off, f.Sealed = w.no, w.off, len(w.sealed)
	w.s.mu.Lock()
	w.s.c.Where[f.Hash] = f
	w.s.mu.Unlock()
	w.off += int64(len(w.sealed))
	for p := w.sealed; len(p) > 0; {
		k := copy(w.buf[w.n:], p)
		p = p[k:]
		if w.n += k; w.n == len(w.buf) {
			w.full <- w.buf
			w.buf, w.n = <-w.free, 0
		}
	}
	if w.off >= packSize {
		return w.close()
	}
	return nil
}

// open begins a pack, which a goroutine of its own writes.
func (w *packWriter) open() (err error) {
	w.s.mu.Lock()
	w.no = w.s.c.Packs
	w.s.c.Packs++
	w.s.mu.Unlock()
	if w.f, err = create(packName(w.s.store, w.no)); err != nil {
		return err
	}
	if w.free == nil {
		w.free = make(chan []byte, 2)
		w.free <- durable.AlignedBuffer(piece)
		w.buf = durable.AlignedBuffer(piece)
	}
	w.off, w.n = 0, 0
	w.full, w.done = make(chan []byte, 1), make(chan error, 1)
	go func(f *os.File, full <-chan []byte) {
		var off int64
		var err error
		for b := range full {
			if err == nil {
				_, err = f.WriteAt(b, off)
			}
			off += int64(len(b))
			w.free <- b
		}
		w.done <- err
	}(w.f, w.full)
	return nil
}

func (w *packWriter) close() error {
	if w.f == nil {
		return nil
	}
	defer func() { w.f = nil }()
	defer w.f.Close()
	close(w.full)
	if err := <-w.done; err != nil {
		return err
	}
	tail := (w.n + durable.BlockSize - 1) / durable.BlockSize * durable.BlockSize
	if _, err := w.f.WriteAt(w.buf[:tail], w.off-int64(w.n)); err != nil {
		return err
	}
	if err := w.f.Truncate(w.off); err != nil {
		return err
	}
	return w.f.Sync()
}
