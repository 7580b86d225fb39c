package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/repo"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

// rejected reports whether whoever reads an object refuses it.
func rejected(t *testing.T, s *mem.Store, name string, root *seal.Root, maint *seal.Maint, infos map[string]pack.Info) bool {
	t.Helper()
	ctx := context.Background()
	if i, ok := infos[name]; ok {
		_, _, serr := pack.Stat(ctx, s, maint, i.Class, i.ID)
		_, derr := pack.ReadDir(ctx, s, root, maint, i)
		return serr != nil || derr != nil
	}
	kind, rest, _ := strings.Cut(name, "/")
	switch kind {
	case "keys":
		_, err := repo.Envelopes(ctx, s)
		return err != nil
	case "index":
		set, err := index.Load(ctx, s, maint, 0)
		if err == nil {
			err = set.Verify(ctx)
		}
		return err != nil
	}
	r, err := repo.Open(ctx, config(s, vaultA))
	if err != nil {
		return true
	}
	defer r.Close()
	switch kind {
	case "rps":
		_, err = r.Point(ctx, rest)
	case "refs":
		_, err = r.Prune(ctx, repo.PruneOptions{DryRun: true})
	case "scrub":
		report, cerr := r.Check(ctx)
		must(t, cerr)
		return !report.OK()
	}
	return err != nil
}

// B31: an object under another's name is refused, whichever two they are, and so is every object with a wrong bit in what it
// begins with.
func TestB31NoObjectPassesForAnother(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, s := newRepo(t)
	base := ""
	for k := range bar.Size(6, 64) {
		tr := repotest.New()
		tr.Add(repotest.File{Entry: tree.Entry{Path: "f", Type: tree.File}, Data: noise(uint64(k), 1000)})
		id := fmt.Sprintf("p%02d", k)
		backup(t, r, tr, id, base)
		base = id
	}
	_, err := r.Scrub(ctx, nil)
	must(t, err)
	must(t, r.Close())
	vault, err := seal.ParseVaultID(vaultA)
	must(t, err)
	c := config(s, vaultA)
	root, err := seal.NewRoot(c.Root, vault)
	must(t, err)
	maint, err := seal.NewMaint(c.Maint, vault)
	must(t, err)
	infos := map[string]pack.Info{}
	names := s.Names()
	for _, n := range names {
		if class, id, ok := pack.ParseName(n); ok {
			infos[n], _, err = pack.Stat(ctx, s, maint, class, id)
			must(t, err)
		}
		if rejected(t, s, n, root, maint, infos) {
			t.Fatalf("%s is refused as it is", n)
		}
	}
	swaps, flips := 0, 0
	try := func(name string, data []byte, what string) {
		bad := s.Clone()
		bad.Damage(name, data)
		if !rejected(t, bad, name, root, maint, infos) {
			t.Fatalf("%s passes for %s", what, name)
		}
	}
	for _, x := range names {
		for _, y := range names {
			if x != y && !bytes.Equal(s.Bytes(x), s.Bytes(y)) {
				try(x, s.Bytes(y), y)
				swaps++
			}
		}
	}
	rnd := rand.New(rand.NewPCG(31, seed(t)))
	for _, x := range names {
		data := s.Bytes(x)
		for i := range min(len(data), 64) {
			bits := []int{rnd.IntN(8)}
			if bar.Full() && i < 12 {
				bits = []int{0, 1, 2, 3, 4, 5, 6, 7}
			}
			for _, b := range bits {
				bad := bytes.Clone(data)
				bad[i] ^= 1 << b
				try(x, bad, fmt.Sprintf("byte %d, bit %d", i, b))
				flips++
			}
		}
	}
	bar.Report(t, "B31", "%d objects: %d swaps and %d flipped bits in headers, all refused", len(names), swaps, flips)
}
