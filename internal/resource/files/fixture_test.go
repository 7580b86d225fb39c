package files

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/resource"
	"strongroom/internal/resource/resourcetest"
)

var day = time.Date(2026, 3, 4, 5, 6, 7, 890e6, time.UTC)

var isRoot = os.Geteuid() == 0

// everything is the policy under which a restore gives back all that was there.
var everything = Options{Ownership: true, SetID: true, Devices: isRoot}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o640))
}

func setTime(t testing.TB, path string, ns int64) {
	t.Helper()
	ts := unix.NsecToTimespec(ns)
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}

// variety fills dir with one of each kind of object. Times are set last, deepest first.
func variety(t testing.TB, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.MkdirAll(at("a/b/c"), 0o755))
	must(t, os.Mkdir(at("empty"), 0o711))
	must(t, os.Mkdir(at("shared"), 0o755))
	must(t, os.Chmod(at("shared"), 0o775|os.ModeSetgid|os.ModeSticky))
	write(t, at("zero"), nil)
	write(t, at("large"), bytes.Repeat([]byte("0123456789abcde\n"), 100_000))
	write(t, at("new\nline"), []byte("x"))
	write(t, at("not-utf8-\xff\xfe"), []byte("y"))
	write(t, at("ünïcode"), []byte("composed"))
	write(t, at("u\u0308ni\u0308code"), []byte("decomposed"))
	write(t, at("trailing. "), []byte("z"))
	write(t, at(strings.Repeat("n", 255)), []byte("long"))
	write(t, at("a/b/c/first"), []byte("linked"))
	must(t, os.Link(at("a/b/c/first"), at("a/second")))
	must(t, os.Link(at("a/b/c/first"), at("zz third")))
	must(t, os.Symlink("../nowhere", at("a/dangling")))
	must(t, os.Symlink("\xff\n bytes", at("odd link")))
	must(t, os.Link(at("odd link"), at("odd link too")))
	must(t, unix.Mkfifo(at("fifo"), 0o622))
	must(t, unix.Mknod(at("socket"), unix.S_IFSOCK|0o755, 0))
	must(t, os.Chmod(at("zero"), 0o400))
	write(t, at("setuid"), []byte("#!"))
	must(t, unix.Chmod(at("setuid"), 0o4755))
	sparse(t, at("sparse"), 9<<20, map[int64]string{2 << 20: "island", 7 << 20: "second"})
	sparse(t, at("one hole"), 1<<40, nil)
	sparse(t, at("hole at the end"), 10<<20, map[int64]string{0: "front"})
	must(t, unix.Setxattr(at("large"), "user.note", []byte("\x00bytes\xff"), 0))
	must(t, unix.Setxattr(at("large"), "user.empty", nil, 0))
	must(t, unix.Setxattr(at("a"), "user.dir", []byte("d"), 0))
	if isRoot {
		must(t, os.Chmod(at("zero"), 0))
		must(t, os.Lchown(at("large"), 1234, 5678))
		must(t, os.Lchown(at("setuid"), 1234, 0))
		must(t, unix.Chmod(at("setuid"), 0o6755))
		must(t, os.Lchown(at("odd link"), 77, 78))
		must(t, os.Lchown(at("fifo"), 77, 78))
		must(t, os.Lchown(at("a/b"), 1000, 1000))
		must(t, unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, unix.Mknod(at("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 200))))
		must(t, unix.Setxattr(at("a/b/c/first"), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
		must(t, unix.Setxattr(at("a"), "trusted.mark", []byte("t"), 0))
		must(t, unix.Lsetxattr(at("a/dangling"), "trusted.link", []byte("l"), 0))
		// user::rw- user:1234:r-- group::r-- mask::r-- other::---
		acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xd2\x04\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")
		must(t, unix.Setxattr(at("trailing. "), "system.posix_acl_access", acl, 0))
		must(t, unix.Setxattr(at("shared"), "system.posix_acl_default", acl, 0))
	}
	for i, name := range []string{"zero", "large", "fifo", "odd link", "a/b/c/first", "a/b/c", "a/b", "a", "empty"} {
		setTime(t, at(name), int64(i)*1e15+123456789)
	}
	setTime(t, at("zero"), 946684799123456789)
	setTime(t, at("socket"), -1) // before 1970
	setTime(t, dir, 1_000_000_000_000_000_001)
}

func sparse(t testing.TB, path string, size int64, data map[int64]string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for off, text := range data {
		_, err := f.WriteAt([]byte(text), off)
		must(t, err)
	}
	must(t, f.Truncate(size))
}

// skipHuge leaves the file of one hole out of comparisons that would read a terabyte.
func skipHuge(t testing.TB, dir string) {
	t.Helper()
	path := filepath.Join(dir, "one hole")
	st, err := os.Stat(path)
	must(t, err)
	if st.Size() != 1<<40 || st.Sys() == nil {
		t.Errorf("the terabyte hole has size %d", st.Size())
	}
	var s unix.Stat_t
	must(t, unix.Stat(path, &s))
	if s.Blocks > 16 {
		t.Errorf("the terabyte hole takes %d blocks", s.Blocks)
	}
	parent, err := os.Stat(dir)
	must(t, err)
	must(t, os.Remove(path))
	setTime(t, dir, parent.ModTime().UnixNano())
}

func capture(t testing.TB, dir string, o Options) resourcetest.Capture {
	t.Helper()
	src, err := New(Config{Root: dir, Options: o}).Source(t.Context())
	must(t, err)
	defer src.Close()
	c, err := resourcetest.ReadAll(t.Context(), src)
	must(t, err)
	return c
}

// restored replays c below a fresh directory and returns where it is and what was refused, by path.
func restored(t testing.TB, c resourcetest.Capture, o Options) (dir string, refused map[string][]string) {
	t.Helper()
	place := tempDir(t)
	r, err := New(Config{Root: place, Options: o}).Target(t.Context(), resource.Request{ID: "r", CreatedAt: day})
	must(t, err)
	list, err := resourcetest.Replay(t.Context(), c, r)
	must(t, err)
	must(t, r.Close())
	refused = map[string][]string{}
	for _, x := range list {
		refused[x.Path] = append(refused[x.Path], x.Reason)
	}
	return filepath.Join(place, r.Location()), refused
}

// tempDir is a directory of the test that is removed even when the test took away its permissions.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if d != nil && d.IsDir() {
				os.Chmod(path, 0o700)
			}
			return nil
		})
	})
	return dir
}

// memoryDir is a temporary directory on tmpfs where there is one, for tests of very many objects.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "files-test-")
	if err != nil {
		return tempDir(t)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
