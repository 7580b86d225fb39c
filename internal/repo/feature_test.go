package repo

import (
	"context"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/repo/seal"
)

// featured is a repository with one recovery point that uses something this program does not know, in its descriptor or
// added later.
func featured(t *testing.T, f feature, inDescriptor bool) (*mem.Store, Config) {
	t.Helper()
	root, maint := testKeys(t)
	s := mem.New()
	c := Config{Store: s, Vault: seal.VaultID{1}.String(), Root: make([]byte, 32), Maint: make([]byte, 32), Clock: clock.System{}}
	for i := range c.Root {
		c.Root[i], c.Maint[i] = 1, 2
	}
	r, err := Create(t.Context(), c, Descriptor{Name: "n"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tree := repotest.New()
	if _, err := r.Backup(t.Context(), tree, BackupOptions{ID: "rp"}); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if !inDescriptor {
		if err := s.Put(t.Context(), featureName(f.name), maint.Wrap(featureName(f.name), f.encode())); err != nil {
			t.Fatal(err)
		}
		return s, c
	}
	d := Descriptor{Name: "n"}
	for _, x := range []struct {
		on  bool
		set *[]string
	}{{f.read, &d.needs.read}, {f.write, &d.needs.write}, {f.prune, &d.needs.prune}} {
		if x.on {
			*x.set = []string{f.name}
		}
	}
	body := d.encode(seal.VaultID{1})
	s.Damage(vaultName, maint.Wrap(vaultName, append(body, root.Check(body)...)))
	return s, c
}

func TestWhatAVaultNeedsDecidesWhatAnOlderProgramMayDo(t *testing.T) {
	t.Parallel()
	for _, inDescriptor := range []bool{false, true} {
		for name, x := range map[string]struct {
			f                                   feature
			describes, writable, backsUp, opens bool
			prunes                              bool
		}{
			"to read":    {f: feature{name: "new", read: true}},
			"to write":   {f: feature{name: "new", write: true}, describes: true, opens: true},
			"to prune":   {f: feature{name: "new", prune: true}, describes: true, opens: true, writable: true, backsUp: true},
			"for no end": {f: feature{name: "new", parameters: []byte("x")}, describes: true, opens: true, writable: true, backsUp: true, prunes: true},
		} {
			s, c := featured(t, x.f, inDescriptor)
			before := s.Names()
			is := func(what string, err error, want bool) {
				t.Helper()
				if want && err != nil || !want && !fault.Is(err, fault.Unsupported) {
					t.Errorf("needed %s (%v), %s: %v", name, inDescriptor, what, err)
				}
			}
			_, err := Describe(t.Context(), s)
			is("describe", err, x.describes)
			is("writable", Writable(t.Context(), s), x.writable)
			r, err := Open(t.Context(), c)
			is("open", err, x.opens)
			if !x.backsUp {
				_, err := Reindex(t.Context(), c)
				is("reindex", err, false)
			}
			if err != nil {
				continue
			}
			p, err := r.Point(t.Context(), "rp")
			is("point", err, true)
			_, err = p.Restore(t.Context(), repotest.NewTarget(), RestoreOptions{})
			is("restore", err, true)
			rep, err := r.Check(t.Context())
			is("check", err, true)
			if !rep.OK() {
				t.Errorf("%+v", rep)
			}
			_, err = r.Backup(t.Context(), repotest.New(), BackupOptions{ID: "more"})
			is("backup", err, x.backsUp)
			is("forget", r.Forget(t.Context(), "rp", clock.System{}.Now()), x.backsUp)
			_, err = r.Prune(t.Context(), PruneOptions{})
			is("prune", err, x.prunes)
			if !x.backsUp && len(s.Names()) != len(before) {
				t.Errorf("needed %s: written %v", name, s.Names())
			}
			r.Close()
		}
	}
}

func TestAForgedOrMisnamedFeatureIsDamage(t *testing.T) {
	t.Parallel()
	_, maint := testKeys(t)
	s, c := featured(t, feature{name: "new"}, false)
	good := s.Bytes(featureName("new"))
	for name, data := range map[string][]byte{
		"short":   good[:10],
		"flipped": append(append([]byte{}, good[:9]...), append([]byte{good[9] ^ 1}, good[10:]...)...),
		"renamed": maint.Wrap(featureName("new"), (&feature{name: "old"}).encode()),
	} {
		s.Damage(featureName("new"), data)
		if _, err := Open(context.Background(), c); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var _ blob.Store = &unwritable{}
}
