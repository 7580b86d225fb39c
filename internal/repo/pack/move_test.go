package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

// move makes a pack of every third frame of each pack, the first pack's first.
func move(t testing.TB, s *mem.Store, from ...Info) Info {
	t.Helper()
	root, maint := keys(t)
	w, err := NewWriter(context.Background(), s, root, maint, ClassData)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range from {
		d, err := ReadDir(context.Background(), s, root, maint, i)
		if err != nil {
			t.Fatal(err)
		}
		raw := s.Bytes(i.Name())
		for n := uint32(0); n < i.Frames; n += 3 {
			f := d.Frame(n)
			if _, err := w.Move(d, f, raw[f.Off:][:f.Len]); err != nil {
				t.Fatal(err)
			}
		}
	}
	info, err := w.Close(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestMovedFramesKeepTheirBytesAndOpenFromPackToPack(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	s := mem.New()
	a, b := write(t, s, 1500), write(t, s, 900) // two groups of moved frames
	once := move(t, s, a, b)
	mixed, err := NewWriter(t.Context(), s, root, maint, ClassData)
	if err != nil {
		t.Fatal(err)
	}
	var scratch []byte
	own := data(7)
	if _, err := mixed.Append(chunk.Sum(own), root.CID(Data, chunk.Sum(own)), Data, chunk.Raw, len(own), own, &scratch); err != nil {
		t.Fatal(err)
	}
	d, err := ReadDir(t.Context(), s, root, maint, once)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.groups) < 2 || len(d.homes) != 2 {
		t.Fatalf("%d groups, %d origins", len(d.groups), len(d.homes))
	}
	for n := range once.Frames {
		f := d.Frame(n)
		if _, err := mixed.Move(d, f, s.Bytes(once.Name())[f.Off:][:f.Len]); err != nil {
			t.Fatal(err)
		}
	}
	twice, err := mixed.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The packs that the frames were sealed for are not needed any more.
	originals := map[string]bool{}
	for _, i := range []Info{a, b} {
		d, err := ReadDir(t.Context(), s, root, maint, i)
		if err != nil {
			t.Fatal(err)
		}
		for n := range i.Frames {
			f := d.Frame(n)
			originals[string(s.Bytes(i.Name())[f.Off:][:f.Len])] = true
		}
		s.Damage(i.Name(), nil)
	}
	for _, i := range []Info{once, twice} {
		if err := Scrub(t.Context(), s, maint, i, make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDir(t.Context(), s, root, maint, i)
		if err != nil {
			t.Fatal(err)
		}
		skip := i.Frames - 500 - 300 // its own
		for n := range i.Frames {
			want := data(7)
			if n >= skip {
				k := int(n-skip) * 3
				if k >= 1500 {
					k -= 1500
				}
				want = data(k)
			}
			f := d.Frame(n)
			sealed := s.Bytes(i.Name())[f.Off:][:f.Len]
			got, err := d.Open(nil, n, f, sealed)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("frame %d: %v", n, err)
			}
			if n >= skip && !originals[string(sealed)] {
				t.Fatalf("frame %d was sealed anew", n)
			}
			f.number++
			if f.home != nil {
				if _, err := d.Open(nil, n, f, sealed); err == nil {
					t.Fatal("a moved frame opens under another number")
				}
			}
		}
	}
}

// Whoever has lost the footer finds the groups by their trailers; a group says by itself where its frames come from.
func TestAGroupOfMovedFramesIsReadableByItself(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	s := mem.New()
	i := move(t, s, write(t, s, 1500), write(t, s, 900))
	d, err := ReadDir(t.Context(), s, root, maint, i)
	if err != nil {
		t.Fatal(err)
	}
	raw := s.Bytes(i.Name())
	for k, g := range d.groups {
		end := i.FooterOff
		if k+1 < len(d.groups) {
			end = d.groups[k+1].start
		}
		sum := chunk.Sum(raw[:headerSize])
		no := uint32(k)
		trailer, ok := d.key.Open(nil, raw[end-trailerLen:end], partAAD(seal.Trailer, sum, no, g.first, g.start), seal.Trailer, no)
		if !ok || binary.LittleEndian.Uint32(trailer[12:]) != g.frames || binary.LittleEndian.Uint32(trailer[40:]) != g.origins || g.origins == 0 {
			t.Fatalf("trailer %d: %v %x", k, ok, trailer)
		}
		at := int64(binary.LittleEndian.Uint64(trailer[24:]))
		plain, ok := d.key.Open(nil, raw[at:][:g.directory()+seal.Overhead], partAAD(seal.Directory, sum, no, g.first, g.start), seal.Directory, no)
		if !ok {
			t.Fatalf("the directory of group %d does not open", k)
		}
		alone := &Dir{Info: i, root: root, salt: d.salt}
		if _, _, err := alone.group(&group{first: g.first, frames: g.frames, origins: g.origins}, plain, map[origin]*home{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADirectoryThatMisplacesItsFramesIsRefused(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	s := mem.New()
	i := move(t, s, write(t, s, 10), write(t, s, 10))
	d, err := ReadDir(t.Context(), s, root, maint, i)
	if err != nil {
		t.Fatal(err)
	}
	raw := s.Bytes(i.Name())
	good, ok := openFooter(d.key, chunk.Sum(raw[:headerSize]), i, raw[i.FooterOff:][:i.FooterLen])
	if !ok {
		t.Fatal("the footer does not open")
	}
	const table = 24 + footGroup
	first := table + 2*originSize
	for what, change := range map[string]func(p []byte){
		"origins out of order":        func(p []byte) { p[first+46], p[first+4*entrySize+46] = 2, 1 },
		"an origin that is not there": func(p []byte) { p[first+46] = 3 },
		"an origin that nobody has": func(p []byte) {
			copy(p[first+4*entrySize+46:], p[first+46:][:2])
			p[first+5*entrySize+46] = 1
			p[first+6*entrySize+46] = 1
			p[first+7*entrySize+46] = 1
		},
		"an origin twice":                   func(p []byte) { copy(p[table+originSize:], p[table:][:originSize]) },
		"the pack itself as an origin":      func(p []byte) { o := d.self(); copy(p[table:], o.append(nil)) },
		"an own frame under another number": func(p []byte) { p[first+46], p[first+32] = 0, 9 },
		"an impossible number":              func(p []byte) { p[first+34] = 1 },
		"more origins than frames":          func(p []byte) { p[24+16] = 9 },
		"a reserved byte":                   func(p []byte) { p[24+20] = 1 },
	} {
		p := bytes.Clone(good)
		change(p)
		if err := (&Dir{Info: i, root: root, salt: d.salt}).parse(p); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := (&Dir{Info: i, root: root, salt: d.salt}).parse(good); err != nil {
		t.Fatal(err)
	}
}
