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

func (a *API) restoreJobOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("StartRestoreJob", schemas.StartRestoreJob, schemas.StartRestoreJobInput, schemas.StartRestoreJobOutput, startRestoreChecks, a.startRestore),
		wire.Op("DescribeRestoreJob", schemas.DescribeRestoreJob, schemas.DescribeRestoreJobInput, schemas.DescribeRestoreJobOutput,
			onAll[awsbackup.DescribeRestoreJobInput]("DescribeRestoreJob"), a.describeRestoreJob),
		wire.Op("ListRestoreJobs", schemas.ListRestoreJobs, schemas.ListRestoreJobsInput, schemas.ListRestoreJobsOutput,
			onAll[awsbackup.ListRestoreJobsInput]("ListRestoreJobs"), a.listRestoreJobs),
		wire.Op("ListRestoreJobsByProtectedResource", schemas.ListRestoreJobsByProtectedResource, schemas.ListRestoreJobsByProtectedResourceInput, schemas.ListRestoreJobsByProtectedResourceOutput,
			onAll[awsbackup.ListRestoreJobsByProtectedResourceInput]("ListRestoreJobsByProtectedResource"), a.listRestoreJobsByResource),
		wire.Op("GetRestoreJobMetadata", schemas.GetRestoreJobMetadata, schemas.GetRestoreJobMetadataInput, schemas.GetRestoreJobMetadataOutput,
			onAll[awsbackup.GetRestoreJobMetadataInput]("GetRestoreJobMetadata"), a.restoreJobMetadata),
	}
}

func startRestoreChecks(_ context.Context, _ wire.Caller, in *awsbackup.StartRestoreJobInput) ([]access.Check, error) {
	start := access.Check{Action: "backup:StartRestoreJob", Resource: aws.ToString(in.RecoveryPointArn)}
	return append([]access.Check{start}, passRole(in.IamRoleArn)...), nil
}

func (a *API) startRestore(ctx context.Context, c wire.Caller, in *awsbackup.StartRestoreJobInput) (*awsbackup.StartRestoreJobOutput, error) {
	j, err := a.s.StartRestore(ctx, c.Account, c.Env.Region, backup.RestoreRequest{
		PointARN: aws.ToString(in.RecoveryPointArn), RoleARN: aws.ToString(in.IamRoleArn), Token: aws.ToString(in.IdempotencyToken), ResourceType: aws.ToString(in.ResourceType),
		Metadata: in.Metadata, CopyTags: in.CopySourceTagsToRestoredResource,
	})
	if err != nil {
		return nil, err
	}
	return &awsbackup.StartRestoreJobOutput{RestoreJobId: &j.ID}, nil
}

func (a *API) describeRestoreJob(ctx context.Context, c wire.Caller, in *awsbackup.DescribeRestoreJobInput) (*awsbackup.DescribeRestoreJobOutput, error) {
	job, err := a.s.RestoreJob(ctx, c.Account, c.Env.Region, aws.ToString(in.RestoreJobId))
	if err != nil {
		return nil, err
	}
	j := toRestoreJob(job)
	return &awsbackup.DescribeRestoreJobOutput{
		AccountId: j.AccountId, BackupSizeInBytes: j.BackupSizeInBytes, BackupVaultArn: j.BackupVaultArn, CompletionDate: j.CompletionDate, CreatedResourceArn: j.CreatedResourceArn,
		CreationDate: j.CreationDate, IamRoleArn: j.IamRoleArn, PercentDone: j.PercentDone, RecoveryPointArn: j.RecoveryPointArn,
		RecoveryPointCreationDate: j.RecoveryPointCreationDate, ResourceType: j.ResourceType, RestoreJobId: j.RestoreJobId, SourceResourceArn: j.SourceResourceArn,
		Status: j.Status, StatusMessage: j.StatusMessage,
	}, nil
}

func (a *API) restoreJobMetadata(ctx context.Context, c wire.Caller, in *awsbackup.GetRestoreJobMetadataInput) (*awsbackup.GetRestoreJobMetadataOutput, error) {
	j, err := a.s.RestoreJob(ctx, c.Account, c.Env.Region, aws.ToString(in.RestoreJobId))
	if err != nil {
		return nil, err
	}
	return &awsbackup.GetRestoreJobMetadataOutput{RestoreJobId: &j.ID, Metadata: j.Metadata}, nil
}

func (a *API) listRestoreJobs(ctx context.Context, c wire.Caller, in *awsbackup.ListRestoreJobsInput) (*awsbackup.ListRestoreJobsOutput, error) {
	out := &awsbackup.ListRestoreJobsOutput{RestoreJobs: []backuptypes.RestoreJobsListMember{}}
	if aws.ToString(in.ByRestoreTestingPlanArn) != "" {
		return out, nil // no restore testing plan has made a job
	}
	list, next, err := a.s.RestoreJobs(ctx, c.Account, c.Env.Region, backup.JobFilter{
		Account: aws.ToString(in.ByAccountId), State: backup.State(in.ByStatus), ResourceType: aws.ToString(in.ByResourceType), ParentID: aws.ToString(in.ByParentJobId),
		CreatedBefore: aws.ToTime(in.ByCreatedBefore), CreatedAfter: aws.ToTime(in.ByCreatedAfter), CompleteBefore: aws.ToTime(in.ByCompleteBefore), CompleteAfter: aws.ToTime(in.ByCompleteAfter),
	}, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	for _, j := range list {
		out.RestoreJobs = append(out.RestoreJobs, toRestoreJob(j))
	}
	out.NextToken = text(next)
	return out, nil
}

func (a *API) listRestoreJobsByResource(ctx context.Context, c wire.Caller, in *awsbackup.ListRestoreJobsByProtectedResourceInput) (*awsbackup.ListRestoreJobsByProtectedResourceOutput, error) {
	list, next, err := a.s.RestoreJobsByResource(ctx, c.Account, c.Env.Region, aws.ToString(in.ResourceArn),
		aws.ToTime(in.ByRecoveryPointCreationDateAfter), aws.ToTime(in.ByRecoveryPointCreationDateBefore), backup.State(in.ByStatus), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.ListRestoreJobsByProtectedResourceOutput{RestoreJobs: []backuptypes.RestoreJobsListMember{}, NextToken: text(next)}
	for _, j := range list {
		out.RestoreJobs = append(out.RestoreJobs, toRestoreJob(j))
	}
	return out, nil
}

func toRestoreJob(j backup.RestoreJob) backuptypes.RestoreJobsListMember {
	return backuptypes.RestoreJobsListMember{
		AccountId: &j.Account, RestoreJobId: &j.ID, RecoveryPointArn: &j.PointARN, RecoveryPointCreationDate: when(j.PointCreated), SourceResourceArn: text(j.SourceARN),
		BackupVaultArn: text(j.VaultARN()), CreationDate: when(j.Created), CompletionDate: when(j.Completed), Status: backuptypes.RestoreJobStatus(j.State),
		StatusMessage: text(j.Message), PercentDone: percent(j.Percent), BackupSizeInBytes: &j.SizeBytes, IamRoleArn: text(j.RoleARN),
		CreatedResourceArn: text(j.CreatedARN), ResourceType: text(j.ResourceType),
	}
}
