package disk

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

func TestReaderReadsAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	if _, err := OpenReader(filepath.Join(dir, "absent")); !fault.Is(err, fault.NotFound) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "packs"), 0o700); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if err := os.WriteFile(filepath.Join(dir, "packs", "one"), data, 0o400); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	release, err := r.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	got, err := blob.Get(ctx, r, "packs/one", 1<<21)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	n := 0
	if err := r.List(ctx, "", func(i blob.Info) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("listed %d objects, %v", n, err)
	}
	_, cerr := r.Create(ctx, "x")
	for what, err := range map[string]error{"Put": r.Put(ctx, "x", nil), "Create": cerr, "Delete": r.Delete(ctx, "packs/one")} {
		if !fault.Is(err, fault.State) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) != 1 {
		t.Errorf("the directory holds %v, %v", es, err)
	}
}

func TestReadersShareAndKeepWritersAway(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	w, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	write, err := w.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Acquire(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("read while it is written: %v", err)
	}
	write()
	one, err := r.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	two, err := r.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Acquire(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("written while it is read: %v", err)
	}
	one()
	two()
	if write, err = w.Acquire(ctx); err != nil {
		t.Fatal(err)
	}
	write()
}
