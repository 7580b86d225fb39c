package repo_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

// meter counts the bytes that are read of each object, and calls before before each read.
type meter struct {
	*mem.Store
	mu     sync.Mutex
	bytes  map[string]int64
	before func(name string)
}

func newMeter(s *mem.Store) *meter { return &meter{Store: s, bytes: map[string]int64{}} }

func (c *meter) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	if c.before != nil {
		c.before(name)
	}
	c.mu.Lock()
	c.bytes[name] += int64(len(p))
	c.mu.Unlock()
	return c.Store.ReadAt(ctx, name, p, off)
}

// read returns how many packs were read to half or more.
func (c *meter) read() (packs int) {
	for name, n := range c.bytes {
		if (strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "mpacks/")) && n >= int64(len(c.Store.Bytes(name)))/2 {
			packs++
		}
	}
	return packs
}

func TestAPassThatIsKilledGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	for name, look := range map[string]func(*repo.Repository, context.Context, *repo.PassOptions) (repo.CheckReport, error){
		"scrub": (*repo.Repository).Scrub, "verify": (*repo.Repository).VerifyAll,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mem.New()
			r := create(t, s, vaultA)
			for i := range 20 {
				tr := repotest.New()
				tr.Add(repotest.File{Entry: tree.Entry{Path: "f", Type: tree.File}, Data: noise(uint64(i), 20_000)})
				backup(t, r, tr, fmt.Sprintf("p%02d", i), "")
			}
			must(t, r.Close())
			// Time passes with every read, so that results are made durable on the way; after 60 reads the process dies.
			now := clock.NewFake(start)
			var died *mem.Store
			n := 0
			f := newMeter(s)
			var mu sync.Mutex
			f.before = func(string) {
				mu.Lock()
				defer mu.Unlock()
				now.Advance(4 * time.Second)
				if n++; n == 60 {
					died = s.Clone()
				}
			}
			c := config(f, vaultA)
			c.Clock = now
			began := now.Now()
			r, err := repo.Open(t.Context(), c)
			must(t, err)
			_, err = look(r, t.Context(), nil)
			must(t, err)
			must(t, r.Close())
			after := newMeter(died)
			c = config(after, vaultA)
			c.Clock = clock.NewFake(now.Now())
			r, err = repo.Open(t.Context(), c)
			must(t, err)
			defer r.Close()
			before := r.Coverage()
			if before.ScrubbedPacks == 0 || before.ScrubbedPacks == before.Packs || before.Oldest.Before(began) {
				t.Fatalf("%+v", before)
			}
			clear(after.bytes)
			_, err = look(r, t.Context(), &repo.PassOptions{Since: began})
			must(t, err)
			if name == "scrub" { // VerifyAll reads the packs of the manifests in any case
				if got, want := after.read(), int(before.Packs-before.ScrubbedPacks); got != want {
					t.Errorf("%d packs were read, %d were left", got, want)
				}
			}
			if got := r.Coverage(); got.ScrubbedPacks != got.Packs || got.ScrubbedAll != got.Bytes || got.Oldest != before.Oldest {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAPassKeepsToItsRate(t *testing.T) {
	t.Parallel()
	s := mem.New()
	r := create(t, s, vaultA)
	tr := bodies(6)
	backup(t, r, tr, "one", "")
	must(t, r.Close())
	now := &leaping{Fake: clock.NewFake(start)}
	c := config(s, vaultA)
	c.Clock = now
	r, err := repo.Open(t.Context(), c)
	must(t, err)
	defer r.Close()
	_, err = r.Scrub(t.Context(), &repo.PassOptions{Rate: 100 << 10})
	must(t, err)
	stored := r.Coverage().Bytes
	// The last reads are begun, not waited for.
	least := time.Duration(float64(stored-3*(4<<20)) / (100 << 10) * float64(time.Second))
	if took := now.Now().Sub(start); took < least || took > time.Duration(stored/(50<<10))*time.Second {
		t.Errorf("%d bytes took %v at 100 KiB/s", stored, took)
	}
}

// leaping is a clock on which waiting makes time pass.
type leaping struct {
	*clock.Fake
	waits atomic.Int64
}

func (l *leaping) After(d time.Duration) <-chan time.Time {
	l.waits.Add(1)
	l.Advance(d)
	ch := make(chan time.Time, 1)
	ch <- l.Now()
	return ch
}

func TestResultsOfScrubsStayFewAndSmall(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	backup(t, r, bodies(2), "one", "")
	size := func() (objects, bytes int) {
		for _, n := range s.Names() {
			if strings.HasPrefix(n, "scrub/") {
				objects++
				bytes += len(s.Bytes(n))
			}
		}
		return objects, bytes
	}
	for range 100 {
		_, err := r.Scrub(t.Context(), nil)
		must(t, err)
		if objects, bytes := size(); objects > 33 || bytes > 33*1000 {
			t.Fatalf("%d objects of %d bytes", objects, bytes)
		}
	}
	must(t, r.Close())
	r = open(t, s, vaultA)
	if c := r.Coverage(); c.ScrubbedPacks != c.Packs || c.Packs == 0 {
		t.Errorf("%+v", c)
	}
}

func TestASessionDoesNotCommitWhatWasFoundDamagedMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, s := newRepo(t)
	tr := bodies(2)
	backup(t, r, tr, "one", "")
	// The source lets the damage be found after the first file was recognised as unchanged.
	src := &meanwhile{Tree: tr, at: "f01", do: func() {
		for _, name := range s.Names() {
			if strings.HasPrefix(name, "packs/") {
				bad := slices.Clone(s.Bytes(name))
				bad[4096+100] ^= 1
				s.Damage(name, bad)
			}
		}
		report, err := r.Scrub(ctx, nil)
		must(t, err)
		if report.OK() {
			t.Error("nothing is damaged")
		}
	}}
	_, err := r.Backup(ctx, src, repo.BackupOptions{ID: "two", Base: "one"})
	if err == nil {
		// The chunk that went bad was not one of the first file's.
		same(t, r, "two", tr)
		return
	}
	if _, err := r.Backup(ctx, tr, repo.BackupOptions{ID: "two", Base: "one"}); err != nil {
		t.Fatal(err)
	}
	same(t, r, "two", tr)
	same(t, r, "one", tr)
}

// meanwhile is a tree whose walk does something before it comes to a path.
type meanwhile struct {
	*repotest.Tree
	at string
	do func()
}

func (m *meanwhile) Walk(ctx context.Context, emit func(tree.Item) error) error {
	return m.Tree.Walk(ctx, func(it tree.Item) error {
		if it.Entry.Path == m.at {
			m.do()
		}
		return emit(it)
	})
}

// A file is found in a large tree without reading much of what describes the tree.
func TestRestoringOneFileOfManyReadsLittleMetadata(t *testing.T) {
	t.Parallel()
	files := bar.Size(100_000, 1_000_000)
	s := mem.New()
	r := create(t, s, vaultA)
	_, err := r.Backup(t.Context(), wide(files), repo.BackupOptions{ID: "one"})
	must(t, err)
	must(t, r.Close())
	f := newMeter(s)
	r = open(t, f, vaultA)
	defer r.Close()
	clear(f.bytes)
	target := repotest.NewTarget()
	path := wide(files).path(files / 3)
	done, err := point(t, r, "one").Restore(t.Context(), target, repo.RestoreOptions{Include: []string{path}})
	must(t, err)
	var read, all int64
	for name, n := range f.bytes {
		if !strings.HasPrefix(name, "packs/") {
			read += n
		}
	}
	for _, name := range s.Names() {
		if strings.HasPrefix(name, "mpacks/") {
			all += int64(len(s.Bytes(name)))
		}
	}
	if done.IncompleteCount != 0 || target.Files()[path] == nil || read >= 1<<20 {
		t.Errorf("%+v: %d bytes of metadata were read", done, read)
	}
	t.Logf("%d entries, %d bytes of manifest packs: %d bytes of metadata were read for one file", files, all, read)
}

// wide is a tree of so many files without content, a thousand in a directory.
type wide int

func (w wide) path(i int) string { return fmt.Sprintf("d%04d/file-%07d", i/1000, i) }

func (w wide) Walk(_ context.Context, emit func(tree.Item) error) error {
	if err := emit(tree.Item{Entry: tree.Entry{Type: tree.Dir, Mode: 0o755, Nlink: 1}}); err != nil {
		return err
	}
	for i := range int(w) {
		if i%1000 == 0 {
			if err := emit(tree.Item{Entry: tree.Entry{Path: fmt.Sprintf("d%04d", i/1000), Type: tree.Dir, Mode: 0o755, Nlink: 1}}); err != nil {
				return err
			}
		}
		e := tree.Entry{Path: w.path(i), Type: tree.File, Mode: 0o644, Nlink: 1, Mtime: int64(i) * 1_000_003, Ctime: int64(i), Ino: uint64(i), User: "somebody"}
		if err := emit(tree.Item{Entry: e}); err != nil {
			return err
		}
	}
	return nil
}
