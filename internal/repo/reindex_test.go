package repo_test

import (
	"fmt"
	"strings"
	"strongroom/internal/blob/mem"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
)

func TestALostOrDamagedIndexIsRebuiltFromThePacks(t *testing.T) {
	t.Parallel()
	good, want := twoPoints(t)
	for what, damage := range map[string][]byte{"lost": nil, "cut": {1, 2, 3}, "filled with zeros": make([]byte, 5000)} {
		s := good.Clone()
		for _, name := range s.Names() {
			if strings.HasPrefix(name, "index/") {
				s.Damage(name, damage)
			}
		}
		if damage != nil {
			_, err := repo.Open(t.Context(), config(s, vaultA))
			wantKind(t, err, fault.Corrupt)
		}
		report, err := repo.Reindex(t.Context(), config(s, vaultA))
		must(t, err)
		if !report.OK() || report.Packs == 0 {
			t.Errorf("%s: %+v", what, report)
		}
		r := open(t, s, vaultA)
		for range 2 {
			for id, tr := range want {
				same(t, r, id, tr)
			}
			sound(t, r)
			prune(t, r)
			must(t, r.Close())
			r = open(t, s, vaultA)
		}
	}
}

// What is left of torn packs gets into an index that is made anew, and everything else about the vault works.
func TestTornPacksGiveBackWhatIsLeftWhenTheIndexIsLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := mem.New()
	must(t, create(t, s, vaultA).Close())
	c := config(s, vaultA)
	c.Workers = 1 // one pack, so that its first group is whole whatever is torn off
	r, err := repo.Open(ctx, c)
	must(t, err)
	tr := repotest.New()
	for i := range 60 {
		tr.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("f%02d", i), Type: tree.File}, Data: noise(uint64(i), 280<<10)})
	}
	backup(t, r, tr, "one", "")
	must(t, r.Close())
	torn := 0
	for _, name := range s.Names() {
		switch {
		case strings.HasPrefix(name, "index/"):
			s.Damage(name, nil)
		case strings.HasPrefix(name, "packs/"):
			s.Damage(name, s.Bytes(name)[:len(s.Bytes(name))*3/4&^4095])
			torn++
		}
	}
	report, err := repo.Reindex(ctx, config(s, vaultA))
	must(t, err)
	if int(report.FindingCount) != torn {
		t.Errorf("%d packs are torn: %+v", torn, report)
	}
	r = open(t, s, vaultA)
	target := repotest.NewTarget()
	done, err := point(t, r, "one").Restore(ctx, target, repo.RestoreOptions{})
	must(t, err)
	if d := partly(tr, target, done); d != "" {
		t.Error(d)
	}
	back := len(target.Files()) - 1
	if back < 5 || back == 60 || done.DamagedCount != int64(60-back) {
		t.Errorf("%d of 60 files came back, %d are reported damaged", back, done.DamagedCount)
	}
	// The next backup brings back the rest. Which frames that replaces nobody knows any more, so that only "two" protects it: that
	// is said.
	backup(t, r, tr, "two", "one")
	same(t, r, "one", tr)
	same(t, r, "two", tr)
	check, err := r.Check(ctx)
	must(t, err)
	if len(paths(check, "one")) == 0 || len(paths(check, "two")) != 0 {
		t.Errorf("%+v", check.Findings)
	}
}
