package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/blob/crashfs"
	"strongroom/internal/blob/disk"
	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/durable"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

// vaultDir is where vaults on a file system in memory are.
const vaultDir = "/region/vaults/a"

// seed returns what to seed random choices with: STRONGROOM_SEED if set. It is in the test's log.
func seed(t *testing.T) uint64 {
	s := uint64(time.Now().UnixNano())
	if v := os.Getenv("STRONGROOM_SEED"); v != "" {
		var err error
		if s, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("STRONGROOM_SEED=%d", s)
	return s
}

// oracle knows what the callers of one repository were told, and so what must be there after a crash and what may be.
// Safe for concurrent use.
type oracle struct {
	mu     sync.Mutex
	next   int
	points map[string]*fate
	keys   int // envelopes that were acknowledged
	// misread: the disk failed to read. What could not be read counts as damaged until a scrub has read it.
	misread bool
	// retaining is held while a retention is changed: of two changes at once, nobody could say which was the last.
	retaining sync.Mutex
}

// fate is what is known about one recovery point.
type fate struct {
	tree       *repotest.Tree
	acked      bool // its receipt was returned
	forgetting bool // Forget was called
	forgotten  bool // and returned nil
	retain     []retention
}

// retention is one that a recovery point may have: what was acknowledged last, and what was asked for and not answered.
type retention struct {
	until  time.Time
	locked bool
}

func newOracle() *oracle { return &oracle{points: map[string]*fate{}} }

// clone returns what is known now.
func (o *oracle) clone() *oracle {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := &oracle{next: o.next, points: make(map[string]*fate, len(o.points)), keys: o.keys, misread: o.misread}
	for id, f := range o.points {
		g := *f
		g.retain = slices.Clone(f.retain)
		c.points[id] = &g
	}
	return c
}

// change runs fn on a recovery point's fate.
func (o *oracle) change(id string, fn func(*fate)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fn(o.points[id])
}

// begin chooses the id of a new recovery point.
func (o *oracle) begin(tr *repotest.Tree) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := fmt.Sprintf("rp%d", o.next)
	o.next++
	o.points[id] = &fate{tree: tr, retain: []retention{{}}}
	return id
}

// some returns the ids of the recovery points that ok accepts, oldest first.
func (o *oracle) some(ok func(*fate) bool) (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, f := range o.points {
		if ok(f) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		x, _ := strconv.Atoi(a[2:])
		y, _ := strconv.Atoi(b[2:])
		return x - y
	})
	return ids
}

func (o *oracle) live() []string {
	return o.some(func(f *fate) bool { return f.acked && !f.forgetting })
}

// tiny is a tree of few bytes, different for each n.
func tiny(n int) *repotest.Tree {
	t := repotest.New()
	t.Add(repotest.File{Entry: tree.Entry{Path: "same", Type: tree.File}, Data: bytes.Repeat([]byte("unchanged"), 40)})
	t.Add(repotest.File{Entry: tree.Entry{Path: "own", Type: tree.File, Mtime: int64(n) + 10, Ctime: 1}, Data: fmt.Appendf(nil, "%0300d", n)})
	t.Add(repotest.File{Entry: tree.Entry{Path: "inline", Type: tree.File, Mtime: int64(n) + 10, Ctime: 1}, Data: fmt.Append(nil, n)})
	return t
}

// tinySource is a repository to copy from, with one recovery point.
func tinySource(t *testing.T) *repo.Point {
	r := create(t, mem.New(), vaultB)
	backup(t, r, tiny(-1), "src", "")
	return point(t, r, "src")
}

// steps are what can be done to a repository; each tells the oracle what it asked for and what it was told.
var steps = []struct {
	name string
	do   func(ctx context.Context, r *repo.Repository, s blob.Store, o *oracle, src *repo.Point) error
}{
	{"backup", func(ctx context.Context, r *repo.Repository, _ blob.Store, o *oracle, _ *repo.Point) error {
		return write(ctx, r, o, "")
	}},
	{"incremental", func(ctx context.Context, r *repo.Repository, _ blob.Store, o *oracle, _ *repo.Point) error {
		if ids := o.live(); len(ids) > 0 {
			return write(ctx, r, o, ids[len(ids)-1])
		}
		return nil
	}},
	{"copy", func(ctx context.Context, r *repo.Repository, _ blob.Store, o *oracle, src *repo.Point) error {
		id := o.begin(tiny(-1))
		_, err := repo.Copy(ctx, src, r, repo.CopyOptions{ID: id})
		if err == nil {
			o.change(id, func(f *fate) { f.acked = true })
		}
		return err
	}},
	{"forget", func(ctx context.Context, r *repo.Repository, _ blob.Store, o *oracle, _ *repo.Point) error {
		ids := o.some(func(f *fate) bool {
			return f.acked && !f.forgetting && !slices.ContainsFunc(f.retain, func(x retention) bool { return x.locked })
		})
		if len(ids) == 0 {
			return nil
		}
		o.change(ids[0], func(f *fate) { f.forgetting = true })
		err := r.Forget(ctx, ids[0], start)
		if err == nil {
			o.change(ids[0], func(f *fate) { f.forgotten = true })
		}
		return err
	}},
	{"retention", func(ctx context.Context, r *repo.Repository, _ blob.Store, o *oracle, _ *repo.Point) error {
		ids := o.live()
		if len(ids) == 0 {
			return nil
		}
		id := ids[len(ids)-1]
		o.retaining.Lock()
		defer o.retaining.Unlock()
		var x retention
		o.change(id, func(f *fate) {
			last := f.retain[len(f.retain)-1]
			x = retention{until: later(last.until, start).AddDate(0, 1, 0), locked: last.locked || len(ids)%3 == 0}
			f.retain = append(f.retain, x)
		})
		err := r.SetRetention(ctx, id, x.until, x.locked)
		if err == nil {
			o.change(id, func(f *fate) { f.retain = []retention{x} })
		}
		return err
	}},
	{"prune", func(ctx context.Context, r *repo.Repository, _ blob.Store, _ *oracle, _ *repo.Point) error {
		return prunes(ctx, r, repo.PruneOptions{RepackDead: 0.1})
	}},
	{"throw away", func(ctx context.Context, r *repo.Repository, _ blob.Store, _ *oracle, _ *repo.Point) error {
		return prunes(ctx, r, repo.PruneOptions{Grace: 24 * time.Hour})
	}},
	{"envelope", func(ctx context.Context, _ *repo.Repository, s blob.Store, o *oracle, _ *repo.Point) error {
		err := repo.AddEnvelope(ctx, s, repo.Envelope{Kind: "recipient", KeyID: "r", Blob: []byte("wrapped")})
		if err == nil {
			o.mu.Lock()
			o.keys++
			o.mu.Unlock()
		}
		return err
	}},
}

// prunes is Prune for somebody who does not mind if it is being done already.
func prunes(ctx context.Context, r *repo.Repository, o repo.PruneOptions) error {
	_, err := r.Prune(ctx, o)
	if fault.Is(err, fault.Unavailable) && strings.Contains(err.Error(), "pruned already") {
		return nil
	}
	return err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// write backs up a tree of its own.
func write(ctx context.Context, r *repo.Repository, o *oracle, base string) error {
	o.mu.Lock()
	tr := tiny(o.next)
	o.mu.Unlock()
	id := o.begin(tr)
	_, err := r.Backup(ctx, tr, repo.BackupOptions{ID: id, Base: base, Meta: repo.Meta{Owner: "o", ResourceARN: "r"}})
	if err == nil {
		o.change(id, func(f *fate) { f.acked = true })
	}
	return err
}

// onDisk opens the disk store of a file system in memory, and its repository.
func onDisk(fsys durable.FS) (*repo.Repository, *disk.Store, error) { return onDiskAt(fsys, start) }

func onDiskAt(fsys durable.FS, now time.Time) (*repo.Repository, *disk.Store, error) {
	s, err := disk.OpenOn(fsys, vaultDir)
	if err != nil {
		return nil, nil, err
	}
	c := config(s, vaultA)
	c.Clock = clock.NewFake(now)
	r, err := repo.Open(context.Background(), c)
	return r, s, err
}

// verify checks a repository, opened anew after whatever happened, against the oracle: everything acknowledged is there and
// restores bit for bit, nothing unacknowledged is there by half, and a Prune leaves what is needed and nothing else.
func (o *oracle) verify(fsys *crashfs.FS) error {
	ctx := context.Background()
	// Later than what a session left for whoever goes on with it, and the trash, wait for.
	r, s, err := onDiskAt(fsys, start.AddDate(0, 0, 8))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer r.Close()
	if err := o.present(ctx, r, s); err != nil {
		return err
	}
	if o.misread {
		if report, err := r.Scrub(ctx, nil); err != nil || !report.OK() {
			return fmt.Errorf("scrub: %w %+v", err, report.Findings)
		}
	}
	report, err := r.Check(ctx)
	if err != nil || !report.OK() {
		return fmt.Errorf("check: %w %+v", err, report.Findings)
	}
	return o.clean(ctx, r, s, fsys)
}

// present checks what is there.
func (o *oracle) present(ctx context.Context, r *repo.Repository, s blob.Store) error {
	list, err := r.List(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	there := map[string]bool{}
	for _, c := range list {
		f := o.points[c.ID]
		switch {
		case f == nil:
			return fmt.Errorf("%s is there and nobody wrote it", c.ID)
		case f.forgotten:
			return fmt.Errorf("%s is there and was forgotten", c.ID)
		case !slices.ContainsFunc(f.retain, func(x retention) bool { return x.until.Equal(c.RetainUntil) && x.locked == c.Locked }):
			return fmt.Errorf("%s has the retention %v %v, want one of %v", c.ID, c.RetainUntil, c.Locked, f.retain)
		}
		there[c.ID] = true
		p, err := r.Point(ctx, c.ID)
		if err != nil {
			return err
		}
		target := repotest.NewTarget()
		if _, err := p.Restore(ctx, target, repo.RestoreOptions{}); err != nil {
			return fmt.Errorf("restore %s: %w", c.ID, err)
		}
		if d := f.tree.Diff(target, nil); d != "" {
			return fmt.Errorf("restore %s: %s", c.ID, d)
		}
	}
	for id, f := range o.points {
		if f.acked && !f.forgetting && !there[id] {
			return fmt.Errorf("%s was acknowledged and is gone", id)
		}
	}
	keys, err := repo.Envelopes(ctx, s)
	if err != nil || len(keys) < o.keys {
		return fmt.Errorf("%d of %d envelopes are there: %w", len(keys), o.keys, err)
	}
	return nil
}

// clean prunes and looks for bytes that nobody needs.
func (o *oracle) clean(ctx context.Context, r *repo.Repository, s blob.Store, fsys *crashfs.FS) error {
	if _, err := r.Prune(ctx, repo.PruneOptions{}); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	again, err := r.Prune(ctx, repo.PruneOptions{DryRun: true})
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if again.DeletedPacks+again.DeletedObjects+again.DeferredPacks+again.TrashedPacks != 0 {
		return fmt.Errorf("a second prune found something to do: %+v", again)
	}
	list, err := r.List(ctx)
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, c := range list {
		live[c.ID] = true
	}
	packs := 0
	sets := map[string]int{}
	err = s.List(ctx, "", func(i blob.Info) error {
		dir, rest, _ := strings.Cut(i.Name, "/")
		switch dir {
		case "packs", "mpacks":
			packs++
		case "refs":
			id, _, _ := strings.Cut(rest, "/")
			sets[id]++
			if !live[id] {
				return fmt.Errorf("%s is left after prune", i.Name)
			}
		case "sessions":
			return fmt.Errorf("%s is left after prune", i.Name)
		case "rps":
			if !live[rest] {
				return fmt.Errorf("%s is left after prune", i.Name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, n := range sets {
		if n != 1 {
			return fmt.Errorf("%s has %d reference sets after prune", id, n)
		}
	}
	if packs != again.Packs {
		return fmt.Errorf("%d packs are in the store and %d in the index after prune", packs, again.Packs)
	}
	temp, err := fsys.ReadDir(vaultDir + "/.tmp")
	if err != nil || len(temp) > 0 {
		return fmt.Errorf("%d temporary files are left after prune: %w", len(temp), err)
	}
	// And nothing was lost by it.
	return o.present(ctx, r, s)
}

// adopt notes what the file system that the work goes on with really has: what was unanswered is answered.
func (o *oracle) adopt(r *repo.Repository) error {
	list, err := r.List(context.Background())
	if err != nil {
		return err
	}
	there := map[string]repo.Commit{}
	for _, c := range list {
		there[c.ID] = c
	}
	maps.DeleteFunc(o.points, func(id string, _ *fate) bool { _, ok := there[id]; return !ok })
	for id, f := range o.points {
		f.acked, f.forgetting, f.retain = true, false, []retention{{until: there[id].RetainUntil, locked: there[id].Locked}}
	}
	return nil
}

// image is a file system after a crash and what must be true of it.
type image struct {
	fs   *crashfs.FS
	o    *oracle
	what string
}

// inspector verifies images on all processors.
type inspector struct {
	t      *testing.T
	images chan image
	wg     sync.WaitGroup
	mu     sync.Mutex
	n      int
	failed error
}

func newInspector(t *testing.T, workers int) *inspector {
	in := &inspector{t: t, images: make(chan image, 64)}
	for range workers {
		in.wg.Go(func() {
			for x := range in.images {
				err := x.o.verify(x.fs)
				in.mu.Lock()
				in.n++
				if err != nil && in.failed == nil {
					in.failed = fmt.Errorf("after a crash at %s: %w", x.what, err)
				}
				in.mu.Unlock()
			}
		})
	}
	return in
}

func (in *inspector) bad() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.failed
}

// close waits until everything is verified.
func (in *inspector) close() int {
	in.t.Helper()
	close(in.images)
	in.wg.Wait()
	if in.failed != nil {
		in.t.Fatal(in.failed)
	}
	return in.n
}

// prepared returns a file system with a repository of two recovery points, everything durable, and its oracle.
func prepared(t *testing.T) (*crashfs.FS, *oracle) {
	t.Helper()
	fsys := crashfs.New("/region/vaults")
	s, err := disk.OpenOn(fsys, vaultDir)
	must(t, err)
	r := create(t, s, vaultA)
	o := newOracle()
	o.keys = 1
	for _, base := range []string{"", "rp0"} {
		must(t, write(t.Context(), r, o, base))
	}
	must(t, r.Close())
	return fsys.Crash(rand.New(rand.NewPCG(1, 1))), o
}

var errStop = errors.New("enough")
