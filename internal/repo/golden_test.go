package repo_test

import (
	"archive/zip"
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

var update = flag.Bool("update", false, "write the golden repository of the current format, if it is not there")

const golden = "testdata/format-1.zip"

// goldenTrees are what the golden repository holds: every type of entry and every kind of content.
func goldenTrees() map[string]*repotest.Tree {
	t := small()
	for i, typ := range []tree.Type{tree.Symlink, tree.Fifo, tree.Socket, tree.CharDev, tree.BlockDev} {
		t.Add(repotest.File{Entry: tree.Entry{Path: "special " + string(rune('a'+i)), Type: typ, Rdev: uint64(i), Mode: 0o4755}})
	}
	t.Files["special a"].Link = "../\xff"
	t.Add(repotest.File{Entry: tree.Entry{Path: "dir", Type: tree.Dir, Mode: 0o1777, Xattrs: []tree.Xattr{{Name: "user.x", Value: []byte{0, 1}}}}})
	t.Add(repotest.File{Entry: tree.Entry{Path: "dir/empty", Type: tree.File}})
	t.Add(repotest.File{Entry: tree.Entry{Path: "dir/link", Type: tree.File, Size: 600, Hardlink: "dir/first", Nlink: 2, Ino: 77}})
	t.Add(repotest.File{Entry: tree.Entry{Path: "dir/first", Type: tree.File, Nlink: 2, Ino: 77}, Data: bytes.Repeat([]byte("x"), 600)})
	t.Add(repotest.File{Entry: tree.Entry{Path: "sparse", Type: tree.File, Size: 4 << 20, Extents: []tree.Extent{{Off: 4096, Len: 300}, {Off: 1 << 20, Len: 200}}}, Data: bytes.Repeat([]byte("y"), 500)})
	blocks := make([]byte, 400<<10) // more blocks than fit into an entry
	for i := range blocks {
		blocks[i] = byte(i >> 12)
	}
	t.Add(repotest.File{Entry: tree.Entry{Path: "volume", Type: tree.File}, Data: blocks})
	t.Add(repotest.File{Entry: tree.Entry{Path: "whole", Type: tree.File}, Data: blocks[:300<<10]})
	next := t.Clone()
	next.Write("f1", []byte("another content of the first file"))
	kept := next.Clone()
	kept.Add(repotest.File{Entry: tree.Entry{Path: "kept", Type: tree.File}, Data: bytes.Repeat([]byte("kept"), 80<<10)})
	return map[string]*repotest.Tree{"first": t, "second": next, "kept": kept}
}

func TestRepositoriesOfFormat1AreRead(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(golden); *update && os.IsNotExist(err) { // version 1 is frozen: what is there stays
		writeGolden(t)
	}
	z, err := zip.OpenReader(golden)
	must(t, err)
	defer z.Close()
	s := mem.New()
	for _, f := range z.File {
		r, err := f.Open()
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		must(t, s.Put(t.Context(), f.Name, data))
	}
	r := open(t, s, vaultA)
	for id, tr := range goldenTrees() {
		same(t, r, id, tr)
	}
	sound(t, r)
	// What is written to it today goes with what is there.
	trees := goldenTrees()
	if rc := backup(t, r, trees["second"], "third", "second"); rc.Stats.ReadBytes != 0 || rc.Stats.NewChunks != 0 {
		t.Errorf("an unchanged tree is stored anew: %+v", rc.Stats)
	}
	if c := point(t, r, "first").Commit(); c.Meta.Labels["k"] != "v" || !c.Locked || c.Stats.Entries == 0 {
		t.Errorf("%+v", c)
	}
}

func writeGolden(t *testing.T) {
	s := mem.New()
	c := config(s, vaultA)
	// The independent reader of test/compat opens it with a passphrase.
	e, err := recovery.ForPassphrase(recovery.Keys{Vault: vaultA, Root: c.Root, Maint: c.Maint}, "correct horse battery staple", 10)
	must(t, err)
	r, err := repo.Create(context.Background(), c, repo.Descriptor{Owner: "111111111111", Name: "v", Region: "us-east-1"}, []repo.Envelope{e})
	must(t, err)
	r.BuildOnAnything()
	base := ""
	for _, id := range []string{"first", "second"} {
		_, err := r.Backup(context.Background(), goldenTrees()[id], repo.BackupOptions{
			ID: id, Base: base, Meta: repo.Meta{Owner: "111111111111", ResourceARN: "arn:x", RetainUntil: start, Locked: true, Labels: map[string]string{"k": "v"}},
			BlockSize: func(e *tree.Entry) int {
				if e.Path == "volume" {
					return 4096
				}
				return 0
			},
		})
		must(t, err)
		base = id
	}
	must(t, r.Close()) // what follows is as usual
	r = open(t, s, vaultA)
	// A recovery point that is gone, frames that were moved out of its packs, and the packs in the trash.
	gone := goldenTrees()["kept"]
	gone.Add(repotest.File{Entry: tree.Entry{Path: "gone", Type: tree.File}, Data: bytes.Repeat([]byte("gone"), 80<<10)})
	backup(t, r, gone, "gone", "second")
	backup(t, r, goldenTrees()["kept"], "kept", "gone")
	must(t, r.SetRetention(t.Context(), "second", start.AddDate(1, 0, 0), true))
	must(t, r.Forget(t.Context(), "gone", start))
	p, err := r.Prune(t.Context(), repo.PruneOptions{Grace: 24 * time.Hour, RepackDead: 1e-9})
	must(t, err)
	if p.RepackedPacks == 0 || p.TrashedPacks == 0 || p.DeletedPacks != 0 {
		t.Fatalf("%+v", p)
	}
	must(t, os.MkdirAll("testdata", 0o755))
	f, err := os.Create(golden)
	must(t, err)
	z := zip.NewWriter(f)
	for _, name := range s.Names() {
		w, err := z.Create(name)
		must(t, err)
		_, err = w.Write(s.Bytes(name))
		must(t, err)
	}
	must(t, z.Close())
	must(t, f.Close())
}
