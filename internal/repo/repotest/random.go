package repotest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"strongroom/internal/tree"
)

// names are element names that have broken backup programs: spaces, newlines, invalid UTF-8, both normal forms, bytes that
// sort around the slash, the longest that is allowed.
var names = [...]string{"a", "a-b", "a.b", "a b", "A", "\n", "\xff\xfe", "é", "é", "-rf", "con", "~", "\x01", "...", "a\\b", "🎒", strings.Repeat("x", 255)}

// Random returns a tree of about n entries made from a seed.
func Random(seed uint64, n int) *Tree {
	r := rand.New(rand.NewPCG(seed, 77))
	t := New()
	dirs := []string{""}
	var files []string
	for i := range n {
		dir := dirs[r.IntN(len(dirs))]
		name := names[r.IntN(len(names))]
		if r.IntN(3) > 0 {
			name = fmt.Sprintf("%.200s%d", name, i)
		}
		path := name
		if dir != "" {
			path = dir + "/" + name
		}
		if t.Files[path] != nil {
			continue
		}
		f := File{Entry: tree.Entry{Path: path, Type: tree.File, Mode: uint32(r.IntN(0o10000)), UID: r.Uint32(), Mtime: r.Int64(), Ctime: r.Int64(), User: "someone"}}
		switch k := r.IntN(20); {
		case k < 3:
			f.Type = tree.Dir
			dirs = append(dirs, path)
		case k == 3:
			f.Type, f.Link = tree.Symlink, "../\xff target"
		case k == 4:
			f.Type, f.Rdev = tree.Type(4+r.IntN(4)), r.Uint64()
		case k == 5 && len(files) > 0:
			first := files[r.IntN(len(files))]
			if !tree.Less(first, path) {
				continue
			}
			g := t.Files[first]
			f.Entry = g.Entry
			f.Path, f.Hardlink = path, first
		case k == 6:
			sparse(r, &f)
		case k == 7:
			f.Xattrs = []tree.Xattr{{Name: "user.empty", Value: []byte{}}, {Name: "security.capability", Value: Noise(r, 20)}}
			f.Data = Content(r)
		default:
			f.Data = Content(r)
		}
		t.Add(f)
		if f.Type == tree.File && f.Hardlink == "" {
			files = append(files, path)
		}
	}
	return t
}

func sparse(r *rand.Rand, f *File) {
	f.Extents = []tree.Extent{}
	for range r.IntN(4) {
		x := tree.Extent{Off: f.Size + int64(r.IntN(100_000)), Len: int64(1 + r.IntN(50_000))}
		if x.Off == f.Size {
			x.Off++
		}
		f.Extents = append(f.Extents, x)
		f.Size = x.Off + x.Len
		f.Data = append(f.Data, Noise(r, int(x.Len))...)
	}
	f.Size += int64(1 + r.IntN(10_000))
}

// Noise returns n random bytes.
func Noise(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// Content returns the content of a file: mostly small, sometimes large, compressible or not, sometimes all zeros.
func Content(r *rand.Rand) []byte {
	n := 0
	switch k := r.IntN(40); {
	case k < 4:
	case k < 10:
		n = 1 + r.IntN(200)
	case k < 36:
		n = r.IntN(20_000)
	case k < 38:
		n = 200_000 + r.IntN(150_000)
	case k < 39:
		n = 1_000_000 + r.IntN(3_000_000)
	default:
		return make([]byte, r.IntN(3_000_000))
	}
	if r.IntN(2) == 0 {
		return Noise(r, n)
	}
	word := Noise(r, 1+r.IntN(40))
	return bytes.Repeat(word, n/len(word)+1)[:n]
}

// Mutate changes about one in every entries of the tree: contents, metadata, removals, additions.
func Mutate(t *Tree, seed uint64, every int) {
	r := rand.New(rand.NewPCG(seed, 78))
	linked := map[string]bool{}
	for _, f := range t.Files {
		linked[f.Hardlink] = true
	}
	for _, p := range t.Paths() {
		f := t.Files[p]
		if f.Type != tree.File || f.Hardlink != "" || linked[p] || r.IntN(every) != 0 {
			continue
		}
		switch r.IntN(4) {
		case 0:
			delete(t.Files, p)
		case 1:
			f.Mode ^= 1
			f.Ctime++
		case 2:
			t.Write(p, Content(r))
		case 3:
			t.Write(p, Content(r))
			if q := p + "+"; len(q) < 255 && t.Files[q] == nil {
				t.Add(File{Entry: tree.Entry{Path: q, Type: tree.File}, Data: Content(r)})
			}
		}
	}
}
