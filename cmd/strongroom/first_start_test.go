package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"strongroom/internal/server"
)

// A first start that is killed as soon as a file of the data directory appears, whichever it is, is finished by the next one:
// one account, credentials that work and that only the owner can read.
func TestKilledDuringTheFirstStart(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"lock", "keys", "clock/compliance.json", "catalog.db", "keys/seal.key", "credentials", "strongroom.json", "endpoint"} {
		t.Run(strings.ReplaceAll(file, "/", "-"), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "node")
			cmd, ended := serve(t, dir)
			await(t, filepath.Join(dir, file), ended)
			cmd.Process.Kill()
			<-ended
			os.Remove(filepath.Join(dir, "endpoint")) // to see the new one

			cmd, ended = serve(t, dir)
			await(t, filepath.Join(dir, "endpoint"), ended)
			info, err := os.Stat(filepath.Join(dir, server.CredentialsFile))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("credentials: %v, %v", info, err)
			}
			key, err := server.ReadCredentials(filepath.Join(dir, server.CredentialsFile))
			if err != nil {
				t.Fatal(err)
			}
			url, err := os.ReadFile(filepath.Join(dir, "endpoint"))
			if err != nil {
				t.Fatal(err)
			}
			sts := awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String(strings.TrimSpace(string(url))), Credentials: aws.CredentialsProviderFunc(
				func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
				})})
			me, err := sts.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
			if err != nil || *me.Account != "999999999999" {
				t.Errorf("%v, %v", me, err)
			}
			cmd.Process.Signal(os.Interrupt)
			<-ended
			if !cmd.ProcessState.Success() {
				t.Errorf("ended with %s", cmd.ProcessState)
			}
		})
	}
}

// serve starts a node as a process of its own.
func serve(t *testing.T, dir string) (*exec.Cmd, chan struct{}) {
	t.Helper()
	program, err := exec.LookPath("strongroom") // testscript.Main has put this test's binary into PATH under the name
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--account-id", "999999999999")
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+t.TempDir())
	cmd.Args = append(cmd.Args, "--log-level", "error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	return cmd, ended
}

// await waits until a file is there, looking as often as it can: the moment is what the test is about.
func await(t *testing.T, path string, ended chan struct{}) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		_, err := os.Stat(path)
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		select {
		case <-ended:
			if _, err := os.Stat(path); err == nil {
				return
			}
			t.Fatalf("the node ended before %s was there", path)
		case <-time.After(100 * time.Microsecond):
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not appear", path)
		}
	}
}
