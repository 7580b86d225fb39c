package repo_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

// hooked calls back before it lists a prefix, once.
type hooked struct {
	blob.Store
	prefix string
	do     func()
}

func (h *hooked) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	if do := h.do; do != nil && prefix == h.prefix {
		h.do = nil
		do()
	}
	return h.Store.List(ctx, prefix, fn)
}

// A backup commits while a Prune, which does not know it yet, looks at the reference sets. It builds on that of a recovery
// point which has just been forgotten and names packs that nobody else needs: neither the set nor those packs may go.
func TestWhatACommitBuildsOnStaysAlthoughAPruneHasNotSeenTheCommit(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	store := &hooked{Store: mem.New(), prefix: "refs/"}
	r := create(t, store, vaultA)
	r.BuildOnAnything()
	one := small()
	backup(t, r, one, "one", "")
	two := one.Clone()
	two.Add(repotest.File{Entry: tree.Entry{Path: "zz", Type: tree.File}, Data: repotest.Noise(rand.New(rand.NewPCG(1, 1)), 300_000)})
	backup(t, r, two, "two", "one")
	next := one.Clone()
	next.Write("f1", []byte("something else, and more than a few bytes of it so that it is not kept in the manifest itself, which would make no pack: it takes a hundred and twenty-nine bytes"))
	g := gated{next, 2, make(chan struct{}), make(chan struct{})}
	done := make(chan error)
	go func() {
		_, err := r.Backup(ctx, g, repo.BackupOptions{ID: "three", Base: "two", Meta: repo.Meta{Owner: "111111111111", ResourceARN: "arn:x"}})
		done <- err
	}()
	<-g.reached
	must(t, r.Forget(ctx, "two", start))
	store.do = func() {
		close(g.release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := r.RefsDepth(t, "three"); d != 2 {
			t.Errorf("the set has depth %d: the test proves nothing", d)
		}
	}
	if _, err := r.Prune(ctx, repo.PruneOptions{RepackDead: -1, MaxFraction: -1}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		sound(t, r)
		if _, err := r.Prune(ctx, repo.PruneOptions{RepackDead: 0.01, MaxFraction: -1}); err != nil {
			t.Fatal(err)
		}
		same(t, r, "three", next)
		same(t, r, "one", one)
	}
	must(t, r.Forget(ctx, "one", start))
	must(t, r.Forget(ctx, "three", start))
	for range 2 {
		if _, err := r.Prune(ctx, repo.PruneOptions{MaxFraction: -1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range store.Store.(*mem.Store).Names() {
		if n[:2] == "pa" || n[:2] == "mp" || n[:2] == "rp" || n[:2] == "re" {
			t.Errorf("%s is left", n)
		}
	}
}
