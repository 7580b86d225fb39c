package repo_test

import (
	"bytes"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

// flat is what a file reads as.
func flat(f *repotest.File) []byte {
	if f.Extents == nil {
		return f.Data
	}
	out := make([]byte, f.Size)
	rest := f.Data
	for _, x := range f.Extents {
		copy(out[x.Off:x.Off+x.Len], rest)
		rest = rest[x.Len:]
	}
	return out
}

func TestBrowserReadsWhatTheTreeHeld(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.Random(5, 250)
	tr.Add(repotest.File{Entry: tree.Entry{Path: "large", Type: tree.File}, Data: repotest.Noise(rand.New(rand.NewPCG(1, 2)), 5<<20)})
	backup(t, r, tr, "one", "")
	for _, cache := range []int{0, 8 << 20} {
		b := point(t, r, "one").Browse(repo.NewBrowseCache(cache))
		children := map[string][]string{}
		for _, p := range tr.Paths() {
			if p != "" {
				dir := strings.TrimPrefix(path.Dir("/"+p), "/")
				children[dir] = append(children[dir], p)
			}
		}
		rnd := rand.New(rand.NewPCG(9, 9))
		for _, p := range tr.Paths() {
			f := tr.Files[p]
			e, err := b.Lookup(t.Context(), p)
			must(t, err)
			if e.Ino != f.Ino {
				t.Fatalf("%q: %+v", p, e)
			}
			if f.Type == tree.Dir {
				var got []string
				for after := ""; ; {
					es, err := b.Children(t.Context(), p, after, 7)
					must(t, err)
					if len(es) == 0 {
						break
					}
					for _, e := range es {
						got = append(got, e.Path)
					}
					after = got[len(got)-1]
				}
				if !slices.Equal(got, children[p]) {
					t.Fatalf("in %q: %q, want %q", p, got, children[p])
				}
				continue
			}
			if f.Type != tree.File {
				_, err := b.Open(t.Context(), p)
				wantKind(t, err, fault.Invalid)
				continue
			}
			o, err := b.Open(t.Context(), p)
			must(t, err)
			first := f
			if f.Hardlink != "" {
				first = tr.Files[f.Hardlink]
			}
			want := flat(first)
			for range 3 {
				off := rnd.Int64N(int64(len(want)) + 2)
				buf := bytes.Repeat([]byte{0xee}, rnd.IntN(300_000))
				n, err := o.ReadAt(t.Context(), buf, off)
				must(t, err)
				part := want[min(off, int64(len(want))):]
				if part = part[:min(len(buf), len(part))]; n != len(part) || !bytes.Equal(buf[:n], part) {
					t.Fatalf("%q at %d: %d bytes differ", p, off, n)
				}
			}
		}
		_, err := b.Lookup(t.Context(), "nowhere")
		wantKind(t, err, fault.NotFound)
		_, err = b.Children(t.Context(), "nowhere", "", 9)
		wantKind(t, err, fault.NotFound)
	}
}

func TestBrowserNeverReturnsDamagedBytes(t *testing.T) {
	t.Parallel()
	s := mem.New()
	r := create(t, s, vaultA)
	tr := repotest.New()
	content := repotest.Noise(rand.New(rand.NewPCG(3, 4)), 12<<20)
	tr.Add(repotest.File{Entry: tree.Entry{Path: "f", Type: tree.File}, Data: content})
	backup(t, r, tr, "one", "")
	must(t, r.Close())
	var packs []blob.Info
	must(t, s.List(t.Context(), "packs/", func(i blob.Info) error { packs = append(packs, i); return nil }))
	for _, p := range packs {
		data, err := blob.Get(t.Context(), s, p.Name, 1<<30)
		must(t, err)
		data = bytes.Clone(data)
		data[len(data)/3] ^= 1
		must(t, s.Delete(t.Context(), p.Name))
		must(t, s.Put(t.Context(), p.Name, data))
	}
	r = open(t, s, vaultA)
	defer r.Close()
	f, err := point(t, r, "one").Browse(repo.NewBrowseCache(1<<20)).Open(t.Context(), "f")
	must(t, err)
	damaged := 0
	for off := 0; off < len(content); off += 64 << 10 {
		buf := make([]byte, 64<<10)
		switch n, err := f.ReadAt(t.Context(), buf, int64(off)); {
		case fault.Is(err, fault.Corrupt):
			damaged++
		case err != nil:
			t.Fatal(err)
		case !bytes.Equal(buf[:n], content[off:off+n]):
			t.Fatalf("wrong bytes at %d", off)
		}
	}
	if damaged == 0 || damaged > 100 {
		t.Errorf("%d reads failed", damaged)
	}
}

// An entry that says more than its content holds is no file that ends early.
func TestBrowserRefusesWhatWasNotRead(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.New()
	tr.Add(repotest.File{Entry: tree.Entry{Path: "gone", Type: tree.File}, Data: []byte("it was here"), Broken: true})
	backup(t, r, tr, "one", "")
	f, err := point(t, r, "one").Browse(repo.NewBrowseCache(0)).Open(t.Context(), "gone")
	must(t, err)
	_, err = f.ReadAt(t.Context(), make([]byte, 4), 0)
	wantKind(t, err, fault.Corrupt)
}
