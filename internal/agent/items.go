package agent

import (
	"slices"
	"strings"

	"strongroom/internal/fault"
	"strongroom/internal/tree"
)

// maxItems bounds a request; the metadata of a restore job is limited to 200 KB as a whole.
const maxItems = 10000

// items turns the absolute paths of ItemsToRestore into paths of the tree, sorted, without those that lie in another one.
// Names are compared byte for byte; * and ? are ordinary characters of names. nil means everything.
func items(paths []string) ([]string, error) {
	if len(paths) > maxItems {
		return nil, fault.New(fault.Invalid, "ItemsToRestore: at most %d paths", maxItems)
	}
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		rel, ok := strings.CutPrefix(p, "/")
		if !ok {
			return nil, fault.New(fault.Invalid, "ItemsToRestore: %q is not an absolute path", p)
		}
		if rel == "" {
			return nil, nil
		}
		rel = strings.TrimSuffix(rel, "/")
		if rel == "" || !tree.ValidPath(rel) {
			return nil, fault.New(fault.Invalid, "ItemsToRestore: %q has an empty, . or .. element", p)
		}
		out = append(out, rel)
	}
	slices.SortFunc(out, tree.Compare)
	kept := out[:0]
	for _, p := range out {
		if n := len(kept); n > 0 && (p == kept[n-1] || strings.HasPrefix(p, kept[n-1]+"/")) {
			continue
		}
		kept = append(kept, p)
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return kept, nil
}
