package repo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

const week = 7 * 24 * time.Hour

func packs(s *mem.Store) (names []string) {
	for _, n := range s.Names() {
		if strings.HasPrefix(n, "packs/") || strings.HasPrefix(n, "mpacks/") {
			names = append(names, n)
		}
	}
	return names
}

func pruneWith(t failer, r *repo.Repository, o repo.PruneOptions) repo.PruneReport {
	t.Helper()
	report, err := r.Prune(context.Background(), o)
	must(t, err)
	return report
}

func TestWhatNobodyNeedsWaitsInTheTrashForTheGracePeriod(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	one, two := repotest.Random(1, 100), repotest.Random(2, 100)
	backup(t, r, one, "one", "")
	backup(t, r, two, "two", "")
	must(t, r.Forget(t.Context(), "one", start))
	before := packs(s)
	plan := pruneWith(t, r, repo.PruneOptions{Grace: week, DryRun: true})
	p := pruneWith(t, r, repo.PruneOptions{Grace: week})
	if p.DeletedPacks != 0 || p.FreedBytes != 0 || p.TrashedPacks == 0 || p.TrashedBytes == 0 || p.TrashedPacks != plan.TrashedPacks || p.TrashedBytes != plan.TrashedBytes {
		t.Errorf("planned %+v, done %+v", plan, p)
	}
	if !slices.Equal(packs(s), before) {
		t.Error("a pack moved or went")
	}
	trash := p.TrashedPacks
	must(t, r.Close())
	r = open(t, s, vaultA)
	// What is in the trash is not built upon: it could go at any time.
	if rc := backup(t, r, one, "again", ""); rc.Stats.NewChunks != rc.Stats.Chunks {
		t.Errorf("a backup found %d chunks in the trash", rc.Stats.Chunks-rc.Stats.NewChunks)
	}
	for _, o := range []repo.PruneOptions{
		{Grace: week, Now: start.Add(week - time.Second)}, {Grace: week, Now: start.Add(-10 * week)}, {Grace: repo.KeepTrash, Now: start.Add(1000 * week)},
	} {
		if p := pruneWith(t, r, o); p.DeletedPacks != 0 || p.TrashedPacks != trash {
			t.Errorf("%+v: %+v", o, p)
		}
	}
	sound(t, r)
	plan = pruneWith(t, r, repo.PruneOptions{Grace: week, Now: start.Add(week), DryRun: true})
	p = pruneWith(t, r, repo.PruneOptions{Grace: week, Now: start.Add(week)})
	if p.DeletedPacks != trash || p.FreedBytes == 0 || p.TrashedPacks != 0 || p.DeletedPacks != plan.DeletedPacks || p.FreedBytes != plan.FreedBytes {
		t.Errorf("planned %+v, done %+v", plan, p)
	}
	same(t, r, "again", one)
	same(t, r, "two", two)
	sound(t, r)
	if p := prune(t, r); p.DeletedPacks+p.DeletedObjects != 0 {
		t.Errorf("something was left: %+v", p)
	}
}

func TestAClockThatWasSetBackDoesNotShortenTheGracePeriod(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	backup(t, r, repotest.Random(1, 50), "one", "")
	backup(t, r, repotest.Random(2, 50), "two", "")
	must(t, r.Forget(t.Context(), "one", start))
	pruneWith(t, r, repo.PruneOptions{Grace: week})
	must(t, r.Forget(t.Context(), "two", start))
	before := packs(s)
	pruneWith(t, r, repo.PruneOptions{Grace: week, Now: start.Add(-100 * week)})
	pruneWith(t, r, repo.PruneOptions{Grace: week, Now: start.Add(week - 1)})
	if !slices.Equal(packs(s), before) {
		t.Error("a pack went before its time")
	}
	if p := pruneWith(t, r, repo.PruneOptions{Grace: week, Now: start.Add(week)}); len(packs(s)) != 0 {
		t.Errorf("%d packs are left: %+v", len(packs(s)), p)
	}
}

func TestAForgottenRecoveryPointComesBackUntilItsBytesAreFreed(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	one, two := repotest.Random(1, 100), repotest.Random(2, 100)
	backup(t, r, one, "one", "")
	backup(t, r, two, "two", "")
	wantKind(t, r.Unforget(t.Context(), "one"), fault.State)
	wantKind(t, r.Unforget(t.Context(), "never"), fault.NotFound)
	for i := range 3 {
		must(t, r.Forget(t.Context(), "one", start))
		if i > 0 {
			pruneWith(t, r, repo.PruneOptions{Grace: week, RepackDead: 0.01})
		}
		if i > 1 {
			must(t, r.Close())
			r = open(t, s, vaultA)
		}
		must(t, r.Unforget(t.Context(), "one"))
		same(t, r, "one", one)
		if p := pruneWith(t, r, repo.PruneOptions{}); p.DeletedPacks != 0 || p.TrashedPacks != 0 {
			t.Fatalf("%+v", p)
		}
		sound(t, r)
	}
	must(t, r.Forget(t.Context(), "one", start))
	prune(t, r)
	wantKind(t, r.Unforget(t.Context(), "one"), fault.NotFound)
	must(t, r.Close())
	same(t, open(t, s, vaultA), "two", two)
}

// noRefs is a store that takes no reference sets: a backup fails at its end.
type noRefs struct{ blob.Store }

func (n noRefs) Put(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, "refs/") {
		return errors.New("no")
	}
	return n.Store.Put(ctx, name, data)
}

// garbage leaves packs that no recovery point ever named, and a day later nobody can go on with.
func garbage(t *testing.T, s *mem.Store, seed uint64) *repo.Repository {
	t.Helper()
	r := open(t, noRefs{s}, vaultA)
	_, err := r.Backup(t.Context(), repotest.Random(seed, 300), repo.BackupOptions{ID: fmt.Sprint("cut", seed)})
	if err == nil {
		t.Fatal("a backup without a reference set was committed")
	}
	must(t, r.Close())
	for _, name := range s.Names() {
		if strings.HasPrefix(name, "sessions/") { // they would explain it
			s.Damage(name, nil)
		}
	}
	c := config(s, vaultA)
	c.Clock = clock.NewFake(start.Add(10 * week))
	r, err = repo.Open(t.Context(), c)
	must(t, err)
	return r
}

func TestWhatNothingAccountsForNeedsApproval(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	tr := repotest.Random(1, 100)
	backup(t, r, tr, "one", "")
	backup(t, r, repotest.Random(2, 100), "two", "")
	must(t, r.Close())
	r = garbage(t, s, 31)
	must(t, r.Forget(t.Context(), "two", start))
	strict := repo.PruneOptions{MinBytes: -1}
	plan := func() repo.Plan {
		o := strict
		o.DryRun = true
		return pruneWith(t, r, o).Plan
	}
	first := plan()
	if !first.Approvable() || first.Digest == "" || first.Unaccounted < 100<<10 || first.Digest != plan().Digest {
		t.Fatalf("%+v", first)
	}
	accounted := 0
	for _, k := range first.Packs {
		if !k.Unaccounted {
			accounted++
		}
	}
	if accounted == 0 || accounted == len(first.Packs) {
		t.Errorf("the forgotten recovery point accounts for %d of %d packs", accounted, len(first.Packs))
	}
	before := s.Names()
	refused := func(approved string) {
		t.Helper()
		o := strict
		o.Approved = approved
		_, err := r.Prune(t.Context(), o)
		wantKind(t, err, fault.Limit)
		if !strings.Contains(err.Error(), plan().Digest) {
			t.Errorf("it does not say how to go on: %v", err)
		}
	}
	refused("")
	refused(strings.Repeat("0", 64))
	if !slices.Equal(before, s.Names()) {
		t.Error("a refused Prune changed something")
	}
	must(t, r.Close())
	r = garbage(t, s, 32)
	refused(first.Digest) // another plan by now
	o := strict
	o.Approved = plan().Digest
	if p := pruneWith(t, r, o); p.FreedBytes < 200<<10 {
		t.Errorf("%+v", p)
	}
	same(t, r, "one", tr)
	// What a person or the retention dropped needs nobody's approval, however much it is.
	must(t, r.Forget(t.Context(), "one", start))
	if p := pruneWith(t, r, strict); p.DeletedPacks == 0 || len(packs(s)) != 0 {
		t.Errorf("%+v", p)
	}
}

func TestFramesMoveBitForBitAndDamagedOnesStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	for _, damaged := range []bool{false, true} {
		r, s := newRepo(t)
		tr := repotest.New()
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range 20 {
			tr.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("f%02d", i), Type: tree.File}, Data: repotest.Noise(rng, 300_000)})
		}
		backup(t, r, tr, "one", "")
		next := tr.Clone()
		for i := range 15 {
			delete(next.Files, fmt.Sprintf("f%02d", i))
		}
		backup(t, r, next, "two", "one")
		must(t, r.Forget(t.Context(), "one", start))
		old := packs(s)
		if damaged {
			for _, name := range old {
				if b := slices.Clone(s.Bytes(name)); strings.HasPrefix(name, "packs/") {
					for i := 5000; i < len(b)-200_000; i += 50_000 {
						b[i] ^= 1
					}
					s.Damage(name, b)
				}
			}
		}
		p := pruneWith(t, r, repo.PruneOptions{Grace: week})
		if damaged {
			report, err := r.Scrub(t.Context(), nil)
			must(t, err)
			for _, f := range report.Findings {
				if !slices.Contains(old, f.Object) {
					t.Errorf("damage moved to %s", f.Object)
				}
			}
			if report.OK() {
				t.Error("the damage is gone")
			}
			continue
		}
		if p.RepackedPacks == 0 {
			t.Fatalf("%+v", p)
		}
		// Every run of ciphertext of a moved frame is somewhere in an old pack.
		var all []byte
		for _, name := range old {
			all = append(all, s.Bytes(name)...)
		}
		for _, name := range packs(s) {
			if b := s.Bytes(name); !slices.Contains(old, name) && strings.HasPrefix(name, "packs/") && !strings.Contains(string(all), string(b[4096:4096+100_000])) {
				t.Errorf("%s was sealed anew", name)
			}
		}
		same(t, r, "two", next)
		pruneWith(t, r, repo.PruneOptions{})
		for _, name := range old {
			if strings.HasPrefix(name, "packs/") && s.Bytes(name) != nil {
				t.Errorf("%s is still there", name)
			}
		}
		same(t, r, "two", next)
		sound(t, r)
		must(t, r.Close())
		// The index can be made anew from rewritten packs alone.
		for _, name := range s.Names() {
			if strings.HasPrefix(name, "index/") {
				s.Damage(name, nil)
			}
		}
		report, err := repo.Reindex(t.Context(), config(s, vaultA))
		must(t, errors.Join(err))
		if !report.OK() {
			t.Fatalf("%+v", report)
		}
		r = open(t, s, vaultA)
		same(t, r, "two", next)
		sound(t, r)
	}
}
