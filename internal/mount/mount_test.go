package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/resource/files"
	"strongroom/internal/resource/resourcetest"
	"strongroom/internal/tree"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

const vault = "00000000-0000-4000-8000-00000000000a"

func config(s blob.Store) repo.Config {
	return repo.Config{Store: s, Vault: vault, Clock: clock.System{}, Root: make([]byte, 32), Maint: make([]byte, 32), Workers: 2}
}

// stored backs trees up, each as the recovery point p0, p1, …
func stored(t *testing.T, trees ...tree.Source) (*repo.Repository, *mem.Store) {
	t.Helper()
	s := mem.New()
	r := must(repo.Create(t.Context(), config(s), repo.Descriptor{Name: "v"}, nil))
	t.Cleanup(func() { r.Close() })
	for i, src := range trees {
		must(r.Backup(t.Context(), src, repo.BackupOptions{ID: fmt.Sprintf("p%d", i)}))
	}
	return r, s
}

func browse(t *testing.T, r *repo.Repository, id string) *repo.Browser {
	t.Helper()
	return must(r.Point(t.Context(), id)).Browse(repo.NewBrowseCache(4 << 20))
}

// kernel asks a file system what the kernel would ask, without one.
type kernel struct {
	t  *testing.T
	fs fuse.RawFileSystem
}

func raw(t *testing.T, c Config) kernel {
	t.Helper()
	root := must(New(t.Context(), c))
	return kernel{t, fs.NewNodeFS(root, options(c))}
}

func (k kernel) lookup(path string) (fuse.EntryOut, fuse.Status) {
	var out fuse.EntryOut
	out.NodeId = fuse.FUSE_ROOT_ID
	for _, name := range strings.Split(path, "/") {
		at := out.NodeId
		out = fuse.EntryOut{}
		if status := k.fs.Lookup(nil, &fuse.InHeader{NodeId: at}, name, &out); status != fuse.OK {
			return out, status
		}
		if out.NodeId == 0 { // a negative answer that may be kept
			return out, fuse.ENOENT
		}
	}
	return out, fuse.OK
}

func (k kernel) read(path string, off uint64, n int) ([]byte, fuse.Status) {
	e, status := k.lookup(path)
	if status != fuse.OK {
		return nil, status
	}
	in := &fuse.OpenIn{}
	in.NodeId = e.NodeId
	var out fuse.OpenOut
	if status := k.fs.Open(nil, in, &out); status != fuse.OK {
		return nil, status
	}
	buf := make([]byte, n)
	r := &fuse.ReadIn{Fh: out.Fh, Offset: off, Size: uint32(n)}
	r.NodeId = e.NodeId
	res, status := k.fs.Read(nil, r, buf)
	if status != fuse.OK {
		return nil, status
	}
	return res.Bytes(buf)
}

func TestEveryWriteIsRefused(t *testing.T) {
	t.Parallel()
	var tr made
	tr = append(tr, file{Entry: tree.Entry{Path: "d", Type: tree.Dir, Mode: 0o777}})
	tr = append(tr, file{Entry: tree.Entry{Path: "d/f", Type: tree.File, Mode: 0o666}, Data: []byte("content")})
	r, _ := stored(t, tr)
	for _, single := range []bool{true, false} {
		k := raw(t, Config{Points: []Point{{Name: "p0", Browse: browse(t, r, "p0")}}, Single: single})
		prefix := ""
		if !single {
			prefix = "p0/"
		}
		d, _ := k.lookup(prefix + "d")
		f, status := k.lookup(prefix + "d/f")
		if status != fuse.OK {
			t.Fatal(status)
		}
		head := func(n uint64) fuse.InHeader { return fuse.InHeader{NodeId: n} }
		for name, status := range map[string]fuse.Status{
			"open":        k.fs.Open(nil, &fuse.OpenIn{InHeader: head(f.NodeId), Flags: syscall.O_WRONLY}, &fuse.OpenOut{}),
			"open rw":     k.fs.Open(nil, &fuse.OpenIn{InHeader: head(f.NodeId), Flags: syscall.O_RDWR}, &fuse.OpenOut{}),
			"truncate":    k.fs.Open(nil, &fuse.OpenIn{InHeader: head(f.NodeId), Flags: syscall.O_TRUNC}, &fuse.OpenOut{}),
			"chmod":       k.fs.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: head(f.NodeId), Valid: fuse.FATTR_MODE}}, &fuse.AttrOut{}),
			"create":      k.fs.Create(nil, &fuse.CreateIn{InHeader: head(d.NodeId)}, "x", &fuse.CreateOut{}),
			"mkdir":       k.fs.Mkdir(nil, &fuse.MkdirIn{InHeader: head(d.NodeId)}, "x", &fuse.EntryOut{}),
			"mknod":       k.fs.Mknod(nil, &fuse.MknodIn{InHeader: head(d.NodeId)}, "x", &fuse.EntryOut{}),
			"symlink":     k.fs.Symlink(nil, &fuse.InHeader{NodeId: d.NodeId}, "x", "y", &fuse.EntryOut{}),
			"link":        k.fs.Link(nil, &fuse.LinkIn{InHeader: head(d.NodeId), Oldnodeid: f.NodeId}, "x", &fuse.EntryOut{}),
			"unlink":      k.fs.Unlink(nil, &fuse.InHeader{NodeId: d.NodeId}, "f"),
			"rmdir":       k.fs.Rmdir(nil, &fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}, "p0"),
			"rename":      k.fs.Rename(nil, &fuse.RenameIn{InHeader: head(d.NodeId), Newdir: d.NodeId}, "f", "g"),
			"setxattr":    k.fs.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: head(f.NodeId)}, "user.a", []byte("b")),
			"removexattr": k.fs.RemoveXAttr(nil, &fuse.InHeader{NodeId: f.NodeId}, "user.a"),
			"fallocate":   k.fs.Fallocate(nil, &fuse.FallocateIn{InHeader: head(f.NodeId)}),
		} {
			if status != fuse.EROFS {
				t.Errorf("%s: %v", name, status)
			}
		}
		if got, status := k.read(prefix+"d/f", 0, 100); status != fuse.OK || string(got) != "content" {
			t.Errorf("afterwards %q, %v", got, status)
		}
	}
}

func TestDamageAndWhatWasNotReadAreEIO(t *testing.T) {
	t.Parallel()
	var tr made
	content := bytes.Repeat([]byte("sixteen letters "), 100)
	tr = append(tr, file{Entry: tree.Entry{Path: "good", Type: tree.File}, Data: []byte("few")})
	tr = append(tr, file{Entry: tree.Entry{Path: "spoilt", Type: tree.File}, Data: content})
	tr = append(tr, file{Entry: tree.Entry{Path: "unread", Type: tree.File}, Data: content, Broken: true})
	r, s := stored(t, tr)
	r.Close()
	ctx := t.Context()
	var packs []string
	must(0, s.List(ctx, "packs/", func(i blob.Info) error { packs = append(packs, i.Name); return nil }))
	for _, p := range packs {
		data := bytes.Clone(must(blob.Get(ctx, s, p, 1<<30)))
		data[4100] ^= 1
		must(0, s.Delete(ctx, p))
		must(0, s.Put(ctx, p, data))
	}
	r = must(repo.Open(ctx, config(s)))
	t.Cleanup(func() { r.Close() })
	k := raw(t, Config{Points: []Point{{Browse: browse(t, r, "p0")}}, Single: true})
	if got, status := k.read("good", 0, 10); status != fuse.OK || string(got) != "few" {
		t.Errorf("good: %q, %v", got, status)
	}
	for _, name := range []string{"spoilt", "unread"} {
		if got, status := k.read(name, 0, 100); status != fuse.EIO || got != nil {
			t.Errorf("%s: %q, %v", name, got, status)
		}
	}
	e, _ := k.lookup("unread")
	buf := make([]byte, 200)
	if n, status := k.fs.GetXAttr(nil, &fuse.InHeader{NodeId: e.NodeId}, ProblemXattr, buf); status != fuse.OK || n == 0 {
		t.Errorf("the problem is not shown: %v", status)
	}
	if _, status := k.lookup("absent"); status != fuse.ENOENT {
		t.Errorf("absent: %v", status)
	}
}

// Two files that claim one inode number stay two files.
func TestInodeNumbersOfTheManifestAreNotTrusted(t *testing.T) {
	t.Parallel()
	var tr made
	for _, name := range []string{"a", "b"} {
		tr = append(tr, file{Entry: tree.Entry{Path: name, Type: tree.File, Dev: 1, Ino: 7, Nlink: 2}, Data: []byte("I am " + name)})
	}
	tr = append(tr, file{Entry: tree.Entry{Path: "c", Type: tree.File, Dev: 1, Ino: 7, Nlink: 2, Hardlink: "b", Size: 6}})
	r, _ := stored(t, tr)
	k := raw(t, Config{Points: []Point{{Browse: browse(t, r, "p0")}}, Single: true})
	for name, want := range map[string]string{"a": "I am a", "b": "I am b", "c": "I am b"} {
		if got, status := k.read(name, 0, 100); status != fuse.OK || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, status)
		}
	}
	a, _ := k.lookup("a")
	b, _ := k.lookup("b")
	c, _ := k.lookup("c")
	if a.Ino == b.Ino || b.Ino != c.Ino || b.NodeId != c.NodeId {
		t.Errorf("inode numbers %d, %d, %d", a.Ino, b.Ino, c.Ino)
	}
}

// mounted mounts for real, or skips with the reason. end unmounts as a signal does.
func mounted(t *testing.T, c Config) (at string, end func()) {
	t.Helper()
	if f, err := os.OpenFile(Device, os.O_RDWR, 0); err != nil {
		t.Skipf("no mount is possible here: %v", err)
	} else {
		f.Close()
	}
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Geteuid() != 0 {
		t.Skip("no mount is possible here: not root, and fusermount3 is not installed")
	}
	c.At = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- Mount(ctx, c, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		if errors.Is(err, syscall.EPERM) {
			t.Skipf("no mount is possible here: %v", err)
		}
		t.Fatal(err)
	}
	var once bool
	end = func() {
		if once {
			return
		}
		once = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if es := must(os.ReadDir(c.At)); len(es) != 0 {
			t.Errorf("still mounted: %v", es)
		}
	}
	t.Cleanup(end)
	return c.At, end
}

// everything makes a tree with all that files have.
func everything(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "src")
	write := func(name string, mode os.FileMode, data []byte) string {
		path := filepath.Join(dir, name)
		must(0, os.MkdirAll(filepath.Dir(path), 0o755))
		must(0, os.WriteFile(path, data, 0o600))
		must(0, os.Chmod(path, mode))
		return path
	}
	write("plain", 0o640, []byte("forty-two\n"))
	write("dir/deep/empty", 0o600, nil)
	write("dir/name\xff\n", 0o604, []byte("no text"))
	large := write("large", 0o600, bytes.Repeat([]byte("all work and no play makes jack a dull boy\n"), 50_000))
	must(0, os.Link(large, filepath.Join(dir, "dir", "other name")))
	must(0, os.Symlink("../nowhere", filepath.Join(dir, "dir", "sym")))
	must(0, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o640))
	sparse := write("sparse", 0o600, []byte("head"))
	f := must(os.OpenFile(sparse, os.O_WRONLY, 0))
	must(f.WriteAt([]byte("tail"), 5<<20))
	must(0, f.Truncate(6<<20))
	must(0, f.Close())
	if err := unix.Setxattr(sparse, "user.colour", []byte("blue"), 0); err != nil {
		t.Logf("without extended attributes: %v", err)
	}
	if os.Geteuid() == 0 {
		must(0, os.Lchown(filepath.Join(dir, "plain"), 12, 34))
	}
	old := time.Unix(-1000, 123456789)
	must(0, os.Chtimes(filepath.Join(dir, "plain"), old, old))
	for i := range 1200 { // more than is listed at once
		write(fmt.Sprintf("many/%04d", i), 0o600, nil)
	}
	return dir
}

// seen is a tree as a backup would see it, without what is the file system's own.
func seen(t *testing.T, dir string) resourcetest.Capture {
	t.Helper()
	src := must(files.New(files.Config{Root: dir}).Source(t.Context()))
	defer src.Close()
	c := must(resourcetest.ReadAll(t.Context(), src))
	for i := range c {
		c[i].Dev, c[i].Ino, c[i].Ctime = 0, 0, 0
		if c[i].Type == tree.Dir {
			c[i].Nlink = 0
		}
	}
	return c
}

func TestMountShowsWhatWasBackedUp(t *testing.T) {
	t.Parallel()
	dir := everything(t)
	src := must(files.New(files.Config{Root: dir}).Source(t.Context()))
	defer src.Close()
	r, _ := stored(t, src)
	at, end := mounted(t, Config{Points: []Point{{Browse: browse(t, r, "p0")}}, Single: true})
	want, got := seen(t, dir), seen(t, at)
	if len(want) != len(got) {
		t.Fatalf("%d entries, want %d; problems %q", len(got), len(want), got.Problems())
	}
	for i := range want {
		if !reflect.DeepEqual(want[i], got[i]) {
			t.Errorf("%q:\n%+v\n%+v", want[i].Path, want[i].Entry, got[i].Entry)
		}
	}
	err := os.WriteFile(filepath.Join(at, "new"), nil, 0o600)
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("a file could be made: %v", err)
	}
	if err := os.Remove(filepath.Join(at, "plain")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a file could be removed: %v", err)
	}
	info := string(must(os.ReadFile("/proc/self/mountinfo")))
	line := slices.IndexFunc(strings.Split(info, "\n"), func(l string) bool { return strings.Contains(l, " "+at+" ") })
	if line < 0 {
		t.Fatal("the mount is not listed")
	}
	for _, o := range []string{"ro", "nosuid", "nodev"} {
		if !slices.Contains(strings.FieldsFunc(strings.Split(info, "\n")[line], func(r rune) bool { return r == ' ' || r == ',' }), o) {
			t.Errorf("the mount is not %s: %s", o, strings.Split(info, "\n")[line])
		}
	}
	// A file that is open when it ends does not hold it up.
	f := must(os.Open(filepath.Join(at, "large")))
	defer f.Close()
	end()
}

func TestMountOfAVaultHasADirectoryForEachRecoveryPoint(t *testing.T) {
	t.Parallel()
	var one, two made
	one = append(one, file{Entry: tree.Entry{Path: "f", Type: tree.File, Mode: 0o600}, Data: []byte("first")})
	two = append(two, file{Entry: tree.Entry{Path: "f", Type: tree.File, Mode: 0o600}, Data: []byte("second")})
	r, _ := stored(t, one, two)
	at, _ := mounted(t, Config{Points: []Point{{Name: "p0", Browse: browse(t, r, "p0")}, {Name: "p1", Browse: browse(t, r, "p1")}}})
	var names []string
	for _, e := range must(os.ReadDir(at)) {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"p0", "p1"}) {
		t.Errorf("%q", names)
	}
	for name, want := range map[string]string{"p0/f": "first", "p1/f": "second"} {
		f, err := os.Open(filepath.Join(at, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := must(io.ReadAll(f)); string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
		f.Close()
	}
}

func TestMountHidesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(0, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	for _, at := range []string{dir, filepath.Join(dir, "f"), filepath.Join(dir, "absent")} {
		if err := Mount(t.Context(), Config{At: at, Single: true}, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", at, err)
		}
	}
}
