package compat

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
	"strongroom/internal/tree"
)

// How the golden vaults of the current format version were made: `go test ./test/compat -run Golden -update`. Keys and names of
// objects are random, what the vaults cover is not. Version 1 is frozen: what is in testdata stays, and this only makes vaults that
// are not there yet.

const (
	passphrase = "correct horse battery staple"
	recipient  = "age1gyha62xz7z6796jpdrymrqmmh333nqatv2aqxs03hwr0zml5v9xq9p4xgf" // of testdata/identity.txt
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// maker makes one golden vault and remembers what must come out of it.
type maker struct {
	t     testing.TB
	dir   string
	keys  recovery.Keys
	clock *clock.Fake
	r     *repo.Repository
	want  expectation
	from  map[string]source // recovery points that are still there
}

func newMaker(t testing.TB, n byte, passphrases bool) *maker {
	m := &maker{t: t, dir: filepath.Join(t.TempDir(), "vault"), clock: clock.NewFake(start), want: expectation{Points: map[string]wantPoint{}}, from: map[string]source{}}
	m.keys = recovery.Keys{
		Vault: fmt.Sprintf("00000000-0000-4000-8000-%012x", n),
		Root:  bytes.Repeat([]byte{n}, repo.KeySize), Maint: bytes.Repeat([]byte{n + 100}, repo.KeySize),
	}
	envelopes := []repo.Envelope{{Kind: "kms", KeyID: "arn:aws:kms:us-east-1:111111111111:key/1", Blob: []byte("not for this reader")}}
	if passphrases {
		envelopes[0] = must(recovery.ForPassphrase(m.keys, passphrase, 10))
	}
	envelopes = append(envelopes, must(recovery.ForRecipient(m.keys, recipient)))
	d := repo.Descriptor{Owner: "111111111111", Name: "golden", VaultARN: "arn:aws:backup:us-east-1:111111111111:backup-vault:golden", Region: "us-east-1"}
	m.r = must(repo.Create(t.Context(), m.config(), d, envelopes))
	return m
}

func (m *maker) config() repo.Config {
	return repo.Config{Store: must(disk.Open(m.dir)), Vault: m.keys.Vault, Root: m.keys.Root, Maint: m.keys.Maint, Clock: m.clock, Workers: 1}
}

// backup makes a recovery point of a source.
func (m *maker) backup(id, base string, s source, retain time.Time, locked bool) {
	m.clock.Advance(time.Hour)
	m.from[id] = s
	_, err := m.r.Backup(m.t.Context(), s, repo.BackupOptions{
		ID: id, Base: base,
		Meta: repo.Meta{
			Owner: "111111111111", ResourceARN: "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/fs-1",
			RecoveryPointARN: "arn:aws:backup:us-east-1:111111111111:recovery-point:" + id, ResourceType: "EFS",
			Created: m.clock.Now(), RetainUntil: retain, Locked: locked, Labels: map[string]string{"plan": "daily", "": "empty key", "empty": ""},
		},
		BlockSize: func(e *tree.Entry) int {
			if strings.HasPrefix(e.Path, "volume") {
				return 4096
			}
			return 0
		},
	})
	check(m.t, err)
}

func (m *maker) forget(ids ...string) {
	for _, id := range ids {
		check(m.t, m.r.Forget(m.t.Context(), id, start.AddDate(10, 0, 0)))
	}
}

func (m *maker) prune(o repo.PruneOptions) repo.PruneReport {
	return must(m.r.Prune(m.t.Context(), o))
}

// reopen closes and opens the vault, as another process would.
func (m *maker) reopen() {
	check(m.t, m.r.Close())
	m.r = must(repo.Open(m.t.Context(), m.config()))
}

// save writes the vault and what must come out of it into testdata.
func (m *maker) save(name string) {
	if _, err := os.Stat("testdata/" + name + ".zip"); err == nil {
		m.t.Fatalf("%s is there, and golden vaults are never made anew: give a new one another name", name)
	}
	commits, err := m.r.List(m.t.Context())
	check(m.t, err)
	for _, c := range commits {
		w := describeCommit(c)
		w.Entries, err = walked(m.t.Context(), m.r, c.ID)
		check(m.t, err)
		for i := range w.Entries { // what went in, whatever the engine says now
			e := &w.Entries[i]
			if f := m.from[c.ID][bytesOf(e.Path)]; f.Type == tree.File && f.Hardlink == "" {
				e.SHA256 = sum(f.data)
				if f.broken {
					e.SHA256 = sum(nil)
				}
			}
		}
		m.want.Points[c.ID] = w
	}
	check(m.t, m.r.Close())
	check(m.t, os.MkdirAll("testdata", 0o755))
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	check(m.t, filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		rel := must(filepath.Rel(m.dir, path))
		if err != nil || d.IsDir() || strings.HasPrefix(rel, ".") {
			return err
		}
		w, err := z.Create(filepath.ToSlash(rel))
		if err != nil {
			return err
		}
		_, err = w.Write(must(os.ReadFile(path)))
		return err
	}))
	check(m.t, z.Close())
	check(m.t, os.WriteFile("testdata/"+name+".zip", buf.Bytes(), 0o644))
	check(m.t, os.WriteFile("testdata/"+name+".json", marshal(m.want), 0o644))
	m.t.Logf("%s: %d bytes, %d recovery points", name, buf.Len(), len(m.want.Points))
}

// everything is a tree with every type of entry and every kind of content.
func everything() source {
	s := newSource()
	s.file("a", nil)
	s.file("inline 1", []byte("x"))
	s.file("inline 128", noise(128, 1))
	s.file("slice 129", noise(129, 2))
	s.dir("bundle")
	for i := range 60 {
		s.file(fmt.Sprintf("bundle/file %02d", i), text(200+i*331, uint64(i)))
	}
	s.file("large noise", noise(600_000, 3))
	s.file("large text", text(700_000, 99))
	blocks := bytes.Repeat(noise(4096, 4), 90) // more blocks than fit into an entry
	for i := range 90 {
		blocks[i<<12] = byte(i / 3)
	}
	s.file("volume", append(blocks, "an end"...))
	s.add(file{Entry: tree.Entry{Path: "volume sparse", Type: tree.File, Size: 1 << 20, Extents: []tree.Extent{{Off: 8192, Len: 12288}, {Off: 512 << 10, Len: 4096}}}, data: noise(16384, 5)})
	s.add(file{Entry: tree.Entry{Path: "sparse", Type: tree.File, Size: 3<<30 + 5, Extents: []tree.Extent{{Off: 4096, Len: 300}, {Off: 1 << 30, Len: 200}, {Off: 3 << 30, Len: 5}}}, data: noise(505, 6)})
	s.add(file{Entry: tree.Entry{Path: "sparse hole", Type: tree.File, Size: 1 << 20, Extents: []tree.Extent{}}})
	s.dir("links")
	s.add(file{Entry: tree.Entry{Path: "links/first", Type: tree.File, Nlink: 3, Ino: 7777}, data: text(5000, 7)})
	s.add(file{Entry: tree.Entry{Path: "links/second", Type: tree.File, Size: 5000, Hardlink: "links/first", Nlink: 3, Ino: 7777}})
	s.add(file{Entry: tree.Entry{Path: "links/zzz/third", Type: tree.File, Size: 5000, Hardlink: "links/first", Nlink: 3, Ino: 7777}})
	s.dir("links/zzz")
	s.add(file{Entry: tree.Entry{Path: "links/dangling", Type: tree.Symlink, Mode: 0o777, Link: "../../no such \xff target"}})
	s.add(file{Entry: tree.Entry{Path: "links/up", Type: tree.Symlink, Mode: 0o777, Link: "/etc/passwd"}})
	s.add(file{Entry: tree.Entry{Path: "xattrs", Type: tree.File, Xattrs: []tree.Xattr{{Name: "user.empty", Value: []byte{}}, {Name: "user.x", Value: []byte{0, 1, 255}}}}, data: []byte("attributes")})
	s.add(file{Entry: tree.Entry{Path: "xattrs dir", Type: tree.Dir, Mode: 0o1777, Mtime: -1, Xattrs: []tree.Xattr{{Name: "user.d", Value: []byte("directory")}}}})
	s.add(file{Entry: tree.Entry{Path: "owner", Type: tree.File, UID: 1234567, GID: 1<<32 - 2, User: "somebody", Group: "grüppe", Mode: 0o6755}, data: []byte("#!/bin/sh\n")})
	s.add(file{Entry: tree.Entry{Path: "times old", Type: tree.File, Mtime: -86_400_000_000_000 - 1}, data: []byte("before 1970")})
	s.add(file{Entry: tree.Entry{Path: "times new", Type: tree.File, Mtime: 4_102_444_800_999_999_999}, data: []byte("2100")})
	for i, typ := range []tree.Type{tree.Fifo, tree.Socket, tree.CharDev, tree.BlockDev} {
		s.add(file{Entry: tree.Entry{Path: "special " + string(rune('a'+i)), Type: typ, Mode: 0o600, Rdev: uint64(i) * 259}})
	}
	s.dir("names")
	for _, n := range []string{"new\nline", "\xff\xfe not UTF-8", "é precomposed", "é decomposed", "space at the end ", ".hidden", "...", "-rf", "*", "\\", "\"quoted\"", "tab\t", strings.Repeat("n", 255), "日本語"} {
		s.file("names/"+n, []byte("the file "+n))
	}
	// '/' sorts before every other byte: "names" and what is in it come before these.
	s.file("names!", []byte("after the directory"))
	s.file("names.txt", []byte("after the directory"))
	long := "deep"
	for range 20 {
		s.dir(long)
		long += "/" + strings.Repeat("d", 100)
	}
	s.dir(long)
	s.file(long+"/bottom", []byte("a path of two thousand bytes"))
	s.add(file{Entry: tree.Entry{Path: "unreadable", Type: tree.File}, data: noise(700, 8), broken: true})
	s.add(file{Entry: tree.Entry{Path: "unreadable dir", Type: tree.Dir, Problem: "permission denied"}})
	return s
}

// many is a tree whose manifest takes several pages.
func many(n int) source {
	s := newSource()
	for d := range n / 100 {
		s.dir(fmt.Sprintf("d%03d", d))
		for i := range 100 {
			s.file(fmt.Sprintf("d%03d/%x", d, noise(24, byte(d+i*7))), text(100+i, uint64(d*100+i)))
		}
	}
	return s
}

// TestGoldenVaultsAreMadeAnew makes the golden vaults when asked to. It says nothing otherwise.
func TestGoldenVaultsAreMadeAnew(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	makeFull(t)
	makePruned(t)
	makeNode(t)
}

// makeFull: every kind of content, incremental recovery points, all states of retention, one forgotten and not yet pruned.
func makeFull(t *testing.T) {
	m := newMaker(t, 1, true)
	s := everything()
	m.backup("first", "", s, start.AddDate(1, 0, 0), true)
	next := maps.Clone(s)
	next.write("inline 1", []byte("another content"))
	next.write("bundle/file 07", text(3000, 1007))
	next.write("large noise", slices.Concat(s["large noise"].data[:300_000], []byte("inserted"), s["large noise"].data[300_000:]))
	delete(next, "slice 129")
	next.file("new", text(70_000, 1008))
	m.backup("second", "first", next, time.Time{}, false)
	m.backup("many.pages", "", many(1200), start.AddDate(0, 1, 0), false)
	m.backup("forgotten", "second", next, time.Time{}, false)
	m.backup("only-a-root", "", newSource(), time.Time{}, true)
	m.forget("forgotten")
	check(t, m.r.SetRetention(t.Context(), "first", start.AddDate(2, 0, 0), true))
	check(t, m.r.SetRetention(t.Context(), "second", start.AddDate(0, 6, 0), true))
	m.save("v1-full")
}

// makePruned: packs that were rewritten, segments that replace others, a journal that begins with a checkpoint, a recovery
// point copied from another vault.
func makePruned(t *testing.T) {
	m := newMaker(t, 2, true)
	old, s := newSource(), newSource()
	for i := range 30 { // every block is a frame of its own, and half of them die
		path, data := fmt.Sprintf("volume %02d", i), noise(12_000+i, byte(i))
		old.file(path, data)
		if i%2 == 0 {
			s.file(path, data)
		}
	}
	old.file("large", noise(300_000, 100))
	s.file("large", old["large"].data)
	m.backup("old", "", old, time.Time{}, false)
	m.backup("kept", "", s, start.AddDate(1, 0, 0), true)
	last := s
	for i := range 6 { // many small packs and segments
		last = maps.Clone(last)
		last.file(fmt.Sprintf("added %d", i), text(9000, uint64(2000+i)))
		m.backup(fmt.Sprintf("day-%d", i), "kept", last, time.Time{}, false)
	}
	m.forget("old", "day-0", "day-2", "day-3")
	if rep := m.prune(repo.PruneOptions{RepackDead: 0.01, MaxFraction: -1}); rep.RepackedPacks == 0 || rep.DeletedPacks == 0 {
		t.Fatalf("nothing was repacked: %+v", rep)
	}
	m.reopen()
	other := newMaker(t, 3, true)
	little := everything()
	for _, p := range []string{"large noise", "large text"} {
		delete(little, p)
	}
	other.backup("elsewhere", "", little, time.Time{}, false)
	p := must(other.r.Point(t.Context(), "elsewhere"))
	_, err := repo.Copy(t.Context(), p, m.r, repo.CopyOptions{ID: "copied", Meta: repo.Meta{Owner: "222222222222", ResourceType: "EFS", Created: start}})
	check(t, err)
	check(t, other.r.Close())
	m.from["copied"] = other.from["elsewhere"]
	m.backup("after", "day-5", last, time.Time{}, false)
	m.forget("day-5") // what builds on its reference set stays, and packs wait in the trash
	m.prune(repo.PruneOptions{Grace: 24 * time.Hour, MaxFraction: -1, RepackDead: -1})
	check(t, m.r.SetRetention(t.Context(), "after", start.AddDate(0, 3, 0), false))
	m.save("v1-pruned")
}

// together commits recovery points at once until the journal has an entry for several.
func (m *maker) together(s source) {
	for try := range 50 {
		g, ctx := errgroup.WithContext(m.t.Context())
		for i := range 4 {
			id := fmt.Sprintf("together-%d-%d", try, i)
			m.from[id] = s
			g.Go(func() error {
				_, err := m.r.Backup(ctx, s, repo.BackupOptions{ID: id, Meta: repo.Meta{Created: start}})
				return err
			})
		}
		check(m.t, g.Wait())
		for _, name := range must(filepath.Glob(filepath.Join(m.dir, "journal", "*"))) {
			entry := must(os.ReadFile(name))
			_, n := binary.Uvarint(entry[8:])
			if entry[8+n+32] == 8 {
				return
			}
		}
		for i := range 4 {
			m.forget(fmt.Sprintf("together-%d-%d", try, i))
		}
	}
	m.t.Fatal("no two commits fell together")
}

// makeNode: a node's vault, whose root key a KMS wraps, with a recovery recipient; several commits in one journal entry.
func makeNode(t *testing.T) {
	m := newMaker(t, 4, false)
	s := newSource()
	s.file("hello", []byte("world"))
	s.file("page", text(20_000, 1))
	m.backup("rp", "", s, start.AddDate(100, 0, 0), true)
	m.together(s)
	m.save("v1-node")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
