// Package demo tells the project's main story on real files, end to end: an organization with a production and a backup
// account, a scheduled backup, its copy under the backup account's key, production taken over and wiped, and a restore
// from the copy that is compared bit for bit.
//
// It drives a node of its own through the official AWS SDK over HTTP, exactly as a user would, and shows beside each step
// the aws CLI command that does the same. It is not a test harness: every step that does not hold ends it with an error.
// Invariant: nothing outside the scratch directory is ever written, and the source is only read.
//
// Start reading at Run; the chapters of the story are in story.go.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/progress"
	"strongroom/internal/server"
)

// Config is what a run needs.
type Config struct {
	// Source is a directory of the user's own files; "" picks one of the machine's (see defaultSource).
	Source string
	// Scratch is an empty or missing directory that the demo works in; "" makes a temporary one. It is removed afterwards
	// unless Keep is set.
	Scratch string
	// Keep leaves the node running after the story, until ctx ends, and the scratch directory in place.
	Keep bool
	Out  io.Writer
	// JSON prints one object per step instead of text.
	JSON bool
}

// The story's accounts and names.
const (
	region     = "us-east-1"
	management = "999999999999"
	production = "111111111111"
	backupAcct = "222222222222"
	fileSystem = "fs-0aaaaaaaaaaaaaaaa"
	sourceName = "production-vault"
	vaultName  = "cross-account-vault"
)

// Run tells the story and returns nil only if the restored files are identical to the originals.
func Run(ctx context.Context, c Config) (err error) {
	if c.Source == "" {
		if c.Source, err = defaultSource(); err != nil {
			return err
		}
	}
	if c.Source, err = filepath.Abs(c.Source); err != nil {
		return err
	}
	if st, err := os.Stat(c.Source); err != nil {
		return fmt.Errorf("source: %w", err)
	} else if !st.IsDir() {
		return fmt.Errorf("source: %s is not a directory", c.Source)
	}
	scratch, err := makeScratch(c.Scratch, c.Source)
	if err != nil {
		return err
	}
	s := &story{Config: c, clock: clock.System{}, scratch: scratch, accounts: map[string]clients{}}
	s.say = newNarrator(c.Out, c.JSON, s.clock)
	if !c.Keep {
		defer func() { err = errors.Join(err, removeAll(scratch)) }()
	}
	return s.run(ctx)
}

// defaultSource is a tree of real files that is likely to be there: the Go toolchain's sources, else documentation.
func defaultSource() (string, error) {
	for _, dir := range []string{filepath.Join(goroot(), "src"), "/usr/share/doc", "/usr/share"} {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return dir, nil
		}
	}
	return "", errors.New("no directory to back up was found: give one with --source DIR")
}

// makeScratch makes the scratch directory. It must be empty and must not lie inside the source, nor the source inside it.
func makeScratch(dir, source string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "strongroom-demo-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, pair := range [][2]string{{dir, source}, {source, dir}} {
		if rel, err := filepath.Rel(pair[0], pair[1]); err == nil && filepath.IsLocal(rel) {
			return "", fmt.Errorf("scratch directory %s and source %s overlap", dir, source)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("scratch directory %s is not empty", dir)
	}
	return dir, nil
}

// removeAll deletes a tree that may hold directories without write permission.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// startNode runs a node in the scratch directory and returns its URL. stop ends it and waits.
func (s *story) startNode(ctx context.Context, agents []string) (url string, stop func() error, err error) {
	log, err := os.OpenFile(filepath.Join(s.scratch, "node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return "", nil, err
	}
	node, err := server.Open(ctx, server.Config{
		Data: filepath.Join(s.scratch, "node"), Listen: "127.0.0.1:0", AccountID: management, Agents: agents,
		Log: slog.New(slog.NewJSONHandler(log, nil)),
	})
	if err != nil {
		log.Close()
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		err := node.Run(ctx, func(url string) { ready <- url })
		done <- errors.Join(err, node.Close(), log.Close())
	}()
	select {
	case url = <-ready:
		return url, func() error { cancel(); return <-done }, nil
	case err := <-done:
		cancel()
		if err == nil {
			err = errors.New("the node ended at once; see node.log")
		}
		return "", nil, err
	}
}

// poll calls step every quarter of a second until it reports done, an error, or the limit is over.
func (s *story) poll(ctx context.Context, limit time.Duration, what string, step func() (done bool, err error)) error {
	end := s.clock.Now().Add(limit)
	for {
		done, err := step()
		if err != nil || done {
			return err
		}
		if s.clock.Now().After(end) {
			return fmt.Errorf("%s did not finish within %s", what, progress.Duration(limit))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.clock.After(250 * time.Millisecond):
		}
	}
}
