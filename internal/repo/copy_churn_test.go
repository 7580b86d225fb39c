package repo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// wide is a tree of n small files, 100 in a directory.
func wide(n int) *repotest.Tree {
	t := repotest.New()
	for i := range n {
		if i%100 == 0 {
			t.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("dir%05d", i/100), Type: tree.Dir}})
		}
		t.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("dir%05d/file%02d", i/100, i%100), Type: tree.File}, Data: fmt.Appendf(nil, "content of %d", i)})
	}
	return t
}

func TestAnIncrementalCopyFollowsWhatChanged(t *testing.T) {
	t.Parallel()
	const files = 30_000
	c := clock.NewFake(testStart)
	src, dst := vaultAt(t, mem.New(), 1, c), vaultAt(t, mem.New(), 2, c)
	tr := wide(files)
	var first, second counted
	var read [2]int64
	var basePages atomic.Int64
	for i, n := range []*counted{&first, &second} {
		id := fmt.Sprint("rp", i)
		if i > 0 {
			tr = tr.Clone()
			for k := range files / 100 { // one in a hundred, in one place
				tr.Write(fmt.Sprintf("dir%05d/file%02d", 40+k/100, k%100), fmt.Appendf(nil, "new content %d", k))
			}
			tr.Add(repotest.File{Entry: tree.Entry{Path: "dir00200/file99+", Type: tree.File}, Data: []byte("added")})
			delete(tr.Files, "dir00250/file07")
		}
		_, err := src.Backup(t.Context(), tr, BackupOptions{ID: id, Base: "rp0"})
		must(t, err)
		rc, cp, err := copyThrough(t, src, dst, id, victim, func(s *Session) conversation {
			n.conversation = s
			if s.base != nil {
				fetch := s.base.fetch
				s.base.fetch = func(ctx context.Context, h seal.Hash, list bool) ([]byte, error) {
					basePages.Add(1)
					return fetch(ctx, h, list)
				}
			}
			return n
		})
		must(t, err)
		read[i] = cp.pages.Load()
		p, err := src.Point(t.Context(), id)
		must(t, err)
		if w := p.Commit().Stats; rc.Stats.Entries != w.Entries || rc.Stats.Files != w.Files || rc.Stats.LogicalBytes != w.LogicalBytes {
			t.Errorf("copied %+v of %+v", rc.Stats, w)
		}
		if cp.entries.Load() != rc.Stats.Entries {
			t.Errorf("progress counts %d entries of %d", cp.entries.Load(), rc.Stats.Entries)
		}
		restored(t, dst, id, tr)
	}
	intact(t, dst)
	t.Logf("of %d pages: sent %d, read %d at the source and %d of the base at the destination; messages %d, then %d",
		first.pages.Load(), second.pages.Load(), read[1], basePages.Load(), first.messages.Load(), second.messages.Load())
	if read[1]*5 > read[0] || second.pages.Load()*5 > first.pages.Load() || basePages.Load()*5 > first.pages.Load() || second.messages.Load() > 20 {
		t.Error("that is too much for one in a hundred changed")
	}
}

func TestCopiesThatLeaveOutPagesAreExactWhateverChanged(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	c := clock.NewFake(testStart)
	src, dst := vaultAt(t, mem.New(), 1, c), vaultAt(t, mem.New(), 2, c)
	tr := wide(6000)
	base := ""
	reused := 0
	for i := range 10 {
		id := fmt.Sprint("rp", i)
		if i > 0 {
			tr = tr.Clone()
			switch i % 4 {
			case 0: // everything again as it was
			case 1: // a few directories, anywhere
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for range 3 {
					d := r.IntN(60)
					for k := range 100 {
						p := fmt.Sprintf("dir%05d/file%02d", d, k)
						switch r.IntN(5) {
						case 0:
							delete(tr.Files, p)
						case 1:
							if tr.Files[p] != nil {
								tr.Write(p, random(byte(i), k, 1+r.IntN(2000)))
							}
						case 2:
							tr.Add(repotest.File{Entry: tree.Entry{Path: p + "+", Type: tree.File}, Data: random(byte(i), k, 200)})
						}
					}
				}
			case 2: // everywhere
				for k, p := range tr.Paths() {
					if k%5 == 0 && tr.Files[p].Type == tree.File {
						tr.Write(p, fmt.Appendf(nil, "%d in round %d", k, i))
					}
				}
			case 3: // problems come and go in one part, and entries before all others
				for k, p := range tr.Paths() {
					if f := tr.Files[p]; f.Type == tree.File && k > 1000 && k < 2000 && k%97 == i {
						f.Broken = !f.Broken
						f.Ctime++
					}
				}
				for k := range 100 {
					tr.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("a%d-%03d", i, k), Type: tree.File}, Data: []byte("early")})
				}
			}
		}
		_, err := src.Backup(t.Context(), tr, BackupOptions{ID: id, Base: base})
		must(t, err)
		base = id
		var granted *ingestBase
		rc, _, err := copyThrough(t, src, dst, id, victim, func(s *Session) conversation { granted = s.base; return s })
		must(t, err)
		if granted.inUse() {
			reused++
		}
		p, err := src.Point(t.Context(), id)
		must(t, err)
		w := p.Commit()
		if rc.Stats.Entries != w.Stats.Entries || rc.Stats.Files != w.Stats.Files || rc.Stats.LogicalBytes != w.Stats.LogicalBytes || rc.ProblemCount != w.ProblemCount ||
			fmt.Sprint(rc.Problems) != fmt.Sprint(w.Problems) {
			t.Errorf("%s: copied %+v, %v\nof %+v, %v", id, rc.Stats, rc.Problems, w.Stats, w.Problems)
		}
		if rc.Stats.Chunks > w.Stats.Chunks+w.Stats.Chunks/10+64 {
			t.Errorf("%s refers to %d chunks, its source to %d", id, rc.Stats.Chunks, w.Stats.Chunks)
		}
		if i > 1 { // only the last two are kept
			must(t, dst.Forget(t.Context(), fmt.Sprint("rp", i-2), testStart))
			_, err := dst.Prune(t.Context(), PruneOptions{RepackDead: 0.2})
			must(t, err)
		}
	}
	intact(t, dst)
	if reused < 5 {
		t.Errorf("only %d copies left anything out", reused)
	}
}

func TestPagesCountOnlyWhereTheyStandInTheLastRecoveryPoint(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newDestination(t)
	var chunks [][]byte
	for i := range 3000 { // several leaves
		chunks = append(chunks, fmt.Appendf(nil, "content %d", i))
	}
	pages, root := manifestOf(t, chunks...)
	fill := func(s talk) {
		for i := 0; i < len(chunks); i += 250 {
			var d Data
			for _, c := range chunks[i : i+250] {
				d.Frames = append(d.Frames, frameOf(c))
			}
			must(t, s.Data(ctx, d))
		}
		must(t, s.Pages(ctx, Pages{Frames: pages}))
		_, err := s.Seal(ctx, Seal{Root: root})
		must(t, err)
	}
	fill(ingest(t, r, "base", "r"))
	top, err := manifest.DecodePage(pages[len(pages)-1].Stored)
	must(t, err)
	if top.Level != 1 || len(top.Children) < 3 {
		t.Fatalf("level %d with %d leaves", top.Level, len(top.Children))
	}
	leaf := func(i int) OfferedPage {
		return OfferedPage{Hash: top.Children[i].Hash, First: top.Children[i].First}
	}
	all := OfferedPage{Hash: root, Level: 1}
	moved, level := leaf(1), leaf(1)
	moved.First, level.Level = top.Children[2].First, 1
	deep := all
	deep.Level = 200
	ask := func(s talk, want bool, ps ...OfferedPage) {
		t.Helper()
		n, err := s.Compare(ctx, Compare{Pages: ps})
		must(t, err)
		for i, send := range n.Send {
			if send != want {
				t.Errorf("%v: must be sent: %v", ps[i], send)
			}
		}
	}
	t.Run("to the resource itself", func(t *testing.T) {
		s := ingest(t, r, "a", "r")
		defer s.Abort()
		ask(s, false, leaf(0), leaf(1), all)
		ask(s, true, moved, level, deep, OfferedPage{Hash: [32]byte{1}}, OfferedPage{Hash: root, Level: 1, First: "x"})
	})
	t.Run("nobody else", func(t *testing.T) {
		s := ingest(t, r, "b", "attacker")
		defer s.Abort()
		ask(s, true, leaf(0), leaf(1), all)
		wantFault(t, s.Pages(ctx, Pages{Frames: pages[len(pages)-1:]}), fault.Invalid)
	})
	t.Run("unchanged as a whole", func(t *testing.T) {
		s := ingest(t, r, "c", "r")
		ask(s, false, all)
		rc, err := s.Seal(ctx, Seal{Root: root})
		must(t, err)
		if rc.Stats.Entries != 3001 || rc.Stats.Files != 3000 || rc.Stats.NewChunks != 0 {
			t.Errorf("%+v", rc.Stats)
		}
	})
	forge := func(change func([]manifest.Child) []manifest.Child) (Frame, seal.Hash) {
		e := encodeInner(change(append([]manifest.Child(nil), top.Children...)))
		f := frameOf(e)
		return f, f.Hash
	}
	for name, change := range map[string]func([]manifest.Child) []manifest.Child{
		"one twice":           func(c []manifest.Child) []manifest.Child { c[1].Hash = c[0].Hash; return c },
		"other totals":        func(c []manifest.Child) []manifest.Child { c[1].Entries++; return c },
		"another first path":  func(c []manifest.Child) []manifest.Child { c[1].First += "x"; return c },
		"one that is unknown": func(c []manifest.Child) []manifest.Child { c[1].Hash[0]++; return c },
	} {
		t.Run(name, func(t *testing.T) {
			s := ingest(t, r, "x", "r")
			defer s.Abort()
			for i := range top.Children {
				ask(s, false, leaf(i))
			}
			f, _ := forge(change)
			wantFault(t, s.Pages(ctx, Pages{Frames: []Frame{f}}), fault.Invalid)
		})
	}
	t.Run("without its last leaf", func(t *testing.T) { // a true change: files were removed
		s := ingest(t, r, "y", "r")
		for i := range top.Children {
			ask(s, false, leaf(i))
		}
		f, h := forge(func(c []manifest.Child) []manifest.Child { return c[:len(c)-1] })
		must(t, s.Pages(ctx, Pages{Frames: []Frame{f}}))
		rc, err := s.Seal(ctx, Seal{Root: h})
		must(t, err)
		if gone := int64(top.Children[len(top.Children)-1].Entries); rc.Stats.Entries != 3001-gone || rc.Stats.Files != 3000-gone {
			t.Errorf("%+v", rc.Stats)
		}
	})
	intact(t, r)
}

// encodeInner makes a page of level 1 from lines.
func encodeInner(lines []manifest.Child) []byte {
	var e seal.Encoder
	e.Raw([]byte{1, 1})
	e.Uint(uint64(len(lines)))
	last := ""
	for _, l := range lines {
		n := 0
		for n < min(len(last), len(l.First)) && last[n] == l.First[n] {
			n++
		}
		e.Uint(uint64(n))
		e.String(l.First[n:])
		e.Raw(l.Hash[:])
		e.Uint(l.Entries)
		e.Uint(l.Bytes)
		last = l.First
	}
	return e.B
}
