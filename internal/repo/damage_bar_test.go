package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

// anatomy is what a test knows about an intact vault from its bytes: where each frame lies, and what each recovery point needs.
// It is worked out without the engine, from the directories of the packs and the manifests, to be compared with what the engine
// says about a damaged one.
type anatomy struct {
	dir     string
	objects []string // names
	trees   map[string]*repotest.Tree
	older   map[string][]string // recovery points and those before it
	packs   map[string]*packBody
	points  map[string]*needs
}

type packBody struct {
	info   pack.Info
	frames []pack.Frame
}

// needs says which chunk which paths of a recovery point need.
type needs struct {
	paths map[seal.Hash][]string // content and lists
	pages map[seal.Hash][2]string
}

// dissect works out the anatomy of a vault.
func dissect(t *testing.T, dir string, trees map[string]*repotest.Tree, older map[string][]string) *anatomy {
	t.Helper()
	ctx, c := t.Context(), config(nil, vaultA)
	s, err := disk.Open(dir)
	must(t, err)
	vault, err := seal.ParseVaultID(vaultA)
	must(t, err)
	root, err := seal.NewRoot(c.Root, vault)
	must(t, err)
	maint, err := seal.NewMaint(c.Maint, vault)
	must(t, err)
	a := &anatomy{dir: dir, trees: trees, older: older, packs: map[string]*packBody{}, points: map[string]*needs{}}
	chunks := map[seal.Hash][]byte{}
	codec := chunk.NewCodec()
	must(t, s.List(ctx, "", func(o blob.Info) error {
		a.objects = append(a.objects, o.Name)
		class, id, ok := pack.ParseName(o.Name)
		if !ok {
			return nil
		}
		info, _, err := pack.Stat(ctx, s, maint, class, id)
		must(t, err)
		d, err := pack.ReadDir(ctx, s, root, maint, info)
		must(t, err)
		raw, err := os.ReadFile(filepath.Join(dir, o.Name))
		must(t, err)
		b := &packBody{info: info}
		for n := range info.Frames {
			f := d.Frame(n)
			b.frames = append(b.frames, f)
			stored, err := d.Open(nil, n, f, raw[f.Off:][:f.Len])
			must(t, err)
			plain := stored
			if f.Alg != chunk.Raw {
				if plain, ok = codec.Decompress(make([]byte, 0, f.Size), stored, f.Alg, f.Size); !ok {
					t.Fatal("a frame does not decompress")
				}
			}
			chunks[f.Hash] = bytes.Clone(plain)
		}
		a.packs[o.Name] = b
		return nil
	}))
	r, err := repo.Open(ctx, config(s, vaultA))
	must(t, err)
	defer r.Close()
	for id := range trees {
		n := &needs{paths: map[seal.Hash][]string{}, pages: map[seal.Hash][2]string{}}
		n.page(t, chunks, point(t, r, id).Commit().Root, "")
		a.points[id] = n
	}
	return a
}

// page takes a page and everything below it; until is the path of the first entry after it.
func (n *needs) page(t *testing.T, chunks map[seal.Hash][]byte, h seal.Hash, until string) {
	p, err := manifest.DecodePage(chunks[h])
	must(t, err)
	for i, c := range p.Children {
		next := until
		if i+1 < len(p.Children) {
			next = p.Children[i+1].First
		}
		n.page(t, chunks, c.Hash, next)
	}
	first := ""
	if p.Level > 0 {
		first = p.Children[0].First
	} else {
		first = p.Nodes[0].Path
	}
	n.pages[h] = [2]string{first, until}
	fetch := func(_ context.Context, h seal.Hash, _ bool) ([]byte, error) { return chunks[h], nil }
	for i := range p.Nodes {
		e := &p.Nodes[i]
		add := func(h seal.Hash) { n.paths[h] = append(n.paths[h], e.Path) }
		must(t, manifest.EachChunk(context.Background(), fetch, &e.Content,
			func(r manifest.Ref) error { add(r.Hash); return nil }, func(h seal.Hash) error { add(h); return nil }))
	}
}

// lost returns the chunks that are lost when the bytes [from, to) of a pack are others than they were, or all from there on
// when it is cut. A header gives its salt away only when more than one bit of it is wrong; a footer is spare as long as the
// trailer and the directory of the group are there (the packs of these tests have one group).
func (b *packBody) lost(from, to int64, bits int) map[seal.Hash]bool {
	out := map[seal.Hash]bool{}
	hits := func(lo, hi int64) bool { return from < hi && to > lo }
	last := b.frames[len(b.frames)-1]
	dirEnd := last.Off + int64(last.Len) + int64(len(b.frames))*48 + seal.Overhead
	spare := hits(b.info.FooterOff, b.info.FooterOff+int64(b.info.FooterLen)) || to >= b.info.Size
	group := hits(b.info.FooterOff-64, b.info.FooterOff) || hits(last.Off+int64(last.Len), dirEnd)
	all := bits > 1 && hits(48, 80) || spare && group
	for _, f := range b.frames {
		if all || hits(f.Off, f.Off+int64(f.Len)) {
			out[f.Hash] = true
		}
	}
	return out
}

// spoiled returns the paths of a recovery point that need lost chunks, in order.
func (a *anatomy) spoiled(id string, lost map[seal.Hash]bool) (out []string) {
	n := a.points[id]
	gone := map[string]bool{}
	for h := range lost {
		for _, p := range n.paths[h] {
			gone[p] = true
		}
		if r, ok := n.pages[h]; ok {
			for p := range a.trees[id].Files {
				if !tree.Less(p, r[0]) && (r[1] == "" || tree.Less(p, r[1])) {
					gone[p] = true
				}
			}
		}
	}
	for p := range gone {
		out = append(out, p)
	}
	slices.SortFunc(out, tree.Compare)
	return out
}

// damage is one thing done to a vault.
type damage struct {
	what string
	to   map[string][]byte // what objects are replaced by
	// expectation: chunks that are lost, recovery points whose records or reference sets are, and whether the whole vault is
	// concerned
	lost    map[seal.Hash]bool
	points  []string
	records []string // of points: nothing is known of what they need
	whole   bool
}

// told is what the engine says.
type told struct {
	paths  map[string][]string // by recovery point
	points map[string]bool
	found  int
}

// listen gathers findings and takes lost parts of manifests apart.
func (a *anatomy) listen() (*told, func(repo.Finding)) {
	x := &told{paths: map[string][]string{}, points: map[string]bool{}}
	gone := map[string]map[string]bool{}
	return x, func(f repo.Finding) {
		x.found++
		if f.Point == "" {
			return
		}
		x.points[f.Point] = true
		add := func(p string) {
			if gone[f.Point] == nil {
				gone[f.Point] = map[string]bool{}
			}
			if !gone[f.Point][p] {
				gone[f.Point][p] = true
				x.paths[f.Point] = append(x.paths[f.Point], p)
			}
		}
		switch {
		case f.Lost > 0 && a.trees[f.Point] != nil:
			for p := range a.trees[f.Point].Files {
				if !tree.Less(p, f.Path) && (f.Until == "" || tree.Less(p, f.Until)) {
					add(p)
				}
			}
		case f.Path != "":
			add(f.Path)
		}
	}
}

// inflict does a damage, has the engine look, and takes it back.
func (a *anatomy) inflict(t *testing.T, d damage) {
	t.Helper()
	ctx := t.Context()
	for name, data := range d.to {
		was, err := os.ReadFile(filepath.Join(a.dir, name))
		must(t, err)
		if bytes.Equal(was, data) {
			t.Fatalf("%s: nothing is damaged", d.what)
		}
		must(t, os.WriteFile(filepath.Join(a.dir, name), data, 0o600))
		defer func() {
			must(t, os.WriteFile(filepath.Join(a.dir, name), was, 0o600))
			must(t, os.RemoveAll(filepath.Join(a.dir, "scrub")))
		}()
	}
	s, err := disk.Open(a.dir)
	must(t, err)
	if _, err := repo.Envelopes(ctx, s); err != nil {
		if !d.whole {
			t.Errorf("%s: envelopes: %v", d.what, err)
		}
		return
	}
	// Without keys, by digests.
	keyless := config(s, vaultA)
	keyless.Root = nil
	if m, err := repo.Open(ctx, keyless); err == nil {
		report, err := m.Scrub(ctx, nil)
		must(t, err)
		check, err := m.Check(ctx)
		must(t, err)
		must(t, m.Close())
		if report.OK() && check.OK() {
			t.Errorf("%s: not noticed without the root key", d.what)
		}
	}
	must(t, os.RemoveAll(filepath.Join(a.dir, "scrub")))
	r, err := repo.Open(ctx, config(s, vaultA))
	if err != nil {
		if !d.whole || !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.Denied) && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s: Open: %v", d.what, err)
		}
		return
	}
	defer r.Close()
	x, listen := a.listen()
	_, err = r.VerifyAll(ctx, &repo.PassOptions{Found: listen})
	must(t, err)
	if x.found == 0 {
		t.Errorf("%s: not noticed", d.what)
	}
	for id := range a.trees {
		want := a.spoiled(id, d.lost)
		if slices.Contains(d.records, id) {
			want = nil
		}
		got := x.paths[id]
		slices.SortFunc(got, tree.Compare)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s: spoils %.20q (%d), the engine says %.20q (%d)", d.what, id, want, len(want), got, len(got))
		}
		if named := slices.Contains(d.points, id) || len(want) > 0; named != x.points[id] && !d.whole && !a.builtOn(id, d.points) {
			t.Errorf("%s: %s is concerned: %v, the engine says %v", d.what, id, named, x.points[id])
		}
		a.restored(t, d, r, id, want)
	}
}

// builtOn reports whether a recovery point was made on the base of one of others: then their reference sets may be a part of its.
func (a *anatomy) builtOn(id string, others []string) bool {
	return slices.ContainsFunc(others, func(o string) bool { return slices.Contains(a.older[id], o) })
}

// restored restores a recovery point from the damaged vault: what comes must be right, and just what is lost may be missing.
func (a *anatomy) restored(t *testing.T, d damage, r *repo.Repository, id string, lost []string) {
	t.Helper()
	p, err := r.Point(t.Context(), id)
	if err != nil {
		if !d.whole && !slices.Contains(d.records, id) {
			t.Errorf("%s: %s: %v", d.what, id, err)
		}
		return
	}
	target := repotest.NewTarget()
	done, err := p.Restore(t.Context(), target, repo.RestoreOptions{})
	must(t, err)
	want := a.trees[id]
	if diff := partly(want, target, done); diff != "" {
		t.Errorf("%s: %s: a wrong restore: %s", d.what, id, diff)
	}
	for path, f := range want.Files {
		missing := target.Files()[path] == nil
		if gone := slices.Contains(lost, path); f.Type != tree.Dir && gone != missing {
			t.Errorf("%s: %s: %q is missing: %v, lost: %v", d.what, id, path, missing, gone)
		}
	}
	if (done.DamagedCount > 0) != (len(lost) > 0) {
		t.Errorf("%s: %s: %d entries are reported damaged, %d are", d.what, id, done.DamagedCount, len(lost))
	}
}

// expect fills in what a damage to one object leads to: its bytes [from, to) have changed, or all of it when it is cut.
func (a *anatomy) expect(d *damage, name string, from, to int64, bits int) {
	if b := a.packs[name]; b != nil {
		if d.lost == nil {
			d.lost = map[seal.Hash]bool{}
		}
		for h := range b.lost(from, to, bits) {
			d.lost[h] = true
		}
		return
	}
	switch kind, rest, _ := strings.Cut(name, "/"); kind {
	case "rps":
		d.points = append(d.points, rest)
		d.records = append(d.records, rest)
	case "refs":
		id, _, _ := strings.Cut(rest, "/")
		d.points = append(d.points, id)
	default:
		d.whole = true
	}
}

// someVault makes a vault on disk with three recovery points of one resource and one of another.
func someVault(t *testing.T, files int, rounds int) *anatomy {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vault")
	s, err := disk.Open(dir)
	must(t, err)
	r := create(t, s, vaultA)
	tr := repotest.New()
	for i := range files {
		if i%10 == 0 {
			tr.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("d%03d", i/10), Type: tree.Dir, Mode: 0o755}})
		}
		f := repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("d%03d/f%03d", i/10, i), Type: tree.File}, Data: noise(uint64(i), 60+i*331%9000)}
		if i%40 == 7 {
			f.Data = noise(uint64(i), 280<<10)
		}
		tr.Add(f)
	}
	trees, older := map[string]*repotest.Tree{}, map[string][]string{}
	base := ""
	for k := range rounds {
		id := fmt.Sprintf("p%02d", k)
		trees[id], older[id] = tr.Clone(), append(slices.Clone(older[base]), base)
		backup(t, r, tr, id, base)
		base = id
		for i := k; i < files; i += 7 * rounds {
			tr.Write(fmt.Sprintf("d%03d/f%03d", i/10, i), noise(uint64(1000*k+i), 500+i))
		}
	}
	trees["other"] = bodies(2)
	backup(t, r, trees["other"], "other", "")
	must(t, r.SetRetention(t.Context(), "other", start.AddDate(1, 0, 0), true))
	must(t, r.Close())
	return dissect(t, dir, trees, older)
}

// file reads an object.
func (a *anatomy) file(t *testing.T, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(filepath.Join(a.dir, name))
	must(t, err)
	return p
}

// pick chooses an object, the more likely the larger it is, so that damage falls where bytes are.
func (a *anatomy) pick(t *testing.T, rnd *rand.Rand, sizes bool) string {
	t.Helper()
	if !sizes {
		return a.objects[rnd.IntN(len(a.objects))]
	}
	total := int64(0)
	for _, o := range a.objects {
		total += int64(len(a.file(t, o)))
	}
	at := rnd.Int64N(total)
	for _, o := range a.objects {
		if at -= int64(len(a.file(t, o))); at < 0 {
			return o
		}
	}
	panic("unreachable")
}

// overwrite damages n bytes of an object from off on.
func (a *anatomy) overwrite(t *testing.T, rnd *rand.Rand, name string, off, n int64) damage {
	t.Helper()
	data := a.file(t, name)
	n = min(n, int64(len(data))-off)
	for i := off; i < off+n; i++ {
		data[i] ^= byte(1 + rnd.IntN(255))
	}
	d := damage{what: fmt.Sprintf("%d bytes of %s from %d of %d on", n, name, off, len(data)), to: map[string][]byte{name: data}}
	a.expect(&d, name, off, off+n, int(8*n))
	return d
}

// B07: of every damage to a real vault the engine says that it is there, and exactly which paths of which recovery points it
// spoils; and it never restores a wrong byte.
func TestB07EveryDamageIsFoundNamedAndNeverRestored(t *testing.T) {
	t.Parallel()
	a := someVault(t, 120, 3)
	rnd := rand.New(rand.NewPCG(7, seed(t)))
	counted := map[string]int{}
	do := func(kind string, everyday, full int, make func() damage) {
		for range bar.Size(everyday, full) {
			a.inflict(t, make())
			counted[kind]++
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	half := func() bool { return rnd.IntN(2) == 0 }
	do("bits", 8, 1000, func() damage {
		name := a.pick(t, rnd, half())
		data := a.file(t, name)
		off := rnd.Int64N(int64(len(data)))
		data[off] ^= 1 << rnd.IntN(8)
		d := damage{what: fmt.Sprintf("a bit of %s at %d of %d", name, off, len(data)), to: map[string][]byte{name: data}}
		a.expect(&d, name, off, off+1, 1)
		return d
	})
	do("sectors", 3, 200, func() damage {
		name := a.pick(t, rnd, half())
		return a.overwrite(t, rnd, name, rnd.Int64N(int64(len(a.file(t, name))))&^4095, 4096)
	})
	do("bursts", 2, 100, func() damage {
		name := a.pick(t, rnd, half())
		return a.overwrite(t, rnd, name, rnd.Int64N(int64(len(a.file(t, name)))), 64<<10)
	})
	do("cuts", 2, 100, func() damage {
		name := a.pick(t, rnd, half())
		data := a.file(t, name)
		n := rnd.Int64N(int64(len(data)))
		d := damage{what: fmt.Sprintf("%s cut to %d of %d", name, n, len(data)), to: map[string][]byte{name: data[:n]}}
		a.expect(&d, name, n, 1<<62, 1<<30)
		return d
	})
	do("swaps", 2, 50, func() damage {
		x, y := a.pick(t, rnd, false), a.pick(t, rnd, false)
		for x == y {
			y = a.pick(t, rnd, false)
		}
		d := damage{what: fmt.Sprintf("%s and %s changed places", x, y), to: map[string][]byte{x: a.file(t, y), y: a.file(t, x)}}
		a.expect(&d, x, 0, 1<<62, 1<<30)
		a.expect(&d, y, 0, 1<<62, 1<<30)
		return d
	})
	do("stale", 2, 50, func() damage {
		for {
			x := a.pick(t, rnd, false)
			kind := strings.SplitN(x, "/", 2)[0]
			i := slices.IndexFunc(a.objects, func(o string) bool { return strings.HasPrefix(o, kind+"/") && o != x })
			if i < 0 {
				continue
			}
			d := damage{what: fmt.Sprintf("%s is what %s was", x, a.objects[i]), to: map[string][]byte{x: a.file(t, a.objects[i])}}
			a.expect(&d, x, 0, 1<<62, 1<<30)
			return d
		}
	})
	total := 0
	for _, n := range counted {
		total += n
	}
	bar.Report(t, "B07", "%d damages (%v) to a vault of %d objects and %d recovery points: all detected, all mapped exactly, 0 wrong bytes restored", total, counted, len(a.objects), len(a.trees))
}
