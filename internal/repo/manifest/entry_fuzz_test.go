package manifest

import (
	"bytes"
	"context"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
	"strongroom/test/bound"
)

// FuzzEntry decodes one entry without its path.
func FuzzEntry(f *testing.F) {
	for _, n := range []Node{
		{Entry: tree.Entry{Type: tree.Dir, Mode: 0o1777, UID: 1, GID: 2, User: "u", Group: "g", Mtime: -1, Ctime: 5, Nlink: 2, Dev: 3, Ino: 4}},
		{Entry: tree.Entry{Type: tree.Symlink, Link: "../x"}},
		{Entry: tree.Entry{Type: tree.BlockDev, Rdev: 259, Problem: "why"}},
		{Entry: tree.Entry{Type: tree.File, Size: 3, Xattrs: []tree.Xattr{{Name: "user.x", Value: []byte("y")}}}, Content: Content{Kind: Inline, Data: []byte("abc")}},
		{Entry: tree.Entry{Type: tree.File, Size: 8192, Extents: []tree.Extent{{Off: 4096, Len: 7}}}, Content: Content{Kind: Slice, Off: 9, Refs: []Ref{{Size: 7}}}},
		{Entry: tree.Entry{Type: tree.File, Size: 9, Hardlink: "a"}},
		{Entry: tree.Entry{Type: tree.File, Size: 30}, Content: Content{Kind: Chunks, Refs: []Ref{{Size: 10}, {Size: 20}}}},
		{Entry: tree.Entry{Type: tree.File, Size: 1 << 40, Problem: "gone"}, Content: Content{Kind: Lists, Depth: 1, Refs: []Ref{{Size: 1 << 39}}}},
	} {
		n.Path = "path"
		var e seal.Encoder
		n.encode(&e)
		f.Add(e.B)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		bound.Allocation(t, func() {
			n := Node{Entry: tree.Entry{Path: "path"}}
			d := &seal.Decoder{B: b}
			if n.decode(d); d.Done() != nil || n.Validate() != nil {
				return
			}
			var e seal.Encoder
			if n.encode(&e); !bytes.Equal(e.B, b) {
				t.Fatal("two encodings")
			}
		})
	})
}

// FuzzCursor reads a manifest of which the root page and every other page say what they like.
func FuzzCursor(f *testing.F) {
	p := pages{}
	root := build(f, p, big(600, nil))
	for h, b := range p {
		if h != root {
			f.Add(p[root], b, "d")
		}
	}
	f.Fuzz(func(t *testing.T, rootPage, other []byte, path string) {
		bound.Allocation(t, func() {
			first := true
			c := NewCursor(func(context.Context, seal.Hash, bool) ([]byte, error) {
				if first {
					first = false
					return rootPage, nil
				}
				return other, nil
			}, seal.Hash{})
			if c.Seek(t.Context(), path) != nil {
				return
			}
			last, any := "", false
			for range 100_000 {
				n, err := c.Next(t.Context())
				if err != nil {
					if !fault.Is(err, fault.Corrupt) {
						t.Fatal(err)
					}
					return
				}
				if n == nil {
					return
				}
				if any && !tree.Less(last, n.Path) {
					t.Fatalf("%q after %q", n.Path, last)
				}
				last, any = n.Path, true
			}
			t.Fatal("no end")
		})
	})
}
