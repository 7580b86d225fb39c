package repo_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/blob/wrap"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
)

func TestAReferenceSetBuildsOnTheLastOneAndIsCompleteAgainAfterSixteen(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	r.BuildOnAnything()
	tr := small()
	base, depths := "", []int{}
	meta := repo.Meta{Owner: "o", ResourceARN: "r"}
	for i := range 20 {
		id := fmt.Sprintf("rp%02d", i)
		tr.Write("f1", fmt.Appendf(nil, "%0900d", i))
		_, err := r.Backup(t.Context(), tr, repo.BackupOptions{ID: id, Base: base, Meta: meta})
		must(t, err)
		depths = append(depths, r.RefsDepth(t, id))
		base = id
	}
	want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3}
	if !slices.Equal(depths, want) {
		t.Errorf("depths %v", depths)
	}
	// Another owner's, or another resource's, is not built on.
	for i, m := range []repo.Meta{{Owner: "p", ResourceARN: "r"}, {Owner: "o", ResourceARN: "s"}} {
		id := fmt.Sprint("other", i)
		_, err := r.Backup(t.Context(), tr, repo.BackupOptions{ID: id, Base: base, Meta: m})
		must(t, err)
		if d := r.RefsDepth(t, id); d != 0 {
			t.Errorf("%s has depth %d", id, d)
		}
	}
	// What others build on stays when its recovery point goes, and goes with the last of them.
	for i := range 15 {
		must(t, r.Forget(t.Context(), fmt.Sprintf("rp%02d", i), start))
	}
	prune(t, r)
	refs := func() (n int) {
		for _, name := range s.Names() {
			if strings.HasPrefix(name, "refs/") {
				n++
			}
		}
		return n
	}
	if n := refs(); n != 16+4+2 {
		t.Errorf("%d reference sets", n)
	}
	same(t, r, "rp19", tr)
	sound(t, r)
	must(t, r.Forget(t.Context(), "rp15", start))
	prune(t, r)
	if n := refs(); n != 4+2 {
		t.Errorf("%d reference sets at the end", n)
	}
	sound(t, r)
}

func TestALostBaseIsNoticedAndNothingIsFreed(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	r.BuildOnAnything()
	tr := small()
	meta := repo.Meta{Owner: "o", ResourceARN: "r"}
	for i, base := range []string{"", "rp0", "rp1"} {
		tr.Write("f1", fmt.Appendf(nil, "%0900d", i))
		_, err := r.Backup(t.Context(), tr, repo.BackupOptions{ID: fmt.Sprint("rp", i), Base: base, Meta: meta})
		must(t, err)
	}
	must(t, r.Forget(t.Context(), "rp0", start))
	prune(t, r)
	must(t, r.Close())
	for _, name := range s.Names() {
		if !strings.HasPrefix(name, "refs/") {
			continue
		}
		for _, data := range [][]byte{nil, []byte("nonsense")} {
			c := s.Clone()
			c.Damage(name, data)
			r := open(t, c, vaultA)
			before := len(c.Names())
			_, err := r.Prune(t.Context(), repo.PruneOptions{})
			wantKind(t, err, fault.Corrupt)
			if len(c.Names()) != before {
				t.Errorf("after damage to %s something was deleted", name)
			}
			report, err := r.Check(t.Context())
			must(t, err)
			if report.OK() {
				t.Errorf("damage to %s is not noticed", name)
			}
			// The next backup does not depend on it.
			_, err = r.Backup(t.Context(), tr, repo.BackupOptions{ID: "next", Base: "rp2", Meta: meta})
			must(t, err)
			same(t, r, "next", tr)
			must(t, r.Close())
		}
	}
}

// Backups, copies, forgetting and pruning in random order, some at the same time, some cut off by a store that stops working:
// whatever was acknowledged must be protected by reference sets that can be read, and hold what it should.
func TestNoScheduleBreaksReferenceSetsThatBuildOnOthers(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if s := os.Getenv("STRONGROOM_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	for n := range uint64(4) {
		t.Run(fmt.Sprint(seed+n), func(t *testing.T) {
			t.Parallel()
			chainSchedule(t, seed+n)
		})
	}
}

// chains is the state of one schedule.
type chains struct {
	mu     sync.Mutex
	trees  map[string]*repotest.Tree // tried or acknowledged
	acked  map[string]bool
	newest [2]string
	next   int
}

func chainSchedule(t *testing.T, seed uint64) {
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	ctx := context.Background()
	s := mem.New()
	must(t, create(t, s, vaultA).Close())
	source := create(t, mem.New(), vaultB)
	c := &chains{trees: map[string]*repotest.Tree{}, acked: map[string]bool{}}
	current := [2]*repotest.Tree{small(), repotest.Random(seed, 15)}
	for life := range 7 {
		store := wrap.New(s)
		if life%2 == 1 { // this one ends when the store stops working
			store.SetPlan(wrap.Plan{At: 30 + rng.IntN(250), Sticky: true, Persist: rng.IntN(2) == 0})
		}
		r, err := repo.Open(ctx, config(store, vaultA))
		if err != nil {
			continue
		}
		r.BuildOnAnything()
		for range 9 {
			var together sync.WaitGroup
			for range 1 + rng.IntN(2) {
				line := rng.IntN(2)
				switch k := rng.IntN(10); {
				case k < 5:
					current[line] = current[line].Clone()
					repotest.Mutate(current[line], rng.Uint64(), 3)
					together.Go(c.backup(t, r, source, line, current[line], rng.IntN(4) == 0))
				case k < 7:
					together.Go(c.forget(r, rng.IntN(100)))
				default:
					grace := 0
					if rng.IntN(3) == 0 {
						grace = 1
					}
					dead := []float64{0.05, 0.3, -1}[rng.IntN(3)]
					together.Go(func() {
						_, err := r.Prune(ctx, repo.PruneOptions{RepackDead: dead, Grace: time.Duration(grace) * time.Hour})
						if err != nil && life%2 == 0 && !fault.Is(err, fault.Unavailable) {
							t.Error(err)
						}
					})
				}
			}
			together.Wait()
		}
		r.Close()
		c.holds(t, s.Clone())
		if t.Failed() {
			return
		}
	}
}

func (c *chains) backup(t *testing.T, r, source *repo.Repository, line int, tr *repotest.Tree, copied bool) func() {
	c.mu.Lock()
	id, base := fmt.Sprintf("rp%d", c.next), c.newest[line]
	c.next++
	c.trees[id] = tr
	c.mu.Unlock()
	return func() {
		ctx := context.Background()
		meta := repo.Meta{Owner: "o", ResourceARN: fmt.Sprint("line", line)}
		var err error
		if copied {
			backup(t, source, tr, id, "")
			var p *repo.Point
			if p, err = source.Point(ctx, id); err == nil {
				_, err = repo.Copy(ctx, p, r, repo.CopyOptions{ID: id, Meta: meta})
			}
		} else {
			_, err = r.Backup(ctx, tr, repo.BackupOptions{ID: id, Base: base, Meta: meta})
		}
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.acked[id], c.newest[line] = true, id
		}
	}
}

// forget forgets one of the recovery points, more often than not an old one.
func (c *chains) forget(r *repo.Repository, n int) func() {
	return func() {
		c.mu.Lock()
		var ids []string
		for id := range c.acked {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if len(ids) < 4 {
			c.mu.Unlock()
			return
		}
		id := ids[n%len(ids)]
		delete(c.acked, id)
		c.mu.Unlock()
		r.Forget(context.Background(), id, start)
	}
}

// holds checks everything as after a crash.
func (c *chains) holds(t *testing.T, s *mem.Store) {
	t.Helper()
	r := open(t, s, vaultA)
	defer r.Close()
	sound(t, r)
	for range 2 {
		if _, err := r.Prune(context.Background(), repo.PruneOptions{RepackDead: 0.1}); err != nil {
			t.Error(err)
		}
		for id := range c.acked {
			same(t, r, id, c.trees[id])
		}
		sound(t, r)
	}
}
