package resourcetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/resource"
	"strongroom/internal/tree"
)

// Fixture is one place with something in it, and an empty one to restore into.
type Fixture struct {
	// From is bound to a place that holds at least an empty part, a large one (1 MB and more), one whose name is neither
	// ASCII nor UTF-8, and as much of the type's variety as there is.
	From resource.Provider
	// Into is bound to another place that can be restored into.
	Into resource.Provider
	// Missing is bound to a place that does not exist.
	Missing resource.Provider
	// Compare fails the test unless the restored content at location of Into equals From's.
	Compare func(t *testing.T, location string)
	// Residue lists everything in Into's place, finished restores included.
	Residue func(t *testing.T) []string
}

var day = time.Date(2026, 3, 4, 5, 6, 7, 890e6, time.UTC)

// Run checks a provider against the contract of package resource.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) {
	t.Run("round trip", func(t *testing.T) { t.Parallel(); roundTrip(t, fixture(t)) })
	t.Run("walks repeat", func(t *testing.T) { t.Parallel(); walksRepeat(t, fixture(t)) })
	t.Run("a missing place is not found", func(t *testing.T) { t.Parallel(); missing(t, fixture(t)) })
	t.Run("a canceled walk ends", func(t *testing.T) { t.Parallel(); canceledWalk(t, fixture(t)) })
	t.Run("nothing stays of an unfinished restore", func(t *testing.T) { t.Parallel(); unfinished(t, fixture(t)) })
	t.Run("a restore never replaces another", func(t *testing.T) { t.Parallel(); neverReplaces(t, fixture(t)) })
	t.Run("one attempt at a time", func(t *testing.T) { t.Parallel(); oneAttempt(t, fixture(t)) })
	t.Run("a finished restore takes nothing more", func(t *testing.T) { t.Parallel(); finished(t, fixture(t)) })
	t.Run("paths that lead out are refused", func(t *testing.T) { t.Parallel(); hostilePaths(t, fixture(t)) })
}

func capture(t *testing.T, p resource.Provider) Capture {
	t.Helper()
	src, err := p.Source(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	c, err := ReadAll(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func target(t *testing.T, p resource.Provider, id string) resource.Restoration {
	t.Helper()
	r, err := p.Target(t.Context(), resource.Request{ID: id, CreatedAt: day, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func restore(t *testing.T, c Capture, r resource.Restoration) {
	t.Helper()
	refused, err := Replay(t.Context(), c, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range refused {
		t.Errorf("refused: %v", x)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func roundTrip(t *testing.T, f Fixture) {
	c := capture(t, f.From)
	for path, problem := range c.Problems() {
		t.Errorf("%q: %s", path, problem)
	}
	r := target(t, f.Into, "one")
	restore(t, c, r)
	f.Compare(t, r.Location())
}

func walksRepeat(t *testing.T, f Fixture) {
	a, b := capture(t, f.From), capture(t, f.From)
	if len(a) != len(b) {
		t.Fatalf("%d entries, then %d", len(a), len(b))
	}
	for i := range a {
		x, y := &a[i].Entry, &b[i].Entry
		if x.Path != y.Path || x.Type != y.Type || x.Hardlink != y.Hardlink || x.Size != y.Size {
			t.Errorf("%q became %q", x.Path, y.Path)
		}
		if x.Type == tree.File && !tree.Unchanged(x, y) {
			t.Errorf("%q is not recognised as unchanged", x.Path)
		}
	}
}

func missing(t *testing.T, f Fixture) {
	if _, err := f.Missing.Source(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Errorf("Source: %v", err)
	}
	if _, err := f.Missing.Target(t.Context(), resource.Request{ID: "x", CreatedAt: day}); !fault.Is(err, fault.NotFound) {
		t.Errorf("Target: %v", err)
	}
}

func canceledWalk(t *testing.T, f Fixture) {
	src, err := f.From.Source(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err = src.Walk(ctx, func(tree.Item) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n > 2 {
		t.Errorf("%v after %d entries", err, n)
	}
	stop := errors.New("stop")
	if err := src.Walk(t.Context(), func(tree.Item) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the walk ends with %v, not with emit's error", err)
	}
}

func unfinished(t *testing.T, f Fixture) {
	before := f.Residue(t)
	c := capture(t, f.From)
	r := target(t, f.Into, "one")
	var open []tree.Writer
	for i := range c[:len(c)/2+1] {
		w, err := r.Create(t.Context(), &c[i].Entry)
		if err != nil {
			t.Fatal(err)
		}
		if w != nil {
			open = append(open, w)
		}
	}
	if len(open) > 0 {
		if err := r.Finish(t.Context()); err == nil {
			t.Error("Finish with open files succeeds")
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = target(t, f.Into, "two")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Replay(ctx, c, r); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled restore: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if after := f.Residue(t); len(after) != len(before) {
		t.Errorf("left behind: %q, before %q", after, before)
	}
}

func neverReplaces(t *testing.T, f Fixture) {
	c := capture(t, f.From)
	seen := map[string]bool{}
	for _, id := range []string{"one", "two", "one"} {
		r := target(t, f.Into, id)
		restore(t, c, r)
		f.Compare(t, r.Location())
		if seen[r.Location()] {
			t.Errorf("%s is used again", r.Location())
		}
		seen[r.Location()] = true
	}
}

func oneAttempt(t *testing.T, f Fixture) {
	c := capture(t, f.From)
	first := target(t, f.Into, "one")
	if _, err := f.Into.Target(t.Context(), resource.Request{ID: "one", CreatedAt: day, Create: true}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second attempt beside the first: %v", err)
	}
	other := target(t, f.Into, "another")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	restore(t, c, first)
	f.Compare(t, first.Location())
}

func finished(t *testing.T, f Fixture) {
	c := capture(t, f.From)
	r := target(t, f.Into, "one")
	if _, err := Replay(t.Context(), c, r); err != nil {
		t.Fatal(err)
	}
	late := tree.Entry{Path: "late", Type: tree.File, Mode: 0o644}
	if _, err := r.Create(t.Context(), &late); err == nil {
		t.Error("Create after Finish succeeds")
	}
	if err := r.Finish(t.Context()); err == nil {
		t.Error("a second Finish succeeds")
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	f.Compare(t, r.Location())
}

func hostilePaths(t *testing.T, f Fixture) {
	r := target(t, f.Into, "one")
	defer r.Close()
	for _, path := range []string{"..", "../out", "a/../../out", "/etc/out", ".", "a/.", "a//b", "a/", "a\x00b", "//"} {
		for _, kind := range []tree.Type{tree.File, tree.Dir, tree.Symlink, tree.Fifo} {
			e := tree.Entry{Path: path, Type: kind, Mode: 0o644, Link: "x"}
			w, err := r.Create(t.Context(), &e)
			if refused, rest := tree.Refusals(err); len(refused) == 0 || rest != nil || w != nil {
				t.Errorf("%q as %v: %v", path, kind, err)
			}
		}
	}
}
