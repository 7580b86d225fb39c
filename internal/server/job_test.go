package server

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/backup"
	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/job"
)

// byHand ends the scene's background work, and opens its directory again, so that a test claims and runs jobs itself.
func (s *scene) byHand() *node {
	s.t.Helper()
	check(s.t, s.stop())
	check(s.t, s.Close())
	srv, err := Open(s.t.Context(), s.cfg)
	check(s.t, err)
	s.t.Cleanup(func() { srv.Close() })
	return &node{Server: srv}
}

// kept lists what the repository of a vault holds.
func (n *node) kept(t *testing.T, account, vault string) int {
	t.Helper()
	v, err := n.backup.Vault(t.Context(), account, "us-east-1", vault)
	check(t, err)
	r, err := n.runner.Vaults.Maintain(t.Context(), "us-east-1", v.Repository)
	check(t, err)
	if r == nil {
		return 0
	}
	defer r.Close()
	list, err := r.List(t.Context())
	check(t, err)
	return len(list)
}

// forbid makes the catalog refuse to record a job's success.
func (n *node) forbid(t *testing.T, table string) {
	t.Helper()
	check(t, n.db.Update(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "CREATE TRIGGER forbid_"+table+" BEFORE UPDATE ON "+table+" WHEN NEW.state = 'COMPLETED' BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
		return err
	}))
}

// A body that has committed its data and cannot record it runs again; when the queue gives up, the data does not stay
// behind in a vault whose catalog knows nothing of it.
func TestFailedJobsLeaveNoDataBehind(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	n := s.byHand()
	n.forbid(t, "backup_job")
	n.forbid(t, "copy_job")
	if got := n.kept(t, prodAccount, "prod"); got != 1 {
		t.Fatalf("%d recovery points to begin with", got)
	}

	b, err := n.backup.StartBackup(t.Context(), prodAccount, "us-east-1", backup.BackupRequest{Vault: "prod", ResourceARN: prodFiles, RoleARN: prodRole})
	check(t, err)
	n.fail(t, backup.BackupKind, func() {
		if got := n.kept(t, prodAccount, "prod"); got != 2 {
			t.Errorf("the backup was not committed: %d recovery points", got)
		}
	})
	if j, err := n.backup.BackupJob(t.Context(), prodAccount, "us-east-1", b.ID); err != nil || j.State != backup.StateFailed || !strings.Contains(j.Message, "an internal error occurred") || strings.Contains(j.Message, "disk is full") {
		t.Errorf("job %s %q, %v", j.State, j.Message, err)
	}
	if got := n.kept(t, prodAccount, "prod"); got != 1 {
		t.Errorf("%d recovery points after the failure, want the one that there was", got)
	}

	c, err := n.backup.StartCopy(t.Context(), prodAccount, "us-east-1", backup.CopyRequest{PointARN: s.point, SourceVault: "prod", DestinationVaultARN: copiesVault, RoleARN: prodRole})
	check(t, err)
	n.fail(t, backup.CopyKind, func() {
		if got := n.kept(t, copiesAccount, "copies"); got != 1 {
			t.Errorf("the copy was not committed: %d recovery points", got)
		}
	})
	if j, err := n.backup.CopyJob(t.Context(), prodAccount, "us-east-1", c.ID); err != nil || j.State != backup.StateFailed {
		t.Errorf("job %s %q, %v", j.State, j.Message, err)
	}
	if got := n.kept(t, copiesAccount, "copies"); got != 0 {
		t.Errorf("%d copies after the failure", got)
	}
}

// fail runs the only job of a kind, which must fail, and gives up on it.
func (n *node) fail(t *testing.T, kind job.Kind, between func()) {
	t.Helper()
	l, ok, err := n.queue.Claim(t.Context(), kind)
	check(t, err)
	if !ok {
		t.Fatalf("no %s job", kind)
	}
	h := n.runner.Handlers(1)[kind]
	err = h.Run(t.Context(), l)
	if err == nil || fault.As(err) != nil || job.IsPermanent(err) {
		t.Fatalf("want a failure to try again, got %v", err)
	}
	between()
	check(t, h.GiveUp(t.Context(), l, err))
}

// A stop that arrives when everything is written counts: the job is ABORTED, and its data is gone.
func TestStoppedAfterTheCommit(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	n := s.byHand()
	n.forbid(t, "backup_job")
	b, err := n.backup.StartBackup(t.Context(), prodAccount, "us-east-1", backup.BackupRequest{Vault: "prod", ResourceARN: prodFiles, RoleARN: prodRole})
	check(t, err)
	l, _, err := n.queue.Claim(t.Context(), backup.BackupKind)
	check(t, err)
	h := n.runner.Handlers(1)[backup.BackupKind]
	if err := h.Run(t.Context(), l); err == nil {
		t.Fatal("the job could be recorded")
	}
	if got := n.kept(t, prodAccount, "prod"); got != 2 {
		t.Fatalf("the backup was not committed: %d recovery points", got)
	}
	check(t, n.backup.StopBackup(t.Context(), prodAccount, "us-east-1", b.ID))
	if err := h.Run(t.Context(), l); !errors.Is(err, job.ErrEnded) {
		t.Fatalf("the next attempt: %v", err)
	}
	if j, err := n.backup.BackupJob(t.Context(), prodAccount, "us-east-1", b.ID); err != nil || j.State != backup.StateAborted {
		t.Errorf("job %s %q, %v", j.State, j.Message, err)
	}
	if got := n.kept(t, prodAccount, "prod"); got != 1 {
		t.Errorf("%d recovery points, want the one that there was", got)
	}
}

// Retention ends by itself, bytes are freed, and what is still kept is not touched. A date that was moved while the node
// was off deletes nothing.
func TestExpiryAndPrune(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(time.Now())
	s := newSceneAt(t, fake)
	ctx := t.Context()
	write(t, filepath.Join(s.files, "big"), rand.Text()+strings.Repeat("0123456789abcdef", 1<<12))
	short := s.backupWith(&awsbackup.StartBackupJobInput{Lifecycle: days(1)})
	check(t, os.Remove(filepath.Join(s.files, "big")))
	long := s.backupWith(&awsbackup.StartBackupJobInput{Lifecycle: days(30)})
	there := func(srv *Server, arn string) bool {
		_, err := srv.backup.RecoveryPoint(ctx, prodAccount, "us-east-1", "prod", arn)
		if err != nil && !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	fake.Advance(23 * time.Hour)
	check(t, s.runner.Expire(ctx))
	if !there(s.Server, short) {
		t.Fatal("expired an hour early")
	}
	fake.Advance(2 * time.Hour)
	check(t, s.runner.Expire(ctx))
	for end := time.Now().Add(30 * time.Second); there(s.Server, short); pause() {
		if time.Now().After(end) {
			t.Fatal("it does not expire")
		}
	}
	if !there(s.Server, long) || !there(s.Server, s.point) {
		t.Error("a recovery point went before its time")
	}
	n := &node{Server: s.Server}
	if got := n.kept(t, prodAccount, "prod"); got != 2 {
		t.Errorf("the repository keeps %d recovery points", got)
	}
	before := used(t, filepath.Join(s.cfg.Data, "regions"))
	fake.Advance(48 * time.Hour) // the hourly prune is due; what was written lately might belong to a backup that runs
	for end := time.Now().Add(30 * time.Second); used(t, filepath.Join(s.cfg.Data, "regions")) >= before; pause() {
		if time.Now().After(end) {
			t.Fatalf("pruning frees nothing of %d bytes", before)
		}
	}

	check(t, s.stop())
	check(t, s.Close())
	fake.Advance(60 * 24 * time.Hour)
	srv, err := Open(ctx, s.cfg)
	check(t, err)
	defer srv.Close()
	if !srv.trusted.Read().Frozen {
		t.Fatal("the clocks agree about sixty days off")
	}
	check(t, srv.runner.Expire(ctx))
	if !there(srv, long) {
		t.Error("a date that was moved deleted a recovery point")
	}
}

func days(n int64) *backuptypes.Lifecycle {
	return &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(n)}
}

// used adds up the files below a directory.
func used(t *testing.T, dir string) (sum int64) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the node frees space meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	}))
	return sum
}

// A job that is ended before it begins again, because it was stopped or came too late, may have been done but for the record
// of it.
func TestEndedBeforeTheNextAttempt(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	n := s.byHand()
	n.forbid(t, "backup_job")
	b, err := n.backup.StartBackup(t.Context(), prodAccount, "us-east-1", backup.BackupRequest{Vault: "prod", ResourceARN: prodFiles, RoleARN: prodRole})
	check(t, err)
	l, _, err := n.queue.Claim(t.Context(), backup.BackupKind)
	check(t, err)
	h := n.runner.Handlers(1)[backup.BackupKind]
	if err := h.Run(t.Context(), l); err == nil || n.kept(t, prodAccount, "prod") != 2 {
		t.Fatalf("not committed, or recorded: %v", err)
	}
	check(t, n.backup.StopBackup(t.Context(), prodAccount, "us-east-1", b.ID))
	if err := h.Run(t.Context(), l); err != nil && !errors.Is(err, job.ErrEnded) {
		t.Fatal(err)
	}
	if j, err := n.backup.BackupJob(t.Context(), prodAccount, "us-east-1", b.ID); err != nil || j.State != backup.StateAborted {
		t.Errorf("job %s %q, %v", j.State, j.Message, err)
	}
	if got := n.kept(t, prodAccount, "prod"); got != 1 {
		t.Errorf("%d recovery points, want the one that there was", got)
	}
}
