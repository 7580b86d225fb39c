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

func (a *API) copyJobOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("StartCopyJob", schemas.StartCopyJob, schemas.StartCopyJobInput, schemas.StartCopyJobOutput, a.startCopyChecks, a.startCopy),
		wire.Op("DescribeCopyJob", schemas.DescribeCopyJob, schemas.DescribeCopyJobInput, schemas.DescribeCopyJobOutput,
			onAll[awsbackup.DescribeCopyJobInput]("DescribeCopyJob"), a.describeCopyJob),
		wire.Op("ListCopyJobs", schemas.ListCopyJobs, schemas.ListCopyJobsInput, schemas.ListCopyJobsOutput,
			onAll[awsbackup.ListCopyJobsInput]("ListCopyJobs"), a.listCopyJobs),
	}
}

// startCopyChecks asks for the copy with its destination as condition keys, so that a policy can say where copies may go.
// What the destination allows is asked when the job runs, with the role that is passed here.
func (a *API) startCopyChecks(ctx context.Context, c wire.Caller, in *awsbackup.StartCopyJobInput) ([]access.Check, error) {
	keys := access.Context{}
	keys.Set("backup:CopyTargets", aws.ToString(in.DestinationBackupVaultArn))
	if account, _, _, ok := backup.ParseVaultARN(aws.ToString(in.DestinationBackupVaultArn)); ok {
		m, err := a.s.Org.Membership(ctx, account)
		if err != nil {
			return nil, err
		}
		keys.Set("backup:CopyTargetOrgPaths", m.Path)
	}
	start := access.Check{Action: "backup:StartCopyJob", Resource: aws.ToString(in.RecoveryPointArn), Context: keys}
	return append([]access.Check{start}, passRole(in.IamRoleArn)...), nil
}

func (a *API) startCopy(ctx context.Context, c wire.Caller, in *awsbackup.StartCopyJobInput) (*awsbackup.StartCopyJobOutput, error) {
	life, err := optionalLifecycle(in.Lifecycle)
	if err != nil {
		return nil, err
	}
	j, err := a.s.StartCopy(ctx, c.Account, c.Env.Region, backup.CopyRequest{
		PointARN: aws.ToString(in.RecoveryPointArn), SourceVault: aws.ToString(in.SourceBackupVaultName), DestinationVaultARN: aws.ToString(in.DestinationBackupVaultArn),
		RoleARN: aws.ToString(in.IamRoleArn), Token: aws.ToString(in.IdempotencyToken), Lifecycle: life,
	})
	if err != nil {
		return nil, err
	}
	return &awsbackup.StartCopyJobOutput{CopyJobId: &j.ID, CreationDate: when(j.Created)}, nil
}

func (a *API) describeCopyJob(ctx context.Context, c wire.Caller, in *awsbackup.DescribeCopyJobInput) (*awsbackup.DescribeCopyJobOutput, error) {
	j, err := a.s.CopyJob(ctx, c.Account, c.Env.Region, aws.ToString(in.CopyJobId))
	if err != nil {
		return nil, err
	}
	out := toCopyJob(j)
	return &awsbackup.DescribeCopyJobOutput{CopyJob: &out}, nil
}

func (a *API) listCopyJobs(ctx context.Context, c wire.Caller, in *awsbackup.ListCopyJobsInput) (*awsbackup.ListCopyJobsOutput, error) {
	list, next, err := a.s.CopyJobs(ctx, c.Account, c.Env.Region, backup.JobFilter{
		Account: aws.ToString(in.ByAccountId), State: backup.State(in.ByState), ResourceARN: aws.ToString(in.ByResourceArn), ResourceType: aws.ToString(in.ByResourceType),
		DestinationARN: aws.ToString(in.ByDestinationVaultArn), SourcePointARN: aws.ToString(in.BySourceRecoveryPointArn),
		MessageCategory: aws.ToString(in.ByMessageCategory), ParentID: aws.ToString(in.ByParentJobId),
		CreatedBefore: aws.ToTime(in.ByCreatedBefore), CreatedAfter: aws.ToTime(in.ByCreatedAfter), CompleteBefore: aws.ToTime(in.ByCompleteBefore), CompleteAfter: aws.ToTime(in.ByCompleteAfter),
	}, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.ListCopyJobsOutput{CopyJobs: []backuptypes.CopyJob{}, NextToken: text(next)}
	for _, j := range list {
		out.CopyJobs = append(out.CopyJobs, toCopyJob(j))
	}
	return out, nil
}

func toCopyJob(j backup.CopyJob) backuptypes.CopyJob {
	life := j.Resolved // what the copy gets, once that is known; before, what was asked for
	if life == nil {
		life = j.Lifecycle
	}
	return backuptypes.CopyJob{
		AccountId: &j.Account, CopyJobId: &j.ID, BackupSizeInBytes: &j.SizeBytes, CompletionDate: when(j.Completed), CreatedBy: toCreator(j.CreatedBy),
		CreatedByBackupJobId: text(j.BackupJob), CreationDate: when(j.Created), DestinationBackupVaultArn: &j.DestinationVaultARN, DestinationEncryptionKeyArn: text(j.DestinationKey),
		DestinationRecoveryPointArn: text(j.DestinationPointARN), DestinationRecoveryPointLifecycle: toOptionalLifecycle(life), DestinationVaultLockState: text(j.DestinationLock),
		DestinationVaultType: aws.String(string(backuptypes.VaultTypeBackupVault)), IamRoleArn: text(j.RoleARN), MessageCategory: text(j.Category),
		ResourceArn: &j.ResourceARN, ResourceName: text(j.ResourceName), ResourceType: text(j.ResourceType), SourceBackupVaultArn: text(j.SourceVaultARN()),
		SourceRecoveryPointArn: &j.SourcePointARN, State: backuptypes.CopyJobState(j.State), StatusMessage: text(j.Message),
	}
}
