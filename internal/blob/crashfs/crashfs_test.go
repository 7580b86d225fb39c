package crashfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob/crashfs"
	"strongroom/internal/durable"
	"strongroom/test/bar"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, f durable.FS, name string, data []byte) durable.File {
	t.Helper()
	h, err := f.Open(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	must(t, err)
	_, err = h.WriteAt(data, 0)
	must(t, err)
	return h
}

// content returns what a file holds, or nil if it is not there.
func content(t *testing.T, f *crashfs.FS, name string) []byte {
	t.Helper()
	info, err := f.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	must(t, err)
	h, err := f.Open(name, os.O_RDONLY, 0)
	must(t, err)
	defer h.Close()
	p := make([]byte, info.Size())
	if len(p) > 0 {
		_, err = h.ReadAt(p, 0)
		must(t, err)
	}
	return p
}

// images takes many images and returns how often each content of a file was found; "-" is no file.
func images(t *testing.T, f *crashfs.FS, name string) map[string]int {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	got := map[string]int{}
	for range 400 {
		p := content(t, f.Crash(r), name)
		if p == nil {
			p = []byte("-")
		}
		got[string(p)]++
	}
	return got
}

func TestOnlyWhatWasSyncedIsSure(t *testing.T) {
	t.Parallel()
	f := crashfs.New("/d")
	data := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	h := create(t, f, "/d/a", data)
	if got := images(t, f, "/d/a"); got["-"] == 0 || got[string(data)] == 0 || len(got) < 10 {
		t.Errorf("neither synced: %d states, %d without the file", len(got), got["-"])
	}
	must(t, f.SyncDir("/d"))
	if got := images(t, f, "/d/a"); got["-"] != 0 || got[""] == 0 || len(got) < 10 {
		t.Errorf("only the name synced: %d states", len(got))
	}
	must(t, h.Sync())
	if got := images(t, f, "/d/a"); len(got) != 1 || got[string(data)] == 0 {
		t.Errorf("both synced: %d states", len(got))
	}
	must(t, f.Unlink("/d/a"))
	if got := images(t, f, "/d/a"); got["-"] == 0 || got[string(data)] == 0 || len(got) != 2 {
		t.Errorf("removed without sync: %v states", len(got))
	}
	must(t, f.SyncDir("/d"))
	if got := images(t, f, "/d/a"); len(got) != 1 || got["-"] == 0 {
		t.Errorf("removed: %d states", len(got))
	}
}

func TestARenameIsOldOrNewUntilTheDirectoryIsSynced(t *testing.T) {
	t.Parallel()
	f := crashfs.New("/d")
	v := durable.Volume{FS: f}
	must(t, v.WriteFile("/d/a", []byte("old"), 0o600))
	must(t, create(t, f, "/d/b", []byte("new")).Sync())
	must(t, f.SyncDir("/d"))
	must(t, f.Rename("/d/b", "/d/a"))
	if got := images(t, f, "/d/a"); len(got) != 2 || got["old"] == 0 || got["new"] == 0 {
		t.Errorf("%v", got)
	}
	if got := images(t, f.Kill(), "/d/a"); len(got) != 2 {
		t.Errorf("another process after a kill: %v", got)
	}
	must(t, f.SyncDir("/d"))
	if got := images(t, f, "/d/a"); len(got) != 1 || got["new"] == 0 {
		t.Errorf("%v", got)
	}
}

// A sync that failed is not made good by the next one that succeeds.
func TestAFailedSyncLosesWhatItShouldHaveKept(t *testing.T) {
	t.Parallel()
	for _, kind := range []crashfs.Kind{crashfs.Sync, crashfs.SyncDir} {
		f := crashfs.New("/d")
		f.Fail(func(o crashfs.Op) crashfs.Fault {
			if o.Kind == kind && f != nil {
				kind = -1
				return crashfs.Fault{Err: unix.EIO}
			}
			return crashfs.Fault{}
		})
		h := create(t, f, "/d/a", []byte("x"))
		e1, e2 := h.Sync(), f.SyncDir("/d")
		if !errors.Is(errors.Join(e1, e2), unix.EIO) {
			t.Fatal("no sync failed")
		}
		must(t, h.Sync())
		must(t, f.SyncDir("/d"))
		if got := images(t, f, "/d/a"); got["x"] == 400 {
			t.Errorf("%v", got)
		}
	}
}

func TestFullIsFull(t *testing.T) {
	t.Parallel()
	f := crashfs.New("/d")
	f.Limit(3 * 4096)
	h := create(t, f, "/d/a", make([]byte, 8192))
	if n, err := h.WriteAt(make([]byte, 8192), 8192); n != 4096 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if err := f.Mkdir("/d/x", 0o700); !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
	must(t, f.Unlink("/d/a"))
	if f.Used() != 12288 {
		t.Errorf("%d in use while the file is open", f.Used())
	}
	must(t, h.Close())
	if f.Used() != 0 {
		t.Errorf("%d in use", f.Used())
	}
	must(t, f.Mkdir("/d/x", 0o700))
}

// Replaced whole or not at all, and what was acknowledged stays: the files of a node beside its vaults.
func TestB03FilesReplacedDurablyAreOldOrNewAfterPowerLoss(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	f := crashfs.New("/node")
	v := durable.Volume{FS: f}
	names := []string{"/node/a", "/node/b", "/node/keys/c"}
	must(t, v.MkdirAll("/node/keys", 0o700))
	acked, trying := map[string]string{}, map[string]string{}
	seen := 0
	f.Watch(func(o crashfs.Op, im crashfs.Imager) {
		if !o.Kind.Changes() {
			return
		}
		for range 4 {
			image := im.Crash(r)
			seen++
			for _, name := range names {
				got := "-"
				if p := content(t, image, name); p != nil {
					got = string(p)
				}
				want, ok := acked[name]
				if !ok {
					want = "-"
				}
				if may, ok := trying[name]; got != want && (!ok || got != may) {
					t.Fatalf("after %s %s, %s holds %.20q; acknowledged was %.20q", o.Kind, o.Name, name, got, want)
				}
			}
		}
	})
	for i := range bar.Size(60, 600) {
		name := names[r.IntN(len(names))]
		data := string(bytes.Repeat([]byte{byte('a' + i%26)}, 1+r.IntN(9000)))
		_, there := acked[name]
		switch {
		case there && r.IntN(3) == 0:
			trying[name] = "-"
			must(t, v.Remove(name))
			delete(acked, name)
		case !there && r.IntN(2) == 0:
			trying[name] = data
			must(t, v.CreateFile(name, []byte(data), 0o600))
			acked[name] = data
		default:
			trying[name] = data
			must(t, v.WriteFile(name, []byte(data), 0o600))
			acked[name] = data
		}
		delete(trying, name)
	}
	if seen < 500 {
		t.Errorf("only %d images", seen)
	}
	bar.Report(t, "B03", "files beside the vaults: %d images, 0 neither old nor new", seen)
}
