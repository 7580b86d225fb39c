// Package blobtest is the contract of blob.Store as tests. Every implementation and every wrapper runs it.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// Run proves the contract; open returns a fresh empty store.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(*testing.T, blob.Store){
		"AnObjectReadsBackWholeAndInRanges": readBack,
		"AnObjectIsCreatedOnce":             createOnce,
		"OneOfManyCreatorsWins":             race,
		"NothingIsVisibleBeforeCommit":      invisible,
		"MissingObjectsAreNotFound":         missing,
		"ReadingPastTheEndIsCorrupt":        short,
		"ListingIsInByteOrderOfWholeNames":  listing,
		"ADeletedObjectIsGone":              deleted,
		"BadNamesAreRefused":                names,
		"AClaimIsExclusive":                 exclusive,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("got %v, want %v", err, k)
	}
}

func random(n int) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	rng.Read(p)
	return p
}

func readBack(t *testing.T, s blob.Store) {
	ctx := context.Background()
	for i, n := range []int{0, 1, 511, 4096, 4097, 1 << 20, 4 << 20, 4<<20 + 1, 9<<20 + 4096, 13<<20 + 5} {
		data := random(n)
		name := fmt.Sprintf("dir-%d/object", i)
		if i%2 == 0 {
			must(t, s.Put(ctx, name, data))
		} else {
			w, err := s.Create(ctx, name)
			must(t, err)
			for p := data; len(p) > 0; {
				k := min(len(p), 700_001)
				_, err := w.Write(p[:k])
				must(t, err)
				p = p[k:]
			}
			must(t, w.Commit(ctx))
			w.Abort()
		}
		info, err := s.Stat(ctx, name)
		must(t, err)
		if info.Size != int64(n) || info.Name != name {
			t.Fatalf("Stat says %+v for %d bytes", info, n)
		}
		got, err := blob.Get(ctx, s, name, int64(n))
		must(t, err)
		if !bytes.Equal(got, data) {
			t.Fatalf("object of %d bytes reads back differently", n)
		}
		if n > 0 {
			_, err = blob.Get(ctx, s, name, int64(n-1))
			wantKind(t, err, fault.Corrupt)
		}
		for range 20 {
			off := rand.IntN(n + 1)
			p := make([]byte, rand.IntN(n-off+1))
			must(t, s.ReadAt(ctx, name, p, int64(off)))
			if !bytes.Equal(p, data[off:off+len(p)]) {
				t.Fatalf("range %d+%d of %d differs", off, len(p), n)
			}
		}
	}
}

func createOnce(t *testing.T, s blob.Store) {
	ctx := context.Background()
	must(t, s.Put(ctx, "a/b", []byte("first")))
	wantKind(t, s.Put(ctx, "a/b", []byte("second")), fault.Exists)
	if w, err := s.Create(ctx, "a/b"); err == nil {
		w.Write([]byte("third"))
		wantKind(t, w.Commit(ctx), fault.Exists)
	} else {
		wantKind(t, err, fault.Exists)
	}
	got, err := blob.Get(ctx, s, "a/b", 100)
	must(t, err)
	if string(got) != "first" {
		t.Fatalf("the object became %q", got)
	}
}

func race(t *testing.T, s blob.Store) {
	ctx := context.Background()
	var wg sync.WaitGroup
	var won atomic.Int32
	for i := range 16 {
		wg.Go(func() {
			err := s.Put(ctx, "x/race", []byte{byte(i)})
			if err == nil {
				won.Add(1)
			} else if !fault.Is(err, fault.Exists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d creators won", won.Load())
	}
}

func invisible(t *testing.T, s blob.Store) {
	ctx := context.Background()
	for _, n := range []int{10, 20 << 20} {
		w, err := s.Create(ctx, "pending")
		must(t, err)
		_, err = w.Write(make([]byte, n))
		must(t, err)
		_, err = s.Stat(ctx, "pending")
		wantKind(t, err, fault.NotFound)
		must(t, s.List(ctx, "", func(i blob.Info) error { return fmt.Errorf("sees %s", i.Name) }))
		w.Abort()
		if err := w.Commit(ctx); err == nil {
			t.Fatal("an aborted object was committed")
		}
		_, err = s.Stat(ctx, "pending")
		wantKind(t, err, fault.NotFound)
	}
	must(t, s.Put(ctx, "pending", nil))
}

func missing(t *testing.T, s blob.Store) {
	ctx := context.Background()
	_, err := s.Stat(ctx, "no/such")
	wantKind(t, err, fault.NotFound)
	wantKind(t, s.ReadAt(ctx, "no/such", make([]byte, 1), 0), fault.NotFound)
	wantKind(t, s.Delete(ctx, "no/such"), fault.NotFound)
	_, err = blob.Get(ctx, s, "no/such", 10)
	wantKind(t, err, fault.NotFound)
	must(t, s.List(ctx, "no/such", func(blob.Info) error { return errors.New("sees something") }))
}

func short(t *testing.T, s blob.Store) {
	ctx := context.Background()
	must(t, s.Put(ctx, "short", random(1000)))
	wantKind(t, s.ReadAt(ctx, "short", make([]byte, 1001), 0), fault.Corrupt)
	wantKind(t, s.ReadAt(ctx, "short", make([]byte, 1), 1000), fault.Corrupt)
	wantKind(t, s.ReadAt(ctx, "short", make([]byte, 10), 5000), fault.Corrupt)
}

func listing(t *testing.T, s blob.Store) {
	ctx := context.Background()
	all := []string{"a-b", "a/1", "a/2/x", "a/2-x", "a/10", "b", "ab/c", "a.b", "A/z"}
	for i, n := range all {
		must(t, s.Put(ctx, n, make([]byte, i)))
	}
	slices.Sort(all)
	for _, prefix := range []string{"", "a", "a/", "a/2", "a/2/", "ab", "b", "c"} {
		var got, want []string
		must(t, s.List(ctx, prefix, func(i blob.Info) error { got = append(got, i.Name); return nil }))
		for _, n := range all {
			if strings.HasPrefix(n, prefix) {
				want = append(want, n)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("prefix %q lists %q, want %q", prefix, got, want)
		}
	}
	stop := errors.New("stop")
	if err := s.List(ctx, "", func(blob.Info) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("List went on after %v", err)
	}
}

func deleted(t *testing.T, s blob.Store) {
	ctx := context.Background()
	must(t, s.Put(ctx, "d/x", []byte("1")))
	must(t, s.Delete(ctx, "d/x"))
	_, err := s.Stat(ctx, "d/x")
	wantKind(t, err, fault.NotFound)
	wantKind(t, s.Delete(ctx, "d/x"), fault.NotFound)
	must(t, s.Put(ctx, "d/x", []byte("22")))
}

func names(t *testing.T, s blob.Store) {
	ctx := context.Background()
	for _, n := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", ".tmp/x", "a/.b", "a b", "a\x00b", "ä", strings.Repeat("x", 600), "a\\b"} {
		if err := s.Put(ctx, n, nil); err == nil {
			t.Errorf("%q was accepted", n)
		}
		if _, err := s.Stat(ctx, n); err == nil {
			t.Errorf("%q exists", n)
		}
	}
}

func exclusive(t *testing.T, s blob.Store) {
	x, ok := s.(blob.Exclusive)
	if !ok {
		t.Skip("the store cannot be claimed")
	}
	release, err := x.Acquire(context.Background())
	must(t, err)
	_, err = x.Acquire(context.Background())
	wantKind(t, err, fault.Unavailable)
	release()
	release()
	again, err := x.Acquire(context.Background())
	must(t, err)
	again()
}
