package backupapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/schemas"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/wire"
)

func (a *API) pointOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("ListRecoveryPointsByBackupVault", schemas.ListRecoveryPointsByBackupVault, schemas.ListRecoveryPointsByBackupVaultInput, schemas.ListRecoveryPointsByBackupVaultOutput,
			onVaultOf("ListRecoveryPointsByBackupVault",
				func(in *awsbackup.ListRecoveryPointsByBackupVaultInput) *string { return in.BackupVaultName },
				func(in *awsbackup.ListRecoveryPointsByBackupVaultInput) *string { return in.BackupVaultAccountId }), a.listPoints),
		wire.Op("ListRecoveryPointsByResource", schemas.ListRecoveryPointsByResource, schemas.ListRecoveryPointsByResourceInput, schemas.ListRecoveryPointsByResourceOutput,
			onAll[awsbackup.ListRecoveryPointsByResourceInput]("ListRecoveryPointsByResource"), a.listPointsByResource),
		wire.Op("DescribeRecoveryPoint", schemas.DescribeRecoveryPoint, schemas.DescribeRecoveryPointInput, schemas.DescribeRecoveryPointOutput,
			ownOnly(onResource("DescribeRecoveryPoint",
				func(in *awsbackup.DescribeRecoveryPointInput) *string { return in.RecoveryPointArn }),
				func(in *awsbackup.DescribeRecoveryPointInput) *string { return in.BackupVaultAccountId }), a.describePoint),
		wire.Op("GetRecoveryPointRestoreMetadata", schemas.GetRecoveryPointRestoreMetadata, schemas.GetRecoveryPointRestoreMetadataInput, schemas.GetRecoveryPointRestoreMetadataOutput,
			ownOnly(onResource("GetRecoveryPointRestoreMetadata",
				func(in *awsbackup.GetRecoveryPointRestoreMetadataInput) *string { return in.RecoveryPointArn }),
				func(in *awsbackup.GetRecoveryPointRestoreMetadataInput) *string { return in.BackupVaultAccountId }), a.restoreMetadata),
		wire.Op("UpdateRecoveryPointLifecycle", schemas.UpdateRecoveryPointLifecycle, schemas.UpdateRecoveryPointLifecycleInput, schemas.UpdateRecoveryPointLifecycleOutput,
			onResource("UpdateRecoveryPointLifecycle", func(in *awsbackup.UpdateRecoveryPointLifecycleInput) *string { return in.RecoveryPointArn }), a.updateLifecycle),
		wire.Op("DeleteRecoveryPoint", schemas.DeleteRecoveryPoint, schemas.DeleteRecoveryPointInput, nil,
			onResource("DeleteRecoveryPoint", func(in *awsbackup.DeleteRecoveryPointInput) *string { return in.RecoveryPointArn }), a.deletePoint),
		wire.Op("DisassociateRecoveryPoint", schemas.DisassociateRecoveryPoint, schemas.DisassociateRecoveryPointInput, nil,
			onResource("DisassociateRecoveryPoint", func(in *awsbackup.DisassociateRecoveryPointInput) *string { return in.RecoveryPointArn }), a.disassociatePoint),
	}
}

func (a *API) listPoints(ctx context.Context, c wire.Caller, in *awsbackup.ListRecoveryPointsByBackupVaultInput) (*awsbackup.ListRecoveryPointsByBackupVaultOutput, error) {
	list, next, err := a.s.RecoveryPoints(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), backup.PointFilter{
		ResourceARN: aws.ToString(in.ByResourceArn), ResourceType: aws.ToString(in.ByResourceType), PlanID: aws.ToString(in.ByBackupPlanId),
		ParentARN: aws.ToString(in.ByParentRecoveryPointArn), CreatedAfter: aws.ToTime(in.ByCreatedAfter), CreatedBefore: aws.ToTime(in.ByCreatedBefore),
	}, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.ListRecoveryPointsByBackupVaultOutput{RecoveryPoints: []backuptypes.RecoveryPointByBackupVault{}, NextToken: text(next)}
	for _, r := range list {
		out.RecoveryPoints = append(out.RecoveryPoints, backuptypes.RecoveryPointByBackupVault{
			RecoveryPointArn: text(r.ARN), BackupVaultName: text(r.Vault), BackupVaultArn: text(r.VaultARN()), SourceBackupVaultArn: text(r.SourceVaultARN),
			ResourceArn: text(r.ResourceARN), ResourceName: text(r.ResourceName), ResourceType: text(r.ResourceType),
			CreatedBy: toCreator(r.CreatedBy), IamRoleArn: text(r.RoleARN), Status: backuptypes.RecoveryPointStatus(r.Status), StatusMessage: text(r.StatusMessage),
			CreationDate: when(r.Created), InitiationDate: when(r.Initiated), CompletionDate: when(r.Completed), BackupSizeInBytes: &r.SizeBytes,
			Lifecycle: toLifecycle(r.Lifecycle), CalculatedLifecycle: toCalculated(r.MoveToColdAt, r.DeleteAt),
			EncryptionKeyArn: text(r.KeyARN), EncryptionKeyType: keyType(r.ServiceKey), IsEncrypted: true,
			LastRestoreTime: when(r.LastRestored), ParentRecoveryPointArn: text(r.ParentARN), VaultType: backuptypes.VaultTypeBackupVault,
		})
	}
	return out, nil
}

func (a *API) listPointsByResource(ctx context.Context, c wire.Caller, in *awsbackup.ListRecoveryPointsByResourceInput) (*awsbackup.ListRecoveryPointsByResourceOutput, error) {
	list, next, err := a.s.RecoveryPointsByResource(ctx, c.Account, c.Env.Region, aws.ToString(in.ResourceArn), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.ListRecoveryPointsByResourceOutput{RecoveryPoints: []backuptypes.RecoveryPointByResource{}, NextToken: text(next)}
	for _, r := range list {
		out.RecoveryPoints = append(out.RecoveryPoints, backuptypes.RecoveryPointByResource{
			RecoveryPointArn: text(r.ARN), CreationDate: when(r.Created), Status: backuptypes.RecoveryPointStatus(r.Status), StatusMessage: text(r.StatusMessage),
			EncryptionKeyArn: text(r.KeyARN), EncryptionKeyType: keyType(r.ServiceKey), BackupSizeBytes: &r.SizeBytes, BackupVaultName: text(r.Vault),
			ParentRecoveryPointArn: text(r.ParentARN), ResourceName: text(r.ResourceName), VaultType: backuptypes.VaultTypeBackupVault,
		})
	}
	return out, nil
}

func (a *API) describePoint(ctx context.Context, c wire.Caller, in *awsbackup.DescribeRecoveryPointInput) (*awsbackup.DescribeRecoveryPointOutput, error) {
	r, err := a.s.RecoveryPoint(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), aws.ToString(in.RecoveryPointArn))
	if err != nil {
		return nil, err
	}
	return &awsbackup.DescribeRecoveryPointOutput{
		RecoveryPointArn: text(r.ARN), BackupVaultName: text(r.Vault), BackupVaultArn: text(r.VaultARN()), SourceBackupVaultArn: text(r.SourceVaultARN),
		ResourceArn: text(r.ResourceARN), ResourceName: text(r.ResourceName), ResourceType: text(r.ResourceType),
		CreatedBy: toCreator(r.CreatedBy), IamRoleArn: text(r.RoleARN), Status: backuptypes.RecoveryPointStatus(r.Status), StatusMessage: text(r.StatusMessage),
		CreationDate: when(r.Created), InitiationDate: when(r.Initiated), CompletionDate: when(r.Completed), BackupSizeInBytes: &r.SizeBytes,
		Lifecycle: toLifecycle(r.Lifecycle), CalculatedLifecycle: toCalculated(r.MoveToColdAt, r.DeleteAt),
		EncryptionKeyArn: text(r.KeyARN), EncryptionKeyType: keyType(r.ServiceKey), IsEncrypted: true, StorageClass: backuptypes.StorageClass(r.StorageClass),
		LastRestoreTime: when(r.LastRestored), ParentRecoveryPointArn: text(r.ParentARN), VaultType: backuptypes.VaultTypeBackupVault,
	}, nil
}

func (a *API) restoreMetadata(ctx context.Context, c wire.Caller, in *awsbackup.GetRecoveryPointRestoreMetadataInput) (*awsbackup.GetRecoveryPointRestoreMetadataOutput, error) {
	r, err := a.s.RecoveryPoint(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), aws.ToString(in.RecoveryPointArn))
	if err != nil {
		return nil, err
	}
	return &awsbackup.GetRecoveryPointRestoreMetadataOutput{
		BackupVaultArn: text(r.VaultARN()), RecoveryPointArn: text(r.ARN), ResourceType: text(r.ResourceType), RestoreMetadata: r.RestoreMetadata,
	}, nil
}

// updateLifecycle wants the lifecycle spelled out: what is missing in it is erased, so a call without any would keep the
// recovery point for ever by accident.
func (a *API) updateLifecycle(ctx context.Context, c wire.Caller, in *awsbackup.UpdateRecoveryPointLifecycleInput) (*awsbackup.UpdateRecoveryPointLifecycleOutput, error) {
	if in.Lifecycle == nil {
		return nil, fault.New(fault.Missing, "Lifecycle is required.")
	}
	r, err := a.s.UpdateLifecycle(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), aws.ToString(in.RecoveryPointArn), fromLifecycle(in.Lifecycle))
	if err != nil {
		return nil, err
	}
	return &awsbackup.UpdateRecoveryPointLifecycleOutput{
		BackupVaultArn: text(r.VaultARN()), RecoveryPointArn: text(r.ARN), Lifecycle: toLifecycle(r.Lifecycle), CalculatedLifecycle: toCalculated(r.MoveToColdAt, r.DeleteAt),
	}, nil
}

func (a *API) deletePoint(ctx context.Context, c wire.Caller, in *awsbackup.DeleteRecoveryPointInput) (*awsbackup.DeleteRecoveryPointOutput, error) {
	return &awsbackup.DeleteRecoveryPointOutput{}, a.s.DeleteRecoveryPoint(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), aws.ToString(in.RecoveryPointArn))
}

func (a *API) disassociatePoint(ctx context.Context, c wire.Caller, in *awsbackup.DisassociateRecoveryPointInput) (*awsbackup.DisassociateRecoveryPointOutput, error) {
	return &awsbackup.DisassociateRecoveryPointOutput{}, a.s.DisassociateRecoveryPoint(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), aws.ToString(in.RecoveryPointArn))
}

// toCreator leaves the creator of what was started on demand out.
func toCreator(c backup.Creator) *backuptypes.RecoveryPointCreator {
	if c == (backup.Creator{}) {
		return nil
	}
	return &backuptypes.RecoveryPointCreator{
		BackupPlanArn: text(c.PlanARN), BackupPlanId: text(c.PlanID), BackupPlanName: text(c.PlanName), BackupPlanVersion: text(c.PlanVersion),
		BackupRuleId: text(c.RuleID), BackupRuleName: text(c.RuleName), BackupRuleCron: text(c.RuleCron), BackupRuleTimezone: text(c.RuleTimezone),
	}
}
