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

func (a *API) vaultOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateBackupVault", schemas.CreateBackupVault, schemas.CreateBackupVaultInput, schemas.CreateBackupVaultOutput, createVaultChecks, a.createVault),
		wire.Op("DescribeBackupVault", schemas.DescribeBackupVault, schemas.DescribeBackupVaultInput, schemas.DescribeBackupVaultOutput,
			onVaultOf("DescribeBackupVault",
				func(in *awsbackup.DescribeBackupVaultInput) *string { return in.BackupVaultName },
				func(in *awsbackup.DescribeBackupVaultInput) *string { return in.BackupVaultAccountId }), a.describeVault),
		wire.Op("ListBackupVaults", schemas.ListBackupVaults, schemas.ListBackupVaultsInput, schemas.ListBackupVaultsOutput,
			onAll[awsbackup.ListBackupVaultsInput]("ListBackupVaults"), a.listVaults),
		wire.Op("DeleteBackupVault", schemas.DeleteBackupVault, schemas.DeleteBackupVaultInput, nil,
			onVault("DeleteBackupVault", func(in *awsbackup.DeleteBackupVaultInput) *string { return in.BackupVaultName }), a.deleteVault),
	}
}

// createVaultChecks asks for what the caller needs besides the rights on the key, which the key service checks.
func createVaultChecks(_ context.Context, c wire.Caller, in *awsbackup.CreateBackupVaultInput) ([]access.Check, error) {
	return []access.Check{
		{Action: "backup:CreateBackupVault", Resource: backup.VaultARN(c.Account, c.Env.Region, aws.ToString(in.BackupVaultName)), Context: requestTags(in.BackupVaultTags)},
		{Action: "backup-storage:MountCapsule", Resource: "*"},
	}, nil
}

func (a *API) createVault(ctx context.Context, c wire.Caller, in *awsbackup.CreateBackupVaultInput) (*awsbackup.CreateBackupVaultOutput, error) {
	v, err := a.s.CreateVault(ctx, c.Principal, c.Env, backup.VaultSpec{
		Name: aws.ToString(in.BackupVaultName), KeyARN: aws.ToString(in.EncryptionKeyArn),
		CreatorRequestID: aws.ToString(in.CreatorRequestId), Tags: in.BackupVaultTags,
	})
	if err != nil {
		return nil, err
	}
	return &awsbackup.CreateBackupVaultOutput{BackupVaultArn: text(v.ARN()), BackupVaultName: text(v.Name), CreationDate: when(v.Created)}, nil
}

func (a *API) describeVault(ctx context.Context, c wire.Caller, in *awsbackup.DescribeBackupVaultInput) (*awsbackup.DescribeBackupVaultOutput, error) {
	v, err := a.s.Vault(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName))
	if err != nil {
		return nil, err
	}
	return &awsbackup.DescribeBackupVaultOutput{
		BackupVaultName: text(v.Name), BackupVaultArn: text(v.ARN()),
		VaultType: backuptypes.VaultTypeBackupVault, VaultState: backuptypes.VaultStateAvailable,
		EncryptionKeyArn: text(v.KeyARN), EncryptionKeyType: keyType(v.ServiceKey),
		CreationDate: when(v.Created), CreatorRequestId: text(v.CreatorRequestID), NumberOfRecoveryPoints: v.Points,
		Locked: &v.Lock.Locked, MinRetentionDays: v.Lock.MinRetentionDays, MaxRetentionDays: v.Lock.MaxRetentionDays, LockDate: when(v.Lock.Date),
	}, nil
}

func (a *API) listVaults(ctx context.Context, c wire.Caller, in *awsbackup.ListBackupVaultsInput) (*awsbackup.ListBackupVaultsOutput, error) {
	out := &awsbackup.ListBackupVaultsOutput{BackupVaultList: []backuptypes.BackupVaultListMember{}}
	if in.ByShared || in.ByVaultType != "" && in.ByVaultType != backuptypes.VaultTypeBackupVault {
		return out, nil // there are no vaults of those kinds
	}
	list, next, err := a.s.Vaults(ctx, c.Account, c.Env.Region, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		out.BackupVaultList = append(out.BackupVaultList, backuptypes.BackupVaultListMember{
			BackupVaultName: text(v.Name), BackupVaultArn: text(v.ARN()),
			VaultType: backuptypes.VaultTypeBackupVault, VaultState: backuptypes.VaultStateAvailable,
			EncryptionKeyArn: text(v.KeyARN), EncryptionKeyType: keyType(v.ServiceKey),
			CreationDate: when(v.Created), CreatorRequestId: text(v.CreatorRequestID), NumberOfRecoveryPoints: v.Points,
			Locked: &v.Lock.Locked, MinRetentionDays: v.Lock.MinRetentionDays, MaxRetentionDays: v.Lock.MaxRetentionDays, LockDate: when(v.Lock.Date),
		})
	}
	out.NextToken = text(next)
	return out, nil
}

func (a *API) deleteVault(ctx context.Context, c wire.Caller, in *awsbackup.DeleteBackupVaultInput) (*awsbackup.DeleteBackupVaultOutput, error) {
	return &awsbackup.DeleteBackupVaultOutput{}, a.s.DeleteVault(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName))
}
