package pack

import (
	"bytes"
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
)

// readable returns which frames of a damaged pack can be read.
func readable(t *testing.T, s *mem.Store, d *Dir) (frames []uint32) {
	t.Helper()
	raw := s.Bytes(d.Name())
	for n := range d.Frames {
		if !d.Has(n) {
			continue
		}
		f := d.Frame(n)
		if f.Off+int64(f.Len) > int64(len(raw)) {
			continue
		}
		got, err := d.Open(nil, n, f, raw[f.Off:][:f.Len])
		if err != nil {
			continue
		}
		if !bytes.Equal(got, data(int(n))) {
			t.Fatalf("frame %d is something else", n)
		}
		frames = append(frames, n)
	}
	return frames
}

func TestAPackWithoutAFooterGivesBackAllCompleteGroups(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	s := mem.New()
	info := write(t, s, 2000)
	whole, err := ReadDir(t.Context(), s, root, maint, info)
	if err != nil {
		t.Fatal(err)
	}
	good := s.Bytes(info.Name())
	second := whole.groups[1]
	firstEnd := second.start
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   uint32 // frames
		from   uint32 // that are lost
		to     uint32
	}{
		"nothing damaged":         {func(p []byte) []byte { return p }, 2000, 0, 0},
		"footer":                  {func(p []byte) []byte { p[info.FooterOff+5] ^= 1; return p }, 2000, 0, 0},
		"end":                     {func(p []byte) []byte { p[len(p)-1] ^= 1; return p }, 2000, 0, 0},
		"cut before the end":      {func(p []byte) []byte { return p[:len(p)-1] }, 2000, 0, 0},
		"cut in the footer":       {func(p []byte) []byte { return p[:info.FooterOff+1] }, 2000, 0, 0},
		"cut in the second group": {func(p []byte) []byte { return p[:firstEnd+5000] }, second.first, second.first, 2000},
		"cut in the first group":  {func(p []byte) []byte { return p[:firstEnd-1] }, 0, 0, 2000},
		"salt, one bit":           {func(p []byte) []byte { p[60] ^= 4; return p }, 2000, 0, 0},
		"commitment":              {func(p []byte) []byte { clear(p[80:112]); return p }, 2000, 0, 0},
		"all of the header but the salt": {func(p []byte) []byte {
			clear(p[:48])
			clear(p[80:headerSize])
			return p
		}, 2000, 0, 0},
		"footer and a directory": {func(p []byte) []byte {
			p[info.FooterOff+5] ^= 1
			p[second.start+second.size(whole)+9] ^= 1
			return p
		}, 2000, second.first, second.first + second.frames},
	} {
		m := mem.New()
		m.Damage(info.Name(), c.change(bytes.Clone(good)))
		d, err := OpenDir(t.Context(), m, root, maint, info)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := readable(t, m, d)
		if want := 2000 - int(c.to-c.from); len(got) != want {
			t.Errorf("%s: %d frames, want %d", name, len(got), want)
		}
		for _, n := range got {
			if n >= c.from && n < c.to {
				t.Errorf("%s: frame %d is not lost", name, n)
			}
		}
		// The same without knowing anything of the pack.
		if name == "salt, one bit" || d.Damage() == nil {
			continue
		}
		d, err = Salvage(t.Context(), m, root, maint, info.Class, info.ID)
		if err != nil {
			t.Errorf("%s: salvage: %v", name, err)
			continue
		}
		if got := readable(t, m, d); d.Frames != c.want || len(got) != 2000-int(c.to-c.from) {
			t.Errorf("%s: %d frames of %d are salvaged, want %d", name, len(got), d.Frames, c.want)
		}
	}
}

// size returns how many bytes the frames of a group have.
func (g *group) size(d *Dir) int64 {
	f := d.Frame(g.first + g.frames - 1)
	return f.Off + int64(f.Len) - g.start
}

func TestAPackWhoseKeyIsLostGivesNothingBack(t *testing.T) {
	t.Parallel()
	root, maint := keys(t)
	s := mem.New()
	info := write(t, s, 3)
	for name, change := range map[string]func([]byte) []byte{
		"salt":       func(p []byte) []byte { clear(p[48:80]); return p },
		"all of it":  func(p []byte) []byte { clear(p); return p },
		"cut":        func(p []byte) []byte { return p[:1000] },
		"empty":      func(p []byte) []byte { return p[:0] },
		"other pack": func([]byte) []byte { return s.Bytes(write(t, s, 3).Name()) },
	} {
		m := mem.New()
		m.Damage(info.Name(), change(bytes.Clone(s.Bytes(info.Name()))))
		d, err := OpenDir(t.Context(), m, root, maint, info)
		if err == nil && len(readable(t, m, d)) > 0 || err != nil && !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
