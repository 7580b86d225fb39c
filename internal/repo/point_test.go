package repo_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

func TestWalkAndLookupFindEveryEntry(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.Random(4, 500)
	backup(t, r, tr, "one", "")
	p := point(t, r, "one")
	var got []string
	must(t, p.Walk(t.Context(), "", func(e *tree.Entry) error { got = append(got, e.Path); return nil }))
	if !slices.Equal(got, tr.Paths()) {
		t.Fatalf("walked %d of %d", len(got), len(tr.Files))
	}
	for _, path := range got {
		e, err := p.Lookup(t.Context(), path)
		must(t, err)
		if e.Ino != tr.Files[path].Ino {
			t.Fatalf("%q: %+v", path, e)
		}
		if e.Type != tree.Dir {
			continue
		}
		n := 0
		must(t, p.Walk(t.Context(), path, func(e *tree.Entry) error { n++; return nil }))
		want := 0
		for _, q := range got {
			if path == "" || q == path || len(q) > len(path) && q[:len(path)+1] == path+"/" {
				want++
			}
		}
		if n != want {
			t.Fatalf("below %q: %d, want %d", path, n, want)
		}
	}
	_, err := p.Lookup(t.Context(), "nowhere")
	wantKind(t, err, fault.NotFound)
	wantKind(t, p.Walk(t.Context(), "nowhere", nil), fault.NotFound)
	_, err = r.Point(t.Context(), "nowhere")
	wantKind(t, err, fault.NotFound)
	stop := errors.New("stop")
	if err := p.Walk(t.Context(), "", func(*tree.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

func TestAPartIsRestoredWithItsDirectoriesAndLinks(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.New()
	for _, d := range []string{"a", "a/b", "a/c", "z"} {
		tr.Add(repotest.File{Entry: tree.Entry{Path: d, Type: tree.Dir}})
	}
	data := make([]byte, 500)
	for _, f := range []string{"a/1", "a/b/2", "a/c/3", "z/4"} {
		tr.Add(repotest.File{Entry: tree.Entry{Path: f, Type: tree.File}, Data: data})
	}
	for _, l := range []string{"a/c/link", "z/link", "z/link2"} {
		tr.Add(repotest.File{Entry: tree.Entry{Path: l, Type: tree.File, Size: 500, Hardlink: "a/b/2"}})
	}
	backup(t, r, tr, "one", "")
	for _, c := range []struct{ include, want []string }{
		{[]string{"a/b/2"}, []string{"", "a", "a/b", "a/b/2"}},
		{[]string{"a/b", "a/b/2"}, []string{"", "a", "a/b", "a/b/2"}},
		{[]string{"z", "a/c"}, []string{"", "a", "a/c", "a/c/3", "a/c/link", "z", "z/4", "z/link", "z/link2"}},
		{[]string{"z"}, []string{"", "z", "z/4", "z/link", "z/link2"}},
	} {
		target := repotest.NewTarget()
		_, err := point(t, r, "one").Restore(t.Context(), target, repo.RestoreOptions{Include: c.include})
		must(t, err)
		got := (&repotest.Tree{Files: target.Files()}).Paths()
		if !slices.Equal(got, c.want) {
			t.Errorf("%q gave %q", c.include, got)
		}
		for p, f := range target.Files() {
			if f.Type == tree.File && f.Hardlink == "" && len(f.Data) != 500 {
				t.Errorf("%q has %d bytes", p, len(f.Data))
			}
			if f.Hardlink != "" && target.Files()[f.Hardlink] == nil {
				t.Errorf("%q links to %q, which is not there", p, f.Hardlink)
			}
		}
	}
	_, err := point(t, r, "one").Restore(t.Context(), repotest.NewTarget(), repo.RestoreOptions{Include: []string{"a/nothing"}})
	wantKind(t, err, fault.NotFound)
}

func TestWhatTheTargetRefusesIsReportedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := small()
	backup(t, r, tr, "one", "")
	target := repotest.NewTarget()
	target.Refuse = map[string]bool{"f2": true, "inline": true}
	report, err := point(t, r, "one").Restore(t.Context(), target, repo.RestoreOptions{})
	must(t, err)
	if report.RefusedCount != 2 || len(target.Files()) != len(tr.Files)-2 {
		t.Errorf("%+v", report)
	}
	if d := tr.Diff(target, func(p string) bool { return !target.Refuse[p] }); d != "" {
		t.Error(d)
	}
}

func TestALockedRecoveryPointCanOnlyBeKeptLonger(t *testing.T) {
	t.Parallel()
	s := mem.New()
	r := create(t, s, vaultA)
	until := start.AddDate(0, 1, 0)
	for id, m := range map[string]repo.Meta{"locked": {RetainUntil: until, Locked: true}, "forever": {Locked: true}, "free": {RetainUntil: until}} {
		_, err := r.Backup(t.Context(), small(), repo.BackupOptions{ID: id, Meta: m})
		must(t, err)
	}
	ctx := context.Background()
	for range 2 { // the second time from what the store says
		for _, at := range []time.Time{start, until.Add(-time.Second)} {
			wantKind(t, r.Forget(ctx, "locked", at), fault.State)
			wantKind(t, r.Forget(ctx, "forever", at.AddDate(500, 0, 0)), fault.State)
		}
		wantKind(t, r.SetRetention(ctx, "locked", until.Add(-time.Second), true), fault.State)
		wantKind(t, r.SetRetention(ctx, "locked", until.AddDate(1, 0, 0), false), fault.State)
		wantKind(t, r.SetRetention(ctx, "forever", until, true), fault.State)
		until = until.AddDate(0, 1, 0)
		must(t, r.SetRetention(ctx, "locked", until, true))
		prune(t, r)
		must(t, r.Close())
		r = open(t, s, vaultA)
		if c := point(t, r, "locked").Commit(); !c.RetainUntil.Equal(until) || !c.Locked || !c.Meta.RetainUntil.Equal(until) {
			t.Errorf("%+v", c)
		}
	}
	must(t, r.SetRetention(ctx, "free", start, false))
	must(t, r.SetRetention(ctx, "free", until, true))
	wantKind(t, r.Forget(ctx, "free", start), fault.State)
	must(t, r.Forget(ctx, "locked", until))
	prune(t, r)
	must(t, r.Close())
	r = open(t, s, vaultA)
	list, err := r.List(ctx)
	must(t, err)
	if len(list) != 2 || list[1].ID != "free" || !list[1].Locked {
		t.Errorf("%+v", list)
	}
}

func TestASecondRegistryIsKeptAwayAndTheSameOneShares(t *testing.T) {
	t.Parallel()
	s := mem.New()
	r := create(t, s, vaultA)
	_, err := repo.Open(t.Context(), config(s, vaultA))
	wantKind(t, err, fault.Unavailable)
	must(t, r.Close())
	c := config(s, vaultA)
	c.Registry = repo.NewRegistry()
	a, err := repo.Open(t.Context(), c)
	must(t, err)
	b, err := repo.Open(t.Context(), c)
	must(t, err)
	backup(t, a, small(), "one", "")
	same(t, b, "one", small())
	must(t, a.Close())
	must(t, a.Close())
	backup(t, b, small(), "two", "one")
	must(t, b.Close())
	must(t, open(t, s, vaultA).Close())
}
