package repo_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
)

// Damage is found, backed up again, healed, restored and pruned around all at the same time.
func TestHealingHoldsBesideEverythingElse(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r, s := newRepo(t)
	tr := bodies(6)
	backup(t, r, tr, "keep", "")
	for i := range 4 {
		backup(t, r, tr.Clone(), fmt.Sprintf("b%d", i), "keep")
	}
	for _, name := range s.Names() {
		if strings.HasPrefix(name, "packs/") {
			bad := slices.Clone(s.Bytes(name))
			bad[4096+50] ^= 1
			bad[len(bad)/2] ^= 1
			s.Damage(name, bad)
		}
	}
	var all sync.WaitGroup
	start1 := func(what string, fn func() error) {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 3 {
				if err := fn(); err != nil && !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.NotFound) {
					t.Errorf("%s: %v", what, err)
				}
			}
		}()
	}
	start1("scrub", func() error { _, err := r.Scrub(ctx, nil); return err })
	start1("verify", func() error { _, err := r.VerifyAll(ctx, nil); return err })
	start1("prune", func() error {
		_, err := r.Prune(ctx, repo.PruneOptions{})
		if fault.Is(err, fault.Corrupt) { // it came upon the damage first: the next one leaves that pack alone
			err = nil
		}
		return err
	})
	for k := range 2 {
		n := 0
		start1("backup", func() error {
			n++
			_, err := r.Backup(ctx, tr, repo.BackupOptions{ID: fmt.Sprintf("x%d-%d", k, n), Base: "keep"})
			return err
		})
	}
	n := 0
	start1("forget", func() error {
		n++
		return r.Forget(ctx, fmt.Sprintf("b%d", n), start)
	})
	start1("restore", func() error {
		target := repotest.NewTarget()
		p, err := r.Point(ctx, "keep")
		if err != nil {
			return err
		}
		done, err := p.Restore(ctx, target, repo.RestoreOptions{})
		if err == nil {
			if d := partly(tr, target, done); d != "" {
				t.Errorf("a wrong restore: %s", d)
			}
		}
		return err
	})
	all.Wait()
	// What is damaged is known by now: whoever has the content brings it back, and then it stays.
	backup(t, r, tr, "last", "keep")
	same(t, r, "keep", tr)
	list, err := r.List(ctx)
	must(t, err)
	for _, c := range list {
		if c.ID != "keep" {
			must(t, r.Forget(ctx, c.ID, start))
		}
	}
	for range 3 {
		prune(t, r)
	}
	same(t, r, "keep", tr)
	must(t, r.Close())
	r = open(t, s, vaultA)
	same(t, r, "keep", tr)
}
