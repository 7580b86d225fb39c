package standalone

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
