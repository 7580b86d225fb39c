package repo_test

import (
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/blob/crashfs"
	"strongroom/internal/blob/disk"
	"strongroom/internal/durable"
)

// counting is a file system that counts syncs.
type counting struct {
	durable.FS
	dir string

	mu    sync.Mutex
	files int
	dirs  map[string]int
}

func (c *counting) SyncDir(name string) error {
	c.mu.Lock()
	c.dirs[strings.TrimPrefix(name, c.dir)]++
	c.mu.Unlock()
	// A disk takes longer than a processor: everybody else gets as far as they can meanwhile.
	for range 3000 {
		runtime.Gosched()
	}
	return c.FS.SyncDir(name)
}

func (c *counting) Open(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := c.FS.Open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &countingFile{f, c}, nil
}

type countingFile struct {
	durable.File
	c *counting
}

func (f *countingFile) Sync() error {
	f.c.mu.Lock()
	f.c.files++
	f.c.mu.Unlock()
	return f.File.Sync()
}

// take returns the counts since the last time.
func (c *counting) take() (files, dirs int, where map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	files, where = c.files, c.dirs
	for _, n := range where {
		dirs += n
	}
	c.files, c.dirs = 0, map[string]int{}
	return files, dirs, where
}

// Commits that happen at once share the syncs of directories; one alone needs few.
func TestCommitsAtOnceShareDirectorySyncs(t *testing.T) {
	t.Parallel()
	const dir = "/vault"
	c := &counting{FS: crashfs.New(dir), dir: dir, dirs: map[string]int{}}
	s, err := disk.OpenOn(c, dir)
	must(t, err)
	r := create(t, s, vaultA)
	o := newOracle()
	must(t, write(t.Context(), r, o, ""))
	must(t, write(t.Context(), r, o, ""))
	c.take()
	must(t, write(t.Context(), r, o, ""))
	files, dirs, where := c.take()
	t.Logf("one commit alone: %d files and %d directories synced: %v", files, dirs, where)
	if files > 6 || dirs > 7 {
		t.Errorf("one small commit takes %d syncs of files and %d of directories", files, dirs)
	}
	// How many meet depends on the scheduler, so that one unlucky round says nothing; without sharing none would do.
	const many, rounds = 32, 10
	for round := 1; ; round++ {
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range many {
			wg.Go(func() {
				<-begin
				must(t, write(t.Context(), r, o, ""))
			})
		}
		close(begin)
		wg.Wait()
		files, dirs, where = c.take()
		t.Logf("%d commits at once: %.1f files and %.1f directories synced each: %v", many, float64(files)/many, float64(dirs)/many, where)
		if dirs <= many*6 {
			break
		}
		if round == rounds {
			t.Errorf("%d commits at once took %d syncs of directories", many, dirs)
			break
		}
	}
	must(t, r.Close())
	r = open(t, s, vaultA)
	defer r.Close()
	must(t, o.present(t.Context(), r, s))
	report, err := r.Check(t.Context())
	must(t, err)
	if !report.OK() {
		t.Errorf("%+v", report.Findings)
	}
}
