package manifest

import (
	"strings"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// What no reader accepts is not written: paths of megabytes, which deep trees can have, must not fill a page.
func TestNoPageIsTooLargeToRead(t *testing.T) {
	t.Parallel()
	build := NewBuilder(func(plain []byte, _ bool) (seal.Hash, error) {
		if _, err := DecodePage(plain); err != nil {
			t.Errorf("a page of %d bytes: %v", len(plain), err)
		}
		return seal.Hash{}, nil
	})
	add := func(path string) error {
		return build.Add(&Node{Entry: tree.Entry{Path: path, Type: tree.Dir}})
	}
	err := add("")
	for _, first := range "abcdef" {
		if err == nil {
			err = add(strings.Repeat(string(first)+"/", 1_500_000) + "x")
		}
	}
	if err == nil {
		_, err = build.Finish()
	}
	if !fault.Is(err, fault.Limit) {
		t.Errorf("got %v, want a limit", err)
	}
}
