package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"strongroom/internal/resource"
	"strongroom/internal/resource/resourcetest"
	"strongroom/internal/tree"
)

// Not parallel: it counts the process's descriptors and goroutines.
func TestNothingStaysOpen(t *testing.T) {
	root := memoryDir(t)
	for i := range 20 {
		dir := filepath.Join(root, fmt.Sprint("dir", i), "sub")
		must(t, os.MkdirAll(dir, 0o700))
		for j := range 50 {
			write(t, filepath.Join(dir, fmt.Sprint("file", j)), []byte("x"))
		}
	}
	c := capture(t, root, Options{})
	open := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(names)
	}
	before, goroutines := open(), runtime.NumGoroutine()
	stop := errors.New("stop")
	for at := 0; at < len(c); at += 37 {
		src, err := New(Config{Root: root}).Source(t.Context())
		must(t, err)
		n := 0
		err = src.Walk(t.Context(), func(it tree.Item) error {
			if it.Open != nil {
				content, err := it.Open(t.Context())
				must(t, err)
				defer content.Close()
			}
			if n++; n > at {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		must(t, src.Close())
		must(t, src.Close())
		if err := src.Walk(t.Context(), func(tree.Item) error { return nil }); err == nil {
			t.Error("a closed source walks")
		}
		place := memoryDir(t)
		r, err := New(Config{Root: place}).Target(t.Context(), resource.Request{ID: "r", CreatedAt: day})
		must(t, err)
		if at%2 == 0 {
			_, err = resourcetest.Replay(t.Context(), c, r)
			must(t, err)
		}
		for i := range c[:at] {
			r.Create(t.Context(), &c[i].Entry) // files stay open
		}
		must(t, r.Close())
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors were open, now %d", before, after)
	}
	if after := runtime.NumGoroutine(); after > goroutines {
		t.Errorf("%d goroutines ran, now %d", goroutines, after)
	}
}
