package compat

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
	"strongroom/internal/standalone"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

var update = flag.Bool("update", false, "make the golden vaults of the current format version anew")

// expectation is what must come out of a golden vault.
type expectation struct {
	Points map[string]wantPoint `json:"points"`
}

// wantPoint is a recovery point as both readers describe it. Times are nanoseconds since 1970. Paths and other names are bytes,
// written as the characters of the same numbers.
type wantPoint struct {
	ID           string            `json:"id"`
	Committed    *int64            `json:"committed"`
	RetainUntil  *int64            `json:"retain_until"`
	Locked       bool              `json:"locked"`
	Owner        string            `json:"owner"`
	Resource     string            `json:"resource"`
	ARN          string            `json:"arn"`
	Type         string            `json:"type"`
	Created      *int64            `json:"created"`
	Labels       map[string]string `json:"labels"`
	Root         string            `json:"root"`
	Stats        map[string]int64  `json:"stats"`
	ProblemCount int64             `json:"problem_count"`
	Problems     [][2]string       `json:"problems"`
	Entries      []wantEntry       `json:"entries,omitempty"`
}

type wantEntry struct {
	Path     string      `json:"path"`
	Type     string      `json:"type"`
	Mode     uint32      `json:"mode"`
	UID      uint32      `json:"uid"`
	GID      uint32      `json:"gid"`
	User     string      `json:"user,omitempty"`
	Group    string      `json:"group,omitempty"`
	Mtime    int64       `json:"mtime"`
	Ctime    int64       `json:"ctime"`
	Nlink    uint32      `json:"nlink"`
	Dev      uint64      `json:"dev"`
	Ino      uint64      `json:"ino"`
	Size     int64       `json:"size,omitempty"`
	Rdev     uint64      `json:"rdev,omitempty"`
	Link     string      `json:"link,omitempty"`
	Hardlink string      `json:"hardlink,omitempty"`
	Xattrs   [][2]string `json:"xattrs,omitempty"` // name, value in hexadecimal digits
	Extents  [][2]int64  `json:"extents"`          // null: not sparse
	Problem  string      `json:"problem,omitempty"`
	SHA256   string      `json:"sha256,omitempty"` // of the content without holes
}

// chars writes bytes as the characters of the same numbers, so that JSON can hold them.
func chars(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

func nanoseconds(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixNano()
	return &n
}

func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// describeCommit says what the engine says about a recovery point.
func describeCommit(c repo.Commit) wantPoint {
	s := c.Stats
	w := wantPoint{
		ID: c.ID, Committed: nanoseconds(c.Committed), RetainUntil: nanoseconds(c.RetainUntil), Locked: c.Locked,
		Owner: c.Meta.Owner, Resource: c.Meta.ResourceARN, ARN: c.Meta.RecoveryPointARN, Type: c.Meta.ResourceType,
		Created: nanoseconds(c.Meta.Created), Labels: map[string]string{}, Root: hex.EncodeToString(c.Root[:]),
		Stats: map[string]int64{"entries": s.Entries, "files": s.Files, "logical": s.LogicalBytes, "read": s.ReadBytes, "new": s.NewBytes,
			"stored": s.StoredBytes, "unchanged": s.UnchangedFiles, "new_chunks": s.NewChunks, "chunks": s.Chunks},
		ProblemCount: c.ProblemCount, Problems: [][2]string{},
	}
	for k, v := range c.Meta.Labels {
		w.Labels[k] = v
	}
	for _, p := range c.Problems {
		w.Problems = append(w.Problems, [2]string{chars(p.Path), chars(p.Reason)})
	}
	return w
}

func describeEntry(e *tree.Entry) wantEntry {
	w := wantEntry{
		Path: chars(e.Path), Type: e.Type.String(), Mode: e.Mode, UID: e.UID, GID: e.GID, User: chars(e.User), Group: chars(e.Group),
		Mtime: e.Mtime, Ctime: e.Ctime, Nlink: e.Nlink, Dev: e.Dev, Ino: e.Ino, Size: e.Size, Rdev: e.Rdev,
		Link: chars(e.Link), Hardlink: chars(e.Hardlink), Problem: chars(e.Problem),
	}
	for _, x := range e.Xattrs {
		w.Xattrs = append(w.Xattrs, [2]string{chars(x.Name), hex.EncodeToString(x.Value)})
	}
	if e.Extents != nil {
		w.Extents = [][2]int64{}
		for _, x := range e.Extents {
			w.Extents = append(w.Extents, [2]int64{x.Off, x.Len})
		}
	}
	return w
}

// walked describes every entry of a recovery point, content excepted.
func walked(ctx context.Context, r *repo.Repository, id string) ([]wantEntry, error) {
	p, err := r.Point(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []wantEntry
	err = p.Walk(ctx, "", func(e *tree.Entry) error {
		out = append(out, describeEntry(e))
		return nil
	})
	return out, err
}

func sum(p []byte) string {
	h := sha256.Sum256(p)
	return hex.EncodeToString(h[:])
}

// golden is one golden vault, unpacked.
type golden struct {
	name, dir, secret string // secret: the reader's arguments
	opens             recovery.Secret
	want              expectation
}

// engines is the golden repository of the engine's own tests, which know what is in it: here it is only read alike. Reference
// sets in it build on others, which takes more content elsewhere.
const engines = "../../internal/repo/testdata/format-1.zip"

// vaults unpacks the golden vaults of all format versions.
func vaults(t *testing.T) (out []golden) {
	names := must(filepath.Glob("testdata/v*.zip"))
	if len(names) == 0 {
		t.Fatal("there are no golden vaults")
	}
	phraseFile := filepath.Join(t.TempDir(), "passphrase")
	check(t, os.WriteFile(phraseFile, []byte(passphrase+"\n"), 0o600))
	for _, n := range append(names, engines) {
		g := golden{name: strings.TrimSuffix(filepath.Base(n), ".zip"), dir: unzip(t, n)}
		if n == engines {
			g.name = n
		} else {
			check(t, json.Unmarshal(must(os.ReadFile(strings.TrimSuffix(n, ".zip")+".json")), &g.want))
		}
		g.secret, g.opens = "--passphrase-file="+phraseFile, must(recovery.Phrase(passphrase))
		if !must(standalone.Look(t.Context(), g.dir)).Passphrase {
			g.secret, g.opens = "--identity-file=testdata/identity.txt", must(recovery.Identities(must(os.ReadFile("testdata/identity.txt"))))
		}
		out = append(out, g)
	}
	return out
}

func unzip(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vault")
	check(t, os.CopyFS(dir, &must(zip.OpenReader(name)).Reader))
	return dir
}

// interpreter is what the independent reader runs under: Debian's Python, for which its packages are. "" if there is none.
var interpreter = sync.OnceValue(func() string {
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(p, "-B", "-c", "import ctypes, cryptography; ctypes.CDLL('libzstd.so.1')").Run() == nil {
			return p
		}
	}
	return ""
})

func hasPython() bool { return interpreter() != "" }

// ask runs the independent reader and decodes its answer. The exit status is checked by the caller.
func (g *golden) ask(t *testing.T, into any, command string, args ...string) (status int) {
	t.Helper()
	cmd := exec.Command(interpreter(), append([]string{"-B", "reader.py", command, g.dir, g.secret}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if problems.Len() > 0 && cmd.ProcessState.ExitCode() != 2 {
		t.Fatalf("reader.py %s: %s", command, problems.String())
	}
	if into != nil {
		if err := json.Unmarshal(out.Bytes(), into); err != nil {
			t.Fatalf("reader.py %s: %v: %.500s%s", command, err, out.String(), problems.String())
		}
	}
	return cmd.ProcessState.ExitCode()
}

// answer is what the independent reader prints; each command fills a part of it.
type answer struct {
	Vault    struct{ Vault, Name string }
	Points   []wantPoint            `json:"recovery_points"`
	Entries  map[string][]wantEntry `json:"entries"`
	Packs    int                    `json:"packs"`
	Frames   int                    `json:"frames"`
	Pairs    int                    `json:"pairs"`
	Moved    int                    `json:"moved"`
	Depth    int                    `json:"depth"`
	LeftOut  [][2]string            `json:"left_out"`
	Findings []string               `json:"findings"`
}

// TestB36EveryGoldenVaultIsReadAlikeByBothReaders opens, lists, verifies and restores every golden vault with the engine and with
// the independent reader, and compares both with what was put in.
func TestB36EveryGoldenVaultIsReadAlikeByBothReaders(t *testing.T) {
	t.Parallel()
	if !hasPython() {
		t.Skip("no Python with the cryptography package (scripts/install-test-tools installs it)")
	}
	for _, g := range vaults(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			if g.name == engines {
				g.take(t)
			}
			before := fingerprint(t, g.dir)
			g.engineAgrees(t)
			packs, frames := g.readerAgrees(t)
			if bar.Full() || strings.HasSuffix(g.name, "-pruned") {
				g.restoredAlike(t)
			}
			if fingerprint(t, g.dir) != before {
				t.Error("reading changed the vault")
			}
			bar.Report(t, "B36", "%s: %d recovery points, %d packs, %d frames: both readers agree, 0 bytes changed", g.name, len(g.want.Points), packs, frames)
		})
	}
}

func (g *golden) open(t *testing.T) *standalone.Vault {
	t.Helper()
	v, err := standalone.Open(t.Context(), standalone.Config{Dir: g.dir, Secret: g.opens, Clock: clock.System{}})
	check(t, err)
	t.Cleanup(func() { v.Close() })
	return v
}

// repository opens the vault one layer deeper, for reading.
func (g *golden) repository(t *testing.T) *repo.Repository {
	t.Helper()
	store := must(disk.OpenReader(g.dir))
	d := must(repo.Describe(t.Context(), store))
	k, err := g.opens.Open(d.Vault, must(repo.Envelopes(t.Context(), store)))
	check(t, err)
	r, err := repo.Open(t.Context(), repo.Config{Store: store, Vault: k.Vault, Root: k.Root, Maint: k.Maint, Clock: clock.System{}})
	check(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// take expects what the engine says.
func (g *golden) take(t *testing.T) {
	r := g.repository(t)
	commits, err := r.List(t.Context())
	check(t, err)
	g.want.Points = map[string]wantPoint{}
	for _, c := range commits {
		w := describeCommit(c)
		w.Entries, err = walked(t.Context(), r, c.ID)
		check(t, err)
		g.want.Points[c.ID] = w
	}
}

func (g *golden) engineAgrees(t *testing.T) {
	rep, err := g.open(t).Verify(t.Context(), standalone.VerifyOptions{ReadData: true})
	check(t, err)
	if rep.FindingCount > 0 || rep.Points != int64(len(g.want.Points)) {
		t.Errorf("%+v", rep)
	}
	r := g.repository(t)
	commits, err := r.List(t.Context())
	check(t, err)
	if len(commits) != len(g.want.Points) {
		t.Errorf("%d recovery points, not %d", len(commits), len(g.want.Points))
	}
	for _, c := range commits {
		want, got := g.want.Points[c.ID], describeCommit(c)
		got.Entries, err = walked(t.Context(), r, c.ID)
		check(t, err)
		for i := range got.Entries { // content is compared by restoring
			got.Entries[i].SHA256 = want.Entries[min(i, len(want.Entries)-1)].SHA256
		}
		same(t, "engine: "+c.ID, got, want)
	}
}

func (g *golden) readerAgrees(t *testing.T) (packs, frames int) {
	var show answer
	ids := slices.Sorted(maps.Keys(g.want.Points))
	ids = ids[:min(len(ids), bar.Size(1, len(ids)))]
	if status := g.ask(t, &show, "show", ids...); status != 0 || len(show.Findings) > 0 {
		t.Fatalf("show: %d, %v", status, show.Findings)
	}
	var list answer
	if status := g.ask(t, &list, "verify"); status != 0 || len(list.Points) != len(g.want.Points) || len(list.Findings) > 0 {
		t.Fatalf("verify: %d, %v", status, list.Findings)
	}
	if list.Packs == 0 || list.Pairs == 0 {
		t.Errorf("%+v", list)
	}
	if strings.HasSuffix(g.name, "-pruned") && list.Moved == 0 {
		t.Error("no frame was moved into another pack")
	}
	if g.name == engines && list.Depth == 0 {
		t.Error("no reference set builds on another one")
	}
	for _, p := range list.Points {
		want := g.want.Points[p.ID]
		if p.Entries = show.Entries[p.ID]; p.Entries == nil {
			want.Entries = nil // everyday size
		}
		for i := range p.Entries {
			if g.name == engines {
				p.Entries[i].SHA256 = ""
			}
		}
		same(t, "reader: "+p.ID, p, want)
	}
	if bar.Full() { // by the packs' own directories alone
		var v answer
		if status := g.ask(t, &v, "verify", "--no-index"); status != 0 || len(v.Findings) > 0 || v.Packs != list.Packs || v.Pairs != 0 {
			t.Errorf("verify --no-index: %d, %v", status, v.Findings)
		}
	}
	return list.Packs, list.Frames
}

// same compares two descriptions and names the first entry that differs.
func same(t *testing.T, what string, got, want wantPoint) {
	t.Helper()
	for i := range min(len(got.Entries), len(want.Entries)) {
		if !reflect.DeepEqual(got.Entries[i], want.Entries[i]) {
			t.Errorf("%s: entry %d is %+v, not %+v", what, i, got.Entries[i], want.Entries[i])
			return
		}
	}
	if !reflect.DeepEqual(got, want) {
		got.Entries, want.Entries = nil, nil
		t.Errorf("%s is %s, not %s", what, marshal(got), marshal(want))
	}
}

// restoredAlike restores recovery points with both and compares the directories and the content that was put in.
func (g *golden) restoredAlike(t *testing.T) {
	v := g.open(t)
	ids := slices.Sorted(maps.Keys(g.want.Points))
	for _, id := range ids[:min(len(ids), bar.Size(1, len(ids)))] {
		want := g.want.Points[id]
		engine, reader := filepath.Join(t.TempDir(), "engine"), filepath.Join(t.TempDir(), "reader")
		_, err := v.Restore(t.Context(), standalone.RestoreOptions{ID: id, To: engine})
		check(t, err)
		var a answer
		g.ask(t, &a, "extract", id, reader, "--no-index")
		if len(a.Findings) > 0 {
			t.Fatalf("extract %s: %v", id, a.Findings)
		}
		left := map[string]string{}
		for _, l := range a.LeftOut {
			left[l[0]] = l[1]
		}
		one, other := listing(t, engine), listing(t, reader)
		for path, e := range one {
			if e != other[path] {
				t.Errorf("%s: %q is %+v by the engine and %+v by the reader (%s)", id, path, e, other[path], left[chars(path)])
			}
		}
		for path := range other {
			if _, ok := one[path]; !ok {
				t.Errorf("%s: the reader made %q, the engine did not", id, path)
			}
		}
		for _, e := range want.Entries {
			if e.Type == "file" && e.Hardlink == "" && e.Extents == nil && e.Problem == "" && e.SHA256 != "" && one[bytesOf(e.Path)].sum != e.SHA256 {
				t.Errorf("%s: the content of %q is not what was put in", id, e.Path)
			}
		}
	}
}

// bytesOf is the inverse of chars.
func bytesOf(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// restored is what a file system says about one restored object.
type restored struct {
	mode        fs.FileMode
	size, mtime int64
	nlink       uint64
	link, sum   string
	xattrs      string
}

// listing describes everything in a directory. Files with holes of more than a few megabytes are compared by their data.
func listing(t *testing.T, dir string) map[string]restored {
	t.Helper()
	out := map[string]restored{}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		e := restored{mode: info.Mode(), size: info.Size(), mtime: info.ModTime().UnixNano(), nlink: uint64(st.Nlink)}
		switch {
		case d.IsDir():
			e.size, e.nlink = 0, 0
		case info.Mode()&fs.ModeSymlink != 0:
			e.link, err = os.Readlink(path)
		case info.Mode().IsRegular():
			e.sum, err = contentSum(path)
		}
		for _, name := range []string{"user.empty", "user.x", "user.d"} {
			buf := make([]byte, 100)
			if n, err := unix.Lgetxattr(path, name, buf); err == nil {
				e.xattrs += fmt.Sprintf("%s=%x ", name, buf[:n])
			}
		}
		out[strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")] = e
		return err
	}))
	return out
}

// contentSum hashes a file, leaving out zero blocks of sparse ones.
func contentSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h, n := sha256.New(), int64(0)
	for {
		data, err := unix.Seek(int(f.Fd()), n, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return "", err
		}
		if data > 0 {
			fmt.Fprintf(h, "hole up to %d\n", data)
		}
		if _, err := io.Copy(h, io.NewSectionReader(f, data, hole-data)); err != nil {
			return "", err
		}
		n = hole
	}
}

// fingerprint changes with every byte, name, time and mode in a directory.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %v %d %d\n", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			h.Write(must(os.ReadFile(path)))
		}
		return nil
	}))
	return hex.EncodeToString(h.Sum(nil))
}
