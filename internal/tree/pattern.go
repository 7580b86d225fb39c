package tree

import (
	"path"
	"strconv"
	"strings"

	"strongroom/internal/fault"
)

// Pattern selects paths of a tree. Elements match as in path.Match: * and ? stand for anything but a slash, [...]
// for one of several characters, \ takes a character as it is. A pattern without a slash matches names at any depth. One with
// a slash, also at its beginning only, matches whole paths from the top, where an element ** stands for any number of
// elements, none included.
type Pattern struct {
	text     string
	elements []string
}

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	anchored := strings.Contains(strings.TrimRight(text, "/"), "/")
	trimmed := strings.Trim(text, "/")
	p := Pattern{text: text, elements: strings.Split(trimmed, "/")}
	for _, e := range p.elements {
		if _, err := path.Match(e, ""); err != nil || e == "" || e == "." || e == ".." {
			return Pattern{}, fault.New(fault.Invalid, "%q is not a pattern", text)
		}
	}
	if !anchored {
		p.elements = append([]string{"**"}, p.elements...)
	}
	return p, nil
}

// Matches reports whether the pattern selects a path.
func (p Pattern) Matches(name string) bool {
	return name != "" && matchElements(p.elements, strings.Split(name, "/"))
}

func matchElements(pattern, name []string) bool {
	// Where the last ** stands, and how much it took: going back further never helps.
	star, took := -1, 0
	i, k := 0, 0
	for k < len(name) {
		if i < len(pattern) && pattern[i] == "**" {
			star, took = i, k
			i++
			continue
		}
		if i < len(pattern) {
			if ok, _ := path.Match(pattern[i], name[k]); ok {
				i, k = i+1, k+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		took++
		i, k = star+1, took
	}
	for i < len(pattern) && pattern[i] == "**" {
		i++
	}
	return i == len(pattern)
}

// Blocks declares files that are rewritten in place: volumes and the files of databases. Cut at multiples of one size they
// cost, when they change, what has changed in them; cut by content they would be stored anew almost as a whole.
type Blocks struct {
	Pattern Pattern
	Size    int
}

// Sizes of blocks. The default is measured in docs/decisions/0014-chunk-parameters.md.
const (
	MinBlock     = 4 << 10
	MaxBlock     = 1 << 20
	DefaultBlock = 16 << 10
)

// ParseBlocks reads PATTERN or PATTERN=SIZE, where SIZE is a power of two from 4K to 1M: "*.img", "pgdata/base/**=8K".
func ParseBlocks(text string) (Blocks, error) {
	b := Blocks{Size: DefaultBlock}
	pattern, size, ok := text, "", false
	if i := strings.LastIndexByte(text, '='); i >= 0 {
		pattern, size, ok = text[:i], text[i+1:], true
	}
	if ok {
		unit := 1
		switch {
		case strings.HasSuffix(size, "K"):
			unit = 1 << 10
		case strings.HasSuffix(size, "M"):
			unit = 1 << 20
		}
		n, err := strconv.ParseUint(strings.TrimRight(size, "KM"), 10, 21)
		b.Size = int(n) * unit
		if err != nil || unit > 1 && len(size) < 2 || b.Size < MinBlock || b.Size > MaxBlock || b.Size&(b.Size-1) != 0 {
			return Blocks{}, fault.New(fault.Invalid, "%q: the size of blocks is a power of two from 4K to 1M", text)
		}
	}
	var err error
	b.Pattern, err = ParsePattern(pattern)
	return b, err
}

// BlocksOf returns the size of the blocks that the first rule which matches declares for a path, 0 if there is none.
func BlocksOf(rules []Blocks, name string) int {
	for _, r := range rules {
		if r.Pattern.Matches(name) {
			return r.Size
		}
	}
	return 0
}
