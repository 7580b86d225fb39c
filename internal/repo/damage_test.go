package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

// small is a tree that needs every kind of object and of chunk, in few bytes.
func small() *repotest.Tree {
	t := repotest.New()
	for i := range 6 {
		t.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("f%d", i), Type: tree.File}, Data: bytes.Repeat([]byte{byte(i), 7}, 300)})
	}
	t.Add(repotest.File{Entry: tree.Entry{Path: "inline", Type: tree.File}, Data: []byte("few")})
	return t
}

// twoPoints returns a store with two recovery points, a retention change and a forgotten one.
func twoPoints(t *testing.T) (*mem.Store, map[string]*repotest.Tree) {
	s := mem.New()
	r := create(t, s, vaultA)
	one := small()
	two := one.Clone()
	two.Write("f3", []byte(strings.Repeat("changed", 50)))
	backup(t, r, one, "one", "")
	backup(t, r, two, "two", "one")
	backup(t, r, two, "three", "two")
	must(t, r.Forget(t.Context(), "three", start))
	must(t, r.SetRetention(t.Context(), "two", start.AddDate(1, 0, 0), true))
	must(t, r.Close())
	return s, map[string]*repotest.Tree{"one": one, "two": two}
}

// noticed reports whether a store is found to be damaged. Whatever it restores must be right all the same.
func noticed(t *testing.T, s *mem.Store, want map[string]*repotest.Tree) bool {
	t.Helper()
	ctx := context.Background()
	if _, err := repo.Envelopes(ctx, s); err != nil {
		return true
	}
	r, err := repo.Open(ctx, config(s, vaultA))
	if err != nil {
		if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.Denied) && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Unsupported) {
			t.Fatalf("Open: %v", err)
		}
		return true
	}
	defer r.Close()
	report, err := r.VerifyAll(ctx, nil)
	must(t, err)
	scrub, err := r.Scrub(ctx, nil)
	must(t, err)
	for id, tr := range want {
		p, err := r.Point(ctx, id)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.NotFound) {
				t.Fatalf("Point: %v", err)
			}
			continue
		}
		target := repotest.NewTarget()
		done, err := p.Restore(ctx, target, repo.RestoreOptions{})
		must(t, err)
		if d := partly(tr, target, done); d != "" {
			t.Fatalf("a wrong restore: %s", d)
		}
	}
	return !report.OK() || !scrub.OK()
}

// partly says what is wrong with what was restored of a damaged recovery point: everything in it must be right, and if nothing
// was reported, everything there.
func partly(want *repotest.Tree, got *repotest.Target, report repo.RestoreReport) string {
	if report.IncompleteCount == 0 {
		return want.Diff(got, nil)
	}
	left := want.Clone()
	for p := range want.Files {
		switch f := got.Files()[p]; {
		case f == nil:
			delete(left.Files, p)
		case f.Type == tree.Dir:
			left.Files[p].Entry = f.Entry // may stand in for one that is lost
		}
	}
	return left.Diff(got, nil)
}

func TestEveryDamageToEveryObjectIsNoticedAndNothingWrongIsRestored(t *testing.T) {
	t.Parallel()
	good, want := twoPoints(t)
	if noticed(t, good.Clone(), want) {
		t.Fatal("an intact repository was found to be damaged")
	}
	for _, name := range good.Names() {
		if strings.HasPrefix(name, "refs/three") || name == "rps/three" {
			continue // forgotten: nobody reads them any more
		}
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			data := good.Bytes(name)
			check := func(what string, damaged []byte) {
				t.Helper()
				s := good.Clone()
				s.Damage(name, damaged)
				if !noticed(t, s, want) {
					t.Errorf("%s was not noticed", what)
				}
			}
			step := max(1, len(data)/40)
			for i := 0; i < len(data); i += step {
				bad := bytes.Clone(data)
				bad[i] ^= 1 << (i % 8)
				check(fmt.Sprintf("a flipped bit in byte %d of %d", i, len(data)), bad)
			}
			for _, n := range []int{0, 1, len(data) / 2, len(data) - 1} {
				check(fmt.Sprintf("a cut to %d of %d", n, len(data)), data[:n])
			}
			check("an added byte", append(bytes.Clone(data), 0))
			check("a zeroed half", append(make([]byte, len(data)/2), data[len(data)/2:]...))
			if !strings.HasPrefix(name, "keys/") {
				lost := good.Clone()
				lost.Damage(name, nil)
				if !noticed(t, lost, want) && !isTail(good, name) {
					t.Error("a removed object was not noticed")
				}
			}
			for _, other := range good.Names() {
				if other != name {
					check("the content of "+other, good.Bytes(other))
				}
			}
		})
	}
}

// isTail reports whether name is the last journal entry, whose loss cannot be told from its never having been written.
// What a commit record itself says still holds.
func isTail(s *mem.Store, name string) bool {
	last := ""
	for _, n := range s.Names() {
		if strings.HasPrefix(n, "journal/") {
			last = n
		}
	}
	return name == last
}

func TestAnotherVaultsObjectsAreRefused(t *testing.T) {
	t.Parallel()
	a, _ := twoPoints(t)
	s := mem.New()
	r := create(t, s, vaultB)
	backup(t, r, small(), "one", "")
	must(t, r.Close())
	for _, name := range a.Names() {
		if strings.HasPrefix(name, "keys/") {
			continue // no secret and no truth: whoever wrapped a key protects it
		}
		mixed := s.Clone()
		mixed.Damage(name, a.Bytes(name))
		x, err := repo.Open(t.Context(), config(mixed, vaultB))
		if err != nil {
			continue
		}
		report, err := x.VerifyAll(t.Context(), nil)
		must(t, err)
		orphan := strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "mpacks/") || strings.HasPrefix(name, "refs/")
		if report.OK() && !orphan {
			t.Errorf("%s of another vault was accepted", name)
		}
		if name != "rps/one" {
			same(t, x, "one", small())
		}
	}
}

func TestWrongKeysAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := twoPoints(t)
	for name, change := range map[string]func(*repo.Config){
		"root key":        func(c *repo.Config) { c.Root = make([]byte, 32) },
		"maintenance key": func(c *repo.Config) { c.Maint = make([]byte, 32) },
		"vault":           func(c *repo.Config) { c.Vault = vaultB },
	} {
		c := config(s.Clone(), vaultA)
		change(&c)
		if _, err := repo.Open(t.Context(), c); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := config(s.Clone(), vaultA)
	c.Root = []byte("short")
	_, err := repo.Open(t.Context(), c)
	wantKind(t, err, fault.Invalid)
	_, err = repo.Open(t.Context(), config(mem.New(), vaultA))
	wantKind(t, err, fault.NotFound)
	_, err = repo.Create(t.Context(), config(s, vaultA), repo.Descriptor{}, nil)
	wantKind(t, err, fault.Exists)
}
