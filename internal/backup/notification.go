package backup

import (
	"context"
	"slices"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// Notifications says which events of a vault go to which topic. It is stored and returned; nothing is delivered yet.
type Notifications struct {
	TopicARN string // "" when none are configured
	Events   []string
}

// vaultEvents are the names that AWS accepts, the ones that it no longer sends included.
var vaultEvents = []string{
	"BACKUP_JOB_STARTED", "BACKUP_JOB_COMPLETED", "BACKUP_JOB_SUCCESSFUL", "BACKUP_JOB_FAILED", "BACKUP_JOB_EXPIRED",
	"RESTORE_JOB_STARTED", "RESTORE_JOB_COMPLETED", "RESTORE_JOB_SUCCESSFUL", "RESTORE_JOB_FAILED",
	"COPY_JOB_STARTED", "COPY_JOB_SUCCESSFUL", "COPY_JOB_FAILED",
	"RECOVERY_POINT_MODIFIED", "BACKUP_PLAN_CREATED", "BACKUP_PLAN_MODIFIED",
	"S3_BACKUP_OBJECT_FAILED", "S3_RESTORE_OBJECT_FAILED", "CONTINUOUS_BACKUP_INTERRUPTED",
	"RECOVERY_POINT_INDEX_COMPLETED", "RECOVERY_POINT_INDEX_DELETED", "RECOVERY_POINT_INDEXING_FAILED",
	"EKS_BACKUP_OBJECT_FAILED", "EKS_RESTORE_OBJECT_FAILED", "EKS_RESTORE_OBJECT_SKIPPED",
}

// PutNotifications stores a vault's notification configuration. Errors: NotFound, Invalid, Missing.
func (s *Service) PutNotifications(ctx context.Context, account, region, name string, n Notifications) error {
	a, err := arn.Parse(n.TopicARN)
	if err != nil || a.Service != "sns" || a.Region == "" || !arn.ValidAccount(a.Account) {
		return fault.New(fault.Invalid, "Invalid SNSTopicArn %q: it must be the ARN of a topic.", n.TopicARN)
	}
	if len(n.Events) == 0 {
		return fault.New(fault.Missing, "BackupVaultEvents must name at least one event.")
	}
	for _, e := range n.Events {
		if !slices.Contains(vaultEvents, e) {
			return fault.New(fault.Invalid, "Invalid event %q in BackupVaultEvents.", e)
		}
	}
	return s.changeVault(ctx, account, region, name, func(ctx context.Context, tx *db.Tx, v Vault) error {
		v.Notifications = Notifications{TopicARN: n.TopicARN, Events: slices.Compact(slices.Sorted(slices.Values(n.Events)))}
		return updateVault(ctx, tx, v)
	})
}

// VaultNotifications returns a vault with its notification configuration. Errors: Denied when there is no vault; NotFound
// when it has no configuration.
func (s *Service) VaultNotifications(ctx context.Context, account, region, name string) (Vault, error) {
	v, err := s.Vault(ctx, account, region, name)
	if err == nil && v.Notifications.TopicARN == "" {
		err = fault.New(fault.NotFound, "Backup vault %s has no notifications.", name).WithResource(v.ARN())
	}
	return v, err
}

// DeleteNotifications removes a vault's notification configuration, if any. Errors: NotFound when there is no vault.
func (s *Service) DeleteNotifications(ctx context.Context, account, region, name string) error {
	return s.changeVault(ctx, account, region, name, func(ctx context.Context, tx *db.Tx, v Vault) error {
		v.Notifications = Notifications{Events: []string{}}
		return updateVault(ctx, tx, v)
	})
}
