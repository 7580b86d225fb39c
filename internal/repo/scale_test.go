package repo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/test/bar"
)

// readCounter counts what is read.
type readCounter struct {
	blob.Store
	reads, bytes atomic.Int64
}

func (c *readCounter) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	c.reads.Add(1)
	c.bytes.Add(int64(len(p)))
	return c.Store.ReadAt(ctx, name, p, off)
}

// measured is one step of the measured process.
type measured struct {
	Step      string
	Wall, CPU time.Duration
	Reads     int64
	Peak      int64  // resident memory so far, bytes
	Note      string `json:",omitempty"`
}

// meter measures steps and prints them, one JSON object per line.
type meter struct {
	t     *testing.T
	store *readCounter
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the highest resident memory of this process so far.
func peakMemory() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}

func (m *meter) step(name string, do func() (note string, err error)) {
	m.t.Helper()
	wall, cpu := time.Now(), cpuTime()
	reads := m.store.reads.Load()
	note, err := do()
	if err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	line, _ := json.Marshal(measured{Step: name, Wall: time.Since(wall), CPU: cpuTime() - cpu, Reads: m.store.reads.Load() - reads, Peak: peakMemory(), Note: note})
	fmt.Printf("MEASURED %s\n", line)
}

const scaleEnv = "STRONGROOM_SCALE" // what a child process has to do, for the tests below

// TestScaleChild is not a test: the others run it in processes of its own, to measure them.
func TestScaleChild(t *testing.T) {
	var y synthetic
	var what string
	if n, _ := fmt.Sscanf(os.Getenv(scaleEnv), "%s %d %d %d %s", &what, &y.packs, &y.lines, &y.points, &y.dir); n != 5 {
		t.Skip("only as a process of another test")
	}
	m := &meter{t: t, store: &readCounter{}}
	switch what {
	case "make":
		m.step("make the vault", func() (string, error) { return "", y.make(t.Context()) })
	case "index":
		y.measureIndex(t, m)
	case "points":
		y.measurePoints(t, m)
	}
}

// run runs a part in a process of its own and returns what it measured.
func (y synthetic) run(t *testing.T, what string) (steps []measured) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestScaleChild$", "-test.v", "-test.timeout=60m")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d %s", scaleEnv, what, y.packs, y.lines, y.points, y.dir))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(line, "MEASURED "); ok {
			var s measured
			if err := json.Unmarshal([]byte(rest), &s); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, s)
		}
	}
	return steps
}

func (y synthetic) open(t *testing.T, m *meter, root bool) *Repository {
	t.Helper()
	store, err := disk.Open(y.dir)
	if err != nil {
		t.Fatal(err)
	}
	m.store.Store = store
	var r *Repository
	m.step("open", func() (string, error) {
		r, err = Open(t.Context(), scaleConfig(m.store, root))
		return "", err
	})
	return r
}

func (y synthetic) lookUps(ctx context.Context, r *Repository, n int, known bool) (string, error) {
	found := 0
	for i := range uint64(n) {
		id := mix(i) % uint64(y.chunks())
		if !known {
			id = 1<<40 + i
		}
		e, ok, err := r.v.index.Lookup(ctx, scaleID(id), func(_, _ uint32) bool { return true })
		if err != nil {
			return "", err
		}
		if ok {
			found++
			if uint64(e.Frame) != id%scaleFrames || r.v.index.Pack(e.Pack) != scalePack(int(id/scaleFrames)) {
				return "", fmt.Errorf("chunk %d was found at %+v", id, e)
			}
		}
	}
	if known != (found == n) || !known && found != 0 {
		return "", fmt.Errorf("%d of %d were found", found, n)
	}
	return fmt.Sprintf("%d look-ups", n), nil
}

// measureIndex does what a long-lived process does with a large vault.
func (y synthetic) measureIndex(t *testing.T, m *meter) {
	ctx := t.Context()
	r := y.open(t, m, false)
	defer r.Close()
	m.step("look up new chunks", func() (string, error) { return y.lookUps(ctx, r, 100_000, false) })
	m.step("look up known chunks", func() (string, error) { return y.lookUps(ctx, r, 20_000, true) })
	m.step("plan a prune", func() (string, error) {
		report, err := r.Prune(ctx, PruneOptions{DryRun: true})
		if err == nil && (report.Packs != y.packs || report.DeletedPacks != 0) {
			err = fmt.Errorf("%d packs, %d would be deleted", report.Packs, report.DeletedPacks)
		}
		return fmt.Sprintf("%d packs", report.Packs), err
	})
	m.step("publish", func() (string, error) {
		for i := range 12 {
			p := y.packs + i*600
			entries, packs := scaleEntries(p, p+600)
			if err := r.v.index.Publish(ctx, entries, packs); err != nil {
				return "", err
			}
			if err := r.v.index.Compact(ctx); err != nil {
				return "", err
			}
		}
		return "12 segments of 60,000 entries", nil
	})
	line := y.lines - 1
	m.step("forget and prune", func() (string, error) {
		for n := range y.points {
			if err := r.Forget(ctx, y.id(line, n), scaleStart); err != nil {
				return "", err
			}
		}
		report, err := r.Prune(ctx, PruneOptions{MaxFraction: -1})
		left := len(r.v.index.Packs())
		if err == nil && left != y.packs-y.packs/y.lines {
			err = fmt.Errorf("%d packs are left", left)
		}
		return fmt.Sprintf("%d packs of %d are left", left, report.Packs), err
	})
	m.step("merge everything into one segment", func() (string, error) {
		return fmt.Sprintf("%d entries before", r.v.index.Entries()), r.v.index.MergeAll(ctx)
	})
	m.step("look up new chunks again", func() (string, error) { return y.lookUps(ctx, r, 100_000, false) })
}

// measurePoints does what is done to a vault of many recovery points.
func (y synthetic) measurePoints(t *testing.T, m *meter) {
	ctx := t.Context()
	r := y.open(t, m, true)
	defer r.Close()
	page := func() (string, error) {
		points, err := r.Page(ctx, y.id(y.lines/2, 1), 100)
		if err == nil && len(points) != 100 {
			err = fmt.Errorf("%d recovery points", len(points))
		}
		return "", err
	}
	m.step("list the first page", page)
	m.step("list 20 other pages", func() (string, error) {
		for i := range 20 {
			if _, err := r.Page(ctx, y.id(y.lines*i/20, 3), 100); err != nil {
				return "", err
			}
		}
		return "of 100 each", nil
	})
	m.step("list a page again", page)
	m.step("find the last recovery point of a resource", func() (string, error) {
		rec, _, err := r.scope(ctx, Meta{Owner: "111111111111", ResourceARN: fmt.Sprintf("arn:aws:elasticfilesystem:local:111111111111:file-system/fs-%08x", 3)})
		if err == nil && (rec == nil || rec.id != y.id(3, y.points-1)) {
			err = fmt.Errorf("found %v", rec)
		}
		return "", err
	})
	m.step("find another", func() (string, error) {
		rec, _, err := r.scope(ctx, Meta{Owner: "111111111111", ResourceARN: fmt.Sprintf("arn:aws:elasticfilesystem:local:111111111111:file-system/fs-%08x", 1)})
		if err == nil && (rec == nil || rec.id != y.id(1, y.points-1)) {
			err = fmt.Errorf("found %v", rec)
		}
		return "", err
	})
	m.step("plan a prune", func() (string, error) {
		report, err := r.Prune(ctx, PruneOptions{DryRun: true, RepackDead: -1})
		return fmt.Sprintf("%d packs", report.Packs), err
	})
}

func (m measured) String() string {
	return fmt.Sprintf("%s: %v wall, %v CPU, %d reads, peak %d MB %s", m.Step, m.Wall.Round(time.Millisecond), m.CPU.Round(time.Millisecond), m.Reads, m.Peak>>20, m.Note)
}

func tell(t *testing.T, title string, steps []measured) map[string]measured {
	t.Helper()
	by := map[string]measured{}
	for _, s := range steps {
		bar.Report(t, "SCALE", "%s: %v", title, s)
		by[s.Step] = s
	}
	return by
}

// The index of 10^8 chunks, and pruning them over 10,000 recovery points, in half a gigabyte and ten minutes.
func TestScaleOf100MillionChunks(t *testing.T) {
	y := synthetic{packs: bar.Size(1000, 1_000_000), lines: bar.Size(4, 100), points: bar.Size(20, 100), dir: t.TempDir()}
	if dir := os.Getenv("STRONGROOM_SCALE_DIR"); dir != "" {
		y.dir = dir
	}
	title := fmt.Sprintf("%d chunks, %d recovery points", y.chunks(), y.lines*y.points)
	if _, err := os.Stat(y.dir + "/vault"); err != nil {
		tell(t, title, y.run(t, "make"))
	}
	by := tell(t, title, y.run(t, "index"))
	const limit = 500 << 20
	last := by["look up new chunks again"]
	if last.Peak > limit {
		t.Errorf("%d MB of memory, more than %d", last.Peak>>20, limit>>20)
	}
	if s := by["plan a prune"]; s.CPU > 10*time.Minute {
		t.Errorf("marking and planning took %v", s.CPU)
	}
	// One block each, and what the filters of the other segments let pass: one in a hundred for each.
	if s := by["look up known chunks"]; s.Reads > 20_000*23/20 {
		t.Errorf("20,000 look-ups of known chunks took %d reads", s.Reads)
	}
	if s := by["look up new chunks again"]; s.Reads > 100_000/50 {
		t.Errorf("100,000 look-ups of new chunks took %d reads of one segment", s.Reads)
	}
}

// 100,000 recovery points in one vault: a page of them in 10 ms, the plan of a prune in 10 s.
func TestScaleOf100ThousandRecoveryPoints(t *testing.T) {
	y := synthetic{packs: bar.Size(1000, 100_000), lines: bar.Size(10, 1000), points: bar.Size(30, 100), dir: t.TempDir()}
	title := fmt.Sprintf("%d recovery points", y.lines*y.points)
	tell(t, title, y.run(t, "make"))
	by := tell(t, title, y.run(t, "points"))
	for step, limit := range map[string]time.Duration{
		"open": 2 * time.Second, "list 20 other pages": 20 * 10 * time.Millisecond, "list a page again": 10 * time.Millisecond,
		"find another": 10 * time.Millisecond, "plan a prune": 10 * time.Second,
	} {
		if s := by[step]; s.CPU > limit && bar.Full() {
			t.Errorf("%s took %v of CPU time", step, s.CPU)
		}
	}
}
