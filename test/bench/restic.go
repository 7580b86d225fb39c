package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"strongroom/test/bench/corpus"
)

// resticRound backs a corpus up with restic into a fresh repository, again unchanged, and copies it into a repository under
// another password.
func resticRound(ctx context.Context, c config, cp corpus.Tree, out results) error {
	work := filepath.Join(c.dir, "restic")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	restic := func(args ...string) (time.Duration, error) {
		cmd := exec.CommandContext(ctx, "restic", append([]string{"-q", "--no-cache"}, args...)...)
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=one", "RESTIC_FROM_PASSWORD=one", "HOME="+work)
		if args[0] == "-r" && args[1] == "two" {
			cmd.Env = append(cmd.Env, "RESTIC_PASSWORD=two")
		}
		cmd.Dir = work
		begun := time.Now()
		if text, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("restic %v: %w: %s", args, err, text)
		}
		return time.Since(begun), nil
	}
	if _, err := restic("-r", "one", "init"); err != nil {
		return err
	}
	for _, step := range []struct {
		work string
		args []string
	}{
		{cp.Name + ": initial backup, s", []string{"-r", "one", "backup", cp.Path}},
		{cp.Name + ": nothing changed, s", []string{"-r", "one", "backup", cp.Path}},
	} {
		d, err := restic(step.args...)
		if err != nil {
			return err
		}
		out.add(step.work, "restic", d.Seconds())
	}
	size, err := corpus.Size(filepath.Join(work, "one"))
	if err != nil {
		return err
	}
	out.add(cp.Name+": stored, MB", "restic", float64(size)/1e6)
	if _, err := restic("-r", "two", "init", "--from-repo", "one", "--copy-chunker-params"); err != nil {
		return err
	}
	d, err := restic("-r", "two", "copy", "--from-repo", "one")
	if err != nil {
		return err
	}
	out.add(cp.Name+": copy, other key, s", "restic", d.Seconds())
	target := filepath.Join(work, "restored")
	if d, err = restic("-r", "one", "restore", "latest", "--target", target); err != nil {
		return err
	}
	out.add(cp.Name+": restore, s", "restic", d.Seconds())
	return nil
}
