package files

import (
	"crypto/sha256"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// snapshot describes everything below dir, with calls of its own: it shares no code with what it judges.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	groups := map[[2]uint64][]string{}
	var walk func(path, rel string)
	walk = func(path, rel string) {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		var d strings.Builder
		fmt.Fprintf(&d, "mode %o owner %d:%d mtime %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			names, err := os.ReadDir(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range names {
				walk(path+"/"+n.Name(), rel+"/"+n.Name())
			}
		case unix.S_IFLNK:
			link, _ := os.Readlink(path)
			fmt.Fprintf(&d, " link %q", link)
		case unix.S_IFCHR, unix.S_IFBLK:
			fmt.Fprintf(&d, " device %d", st.Rdev)
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&d, " size %d sum %x holes %s", st.Size, sha256.Sum256(data), holes(t, path, st.Size))
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			fmt.Fprintf(&d, " links %d", st.Nlink)
			groups[[2]uint64{st.Dev, st.Ino}] = append(groups[[2]uint64{st.Dev, st.Ino}], rel)
		}
		d.WriteString(xattrText(t, path))
		out[rel] = d.String()
	}
	walk(dir, "")
	for _, paths := range groups {
		sort.Strings(paths)
		for _, p := range paths {
			out[p] += fmt.Sprintf(" with %q", paths)
		}
	}
	return out
}

func holes(t testing.TB, path string, size int64) string {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for off := int64(0); off < size; {
		hole, err := f.Seek(off, unix.SEEK_HOLE)
		if err != nil || hole >= size {
			break
		}
		data, err := f.Seek(hole, unix.SEEK_DATA)
		if err != nil {
			data = size
		}
		out = append(out, fmt.Sprintf("%d-%d", hole, data))
		off = data
	}
	return strings.Join(out, ",")
}

func xattrText(t testing.TB, path string) string {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf(" %s=%q", name, value[:n]))
	}
	sort.Strings(out)
	return strings.Join(out, "")
}

// same fails the test for every path on which two snapshots differ.
func same(t testing.TB, want, got map[string]string) {
	t.Helper()
	n := 0
	for path, w := range want {
		if g, ok := got[path]; !ok {
			t.Errorf("missing: %q", path)
		} else if g != w {
			t.Errorf("%q:\n is %s\nwas %s", path, g, w)
		} else {
			continue
		}
		if n++; n > 10 {
			t.Fatal("and more")
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("too much: %q", path)
		}
	}
}

func containsAny(text string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
