// Package repotest has trees in memory for tests of the vault engine: a source that yields them, a target that receives
// them, and random ones with everything that real file systems are bad at.
//
// Start with Tree; New fills one from a seed.
package repotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"strongroom/internal/tree"
)

// File is an entry with its content. For a sparse file Data holds the bytes of the extents only.
type File struct {
	tree.Entry
	Data []byte
	// Broken makes opening fail, Short cuts the content and Changed makes Check report a problem.
	Broken, Changed bool
	Short           int
}

// Tree is a tree in memory. As a Source it may be walked several times at once.
type Tree struct {
	Files map[string]*File
	Opens atomic.Int64 // how many contents were opened
}

// New returns a tree with only a root.
func New() *Tree {
	t := &Tree{Files: map[string]*File{}}
	t.Add(File{Entry: tree.Entry{Type: tree.Dir, Mode: 0o755}})
	return t
}

// Add puts an entry into the tree, with plausible metadata where it has none.
func (t *Tree) Add(f File) *File {
	if f.Type == tree.File && f.Extents == nil && f.Hardlink == "" {
		f.Size = int64(len(f.Data))
	}
	if f.Ino == 0 {
		f.Ino = uint64(len(t.Files) + 1)
	}
	if f.Nlink == 0 {
		f.Nlink = 1
	}
	if f.Mtime == 0 {
		f.Mtime, f.Ctime = 1_700_000_000_000_000_001, 1_700_000_000_000_000_002
	}
	t.Files[f.Path] = &f
	return &f
}

// Write replaces a file's content, as an editor would.
func (t *Tree) Write(path string, data []byte) {
	f := t.Files[path]
	f.Data, f.Size, f.Extents = data, int64(len(data)), nil
	f.Mtime++
	f.Ctime++
}

// Clone returns an independent copy.
func (t *Tree) Clone() *Tree {
	c := &Tree{Files: map[string]*File{}}
	for p, f := range t.Files {
		g := *f
		c.Files[p] = &g
	}
	return c
}

// Paths returns all paths in tree order.
func (t *Tree) Paths() []string { return slices.SortedFunc(maps.Keys(t.Files), tree.Compare) }

// Walk implements tree.Source.
func (t *Tree) Walk(ctx context.Context, emit func(tree.Item) error) error {
	for _, p := range t.Paths() {
		f := t.Files[p]
		it := tree.Item{Entry: f.Entry}
		if f.Type == tree.File && f.Hardlink == "" {
			it.Open = func(context.Context) (tree.Content, error) {
				t.Opens.Add(1)
				if f.Broken {
					return nil, errors.New("permission denied")
				}
				return &content{f: f, r: bytes.NewReader(f.Data[:len(f.Data)-f.Short])}, nil
			}
		}
		if err := emit(it); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type content struct {
	f *File
	r io.Reader
}

func (c *content) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c *content) Close() error               { return nil }
func (c *content) Extents() []tree.Extent     { return c.f.Extents }
func (c *content) Check() (tree.Entry, string) {
	if c.f.Changed {
		return c.f.Entry, "changed while it was read"
	}
	return c.f.Entry, ""
}

// Target receives a tree. Refuse names paths that it will not create.
type Target struct {
	Refuse map[string]bool

	mu       sync.Mutex
	tree     *Tree
	open     int
	finished bool
}

// NewTarget returns an empty target.
func NewTarget() *Target { return &Target{tree: &Tree{Files: map[string]*File{}}} }

// Create implements tree.Target.
func (t *Target) Create(_ context.Context, e *tree.Entry) (tree.Writer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Refuse[e.Path] {
		return nil, fmt.Errorf("create: %w", &tree.Refused{Path: e.Path, Reason: "refused by the test"})
	}
	if t.tree.Files[e.Path] != nil {
		return nil, fmt.Errorf("%q is created twice", e.Path)
	}
	if e.Path != "" {
		parent := ""
		if i := bytes.LastIndexByte([]byte(e.Path), '/'); i >= 0 {
			parent = e.Path[:i]
		}
		if p := t.tree.Files[parent]; p == nil || p.Type != tree.Dir {
			return nil, fmt.Errorf("%q is created before its directory", e.Path)
		}
	}
	f := &File{Entry: *e}
	t.tree.Files[e.Path] = f
	if e.Type != tree.File || e.Hardlink != "" {
		return nil, nil
	}
	t.open++
	f.Data = make([]byte, e.Size)
	return &writer{t: t, f: f}, nil
}

// Finish implements tree.Target.
func (t *Target) Finish(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open != 0 || t.finished {
		return fmt.Errorf("%d files are open at the end", t.open)
	}
	t.finished = true
	return nil
}

type writer struct {
	t *Target
	f *File
}

func (w *writer) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(w.f.Data)) {
		return 0, fmt.Errorf("%q: write of %d at %d of %d", w.f.Path, len(p), off, len(w.f.Data))
	}
	return copy(w.f.Data[off:], p), nil
}

func (w *writer) Discard() error {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	w.t.open--
	delete(w.t.tree.Files, w.f.Path)
	return nil
}

func (w *writer) Close() error {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	w.t.open--
	return nil
}

// whole returns a file's content with its holes.
func whole(f *File) []byte {
	if f.Extents == nil {
		return f.Data
	}
	p := make([]byte, f.Size)
	data := f.Data
	for _, x := range f.Extents {
		n := copy(p[x.Off:x.Off+x.Len], data)
		data = data[n:]
	}
	return p
}

// Diff says how what was restored differs from the tree; "" if it does not. only, if not nil, limits it to some paths.
func (t *Tree) Diff(got *Target, only func(string) bool) string {
	if !got.finished {
		return "the target was not finished"
	}
	for p, f := range t.Files {
		if only != nil && !only(p) {
			continue
		}
		g := got.tree.Files[p]
		if g == nil {
			return fmt.Sprintf("%q is missing", p)
		}
		if a, b := fmt.Sprintf("%+v", f.Entry), fmt.Sprintf("%+v", g.Entry); a != b {
			return fmt.Sprintf("%q: %s became %s", p, a, b)
		}
		if f.Type == tree.File && f.Hardlink == "" && !bytes.Equal(whole(f), g.Data) {
			return fmt.Sprintf("%q: the content differs", p)
		}
	}
	for p := range got.tree.Files {
		if t.Files[p] == nil || only != nil && !only(p) {
			return fmt.Sprintf("%q was not asked for", p)
		}
	}
	return ""
}

// Files returns what the target holds.
func (t *Target) Files() map[string]*File { return t.tree.Files }
