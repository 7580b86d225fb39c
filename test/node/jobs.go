package node

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
)

// poll is how often jobs are asked for.
const poll = 25 * time.Millisecond

// Ended is a finished job.
type Ended struct {
	State, Message string
	ARN            string        // of what it made: recovery point or restored resource
	Took           time.Duration // from creation to completion, by the node's own clock
}

func (e Ended) err(what string) error {
	if e.State == "COMPLETED" {
		return nil
	}
	return fmt.Errorf("%s ended %s: %s", what, e.State, e.Message)
}

// StartBackup starts a backup of the source; token makes it idempotent.
func (n *Node) StartBackup(ctx context.Context, token string) (id string, err error) {
	j, err := n.Prod.StartBackupJob(ctx, &awsbackup.StartBackupJobInput{BackupVaultName: aws.String(Vault), ResourceArn: aws.String(FileSystem), IamRoleArn: aws.String(Role(Production)), IdempotencyToken: &token})
	if err != nil {
		return "", err
	}
	return *j.BackupJobId, nil
}

// WaitBackup waits for the end of a backup job.
func (n *Node) WaitBackup(ctx context.Context, id string) (e Ended, err error) {
	for ; ; time.Sleep(poll) {
		s, err := n.Prod.DescribeBackupJob(ctx, &awsbackup.DescribeBackupJobInput{BackupJobId: &id})
		if err != nil {
			return e, err
		}
		switch s.State {
		case types.BackupJobStateCreated, types.BackupJobStatePending, types.BackupJobStateRunning, types.BackupJobStateAborting:
			continue
		}
		return Ended{string(s.State), aws.ToString(s.StatusMessage), aws.ToString(s.RecoveryPointArn), s.CompletionDate.Sub(*s.CreationDate)}, nil
	}
}

// Backup makes a recovery point and waits for it.
func (n *Node) Backup(ctx context.Context) (Ended, error) {
	id, err := n.StartBackup(ctx, "")
	if err != nil {
		return Ended{}, err
	}
	e, err := n.WaitBackup(ctx, id)
	if err == nil {
		err = e.err("backup")
	}
	return e, err
}

// StartCopy starts a copy of a recovery point of production into the backup account.
func (n *Node) StartCopy(ctx context.Context, point, token string) (id string, err error) {
	j, err := n.Prod.StartCopyJob(ctx, &awsbackup.StartCopyJobInput{RecoveryPointArn: &point, SourceBackupVaultName: aws.String(Vault),
		DestinationBackupVaultArn: aws.String(VaultARN(Backup)), IamRoleArn: aws.String(Role(Production)), IdempotencyToken: &token})
	if err != nil {
		return "", err
	}
	return *j.CopyJobId, nil
}

// WaitCopy waits for the end of a copy job.
func (n *Node) WaitCopy(ctx context.Context, id string) (e Ended, err error) {
	for ; ; time.Sleep(poll) {
		s, err := n.Prod.DescribeCopyJob(ctx, &awsbackup.DescribeCopyJobInput{CopyJobId: &id})
		if err != nil {
			return e, err
		}
		switch s.CopyJob.State {
		case types.CopyJobStateCreated, types.CopyJobStateRunning:
			continue
		}
		return Ended{string(s.CopyJob.State), aws.ToString(s.CopyJob.StatusMessage), aws.ToString(s.CopyJob.DestinationRecoveryPointArn), s.CopyJob.CompletionDate.Sub(*s.CopyJob.CreationDate)}, nil
	}
}

// Copy copies a recovery point and waits for it.
func (n *Node) Copy(ctx context.Context, point string) (Ended, error) {
	id, err := n.StartCopy(ctx, point, "")
	if err != nil {
		return Ended{}, err
	}
	e, err := n.WaitCopy(ctx, id)
	if err == nil {
		err = e.err("copy")
	}
	return e, err
}

// Restore restores a recovery point of an account into a new file system and waits for it.
func (n *Node) Restore(ctx context.Context, account, point string) (e Ended, err error) {
	c := n.Prod
	if account == Backup {
		c = n.Other
	}
	j, err := c.StartRestoreJob(ctx, &awsbackup.StartRestoreJobInput{RecoveryPointArn: &point, IamRoleArn: aws.String(Role(account)), Metadata: map[string]string{"newFileSystem": "true"}})
	if err != nil {
		return e, err
	}
	for ; ; time.Sleep(poll) {
		s, err := c.DescribeRestoreJob(ctx, &awsbackup.DescribeRestoreJobInput{RestoreJobId: j.RestoreJobId})
		if err != nil {
			return e, err
		}
		switch s.Status {
		case types.RestoreJobStatusPending, types.RestoreJobStatusRunning:
			continue
		}
		e = Ended{string(s.Status), aws.ToString(s.StatusMessage), aws.ToString(s.CreatedResourceArn), s.CompletionDate.Sub(*s.CreationDate)}
		return e, e.err("restore")
	}
}
