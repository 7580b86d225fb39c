package repo_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
)

// meddler runs something once, in the middle of another operation: right before the commit records are listed, or before
// a reference set is read.
type meddler struct {
	blob.Store
	prefix string
	mu     sync.Mutex
	do     func()
}

func (m *meddler) meddle(name string) {
	m.mu.Lock()
	do := m.do
	if do != nil && strings.HasPrefix(name, m.prefix) {
		m.do = nil
	} else {
		do = nil
	}
	m.mu.Unlock()
	if do != nil {
		do()
	}
}

func (m *meddler) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	m.meddle(prefix)
	return m.Store.List(ctx, prefix, fn)
}

func (m *meddler) Stat(ctx context.Context, name string) (blob.Info, error) {
	m.meddle(name)
	return m.Store.Stat(ctx, name)
}

func TestForgettingAndPruningDuringAListingIsNotDamage(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"rps/", "refs/"} {
		source, _ := newRepo(t)
		tr := repotest.Random(1, 50)
		backup(t, source, tr, "source", "")

		_, s := newRepo(t)
		m := &meddler{Store: s, prefix: prefix}
		c := config(m, vaultA)
		c.Registry = repo.NewRegistry()
		r, err := repo.Open(t.Context(), c)
		must(t, err)
		meta := repo.Meta{Owner: "111111111111", ResourceARN: "arn"}
		_, err = r.Backup(t.Context(), tr, repo.BackupOptions{ID: "one", Meta: meta})
		must(t, err)
		m.do = func() {
			must(t, r.Forget(t.Context(), "one", start))
			prune(t, r)
		}
		if _, err := repo.Copy(t.Context(), point(t, source, "source"), r, repo.CopyOptions{ID: "two", Meta: meta}); err != nil {
			t.Errorf("copy while a recovery point goes (%s): %v", prefix, err)
		}
		_, err = r.Backup(t.Context(), tr, repo.BackupOptions{ID: "three", Meta: meta})
		must(t, err)
		m.do = func() {
			must(t, r.Forget(t.Context(), "three", start))
			prune(t, r)
		}
		if _, err := r.List(t.Context()); err != nil {
			t.Errorf("list while a recovery point goes (%s): %v", prefix, err)
		}
	}
}
