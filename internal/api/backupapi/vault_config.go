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

// vaultConfigOperations are those about a vault's policy, lock and notifications.
func (a *API) vaultConfigOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("PutBackupVaultAccessPolicy", schemas.PutBackupVaultAccessPolicy, schemas.PutBackupVaultAccessPolicyInput, nil,
			onVault("PutBackupVaultAccessPolicy", func(in *awsbackup.PutBackupVaultAccessPolicyInput) *string { return in.BackupVaultName }), a.putPolicy),
		wire.Op("GetBackupVaultAccessPolicy", schemas.GetBackupVaultAccessPolicy, schemas.GetBackupVaultAccessPolicyInput, schemas.GetBackupVaultAccessPolicyOutput,
			onVault("GetBackupVaultAccessPolicy", func(in *awsbackup.GetBackupVaultAccessPolicyInput) *string { return in.BackupVaultName }), a.getPolicy),
		wire.Op("DeleteBackupVaultAccessPolicy", schemas.DeleteBackupVaultAccessPolicy, schemas.DeleteBackupVaultAccessPolicyInput, nil,
			onVault("DeleteBackupVaultAccessPolicy", func(in *awsbackup.DeleteBackupVaultAccessPolicyInput) *string { return in.BackupVaultName }), a.deletePolicy),
		wire.Op("PutBackupVaultLockConfiguration", schemas.PutBackupVaultLockConfiguration, schemas.PutBackupVaultLockConfigurationInput, nil, lockChecks, a.lockVault),
		wire.Op("DeleteBackupVaultLockConfiguration", schemas.DeleteBackupVaultLockConfiguration, schemas.DeleteBackupVaultLockConfigurationInput, nil,
			onVault("DeleteBackupVaultLockConfiguration", func(in *awsbackup.DeleteBackupVaultLockConfigurationInput) *string { return in.BackupVaultName }), a.unlockVault),
		wire.Op("PutBackupVaultNotifications", schemas.PutBackupVaultNotifications, schemas.PutBackupVaultNotificationsInput, nil,
			onVault("PutBackupVaultNotifications", func(in *awsbackup.PutBackupVaultNotificationsInput) *string { return in.BackupVaultName }), a.putNotifications),
		wire.Op("GetBackupVaultNotifications", schemas.GetBackupVaultNotifications, schemas.GetBackupVaultNotificationsInput, schemas.GetBackupVaultNotificationsOutput,
			onVault("GetBackupVaultNotifications", func(in *awsbackup.GetBackupVaultNotificationsInput) *string { return in.BackupVaultName }), a.getNotifications),
		wire.Op("DeleteBackupVaultNotifications", schemas.DeleteBackupVaultNotifications, schemas.DeleteBackupVaultNotificationsInput, nil,
			onVault("DeleteBackupVaultNotifications", func(in *awsbackup.DeleteBackupVaultNotificationsInput) *string { return in.BackupVaultName }), a.deleteNotifications),
	}
}

func (a *API) putPolicy(ctx context.Context, c wire.Caller, in *awsbackup.PutBackupVaultAccessPolicyInput) (*awsbackup.PutBackupVaultAccessPolicyOutput, error) {
	return &awsbackup.PutBackupVaultAccessPolicyOutput{}, a.s.PutVaultPolicy(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), aws.ToString(in.Policy))
}

func (a *API) getPolicy(ctx context.Context, c wire.Caller, in *awsbackup.GetBackupVaultAccessPolicyInput) (*awsbackup.GetBackupVaultAccessPolicyOutput, error) {
	v, err := a.s.VaultPolicy(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName))
	if err != nil {
		return nil, err
	}
	return &awsbackup.GetBackupVaultAccessPolicyOutput{BackupVaultArn: text(v.ARN()), BackupVaultName: text(v.Name), Policy: text(v.Policy)}, nil
}

func (a *API) deletePolicy(ctx context.Context, c wire.Caller, in *awsbackup.DeleteBackupVaultAccessPolicyInput) (*awsbackup.DeleteBackupVaultAccessPolicyOutput, error) {
	return &awsbackup.DeleteBackupVaultAccessPolicyOutput{}, a.s.DeleteVaultPolicy(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName))
}

func lockChecks(_ context.Context, c wire.Caller, in *awsbackup.PutBackupVaultLockConfigurationInput) ([]access.Check, error) {
	keys := access.Context{}
	setDays(keys, "backup:ChangeableForDays", in.ChangeableForDays)
	setDays(keys, "backup:MinRetentionDays", in.MinRetentionDays)
	setDays(keys, "backup:MaxRetentionDays", in.MaxRetentionDays)
	return []access.Check{{
		Action: "backup:PutBackupVaultLockConfiguration", Resource: backup.VaultARN(c.Account, c.Env.Region, aws.ToString(in.BackupVaultName)), Context: keys,
	}}, nil
}

func (a *API) lockVault(ctx context.Context, c wire.Caller, in *awsbackup.PutBackupVaultLockConfigurationInput) (*awsbackup.PutBackupVaultLockConfigurationOutput, error) {
	return &awsbackup.PutBackupVaultLockConfigurationOutput{}, a.s.LockVault(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName),
		backup.LockSpec{MinRetentionDays: in.MinRetentionDays, MaxRetentionDays: in.MaxRetentionDays, ChangeableForDays: in.ChangeableForDays})
}

func (a *API) unlockVault(ctx context.Context, c wire.Caller, in *awsbackup.DeleteBackupVaultLockConfigurationInput) (*awsbackup.DeleteBackupVaultLockConfigurationOutput, error) {
	return &awsbackup.DeleteBackupVaultLockConfigurationOutput{}, a.s.UnlockVault(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName))
}

func (a *API) putNotifications(ctx context.Context, c wire.Caller, in *awsbackup.PutBackupVaultNotificationsInput) (*awsbackup.PutBackupVaultNotificationsOutput, error) {
	n := backup.Notifications{TopicARN: aws.ToString(in.SNSTopicArn)}
	for _, e := range in.BackupVaultEvents {
		n.Events = append(n.Events, string(e))
	}
	return &awsbackup.PutBackupVaultNotificationsOutput{}, a.s.PutNotifications(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName), n)
}

func (a *API) getNotifications(ctx context.Context, c wire.Caller, in *awsbackup.GetBackupVaultNotificationsInput) (*awsbackup.GetBackupVaultNotificationsOutput, error) {
	v, err := a.s.VaultNotifications(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.GetBackupVaultNotificationsOutput{BackupVaultArn: text(v.ARN()), BackupVaultName: text(v.Name), SNSTopicArn: text(v.Notifications.TopicARN)}
	for _, e := range v.Notifications.Events {
		out.BackupVaultEvents = append(out.BackupVaultEvents, backuptypes.BackupVaultEvent(e))
	}
	return out, nil
}

func (a *API) deleteNotifications(ctx context.Context, c wire.Caller, in *awsbackup.DeleteBackupVaultNotificationsInput) (*awsbackup.DeleteBackupVaultNotificationsOutput, error) {
	return &awsbackup.DeleteBackupVaultNotificationsOutput{}, a.s.DeleteNotifications(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupVaultName))
}
