package files

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/tree"
)

// changes are the ways in which a file can stop being what was seen.
var changes = map[string]func(t testing.TB, path string){
	"grows": func(t testing.TB, path string) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		defer f.Close()
		_, err = f.WriteString("more")
		must(t, err)
	},
	"shrinks":          func(t testing.TB, path string) { must(t, os.Truncate(path, 10)) },
	"becomes empty":    func(t testing.TB, path string) { must(t, os.Truncate(path, 0)) },
	"same size":        func(t testing.TB, path string) { overwrite(t, path) },
	"same size, mtime": func(t testing.TB, path string) { overwrite(t, path); setTime(t, path, 1e18) },
	"is replaced by another file": func(t testing.TB, path string) {
		write(t, path+".new", bytes.Repeat([]byte("n"), fileSize))
		setTime(t, path+".new", 1e18)
		must(t, os.Rename(path+".new", path))
	},
	"is removed": func(t testing.TB, path string) { must(t, os.Remove(path)) },
}

// before are changes that matter only when they come before the file is opened.
var before = map[string]func(t testing.TB, path string){
	"becomes a fifo": func(t testing.TB, path string) {
		must(t, os.Remove(path))
		must(t, unix.Mkfifo(path, 0o600))
	},
	"becomes a directory": func(t testing.TB, path string) {
		must(t, os.Remove(path))
		must(t, os.Mkdir(path, 0o700))
	},
	"becomes a link to a secret": func(t testing.TB, path string) {
		must(t, os.Remove(path))
		must(t, os.Symlink("/etc/passwd", path))
	},
	"its directory becomes a link": func(t testing.TB, path string) {
		dir := filepath.Dir(path)
		must(t, os.Rename(dir, dir+".old"))
		must(t, os.Symlink(dir+".old", dir))
	},
	"its directory is removed": func(t testing.TB, path string) { must(t, os.RemoveAll(filepath.Dir(path))) },
}

const fileSize = 100_000

func overwrite(t testing.TB, path string) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("changed"), 50_000)
	must(t, err)
}

// oneFile walks a tree with one file in a directory and returns the file's item.
func oneFile(t testing.TB) (path string, it tree.Item) {
	t.Helper()
	root := tempDir(t)
	dir := filepath.Join(root, "dir")
	must(t, os.Mkdir(dir, 0o700))
	path = filepath.Join(dir, "file")
	write(t, path, bytes.Repeat([]byte("o"), fileSize))
	setTime(t, path, 1e18)
	src, err := New(Config{Root: root}).Source(t.Context())
	must(t, err)
	t.Cleanup(func() { src.Close() })
	must(t, src.Walk(t.Context(), func(i tree.Item) error {
		if i.Open != nil {
			it = i
		}
		return nil
	}))
	return path, it
}

func TestAFileThatChangesBeforeItIsOpenedIsMarked(t *testing.T) {
	t.Parallel()
	for _, list := range []map[string]func(testing.TB, string){changes, before} {
		for name, change := range list {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				path, it := oneFile(t)
				change(t, path)
				c, err := it.Open(t.Context())
				if err != nil {
					t.Log(err)
					return
				}
				defer c.Close()
				data, err := io.ReadAll(c)
				_, problem := c.Check()
				if err == nil && problem == "" {
					t.Errorf("%d bytes and no problem", len(data))
				}
				t.Log(err, problem)
			})
		}
	}
}

func TestAFileThatChangesWhileItIsReadIsMarked(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, it := oneFile(t)
			c, err := it.Open(t.Context())
			must(t, err)
			defer c.Close()
			_, err = io.ReadFull(c, make([]byte, 20_000))
			must(t, err)
			change(t, path)
			data, err := io.ReadAll(c)
			must(t, err)
			if len(data) != fileSize-20_000 {
				t.Errorf("%d bytes more, want as many as the size announced", len(data))
			}
			if _, problem := c.Check(); problem == "" {
				t.Error("no problem")
			}
		})
	}
}

// The timestamps of a file that is changed in every tick of the kernel's clock do not tell what came after it was read.
func TestAFileThatGivesNoRestIsMarked(t *testing.T) {
	t.Parallel()
	for range 100 { // until the writer is not kept from running
		path, it := oneFile(t)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			ts := unix.NsecToTimespec(1e18)
			for {
				select {
				case <-stop:
					return
				default:
					f.WriteAt([]byte("again"), 0)
					unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, 0)
				}
			}
		})
		c, err := it.Open(t.Context())
		close(stop)
		wg.Wait()
		must(t, err)
		is := c.(*content)
		is.walked.Ctime, is.walked.Mtime = is.opened.Ctime, is.opened.Mtime
		_, problem := c.Check()
		c.Close()
		if is.restless {
			if problem == "" {
				t.Error("no problem")
			}
			return
		}
	}
	t.Error("never seen to be written")
}

func TestHowLongTimestampsAreAmbiguous(t *testing.T) {
	t.Parallel()
	const now = 1_700_000_000_123_456_789
	const whole = now / 1e9 * 1e9
	for name, c := range map[string]struct {
		mtime, ctime int64
		want         bool
	}{
		"long ago":                      {now - 1e15, now - 1e15, false},
		"just now":                      {now, now, true},
		"a tick ahead":                  {now + 4e6, now + 4e6, true},
		"mtime set back":                {1e18, now - 1e6, true},
		"mtime set to a later year":     {3e18, now - 1e6, true},
		"mtime later, changed long ago": {3e18, now - 1e15, false},
		"20 ms ago":                     {now - 20e6, now - 20e6, false},
		"this second, where seconds are all there is": {whole, whole, true},
		"three seconds ago there":                     {whole - 3e9, whole - 3e9, false},
	} {
		wait := unsettled(now, &tree.Entry{Mtime: c.mtime, Ctime: c.ctime})
		if wait > 0 != c.want {
			t.Errorf("%s: wait %v", name, wait)
		}
		if again := unsettled(now+int64(wait), &tree.Entry{Mtime: c.mtime, Ctime: c.ctime}); again > 0 {
			t.Errorf("%s: %v more after waiting", name, again)
		}
	}
}

func TestAFileThatStaysIsNotMarked(t *testing.T) {
	t.Parallel()
	_, it := oneFile(t)
	c, err := it.Open(t.Context())
	must(t, err)
	defer c.Close()
	data, err := io.ReadAll(c)
	must(t, err)
	now, problem := c.Check()
	if problem != "" || len(data) != fileSize || !tree.Unchanged(&it.Entry, &now) || now.Path != it.Entry.Path {
		t.Errorf("%q after %d bytes", problem, len(data))
	}
}

// Each version of each file is one byte repeated: a mixture shows.
func TestNoMixtureOfTwoVersionsPassesUnmarked(t *testing.T) {
	t.Parallel()
	root := memoryDir(t)
	const n, size = 300, 60_000
	path := func(i int) string { return filepath.Join(root, fmt.Sprint("f", i)) }
	for i := range n {
		write(t, path(i), bytes.Repeat([]byte{'0'}, size))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for version := byte('1'); ctx.Err() == nil; version++ {
			for i := range n {
				f, err := os.OpenFile(path(i), os.O_WRONLY, 0)
				if err != nil {
					t.Error(err)
					return
				}
				f.WriteAt(bytes.Repeat([]byte{version}, size), 0) // at once: a writer that is not let run leaves no mixture at rest
				f.Close()
			}
		}
	})
	clean, marked := 0, 0
	for ctx.Err() == nil {
		for _, p := range capture(t, root, Options{})[1:] {
			if p.Problem != "" {
				marked++
				continue
			}
			clean++
			if len(p.Data) != size || bytes.Count(p.Data, p.Data[:1]) != size {
				t.Errorf("%s is a mixture and not marked", p.Path)
			}
		}
	}
	wg.Wait()
	t.Logf("%d clean, %d marked", clean, marked)
	if clean == 0 || marked == 0 {
		t.Error("the test has not seen both kinds")
	}
}

func TestNamesThatVanishAreReported(t *testing.T) {
	t.Parallel()
	root := memoryDir(t)
	const n = 4 * batchSize
	for i := range n {
		write(t, filepath.Join(root, fmt.Sprintf("%06d", i)), nil)
	}
	must(t, os.MkdirAll(filepath.Join(root, "z-dir", "sub"), 0o700))
	src, err := New(Config{Root: root}).Source(t.Context())
	must(t, err)
	defer src.Close()
	seen, vanished := 0, 0
	must(t, src.Walk(t.Context(), func(it tree.Item) error {
		if it.Entry.Path == "" { // everything is listed, nothing but the first batches looked at
			for i := n / 2; i < n; i++ {
				must(t, os.Remove(filepath.Join(root, fmt.Sprintf("%06d", i))))
			}
			must(t, os.RemoveAll(filepath.Join(root, "z-dir")))
			return nil
		}
		seen++
		if it.Entry.Problem != "" {
			vanished++
			if it.Open != nil {
				if _, err := it.Open(t.Context()); err == nil {
					t.Errorf("%s opens", it.Entry.Path)
				}
			}
		}
		return nil
	}))
	if seen != n+1 || vanished != n/2+1 {
		t.Errorf("%d entries, %d of them vanished; want %d and %d", seen, vanished, n+1, n/2+1)
	}
}

// What a modification time cannot be in nanoseconds since 1970 is not turned into another time without a word.
func TestTimesThatCannotBeKeptAreReported(t *testing.T) {
	t.Parallel()
	root := memoryDir(t)
	far := func(path string) {
		ts := unix.Timespec{Sec: 13_569_465_600, Nsec: 5} // the year 2400
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, 0))
		var st unix.Stat_t
		if must(t, unix.Stat(path, &st)); st.Mtim.Sec != ts.Sec {
			t.Skip("the file system does not keep it either")
		}
	}
	must(t, os.Mkdir(filepath.Join(root, "dir"), 0o700))
	write(t, filepath.Join(root, "file"), []byte("x"))
	far(filepath.Join(root, "dir"))
	far(filepath.Join(root, "file"))
	c := capture(t, root, Options{})
	if p := c.Problems(); len(p) != 2 || p["dir"] != problemTime || p["file"] != problemTime || string(c.Find("file").Data) != "x" {
		t.Errorf("%q", p)
	}
}

func TestAMountPointIsReportedAndNotEntered(t *testing.T) {
	t.Parallel()
	root := tempDir(t)
	mount := filepath.Join(root, "mnt")
	must(t, os.Mkdir(mount, 0o700))
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting is not allowed here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	write(t, filepath.Join(mount, "inside"), []byte("x"))
	c := capture(t, root, Options{})
	if p := c.Find("mnt"); p == nil || p.Problem != problemMount || c.Find("mnt/inside") != nil {
		t.Errorf("not reported: %v", c.Problems())
	}
	c = capture(t, root, Options{CrossMounts: true})
	if p := c.Find("mnt/inside"); p == nil || len(c.Problems()) > 0 || string(p.Data) != "x" {
		t.Errorf("not included: %v", c.Problems())
	}
}

func TestWhatMayNotBeReadIsReported(t *testing.T) {
	t.Parallel()
	if isRoot {
		return // TestAsAnOrdinaryUser runs it
	}
	root := tempDir(t)
	must(t, os.MkdirAll(filepath.Join(root, "locked/inner"), 0o700))
	must(t, os.MkdirAll(filepath.Join(root, "listable"), 0o700))
	write(t, filepath.Join(root, "listable/hidden"), []byte("x"))
	write(t, filepath.Join(root, "secret"), []byte("x"))
	write(t, filepath.Join(root, "open"), []byte("x"))
	must(t, os.Chmod(filepath.Join(root, "locked"), 0))
	must(t, os.Chmod(filepath.Join(root, "listable"), 0o400))
	must(t, os.Chmod(filepath.Join(root, "secret"), 0))
	c := capture(t, root, Options{})
	problems := c.Problems()
	for _, path := range []string{"locked", "listable/hidden", "secret"} {
		if !strings.Contains(problems[path], "permission denied") {
			t.Errorf("%s: %q", path, problems[path])
		}
	}
	if len(problems) != 3 || c.Find("open") == nil || string(c.Find("open").Data) != "x" {
		t.Errorf("problems: %q", problems)
	}
}

// Root may read and do everything, so the suite runs once more as somebody who may not.
func TestAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if !isRoot {
		return
	}
	tmp := filepath.Join(memoryDir(t), "tmp")
	must(t, os.Mkdir(tmp, 0o700))
	must(t, os.Chmod(filepath.Dir(tmp), 0o711))
	must(t, os.Chown(tmp, 65534, 65534))
	cmd := exec.Command("/proc/self/exe", "-test.run", "^(TestContract|TestEverythingComesBackAsItWas|TestRandomTreesComeBackAsTheyWere|TestWhatMayNotBeReadIsReported|TestPrivileges.*|TestAFile.*|TestHostile.*)$", "-rapid.checks=20")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "HOME="+tmp)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
