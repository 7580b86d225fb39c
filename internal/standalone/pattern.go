package standalone

import (
	"context"
	"path"
	"strings"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/tree"
)

// Pattern selects paths of a recovery point. Elements match as in path.Match: * and ? stand for anything but a slash, [...]
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

// matching lists the paths that the patterns select, without what lies below another one. A pattern that selects nothing is
// fault.NotFound.
func matching(ctx context.Context, p *repo.Point, texts []string) ([]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	patterns := make([]Pattern, len(texts))
	for i, t := range texts {
		var err error
		if patterns[i], err = ParsePattern(t); err != nil {
			return nil, err
		}
	}
	var out []string
	used := make([]bool, len(patterns))
	err := p.Walk(ctx, "", func(e *tree.Entry) error {
		hit := false
		for i, pattern := range patterns {
			if pattern.Matches(e.Path) {
				hit, used[i] = true, true
			}
		}
		if hit && (len(out) == 0 || !within(e.Path, out[len(out)-1])) {
			out = append(out, e.Path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, ok := range used {
		if !ok {
			return nil, fault.New(fault.NotFound, "nothing in the recovery point matches %q", texts[i])
		}
	}
	return out, nil
}
