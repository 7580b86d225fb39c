package repo_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

// noise returns bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	rand.NewChaCha8(key).Read(p)
	return p
}

// bodies is a tree of files that are large enough to have chunks of their own.
func bodies(n int) *repotest.Tree {
	t := repotest.New()
	for i := range n {
		t.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("f%02d", i), Type: tree.File}, Data: noise(uint64(i), 300<<10)})
	}
	return t
}

// spoilPack flips a bit in the first frame of the first pack whose name begins so.
func spoilPack(s *mem.Store, prefix string) {
	for _, name := range s.Names() {
		if strings.HasPrefix(name, prefix) {
			bad := bytes.Clone(s.Bytes(name))
			bad[4096+100] ^= 1
			s.Damage(name, bad)
			return
		}
	}
}

// paths returns the sorted paths of one recovery point that a report names.
func paths(r repo.CheckReport, point string) (out []string) {
	for _, f := range r.Findings {
		if f.Point == point && (f.Path != "" || f.Lost > 0) {
			out = append(out, f.Path)
		}
	}
	slices.Sort(out)
	return out
}

func TestADamagedChunkHealsEveryRecoveryPointWithTheNextBackupThatHasIt(t *testing.T) {
	t.Parallel()
	for _, find := range []string{"scrub", "verify", "restore"} {
		for _, keyless := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s keyless=%v", find, keyless), func(t *testing.T) {
				t.Parallel()
				ctx := t.Context()
				r, s := newRepo(t)
				tr := bodies(4)
				backup(t, r, tr, "one", "")
				backup(t, r, tr, "two", "one")
				spoilPack(s, "packs/")
				var spoiled []string
				switch find {
				case "scrub":
					report, err := r.Scrub(ctx, nil)
					must(t, err)
					spoiled = paths(report, "one")
					if !slices.Equal(spoiled, paths(report, "two")) {
						t.Errorf("%+v", report.Findings)
					}
				case "verify":
					report, err := r.VerifyAll(ctx, nil)
					must(t, err)
					spoiled = paths(report, "one")
				case "restore":
					report, err := point(t, r, "one").Restore(ctx, repotest.NewTarget(), repo.RestoreOptions{})
					must(t, err)
					for _, p := range report.Incomplete {
						spoiled = append(spoiled, p.Path)
					}
				}
				if len(spoiled) != 1 {
					t.Fatalf("spoiled: %v", spoiled)
				}
				// What was found survives the process.
				must(t, r.Close())
				r = open(t, s, vaultA)
				report, err := r.Check(ctx)
				must(t, err)
				if got := paths(report, "two"); !slices.Equal(got, spoiled) {
					t.Errorf("after opening again, %v is spoiled, not %v", got, spoiled)
				}
				// The next incremental backup reads just the damaged file again.
				opens := tr.Opens.Load()
				rc := backup(t, r, tr, "three", "two")
				if n := tr.Opens.Load() - opens; n != 1 || rc.Stats.NewChunks != 1 {
					t.Errorf("%d files were read, %d chunks were new", n, rc.Stats.NewChunks)
				}
				for _, id := range []string{"one", "two", "three"} {
					same(t, r, id, tr)
					report, err := point(t, r, id).Verify(ctx, nil)
					must(t, err)
					if !report.OK() {
						t.Errorf("%s: %+v", id, report.Findings)
					}
				}
				// Freeing what brought the chunk back does not free the chunk.
				must(t, r.Forget(ctx, "three", start))
				if keyless {
					must(t, r.Close())
					c := config(s, vaultA)
					c.Root = nil
					m, err := repo.Open(ctx, c)
					must(t, err)
					prune(t, m)
					prune(t, m)
					must(t, m.Close())
					r = open(t, s, vaultA)
				}
				prune(t, r)
				prune(t, r)
				same(t, r, "one", tr)
				same(t, r, "two", tr)
				must(t, r.Forget(ctx, "two", start))
				prune(t, r)
				prune(t, r)
				same(t, r, "one", tr)
				// And the same when nothing is known of damage any more.
				for _, name := range s.Names() {
					if strings.HasPrefix(name, "scrub/") {
						must(t, s.Delete(ctx, name))
					}
				}
				must(t, r.Close())
				r = open(t, s, vaultA)
				prune(t, r)
				same(t, r, "one", tr)
			})
		}
	}
}

// A Prune that comes before reference sets could be written anew protects the copies all the same.
func TestACopyIsProtectedEvenWhereReferenceSetsStillNameTheDamage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, s := newRepo(t)
	tr := bodies(3)
	backup(t, r, tr, "one", "")
	spoilPack(s, "packs/")
	_, err := r.VerifyAll(ctx, nil)
	must(t, err)
	// The process dies right after the commit record of the backup that brings the chunk back.
	var died *mem.Store
	f := &diesAfter{Store: s, name: "rps/two", then: func() { died = s.Clone() }}
	must(t, r.Close())
	r, err = repo.Open(ctx, config(f, vaultA))
	must(t, err)
	backup(t, r, tr, "two", "one")
	must(t, r.Close())
	c := config(died, vaultA)
	c.Root = nil // nobody who could write reference sets anew
	m, err := repo.Open(ctx, c)
	must(t, err)
	must(t, m.Forget(ctx, "two", start))
	for range 3 {
		prune(t, m)
	}
	must(t, m.Close())
	r = open(t, died, vaultA)
	same(t, r, "one", tr)
	prune(t, r)
	same(t, r, "one", tr)
}

// Whichever of two copies of a chunk is damaged: a copy of the recovery point finds the other.
func TestACopyTakesAChunkFromWhereverItIsIntact(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, s := newRepo(t)
	tr := bodies(3)
	backup(t, r, tr, "one", "")
	before := s.Clone()
	spoilPack(s, "packs/")
	_, err := r.VerifyAll(ctx, nil)
	must(t, err)
	backup(t, r, tr, "two", "one")
	must(t, r.Close())
	for _, name := range s.Names() {
		switch {
		case strings.HasPrefix(name, "scrub/"): // nothing is known to be damaged any more
			must(t, s.Delete(ctx, name))
		case strings.HasPrefix(name, "packs/") && before.Bytes(name) != nil:
			s.Damage(name, before.Bytes(name))
		}
	}
	tried, old := 0, false
	for _, name := range s.Names() {
		if !strings.HasPrefix(name, "packs/") || before.Bytes(name) != nil && old {
			continue // its chunks are nowhere else
		}
		old = old || before.Bytes(name) != nil // spoilPack takes the first
		tried++
		one := s.Clone()
		spoilPack(one, name)
		src, dst := open(t, one, vaultA), create(t, mem.New(), vaultB)
		_, err := repo.Copy(ctx, point(t, src, "one"), dst, repo.CopyOptions{ID: "copy", Meta: repo.Meta{Owner: "b"}})
		if err != nil {
			t.Errorf("with %s damaged: %v", name, err)
			continue
		}
		same(t, dst, "copy", tr)
	}
	if tried != 2 {
		t.Errorf("%d packs: there must be the first and the one that healed it", tried)
	}
}

// diesAfter calls then when an object has been put.
type diesAfter struct {
	*mem.Store
	name string
	then func()
}

func (d *diesAfter) Put(ctx context.Context, name string, data []byte) error {
	err := d.Store.Put(ctx, name, data)
	if name == d.name {
		d.then()
	}
	return err
}

var _ blob.Store = (*diesAfter)(nil)

func TestDamagedPagesOfTheManifestHealToo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, s := newRepo(t)
	tr := repotest.New()
	for i := range 2000 {
		dir := fmt.Sprintf("d%03d", i/20)
		if i%20 == 0 {
			tr.Add(repotest.File{Entry: tree.Entry{Path: dir, Type: tree.Dir, Mode: 0o755}})
		}
		tr.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("%s/f%04d", dir, i), Type: tree.File}, Data: noise(uint64(i), 50)})
	}
	backup(t, r, tr, "one", "")
	spoilPack(s, "mpacks/")
	must(t, r.Close())
	r = open(t, s, vaultA)
	report, err := r.VerifyAll(ctx, nil)
	must(t, err)
	var lost []repo.Finding
	for _, f := range report.Findings {
		if f.Lost > 0 {
			lost = append(lost, f)
		}
	}
	if len(lost) != 1 || lost[0].Point != "one" || lost[0].Lost <= 0 || lost[0].Lost > 1500 {
		t.Fatalf("%+v", report.Findings)
	}
	n := int64(0)
	for p := range tr.Files {
		if !tree.Less(p, lost[0].Path) && (lost[0].Until == "" || tree.Less(p, lost[0].Until)) {
			n++
		}
	}
	if n != lost[0].Lost {
		t.Errorf("%d entries are said to be lost from %q up to %q: it is %d", lost[0].Lost, lost[0].Path, lost[0].Until, n)
	}
	// Everything else comes back.
	target := repotest.NewTarget()
	done, err := point(t, r, "one").Restore(ctx, target, repo.RestoreOptions{})
	must(t, err)
	if d := partly(tr, target, done); d != "" || done.DamagedCount != lost[0].Lost {
		t.Errorf("%s; %d damaged, want %d", d, done.DamagedCount, lost[0].Lost)
	}
	missing := 0
	for p, f := range tr.Files {
		if f.Type == tree.File && target.Files()[p] == nil {
			missing++
		}
	}
	if missing == 0 || int64(missing) > lost[0].Lost {
		t.Errorf("%d files are missing", missing)
	}
	backup(t, r, tr, "two", "one")
	same(t, r, "one", tr)
	must(t, r.Forget(ctx, "two", start))
	prune(t, r)
	prune(t, r)
	same(t, r, "one", tr)
}
