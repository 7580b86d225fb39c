package repo_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"strongroom/internal/blob/crashfs"
	"strongroom/internal/blob/disk"
	"strongroom/internal/durable"
	"strongroom/internal/repo"
	"strongroom/test/bar"
)

// The power fails after each sync of every workload of up to three steps, and at random moments of random workloads, some of
// them on what an earlier crash left. Whatever the disk kept of what was not synced: the vault opens, what was acknowledged
// is there, what was not is there whole or not at all, and the next Prune leaves nothing behind.
func TestB03PowerLossAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	want := bar.Size(160, 50_000)
	src := tinySource(t)
	s := seed(t)
	in := newInspector(t, runtime.GOMAXPROCS(0))
	every := &exhaustive{t: t, src: src, in: in, r: rand.New(rand.NewPCG(s, 1)), depth: bar.Size(1, 3), each: bar.Size(1, 4)}
	fsys, o := prepared(t)
	every.from(fsys, o, "", 0)
	few := every.taken
	runs := 0
	for taken := few; taken < want && in.bad() == nil; runs++ {
		x := &chance{t: t, src: src, in: in, r: rand.New(rand.NewPCG(s, uint64(runs+2)))}
		fsys, o := prepared(t)
		for range 4 {
			if fsys = x.run(fsys, o, min(12, want-taken-x.taken)); fsys == nil {
				break
			}
		}
		taken += x.taken
	}
	n := in.close()
	bar.Report(t, "B03", "%d images (%d after every sync of %d workloads of up to %d steps, the rest of %d random workloads): 0 lost, 0 half, 0 orphans", n, few, every.workloads, every.depth, runs)
}

// exhaustive tries all workloads of a few steps.
type exhaustive struct {
	t         *testing.T
	src       *repo.Point
	in        *inspector
	r         *rand.Rand
	depth     int // steps of a workload
	each      int // images per sync
	taken     int
	workloads int
}

// from tries all workloads that begin with those that made fsys.
func (x *exhaustive) from(fsys *crashfs.FS, o *oracle, done string, n int) {
	if n == x.depth || x.in.bad() != nil {
		return
	}
	for _, st := range steps {
		if x.in.bad() != nil {
			return
		}
		x.workloads++
		// The next process, on a machine that goes on: what was not synced still is not.
		fsys, o := fsys.Kill(), o.clone()
		name := done + " " + st.name
		r, s, err := onDisk(fsys)
		must(x.t, err)
		fsys.Watch(func(op crashfs.Op, im crashfs.Imager) {
			if op.Kind != crashfs.Sync && op.Kind != crashfs.SyncDir {
				return
			}
			for range x.each {
				x.taken++
				x.in.images <- image{im.Crash(x.r), o.clone(), fmt.Sprintf("%s: %s %s", name, op.Kind, op.Name)}
			}
		})
		err = st.do(context.Background(), r, s, o, x.src)
		fsys.Watch(nil)
		if err != nil {
			x.t.Fatalf("%s: %v", name, err)
		}
		must(x.t, r.Close())
		x.taken++
		x.in.images <- image{fsys.Crash(x.r), o.clone(), name + ": the end"}
		x.from(fsys, o, name, n+1)
	}
}

// chance does random things.
type chance struct {
	t     *testing.T
	src   *repo.Point
	in    *inspector
	r     *rand.Rand
	taken int
}

// run does a few steps, some at once, takes at most want images at any of their operations, and returns one of them for the
// work to go on with; o knows about it then.
func (x *chance) run(fsys *crashfs.FS, o *oracle, want int) *crashfs.FS {
	if want <= 0 {
		return nil
	}
	r, s, err := onDisk(fsys)
	must(x.t, err)
	if err := o.adopt(r); err != nil {
		x.t.Fatal(err)
	}
	var mu sync.Mutex // operations of one file system come one at a time, but so must the end
	var last image
	log := ""
	fsys.Watch(func(op crashfs.Op, im crashfs.Imager) {
		mu.Lock()
		defer mu.Unlock()
		if !op.Kind.Changes() || x.r.IntN(18) != 0 || want <= 0 {
			return
		}
		want--
		x.taken++
		last = image{im.Crash(x.r), o.clone(), fmt.Sprintf("%s: %s %s", log, op.Kind, op.Name)}
		x.in.images <- image{last.fs.Kill(), last.o.clone(), last.what}
	})
	for range 2 + x.r.IntN(3) {
		var wg sync.WaitGroup
		for range 1 + x.r.IntN(3) {
			mu.Lock()
			st := steps[x.r.IntN(len(steps))]
			log += " " + st.name
			mu.Unlock()
			wg.Go(func() {
				if err := st.do(context.Background(), r, s, o, x.src); err != nil {
					x.t.Errorf("%s: %v", log, err)
				}
			})
		}
		mu.Lock()
		log += ";"
		mu.Unlock()
		wg.Wait()
	}
	fsys.Watch(nil)
	must(x.t, r.Close())
	if last.fs == nil {
		return nil
	}
	*o = oracle{next: o.next, points: last.o.points, keys: last.o.keys}
	return last.fs
}

// A vault that is being made is there or can be made anew, whenever the power fails.
func TestPowerLossWhileAVaultIsMade(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(seed(t), 1))
	fsys := crashfs.New("/region/vaults")
	var images []*crashfs.FS
	fsys.Watch(func(op crashfs.Op, im crashfs.Imager) {
		if op.Kind.Changes() {
			images = append(images, im.Crash(r), im.Crash(r))
		}
	})
	s, err := disk.OpenOn(fsys, vaultDir)
	must(t, err)
	must(t, create(t, s, vaultA).Close())
	fsys.Watch(nil)
	for i, x := range append(images, fsys.Crash(r)) {
		s, err := disk.OpenOn(x, vaultDir)
		must(t, err)
		made, err := repo.Made(t.Context(), s)
		must(t, err)
		if !made && i == len(images) {
			t.Fatal("an acknowledged vault is gone")
		}
		if !made {
			must(t, create(t, s, vaultA).Close())
		}
		o := newOracle()
		o.keys = 1
		if err := o.verify(x); err != nil {
			t.Fatal(err)
		}
	}
}

// careless is a file system on which some syncs are forgotten.
type careless struct {
	*crashfs.FS
	forget func(kind crashfs.Kind, name string) bool
	hits   atomic.Int64
}

func (c *careless) skip(kind crashfs.Kind, name string) bool {
	if !c.forget(kind, strings.TrimPrefix(name, vaultDir)) {
		return false
	}
	c.hits.Add(1)
	return true
}

func (c *careless) SyncDir(name string) error {
	if c.skip(crashfs.SyncDir, name) {
		return nil
	}
	return c.FS.SyncDir(name)
}

func (c *careless) Open(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := c.FS.Open(name, flag, perm)
	return &carelessFile{f, c, name}, err
}

type carelessFile struct {
	durable.File
	c    *careless
	name string
}

func (f *carelessFile) Sync() error {
	if f.c.skip(crashfs.Sync, f.name) {
		return nil
	}
	return f.File.Sync()
}

// The images would show it if any of the syncs were missing: none is there for nothing, and the proof above proves something.
func TestTheImagesShowEveryMissingSync(t *testing.T) {
	t.Parallel()
	dir := func(what string) func(crashfs.Kind, string) bool {
		return func(k crashfs.Kind, name string) bool { return k == crashfs.SyncDir && name == what }
	}
	below := func(what string) func(crashfs.Kind, string) bool {
		return func(k crashfs.Kind, name string) bool { return k == crashfs.SyncDir && strings.HasPrefix(name, what) }
	}
	src := tinySource(t)
	for what, forget := range map[string]func(crashfs.Kind, string) bool{
		"content of files":        func(k crashfs.Kind, _ string) bool { return k == crashfs.Sync },
		"names of packs":          below("/packs/"),
		"directories of packs":    dir("/packs"),
		"names of meta packs":     below("/mpacks/"),
		"names of index segments": dir("/index"),
		"names of reference sets": below("/refs/"),
		"directories of them":     dir("/refs"),
		"names of records":        dir("/rps"),
		"names in the journal":    dir("/journal"),
		"names of envelopes":      dir("/keys"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed(t), 1))
			for range 40 {
				fsys, o := prepared(t)
				c := &careless{FS: fsys, forget: forget}
				rp, s, err := onDisk(c)
				must(t, err)
				for _, st := range steps {
					if st.name != "prune" {
						must(t, st.do(t.Context(), rp, s, o, src))
					}
				}
				must(t, rp.Close())
				if c.hits.Load() == 0 {
					continue // a new pack in an old directory
				}
				for range 8 {
					if o.clone().verify(fsys.Crash(r)) != nil {
						return
					}
				}
			}
			t.Error("no image shows it")
		})
	}
}
