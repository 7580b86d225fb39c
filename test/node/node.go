// Package node runs a strongroom process for tests and benchmarks and sets up the accounts that they need: an organization
// with a production and a backup account, a role and a vault named "vault" in each, and the policies for copies between them.
//
// It speaks to the process over HTTP with the official SDK and to the files in its directory; it imports nothing that
// would let it cheat. Start reading at Start.
package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"

	"strongroom/internal/server"
)

// The accounts and what is in them.
const (
	Management = "999999999999"
	Production = "111111111111"
	Backup     = "222222222222"
	Region     = "us-east-1"
	Vault      = "vault"
	FileSystem = "arn:aws:elasticfilesystem:" + Region + ":" + Production + ":file-system/fs-0aaaaaaaaaaaaaaaa"
)

// Role is the backup role of an account.
func Role(account string) string { return "arn:aws:iam::" + account + ":role/Backup" }

// VaultARN is the vault of an account.
func VaultARN(account string) string {
	return "arn:aws:backup:" + Region + ":" + account + ":backup-vault:" + Vault
}

// Node is a running process.
type Node struct {
	Dir      string // holds data/, log and the agent files
	Endpoint string
	Prod     *awsbackup.Client // of the production account
	Other    *awsbackup.Client // of the backup account

	program string
	cmd     *exec.Cmd
	ended   chan struct{}
	keys    map[string]aws.Config
}

// New prepares a node in dir, which must be empty, that protects source. Restores of production land in dir/restored-prod,
// those of the backup account in dir/restored-backup. Nothing is started yet.
func New(program, dir, source string) (*Node, error) {
	n := &Node{Dir: dir, program: program, keys: map[string]aws.Config{}}
	for _, a := range []struct{ name, account, resources string }{
		{"prod", Production, fmt.Sprintf("resources:\n  - {type: EFS, id: fs-0aaaaaaaaaaaaaaaa, path: %q}\n", source)},
		{"backup", Backup, ""},
	} {
		root := filepath.Join(dir, "restored-"+a.name)
		if err := os.MkdirAll(root, 0o755); err != nil {
			return nil, err
		}
		text := fmt.Sprintf("account: %q\nregion: %s\n%srestore:\n  EFS: {root: %q}\n", a.account, Region, a.resources, root)
		if err := os.WriteFile(filepath.Join(dir, a.name+".yaml"), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Start runs the process and waits until it serves. It can be called again after Kill and Stop; clients made before go on
// with the new address.
func (n *Node) Start(ctx context.Context) error {
	data := filepath.Join(n.Dir, "data")
	os.Remove(filepath.Join(data, server.EndpointFile))
	log, err := os.OpenFile(filepath.Join(n.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n.cmd = exec.Command(n.program, "serve", "--data", data, "--listen", "127.0.0.1:0", "--account-id", Management,
		"--agent", filepath.Join(n.Dir, "prod.yaml"), "--agent", filepath.Join(n.Dir, "backup.yaml"))
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { cmd.Wait(); log.Close(); close(ended) }(n.cmd, n.ended)
	for end := time.After(time.Minute); ; {
		raw, _ := os.ReadFile(filepath.Join(data, server.EndpointFile))
		if n.Endpoint = strings.TrimSpace(string(raw)); n.Endpoint != "" {
			break
		}
		select {
		case <-n.ended:
			return errors.New("the node ended at start; see " + log.Name())
		case <-end:
			return errors.New("the node did not start; see " + log.Name())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	n.connect()
	return nil
}

// connect makes the clients for the current address.
func (n *Node) connect() {
	for account, cfg := range n.keys {
		cfg.BaseEndpoint = &n.Endpoint
		switch account {
		case Production:
			n.Prod = awsbackup.NewFromConfig(cfg)
		case Backup:
			n.Other = awsbackup.NewFromConfig(cfg)
		}
	}
}

// Kill ends the process with SIGKILL and waits for its end.
func (n *Node) Kill() {
	n.cmd.Process.Kill()
	<-n.ended
}

// Stop ends the process with SIGTERM.
func (n *Node) Stop() error {
	n.cmd.Process.Signal(syscall.SIGTERM)
	<-n.ended
	if !n.cmd.ProcessState.Success() {
		return fmt.Errorf("the node ended with %s", n.cmd.ProcessState)
	}
	return nil
}

// PeakMemory is the largest resident size so far, in bytes.
func (n *Node) PeakMemory() (rss int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			rss = kb << 10
		}
	}
	return rss, nil
}
