package repo_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

// killDir tells this test binary that it is the child of the kill test, and where its stores are.
const killDir = "STRONGROOM_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := killed(dir); err != nil {
			fmt.Println("error", err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// killTree is the content of recovery point n, the same in parent and child: small files and one of several chunks.
func killTree(n int) *repotest.Tree {
	t := small()
	rng := rand.New(rand.NewPCG(uint64(n), 5))
	t.Write(fmt.Sprintf("f%d", n%6), repotest.Noise(rng, 5000))
	t.Add(repotest.File{Entry: tree.Entry{Path: "large", Type: tree.File, Ino: uint64(1000 + n/3)}, Data: repotest.Noise(rand.New(rand.NewPCG(uint64(n/3), 6)), 700_000)})
	return t
}

// killRetain is until when the child keeps recovery point n, if it says so.
func killRetain(n int) time.Time { return start.AddDate(0, 0, n) }

func diskRepo(dir, vault string, now time.Time) (*repo.Repository, error) {
	s, err := disk.Open(dir)
	if err != nil {
		return nil, err
	}
	c := config(s, vault)
	c.Clock = clock.NewFake(now)
	r, err := repo.Open(context.Background(), c)
	if fault.Is(err, fault.NotFound) {
		return repo.Create(context.Background(), c, repo.Descriptor{}, nil)
	}
	return r, err
}

// killed backs up, copies, changes retention, expires and prunes until it is killed, and says what it begins and what was
// acknowledged.
func killed(dir string) error {
	ctx := context.Background()
	repos := map[string]*repo.Repository{}
	for name, vault := range map[string]string{"a": vaultA, "b": vaultB} {
		r, err := diskRepo(filepath.Join(dir, name), vault, start)
		if err != nil {
			return err
		}
		repos[name] = r
	}
	a, b := repos["a"], repos["b"]
	list, err := a.List(ctx)
	if err != nil {
		return err
	}
	next := 0
	for _, c := range list {
		var n int
		fmt.Sscanf(c.ID, "rp%d", &n)
		next = max(next, n)
	}
	fmt.Println("ready")
	for n := next; ; n++ {
		id, base := fmt.Sprintf("rp%d", n), fmt.Sprintf("rp%d", n-1)
		if n%4 == 0 {
			base = ""
		}
		meta := repo.Meta{Owner: "o", ResourceARN: "r"}
		if _, err := a.Backup(ctx, killTree(n), repo.BackupOptions{ID: id, Base: base, Meta: meta}); err != nil {
			return err
		}
		fmt.Println("written a", n)
		p, err := a.Point(ctx, id)
		if err != nil {
			return err
		}
		if _, err := repo.Copy(ctx, p, b, repo.CopyOptions{ID: id, Meta: meta}); err != nil {
			return err
		}
		fmt.Println("written b", n)
		if n%3 == 1 {
			fmt.Println("keeping a", n)
			if err := a.SetRetention(ctx, id, killRetain(n), false); err != nil {
				return err
			}
			fmt.Println("kept a", n)
		}
		for name, r := range repos {
			if old := n - 12; old >= 0 {
				fmt.Println("expiring", name, old)
				if err := r.Forget(ctx, fmt.Sprintf("rp%d", old), start); err != nil && !fault.Is(err, fault.NotFound) {
					return err
				}
				fmt.Println("expired", name, old)
			}
			if n%4 == 3 {
				grace := time.Duration(n%8/4) * time.Hour
				if _, err := r.Prune(ctx, repo.PruneOptions{Grace: grace, RepackDead: 0.2, MaxFraction: -1}); err != nil {
					return err
				}
				fmt.Println("pruned", name, n)
			}
		}
	}
}

func TestB01KillingTheProcessAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts many processes")
	}
	kills := bar.Size(20, 500)
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(seed(t), 1))
	said := map[string]map[int]bool{}
	points := 0
	var slowest time.Duration
	for k := range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killDir+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		began := time.Now()
		must(t, cmd.Start())
		// After some lines, and then anywhere up to the next few.
		lines, pause := rng.IntN(12), time.Duration(rng.IntN(30_000))*time.Microsecond
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			line := sc.Text()
			if line == "ready" {
				slowest = max(slowest, time.Since(began))
			} else {
				var what, where string
				var n int
				if _, err := fmt.Sscanf(line, "%s %s %d", &what, &where, &n); err != nil || strings.HasPrefix(line, "error") {
					t.Fatalf("after %d kills the child says %q", k, line)
				}
				key := what + " " + where
				if said[key] == nil {
					said[key] = map[int]bool{}
				}
				if key == "written a" && !said[key][n] {
					points++
				}
				said[key][n] = true
			}
			if lines--; lines == -1 {
				time.AfterFunc(pause, func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait()
		if k%10 == 9 || k == kills-1 {
			inspect(t, dir, said, k == kills-1)
		}
	}
	if points < kills/4 {
		t.Errorf("only %d backups were acknowledged: the kills came too early to prove anything", points)
	}
	if slowest > time.Minute {
		t.Errorf("a restart took %v", slowest)
	}
	bar.Report(t, "B01", "%d kills, %d recovery points backed up and copied, %d expired: 0 lost, 0 acknowledged and not there, 0 bytes left behind after prune; slowest restart %v", kills, points, len(said["expired a"]), slowest.Round(time.Millisecond))
}

// inspect checks both repositories after a kill.
func inspect(t *testing.T, dir string, said map[string]map[int]bool, last bool) {
	t.Helper()
	for name, vault := range map[string]string{"a": vaultA, "b": vaultB} {
		r, err := diskRepo(filepath.Join(dir, name), vault, start.AddDate(0, 0, 8))
		must(t, err)
		report, err := r.Check(t.Context())
		must(t, err)
		if !report.OK() {
			t.Fatalf("%s: %+v", name, report.Findings)
		}
		list, err := r.List(t.Context())
		must(t, err)
		there := map[int]bool{}
		for i, c := range list {
			var n int
			fmt.Sscanf(c.ID, "rp%d", &n)
			there[n] = true
			if said["expired "+name][n] {
				t.Fatalf("%s: recovery point %s expired and is there", name, c.ID)
			}
			kept, may := said["kept "+name][n], said["keeping "+name][n]
			if is := c.RetainUntil.Equal(killRetain(n)); kept && !is || !is && !c.RetainUntil.IsZero() || is && !may {
				t.Fatalf("%s: recovery point %s is kept until %v; acknowledged %v, asked for %v", name, c.ID, c.RetainUntil, kept, may)
			}
			// Whether it was acknowledged or not, it is whole.
			if last || i%5 == 0 {
				same(t, r, c.ID, killTree(n))
			}
		}
		for n := range said["written "+name] {
			if !there[n] && !said["expiring "+name][n] {
				t.Fatalf("%s: recovery point rp%d was acknowledged and is gone", name, n)
			}
		}
		if last {
			prune(t, r)
			sound(t, r)
			temp, err := os.ReadDir(filepath.Join(dir, name, ".tmp"))
			must(t, err)
			if len(temp) != 0 {
				t.Errorf("%s: %d temporary files are left after Prune", name, len(temp))
			}
			again, err := r.Prune(t.Context(), repo.PruneOptions{DryRun: true, RepackDead: -1})
			must(t, err)
			if again.DeletedPacks+again.TrashedPacks+again.DeferredPacks+again.DeletedObjects != 0 {
				t.Errorf("%s: a second Prune found something to do: %+v", name, again)
			}
			packs := 0
			for _, class := range []string{"packs", "mpacks"} {
				found, err := filepath.Glob(filepath.Join(dir, name, class, "*", "*"))
				must(t, err)
				packs += len(found)
			}
			if packs != again.Packs {
				t.Errorf("%s: %d packs are stored and %d are known after Prune", name, packs, again.Packs)
			}
		}
		must(t, r.Close())
	}
}
