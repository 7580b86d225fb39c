package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// usage is what one command took.
type usage struct {
	Wall   float64 `json:"wall_seconds"`
	CPU    float64 `json:"cpu_seconds"` // user and system
	RSS    float64 `json:"peak_rss_mb"`
	Stored float64 `json:"stored_mb,omitempty"`
}

// errNot says that a tool does not do a work.
var errNot = errors.New("does not do that")

// commands is what a tool does with the tree that it was made for.
type commands interface {
	backup(context.Context) (usage, error)  // the first one, or the next
	restore(context.Context) (usage, error) // of the first recovery point
	copy(context.Context) (usage, error)    // of the newest recovery point, into a store under another key
	verify(context.Context) (usage, error)  // every byte
}

// tool is a program at work below its directory.
type tool struct {
	name, dir, tree string
	commands        commands
	env             []string
	size            *float64 // of the store before the work that is measured now, MB
}

func (t *tool) store() string {
	if own, ok := t.commands.(*strongroom); ok && own.blocks {
		return filepath.Join(t.dir, "blocks")
	}
	return filepath.Join(t.dir, "one")
}

func (t *tool) before() float64 {
	if t.size == nil {
		return 0
	}
	return *t.size
}

func peersWithout(tools []tool, names ...string) []tool {
	out := slices.Clone(tools)
	out = slices.DeleteFunc(out, func(t tool) bool { return slices.Contains(names, t.name) })
	for i := range out {
		out[i].size = new(float64)
	}
	return out
}

// run runs a program to its end. Its standard output is returned.
func (t *tool) run(ctx context.Context, program string, args ...string) (usage, []byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = t.dir
	cmd.Env = append(append(os.Environ(), "HOME="+t.dir), t.env...)
	var out, text strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &text
	begun := time.Now()
	err := cmd.Run()
	wall := time.Since(begun)
	if err != nil {
		return usage{}, nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, text.String())
	}
	r := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return usage{Wall: wall.Seconds(), CPU: cpu.Seconds(), RSS: float64(r.Maxrss) * 1024 / 1e6}, []byte(out.String()), nil
}

// strongroom is the engine's command line.
type strongroom struct {
	*tool
	bin      string
	points   []string
	restored bool
	copied   bool
	blocks   bool
}

func (s *strongroom) secret(name string) (string, error) {
	file := filepath.Join(s.dir, name+".passphrase")
	return file, os.WriteFile(file, []byte("the passphrase of "+name+"\n"), 0o600)
}

func (s *strongroom) init(ctx context.Context, dir string) (string, error) {
	file, err := s.secret(dir)
	if err != nil {
		return "", err
	}
	_, _, err = s.run(ctx, s.bin, "vault", "init", filepath.Join(s.dir, dir), "--passphrase-file", file)
	return file, err
}

func (s *strongroom) backup(ctx context.Context) (usage, error) {
	dir, args := "one", []string(nil)
	if s.blocks {
		dir, args = "blocks", []string{"--fixed-blocks", "*.img", "--fixed-blocks", "*.db"}
	}
	file, err := s.secret(dir)
	if err == nil && len(s.points) == 0 {
		file, err = s.init(ctx, dir)
	}
	if err != nil {
		return usage{}, err
	}
	u, out, err := s.run(ctx, s.bin, append([]string{"vault", "backup", filepath.Join(s.dir, dir), s.tree, "--json", "--passphrase-file", file}, args...)...)
	if err != nil {
		return u, err
	}
	var r struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return u, err
	}
	s.points = append(s.points, r.ID)
	return u, nil
}

// declareBlocks begins another vault, in which volumes and databases are declared to be rewritten in blocks.
func (s *strongroom) declareBlocks(ctx context.Context) (usage, error) {
	s.blocks, s.points = true, nil
	return s.backup(ctx)
}

func (s *strongroom) restore(ctx context.Context) (usage, error) {
	file, err := s.secret("one")
	if err != nil {
		return usage{}, err
	}
	u, _, err := s.run(ctx, s.bin, "vault", "restore", filepath.Join(s.dir, "one"), s.points[0], "--to", filepath.Join(s.dir, "restored"), "--json", "--passphrase-file", file)
	return u, err
}

func (s *strongroom) copy(ctx context.Context) (usage, error) {
	one, err := s.secret("one")
	if err != nil {
		return usage{}, err
	}
	two, err := s.secret("two")
	if err == nil && !s.copied {
		two, err = s.init(ctx, "two")
	}
	if err != nil {
		return usage{}, err
	}
	s.copied = true
	u, _, err := s.run(ctx, s.bin, "vault", "copy", filepath.Join(s.dir, "one"), filepath.Join(s.dir, "two"), s.points[len(s.points)-1],
		"--json", "--passphrase-file", one, "--to-passphrase-file", two)
	return u, err
}

func (s *strongroom) verify(ctx context.Context) (usage, error) {
	file, err := s.secret("one")
	if err != nil {
		return usage{}, err
	}
	u, _, err := s.run(ctx, s.bin, "vault", "verify", filepath.Join(s.dir, "one"), "--read-data", "--json", "--passphrase-file", file)
	return u, err
}

// restic is the Debian package, with its fastest compression where it has one (0.18 and newer; before, its default).
type restic struct {
	*tool
	fastest      bool
	begun, other bool
}

func newRestic(t *tool) *restic {
	t.env = []string{"RESTIC_PASSWORD=one", "RESTIC_FROM_PASSWORD=one", "RESTIC_CACHE_DIR=" + filepath.Join(t.dir, "cache")}
	return &restic{tool: t, fastest: exec.Command("restic", "--compression", "fastest", "version").Run() == nil}
}

func (r *restic) do(ctx context.Context, args ...string) (usage, error) {
	if r.fastest {
		args = append([]string{"--compression", "fastest"}, args...)
	}
	u, _, err := r.run(ctx, "restic", append([]string{"-q"}, args...)...)
	return u, err
}

func (r *restic) backup(ctx context.Context) (usage, error) {
	if !r.begun {
		if _, err := r.do(ctx, "-r", "one", "init"); err != nil {
			return usage{}, err
		}
		r.begun = true
	}
	return r.do(ctx, "-r", "one", "backup", r.tree)
}

func (r *restic) restore(ctx context.Context) (usage, error) {
	return r.do(ctx, "-r", "one", "restore", "latest", "--target", "restored")
}

func (r *restic) copy(ctx context.Context) (usage, error) {
	r.env = append(r.env[:3:3], "RESTIC_PASSWORD=two")
	defer func() { r.env = r.env[:3] }()
	if !r.other {
		if _, err := r.do(ctx, "-r", "two", "init", "--from-repo", "one", "--copy-chunker-params"); err != nil {
			return usage{}, err
		}
		r.other = true
	}
	return r.do(ctx, "-r", "two", "copy", "--from-repo", "one", "latest")
}

func (r *restic) verify(ctx context.Context) (usage, error) {
	return r.do(ctx, "-r", "one", "check", "--read-data")
}

// borg is the Debian package with its default compression.
type borg struct {
	*tool
	n int
}

func (b *borg) do(ctx context.Context, args ...string) (usage, error) {
	b.env = []string{"BORG_PASSPHRASE=one", "BORG_BASE_DIR=" + b.dir}
	u, _, err := b.run(ctx, "borg", args...)
	return u, err
}

func (b *borg) backup(ctx context.Context) (usage, error) {
	if b.n == 0 {
		if _, err := b.do(ctx, "init", "-e", "repokey-blake2", "one"); err != nil {
			return usage{}, err
		}
	}
	b.n++
	return b.do(ctx, "create", fmt.Sprintf("one::%d", b.n), b.tree)
}

func (b *borg) restore(ctx context.Context) (usage, error) {
	to := filepath.Join(b.dir, "restored")
	if err := os.Mkdir(to, 0o700); err != nil {
		return usage{}, err
	}
	t := *b.tool
	t.dir = to // it extracts to where it is
	u, _, err := t.run(ctx, "borg", "extract", filepath.Join(b.dir, "one")+"::1")
	return u, err
}

func (b *borg) copy(context.Context) (usage, error) { return usage{}, errNot }

func (b *borg) verify(ctx context.Context) (usage, error) {
	return b.do(ctx, "check", "--verify-data", "one")
}

// bare is the practical limit. It knows full backups only.
type bare struct {
	*tool
	bin  string
	done bool
}

func (b *bare) backup(ctx context.Context) (usage, error) {
	if b.done {
		return usage{}, errNot
	}
	b.done = true
	u, _, err := b.run(ctx, b.bin, "backup", "one", b.tree)
	return u, err
}

func (b *bare) restore(ctx context.Context) (usage, error) {
	u, _, err := b.run(ctx, b.bin, "restore", "one", "restored")
	return u, err
}

func (b *bare) copy(ctx context.Context) (usage, error) {
	if _, err := os.Stat(filepath.Join(b.dir, "two")); err == nil {
		return usage{}, errNot
	}
	u, _, err := b.run(ctx, b.bin, "copy", "one", "two")
	return u, err
}

func (b *bare) verify(ctx context.Context) (usage, error) {
	u, _, err := b.run(ctx, b.bin, "verify", "one")
	return u, err
}
