package repo_test

import (
	"bytes"
	"encoding/hex"
	"path"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/repo"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// mislead replaces the index by an authentic one in which the two chunks of content have changed places. Whoever has the
// maintenance key can do that, and an error in the index would look the same.
func mislead(t *testing.T, s *mem.Store) {
	t.Helper()
	ctx, c := t.Context(), config(s, vaultA)
	vault, err := seal.ParseVaultID(vaultA)
	must(t, err)
	root, err := seal.NewRoot(c.Root, vault)
	must(t, err)
	maint, err := seal.NewMaint(c.Maint, vault)
	must(t, err)
	var entries []index.Entry
	var packs []pack.Info
	var data []int
	var old []string
	must(t, s.List(ctx, "", func(i blob.Info) error {
		class := pack.ClassData
		switch dir, _, _ := bytes.Cut([]byte(i.Name), []byte("/")); string(dir) {
		case "index":
			old = append(old, i.Name)
			return nil
		case "packs":
		case "mpacks":
			class = pack.ClassMeta
		default:
			return nil
		}
		raw, err := hex.DecodeString(path.Base(i.Name))
		must(t, err)
		info, _, err := pack.Stat(ctx, s, maint, class, seal.PackID(raw))
		must(t, err)
		dir, err := pack.ReadDir(ctx, s, root, maint, info)
		must(t, err)
		for n := range info.Frames {
			f := dir.Frame(n)
			if f.Kind == pack.Data {
				data = append(data, len(entries))
			}
			entries = append(entries, index.Entry{ID: f.CID.Short(), Pack: uint32(len(packs)), Frame: n})
		}
		packs = append(packs, info)
		return nil
	}))
	if len(data) != 2 {
		t.Fatalf("%d chunks of content, want 2", len(data))
	}
	a, b := &entries[data[0]], &entries[data[1]]
	a.ID, b.ID = b.ID, a.ID
	for _, name := range old {
		must(t, s.Delete(ctx, name))
	}
	set, err := index.Load(ctx, s, maint, 0)
	must(t, err)
	must(t, set.Publish(ctx, entries, packs))
}

// A chunk is what its hash in the manifest says, wherever the index says that it is.
func TestAnIndexThatNamesTheWrongChunkIsNoticed(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	tr := repotest.New()
	for i, name := range []string{"a", "b"} {
		tr.Add(repotest.File{Entry: tree.Entry{Path: name, Type: tree.File}, Data: bytes.Repeat([]byte{byte(i), 1, 2, 3}, 100<<10)})
	}
	backup(t, r, tr, "one", "")
	must(t, r.Close())
	mislead(t, s)
	r = open(t, s, vaultA)
	target := repotest.NewTarget()
	done, err := point(t, r, "one").Restore(t.Context(), target, repo.RestoreOptions{})
	must(t, err)
	if done.DamagedCount != 2 || len(target.Files()) != 1 {
		t.Errorf("%+v, %d entries", done, len(target.Files()))
	}
	report, err := r.VerifyAll(t.Context(), nil)
	must(t, err)
	if report.OK() {
		t.Error("VerifyAll finds nothing")
	}
}
