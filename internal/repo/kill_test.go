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
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/tree"
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

func diskRepo(dir, vault string) (*repo.Repository, error) {
	s, err := disk.Open(dir)
	if err != nil {
		return nil, err
	}
	r, err := repo.Open(context.Background(), config(s, vault))
	if fault.Is(err, fault.NotFound) {
		return repo.Create(context.Background(), config(s, vault), repo.Descriptor{}, nil)
	}
	return r, err
}

// killed backs up and copies until it is killed, and says what was acknowledged.
func killed(dir string) error {
	ctx := context.Background()
	a, err := diskRepo(filepath.Join(dir, "a"), vaultA)
	if err != nil {
		return err
	}
	b, err := diskRepo(filepath.Join(dir, "b"), vaultB)
	if err != nil {
		return err
	}
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
		meta := repo.Meta{Owner: "o", ResourceARN: "r"}
		if _, err := a.Backup(ctx, killTree(n), repo.BackupOptions{ID: id, Base: base, Meta: meta}); err != nil {
			return err
		}
		fmt.Println("a", n)
		p, err := a.Point(ctx, id)
		if err != nil {
			return err
		}
		if _, err := repo.Copy(ctx, p, b, repo.CopyOptions{ID: id, Meta: meta}); err != nil {
			return err
		}
		fmt.Println("b", n)
		if n%7 == 6 {
			if err := a.Forget(ctx, fmt.Sprintf("rp%d", n-6), start); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			if _, err := a.Prune(ctx, repo.PruneOptions{}); err != nil {
				return err
			}
		}
	}
}

func TestKillingTheProcessAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts many processes")
	}
	const kills = 60
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acked := map[string]map[int]bool{"a": {}, "b": {}}
	for k := range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killDir+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			line := sc.Text()
			if line == "ready" {
				// Anywhere in about two rounds.
				time.AfterFunc(time.Duration(rng.IntN(200_000))*time.Microsecond, func() { cmd.Process.Kill() })
				continue
			}
			var where string
			var n int
			if _, err := fmt.Sscanf(line, "%s %d", &where, &n); err != nil || strings.HasPrefix(line, "error") {
				t.Fatalf("after %d kills the child says %q", k, line)
			}
			acked[where][n] = true
		}
		cmd.Wait()
		if k%6 == 5 || k == kills-1 {
			inspect(t, dir, acked, k == kills-1)
		}
	}
	if len(acked["a"]) < kills/4 {
		t.Errorf("only %d backups were acknowledged: the kills came too early to prove anything", len(acked["a"]))
	}
}

// inspect checks both repositories after a kill.
func inspect(t *testing.T, dir string, acked map[string]map[int]bool, all bool) {
	t.Helper()
	for name, vault := range map[string]string{"a": vaultA, "b": vaultB} {
		r, err := diskRepo(filepath.Join(dir, name), vault)
		must(t, err)
		report, err := r.Check(t.Context())
		must(t, err)
		if !report.OK() {
			t.Fatalf("%s: %+v", name, report.Findings)
		}
		for n := range acked[name] {
			id := fmt.Sprintf("rp%d", n)
			_, err := r.Point(t.Context(), id)
			if name == "a" && fault.Is(err, fault.NotFound) && n%7 == 0 {
				continue // forgotten
			}
			if err != nil {
				t.Fatalf("%s: recovery point %s was acknowledged: %v", name, id, err)
			}
			if all {
				same(t, r, id, killTree(n))
			}
		}
		if all {
			prune(t, r)
			sound(t, r)
			temp, err := os.ReadDir(filepath.Join(dir, name, ".tmp"))
			must(t, err)
			if len(temp) != 0 {
				t.Errorf("%s: %d temporary files are left after Prune", name, len(temp))
			}
		}
		must(t, r.Close())
	}
}
