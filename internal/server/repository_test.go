package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	"golang.org/x/sys/unix"

	"strongroom/internal/backup"
	"strongroom/internal/job"
	"strongroom/internal/preflight"
	"strongroom/internal/repo"
)

const protected = "fs-0aaaaaaaaaaaaaaaa"

// start begins a backup of the protected file system into a vault.
func start(t *testing.T, c clients, vault, roleARN string) (id string) {
	t.Helper()
	j, err := c.backup.StartBackupJob(t.Context(), &awsbackup.StartBackupJobInput{BackupVaultName: &vault, IamRoleArn: &roleARN,
		ResourceArn: aws.String("arn:aws:elasticfilesystem:us-east-1:" + production + ":file-system/" + protected)})
	check(t, err)
	return *j.BackupJobId
}

// attempt runs the one job of a kind that is due and returns what the queue would get.
func (n *node) attempt(t *testing.T, kind job.Kind) (l job.Lease, err error) {
	t.Helper()
	l, ok, err := n.queue.Claim(t.Context(), kind)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return l, n.runner.Handlers(1)[kind].Run(t.Context(), l)
}

// A node that dies while it makes a vault's repository leaves a wrapped key and nothing else.
func TestARepositoryThatWasNotFinishedIsMadeAnew(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	roleARN := role(t, prod, "all")
	n.protect(t, prod, roleARN, protected)
	_, err := prod.backup.CreateBackupVault(t.Context(), &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("new")})
	check(t, err)
	v, err := n.backup.Vault(t.Context(), production, "us-east-1", "new")
	check(t, err)
	_, wrapped, err := n.kms.GenerateDataKey(t.Context(), v.KeyARN, preflight.EncryptionContext(v.ARN()), repo.KeySize)
	check(t, err)
	s, err := n.runner.Vaults.Store("us-east-1", v.Repository)
	check(t, err)
	check(t, repo.AddEnvelope(t.Context(), s, repo.Envelope{Kind: "kms", KeyID: v.KeyARN, Blob: wrapped}))
	check(t, n.runner.Prune(t.Context()))
	id := start(t, prod, "new", roleARN)
	n.work(t, backup.BackupKind)
	d, err := prod.backup.DescribeBackupJob(t.Context(), &awsbackup.DescribeBackupJobInput{BackupJobId: &id})
	check(t, err)
	if d.State != backuptypes.BackupJobStateCompleted {
		t.Errorf("%s: %s", d.State, aws.ToString(d.StatusMessage))
	}
	check(t, n.runner.Prune(t.Context()))
}

// When the disk of a region is not mounted, its vaults look as if they had never been used. They do not begin anew there,
// and what they hold is not struck off the catalog.
func TestAVaultWhoseBytesAreAwayIsNotTakenForANewOne(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	roleARN := role(t, prod, "all")
	point := n.protect(t, prod, roleARN, protected)
	v, err := n.backup.Vault(t.Context(), production, "us-east-1", "Default")
	check(t, err)
	dir := filepath.Join(n.data.path, "regions", "us-east-1", "vaults", v.Repository)
	check(t, os.Rename(dir, dir+".away"))

	start(t, prod, "Default", roleARN)
	l, err := n.attempt(t, backup.BackupKind)
	if err == nil {
		t.Fatal("the backup went elsewhere")
	}
	check(t, n.runner.Handlers(1)[backup.BackupKind].GiveUp(t.Context(), l, err))
	_, err = prod.backup.DeleteRecoveryPoint(t.Context(), &awsbackup.DeleteRecoveryPointInput{BackupVaultName: aws.String("Default"), RecoveryPointArn: &point})
	check(t, err)
	n.work(t, backup.DeleteKind)
	d, err := prod.backup.DescribeRecoveryPoint(t.Context(), &awsbackup.DescribeRecoveryPointInput{BackupVaultName: aws.String("Default"), RecoveryPointArn: &point})
	check(t, err)
	if d.Status != backuptypes.RecoveryPointStatusExpired || !strings.Contains(aws.ToString(d.StatusMessage), "could not be deleted") {
		t.Errorf("%s: %s", d.Status, aws.ToString(d.StatusMessage))
	}

	check(t, os.RemoveAll(dir))
	check(t, os.Rename(dir+".away", dir))
	n.backUp(t, prod, roleARN, protected)
}

// A restore that cannot give back what was asked for is no success, also when the recovery point said so from the first.
func TestARestoreOfWhatWasNotReadFaithfullyFails(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	roleARN := role(t, prod, "all")
	n.protect(t, prod, roleARN, protected)
	src := n.source(t)
	ts := unix.Timespec{Sec: 13_569_465_600} // the year 2400, which recovery points do not keep
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(src, "file"), []unix.Timespec{ts, ts}, 0))
	id := start(t, prod, "Default", roleARN)
	n.work(t, backup.BackupKind)
	d, err := prod.backup.DescribeBackupJob(t.Context(), &awsbackup.DescribeBackupJobInput{BackupJobId: &id})
	check(t, err)
	if d.State != backuptypes.BackupJobStatePartial {
		t.Fatalf("%s: %s", d.State, aws.ToString(d.StatusMessage))
	}
	for items, want := range map[string]backuptypes.RestoreJobStatus{"": backuptypes.RestoreJobStatusFailed, `["/file"]`: backuptypes.RestoreJobStatusFailed, `["/sound"]`: backuptypes.RestoreJobStatusCompleted} {
		j, err := prod.backup.StartRestoreJob(t.Context(), &awsbackup.StartRestoreJobInput{RecoveryPointArn: d.RecoveryPointArn, IamRoleArn: &roleARN,
			Metadata: map[string]string{"newFileSystem": "true", "Encrypted": "false", "ItemsToRestore": items}})
		check(t, err)
		n.work(t, backup.RestoreKind)
		r, err := prod.backup.DescribeRestoreJob(t.Context(), &awsbackup.DescribeRestoreJobInput{RestoreJobId: j.RestoreJobId})
		check(t, err)
		message := aws.ToString(r.StatusMessage)
		if r.Status != want || want == backuptypes.RestoreJobStatusFailed && !strings.Contains(message, "modification time") {
			t.Errorf("%q: %s: %s", items, r.Status, message)
		}
	}
}

// source is the directory of the protected file system, with one more file in it.
func (n *node) source(t *testing.T) string {
	t.Helper()
	path := n.agents.Files()[0].Resources[0].Path
	write(t, filepath.Join(path, "sound"), "as it should be")
	return path
}
