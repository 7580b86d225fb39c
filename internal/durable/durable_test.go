package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWriteFileReplacesAndCreateFileDoesNot(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := CreateFile(path, []byte("three"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("CreateFile over an existing file: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "two" {
		t.Fatalf("the file holds %q", got)
	}
	if err := Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := CreateFile(path, []byte("three"), 0o640); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("%d files are left, want 1", len(left))
	}
	if err := WriteFile(filepath.Join(dir, "none", "f"), nil, 0o600); err == nil {
		t.Fatal("a missing directory was not reported")
	}
	if err := MkdirAll(path, 0o700); err == nil {
		t.Fatal("a file passed for a directory")
	}
}

// What could not be made durable is not found afterwards: somebody would build on it.
func TestNothingUnsyncedStaysVisible(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "durable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in := filepath.Join(dir, "in")
	if err := errors.Join(os.Chmod(dir, 0o711), os.Mkdir(in, 0o300), os.Chown(in, 65534, 65534)); err != nil {
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
		// A directory that may be written and not read cannot be synced.
		path := filepath.Join(in, "name")
		for what, make := range map[string]func() error{
			"CreateFile": func() error { return CreateFile(path, []byte("x"), 0o600) },
			"MkdirAll":   func() error { return MkdirAll(path, 0o700) },
		} {
			if err := make(); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %v", what, err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: it is there: %v", what, err)
			}
		}
	}()
	<-done
}

func TestBuffersAreAligned(t *testing.T) {
	t.Parallel()
	for _, n := range []int{BlockSize, 3 * BlockSize, 1 << 20} {
		if p := AlignedBuffer(n); !Aligned(p) || len(p) != n {
			t.Errorf("a buffer of %d is not aligned", n)
		}
	}
}
