package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"strongroom/internal/arn"
)

// watchIt follows the scheduled backup and the copy that its completion starts.
func (s *story) watchIt(ctx context.Context) error {
	s.say.chapter("The scheduled run")
	prod := s.accounts[production].backup
	bar := s.say.bar("backup")
	var job *backuptypes.BackupJob
	err := s.poll(ctx, 30*time.Minute, "the scheduled backup", func() (bool, error) {
		out, err := prod.ListBackupJobs(ctx, &awsbackup.ListBackupJobsInput{})
		if err != nil {
			return false, err
		}
		for _, j := range out.BackupJobs {
			if j.CreatedBy == nil || aws.ToString(j.CreatedBy.BackupPlanId) != s.plan {
				continue
			}
			bar.Update(aws.ToInt64(j.BytesTransferred), s.sum.BackedUp)
			switch j.State {
			case backuptypes.BackupJobStateCompleted:
				job = &j
				return true, nil
			case backuptypes.BackupJobStateFailed, backuptypes.BackupJobStateExpired, backuptypes.BackupJobStateAborted, backuptypes.BackupJobStatePartial:
				return false, fmt.Errorf("the backup ended %s: %s", j.State, aws.ToString(j.StatusMessage))
			}
		}
		return false, nil
	})
	bar.Done()
	if err != nil {
		return err
	}
	s.backupID = aws.ToString(job.BackupJobId)
	s.sum.BackupSec = job.CompletionDate.Sub(*job.CreationDate).Seconds()
	s.say.did("backup COMPLETED", "COMPLETED is said only of what restores bit for bit; anything less ends PARTIAL or FAILED and says why", "aws backup describe-backup-job --backup-job-id "+s.backupID)

	bar = s.say.bar("copy")
	var cp *backuptypes.CopyJob
	err = s.poll(ctx, 30*time.Minute, "the copy", func() (bool, error) {
		out, err := prod.ListCopyJobs(ctx, &awsbackup.ListCopyJobsInput{ByDestinationVaultArn: aws.String(vaultARN())})
		if err != nil || len(out.CopyJobs) == 0 {
			return false, err
		}
		j := out.CopyJobs[0]
		bar.Update(aws.ToInt64(j.BackupSizeInBytes), s.sum.BackedUp)
		switch j.State {
		case backuptypes.CopyJobStateCompleted:
			cp = &j
			return true, nil
		case backuptypes.CopyJobStateFailed, backuptypes.CopyJobStatePartial:
			return false, fmt.Errorf("the copy ended %s: %s", j.State, aws.ToString(j.StatusMessage))
		}
		return false, nil
	})
	bar.Done()
	if err != nil {
		return err
	}
	s.copy = aws.ToString(cp.DestinationRecoveryPointArn)
	s.sum.CopySec = cp.CompletionDate.Sub(*cp.CreationDate).Seconds()
	if s.sum.Stored, err = diskUsage(filepath.Join(s.scratch, "node", "regions")); err != nil {
		return err
	}
	s.sum.Stored /= 2 // both vaults hold the same chunks, each under its own key
	s.say.did("copy COMPLETED: "+s.copy, "re-encrypted under the backup account's key; production has no right on it", "aws backup describe-copy-job --copy-job-id "+aws.ToString(cp.CopyJobId))
	return nil
}

func diskUsage(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// attack plays whoever has taken over the production account: everything there is destroyed, the copy is attacked.
func (s *story) attack(ctx context.Context) error {
	s.say.chapter("Production is taken over: an attacker has every right in that account")
	c := s.accounts[production]
	attempts := []struct {
		what, command string
		do            func() error
	}{
		{"delete the copy", "aws backup delete-recovery-point --backup-vault-name " + vaultName + " --recovery-point-arn " + s.copy, func() error {
			_, err := c.backup.DeleteRecoveryPoint(ctx, &awsbackup.DeleteRecoveryPointInput{BackupVaultName: aws.String(vaultName), RecoveryPointArn: &s.copy})
			return err
		}},
		{"read the copy by restoring it", "aws backup start-restore-job --recovery-point-arn " + s.copy + " ...", func() error {
			_, err := c.backup.StartRestoreJob(ctx, &awsbackup.StartRestoreJobInput{RecoveryPointArn: &s.copy, IamRoleArn: aws.String(role(production)), Metadata: map[string]string{"newFileSystem": "true"}})
			return err
		}},
		{"delete the key of the copy", "aws kms schedule-key-deletion --key-id " + s.dstKey + " --pending-window-in-days 7", func() error {
			_, err := c.kms.ScheduleKeyDeletion(ctx, &awskms.ScheduleKeyDeletionInput{KeyId: &s.dstKey, PendingWindowInDays: aws.Int32(7)})
			return err
		}},
		{"disable the key of the copy", "aws kms disable-key --key-id " + s.dstKey, func() error {
			_, err := c.kms.DisableKey(ctx, &awskms.DisableKeyInput{KeyId: &s.dstKey})
			return err
		}},
		{"switch off cross-account backup", "aws backup update-global-settings --global-settings isCrossAccountBackupEnabled=false", func() error {
			_, err := c.backup.UpdateGlobalSettings(ctx, &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "false"}})
			return err
		}},
		{"walk into the backup account", "aws sts assume-role --role-arn " + arn.Make("iam", "", backupAcct, "role/OrganizationAccountAccessRole") + " --role-session-name x", func() error {
			_, err := c.assume(ctx, s.endpoint, arn.Make("iam", "", backupAcct, "role/OrganizationAccountAccessRole"), "attack")
			return err
		}},
	}
	for _, a := range attempts {
		err := a.do()
		if err == nil {
			return fmt.Errorf("the attack %q was not refused", a.what)
		}
		var api smithy.APIError
		if !errors.As(err, &api) {
			return fmt.Errorf("attack %q: %w", a.what, err)
		}
		s.say.refused(a.what, a.command, api.ErrorCode()+": "+api.ErrorMessage())
	}
	return s.wipe(ctx)
}

// wipe destroys production's own data, recovery points and key, which its owner may.
func (s *story) wipe(ctx context.Context) error {
	c := s.accounts[production]
	points, err := c.backup.ListRecoveryPointsByBackupVault(ctx, &awsbackup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: aws.String(sourceName)})
	if err != nil {
		return err
	}
	for _, p := range points.RecoveryPoints {
		if _, err := c.backup.DeleteRecoveryPoint(ctx, &awsbackup.DeleteRecoveryPointInput{BackupVaultName: aws.String(sourceName), RecoveryPointArn: p.RecoveryPointArn}); err != nil {
			return err
		}
	}
	err = s.poll(ctx, time.Minute, "deleting production's recovery points", func() (bool, error) {
		out, err := c.backup.ListRecoveryPointsByBackupVault(ctx, &awsbackup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: aws.String(sourceName)})
		return err == nil && len(out.RecoveryPoints) == 0, err
	})
	if err != nil {
		return err
	}
	if _, err := c.kms.ScheduleKeyDeletion(ctx, &awskms.ScheduleKeyDeletionInput{KeyId: &s.srcKey, PendingWindowInDays: aws.Int32(7)}); err != nil {
		return err
	}
	if err := removeAll(s.data()); err != nil {
		return err
	}
	s.say.did("production's files, recovery points and key are gone", "what an account owns it can destroy; the copy is not its own", "rm -rf "+s.data())
	return nil
}

// restore brings the data back in the backup account, from the copy alone, and compares it with what was there before.
func (s *story) restore(ctx context.Context) error {
	s.say.chapter("Recovery, in the backup account, from the copy alone")
	begun := s.clock.Now()
	c := s.accounts[backupAcct].backup
	job, err := c.StartRestoreJob(ctx, &awsbackup.StartRestoreJobInput{RecoveryPointArn: &s.copy, IamRoleArn: aws.String(role(backupAcct)),
		Metadata: map[string]string{"newFileSystem": "true", "CreationToken": "demo", "Encrypted": "false", "PerformanceMode": "generalPurpose"}})
	if err != nil {
		return err
	}
	bar := s.say.bar("restore")
	var created string
	err = s.poll(ctx, 30*time.Minute, "the restore", func() (bool, error) {
		out, err := c.DescribeRestoreJob(ctx, &awsbackup.DescribeRestoreJobInput{RestoreJobId: job.RestoreJobId})
		if err != nil {
			return false, err
		}
		bar.Update(aws.ToInt64(out.BackupSizeInBytes), s.sum.BackedUp)
		switch out.Status {
		case backuptypes.RestoreJobStatusCompleted:
			created = aws.ToString(out.CreatedResourceArn)
			return true, nil
		case backuptypes.RestoreJobStatusFailed, backuptypes.RestoreJobStatusAborted:
			return false, fmt.Errorf("the restore ended %s: %s", out.Status, aws.ToString(out.StatusMessage))
		}
		return false, nil
	})
	bar.Done()
	if err != nil {
		return err
	}
	s.say.did("restore COMPLETED into "+created, "no key and no right of production's was used", "aws backup start-restore-job --recovery-point-arn "+s.copy+" --iam-role-arn "+role(backupAcct)+` --metadata '{"newFileSystem":"true",...}'`)
	fs := created[strings.LastIndex(created, "/")+1:]
	dirs, err := filepath.Glob(filepath.Join(s.scratch, "restored-backup", fs, "aws-backup-restore_*"))
	if err != nil || len(dirs) != 1 {
		return fmt.Errorf("expected one restored directory below %s, found %d", fs, len(dirs))
	}
	bar = s.say.bar("verify")
	after, err := inventory(dirs[0], func(n int64) { bar.Update(n, s.sum.BackedUp) })
	bar.Done()
	if err != nil {
		return err
	}
	s.sum.RTO = s.clock.Now().Sub(begun).Seconds()
	if d := difference(s.before, after); d != "" {
		return fmt.Errorf("the restored files differ: %s", d)
	}
	s.sum.Identical = true
	s.say.did(fmt.Sprintf("compared %d objects: identical in content, type, mode, owner, times, links and attributes", len(after)), "a backup that has not been restored is a hope", "")
	return nil
}
