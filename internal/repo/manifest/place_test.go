package manifest

import (
	"context"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

func leaf(paths ...string) []byte {
	p := &Page{}
	for _, path := range paths {
		p.Nodes = append(p.Nodes, Node{Entry: tree.Entry{Path: path, Type: tree.Dir}})
	}
	return encodePage(p)
}

func TestAPageWhosePathsAreOutOfOrderIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := DecodePage(leaf("", "a", "b")); err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{{"b", "a"}, {"a", "a"}, {"a-b", "a/b"}} {
		if _, err := DecodePage(leaf(paths...)); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%q: %v", paths, err)
		}
	}
}

func TestAPageThatBeginsWithAnotherPathIsRefused(t *testing.T) {
	t.Parallel()
	for begins, want := range map[string]bool{"b": true, "c": false} {
		pages := map[seal.Hash][]byte{{1}: leaf("", "a"), {2}: leaf("c", "d")}
		pages[seal.Hash{3}] = encodePage(&Page{Level: 1, Children: []Child{{First: "", Hash: seal.Hash{1}, Entries: 2}, {First: begins, Hash: seal.Hash{2}, Entries: 2}}})
		c := NewCursor(func(_ context.Context, h seal.Hash, _ bool) ([]byte, error) { return pages[h], nil }, seal.Hash{3})
		var err error
		for n := (&Node{}); n != nil && err == nil; {
			n, err = c.Next(t.Context())
		}
		if fault.Is(err, fault.Corrupt) != want {
			t.Errorf("announced as %q: %v", begins, err)
		}
	}
}
