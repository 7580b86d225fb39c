package repo_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

func prune(t failer, r *repo.Repository) repo.PruneReport {
	t.Helper()
	report, err := r.Prune(context.Background(), repo.PruneOptions{})
	must(t, err)
	return report
}

func TestPruneFreesWhatIsForgottenAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	one, two := repotest.Random(1, 200), repotest.Random(2, 200)
	backup(t, r, one, "one", "")
	backup(t, r, two, "two", "")
	if p := prune(t, r); p.DeletedPacks+p.DeletedObjects != 0 {
		t.Fatalf("nothing was forgotten: %+v", p)
	}
	must(t, r.Forget(t.Context(), "one", start))
	_, err := r.Point(t.Context(), "one")
	wantKind(t, err, fault.NotFound)
	wantKind(t, r.Forget(t.Context(), "one", start), fault.NotFound)
	_, err = r.Backup(t.Context(), one, repo.BackupOptions{ID: "one"})
	wantKind(t, err, fault.Conflict)
	plan, err := r.Prune(t.Context(), repo.PruneOptions{DryRun: true})
	must(t, err)
	p := prune(t, r)
	if p.DeletedPacks == 0 || p.FreedBytes == 0 || p.DeletedPacks != plan.DeletedPacks {
		t.Errorf("planned %+v, done %+v", plan, p)
	}
	same(t, r, "two", two)
	must(t, r.Close())
	r = open(t, s, vaultA)
	same(t, r, "two", two)
	sound(t, r)
	must(t, r.Forget(t.Context(), "two", start))
	prune(t, r)
	for _, n := range s.Names() {
		if n[:2] == "pa" || n[:2] == "mp" || n[:2] == "rp" || n[:2] == "re" {
			t.Errorf("%s is left", n)
		}
	}
}

func TestPruneRewritesPacksThatAreMostlyDead(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	tr := repotest.New()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 40 {
		tr.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("f%02d", i), Type: tree.File}, Data: repotest.Noise(rng, 300_000)})
	}
	backup(t, r, tr, "one", "")
	next := tr.Clone()
	for i := range 30 {
		delete(next.Files, fmt.Sprintf("f%02d", i))
	}
	backup(t, r, next, "two", "one")
	backup(t, r, next, "three", "two")
	must(t, r.Forget(t.Context(), "one", start))
	p := prune(t, r)
	if p.RepackedPacks == 0 || p.FreedBytes < 8_000_000 || p.RepackedBytes > 5_000_000 {
		t.Errorf("%+v", p)
	}
	same(t, r, "two", next)
	sound(t, r)
	must(t, r.Close())
	r = open(t, s, vaultA)
	same(t, r, "three", next)
	sound(t, r)
	if p := prune(t, r); p.DeletedPacks+p.RepackedPacks+p.DeletedObjects != 0 {
		t.Errorf("a second Prune did %+v", p)
	}
}

func TestManySmallPacksBecomeFew(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := small()
	base := ""
	for i := range 20 {
		tr.Write("f1", fmt.Appendf(nil, "%0900d", i))
		id := fmt.Sprint("rp", i)
		backup(t, r, tr, id, base)
		base = id
	}
	before := prune(t, r)
	if after := prune(t, r); after.Packs > 4 || before.Packs < 30 {
		t.Errorf("%d packs became %d", before.Packs, after.Packs)
	}
	sound(t, r)
	same(t, r, base, tr)
}

func TestMaintenanceNeedsNoRootKey(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	one := repotest.Random(1, 100)
	backup(t, r, one, "one", "")
	backup(t, r, repotest.Random(2, 100), "two", "")
	must(t, r.Close())
	c := config(s, vaultA)
	c.Root = nil
	m, err := repo.Open(t.Context(), c)
	must(t, err)
	list, err := m.List(t.Context())
	must(t, err)
	if len(list) != 2 || list[0].ID != "one" || list[0].Meta.Owner != "" || list[0].Root != [32]byte{} {
		t.Errorf("%+v", list)
	}
	must(t, m.Forget(t.Context(), "two", start))
	if p := prune(t, m); p.DeletedPacks == 0 {
		t.Errorf("%+v", p)
	}
	for _, check := range []func(context.Context) (repo.CheckReport, error){
		m.Check, func(ctx context.Context) (repo.CheckReport, error) { return m.Scrub(ctx, nil) },
	} {
		report, err := check(t.Context())
		must(t, err)
		if !report.OK() || report.Packs == 0 {
			t.Errorf("%+v", report)
		}
	}
	_, err = m.Point(t.Context(), "one")
	wantKind(t, err, fault.State)
	_, err = m.Backup(t.Context(), one, repo.BackupOptions{ID: "x"})
	wantKind(t, err, fault.State)
	must(t, m.Close())
	same(t, open(t, s, vaultA), "one", one)
}

func TestPruneDeletesNothingWhenItCannotTellWhatIsNeeded(t *testing.T) {
	t.Parallel()
	good, _ := twoPoints(t)
	for _, name := range good.Names() {
		if name[:3] != "rps" && name[:4] != "refs" || name == "rps/three" || len(name) > 10 && name[:10] == "refs/three" {
			continue
		}
		for _, data := range [][]byte{nil, []byte("nonsense")} {
			s := good.Clone()
			s.Damage(name, data)
			r := open(t, s, vaultA)
			before := len(s.Names())
			_, err := r.Prune(t.Context(), repo.PruneOptions{})
			wantKind(t, err, fault.Corrupt)
			if len(s.Names()) != before {
				t.Errorf("after damage to %s something was deleted", name)
			}
		}
	}
}

// gated is a source that stops after some entries until it is let go.
type gated struct {
	*repotest.Tree
	after   int
	reached chan struct{}
	release chan struct{}
}

func (g gated) Walk(ctx context.Context, emit func(tree.Item) error) error {
	n := 0
	return g.Tree.Walk(ctx, func(it tree.Item) error {
		if n++; n == g.after {
			close(g.reached)
			<-g.release
		}
		return emit(it)
	})
}

func TestPruneLeavesWhatARunningBackupHasFound(t *testing.T) {
	t.Parallel()
	for _, prunes := range []int{1, 3} {
		r, _ := newRepo(t)
		tr := repotest.Random(9, 300)
		backup(t, r, tr, "one", "")
		g := gated{tr, 280, make(chan struct{}), make(chan struct{})}
		done := make(chan error)
		go func() {
			_, err := r.Backup(context.Background(), g, repo.BackupOptions{ID: "two", Base: "one"})
			done <- err
		}()
		<-g.reached
		// Everything that "two" has found so far is held by nothing but the running backup now.
		must(t, r.Forget(t.Context(), "one", start))
		for range prunes {
			if p := prune(t, r); p.DeletedPacks != 0 || p.DeferredPacks == 0 {
				t.Errorf("%+v", p)
			}
		}
		close(g.release)
		must(t, <-done)
		same(t, r, "two", tr)
		prune(t, r)
		same(t, r, "two", tr)
		sound(t, r)
	}
}

// slowTarget stops at the first file until it is let go.
type slowTarget struct {
	*repotest.Target
	once    *sync.Once
	reached chan struct{}
	release chan struct{}
}

func (s slowTarget) Create(ctx context.Context, e *tree.Entry) (tree.Writer, error) {
	if e.Type == tree.File {
		s.once.Do(func() { close(s.reached); <-s.release })
	}
	return s.Target.Create(ctx, e)
}

func TestPruneLeavesWhatARunningRestoreReads(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.Random(10, 300)
	backup(t, r, tr, "one", "")
	target := slowTarget{repotest.NewTarget(), new(sync.Once), make(chan struct{}), make(chan struct{})}
	done := make(chan error)
	go func() {
		_, err := point(t, r, "one").Restore(context.Background(), target, repo.RestoreOptions{})
		done <- err
	}()
	<-target.reached
	must(t, r.Forget(t.Context(), "one", start))
	if p := prune(t, r); p.DeletedPacks != 0 {
		t.Errorf("%+v", p)
	}
	close(target.release)
	must(t, <-done)
	if d := tr.Diff(target.Target, nil); d != "" {
		t.Error(d)
	}
	if p := prune(t, r); p.DeletedPacks == 0 {
		t.Errorf("%+v", p)
	}
}

func TestNoScheduleOfBackupsCopiesForgetsAndPrunesLosesANeededByte(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			schedule(t, seed)
		})
	}
}

// schedule runs several writers, a forgetter and a pruner at once over one repository, then checks what must be there.
func schedule(t *testing.T, seed uint64) {
	ctx := context.Background()
	registry := repo.NewRegistry()
	s, other := mem.New(), mem.New()
	c := config(s, vaultA)
	c.Registry = registry
	r, err := repo.Create(ctx, c, repo.Descriptor{}, nil)
	must(t, err)
	source := create(t, other, vaultB)
	trees := make([]*repotest.Tree, 6)
	for i := range trees {
		// Few different contents, so that writers keep finding each other's chunks.
		trees[i] = repotest.Random(uint64(i%3)+seed*10, 60)
		if i >= 3 {
			repotest.Mutate(trees[i], seed, 3)
		}
		backup(t, source, trees[i], fmt.Sprint("src", i), "")
	}
	var mu sync.Mutex
	live := map[string]int{}
	var writers, others sync.WaitGroup
	stop := make(chan struct{})
	for w := range 3 {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			// A repository of its own, as jobs have it, closed now and then.
			mine, err := repo.Open(ctx, c)
			if err != nil {
				t.Error(err)
				return
			}
			defer mine.Close()
			for n := range 12 {
				id, k := fmt.Sprintf("rp-%d-%d", w, n), rng.IntN(len(trees))
				base := ""
				mu.Lock()
				for b := range live {
					base = b
				}
				mu.Unlock()
				meta := repo.Meta{Owner: "o", ResourceARN: fmt.Sprint(k)}
				if rng.IntN(3) == 0 {
					var p *repo.Point
					if p, err = source.Point(ctx, fmt.Sprint("src", k)); err == nil {
						_, err = repo.Copy(ctx, p, mine, repo.CopyOptions{ID: id, Meta: meta})
					}
				} else {
					_, err = mine.Backup(ctx, trees[k], repo.BackupOptions{ID: id, Base: base, Meta: meta})
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				live[id] = k
				mu.Unlock()
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := r.Prune(ctx, repo.PruneOptions{RepackDead: 0.2}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			report, err := r.VerifyAll(ctx, nil)
			if err != nil || !report.OK() {
				t.Error(err, report.Findings)
				return
			}
			if _, err := r.List(ctx); err != nil {
				t.Error(err)
				return
			}
		}
	})
	others.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 99))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rng.IntN(10)) * time.Millisecond):
			}
			mu.Lock()
			var id string
			for id = range live {
				break
			}
			if len(live) > 3 {
				delete(live, id)
			} else {
				id = ""
			}
			mu.Unlock()
			if id != "" {
				if err := r.Forget(ctx, id, start); err != nil {
					t.Error(err)
				}
			}
		}
	})
	writers.Wait()
	close(stop)
	others.Wait()
	prune(t, r)
	for id, k := range live {
		same(t, r, id, trees[k])
	}
	sound(t, r)
	must(t, r.Close())
	r = open(t, s.Clone(), vaultA)
	prune(t, r)
	for id, k := range live {
		same(t, r, id, trees[k])
	}
	sound(t, r)
}
