package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary doubles as the program: scripts run `strongroom` as a real process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"strongroom": main})
}

// Every script in test/e2e is a story told with the real aws CLI against the real program.
//
// Commands besides testscript's own:
//
//	serve NAME FLAGS...             starts a node on $WORK/NAME and makes it the one that aws talks to
//	end NAME [SIGNAL [CODE]]        ends a node (default KILL) and waits for it, and for that exit code
//	as PROFILE aws-args...          runs aws with the credentials of PROFILE (file creds.PROFILE)
//	let VAR PROFILE aws-args...     the same, keeping the trimmed text output in $VAR
//	await SECONDS WANT PROFILE aws-args...  repeats until the text output matches WANT; fails on a state that ends otherwise
//	login PROFILE FROM ROLE-ARN     assumes a role with the credentials of FROM
//	access-key PROFILE FROM USER    makes an access key for USER
//	same DIR DIR                    compares two trees: types, modes, owners, times, links, bytes
//	scene LINES...                  starts a node with an organization, two accounts, vaults and policies (scene_test.go)
//	backup PROFILE VAULT ARN        makes a recovery point and leaves its ARN in $MADE
//	copy STATE [DAYS]               copies $RP to $COPIES and waits for that state
//	abort PROFILE VAULT ARN STATE    starts a backup and stops it while it is CREATED or RUNNING; leaves $JOB
//	ended PROFILE KIND ID STATE     waits for a job; leaves $MESSAGE, $CATEGORY, $MADE
//	says VAR WORDS...               each of the words is in $VAR
func TestStories(t *testing.T) {
	if _, err := exec.LookPath("aws"); err != nil {
		t.Fatal("the aws CLI is needed: run scripts/install-test-tools")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "test", "e2e"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "REGION=us-east-1", "HOME="+e.WorkDir, "AWS_CONFIG_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true", "PYTHONDONTWRITEBYTECODE=1")
			for _, keep := range []string{"PYENV_VERSION", "PYENV_ROOT", "LANG"} {
				if v := os.Getenv(keep); v != "" {
					e.Vars = append(e.Vars, keep+"="+v)
				}
			}
			if root, err := os.UserHomeDir(); err == nil && os.Getenv("PYENV_ROOT") == "" {
				e.Vars = append(e.Vars, "PYENV_ROOT="+filepath.Join(root, ".pyenv"))
			}
			e.Values[nodesKey{}] = map[string]*process{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "end": cmdEnd, "as": cmdAs, "let": cmdLet, "await": cmdAwait, "login": cmdLogin, "access-key": cmdAccessKey, "same": cmdSame,
			"scene": cmdScene, "ended": cmdEnded, "says": cmdSays, "backup": cmdBackup, "copy": cmdCopy, "abort": cmdAbort,
		},
	})
}

type nodesKey struct{}

// process is a node that was started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has been waited for
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve NAME FLAGS...")
	}
	name := args[0]
	dir := ts.MkAbs(name)
	os.Remove(filepath.Join(dir, "endpoint"))
	log, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	program, err := exec.LookPath(filepath.Join(firstPath(ts), "strongroom"))
	ts.Check(err)
	cmd := exec.Command(program, append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+os.Getenv("GOCOVERDIR"))
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	ts.Value(nodesKey{}).(map[string]*process)[name] = &process{cmd, ended}
	go func() { cmd.Wait(); close(ended); log.Close() }()
	ts.Defer(func() { cmd.Process.Kill(); <-ended })
	deadline := time.After(60 * time.Second)
	for {
		if raw, err := os.ReadFile(filepath.Join(dir, "endpoint")); err == nil && len(raw) > 0 {
			ts.Setenv("ENDPOINT", strings.TrimSpace(string(raw)))
			creds, err := os.ReadFile(filepath.Join(dir, "credentials"))
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs("creds.root"), creds, 0o600))
			return
		}
		select {
		case <-ended:
			raw, _ := os.ReadFile(dir + ".log")
			ts.Fatalf("node %s ended: %s", name, raw)
		case <-deadline:
			ts.Fatalf("node %s did not get ready", name)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// firstPath is where testscript put the test binary under the program's name.
func firstPath(ts *testscript.TestScript) string {
	return filepath.SplitList(ts.Getenv("PATH"))[0]
}

func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: end NAME [SIGNAL [CODE]]")
	}
	p := ts.Value(nodesKey{}).(map[string]*process)[args[0]]
	sig := syscall.SIGKILL
	if len(args) > 1 && args[1] == "TERM" {
		sig = syscall.SIGTERM
	}
	ts.Check(p.cmd.Process.Signal(sig))
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		ts.Fatalf("node %s does not end", args[0])
	}
	if len(args) > 2 && strconv.Itoa(p.cmd.ProcessState.ExitCode()) != args[2] {
		ts.Fatalf("node %s ended with %s, want %s", args[0], p.cmd.ProcessState, args[2])
	}
}

// awsCLI runs the aws CLI and returns its output.
func awsCLI(ts *testscript.TestScript, profile string, args []string) (stdout, stderr string, err error) {
	cmd := exec.Command("aws", append([]string{"--endpoint-url", ts.Getenv("ENDPOINT"), "--region", ts.Getenv("REGION")}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "AWS_SHARED_CREDENTIALS_FILE="+ts.MkAbs("creds."+profile), "AWS_CONFIG_FILE=/dev/null", "AWS_PAGER=", "AWS_PROFILE=default", "AWS_MAX_ATTEMPTS=1")
	var out, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &e
	err = cmd.Run()
	return out.String(), e.String(), err
}

func cmdAs(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: as PROFILE aws-args...")
	}
	stdout, stderr, err := awsCLI(ts, args[0], args[1:])
	fmt.Fprint(ts.Stdout(), stdout)
	fmt.Fprint(ts.Stderr(), stderr)
	if neg && err == nil {
		ts.Fatalf("accepted, but should have been refused: aws %s", strings.Join(args[1:], " "))
	}
	if !neg && err != nil {
		ts.Fatalf("aws %s: %v\n%s", strings.Join(args[1:], " "), err, stderr)
	}
}

func cmdLet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: let VAR PROFILE aws-args...")
	}
	stdout, stderr, err := awsCLI(ts, args[1], append(args[2:], "--output", "text"))
	if err != nil {
		ts.Fatalf("aws %s: %v\n%s", strings.Join(args[2:], " "), err, stderr)
	}
	ts.Setenv(args[0], strings.TrimSpace(stdout))
}

var endStates = regexp.MustCompile(`^(COMPLETED|FAILED|EXPIRED|ABORTED|PARTIAL|SUCCEEDED)$`)

func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: await SECONDS WANT PROFILE aws-args...")
	}
	limit, err := strconv.Atoi(args[0])
	ts.Check(err)
	want := regexp.MustCompile("^(" + args[1] + ")$")
	last := ""
	for end := time.Now().Add(time.Duration(limit) * time.Second); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		stdout, stderr, err := awsCLI(ts, args[2], append(args[3:], "--output", "text"))
		if err != nil {
			ts.Fatalf("aws %s: %v\n%s", strings.Join(args[3:], " "), err, stderr)
		}
		last = strings.TrimSpace(stdout)
		if want.MatchString(last) {
			return
		}
		if endStates.MatchString(last) {
			break
		}
	}
	ts.Fatalf("aws %s: %q, want %s", strings.Join(args[3:], " "), last, args[1])
}

func cmdLogin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: login PROFILE FROM ROLE-ARN")
	}
	saveKey(ts, args[0], args[1], "sts", "assume-role", "--role-arn", args[2], "--role-session-name", "e2e", "--query", "Credentials.[AccessKeyId,SecretAccessKey,SessionToken]")
}

func cmdAccessKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: access-key PROFILE FROM USER")
	}
	saveKey(ts, args[0], args[1], "iam", "create-access-key", "--user-name", args[2], "--query", "AccessKey.[AccessKeyId,SecretAccessKey]")
}

func saveKey(ts *testscript.TestScript, profile, from string, args ...string) {
	stdout, stderr, err := awsCLI(ts, from, append(args, "--output", "text"))
	if err != nil {
		ts.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	f := strings.Fields(stdout)
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", f[0], f[1])
	if len(f) > 2 {
		text += "aws_session_token = " + f[2] + "\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs("creds."+profile), []byte(text), 0o600))
}

// cmdSame compares trees with GNU find and sha256sum, not with code of this project.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same DIR DIR")
	}
	a, err := listing(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := listing(ts.MkAbs(args[1]))
	ts.Check(err)
	if (a == b) == neg {
		ts.Fatalf("same %s %s:\n--- %s\n+++ %s", args[0], args[1], a, b)
	}
}
