package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/fault"
	"strongroom/internal/resource"
	"strongroom/internal/tree"
)

// victim is a directory beside the place that no restore may touch.
func victim(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(tempDir(t), "outside")
	must(t, os.Mkdir(dir, 0o755))
	write(t, filepath.Join(dir, "file"), []byte("precious"))
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	return dir
}

func begun(t testing.TB, place string, o Options) *target {
	t.Helper()
	r, err := New(Config{Root: place, Options: o}).Target(t.Context(), resource.Request{ID: "r", CreatedAt: day})
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r.(*target)
}

// put creates an entry, with content "data" if it is a file, and returns the refusals. Anything else fails the test.
func put(t testing.TB, r *target, e tree.Entry) []*tree.Refused {
	t.Helper()
	if e.Mode == 0 {
		e.Mode = 0o777
	}
	if e.Type == tree.File && e.Hardlink == "" && e.Size == 0 {
		e.Size = 4
	}
	w, err := r.Create(t.Context(), &e)
	refused, rest := tree.Refusals(err)
	if w != nil {
		if _, err := w.WriteAt([]byte("data"), 0); err != nil && e.Size == 4 {
			t.Errorf("%q: %v", e.Path, err)
		}
		var more []*tree.Refused
		more, rest = tree.Refusals(w.Close())
		refused = append(refused, more...)
	}
	if rest != nil {
		t.Errorf("%q: %v", e.Path, rest)
	}
	return refused
}

// Each case is a recovery point made to break out: its entries in the order in which they are restored. Refused lists the
// paths that must be refused.
func TestHostileRecoveryPointsStayInside(t *testing.T) {
	t.Parallel()
	file := func(path string) tree.Entry { return tree.Entry{Path: path, Type: tree.File} }
	dir := func(path string) tree.Entry { return tree.Entry{Path: path, Type: tree.Dir} }
	link := func(path, to string) tree.Entry { return tree.Entry{Path: path, Type: tree.Symlink, Link: to} }
	hard := func(path, first string) tree.Entry {
		return tree.Entry{Path: path, Type: tree.File, Hardlink: first, Nlink: 2}
	}
	for name, c := range map[string]struct {
		entries func(out string) []tree.Entry
		refused []string
	}{
		"a file through a link":      {func(out string) []tree.Entry { return []tree.Entry{link("a", out), file("a/file"), file("a/new")} }, []string{"a/file", "a/new"}},
		"a directory through a link": {func(out string) []tree.Entry { return []tree.Entry{link("a", out), dir("a/sub"), dir("a/sub/x")} }, []string{"a/sub", "a/sub/x"}},
		"a relative link":            {func(string) []tree.Entry { return []tree.Entry{link("a", "../../outside"), file("a/new")} }, []string{"a/new"}},
		"links in a row": {func(out string) []tree.Entry {
			return []tree.Entry{link("a", "b"), link("b", out), file("a/new"), file("b/new")}
		}, []string{"a/new", "b/new"}},
		"a link below a link": {func(out string) []tree.Entry {
			return []tree.Entry{dir("d"), link("d/a", out), file("d/a/new"), link("d/a/l", "x")}
		}, []string{"d/a/new", "d/a/l"}},
		"a file over a link":      {func(out string) []tree.Entry { return []tree.Entry{link("a", out+"/file"), file("a")} }, []string{"a"}},
		"a directory over a link": {func(out string) []tree.Entry { return []tree.Entry{link("a", out), dir("a"), file("a/new")} }, []string{"a", "a/new"}},
		"a fifo over a link":      {func(out string) []tree.Entry { return []tree.Entry{link("a", out), {Path: "a", Type: tree.Fifo}} }, []string{"a"}},
		"a file twice":            {func(string) []tree.Entry { return []tree.Entry{file("a"), file("a")} }, []string{"a"}},
		"a file as a directory":   {func(string) []tree.Entry { return []tree.Entry{file("a"), file("a/b"), dir("a/c")} }, []string{"a/b", "a/c"}},
		"the root as a link":      {func(out string) []tree.Entry { return []tree.Entry{{Type: tree.Symlink, Link: out}, {Type: tree.File}} }, []string{"", ""}},
		"a hard link out of the tree": {func(string) []tree.Entry {
			return []tree.Entry{hard("a", "../../outside/file"), hard("b", "/etc/passwd")}
		}, []string{"a", "b"}},
		"a hard link through a link":     {func(out string) []tree.Entry { return []tree.Entry{link("l", out), hard("a", "l/file")} }, []string{"a"}},
		"a hard link to a link's target": {func(out string) []tree.Entry { return []tree.Entry{link("l", out+"/file"), hard("a", "l")} }, []string{"a"}},
		"a hard link to nothing":         {func(string) []tree.Entry { return []tree.Entry{hard("a", "nowhere")} }, []string{"a"}},
		"a hard link to a directory":     {func(string) []tree.Entry { return []tree.Entry{dir("d"), hard("a", "d")} }, []string{"a"}},
		"a hard link to itself":          {func(string) []tree.Entry { return []tree.Entry{hard("a", "a")} }, []string{"a"}},
		"a hard link over a link":        {func(out string) []tree.Entry { return []tree.Entry{file("f"), link("a", out+"/file"), hard("a", "f")} }, []string{"a"}},
		"a hard link to a device": {func(string) []tree.Entry {
			return []tree.Entry{{Path: "a", Type: tree.CharDev, Hardlink: "b", Rdev: 0x103}, {Path: "b", Type: tree.CharDev, Rdev: 0x103}}
		}, []string{"a", "b"}},
		"odd objects": {func(string) []tree.Entry {
			return []tree.Entry{
				{Path: "none"}, {Path: "unknown", Type: 99}, link("empty", ""), link("nul", "a\x00b"), link("long", strings.Repeat("x", 5000)),
				{Path: "negative", Type: tree.File, Size: -1},
				{Path: strings.Repeat("n", 256), Type: tree.File},
				{Path: "attribute", Type: tree.File, Xattrs: []tree.Xattr{{Name: "user." + strings.Repeat("a", 300)}}},
			}
		}, []string{"none", "unknown", "empty", "nul", "long", "negative", strings.Repeat("n", 256), "attribute"}},
		"privileges in every disguise": {func(string) []tree.Entry {
			return []tree.Entry{
				{Path: "suid", Type: tree.File, Mode: 0o4755}, {Path: "sgid", Type: tree.File, Mode: 0o2755}, {Path: "both", Type: tree.File, Mode: 0o106755},
				{Path: "cap", Type: tree.File, Xattrs: []tree.Xattr{{Name: "security.capability", Value: []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")}}},
				{Path: "pipe", Type: tree.Fifo, Mode: 0o6666}, {Path: "mem", Type: tree.CharDev, Rdev: 0x101, Mode: 0o666}, {Path: "disk", Type: tree.BlockDev, Rdev: 0x800, Mode: 0o666},
				{Path: "overlay", Type: tree.Dir, Xattrs: []tree.Xattr{{Name: "trusted.overlay.opaque", Value: []byte("y")}}},
			}
		}, []string{"suid", "sgid", "both", "cap", "pipe", "mem", "disk", "overlay"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := victim(t)
			place := filepath.Join(filepath.Dir(out), "place")
			must(t, os.Mkdir(place, 0o755))
			was := snapshot(t, out)
			r := begun(t, place, Options{Ownership: isRoot})
			refused := map[string]int{}
			for _, e := range c.entries(out) {
				e.UID, e.GID = uint32(os.Geteuid()), uint32(os.Getegid())
				for _, x := range put(t, r, e) {
					refused[x.Path]++
				}
			}
			list, err := tree.Refusals(r.Finish(t.Context()))
			must(t, err)
			for _, x := range list {
				refused[x.Path]++
			}
			for _, path := range c.refused {
				if refused[path] == 0 {
					t.Errorf("%q is not refused", path)
				}
			}
			must(t, r.Close())
			same(t, was, snapshot(t, out))
			for path, text := range snapshot(t, filepath.Join(place, r.Location())) {
				var mode uint32
				fmt.Sscanf(text, "mode %o", &mode)
				if containsAny(text, "device", "security.capability", "trusted.") || mode&0o6000 != 0 {
					t.Errorf("%s: %s", path, text)
				}
			}
		})
	}
}

// Somebody who can rename inside the tree exchanges a directory with a link to the outside, all the time. This is more
// than the private mode of an unfinished restore leaves to other users.
// TestB15HostileRecoveryPointsTouchNothingOutside does it; it returns how many objects were made or refused.
func exchangeDirectories(t *testing.T, during time.Duration) int {
	t.Helper()
	out := victim(t)
	was := snapshot(t, out)
	place := tempDir(t)
	r := begun(t, place, Options{Ownership: isRoot, Devices: isRoot})
	inside := filepath.Join(place, r.partial)
	put(t, r, tree.Entry{Type: tree.Dir})
	put(t, r, tree.Entry{Path: "d", Type: tree.Dir})
	must(t, os.Symlink(out, filepath.Join(inside, "trap")))
	stop := time.NewTimer(during)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, inside+"/d", unix.AT_FDCWD, inside+"/trap", unix.RENAME_EXCHANGE)
			}
		}
	})
	made, kept := 0, 0
	for i := 0; ; i++ {
		select {
		case <-stop.C:
		default:
			r.handles.close() // each object finds its directory anew
			for _, e := range []tree.Entry{
				{Path: fmt.Sprint("d/file", i), Type: tree.File, UID: 1},
				{Path: fmt.Sprint("d/dir", i), Type: tree.Dir, UID: 1},
				{Path: fmt.Sprint("d/link", i), Type: tree.Symlink, Link: "x", UID: 1},
				{Path: fmt.Sprint("d/fifo", i), Type: tree.Fifo, UID: 1},
				{Path: fmt.Sprint("d/hard", i), Type: tree.File, Hardlink: "d/file", UID: 1},
			} {
				made++
				if len(put(t, r, e)) > 0 {
					kept++
				}
			}
			continue
		}
		break
	}
	_, err := tree.Refusals(r.Finish(t.Context()))
	must(t, err)
	close(done)
	wg.Wait()
	t.Logf("%d objects, %d refused", made, kept)
	same(t, was, snapshot(t, out))
	must(t, r.Close())
	return made
}

func TestARestoreWhoseDirectoryIsTakenAwayFailsAndTouchesNothing(t *testing.T) {
	t.Parallel()
	out := victim(t)
	was := snapshot(t, out)
	for name, attack := range map[string]func(t *testing.T, place, partial string){
		"replaced by a link": func(t *testing.T, place, partial string) {
			must(t, os.Rename(filepath.Join(place, partial), filepath.Join(place, "elsewhere")))
			must(t, os.Symlink(out, filepath.Join(place, partial)))
		},
		"replaced by a directory": func(t *testing.T, place, partial string) {
			must(t, os.Rename(filepath.Join(place, partial), filepath.Join(place, "elsewhere")))
			must(t, os.Mkdir(filepath.Join(place, partial), 0o700))
			write(t, filepath.Join(place, partial, "planted"), nil)
		},
		"moved": func(t *testing.T, place, partial string) {
			must(t, os.Rename(filepath.Join(place, partial), filepath.Join(place, "elsewhere")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			place := tempDir(t)
			r := begun(t, place, Options{})
			attack(t, place, r.partial)
			put(t, r, tree.Entry{Path: "file", Type: tree.File})
			if err := r.Finish(t.Context()); !fault.Is(err, fault.Conflict) {
				t.Errorf("Finish: %v", err)
			}
			must(t, r.Close())
			if _, err := os.Lstat(filepath.Join(place, r.Location())); err == nil {
				t.Error("something got the name of a finished restore")
			}
			same(t, was, snapshot(t, out))
		})
	}
}

func TestAFinishedNameThatIsTakenMeanwhileIsNotReplaced(t *testing.T) {
	t.Parallel()
	place := tempDir(t)
	r := begun(t, place, Options{})
	must(t, os.Mkdir(filepath.Join(place, r.Location()), 0o700))
	if err := r.Finish(t.Context()); !fault.Is(err, fault.Exists) {
		t.Errorf("Finish: %v", err)
	}
	must(t, r.Close())
	names, err := os.ReadDir(place)
	must(t, err)
	if len(names) != 1 || names[0].Name() != r.Location() {
		t.Errorf("%v", names)
	}
}

func TestAnInterruptedRestoreIsDiscardedByTheNextAttempt(t *testing.T) {
	t.Parallel()
	place := tempDir(t)
	r := begun(t, place, Options{})
	put(t, r, tree.Entry{Path: "a/b/left", Type: tree.File})
	unix.Close(r.root) // what a crash does: the lock is gone, the directory stays
	root, err := unix.Open("/", unix.O_PATH, 0)
	must(t, err)
	r.root = root
	again := begun(t, place, Options{})
	put(t, again, tree.Entry{Path: "new", Type: tree.File})
	must(t, again.Finish(t.Context()))
	must(t, again.Close())
	names, err := os.ReadDir(filepath.Join(place, again.Location()))
	must(t, err)
	if len(names) != 1 || names[0].Name() != "new" {
		t.Errorf("%v", names)
	}
}

func TestASweepRemovesOnlyWhatNobodyGoesOnWith(t *testing.T) {
	t.Parallel()
	root := tempDir(t)
	p := New(Config{Root: root, Dir: "fs-01234567"})
	at := func(id string) *target {
		r, err := p.Target(t.Context(), resource.Request{ID: id, CreatedAt: day, Create: true})
		must(t, err)
		t.Cleanup(func() { r.Close() })
		put(t, r.(*target), tree.Entry{Path: "a/file", Type: tree.File})
		return r.(*target)
	}
	alive, crashed := at("alive"), at("crashed")
	unix.Close(crashed.root)
	other, err := unix.Open("/", unix.O_PATH, 0)
	must(t, err)
	crashed.root = other
	mine := filepath.Join(root, "fs-01234567", ".aws-backup-restore_mine.partial")
	must(t, os.Mkdir(mine, 0o700))
	removed, err := p.Sweep(t.Context())
	if err != nil || len(removed) != 1 || removed[0] != crashed.partial {
		t.Fatalf("%q %v", removed, err)
	}
	must(t, alive.Finish(t.Context()))
	must(t, alive.Close())
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

// Sandboxes deny openat2; what replaces it must be as strict.
func TestPathsAreResolvedAlikeWithoutOpenat2(t *testing.T) {
	t.Parallel()
	root := tempDir(t)
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	write(t, filepath.Join(root, "a/b/file"), nil)
	must(t, os.Symlink("b", filepath.Join(root, "a/link")))
	must(t, os.Symlink("/", filepath.Join(root, "out")))
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(dir)
	for _, path := range []string{"a", "a/b", "a/b/file", "a/link", "a/link/file", "out", "out/etc", "missing", "a/b/file/x"} {
		fast, ferr := openPiece(dir, path, unix.O_RDONLY, unix.RESOLVE_NO_XDEV)
		slow, serr := openElements(dir, path, unix.O_RDONLY, unix.RESOLVE_NO_XDEV)
		// A link before the last element is "too many links" to one and "not a directory" to the other.
		if (ferr == nil) != (serr == nil) {
			t.Errorf("%s: %v and %v", path, ferr, serr)
		}
		unix.Close(fast)
		unix.Close(slow)
	}
}
