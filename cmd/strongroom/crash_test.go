package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/internal/arn"
	"strongroom/test/node"
)

// The process is killed at random points of backups and copies, started again, and must finish what it began; at the end
// every recovery point that was ever acknowledged is restored and compared with the tree as it was when it was backed up.
func TestKillAtAnyPointLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about a minute")
	}
	t.Parallel()
	rounds := 26 // two kills each
	if os.Getenv("STRONGROOM_SOAK") != "" {
		rounds = 250
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	ctx := t.Context()

	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	n := startForTest(t, dir, source)
	change(t, r, source, 300)
	first, err := n.Backup(ctx)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := n.Copy(ctx, first.ARN)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{first.ARN: treeOf(t, source), copied.ARN: treeOf(t, source)}
	backupTook, copyTook := first.Took, copied.Took
	for i := range rounds {
		change(t, r, source, 60)
		was := treeOf(t, source)
		id, err := n.StartBackup(ctx, fmt.Sprint("backup ", i))
		if err != nil {
			t.Fatal(err)
		}
		crash(t, n, r, backupTook)
		backup, err := n.WaitBackup(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if backup.State != "COMPLETED" {
			t.Fatalf("round %d: the backup ended %s: %s", i, backup.State, backup.Message)
		}
		want[backup.ARN] = was
		if id, err = n.StartCopy(ctx, backup.ARN, fmt.Sprint("copy ", i)); err != nil {
			t.Fatal(err)
		}
		crash(t, n, r, copyTook)
		cp, err := n.WaitCopy(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if cp.State != "COMPLETED" {
			t.Fatalf("round %d: the copy ended %s: %s", i, cp.State, cp.Message)
		}
		want[cp.ARN] = was
	}
	t.Logf("%d kills, %d recovery points", 2*rounds, len(want))
	for point, tree := range want {
		account := node.Production
		if arn.AccountOf(point) == node.Backup {
			account = node.Backup
		}
		restored, err := n.Restore(ctx, account, point)
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		if got := treeOf(t, restoredDir(t, n, account, restored.ARN)); got != tree {
			t.Fatalf("%s restores to another tree:\n--- was\n%s+++ restored\n%s", point, tree, got)
		}
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}

// startForTest starts a node on the test binary as the program.
func startForTest(t *testing.T, dir, source string) *node.Node {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "strongroom") // TestMain goes by the name
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "node")
	n, err := node.New(program, home, source)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Kill()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(home, "log"))
			t.Logf("end of the node's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	if err := n.SetUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// crash kills the node at a random moment of a job that takes about took, and starts it again.
func crash(t *testing.T, n *node.Node, r *rand.Rand, took time.Duration) {
	t.Helper()
	time.Sleep(time.Duration(r.Float64() * 1.2 * float64(took)))
	n.Kill()
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// change writes, overwrites, renames and removes files below dir.
func change(t *testing.T, r *rand.Rand, dir string, steps int) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	name := func() string {
		return filepath.Join(dir, fmt.Sprintf("d%d", r.IntN(8)), fmt.Sprintf("f%d", r.IntN(100)))
	}
	for range steps {
		path := name()
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		switch r.IntN(20) {
		case 0:
			must(os.RemoveAll(path))
		case 1:
			if _, err := os.Lstat(path); err == nil {
				to := name()
				must(os.MkdirAll(filepath.Dir(to), 0o755))
				must(os.Rename(path, to))
			}
		case 2:
			must(os.WriteFile(path, randomBytes(r, 1<<20+r.IntN(1<<20)), 0o640))
		default:
			must(os.WriteFile(path, randomBytes(r, r.IntN(20_000)), 0o644))
		}
	}
}

// randomBytes are half noise, half repetition, so that some chunks compress and some do not.
func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		if i%4096 < 2048 {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

func treeOf(t *testing.T, dir string) string {
	t.Helper()
	s, err := listing(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restoredDir is where a restore put the tree.
func restoredDir(t *testing.T, n *node.Node, account, fileSystem string) string {
	t.Helper()
	root := "restored-prod"
	if account == node.Backup {
		root = "restored-backup"
	}
	_, id, _ := strings.Cut(fileSystem, "file-system/")
	dirs, err := filepath.Glob(filepath.Join(n.Dir, root, id, "aws-backup-restore_*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("restored directories of %s: %v %v", fileSystem, dirs, err)
	}
	return dirs[0]
}
