// Command engine measures the vault engine as a command line against restic, borg and the bare pipeline (test/bench/bare), on
// the same files, interleaved in one run, and prints medians and ratios.
//
//	go run ./test/bench/engine -bin ./strongroom -bare ./bare [-dir .bench] [-rounds 3] [-small 1000] [-large 4000] [-json]
//
// Of every command it takes wall and processor time and peak memory as the kernel accounts them for that process. Ratios
// are what to quote: absolute figures belong to one machine. What a round made is removed after it, the corpora at the end
// unless -keep is given.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/test/bench/corpus"
)

type config struct {
	bin, bare, dir string
	rounds         int
	small, large   int64 // MB
	many           int
	settle         time.Duration
	only           string
	json, keep     bool
}

func main() {
	var c config
	flag.StringVar(&c.bin, "bin", "./strongroom", "program to measure")
	flag.StringVar(&c.bare, "bare", "", "the bare pipeline, built from test/bench/bare")
	flag.StringVar(&c.dir, "dir", ".bench/engine", "directory for corpora and repositories")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds; medians are printed")
	flag.Int64Var(&c.small, "small", 1000, "MB of small files; 0 leaves them out")
	flag.Int64Var(&c.large, "large", 4000, "MB of mixed large files; 0 leaves them out")
	flag.IntVar(&c.many, "many", 1000000, "files of the unchanged tree; 0 leaves it out")
	flag.DurationVar(&c.settle, "settle", 40*time.Second, "how long the file system rests after what a round made was removed")
	flag.StringVar(&c.only, "tools", "strongroom,restic,borg,bare", "tools to measure")
	flag.BoolVar(&c.json, "json", false, "print the medians as JSON instead of a table")
	flag.BoolVar(&c.keep, "keep", false, "keep the corpora for the next run")
	flag.Parse()
	if err := run(context.Background(), c); err != nil {
		fmt.Fprintln(os.Stderr, "bench-engine:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) (err error) {
	for _, p := range []*string{&c.dir, &c.bin, &c.bare} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	names := strings.Split(c.only, ",")
	for _, n := range names {
		if _, err := exec.LookPath(n); (n == "restic" || n == "borg") && err != nil {
			return fmt.Errorf("%s is needed to compare with: run scripts/install-test-tools bench", n)
		}
	}
	b := &bench{config: c, out: &results{quiet: c.json}, names: names}
	if err := b.clear(); err != nil { // of an earlier run that was cut off
		return err
	}
	err = b.all(ctx)
	if cerr := b.clear(); err == nil {
		err = cerr
	}
	if !c.keep {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	if err != nil {
		return err
	}
	if c.json {
		return json.NewEncoder(os.Stdout).Encode(b.out.rows())
	}
	b.out.print()
	return nil
}

// bench is one run.
type bench struct {
	config
	names []string
	out   *results
	turn  int
}

func (b *bench) work() string { return filepath.Join(b.dir, "work") }

// clear removes what a round made and lets the file system come to rest: ext4 does not give out an inode again for half a
// minute after it was deleted and searches past all of them meanwhile, so whoever creates files next would pay for it.
func (b *bench) clear() error {
	if _, err := os.Stat(b.work()); os.IsNotExist(err) {
		return nil
	}
	if err := os.RemoveAll(b.work()); err != nil {
		return err
	}
	unix.Sync()
	time.Sleep(b.settle)
	return nil
}

// tools makes fresh tools for one tree, in an order that turns, so that none always goes first.
func (b *bench) tools(tree corpus.Tree) ([]tool, error) {
	if err := os.MkdirAll(b.work(), 0o700); err != nil {
		return nil, err
	}
	var out []tool
	for i := range b.names {
		name := b.names[(i+b.turn)%len(b.names)]
		t := tool{name: name, dir: filepath.Join(b.work(), name), tree: tree.Path}
		if err := os.MkdirAll(t.dir, 0o700); err != nil {
			return nil, err
		}
		switch name {
		case "strongroom":
			t.commands = &strongroom{tool: &t, bin: b.bin}
		case "restic":
			t.commands = newRestic(&t)
		case "borg":
			t.commands = &borg{tool: &t}
		case "bare":
			t.commands = &bare{tool: &t, bin: b.bare}
		default:
			return nil, fmt.Errorf("unknown tool %q", name)
		}
		out = append(out, t)
	}
	b.turn++
	return out, nil
}

func (b *bench) all(ctx context.Context) error {
	var small, large corpus.Tree
	var err error
	if small, err = corpus.Small(filepath.Join(b.dir, "small"), max(b.small, 1)<<20); err != nil {
		return err
	}
	if b.large > 0 {
		if large, err = corpus.Mixed(filepath.Join(b.dir, "mixed"), b.large<<20, small.Path); err != nil {
			return err
		}
	}
	for round := range b.rounds {
		if b.small > 0 {
			b.out.say("round %d, %s: %d files, %.0f MB", round+1, small.Name, small.Files, float64(small.Bytes)/1e6)
			if err := b.round(ctx, small, b.smallRound); err != nil {
				return err
			}
		}
		if b.large > 0 {
			b.out.say("round %d, %s: %d files, %.0f MB", round+1, large.Name, large.Files, float64(large.Bytes)/1e6)
			if err := b.round(ctx, large, b.largeRound); err != nil {
				return err
			}
		}
	}
	if b.many > 0 {
		return b.manyFiles(ctx)
	}
	return nil
}

func (b *bench) round(ctx context.Context, tree corpus.Tree, fn func(context.Context, corpus.Tree) error) error {
	if err := tree.Warm(); err != nil {
		return err
	}
	unix.Sync()
	if err := fn(ctx, tree); err != nil {
		return err
	}
	return b.clear()
}

// each has every tool do the same work, one after the other.
func (b *bench) each(tree corpus.Tree, tools []tool, work string, fn func(commands) (usage, error)) error {
	for _, t := range tools {
		u, err := fn(t.commands)
		if errors.Is(err, errNot) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %s: %w", tree.Name, work, t.name, err)
		}
		if err := b.note(tree, work, t, u); err != nil {
			return err
		}
		unix.Sync() // nobody writes back what another one left
	}
	return nil
}

func (b *bench) note(tree corpus.Tree, work string, t tool, u usage) error {
	b.out.add(tree.Name, work, t.name, u)
	return nil
}

func (b *bench) stored(tree corpus.Tree, tools []tool, work string) error {
	for _, t := range tools {
		n, err := corpus.Size(t.store())
		if err != nil {
			return err
		}
		b.out.add(tree.Name, work, t.name, usage{Stored: float64(n)/1e6 - t.before()})
	}
	return nil
}

func (b *bench) smallRound(ctx context.Context, tree corpus.Tree) error {
	tools, err := b.tools(tree)
	if err != nil {
		return err
	}
	steps := []step{
		{"initial backup", func(c commands) (usage, error) { return c.backup(ctx) }},
		{"stored", nil},
		{"copy, other key", func(c commands) (usage, error) { return c.copy(ctx) }},
		{"nothing changed", func(c commands) (usage, error) { return c.backup(ctx) }},
		{"restore", func(c commands) (usage, error) { return c.restore(ctx) }},
	}
	if err := b.steps(tree, tools, steps); err != nil {
		return err
	}
	undo, err := tree.ChangeFiles()
	if err != nil {
		return err
	}
	err = b.steps(tree, tools, []step{{"1 % changed", func(c commands) (usage, error) { return c.backup(ctx) }}})
	if err = errors.Join(err, undo()); err != nil {
		return err
	}
	return b.steps(tree, tools, []step{
		{"second copy", func(c commands) (usage, error) { return c.copy(ctx) }},
		{"verify all data", func(c commands) (usage, error) { return c.verify(ctx) }},
	})
}

// step is one work of all tools; without a function it is the size of what they store.
type step struct {
	work string
	do   func(commands) (usage, error)
}

func (b *bench) steps(tree corpus.Tree, tools []tool, steps []step) error {
	for _, s := range steps {
		var err error
		if s.do == nil {
			err = b.stored(tree, tools, s.work)
		} else {
			err = b.each(tree, tools, s.work, s.do)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) largeRound(ctx context.Context, tree corpus.Tree) error {
	tools, err := b.tools(tree)
	if err != nil {
		return err
	}
	backup := func(c commands) (usage, error) { return c.backup(ctx) }
	err = b.steps(tree, tools, []step{
		{"initial backup", backup},
		{"stored", nil},
		{"restore", func(c commands) (usage, error) { return c.restore(ctx) }},
		{"copy, other key", func(c commands) (usage, error) { return c.copy(ctx) }},
		{"verify all data", func(c commands) (usage, error) { return c.verify(ctx) }},
	})
	if err != nil {
		return err
	}
	return b.blocks(ctx, tree, tools)
}

// blocks measures the second backup after one in fifty 4 KiB blocks of volumes and databases was overwritten, with these
// declared as fixed blocks to whom that can be said. For that the engine begins a vault of its own.
func (b *bench) blocks(ctx context.Context, tree corpus.Tree, tools []tool) error {
	tools = peersWithout(tools, "borg", "bare")
	for i := range tools {
		if own, ok := tools[i].commands.(*strongroom); ok {
			u, err := own.declareBlocks(ctx)
			if err != nil {
				return err
			}
			b.out.add(tree.Name, "initial, fixed blocks", tools[i].name, u)
		}
		n, err := corpus.Size(tools[i].store())
		if err != nil {
			return err
		}
		*tools[i].size = float64(n) / 1e6
	}
	undo, err := tree.ChangeBlocks()
	if err != nil {
		return err
	}
	err = b.steps(tree, tools, []step{
		{"2 % of 4K blocks changed", func(c commands) (usage, error) { return c.backup(ctx) }},
		{"stored for the change", nil},
	})
	return errors.Join(err, undo())
}

// manyFiles measures how long a tree of a million unchanged files takes. The peers are left out: their first backup of it
// takes longer than everything else.
func (b *bench) manyFiles(ctx context.Context) error {
	tree, err := corpus.Many(filepath.Join(b.dir, "many"), b.many)
	if err != nil {
		return err
	}
	b.out.say("%s: %d files", tree.Name, tree.Files)
	names := b.names
	defer func() { b.names = names }()
	b.names = []string{"strongroom"}
	tools, err := b.tools(tree)
	if err != nil {
		return err
	}
	again := step{"nothing changed", func(c commands) (usage, error) { return c.backup(ctx) }}
	steps := []step{{"initial backup", again.do}}
	for range b.rounds {
		steps = append(steps, again)
	}
	return b.steps(tree, tools, steps)
}
