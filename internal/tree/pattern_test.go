package tree

import (
	"strings"
	"testing"

	"strongroom/internal/fault"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, yes, no string
	}{
		{"a.txt", "a.txt x/a.txt x/y/a.txt", "a.txt/x b.txt xa.txt"},
		{"*.txt", "a.txt x/.txt", "a.txts txt"},
		{"/a.txt", "a.txt", "x/a.txt"},
		{"x/a.txt", "x/a.txt", "y/x/a.txt a.txt"},
		{"x/", "x y/x", "xx"},
		{"x/*", "x/a", "x x/a/b"},
		{"x/**", "x x/a x/a/b", "y"},
		{"**/b", "b a/b a/a/b", "b/a"},
		{"x/**/b/**/c", "x/b/c x/1/2/b/3/c x/b/b/c", "x/c b/c x/b/d"},
		{"[ab]?", "ab bz q/ax", "cb abc"},
		{`\*`, "*", "a"},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(c.yes) {
			if !p.Matches(name) {
				t.Errorf("%q does not match %q", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if p.Matches(name) {
				t.Errorf("%q matches %q", c.pattern, name)
			}
		}
		if p.Matches("") {
			t.Errorf("%q matches the root", c.pattern)
		}
	}
	for _, bad := range []string{"", "/", "a//b", "[", "../x", "a/./b"} {
		if _, err := ParsePattern(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzPatternsNeitherFailNorHang(f *testing.F) {
	f.Add("**/a*/**/b", "a/b/a/b/a/c")
	f.Add("[a-z]?", "q/ax")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		if p.Matches(name) && name == "" {
			t.Error("the root was matched")
		}
		if !strings.ContainsAny(pattern, `*?[\`) && !strings.Contains(pattern, "/") && !p.Matches("x/"+pattern) {
			t.Errorf("%q does not match itself", pattern)
		}
	})
}

func TestBlocksAreDeclaredByPatternAndSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"*.img": DefaultBlock, "*.img=4K": 4 << 10, "/a/*.img=8192": 8192, "**=1M": 1 << 20} {
		b, err := ParseBlocks(text)
		if err != nil || BlocksOf([]Blocks{b}, "a/x.img") != want || BlocksOf([]Blocks{b}, "") != 0 {
			t.Errorf("%q: %v, %d", text, err, BlocksOf([]Blocks{b}, "a/x.img"))
		}
	}
	first, _ := ParseBlocks("a/*=8K")
	second, _ := ParseBlocks("*.img=64K")
	for name, want := range map[string]int{"a/x.img": 8 << 10, "b/x.img": 64 << 10, "b/x": 0} {
		if got := BlocksOf([]Blocks{first, second}, name); got != want {
			t.Errorf("%s: blocks of %d, not %d", name, got, want)
		}
	}
	for _, text := range []string{"", "*.img=", "*.img=K", "*.img=3K", "*.img=2K", "*.img=2M", "*.img=-4K", "*.img=4KM", "[=4K", "=4K"} {
		if b, err := ParseBlocks(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q was taken for %+v", text, b)
		}
	}
}
