package repo_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

func TestRandomTreesComeBackThroughBackupIncrementCopyAndRestore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		tr := repotest.Random(seed, rapid.IntRange(0, 150).Draw(t, "entries"))
		a, b := mem.New(), mem.New()
		ra, rb := create(t, a, vaultA), create(t, b, vaultB)
		backup(t, ra, tr, "one", "")
		same(t, ra, "one", tr)
		next := tr.Clone()
		repotest.Mutate(next, seed, 4)
		backup(t, ra, next, "two", "one")
		same(t, ra, "two", next)
		same(t, ra, "one", tr)
		for _, id := range []string{"one", "two"} {
			rc, err := repo.Copy(context.Background(), point(t, ra, id), rb, repo.CopyOptions{ID: id, Meta: repo.Meta{Owner: "111111111111", ResourceARN: "arn:x"}})
			must(t, err)
			if rc.Root != point(t, ra, id).Commit().Root {
				t.Fatalf("the copy has another root")
			}
		}
		must(t, ra.Close())
		must(t, rb.Close())
		rb = open(t, b, vaultB)
		same(t, rb, "one", tr)
		same(t, rb, "two", next)
		sound(t, rb)
		sound(t, open(t, a, vaultA))
	})
}

func TestAnUnchangedTreeIsNotReadAgainAndStoresNoContent(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.Random(1, 400)
	first := backup(t, r, tr, "one", "")
	opens := tr.Opens.Load()
	second := backup(t, r, tr, "two", "one")
	if tr.Opens.Load() != opens || second.Stats.ReadBytes != 0 || second.Stats.NewChunks != 0 || second.Root != first.Root {
		t.Errorf("opened %d files, %+v", tr.Opens.Load()-opens, second.Stats)
	}
	if second.Stats.UnchangedFiles != second.Stats.Files || second.Stats.LogicalBytes != first.Stats.LogicalBytes {
		t.Errorf("first %+v, second %+v", first.Stats, second.Stats)
	}
	same(t, r, "two", tr)
}

func TestARetryOfACommittedBackupReturnsItsReceiptAndReadsNothing(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	tr := repotest.Random(2, 50)
	first := backup(t, r, tr, "one", "")
	opens := tr.Opens.Load()
	must(t, r.Close())
	r = open(t, s, vaultA)
	again := backup(t, r, tr, "one", "")
	if fmt.Sprint(first) != fmt.Sprint(again) || tr.Opens.Load() != opens {
		t.Errorf("%+v\n%+v", first, again)
	}
}

func TestFilesThatCannotBeReadFaithfullyAreMarkedAndReported(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.New()
	data := func(n int) []byte { return make([]byte, n) }
	for i, n := range []int{50, 5000, 3_000_000} {
		for k, f := range []repotest.File{{Broken: true}, {Changed: true}, {Short: 7}, {}} {
			f.Entry = tree.Entry{Path: fmt.Sprintf("f%d-%d", i, k), Type: tree.File}
			f.Data = data(n)
			f.Size = int64(n)
			tr.Add(f)
		}
	}
	tr.Add(repotest.File{Entry: tree.Entry{Path: "gone", Type: tree.File, Problem: "vanished"}, Broken: true})
	rc := backup(t, r, tr, "one", "")
	if rc.ProblemCount != 10 || len(rc.Problems) != 10 {
		t.Fatalf("%d problems: %v", rc.ProblemCount, rc.Problems)
	}
	p := point(t, r, "one")
	e, err := p.Lookup(t.Context(), "f2-2")
	must(t, err)
	if e.Problem == "" || e.Size != 3_000_000-7 {
		t.Errorf("%+v", e)
	}
	target := repotest.NewTarget()
	report, err := p.Restore(t.Context(), target, repo.RestoreOptions{})
	must(t, err)
	if report.IncompleteCount != 10 {
		t.Errorf("%d incomplete", report.IncompleteCount)
	}
	if target.Files()["f1-0"] != nil || target.Files()["f1-3"] == nil {
		t.Error("an unread file was restored, or a good one was not")
	}
	// What was marked is read again, the rest is not.
	for _, f := range tr.Files {
		f.Broken, f.Changed, f.Short, f.Problem = false, false, 0, ""
	}
	opens := tr.Opens.Load()
	rc = backup(t, r, tr, "two", "one")
	if got := tr.Opens.Load() - opens; rc.ProblemCount != 0 || got != 10 {
		t.Errorf("%d problems, %d files read", rc.ProblemCount, got)
	}
	same(t, r, "two", tr)
}

// listed is a source that says exactly what it is told to.
type listed []tree.Entry

func (l listed) Walk(_ context.Context, emit func(tree.Item) error) error {
	for _, e := range l {
		if err := emit(tree.Item{Entry: e}); err != nil {
			return err
		}
	}
	return nil
}

func TestASourceThatBreaksTheRulesIsRefused(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	objects := len(s.Names())
	dir := func(p string) tree.Entry { return tree.Entry{Path: p, Type: tree.Dir} }
	fifo := func(p string) tree.Entry { return tree.Entry{Path: p, Type: tree.Fifo} }
	for name, l := range map[string]listed{
		"empty": {}, "no root": {fifo("a")}, "out of order": {dir(""), fifo("b"), fifo("a")}, "twice": {dir(""), fifo("a"), fifo("a")},
		"below a file": {dir(""), fifo("a"), fifo("a/b")}, "below nothing": {dir(""), fifo("a/b")}, "upwards": {dir(""), fifo("../a")},
		"absolute": {dir(""), fifo("/a")}, "dot": {dir(""), fifo("./a")}, "nul": {dir(""), fifo("a\x00")}, "root is a file": {fifo(""), fifo("a")},
		"left directory": {dir(""), dir("a"), fifo("b"), fifo("a/c")}, "link forward": {dir(""), {Path: "a", Type: tree.File, Hardlink: "b"}},
		"no content": {dir(""), {Path: "a", Type: tree.File, Size: 1}}, "no type": {dir(""), {Path: "a", Type: 99}},
	} {
		_, err := r.Backup(t.Context(), l, repo.BackupOptions{ID: "x"})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(s.Names()); n != objects {
		t.Errorf("%d objects were left behind", n-objects)
	}
	stop := errors.New("the source's own error")
	_, err := r.Backup(t.Context(), failing{stop}, repo.BackupOptions{ID: "x"})
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	for _, id := range []string{"", ".x", "a/b", "a b", "ä"} {
		_, err := r.Backup(t.Context(), repotest.New(), repo.BackupOptions{ID: id})
		wantKind(t, err, fault.Invalid)
	}
}

type failing struct{ err error }

func (f failing) Walk(_ context.Context, emit func(tree.Item) error) error {
	if err := emit(tree.Item{Entry: tree.Entry{Type: tree.Dir}}); err != nil {
		return err
	}
	return f.err
}

// cancelling cancels a context when it has yielded some entries.
type cancelling struct {
	*repotest.Tree
	after  int
	cancel func()
}

func (c cancelling) Walk(ctx context.Context, emit func(tree.Item) error) error {
	n := 0
	return c.Tree.Walk(ctx, func(it tree.Item) error {
		if n++; n == c.after {
			c.cancel()
		}
		return emit(it)
	})
}

func TestACancelledBackupLeavesNoRecoveryPoint(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.Random(5, 300)
	for _, after := range []int{1, 2, 50, 200} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := r.Backup(ctx, cancelling{tr, after, cancel}, repo.BackupOptions{ID: "x"})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if _, err := r.Point(t.Context(), "x"); !fault.Is(err, fault.NotFound) {
			t.Fatalf("after a cancelled backup: %v", err)
		}
	}
	sound(t, r)
	backup(t, r, tr, "x", "")
	same(t, r, "x", tr)
}
