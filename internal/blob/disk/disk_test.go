package disk

import (
	"os"
	"path/filepath"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/blobtest"
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
