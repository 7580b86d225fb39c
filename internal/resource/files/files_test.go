package files

import (
	"os"
	"path/filepath"
	"testing"

	"strongroom/internal/resource/resourcetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	resourcetest.Run(t, func(t *testing.T) resourcetest.Fixture {
		from, into := tempDir(t), tempDir(t)
		variety(t, from)
		must(t, os.Remove(filepath.Join(from, "one hole"))) // comparing reads every byte
		setTime(t, from, 1_000_000_000_000_000_001)
		want := snapshot(t, from)
		return resourcetest.Fixture{
			From:    New(Config{Root: from, Options: everything}),
			Into:    New(Config{Root: into, Dir: "fs-0123456789abcdef0", Options: everything}),
			Missing: New(Config{Root: into, Dir: "fs-00000000", Options: everything}),
			Compare: func(t *testing.T, location string) {
				same(t, want, snapshot(t, filepath.Join(into, "fs-0123456789abcdef0", location)))
			},
			Residue: func(t *testing.T) []string {
				var out []string
				must(t, filepath.WalkDir(into, func(path string, _ os.DirEntry, err error) error {
					out = append(out, path)
					return err
				}))
				return out
			},
		}
	})
}

func TestEverythingComesBackAsItWas(t *testing.T) {
	t.Parallel()
	from := tempDir(t)
	variety(t, from)
	c := capture(t, from, everything)
	if p := c.Problems(); len(p) > 0 {
		t.Errorf("problems: %q", p)
	}
	to, refused := restored(t, c, everything)
	if len(refused) > 0 {
		t.Errorf("refused: %q", refused)
	}
	skipHuge(t, from)
	skipHuge(t, to)
	same(t, snapshot(t, from), snapshot(t, to))
}

func TestPrivilegesAreNotRestoredUnlessAllowed(t *testing.T) {
	t.Parallel()
	from := tempDir(t)
	variety(t, from)
	to, refused := restored(t, capture(t, from, everything), Options{Ownership: isRoot})
	if len(refused["setuid"]) == 0 {
		t.Error("the setuid file is restored without a word")
	}
	if isRoot {
		for _, path := range []string{"null", "block", "a/b/c/first", "a", "a/dangling"} {
			if len(refused[path]) == 0 {
				t.Errorf("%s is restored without a word", path)
			}
		}
	}
	must(t, filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if info.Mode()&os.ModeDevice != 0 {
			t.Errorf("%s is a device", path)
		}
		if info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 && !d.IsDir() {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if text := xattrText(t, path); containsAny(text, "security.capability", "trusted.") {
			t.Errorf("%s has%s", path, text)
		}
		return nil
	}))
}

func TestWithoutOwnershipNothingBelongsToAnybodyElse(t *testing.T) {
	t.Parallel()
	if !isRoot {
		t.Skip("needs a tree of several owners")
	}
	from := tempDir(t)
	variety(t, from)
	to, refused := restored(t, capture(t, from, everything), Options{SetID: true, Devices: true})
	if len(refused[""]) == 0 || len(refused["setuid"]) == 0 {
		t.Errorf("refused: %q", refused)
	}
	for path, text := range snapshot(t, filepath.Join(to, "a")) {
		if !containsAny(text, " owner 0:0 ") {
			t.Errorf("%s: %s", path, text)
		}
	}
	if text := xattrText(t, filepath.Join(to, "trailing. ")); containsAny(text, "acl") {
		t.Errorf("an ACL for other users: %s", text)
	}
}
