package repo_test

import (
	"strings"
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
