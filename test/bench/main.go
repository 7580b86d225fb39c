// Command bench measures a node against restic on the same files in one run, interleaved, and prints medians and ratios.
//
//	go run ./test/bench -bin ./strongroom [-dir .bench] [-rounds 3] [-small 1000] [-large 4000]
//
// It drives the real program through the official SDK, as a user would, and restic through its command line. Figures are
// wall seconds as the jobs report them; ratios are what to quote, absolute figures belong to one machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/test/bench/corpus"
)

type config struct {
	bin, dir string
	rounds   int
	small    int64 // MB
	large    int64 // MB
	apiFor   time.Duration
	prepare  bool
}

func main() {
	var c config
	flag.StringVar(&c.bin, "bin", "./strongroom", "program to measure")
	flag.StringVar(&c.dir, "dir", ".bench", "directory for corpora and repositories")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds; medians are printed")
	flag.Int64Var(&c.small, "small", 1000, "MB of small files")
	flag.Int64Var(&c.large, "large", 4000, "MB of mixed large files")
	flag.DurationVar(&c.apiFor, "api", 5*time.Second, "how long to load the API")
	flag.BoolVar(&c.prepare, "prepare", false, "only make the corpora")
	flag.Parse()
	if err := run(context.Background(), c); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) (err error) {
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return err
	}
	if c.bin, err = filepath.Abs(c.bin); err != nil {
		return err
	}
	if _, err := exec.LookPath("restic"); err != nil {
		return fmt.Errorf("restic is needed to compare with: run scripts/install-test-tools bench")
	}
	small, err := corpus.Small(filepath.Join(c.dir, "corpus-small"), c.small<<20)
	if err != nil {
		return err
	}
	large, err := corpus.Mixed(filepath.Join(c.dir, "corpus-mixed"), c.large<<20, small.Path)
	if err != nil {
		return err
	}
	if c.prepare {
		return nil
	}
	table := results{}
	var peak int64
	if err := settle(c); err != nil { // of an earlier run that was cut off
		return err
	}
	for round := range c.rounds {
		for _, cp := range []corpus.Tree{small, large} {
			fmt.Printf("round %d, %s: %d files, %.0f MB\n", round+1, cp.Name, cp.Files, float64(cp.Bytes)/1e6)
			if err := cp.Warm(); err != nil {
				return err
			}
			if err := resticRound(ctx, c, cp, table); err != nil {
				return err
			}
			rss, err := nodeRound(ctx, c, cp, table)
			if err != nil {
				return err
			}
			peak = max(peak, rss)
			if err := settle(c); err != nil {
				return err
			}
		}
	}
	rate, err := apiRate(ctx, c, small)
	if err != nil {
		return err
	}
	if err := settle(c); err != nil {
		return err
	}
	table.print()
	fmt.Printf("\npeak memory of the node: %.0f MB\nDescribeRecoveryPoint, signed and authorized, client on the same cores: %.0f per second\n", float64(peak)/1e6, rate)
	return nil
}

// settle removes what a round made and lets the file system come to rest. ext4 does not give out an inode again for half a
// minute after it was deleted and searches past all of them meanwhile: whoever creates files next would pay for it.
func settle(c config) error {
	for _, dir := range []string{"restic", "node"} {
		if err := os.RemoveAll(filepath.Join(c.dir, dir)); err != nil {
			return err
		}
	}
	unix.Sync()
	time.Sleep(40 * time.Second)
	return nil
}

// results holds the measurements by work and tool.
type results map[string][]float64

func (r results) add(work, tool string, v float64) {
	key := work + "|" + tool
	r[key] = append(r[key], v)
	fmt.Printf("  %-34s %-11s %8.2f\n", work, tool, v)
}

func (r results) median(work, tool string) float64 {
	v := slices.Sorted(slices.Values(r[work+"|"+tool]))
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

func (r results) print() {
	var works []string
	for key := range r {
		work, _, _ := strings.Cut(key, "|")
		works = append(works, work)
	}
	slices.Sort(works)
	fmt.Printf("\n%-34s %11s %11s %8s\n", "median", "strongroom", "restic", "ratio")
	for _, w := range slices.Compact(works) {
		own, peer := r.median(w, "strongroom"), r.median(w, "restic")
		ratio := "-"
		if peer > 0 {
			ratio = fmt.Sprintf("%.2f", own/peer)
		}
		fmt.Printf("%-34s %11.2f %11.2f %8s\n", w, own, peer, ratio)
	}
}
