package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/blob/blobtest"
	"strongroom/internal/blob/crashfs"
	"strongroom/internal/durable"
	"strongroom/internal/fault"
)

func TestContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestContractOnAFileSystemInMemory(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s, err := OpenOn(crashfs.New("/vaults/one"), "/vaults/one")
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestCleanRemovesWhatDeadWritersLeftAndNothingElse(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(s.dir, tempDir, durable.TempPrefix+"dead")
	if err := os.WriteFile(dead, []byte("half an object"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(ctx, "alive")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 3*pieceSize)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Clean(ctx); n != 1 || err != nil {
		t.Fatalf("Clean removed %d files, %v", n, err)
	}
	if err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Clean(ctx); n != 0 || err != nil {
		t.Fatalf("a second Clean removed %d files, %v", n, err)
	}
}

// What a killed process left without syncing is synced before anything is built on it.
func TestWhoeverTakesOverSyncsWhatIsThere(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "disk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "index")
	if err := errors.Join(os.Mkdir(index, 0o300), os.Chown(index, 65534, 65534), os.Chown(dir, 65534, 65534)); err != nil {
		t.Skip(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine, and its user with it
		if err := unix.Setfsuid(65534); err != nil {
			t.Error(err)
			return
		}
		// A directory that cannot be read cannot be synced, which shows that it was tried.
		if _, err := s.Acquire(t.Context()); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Acquire: %v", err)
		}
		if err := os.Chmod(index, 0o700); err != nil {
			t.Error(err)
		}
		release, err := s.Acquire(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		release()
	}()
	<-done
}

// gate is a file system whose directory syncs wait until they are let through.
type gate struct {
	durable.FS
	entered, pass chan struct{}
	syncs         atomic.Int64
}

func (g *gate) SyncDir(name string) error {
	if filepath.Base(name) == "gated" {
		g.syncs.Add(1)
		g.entered <- struct{}{}
		<-g.pass
	}
	return g.FS.SyncDir(name)
}

// Those who wait while a directory is being synced share the next sync; nobody is answered by one that began before.
func TestWhoWaitsForTheSameDirectorySharesOneSync(t *testing.T) {
	t.Parallel()
	g := &gate{FS: crashfs.New("/vault"), entered: make(chan struct{}, 100), pass: make(chan struct{}, 100)}
	s, err := OpenOn(g, "/vault")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	put := func(i int) {
		wg.Go(func() {
			if err := s.Put(t.Context(), fmt.Sprintf("gated/%d", i), []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	put(0)
	<-g.entered // one alone begins at once
	const more = 31
	for i := range more {
		put(1 + i)
	}
	for { // until all have their names and wait
		entries, err := g.ReadDir("/vault/gated")
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 1+more {
			break
		}
		runtime.Gosched()
	}
	close(g.pass)
	wg.Wait()
	if n := g.syncs.Load(); n < 2 || n > more/2 { // two, and some for those that were between their name and the wait
		t.Errorf("%d objects took %d syncs of their directory", 1+more, n)
	}
}

// A directory that could not be synced ends all changes; what is there can be read.
func TestAStoreThatCannotTrustItsDiskTakesNoChanges(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	fsys := crashfs.New("/vault")
	s, err := OpenOn(fsys, "/vault")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Put(ctx, "a/1", []byte("one")), s.Put(ctx, "b/1", nil)); err != nil {
		t.Fatal(err)
	}
	fsys.Fail(func(op crashfs.Op) crashfs.Fault {
		if op.Kind == crashfs.SyncDir && op.Name == "/vault/a" {
			return crashfs.Fault{Err: unix.EIO}
		}
		return crashfs.Fault{}
	})
	failed := s.Put(ctx, "a/2", []byte("two"))
	fsys.Fail(nil)
	_, cerr := s.Create(ctx, "c/1")
	for what, err := range map[string]error{"the object": failed, "Put": s.Put(ctx, "a/3", nil), "Create": cerr, "Delete": s.Delete(ctx, "b/1")} {
		if !fault.Is(err, fault.Unavailable) || !errors.Is(err, unix.EIO) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Stat(ctx, "a/2"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a name that is not sure is seen: %v", err)
	}
	if p, err := blob.Get(ctx, s, "a/1", 10); err != nil || string(p) != "one" {
		t.Errorf("what was acknowledged reads %q, %v", p, err)
	}
	if err := s.Suspect(); !errors.Is(err, unix.EIO) {
		t.Errorf("Suspect says %v", err)
	}
	next, err := OpenOn(fsys, "/vault")
	if err != nil {
		t.Fatal(err)
	}
	next.Distrust(s.Suspect())
	release, err := next.Acquire(ctx)
	if err != nil {
		t.Fatalf("it cannot be opened for reading: %v", err)
	}
	defer release()
	if err := next.Put(ctx, "a/4", nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Put after it was told: %v", err)
	}
}

// A removal that was reported to have failed and took place is made durable by whoever asks again.
func TestWhatIsMissingStaysAway(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	fsys := crashfs.New("/vault")
	s, err := OpenOn(fsys, "/vault")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "a/1", nil); err != nil {
		t.Fatal(err)
	}
	fsys.Fail(func(op crashfs.Op) crashfs.Fault {
		if op.Kind == crashfs.Unlink {
			return crashfs.Fault{Err: unix.EIO, After: true}
		}
		return crashfs.Fault{}
	})
	if err := s.Delete(ctx, "a/1"); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	fsys.Fail(nil)
	if err := s.Delete(ctx, "a/1"); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		if _, err := fsys.Crash(r).Lstat("/vault/a/1"); err == nil {
			t.Fatal("it came back")
		}
	}
}

func TestTheReserveIsGivenBackAndTakenAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	fsys := crashfs.New("/vault")
	s, err := OpenOn(fsys, "/vault")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "a/1", make([]byte, 8192)); err != nil {
		t.Fatal(err)
	}
	fsys.Limit(64 << 10)
	if err := s.Reserve(ctx, 32<<10); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "a/2", make([]byte, 48<<10)); !fault.Is(err, fault.Limit) {
		t.Fatalf("the reserve was used: %v", err)
	}
	if err := s.Reserve(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "a/2", make([]byte, 48<<10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Reserve(ctx, 32<<10); !fault.Is(err, fault.Limit) {
		t.Fatalf("reserved what is not there: %v", err)
	}
	if err := errors.Join(s.Delete(ctx, "a/2"), s.Reserve(ctx, 32<<10), s.Reserve(ctx, 16<<10)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Clean(ctx); n != 0 || err != nil {
		t.Fatalf("Clean took %d files, %v", n, err)
	}
}
