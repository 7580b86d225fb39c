package manifest

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
	"strongroom/test/bound"
)

// pages keeps pages and lists in memory.
type pages map[seal.Hash][]byte

func (p pages) put(b []byte, _ bool) (seal.Hash, error) {
	h := chunk.Sum(b)
	p[h] = bytes.Clone(b)
	return h, nil
}

func (p pages) fetch(_ context.Context, h seal.Hash, _ bool) ([]byte, error) {
	if b, ok := p[h]; ok {
		return b, nil
	}
	return nil, fault.New(fault.Corrupt, "no page %x", h[:4])
}

func build(t interface{ Fatal(...any) }, p pages, nodes []Node) seal.Hash {
	b := NewBuilder(p.put)
	for i := range nodes {
		if err := b.Add(&nodes[i]); err != nil {
			t.Fatal(err)
		}
	}
	root, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func drawNode(t *rapid.T, path string) Node {
	n := Node{Entry: tree.Entry{
		Path: path, Type: tree.Type(rapid.IntRange(1, 7).Draw(t, "type")), Mode: uint32(rapid.IntRange(0, 0o7777).Draw(t, "mode")),
		UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"), User: rapid.StringN(0, 5, 20).Draw(t, "user"),
		Mtime: rapid.Int64().Draw(t, "mtime"), Ctime: rapid.Int64().Draw(t, "ctime"), Nlink: rapid.Uint32().Draw(t, "nlink"),
		Dev: rapid.Uint64().Draw(t, "dev"), Ino: rapid.Uint64().Draw(t, "ino"),
	}}
	if rapid.Bool().Draw(t, "rich") {
		n.Group, n.Rdev, n.Link = "staff", rapid.Uint64().Draw(t, "rdev"), rapid.String().Draw(t, "link")
		n.Problem = rapid.SampledFrom([]string{"", "permission denied"}).Draw(t, "problem")
		for range rapid.IntRange(0, 3).Draw(t, "xattrs") {
			n.Xattrs = append(n.Xattrs, tree.Xattr{Name: rapid.String().Draw(t, "name"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value")})
		}
	}
	if n.Type != tree.File {
		return n
	}
	switch n.Content.Kind = ContentKind(rapid.IntRange(0, 4).Draw(t, "content")); n.Content.Kind {
	case Inline:
		n.Content.Data = rapid.SliceOfN(rapid.Byte(), 1, MaxInline).Draw(t, "data")
	case Slice:
		n.Content.Off = rapid.Uint32().Draw(t, "off")
		n.Content.Refs = []Ref{{Hash: seal.Hash{1}, Size: rapid.Uint64Range(1, 1<<20).Draw(t, "size")}}
	case Chunks, Lists:
		if n.Content.Kind == Lists {
			n.Content.Depth = byte(rapid.IntRange(1, 3).Draw(t, "depth"))
		}
		for range rapid.IntRange(1, 5).Draw(t, "refs") {
			n.Content.Refs = append(n.Content.Refs, Ref{Hash: seal.Hash{2}, Size: rapid.Uint64Range(1, 1<<30).Draw(t, "size")})
		}
	}
	n.Size = n.Content.Len()
	if n.Size == 0 && rapid.Bool().Draw(t, "hole") {
		n.Size, n.Extents = 4096, []tree.Extent{}
	} else if n.Size > 1 && rapid.Bool().Draw(t, "sparse") {
		n.Extents = []tree.Extent{{Off: 10, Len: 1}, {Off: 4096, Len: n.Size - 1}}
		n.Size += 8192
	}
	return n
}

func TestAManifestReadsBackAsItWasBuilt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z.]{1,3}( |-|\x01|ä|[A-Z]{1,2})?[b-c]`)
		path := rapid.Custom(func(t *rapid.T) string {
			s := name.Draw(t, "name")
			for rapid.IntRange(0, 2).Draw(t, "deeper") > 0 {
				s += "/" + name.Draw(t, "name")
			}
			return s
		})
		paths := append(rapid.SliceOfNDistinct(path, 0, 60, rapid.ID[string]).Draw(t, "paths"), "")
		slices.SortFunc(paths, tree.Compare)
		var nodes []Node
		for _, p := range paths {
			nodes = append(nodes, drawNode(t, p))
		}
		p := pages{}
		root := build(t, p, nodes)
		c := NewCursor(p.fetch, root)
		for i := range nodes {
			got, err := c.Next(context.Background())
			if err != nil || got == nil {
				t.Fatalf("node %d: %v, %v", i, got, err)
			}
			if !reflect.DeepEqual(*got, nodes[i]) {
				t.Fatalf("node %d reads back as\n%#v\nwas\n%#v", i, *got, nodes[i])
			}
		}
		if got, err := c.Next(context.Background()); got != nil || err != nil {
			t.Fatalf("after the end: %v, %v", got, err)
		}
		want := rapid.SampledFrom(paths).Draw(t, "lookup")
		if err := c.Seek(context.Background(), want); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Next(context.Background()); err != nil || got.Path != want {
			t.Fatalf("seek to %q found %v, %v", want, got, err)
		}
	})
}

func big(n int, skip func(int) bool) []Node {
	nodes := []Node{{Entry: tree.Entry{Type: tree.Dir}}}
	for i := range n {
		if skip == nil || !skip(i) {
			nodes = append(nodes, Node{Entry: tree.Entry{Path: fmt.Sprintf("f%07d", i), Type: tree.Fifo, Ino: uint64(i)}})
		}
	}
	return nodes
}

func TestManifestsThatDifferInOneEntryShareNearlyAllPages(t *testing.T) {
	t.Parallel()
	const n = 100_000
	p := pages{}
	build(t, p, big(n, nil))
	before := len(p)
	root := build(t, p, big(n, func(i int) bool { return i == 50_000 }))
	if added := len(p) - before; added > 6 {
		t.Errorf("%d of %d pages are new", added, before)
	}
	reads := 0
	c := NewCursor(func(ctx context.Context, h seal.Hash, l bool) ([]byte, error) { reads++; return p.fetch(ctx, h, l) }, root)
	if err := c.Seek(t.Context(), "f0077777"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Next(t.Context()); err != nil || got.Path != "f0077777" || reads > 4 {
		t.Fatalf("found %v with %d reads, %v", got, reads, err)
	}
}

func TestLongListsOfChunksComeBackInOrder(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 64, 65, 3000, 200_000} {
		p := pages{}
		b := NewListBuilder(p.put)
		for i := range n {
			if err := b.Add(Ref{Hash: chunk.Sum(fmt.Append(nil, i)), Size: uint64(i + 1)}); err != nil {
				t.Fatal(err)
			}
		}
		c, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		err = EachChunk(t.Context(), p.fetch, &c, func(r Ref) error {
			if r.Size != uint64(i+1) || r.Hash != chunk.Sum(fmt.Append(nil, i)) {
				t.Fatalf("chunk %d is %v", i, r)
			}
			i++
			return nil
		}, nil)
		if err != nil || i != n || c.Len() != int64(n)*int64(n+1)/2 || len(c.Refs) > directRefs {
			t.Fatalf("%d chunks of %d, %v", i, n, err)
		}
	}
}

func TestASourceOutOfOrderIsRefused(t *testing.T) {
	t.Parallel()
	for _, paths := range [][]string{{"a"}, {"", "b", "a"}, {"", "a", "a"}, {"", ""}, {"", "a-b", "a/b"}, {"", "../x"}, {"", "a//b"}} {
		b := NewBuilder(pages{}.put)
		var err error
		for _, p := range paths {
			if err == nil {
				err = b.Add(&Node{Entry: tree.Entry{Path: p, Type: tree.Dir}})
			}
		}
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", paths, err)
		}
	}
}

// encodePage writes a decoded page again.
func encodePage(p *Page) []byte {
	w := &pageWriter{level: p.Level}
	for i := range p.Nodes {
		w.path(p.Nodes[i].Path)
		p.Nodes[i].encode(&w.body)
	}
	for _, c := range p.Children {
		w.path(c.First)
		w.body.Raw(c.Hash[:])
		w.body.Uint(c.Entries)
		w.body.Uint(c.Bytes)
	}
	return w.page()
}

func FuzzDecodePage(f *testing.F) {
	p := pages{}
	build(f, p, big(30, nil))
	nodes := []Node{{Entry: tree.Entry{Type: tree.Dir}}}
	kinds := []Node{
		{Entry: tree.Entry{Path: "a", Type: tree.File, Size: 3, Xattrs: []tree.Xattr{{Name: "user.x", Value: []byte("y")}}}, Content: Content{Kind: Inline, Data: []byte("abc")}},
		{Entry: tree.Entry{Path: "b", Type: tree.File, Size: 8192, Extents: []tree.Extent{{Off: 4096, Len: 7}}}, Content: Content{Kind: Slice, Off: 9, Refs: []Ref{{Size: 7}}}},
		{Entry: tree.Entry{Path: "c", Type: tree.File, Size: 9, Hardlink: "b"}},
		{Entry: tree.Entry{Path: "d", Type: tree.File, Size: 1 << 40, Problem: "gone"}, Content: Content{Kind: Lists, Depth: 1, Refs: []Ref{{Size: 1 << 39}}}},
	}
	build(f, p, append(nodes, kinds...))
	for _, b := range p {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		bound.Allocation(t, func() {
			p, err := DecodePage(b)
			if err != nil {
				if !fault.Is(err, fault.Corrupt) {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(encodePage(p), b) {
				t.Fatal("the page has two encodings")
			}
		})
	})
}

func FuzzDecodeList(f *testing.F) {
	p := pages{}
	b := NewListBuilder(p.put)
	for i := range 300 {
		b.Add(Ref{Hash: chunk.Sum(fmt.Append(nil, i)), Size: 7})
	}
	b.Finish()
	for _, x := range p {
		f.Add(x, byte(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, depth byte) {
		bound.Allocation(t, func() {
			refs, err := DecodeList(b, depth)
			if err == nil {
				e := seal.Encoder{B: []byte{version, depth}}
				if encodeRefs(&e, refs); !bytes.Equal(e.B, b) {
					t.Fatal("the list has two encodings")
				}
			}
		})
	})
}
