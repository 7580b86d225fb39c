package backupapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/schemas"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/access"
	"strongroom/internal/backup"
	"strongroom/internal/wire"
)

func (a *API) backupJobOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("StartBackupJob", schemas.StartBackupJob, schemas.StartBackupJobInput, schemas.StartBackupJobOutput, startBackupChecks, a.startBackup),
		wire.Op("DescribeBackupJob", schemas.DescribeBackupJob, schemas.DescribeBackupJobInput, schemas.DescribeBackupJobOutput,
			onAll[awsbackup.DescribeBackupJobInput]("DescribeBackupJob"), a.describeBackupJob),
		wire.Op("ListBackupJobs", schemas.ListBackupJobs, schemas.ListBackupJobsInput, schemas.ListBackupJobsOutput,
			onAll[awsbackup.ListBackupJobsInput]("ListBackupJobs"), a.listBackupJobs),
		wire.Op("StopBackupJob", schemas.StopBackupJob, schemas.StopBackupJobInput, nil,
			onAll[awsbackup.StopBackupJobInput]("StopBackupJob"), a.stopBackup),
	}
}

func startBackupChecks(_ context.Context, c wire.Caller, in *awsbackup.StartBackupJobInput) ([]access.Check, error) {
	start := access.Check{Action: "backup:StartBackupJob", Resource: backup.VaultARN(c.Account, c.Env.Region, aws.ToString(in.BackupVaultName)), Context: requestTags(in.RecoveryPointTags)}
	return append([]access.Check{start}, passRole(in.IamRoleArn)...), nil
}

func (a *API) startBackup(ctx context.Context, c wire.Caller, in *awsbackup.StartBackupJobInput) (*awsbackup.StartBackupJobOutput, error) {
	if aws.ToString(in.LogicallyAirGappedBackupVaultArn) != "" {
		return nil, unsupported("LogicallyAirGappedBackupVaultArn")
	}
	if in.Index == backuptypes.IndexEnabled {
		return nil, unsupported("Index")
	}
	start, err := minutes("StartWindowMinutes", in.StartWindowMinutes)
	if err != nil {
		return nil, err
	}
	complete, err := minutes("CompleteWindowMinutes", in.CompleteWindowMinutes)
	if err != nil {
		return nil, err
	}
	life, err := optionalLifecycle(in.Lifecycle)
	if err != nil {
		return nil, err
	}
	j, err := a.s.StartBackup(ctx, c.Account, c.Env.Region, backup.BackupRequest{
		Vault: aws.ToString(in.BackupVaultName), ResourceARN: aws.ToString(in.ResourceArn), RoleARN: aws.ToString(in.IamRoleArn), Token: aws.ToString(in.IdempotencyToken),
		StartMinutes: start, CompleteMinutes: complete, Lifecycle: life, Tags: in.RecoveryPointTags, Options: in.BackupOptions,
	})
	if err != nil {
		return nil, err
	}
	out := &awsbackup.StartBackupJobOutput{BackupJobId: &j.ID, CreationDate: when(j.Created)}
	if j.KnownAtStart() {
		out.RecoveryPointArn = &j.PointARN
	}
	return out, nil
}

func (a *API) stopBackup(ctx context.Context, c wire.Caller, in *awsbackup.StopBackupJobInput) (*awsbackup.StopBackupJobOutput, error) {
	return &awsbackup.StopBackupJobOutput{}, a.s.StopBackup(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupJobId))
}

func (a *API) describeBackupJob(ctx context.Context, c wire.Caller, in *awsbackup.DescribeBackupJobInput) (*awsbackup.DescribeBackupJobOutput, error) {
	job, err := a.s.BackupJob(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupJobId))
	if err != nil {
		return nil, err
	}
	j := toBackupJob(job)
	return &awsbackup.DescribeBackupJobOutput{
		AccountId: j.AccountId, BackupJobId: j.BackupJobId, BackupOptions: j.BackupOptions, BackupSizeInBytes: j.BackupSizeInBytes, BackupType: j.BackupType,
		BackupVaultArn: j.BackupVaultArn, BackupVaultName: j.BackupVaultName, BytesTransferred: j.BytesTransferred, CompletionDate: j.CompletionDate, CreatedBy: j.CreatedBy,
		CreationDate: j.CreationDate, EncryptionKeyArn: j.EncryptionKeyArn, ExpectedCompletionDate: j.ExpectedCompletionDate, IamRoleArn: j.IamRoleArn,
		InitiationDate: j.InitiationDate, IsEncrypted: j.IsEncrypted, MessageCategory: j.MessageCategory, PercentDone: j.PercentDone, RecoveryPointArn: j.RecoveryPointArn,
		RecoveryPointLifecycle: j.RecoveryPointLifecycle, ResourceArn: j.ResourceArn, ResourceName: j.ResourceName, ResourceType: j.ResourceType, StartBy: j.StartBy,
		State: j.State, StatusMessage: j.StatusMessage, VaultLockState: j.VaultLockState, VaultType: j.VaultType,
	}, nil
}

func (a *API) listBackupJobs(ctx context.Context, c wire.Caller, in *awsbackup.ListBackupJobsInput) (*awsbackup.ListBackupJobsOutput, error) {
	list, next, err := a.s.BackupJobs(ctx, c.Account, c.Env.Region, backup.JobFilter{
		Account: aws.ToString(in.ByAccountId), State: backup.State(in.ByState), ResourceARN: aws.ToString(in.ByResourceArn), ResourceType: aws.ToString(in.ByResourceType),
		Vault: aws.ToString(in.ByBackupVaultName), MessageCategory: aws.ToString(in.ByMessageCategory), ParentID: aws.ToString(in.ByParentJobId),
		CreatedBefore: aws.ToTime(in.ByCreatedBefore), CreatedAfter: aws.ToTime(in.ByCreatedAfter), CompleteBefore: aws.ToTime(in.ByCompleteBefore), CompleteAfter: aws.ToTime(in.ByCompleteAfter),
	}, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.ListBackupJobsOutput{BackupJobs: []backuptypes.BackupJob{}, NextToken: text(next)}
	for _, j := range list {
		out.BackupJobs = append(out.BackupJobs, toBackupJob(j))
	}
	return out, nil
}

func toBackupJob(j backup.BackupJob) backuptypes.BackupJob {
	out := backuptypes.BackupJob{
		AccountId: &j.Account, BackupJobId: &j.ID, BackupOptions: j.Options, BackupSizeInBytes: &j.SizeBytes, BackupVaultArn: text(j.VaultARN()), BackupVaultName: &j.Vault,
		BytesTransferred: &j.TransferredBytes, CompletionDate: when(j.Completed), CreatedBy: toCreator(j.CreatedBy), CreationDate: when(j.Created),
		EncryptionKeyArn: text(j.KeyARN), IsEncrypted: j.KeyARN != "", IamRoleArn: text(j.RoleARN), InitiationDate: when(j.Started), MessageCategory: text(j.Category),
		PercentDone: percent(j.Percent), RecoveryPointLifecycle: toLifecycle(j.Lifecycle), ResourceArn: &j.ResourceARN, ResourceName: text(j.ResourceName),
		ResourceType: text(j.ResourceType), StartBy: when(j.StartBy), State: backuptypes.BackupJobState(j.State), StatusMessage: text(j.Message),
		VaultLockState: text(j.VaultLock), VaultType: aws.String(string(backuptypes.VaultTypeBackupVault)),
	}
	if !j.Final() {
		out.ExpectedCompletionDate = when(j.CompleteBy) // the job is stopped then
	}
	if j.HasPoint() {
		out.RecoveryPointArn = &j.PointARN
	}
	return out
}
