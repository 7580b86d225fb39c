package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/resource"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

// These tests drive the provider and the vault engine together: what a user backs up is what he gets back.

func seedOf(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64() >> 12
	if s := os.Getenv("STRONGROOM_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		must(t, err)
		seed = n
	}
	t.Logf("STRONGROOM_SEED=%d", seed)
	return seed
}

func vault(t testing.TB, store blob.Store, n byte, registry ...*repo.Registry) *repo.Repository {
	t.Helper()
	c := repo.Config{
		Store: store, Vault: fmt.Sprintf("00000000-0000-4000-8000-0000000000%02x", n), Root: bytes.Repeat([]byte{n}, 32), Maint: bytes.Repeat([]byte{n + 1}, 32),
		Clock: clock.NewFake(day), Workers: 2,
	}
	if len(registry) > 0 {
		c.Registry = registry[0]
	}
	r, err := repo.Open(t.Context(), c)
	if fault.Is(err, fault.NotFound) {
		r, err = repo.Create(t.Context(), c, repo.Descriptor{}, nil)
	}
	must(t, err)
	return r
}

func backUp(t testing.TB, r *repo.Repository, dir, id, base string, o Options) repo.Receipt {
	t.Helper()
	src, err := New(Config{Root: dir, Options: o}).Source(t.Context())
	must(t, err)
	defer src.Close()
	rc, err := r.Backup(t.Context(), src, repo.BackupOptions{ID: id, Base: base, Meta: repo.Meta{Owner: "o", ResourceARN: "r"}})
	must(t, err)
	return rc
}

func copyPoint(t testing.TB, from, to *repo.Repository, id string) repo.Receipt {
	t.Helper()
	p, err := from.Point(t.Context(), id)
	must(t, err)
	rc, err := repo.Copy(t.Context(), p, to, repo.CopyOptions{ID: id, Meta: repo.Meta{Owner: "o", ResourceARN: "r"}})
	must(t, err)
	return rc
}

func bringBack(t testing.TB, r *repo.Repository, id, place string, o Options) (dir string, report repo.RestoreReport) {
	t.Helper()
	p, err := r.Point(t.Context(), id)
	must(t, err)
	target, err := New(Config{Root: place, Options: o}).Target(t.Context(), resource.Request{ID: id, CreatedAt: day})
	must(t, err)
	report, err = p.Restore(t.Context(), target, repo.RestoreOptions{})
	must(t, err)
	must(t, target.Close())
	return filepath.Join(place, target.Location()), report
}

func TestB13HostileTreesComeBackFromACopyAsTheyWere(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	trees := bar.Size(15, 1000)
	a, b := vault(t, mem.New(), 1), vault(t, mem.New(), 2)
	objects, base := 0, ""
	for i := range trees {
		from, place := memoryDir(t), memoryDir(t)
		rapid.Custom(func(rt *rapid.T) int {
			var links []string
			growTree(rt, from, 0, &links)
			return rapid.Int().Draw(rt, "end")
		}).Example(int(seed) + i)
		id := fmt.Sprint("rp", i)
		rc := backUp(t, a, from, id, base, everything)
		base = id
		if rc.ProblemCount != 0 {
			t.Fatalf("tree %d: %v", i, rc.Problems)
		}
		if cp := copyPoint(t, a, b, id); cp.Root != rc.Root || cp.Stats.Entries != rc.Stats.Entries {
			t.Fatalf("tree %d: %+v became %+v", i, rc.Stats, cp.Stats)
		}
		to, report := bringBack(t, b, id, place, everything)
		if report.RefusedCount+report.IncompleteCount != 0 {
			t.Fatalf("tree %d: %+v", i, report)
		}
		want, got := snapshot(t, from), snapshot(t, to)
		objects += len(want)
		same(t, want, got)
		if t.Failed() {
			t.Fatalf("tree %d of seed %d", i, seed)
		}
		if i%50 == 49 { // the vaults do not grow without end
			for _, r := range []*repo.Repository{a, b} {
				for k := i - 49; k < i; k++ {
					must(t, r.Forget(t.Context(), fmt.Sprint("rp", k), day))
				}
				_, err := r.Prune(t.Context(), repo.PruneOptions{MaxFraction: -1})
				must(t, err)
			}
		}
		scrap(from, place)
	}
	for _, r := range []*repo.Repository{a, b} {
		check, err := r.VerifyAll(t.Context(), nil)
		must(t, err)
		if !check.OK() {
			t.Errorf("%+v", check.Findings)
		}
	}
	bar.Report(t, "B13", "%d trees, %d objects: backup, copy and restore differ in 0", trees, objects)
}

// scrap removes directories whatever their permissions.
func scrap(dirs ...string) {
	for _, dir := range dirs {
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				os.Chmod(path, 0o700)
			}
			return nil
		})
		os.RemoveAll(dir)
	}
}

// Each version of each file is one byte repeated, as often as the version says: a mixture shows.
func TestB14TornFilesAreMarkedAndNoJobWithOneIsComplete(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	runs, files := bar.Size(2, 20), 300
	length := func(version byte) int { return 20_000 + int(version%5)*9_000 }
	r := vault(t, mem.New(), 1)
	torn, marked, clean, complete := 0, 0, 0, 0
	base := ""
	for run := range runs {
		root := memoryDir(t)
		path := func(i int) string { return filepath.Join(root, fmt.Sprintf("f%03d", i)) }
		for i := range files {
			write(t, path(i), bytes.Repeat([]byte{1}, length(1)))
		}
		var stop atomic.Bool
		var wg sync.WaitGroup
		for m := range 2 {
			rng := rand.New(rand.NewPCG(seed, uint64(run*2+m)))
			wg.Go(func() {
				for version := byte(2 + 100*m); !stop.Load(); version = (version+1)%100 + byte(100*m) + 2 {
					for range 20 {
						mutate(t, rng, path(2*rng.IntN(files/2)+m), version, length)
					}
					runtime.Gosched()
				}
			})
		}
		id := fmt.Sprint("rp", run)
		rc := backUp(t, r, root, id, base, Options{})
		base = id
		stop.Store(true)
		wg.Wait()
		place := memoryDir(t)
		dir, report := bringBack(t, r, id, place, Options{})
		bad := map[string]bool{}
		for _, p := range report.Incomplete {
			bad[p.Path] = true
		}
		if report.IncompleteCount != rc.ProblemCount {
			t.Errorf("run %d: %d problems at the backup, %d at the restore", run, rc.ProblemCount, report.IncompleteCount)
		}
		unmarked := 0
		for i := range files {
			name := filepath.Base(path(i))
			data, err := os.ReadFile(filepath.Join(dir, name))
			whole := err == nil && len(data) > 0 && len(data) == length(data[0]) && bytes.Count(data, data[:1]) == len(data)
			switch {
			case bad[name]:
				marked++
				if !whole {
					torn++
				}
			case errors.Is(err, fs.ErrNotExist): // it had been removed before the walk came there
			case !whole:
				torn++
				unmarked++
				t.Errorf("run %d: %s is a mixture and not marked", run, name)
			default:
				clean++
			}
		}
		if rc.ProblemCount == 0 {
			complete++
			if unmarked > 0 {
				t.Errorf("run %d would be COMPLETED with %d torn files", run, unmarked)
			}
		}
		scrap(root, place)
	}
	bar.Report(t, "B14", "%d runs over %d files that change meanwhile: %d marked (%d really torn), %d clean, 0 torn without a mark; %d runs without a problem", runs, files, marked, torn, clean, complete)
	if marked == 0 || clean == 0 {
		t.Error("the test has not seen both kinds")
	}
}

// mutate changes one file in one of the ways in which programs do.
func mutate(t *testing.T, rng *rand.Rand, path string, version byte, length func(byte) int) {
	data := bytes.Repeat([]byte{version}, length(version))
	switch rng.IntN(6) {
	case 0: // by renaming
		if err := os.WriteFile(path+".new", data, 0o600); err != nil {
			t.Error(err)
		}
		os.Rename(path+".new", path)
	case 1:
		os.Remove(path)
	case 2: // emptied and written again
		os.WriteFile(path, data, 0o600)
	default: // in place, at once
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		defer f.Close()
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) == nil && st.Size == int64(len(data)) {
			f.WriteAt(data, 0)
		}
	}
}

func TestB15HostileRecoveryPointsTouchNothingOutside(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	manifests := bar.Size(40, 300)
	created, refused := 0, 0
	for i := range manifests {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		out := victim(t)
		place := filepath.Join(filepath.Dir(out), "place")
		must(t, os.Mkdir(place, 0o755))
		was := snapshot(t, out)
		r := begun(t, place, Options{Ownership: isRoot})
		for range 60 {
			e := hostileEntry(rng, out)
			if len(put(t, r, e)) > 0 {
				refused++
			} else {
				created++
			}
		}
		_, err := tree.Refusals(r.Finish(t.Context()))
		must(t, err)
		must(t, r.Close())
		same(t, was, snapshot(t, out))
		for path, text := range snapshot(t, place) {
			var mode uint32
			fmt.Sscanf(text, "mode %o", &mode)
			if containsAny(text, "device", "security.capability", "trusted.") || mode&0o6000 != 0 && mode&unix.S_IFMT != unix.S_IFDIR {
				t.Errorf("manifest %d made %s: %s", i, path, text)
			}
		}
		if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) != 2 {
			t.Errorf("manifest %d: %v, %v", i, entries, err)
		}
		if t.Failed() {
			t.Fatalf("manifest %d of seed %d", i, seed)
		}
	}
	seconds := bar.Size(1, 60)
	raced := exchangeDirectories(t, time.Duration(seconds)*time.Second)
	bar.Report(t, "B15", "%d hostile recovery points (%d entries made, %d refused) and %d s of exchanged directories (%d objects): 0 writes outside, 0 setuid files or devices", manifests, created, refused, seconds, raced)
}

// hostileEntry is an entry that tries to get out, or to be something that it may not be. Few names, so that entries meet.
func hostileEntry(rng *rand.Rand, out string) tree.Entry {
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	name := func() string { return pick("a", "b", "c", "d") }
	path := name()
	for rng.IntN(2) == 0 {
		path += "/" + name()
	}
	if rng.IntN(8) == 0 {
		path = pick("..", "../outside/file", "../outside/new", "/etc/x", out+"/file", "a/../../outside/new", ".", "", "a//b", "a/.", "a\x00b", strings.Repeat("n", 300), "./a")
	}
	e := tree.Entry{Path: path, Type: tree.File, Mode: uint32(rng.IntN(0o10000)), UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Mtime: rng.Int64()}
	switch rng.IntN(10) {
	case 0, 1:
		e.Type = tree.Dir
	case 2, 3:
		e.Type, e.Link = tree.Symlink, pick(out, out+"/file", "../outside", "../../outside", "../../../outside/sub", "/", "/etc", "a", "b", "..", ".")
	case 4:
		e.Hardlink, e.Nlink = pick("a", "b", "a/a", "../outside/file", out+"/file", "/etc/passwd", "c/file", "a/../b"), 2
	case 5:
		e.Type, e.Rdev = tree.Type(4+rng.IntN(4)), uint64(rng.IntN(0x900))
	case 6:
		e.Xattrs = []tree.Xattr{{Name: pick("security.capability", "trusted.overlay.redirect", "user.x", "system.posix_acl_access", "security.selinux"), Value: []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")}}
	}
	return e
}

// Not parallel: it measures the process.
func TestB35AThousandJobsLeaveNothingBehind(t *testing.T) {
	seed := seedOf(t)
	jobs := bar.Size(40, 1000)
	root, stores := memoryDir(t), memoryDir(t)
	for i := range 200 {
		write(t, filepath.Join(root, fmt.Sprint("f", i)), bytes.Repeat([]byte{byte(i)}, 5000))
	}
	registry := repo.NewRegistry()
	open := func() (vaults []*repo.Repository) {
		for i, name := range []string{"a", "b"} {
			s, err := disk.Open(filepath.Join(stores, name))
			must(t, err)
			vaults = append(vaults, vault(t, s, byte(i+1), registry))
		}
		return vaults
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	base := ""
	job := func(i int) {
		vaults := open() // each job for itself, as a node does
		defer func() {
			for _, r := range vaults {
				must(t, r.Close())
			}
		}()
		for range 3 {
			write(t, filepath.Join(root, fmt.Sprint("f", rng.IntN(200))), bytes.Repeat([]byte{byte(rng.Int())}, rng.IntN(100_000)))
		}
		id := fmt.Sprint("rp", i)
		backUp(t, vaults[0], root, id, base, Options{})
		base = id
		switch i % 4 {
		case 0, 1:
			copyPoint(t, vaults[0], vaults[1], id)
		case 2: // a backup that is cancelled in the middle
			ctx, cancel := context.WithCancel(t.Context())
			src, err := New(Config{Root: root}).Source(ctx)
			must(t, err)
			_, err = vaults[0].Backup(ctx, stopping{src, cancel}, repo.BackupOptions{ID: id + "-cut"})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled backup ends with %v", err)
			}
			must(t, src.Close())
		case 3:
			place := memoryDir(t)
			bringBack(t, vaults[0], id, place, Options{})
			scrap(place)
		}
		if i%10 != 9 {
			return
		}
		for _, r := range vaults {
			list, err := r.List(t.Context())
			must(t, err)
			for _, c := range list {
				if c.ID != base {
					must(t, r.Forget(t.Context(), c.ID, day))
				}
			}
			_, err = r.Prune(t.Context(), repo.PruneOptions{MaxFraction: -1})
			must(t, err)
		}
	}
	type sample struct{ goroutines, fds, rss int }
	measure := func() sample {
		runtime.GC()
		debug.FreeOSMemory()
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		statm, err := os.ReadFile("/proc/self/statm")
		must(t, err)
		pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
		must(t, err)
		return sample{runtime.NumGoroutine(), len(fds), pages * os.Getpagesize()}
	}
	warm := jobs / 4
	var first sample
	var rss []float64
	for i := range jobs {
		job(i)
		if i+1 == warm {
			first = measure()
		}
		if i >= warm && (i+1)%10 == 0 {
			rss = append(rss, float64(measure().rss))
		}
	}
	last := measure()
	if last.goroutines != first.goroutines || last.fds != first.fds {
		t.Errorf("%d goroutines and %d descriptors became %d and %d", first.goroutines, first.fds, last.goroutines, last.fds)
	}
	for _, name := range []string{"a", "b"} {
		temp, err := os.ReadDir(filepath.Join(stores, name, ".tmp"))
		must(t, err)
		if len(temp) != 0 {
			t.Errorf("%d temporary files are left", len(temp))
		}
	}
	slope := slopeOf(rss) / 10 * 100 / rss[0] * 100 // per cent per 100 jobs
	if bar.Full() && slope >= 1 {
		t.Errorf("the resident memory grows by %.2f %% in 100 jobs", slope)
	}
	bar.Report(t, "B35", "%d jobs: goroutines %+d, descriptors %+d, temporary files 0, resident memory %.1f MB, %+.2f %% per 100 jobs", jobs,
		last.goroutines-first.goroutines, last.fds-first.fds, float64(last.rss)/1e6, slope)
}

// stopping cancels the walk after some entries.
type stopping struct {
	tree.Source
	cancel func()
}

func (s stopping) Walk(ctx context.Context, emit func(tree.Item) error) error {
	n := 0
	return s.Source.Walk(ctx, func(it tree.Item) error {
		if n++; n == 50 {
			s.cancel()
		}
		return emit(it)
	})
}

// slopeOf fits a line and returns its slope per sample.
func slopeOf(y []float64) float64 {
	var sx, sy, sxx, sxy float64
	n := float64(len(y))
	for i, v := range y {
		x := float64(i)
		sx, sy, sxx, sxy = sx+x, sy+v, sxx+x*x, sxy+x*v
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}
