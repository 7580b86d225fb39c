package repo_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
)

// Pages and the last recovery point of a resource come from what the vault remembers: they must say what the store says, also
// after recovery points were forgotten, pruned and recalled, and for a repository that has just been opened.
func TestPagesAndTheLastRecoveryPointsAreThoseOfTheStore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 8))
		s := mem.New()
		now := clock.NewFake(start)
		c := config(s, vaultA)
		c.Clock = now
		r, err := repo.Create(t.Context(), c, repo.Descriptor{Owner: "o", Name: "v", Region: "r"}, nil)
		must(t, err)
		type key struct{ owner, resource string }
		live, forgotten := map[key][]string{}, map[key][]string{}
		for i := range 60 {
			now.Advance(time.Minute)
			k := key{fmt.Sprint("owner", rng.IntN(2)), fmt.Sprint("r", rng.IntN(3))}
			switch n := rng.IntN(10); {
			case n < 6:
				id := fmt.Sprintf("%c%d", 'a'+rng.IntN(26), i)
				_, err := r.Backup(t.Context(), repotest.New(), repo.BackupOptions{ID: id, Meta: repo.Meta{Owner: k.owner, ResourceARN: k.resource}})
				must(t, err)
				live[k] = append(live[k], id)
			case n < 8 && len(live[k]) > 0:
				at := rng.IntN(len(live[k]))
				id := live[k][at]
				must(t, r.Forget(t.Context(), id, start))
				live[k] = append(live[k][:at:at], live[k][at+1:]...)
				forgotten[k] = append(forgotten[k], id)
			case n < 9:
				_, err := r.Prune(t.Context(), repo.PruneOptions{MaxFraction: -1, Grace: time.Duration(rng.IntN(2)) * 24 * time.Hour})
				must(t, err)
			default:
				must(t, r.Close())
				r, err = repo.Open(t.Context(), c)
				must(t, err)
			}
			for k, ids := range live {
				want := ""
				if len(ids) > 0 {
					want = ids[len(ids)-1]
				}
				got, err := r.Newest(t.Context(), repo.Meta{Owner: k.owner, ResourceARN: k.resource})
				must(t, err)
				if got != want {
					t.Fatalf("seed %d, step %d: the last of %v is %q, not %q", seed, i, k, got, want)
				}
			}
			want, err := r.List(t.Context())
			must(t, err)
			var got []repo.Commit
			for after, limit := "", 1+rng.IntN(7); ; {
				page, err := r.Page(t.Context(), after, limit)
				must(t, err)
				got = append(got, page...)
				if len(page) < limit {
					break
				}
				after = page[len(page)-1].ID
			}
			if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, step %d: the pages list %d recovery points, List %d", seed, i, len(got), len(want))
			}
		}
	}
}

func TestAPageDoesNotHideALostCommitRecord(t *testing.T) {
	t.Parallel()
	r, s := newRepo(t)
	for i := range 5 {
		backup(t, r, repotest.New(), fmt.Sprint("rp", i), "")
	}
	must(t, r.Close())
	s.Damage("rps/rp2", nil)
	r = open(t, s, vaultA)
	page, err := r.Page(t.Context(), "", 2)
	must(t, err)
	if len(page) != 2 || page[1].ID != "rp1" {
		t.Errorf("%+v", page)
	}
	_, err = r.Page(t.Context(), "rp1", 2)
	wantKind(t, err, fault.Corrupt)
}
