package demo

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// facts is what the demo compares of one object. It is gathered with plain system calls, on purpose not with the code
// that makes backups.
type facts struct {
	kind   uint32
	mode   uint32
	uid    uint32
	gid    uint32
	mtime  unix.Timespec
	size   int64
	links  uint64
	target string
	xattrs string
	sum    [sha256.Size]byte
}

// inventory lists a tree: every object below dir with its facts, file contents hashed.
func inventory(dir string, progress func(bytes int64)) (map[string]facts, error) {
	all := map[string]facts{}
	var total int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := look(path)
		if err != nil {
			return err
		}
		if rel == "." {
			return nil // the root's own owner and times belong to whoever made the directory
		}
		all[rel] = f
		if f.kind == unix.S_IFREG {
			total += f.size
			progress(total)
		}
		return nil
	})
	return all, err
}

func look(path string) (facts, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return facts{}, fmt.Errorf("stat %q: %w", path, err)
	}
	f := facts{kind: st.Mode & unix.S_IFMT, mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid, mtime: st.Mtim}
	if f.kind != unix.S_IFDIR {
		f.links = uint64(st.Nlink)
	}
	var err error
	switch f.kind {
	case unix.S_IFLNK:
		f.target, err = os.Readlink(path)
		f.mode = 0
	case unix.S_IFREG:
		f.size = st.Size
		f.sum, err = hash(path)
	}
	if err != nil {
		return facts{}, err
	}
	f.xattrs, err = xattrs(path)
	return f, err
}

func hash(path string) (sum [sha256.Size]byte, err error) {
	in, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return sum, fmt.Errorf("read %q: %w", path, err)
	}
	h.Sum(sum[:0])
	return sum, nil
}

// xattrs returns an object's extended attributes (ACLs included) as one comparable string.
func xattrs(path string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err == unix.ENOTSUP {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list attributes of %q: %w", path, err)
	}
	var all []string
	for _, name := range bytes.Split(buf[:n], []byte{0}) {
		if len(name) == 0 {
			continue
		}
		value := make([]byte, 64<<10)
		m, err := unix.Lgetxattr(path, string(name), value)
		if err != nil {
			return "", fmt.Errorf("attribute %q of %q: %w", name, path, err)
		}
		all = append(all, fmt.Sprintf("%q=%q", name, value[:m]))
	}
	sort.Strings(all)
	return strings.Join(all, ","), nil
}

// difference describes the first few differences of two inventories; "" means identical.
func difference(want, got map[string]facts) string {
	var diffs []string
	for path, w := range want {
		g, ok := got[path]
		switch {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("%q is missing", path))
		case g.sum != w.sum || g.size != w.size:
			diffs = append(diffs, fmt.Sprintf("%q has other content", path))
		case g != w:
			diffs = append(diffs, fmt.Sprintf("%q has other metadata: %+v instead of %+v", path, g, w))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			diffs = append(diffs, fmt.Sprintf("%q was not there before", path))
		}
	}
	sort.Strings(diffs)
	if len(diffs) > 5 {
		diffs = append(diffs[:5], fmt.Sprintf("and %d more", len(diffs)-5))
	}
	return strings.Join(diffs, "; ")
}
