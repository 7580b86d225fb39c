package files

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"strongroom/internal/tree"
)

// hostileName draws names that break programs: any bytes but / and NUL, very long ones, look-alikes.
func hostileName() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]string{"-rf", " ", "a ", "a.", "...", "A", "a", "ä", "a\u0308", "*", "?", "\\", "a\nb", "\x01", "\xff", "~", "$(x)", "a!", "a-b", "a0"}).Draw(t, "odd")
		case 1:
			return strings.Repeat(rapid.StringMatching(`[a-z]`).Draw(t, "letter"), rapid.IntRange(200, 255).Draw(t, "length"))
		default:
			b := rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 12).Draw(t, "bytes")
			for i := range b {
				if b[i] == '/' {
					b[i] = '!' // sorts before the slash: the order of the walk shows
				}
			}
			if s := string(b); s != "." && s != ".." {
				return s
			}
			return "dots"
		}
	})
}

// grow makes a random tree below dir and sets times deepest first.
func growTree(t *rapid.T, dir string, depth int, links *[]string) {
	for range rapid.IntRange(0, 6).Draw(t, "entries") {
		path := dir + "/" + hostileName().Draw(t, "name")
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		kind := rapid.IntRange(0, 9).Draw(t, "type")
		var err error
		switch {
		case kind < 3 && depth < 4:
			if err = os.Mkdir(path, 0o755); err == nil {
				growTree(t, path, depth+1, links)
			}
		case kind == 3:
			err = os.Symlink(rapid.SampledFrom([]string{"/etc/passwd", "..", "a\nb", "\xfe", strings.Repeat("x/", 1000)}).Draw(t, "target"), path)
		case kind == 4:
			err = unix.Mkfifo(path, 0o600)
		case kind == 5 && len(*links) > 0:
			err = os.Link(rapid.SampledFrom(*links).Draw(t, "first"), path)
			*links = append(*links, path)
		case kind == 6:
			err = growSparse(t, path)
		default:
			err = os.WriteFile(path, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "content"), 0o600)
			*links = append(*links, path)
		}
		if err != nil {
			t.Fatal(err)
		}
		finishObject(t, path)
	}
}

func growSparse(t *rapid.T, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const block = 4096
	end := int64(0)
	for range rapid.IntRange(0, 4).Draw(t, "islands") {
		end += block * rapid.Int64Range(1, 50).Draw(t, "gap")
		n, err := f.WriteAt(make([]byte, rapid.IntRange(1, 3*block).Draw(t, "island")), end)
		if err != nil {
			return err
		}
		end += int64(n)
	}
	return f.Truncate(end + rapid.Int64Range(0, 100000).Draw(t, "tail"))
}

// finishObject gives an object random attributes. A mode that shuts the owner out would make the test's own look at an
// ordinary user's tree fail, so only root's trees have them.
func finishObject(t *rapid.T, path string) {
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	link := st.Mode()&os.ModeSymlink != 0
	if isRoot {
		if err := os.Lchown(path, rapid.IntRange(0, 3).Draw(t, "uid"), rapid.IntRange(0, 3).Draw(t, "gid")); err != nil {
			t.Fatal(err)
		}
	}
	if !link {
		mode := rapid.Uint32Range(0, 0o7777).Draw(t, "mode")
		if !isRoot {
			mode = mode&^0o6000 | 0o700
		}
		if err := unix.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if st.Mode().IsRegular() || st.IsDir() {
		for i := range rapid.IntRange(0, 2).Draw(t, "xattrs") {
			if err := unix.Setxattr(path, fmt.Sprintf("user.x%d", i), rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "value"), 0); err != nil && err != unix.EACCES {
				t.Fatal(err)
			}
		}
	}
	ns := rapid.Int64Range(-1e18, 8e18).Draw(t, "mtime")
	ts := unix.NsecToTimespec(ns)
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
}

func TestRandomTreesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		from := tempDir(t)
		var links []string
		growTree(rt, from, 0, &links)
		c := capture(t, from, everything)
		if p := c.Problems(); len(p) > 0 {
			rt.Fatalf("problems: %q", p)
		}
		to, refused := restored(t, c, everything)
		if len(refused) > 0 {
			rt.Fatalf("refused: %q", refused)
		}
		want, got := snapshot(t, from), snapshot(t, to)
		for path, w := range want {
			if got[path] != w {
				rt.Fatalf("%q:\n is %s\nwas %s", path, got[path], w)
			}
		}
		if len(want) != len(got) {
			rt.Fatalf("%d objects became %d", len(want), len(got))
		}
	})
}

func TestADeepTreeNeedsNeitherLongPathsNorManyDescriptors(t *testing.T) {
	t.Parallel()
	c := capture(t, tempDir(t), everything)
	root := c[0]
	path := ""
	for i := range 400 {
		path = join(path, fmt.Sprintf("%03d-%s", i, strings.Repeat("d", 60)))
		d := root
		d.Path, d.Mtime = path, int64(i)*1e9
		c = append(c, d)
	}
	for i := range 400 { // files on every level, after the way down: the walk must come back to each
		level := c[400-i].Path
		f := root
		f.Path, f.Type, f.Mode, f.Size, f.Data = level+"/z", tree.File, 0o600, 3, []byte("abc")
		c = append(c, f)
	}
	to, refused := restored(t, c, everything)
	if len(refused) > 0 {
		t.Fatalf("refused: %d, one is %q", len(refused), refused[c[1].Path])
	}
	again := capture(t, to, everything)
	if len(again) != len(c) || len(again.Problems()) > 0 {
		t.Fatalf("%d entries became %d with %d problems", len(c), len(again), len(again.Problems()))
	}
	for i := range c {
		if c[i].Path != again[i].Path || string(c[i].Data) != string(again[i].Data) || c[i].Type == tree.Dir && i > 0 && c[i].Mtime != again[i].Mtime {
			t.Fatalf("entry %d differs", i)
		}
	}
}

// Not parallel: it measures the heap.
func TestAHugeDirectoryIsWalkedInBoundedMemory(t *testing.T) {
	const n = 100_000
	dir := filepath.Join(memoryDir(t), "many")
	must(t, os.Mkdir(dir, 0o700))
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	for i := range n {
		must(t, unix.Mknodat(fd, fmt.Sprintf("file-%06d", i*7919%n), unix.S_IFREG|0o600, 0))
	}
	src, err := New(Config{Root: dir}).Source(t.Context())
	must(t, err)
	defer src.Close()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most uint64
	seen, last := 0, ""
	must(t, src.Walk(t.Context(), func(it tree.Item) error {
		if seen > 0 && tree.Compare(last, it.Entry.Path) >= 0 {
			return fmt.Errorf("%q after %q", it.Entry.Path, last)
		}
		last = it.Entry.Path
		if seen++; seen%20_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
		return nil
	}))
	if seen != n+1 {
		t.Errorf("%d entries of %d", seen-1, n)
	}
	// The names take 22 bytes each, the batches 512 entries each; all entries together would take 40 MB.
	if grown := int64(most) - int64(before.HeapAlloc); grown > 12<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
}
