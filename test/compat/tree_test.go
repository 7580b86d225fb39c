package compat

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"strongroom/internal/tree"
)

// file is one entry of a source with its content; of a sparse file, data holds the bytes of the extents only.
type file struct {
	tree.Entry
	data   []byte
	broken bool // cannot be read
}

// source is a tree in memory, with every detail that a file system of this machine could not be made to have.
type source map[string]*file

func newSource() source {
	s := source{}
	s.add(file{Entry: tree.Entry{Type: tree.Dir, Mode: 0o755}})
	return s
}

func (s source) add(f file) {
	if f.Type == tree.File && f.Extents == nil && f.Hardlink == "" {
		f.Size = int64(len(f.data))
	}
	if f.Ino == 0 {
		f.Ino = uint64(len(s) + 1)
	}
	if f.Mode == 0 {
		f.Mode = 0o644
		if f.Type == tree.Dir {
			f.Mode = 0o750
		}
	}
	f.Nlink = max(f.Nlink, 1)
	if f.Mtime == 0 {
		f.Mtime = 1_700_000_000_123_456_789 + int64(len(s))*1_000_000_007
	}
	f.Ctime, f.Dev = f.Mtime+5, 66
	s[f.Path] = &f
}

// file adds an ordinary file.
func (s source) file(path string, data []byte) {
	s.add(file{Entry: tree.Entry{Path: path, Type: tree.File}, data: data})
}

func (s source) dir(path string) { s.add(file{Entry: tree.Entry{Path: path, Type: tree.Dir}}) }

// write replaces the content of a file.
func (s source) write(path string, data []byte) {
	f := *s[path]
	f.data, f.Size, f.Mtime, f.Ctime = data, int64(len(data)), f.Mtime+1, f.Ctime+1
	s[path] = &f
}

func (s source) Walk(ctx context.Context, emit func(tree.Item) error) error {
	for _, p := range slices.SortedFunc(maps.Keys(s), tree.Compare) {
		f := s[p]
		it := tree.Item{Entry: f.Entry}
		if f.Type == tree.File && f.Hardlink == "" {
			it.Open = func(context.Context) (tree.Content, error) {
				if f.broken {
					return nil, errors.New("input/output error")
				}
				return &content{f, bytes.NewReader(f.data)}, nil
			}
		}
		if err := emit(it); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type content struct {
	f *file
	io.Reader
}

func (c *content) Close() error                { return nil }
func (c *content) Extents() []tree.Extent      { return c.f.Extents }
func (c *content) Check() (tree.Entry, string) { return c.f.Entry, "" }

func noise(n int, seed byte) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// text is what compresses, a little different everywhere.
func text(n int, seed uint64) []byte {
	words := strings.Fields("vault recovery point chunk pack index manifest journal key envelope seal frame group footer refuse restore")
	r := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(" \n"[r.IntN(2)])
	}
	return b.Bytes()[:n]
}
