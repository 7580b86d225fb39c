package repo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"strongroom/internal/blob/crashfs"
	"strongroom/internal/blob/disk"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/test/bar"
)

// standard does every step once on a file system that may fail, beginning with Open and ending with a restore of everything.
// each is told what became of a step.
func standard(fsys *crashfs.FS, o *oracle, src *repo.Point, each func(step string, err error) error) error {
	ctx := context.Background()
	r, s, err := onDisk(fsys)
	if err != nil {
		return each("open", err)
	}
	defer r.Close()
	for _, st := range steps {
		if err := each(st.name, st.do(ctx, r, s, o, src)); err != nil {
			return err
		}
	}
	list, err := r.List(ctx)
	for _, c := range list {
		var p *repo.Point
		if p, err = r.Point(ctx, c.ID); err == nil {
			_, err = p.Restore(ctx, discard{}, repo.RestoreOptions{})
		}
		if err != nil {
			break
		}
	}
	return each("restore", err)
}

// breakage is one way in which operations fail.
type breakage struct {
	name   string
	fault  crashfs.Fault
	sticky bool
	on     func(crashfs.Kind) bool
}

func breakages() (out []breakage) {
	space := func(k crashfs.Kind) bool {
		return k == crashfs.Create || k == crashfs.Write || k == crashfs.Truncate || k == crashfs.Reserve || k == crashfs.Mkdir || k == crashfs.Sync
	}
	for _, sticky := range []bool{false, true} {
		out = append(out,
			breakage{"EIO", crashfs.Fault{Err: unix.EIO}, sticky, func(crashfs.Kind) bool { return true }},
			breakage{"EIO although it was done", crashfs.Fault{Err: unix.EIO, After: true}, sticky, crashfs.Kind.Changes},
			breakage{"ENOSPC", crashfs.Fault{Err: unix.ENOSPC}, sticky, space},
			breakage{"short write", crashfs.Fault{Err: unix.ENOSPC, Short: true}, sticky, func(k crashfs.Kind) bool { return k == crashfs.Write }},
			breakage{"short read", crashfs.Fault{Err: unix.EIO, Short: true}, sticky, func(k crashfs.Kind) bool { return k == crashfs.Read }})
	}
	return out
}

// Each operation of the file system fails once, or from then on, in every way: there is no panic, each error is the right
// one, nothing acknowledged is lost, also when the power fails, and the vault goes on when the disk works again.
func TestB05AnyFailingOperationOfTheDiskLosesNothing(t *testing.T) {
	t.Parallel()
	src := tinySource(t)
	fresh, known := prepared(t)
	count, o := fresh.Kill(), known.clone()
	var kinds []crashfs.Kind
	count.Watch(func(op crashfs.Op, _ crashfs.Imager) { kinds = append(kinds, op.Kind) })
	must(t, standard(count, o, src, func(_ string, err error) error { return err }))
	count.Watch(nil)
	s := seed(t)
	stride := bar.Size(29, 1) // every operation, or every so many
	var runs, refused atomic.Int64
	g, _ := errgroup.WithContext(t.Context())
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, b := range breakages() {
		for n := 1 + i%stride; n <= len(kinds); n += stride {
			if !b.on(kinds[n-1]) && !b.sticky {
				continue
			}
			g.Go(func() error {
				runs.Add(1)
				no, err := survives(fresh.Kill(), known.clone(), src, b, n, rand.New(rand.NewPCG(s, uint64(n))))
				refused.Add(int64(no))
				if err != nil {
					return fmt.Errorf("%s, sticky %v, at operation %d (%s): %w", b.name, b.sticky, n, kinds[n-1], err)
				}
				return nil
			})
		}
	}
	must(t, g.Wait())
	bar.Report(t, "B05", "%d operations of the standard workload, %d failures injected, %d steps refused: 0 lost, 0 wrong errors, usable afterwards", len(kinds), runs.Load(), refused.Load())
}

// survives runs the workload with one breakage and checks what is left. refused counts the steps that failed.
func survives(fsys *crashfs.FS, o *oracle, src *repo.Point, b breakage, n int, r *rand.Rand) (refused int, err error) {
	fsys.Fail(func(op crashfs.Op) crashfs.Fault {
		if b.on(op.Kind) && (op.N == n || b.sticky && op.N > n) {
			return b.fault
		}
		return crashfs.Fault{}
	})
	suspected := false
	o.misread = b.on(crashfs.Read)
	err = standard(fsys, o, src, func(step string, err error) error {
		if err == nil {
			return nil
		}
		refused++
		suspected = suspected || fault.Is(err, fault.Unavailable)
		switch {
		case !errors.Is(err, b.fault.Err):
			return fmt.Errorf("%s failed for another reason: %w", step, err)
		case fault.Is(err, fault.Corrupt) || fault.Is(err, fault.NotFound):
			return fmt.Errorf("%s takes a failing disk for damage: %w", step, err)
		case errors.Is(err, unix.ENOSPC) && !fault.Is(err, fault.Limit):
			return fmt.Errorf("%s does not say what to do about a full disk: %w", step, err)
		case errors.Is(err, unix.ENOSPC) && step == "restore":
			return fmt.Errorf("a full disk stops a restore: %w", err)
		}
		return nil
	})
	if err != nil {
		return refused, err
	}
	fsys.Fail(nil)
	return refused, recovers(fsys, o, src, suspected, r)
}

// recovers checks a file system that works again: after power loss, and when another process goes on; if the store suspected
// the disk, after it was mounted anew.
func recovers(fsys *crashfs.FS, o *oracle, src *repo.Point, suspected bool, r *rand.Rand) error {
	if err := o.clone().verify(fsys.Crash(r)); err != nil {
		return fmt.Errorf("after power loss: %w", err)
	}
	next, known := fsys.Kill(), o.clone()
	if suspected {
		next = fsys.Crash(r)
	}
	rp, _, err := onDisk(next)
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	err = known.present(context.Background(), rp, mustStore(next))
	if err == nil {
		err = known.adopt(rp)
	}
	if cerr := rp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	err = standard(next, known, src, func(step string, err error) error {
		if err != nil {
			return fmt.Errorf("%s once the disk works again: %w", step, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := known.clone().verify(next.Crash(r)); err != nil {
		return fmt.Errorf("after going on and power loss: %w", err)
	}
	return nil
}

func mustStore(fsys *crashfs.FS) *disk.Store {
	s, err := disk.OpenOn(fsys, vaultDir)
	if err != nil {
		panic(err)
	}
	return s
}

// A sync that fails loses what it should have kept, whatever a later one says: nothing that was acknowledged may depend on it.
func TestB06AFailedSyncIsNeverBuiltOn(t *testing.T) {
	t.Parallel()
	src := tinySource(t)
	fresh, known := prepared(t)
	count, o := fresh.Kill(), known.clone()
	type sync struct {
		n    int
		dir  bool
		name string
	}
	var syncs []sync
	count.Watch(func(op crashfs.Op, _ crashfs.Imager) {
		if op.Kind == crashfs.Sync || op.Kind == crashfs.SyncDir {
			syncs = append(syncs, sync{op.N, op.Kind == crashfs.SyncDir, strings.TrimPrefix(op.Name, vaultDir)})
		}
	})
	count.Fail(nil) // counts from 1
	must(t, standard(count, o, src, func(_ string, err error) error { return err }))
	count.Watch(nil)
	s := seed(t)
	stride := bar.Size(3, 1)
	var images, suspect atomic.Int64
	g, _ := errgroup.WithContext(t.Context())
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := 0; i < len(syncs); i += stride {
		x := syncs[i]
		g.Go(func() error {
			r := rand.New(rand.NewPCG(s, uint64(i)))
			for range bar.Size(1, 3) {
				fsys, o := fresh.Kill(), known.clone()
				fsys.Fail(func(op crashfs.Op) crashfs.Fault {
					if op.N == x.n {
						return crashfs.Fault{Err: unix.EIO}
					}
					return crashfs.Fault{}
				})
				closed := false
				err := standard(fsys, o, src, func(step string, err error) error {
					var u *fault.Error
					if errors.As(err, &u) && u.Kind == fault.Unavailable {
						closed = true
					} else if closed && err == nil && (step == "backup" || step == "copy" || step == "envelope") {
						return fmt.Errorf("%s was done by a store that cannot be trusted", step)
					}
					if err != nil && !errors.Is(err, unix.EIO) {
						return fmt.Errorf("%s failed for another reason: %w", step, err)
					}
					return nil
				})
				fsys.Fail(nil)
				if closed {
					suspect.Add(1)
				}
				for range bar.Size(2, 4) {
					images.Add(2)
					if err == nil {
						err = recovers(fsys, o, src, closed, r)
					}
				}
				if err != nil {
					return fmt.Errorf("sync %d of %d (%s, directory %v): %w", i, len(syncs), x.name, x.dir, err)
				}
			}
			return nil
		})
	}
	must(t, g.Wait())
	bar.Report(t, "B06", "%d syncs of the standard workload, each failing once, %d images: 0 recovery points depend on what a failed sync lost; %d times the store refused further changes", len(syncs), images.Load(), suspect.Load())
}

// A registry remembers of which vaults the disk cannot be trusted: a job that opens one again can read it and no more.
func TestASuspectDiskStaysSuspectUntilTheProcessEnds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	fsys, o := prepared(t)
	registry := repo.NewRegistry()
	reopen := func(g *repo.Registry) *repo.Repository {
		c := config(mustStore(fsys), vaultA)
		c.Registry = g
		r, err := repo.Open(ctx, c)
		must(t, err)
		return r
	}
	r := reopen(registry)
	fsys.Fail(func(op crashfs.Op) crashfs.Fault {
		if op.Kind == crashfs.SyncDir && strings.HasSuffix(op.Name, "/rps") {
			return crashfs.Fault{Err: unix.EIO}
		}
		return crashfs.Fault{}
	})
	if err := write(ctx, r, o, ""); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	fsys.Fail(nil)
	must(t, r.Close())
	r = reopen(registry)
	wantKind(t, write(ctx, r, o, ""), fault.Unavailable)
	must(t, o.present(ctx, r, mustStore(fsys)))
	must(t, r.Close())
	r = reopen(repo.NewRegistry())
	must(t, write(ctx, r, o, ""))
	must(t, r.Close())
}
