package repo_test

import (
	"testing"

	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
)

// What was asked for decides whether a restore is whole, not the directories that lead there.
func TestAnItemIsWholeWhateverIsWrongAboveIt(t *testing.T) {
	t.Parallel()
	r, _ := newRepo(t)
	tr := repotest.New()
	tr.Files[""].Problem = "changed while it was listed"
	tr.Add(repotest.File{Entry: tree.Entry{Path: "d", Type: tree.Dir, Problem: "its extended attributes cannot be read"}})
	tr.Add(repotest.File{Entry: tree.Entry{Path: "d/sound", Type: tree.File}, Data: []byte("x")})
	tr.Add(repotest.File{Entry: tree.Entry{Path: "d/torn", Type: tree.File}, Data: []byte("y"), Changed: true})
	backup(t, r, tr, "one", "")
	for _, c := range []struct {
		include []string
		want    int64
	}{{nil, 3}, {[]string{"d"}, 2}, {[]string{"d/torn"}, 1}, {[]string{"d/sound"}, 0}} {
		report, err := point(t, r, "one").Restore(t.Context(), repotest.NewTarget(), repo.RestoreOptions{Include: c.include})
		must(t, err)
		if report.IncompleteCount != c.want {
			t.Errorf("%q: %+v, want %d", c.include, report.Incomplete, c.want)
		}
	}
}
