package files

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"strongroom/internal/durable"
	"strongroom/internal/resource"
	"strongroom/internal/tree"
)

// Room is taken for files without holes only: a sparse file may be larger than the disk.
func TestLargeWritesKeepHoles(t *testing.T) {
	t.Parallel()
	place := t.TempDir() // a disk: memory takes no direct writes
	r, err := New(Config{Root: place}).Target(t.Context(), resource.Request{ID: "r", CreatedAt: day})
	must(t, err)
	defer r.Close()
	_, err = r.Create(t.Context(), &tree.Entry{Type: tree.Dir, Mode: 0o700})
	must(t, err)
	w, err := r.Create(t.Context(), &tree.Entry{Path: "image", Type: tree.File, Mode: 0o600, Size: 1 << 30, Extents: []tree.Extent{{Off: 0, Len: directFrom}}})
	must(t, err)
	_, err = w.WriteAt(durable.AlignedBuffer(directFrom), 0)
	must(t, err)
	must(t, w.Close())
	_, rest := tree.Refusals(r.Finish(t.Context()))
	must(t, rest)
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(place, r.Location(), "image"), &st))
	if st.Size != 1<<30 || st.Blocks*512 > 2*directFrom {
		t.Errorf("%d bytes, of which %d are stored", st.Size, st.Blocks*512)
	}
}

// Not parallel: it counts the process's descriptors.
func TestAnAbortedRestoreClosesWhatItWroteDirectly(t *testing.T) {
	open := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(names)
	}
	before := open()
	r, err := New(Config{Root: t.TempDir()}).Target(t.Context(), resource.Request{ID: "r", CreatedAt: day})
	must(t, err)
	w, err := r.Create(t.Context(), &tree.Entry{Path: "large", Type: tree.File, Mode: 0o600, Size: 2 * directFrom})
	must(t, err)
	_, err = w.WriteAt(durable.AlignedBuffer(directFrom), 0)
	must(t, err)
	must(t, r.Close())
	if after := open(); after != before {
		t.Errorf("%d descriptors were open, now %d", before, after)
	}
}
