package backupapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/schemas"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/backup"
	"strongroom/internal/wire"
)

func (a *API) resourceOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("ListProtectedResources", schemas.ListProtectedResources, schemas.ListProtectedResourcesInput, schemas.ListProtectedResourcesOutput,
			onAll[awsbackup.ListProtectedResourcesInput]("ListProtectedResources"), a.listProtected),
		wire.Op("ListProtectedResourcesByBackupVault", schemas.ListProtectedResourcesByBackupVault, schemas.ListProtectedResourcesByBackupVaultInput, schemas.ListProtectedResourcesByBackupVaultOutput,
			onVaultOf("ListProtectedResourcesByBackupVault",
				func(in *awsbackup.ListProtectedResourcesByBackupVaultInput) *string { return in.BackupVaultName },
				func(in *awsbackup.ListProtectedResourcesByBackupVaultInput) *string { return in.BackupVaultAccountId }), a.listProtectedByVault),
		wire.Op("DescribeProtectedResource", schemas.DescribeProtectedResource, schemas.DescribeProtectedResourceInput, schemas.DescribeProtectedResourceOutput,
			onAll[awsbackup.DescribeProtectedResourceInput]("DescribeProtectedResource"), a.describeProtected),
		wire.Op("GetSupportedResourceTypes", schemas.GetSupportedResourceTypes, nil, schemas.GetSupportedResourceTypesOutput,
			onAll[awsbackup.GetSupportedResourceTypesInput]("GetSupportedResourceTypes"), a.supportedTypes),
	}
}

func (a *API) listProtected(ctx context.Context, c wire.Caller, in *awsbackup.ListProtectedResourcesInput) (*awsbackup.ListProtectedResourcesOutput, error) {
	list, next, err := a.s.ProtectedResources(ctx, c.Account, c.Env.Region, page(in.MaxResults, in.NextToken))
	return &awsbackup.ListProtectedResourcesOutput{Results: toProtected(list), NextToken: text(next)}, err
}

func (a *API) listProtectedByVault(ctx context.Context, c wire.Caller, in *awsbackup.ListProtectedResourcesByBackupVaultInput) (*awsbackup.ListProtectedResourcesByBackupVaultOutput, error) {
	list, next, err := a.s.ProtectedResourcesByVault(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), page(in.MaxResults, in.NextToken))
	return &awsbackup.ListProtectedResourcesByBackupVaultOutput{Results: toProtected(list), NextToken: text(next)}, err
}

func toProtected(list []backup.ProtectedResource) []backuptypes.ProtectedResource {
	out := []backuptypes.ProtectedResource{}
	for _, p := range list {
		out = append(out, backuptypes.ProtectedResource{
			ResourceArn: text(p.ARN), ResourceType: text(p.Type), ResourceName: text(p.Name),
			LastBackupTime: when(p.LastBackup), LastBackupVaultArn: text(p.LastVaultARN), LastRecoveryPointArn: text(p.LastPointARN),
		})
	}
	return out
}

func (a *API) describeProtected(ctx context.Context, c wire.Caller, in *awsbackup.DescribeProtectedResourceInput) (*awsbackup.DescribeProtectedResourceOutput, error) {
	p, err := a.s.ProtectedResource(ctx, c.Account, c.Env.Region, aws.ToString(in.ResourceArn))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.DescribeProtectedResourceOutput{
		ResourceArn: text(p.ARN), ResourceType: text(p.Type), ResourceName: text(p.Name),
		LastBackupTime: when(p.LastBackup), LastBackupVaultArn: text(p.LastVaultARN), LastRecoveryPointArn: text(p.LastPointARN),
	}
	if !p.RestoreJobCreated.IsZero() {
		out.LatestRestoreJobCreationDate, out.LatestRestoreRecoveryPointCreationDate = when(p.RestoreJobCreated), when(p.RestorePointCreated)
		out.LatestRestoreExecutionTimeMinutes = &p.RestoreMinutes
	}
	return out, nil
}

func (a *API) supportedTypes(context.Context, wire.Caller, *awsbackup.GetSupportedResourceTypesInput) (*awsbackup.GetSupportedResourceTypesOutput, error) {
	return &awsbackup.GetSupportedResourceTypesOutput{ResourceTypes: a.s.SupportedResourceTypes()}, nil
}
