package repo_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/test/bar"
)

// kept is a recovery point and when it may go.
type kept struct {
	tree   *repotest.Tree
	until  time.Time // zero: at any time
	locked bool
}

// A pack is shared by recovery points of every age, moves, falls into the trash and comes back into use under other names.
// Whatever happens, it stays as long as one recovery point needs it, and none that is locked can be dropped before its time.
func TestB27EveryPackStaysAsLongAsARecoveryPointNeedsIt(t *testing.T) {
	t.Parallel()
	steps := bar.Size(250, 10_000)
	_, seed := seeds(t, 1, 1)
	ctx, rng := context.Background(), rand.New(rand.NewPCG(seed, 27))
	now := clock.NewFake(start)
	s := mem.New()
	create(t, s, vaultA).Close()
	c := config(s, vaultA)
	c.Clock, c.Workers, c.TrustMemory = now, 1, true
	r, err := repo.Open(ctx, c)
	must(t, err)
	live := map[string]kept{}
	any := func() (id string) {
		for id = range live {
			return id
		}
		return ""
	}
	var backups, refused, dropped, recalled, prunes, deleted, repacked int
	last := ""
	for n := range steps {
		now.Advance(time.Duration(rng.IntN(6)) * time.Hour)
		switch rng.IntN(8) {
		case 0, 1, 2: // back up, often what is there already or was there before
			id := fmt.Sprintf("rp%05d", n)
			k := kept{tree: blocksOf(rng.IntN(24), rng.IntN(24), rng.IntN(24), rng.IntN(24))}
			if rng.IntN(2) == 0 {
				k.until, k.locked = now.Now().Add(time.Duration(rng.IntN(20*24))*time.Hour), true
			}
			_, err := r.Backup(ctx, k.tree, repo.BackupOptions{ID: id, BlockSize: volume, Meta: repo.Meta{Owner: "o", ResourceARN: "r", RetainUntil: k.until, Locked: k.locked}})
			must(t, err)
			live[id] = k
			backups++
		case 3, 4: // drop
			id := any()
			if id == "" {
				break
			}
			err := r.Forget(ctx, id, now.Now())
			if k := live[id]; k.locked && now.Now().Before(k.until) {
				wantKind(t, err, fault.State)
				refused++
				break
			}
			must(t, err)
			last = id
			delete(live, id)
			dropped++
		case 5: // lock for longer
			if id := any(); id != "" {
				k := live[id]
				k.until, k.locked = now.Now().Add(30*24*time.Hour), true
				must(t, r.SetRetention(ctx, id, k.until, true))
				live[id] = k
			}
		case 6: // the process dies
			must(t, r.Close())
			r, err = repo.Open(ctx, c)
			must(t, err)
			if last != "" && rng.IntN(3) == 0 { // bring back what was dropped last, if it is still there
				if err := r.Unforget(ctx, last); err == nil {
					_, err := point(t, r, last).Restore(ctx, repotest.NewTarget(), repo.RestoreOptions{})
					must(t, err)
					recalled++
					must(t, r.Forget(ctx, last, now.Now()))
				} else if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Corrupt) {
					t.Fatal(err)
				}
				last = ""
			}
		default:
			p := pruneWith(t, r, repo.PruneOptions{Grace: time.Duration(rng.IntN(3)) * 24 * time.Hour, RepackDead: []float64{-1, 0.05, 0.4}[rng.IntN(3)]})
			prunes++
			deleted += p.DeletedPacks
			repacked += p.RepackedPacks
			if p.RescuedPacks != 0 {
				t.Fatalf("step %d of seed %d: %+v", n, seed, p)
			}
			report, err := r.Check(ctx)
			must(t, err)
			if !report.OK() || report.Points != int64(len(live)) {
				t.Fatalf("step %d of seed %d: %d of %d recovery points, %+v", n, seed, report.Points, len(live), report.Findings)
			}
		}
		if n%1000 == 999 || n == steps-1 {
			for id, k := range live {
				same(t, r, id, k.tree)
			}
		}
		for len(live) > 40 { // keep the vault small
			for id, k := range live {
				if !k.locked || !now.Now().Before(k.until) {
					must(t, r.Forget(ctx, id, now.Now()))
					delete(live, id)
					break
				}
				now.Advance(time.Hour)
			}
		}
	}
	if deleted == 0 || repacked == 0 || refused == 0 {
		t.Errorf("seed %d: nothing was put to the test", seed)
	}
	bar.Report(t, "B27", "%d steps from seed %d: %d backups, %d dropped, %d refused because of a lock, %d brought back, %d prunes that deleted %d packs and rewrote %d: every pack stayed as long as it was needed",
		steps, seed, backups, dropped, refused, recalled, prunes, deleted, repacked)
}
