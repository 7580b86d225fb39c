package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
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

func TestBuffersAreAligned(t *testing.T) {
	t.Parallel()
	for _, n := range []int{BlockSize, 3 * BlockSize, 1 << 20} {
		if p := AlignedBuffer(n); !Aligned(p) || len(p) != n {
			t.Errorf("a buffer of %d is not aligned", n)
		}
	}
}
