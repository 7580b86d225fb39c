package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/blob/blobtest"
	"strongroom/internal/blob/crashfs"
	"strongroom/internal/durable"
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
