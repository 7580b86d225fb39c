package repo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

var errCrash = errors.New("the machine has stopped")

// gate is a store whose operations wait until a scheduler lets them go, one at a time, in an order that it draws. It may
// stop the machine instead: then every operation fails, and what waited just then happened or did not.
type gate struct {
	blob.Store

	mu      sync.Mutex
	waiting []chan verdict
	dead    bool
	arrived chan struct{} // holds one token when something has changed
}

// verdict is what the scheduler says to an operation.
type verdict int

const (
	goOn    verdict = iota
	stopped         // the machine has stopped before it
	tooLate         // it happens, and nobody hears of it
)

func newGate(s blob.Store) *gate { return &gate{Store: s, arrived: make(chan struct{}, 1)} }

func (g *gate) signal() {
	select {
	case g.arrived <- struct{}{}:
	default:
	}
}

// do runs an operation when the scheduler says so.
func (g *gate) do(op func() error) error {
	ch := make(chan verdict, 1)
	g.mu.Lock()
	if g.dead {
		g.mu.Unlock()
		return errCrash
	}
	g.waiting = append(g.waiting, ch)
	g.mu.Unlock()
	g.signal()
	switch <-ch {
	case goOn:
		return op()
	case tooLate:
		return errors.Join(errCrash, op())
	}
	return errCrash
}

// next lets one operation go that rng chooses. With stop the machine stops, and rng says of each whether it still happens.
func (g *gate) next(rng *rand.Rand, stop bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if stop {
		g.dead = true
		for _, ch := range g.waiting {
			ch <- stopped + verdict(rng.IntN(2))
		}
		g.waiting = nil
		return
	}
	if n := len(g.waiting); n > 0 {
		k := rng.IntN(n)
		g.waiting[k] <- goOn
		g.waiting[k] = g.waiting[n-1]
		g.waiting = g.waiting[:n-1]
	}
}

func (g *gate) pending() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

func (g *gate) Put(ctx context.Context, name string, data []byte) error {
	return g.do(func() error { return g.Store.Put(ctx, name, data) })
}

func (g *gate) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	return g.do(func() error { return g.Store.ReadAt(ctx, name, p, off) })
}

func (g *gate) Stat(ctx context.Context, name string) (info blob.Info, err error) {
	err = g.do(func() error { info, err = g.Store.Stat(ctx, name); return err })
	return info, err
}

func (g *gate) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	return g.do(func() error { return g.Store.List(ctx, prefix, fn) })
}

func (g *gate) Delete(ctx context.Context, name string) error {
	return g.do(func() error { return g.Store.Delete(ctx, name) })
}

func (g *gate) Create(ctx context.Context, name string) (blob.Writer, error) {
	w, err := g.Store.Create(ctx, name)
	return &gatedWriter{Writer: w, g: g}, err
}

type gatedWriter struct {
	blob.Writer
	g *gate
}

func (w *gatedWriter) Commit(ctx context.Context) error {
	return w.g.do(func() error { return w.Writer.Commit(ctx) })
}

// blocksOf is a tree of one volume of the given blocks, of which there are only a few different ones in the world, and some
// small files.
func blocksOf(blocks ...int) *repotest.Tree {
	t := repotest.New()
	var data []byte
	for _, b := range blocks {
		data = append(data, repotest.Noise(rand.New(rand.NewPCG(uint64(b), 99)), 4096)...)
	}
	t.Add(repotest.File{Entry: tree.Entry{Path: "volume", Type: tree.File}, Data: data})
	return t
}

func backupBlocks(ctx context.Context, r *repo.Repository, t *repotest.Tree, id string) error {
	_, err := r.Backup(ctx, t, repo.BackupOptions{
		ID: id, Meta: repo.Meta{Owner: "o", ResourceARN: "r"}, BlockSize: volume,
	})
	return err
}

func volume(*tree.Entry) int { return 4096 }

// ground is a vault to begin a schedule with: what is kept, what will be forgotten, and what a crash left.
func ground(t testing.TB, seed uint64) *mem.Store {
	s := mem.New()
	r := create(t, s, vaultA)
	rng := rand.New(rand.NewPCG(seed, 7))
	ctx := context.Background()
	for i := range 4 {
		must(t, backupBlocks(ctx, r, blocksOf(rng.IntN(6), rng.IntN(6), rng.IntN(6)), fmt.Sprint("old", i)))
	}
	must(t, r.Forget(ctx, "old3", start))
	must(t, r.Close())
	r, err := repo.Open(ctx, config(noRefs{s}, vaultA))
	must(t, err)
	backupBlocks(ctx, r, blocksOf(5, 6, 7), "cut")
	must(t, r.Close())
	return s
}

// interleaving is one schedule.
type interleaving struct {
	t     testing.TB
	rng   *rand.Rand
	seed  uint64
	mu    sync.Mutex
	acked map[string]bool
}

func (x *interleaving) ack(id string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.acked[id] = true
	}
}

// run lets backups, a copy, a reader, a forget and prunes go on at once over s, in an order that the seed draws, maybe until
// a crash. Then everything acknowledged must be there, and two quiet prunes must leave nothing that nobody needs.
func (x *interleaving) run(s *mem.Store, source *repo.Point, registry *repo.Registry) (operations int, crashed bool) {
	t, ctx, rng := x.t, context.Background(), x.rng
	g := newGate(s)
	c := config(g, vaultA)
	c.Workers, c.Registry, c.TrustMemory = 1, registry, true
	plain := c
	plain.Store = s
	var active atomic.Int64
	var wait sync.WaitGroup
	actor := func(fn func(r *repo.Repository) error) {
		active.Add(1)
		wait.Go(func() {
			defer g.signal()
			defer active.Add(-1)
			r, err := repo.Open(ctx, c)
			if err == nil {
				err = fn(r)
				r.Close()
			}
			if err != nil && !errors.Is(err, errCrash) && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Unavailable) {
				t.Errorf("seed %d: %v", x.seed, err)
			}
		})
	}
	backup := func(id string, tr *repotest.Tree) {
		actor(func(r *repo.Repository) error {
			err := backupBlocks(ctx, r, tr, id)
			x.ack(id, err)
			return err
		})
	}
	pick := func() int { return rng.IntN(8) }
	backup("new0", blocksOf(pick(), pick(), pick()))
	backup("new1", blocksOf(pick(), pick()))
	actor(func(r *repo.Repository) error {
		_, err := repo.Copy(ctx, source, r, repo.CopyOptions{ID: "copied"})
		x.ack("copied", err)
		return err
	})
	for range 1 + rng.IntN(2) {
		o := repo.PruneOptions{RepackDead: []float64{-1, 0.01, 0.4}[rng.IntN(3)], Grace: time.Duration(rng.IntN(2)) * time.Hour}
		actor(func(r *repo.Repository) error { _, err := r.Prune(ctx, o); return err })
	}
	actor(func(r *repo.Repository) error { return r.Forget(ctx, "old1", start) })
	actor(func(r *repo.Repository) error {
		p, err := r.Point(ctx, "old1")
		if err == nil {
			_, err = p.Restore(ctx, repotest.NewTarget(), repo.RestoreOptions{})
		}
		return err
	})
	end := 1 << 30
	if rng.IntN(2) == 0 {
		end = rng.IntN(200)
	}
	for active.Load() > 0 {
		for range 4 {
			runtime.Gosched() // whoever can come, comes
		}
		if operations == end {
			crashed = true
			g.next(rng, true)
			break
		}
		if g.pending() == 0 {
			<-g.arrived
			continue
		}
		operations++
		g.next(rng, false)
	}
	wait.Wait()
	x.inspect(s, plain)
	return operations, crashed
}

// inspect opens the vault as it is now, prunes it twice, and looks at everything.
func (x *interleaving) inspect(s *mem.Store, c repo.Config) {
	t, ctx := x.t, context.Background()
	r, err := repo.Open(ctx, c)
	must(t, err)
	defer r.Close()
	later := start.Add(week) // no session goes on any more
	for range 2 {
		_, err := r.Prune(ctx, repo.PruneOptions{RepackDead: 1e-9, Now: later})
		must(t, err)
	}
	again, err := r.Prune(ctx, repo.PruneOptions{RepackDead: 1e-9, Now: later})
	must(t, err)
	if again.DeletedPacks+again.DeletedObjects+again.DeferredPacks+again.TrashedPacks+again.RepackedPacks+again.RescuedPacks != 0 {
		t.Errorf("seed %d: garbage is left after two quiet prunes: %+v", x.seed, again)
	}
	look := r.Check // where every chunk is; now and then what it holds too, which costs more
	if x.seed%8 == 0 {
		look = func(ctx context.Context) (repo.CheckReport, error) { return r.VerifyAll(ctx, nil) }
	}
	report, err := look(ctx)
	must(t, err)
	if !report.OK() {
		t.Errorf("seed %d: %+v", x.seed, report.Findings)
	}
	if n := len(packs(s)); int64(n) != report.Packs {
		t.Errorf("seed %d: %d packs in the store, %d in the index", x.seed, n, report.Packs)
	}
	list, err := r.List(ctx)
	must(t, err)
	there := map[string]bool{}
	for _, p := range list {
		there[p.ID] = true
	}
	for id := range x.acked {
		if !there[id] {
			t.Errorf("seed %d: recovery point %s was acknowledged and is gone", x.seed, id)
		}
	}
	for _, id := range []string{"old0", "old2"} {
		if !there[id] {
			t.Errorf("seed %d: recovery point %s is gone", x.seed, id)
		}
	}
}

// seeds returns how many schedules to run and the first seed: STRONGROOM_SEED, if it is set, replays one.
func seeds(t testing.TB, everyday, full int) (n int, first uint64) {
	if v := os.Getenv("STRONGROOM_SEED"); v != "" {
		first, err := strconv.ParseUint(v, 10, 64)
		must(t, err)
		return 1, first
	}
	return bar.Size(everyday, full), uint64(time.Now().UnixNano())
}

func TestB19NoScheduleOfInputAndOutputLosesAChunkOrLeavesGarbage(t *testing.T) {
	t.Parallel()
	source := create(t, mem.New(), vaultB)
	must(t, backupBlocks(t.Context(), source, blocksOf(0, 4, 7), "src"))
	p := point(t, source, "src")
	grounds := make([]*mem.Store, 8)
	for i := range grounds {
		grounds[i] = ground(t, uint64(i))
	}
	n, first := seeds(t, 60, 100_000)
	var next, operations, crashes atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			registry := repo.NewRegistry()
			for {
				k := next.Add(1) - 1
				if k >= int64(n) || t.Failed() {
					return
				}
				seed := first + uint64(k)
				x := &interleaving{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 19)), acked: map[string]bool{}}
				ops, crashed := x.run(grounds[x.rng.IntN(len(grounds))].Clone(), p, registry)
				operations.Add(int64(ops))
				if crashed {
					crashes.Add(1)
				}
			}
		})
	}
	workers.Wait()
	bar.Report(t, "B19", "engine: %d random schedules from seed %d, %d operations drawn one by one, %d crashes: 0 chunks lost, 0 garbage after 2 quiet prunes", n, first, operations.Load(), crashes.Load())
}
