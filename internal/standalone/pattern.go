package standalone

import (
	"context"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/tree"
)

// matching lists the paths that the patterns select, without what lies below another one. A pattern that selects nothing is
// fault.NotFound.
func matching(ctx context.Context, p *repo.Point, texts []string) ([]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	patterns := make([]tree.Pattern, len(texts))
	for i, t := range texts {
		var err error
		if patterns[i], err = tree.ParsePattern(t); err != nil {
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
