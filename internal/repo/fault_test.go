package repo_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/blob/wrap"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
)

// history is what the callers of a repository were told.
type history struct {
	trees     map[string]*repotest.Tree // by recovery point, everything that was tried
	acked     map[string]bool
	forgotten map[string]bool // Forget was called, whatever came of it
}

// workload does a bit of everything on a store that may fail, and remembers what it was told.
func workload(store *wrap.Faulty, source *repo.Repository) *history {
	ctx := context.Background()
	h := &history{trees: map[string]*repotest.Tree{}, acked: map[string]bool{}, forgotten: map[string]bool{}}
	r, err := repo.Open(ctx, config(store, vaultA))
	if err != nil {
		return h
	}
	defer r.Close()
	tr := small()
	base := ""
	for i := range 3 {
		id := fmt.Sprintf("rp%d", i)
		tr = tr.Clone()
		tr.Write(fmt.Sprintf("f%d", i), fmt.Appendf(nil, "%0500d", i))
		h.trees[id] = tr
		if _, err := r.Backup(ctx, tr, repo.BackupOptions{ID: id, Base: base, Meta: repo.Meta{Owner: "o", ResourceARN: "r"}}); err == nil {
			h.acked[id] = true
			base = id
		}
	}
	h.trees["copied"] = small()
	if p, err := source.Point(ctx, "src"); err == nil {
		if _, err := repo.Copy(ctx, p, r, repo.CopyOptions{ID: "copied"}); err == nil {
			h.acked["copied"] = true
		}
	}
	h.forgotten["rp0"] = true
	r.Forget(ctx, "rp0", start)
	r.Prune(ctx, repo.PruneOptions{Grace: time.Hour, RepackDead: 0.01}) // into the trash, and moves frames
	r.SetRetention(ctx, "rp1", start.AddDate(1, 0, 0), true)
	r.Prune(ctx, repo.PruneOptions{Grace: time.Hour, Now: start.Add(time.Hour)}) // out of it
	return h
}

// holds opens the store as after a crash and checks that everything acknowledged is there and all is sound.
func holds(t *testing.T, s *mem.Store, h *history) {
	t.Helper()
	ctx := context.Background()
	s = s.Clone()
	r := open(t, s, vaultA)
	defer r.Close()
	report, err := r.Check(ctx)
	must(t, err)
	if !report.OK() {
		t.Fatalf("%+v", report.Findings)
	}
	for id, tr := range h.trees {
		_, err := r.Point(ctx, id)
		if fault.Is(err, fault.NotFound) {
			if h.acked[id] && !h.forgotten[id] {
				t.Fatalf("recovery point %s was acknowledged and is gone", id)
			}
			continue
		}
		must(t, err)
		same(t, r, id, tr)
	}
	// A retry heals, and a Prune leaves what is needed and nothing else.
	for id, tr := range h.trees {
		if !h.forgotten[id] {
			backup(t, r, tr, id, "")
		}
	}
	_, err = r.Prune(ctx, repo.PruneOptions{})
	must(t, err)
	again, err := r.Prune(ctx, repo.PruneOptions{})
	must(t, err)
	if again.DeletedPacks+again.DeletedObjects+again.DeferredPacks != 0 {
		t.Fatalf("a second Prune found something to do: %+v", again)
	}
	sound(t, r)
}

func TestAnyFailingOperationNeitherLosesNorFakesARecoveryPoint(t *testing.T) {
	t.Parallel()
	sourceStore := mem.New()
	source := create(t, sourceStore, vaultB)
	backup(t, source, small(), "src", "")
	fresh := mem.New()
	must(t, create(t, fresh, vaultA).Close())

	count := wrap.New(fresh.Clone())
	count.SetPlan(wrap.Plan{})
	h := workload(count, source)
	ops, _ := count.Count()
	if len(h.acked) != 4 || ops < 50 {
		t.Fatalf("%d operations, acknowledged %v", ops, h.acked)
	}
	for _, plan := range []wrap.Plan{{}, {Persist: true}, {Sticky: true}, {Sticky: true, Persist: true}} {
		t.Run(fmt.Sprintf("%+v", plan), func(t *testing.T) {
			t.Parallel()
			for n := 1; n <= ops; n++ {
				s := fresh.Clone()
				f := wrap.New(s)
				p := plan
				p.At = n
				f.SetPlan(p)
				h := workload(f, source)
				func() {
					defer func() {
						if t.Failed() {
							t.Logf("the failing operation was number %d", n)
						}
					}()
					holds(t, s, h)
				}()
			}
		})
	}
}

func TestAnInterruptedCreateCanBeRepeated(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		s := mem.New()
		f := wrap.New(s)
		f.SetPlan(wrap.Plan{At: n, Sticky: true, Persist: true})
		r, err := repo.Create(t.Context(), config(f, vaultA), repo.Descriptor{}, []repo.Envelope{{Kind: "kms"}, {Kind: "recipient"}})
		if err == nil {
			must(t, r.Close())
			return
		}
		r, err = repo.Create(t.Context(), config(s, vaultA), repo.Descriptor{}, []repo.Envelope{{Kind: "kms"}})
		if fault.Is(err, fault.Exists) { // it had been completed
			r, err = repo.Open(t.Context(), config(s, vaultA))
		}
		must(t, err)
		envelopes, err := repo.Envelopes(t.Context(), s)
		must(t, err)
		if len(envelopes) == 0 || envelopes[0].Kind != "kms" {
			t.Fatalf("%v", envelopes)
		}
		backup(t, r, small(), "one", "")
	}
}
