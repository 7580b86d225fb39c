package backupapi_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/backup"
)

func TestVaultsOverTheWire(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	c := n.as(prod)
	name := aws.String("main")
	made, err := c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: name, BackupVaultTags: map[string]string{"a": "b"}})
	must(t, err)
	if *made.BackupVaultArn != backup.VaultARN(prod, region, "main") || !made.CreationDate.Equal(n.clock.Now()) {
		t.Fatalf("%+v", made)
	}
	_, err = c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: name})
	refused(t, err, "AlreadyExistsException", "Backup vault with the same name already exists")
	var exists *backuptypes.AlreadyExistsException
	if !errors.As(err, &exists) || aws.ToString(exists.Arn) != *made.BackupVaultArn || aws.ToString(exists.CreatorRequestId) == "" {
		t.Fatalf("%+v", exists)
	}
	_, err = c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("no spaces")})
	refused(t, err, "InvalidParameterValueException", "")

	got, err := c.DescribeBackupVault(ctx, &awsbackup.DescribeBackupVaultInput{BackupVaultName: name, BackupVaultAccountId: aws.String(prod)})
	must(t, err)
	if *got.BackupVaultName != "main" || got.VaultState != "AVAILABLE" || got.VaultType != "BACKUP_VAULT" || *got.Locked || got.LockDate != nil || got.MinRetentionDays != nil ||
		*got.EncryptionKeyArn != "arn:aws:kms:us-east-1:111111111111:key/service" || got.NumberOfRecoveryPoints != 0 {
		t.Fatalf("%+v", got)
	}
	for _, in := range []*awsbackup.DescribeBackupVaultInput{
		{BackupVaultName: aws.String("none")}, {BackupVaultName: name, BackupVaultAccountId: aws.String(vaults)},
	} {
		_, err = c.DescribeBackupVault(ctx, in)
		refused(t, err, "AccessDeniedException", "Insufficient privileges to perform this action.")
	}

	_, err = c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("other")})
	must(t, err)
	pages := awsbackup.NewListBackupVaultsPaginator(c, &awsbackup.ListBackupVaultsInput{MaxResults: aws.Int32(1)})
	listed := ""
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		must(t, err)
		for _, v := range p.BackupVaultList {
			listed += *v.BackupVaultName + " "
		}
	}
	if listed != "main other " {
		t.Fatalf("listed %q", listed)
	}
	_, err = c.ListBackupVaults(ctx, &awsbackup.ListBackupVaultsInput{NextToken: aws.String("made-up")})
	refused(t, err, "InvalidParameterValueException", "")
	shared, err := c.ListBackupVaults(ctx, &awsbackup.ListBackupVaultsInput{ByShared: true})
	must(t, err)
	if len(shared.BackupVaultList) != 0 {
		t.Fatal("shared vaults out of nowhere")
	}

	n.backup("main")
	_, err = c.DeleteBackupVault(ctx, &awsbackup.DeleteBackupVaultInput{BackupVaultName: name})
	refused(t, err, "InvalidRequestException", "Backup vault cannot be deleted because it contains recovery points.")
	var request *backuptypes.InvalidRequestException
	if !errors.As(err, &request) || aws.ToString(request.Code) != "ERROR_9101" || aws.ToString(request.Type) != "Client" {
		t.Fatalf("%+v", request)
	}
	_, err = c.DeleteBackupVault(ctx, &awsbackup.DeleteBackupVaultInput{BackupVaultName: aws.String("other")})
	must(t, err)
	_, err = c.DeleteBackupVault(ctx, &awsbackup.DeleteBackupVaultInput{BackupVaultName: aws.String("other")})
	refused(t, err, "AccessDeniedException", "Insufficient privileges to perform this action.")
}

func TestVaultLockOverTheWire(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	c := n.as(prod)
	name := aws.String("main")
	_, err := c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: name})
	must(t, err)
	point := aws.String(n.backup("main"))
	_, err = c.PutBackupVaultLockConfiguration(ctx, &awsbackup.PutBackupVaultLockConfigurationInput{BackupVaultName: name, ChangeableForDays: aws.Int64(2)})
	refused(t, err, "InvalidParameterValueException", "")
	_, err = c.PutBackupVaultLockConfiguration(ctx, &awsbackup.PutBackupVaultLockConfigurationInput{
		BackupVaultName: name, MinRetentionDays: aws.Int64(7), MaxRetentionDays: aws.Int64(30), ChangeableForDays: aws.Int64(3)})
	must(t, err)
	got, err := c.DescribeBackupVault(ctx, &awsbackup.DescribeBackupVaultInput{BackupVaultName: name})
	must(t, err)
	if !*got.Locked || *got.MinRetentionDays != 7 || *got.MaxRetentionDays != 30 || !got.LockDate.Equal(n.clock.Now().Add(3*24*time.Hour)) || got.NumberOfRecoveryPoints != 1 {
		t.Fatalf("%+v", got)
	}
	_, err = c.DeleteRecoveryPoint(ctx, &awsbackup.DeleteRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: point})
	refused(t, err, "InvalidRequestException", "")
	_, err = c.UpdateRecoveryPointLifecycle(ctx, &awsbackup.UpdateRecoveryPointLifecycleInput{BackupVaultName: name, RecoveryPointArn: point, Lifecycle: &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(1)}})
	refused(t, err, "InvalidRequestException", "")
	n.clock.Advance(3 * 24 * time.Hour)
	_, err = c.DeleteBackupVaultLockConfiguration(ctx, &awsbackup.DeleteBackupVaultLockConfigurationInput{BackupVaultName: name})
	refused(t, err, "InvalidRequestException", "Vault Lock configuration is immutable and cannot be deleted")
	_, err = c.PutBackupVaultLockConfiguration(ctx, &awsbackup.PutBackupVaultLockConfigurationInput{BackupVaultName: name})
	refused(t, err, "InvalidRequestException", "Vault Lock configuration is immutable and cannot be modified")
}

func TestVaultPolicyIsEnforcedOnTheVaultAndItsRecoveryPoints(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	c := n.as(prod)
	name := aws.String("main")
	_, err := c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: name})
	must(t, err)
	point := aws.String(n.backup("main"))
	_, err = c.GetBackupVaultAccessPolicy(ctx, &awsbackup.GetBackupVaultAccessPolicyInput{BackupVaultName: name})
	refused(t, err, "ResourceNotFoundException", "")
	_, err = c.PutBackupVaultAccessPolicy(ctx, &awsbackup.PutBackupVaultAccessPolicyInput{BackupVaultName: name,
		Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:*","Resource":"*"}]}`)})
	refused(t, err, "InvalidParameterValueException", "")
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":["backup:DeleteRecoveryPoint","backup:DeleteBackupVault"],"Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::222222222222:root"},"Action":["backup:DescribeRecoveryPoint","backup:DeleteRecoveryPoint"],"Resource":"*"}]}`
	_, err = c.PutBackupVaultAccessPolicy(ctx, &awsbackup.PutBackupVaultAccessPolicyInput{BackupVaultName: name, Policy: &text})
	must(t, err)
	got, err := c.GetBackupVaultAccessPolicy(ctx, &awsbackup.GetBackupVaultAccessPolicyInput{BackupVaultName: name})
	must(t, err)
	if *got.Policy != text {
		t.Fatalf("policy came back as %s", *got.Policy)
	}
	_, err = c.DeleteRecoveryPoint(ctx, &awsbackup.DeleteRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: point})
	refused(t, err, "AccessDeniedException", "")
	want := "User: arn:aws:iam::111111111111:user/u is not authorized to perform: backup:DeleteRecoveryPoint on resource: " + *point + " with an explicit deny in a resource-based policy"
	if !strings.Contains(err.Error(), want) {
		t.Fatalf("denial says %v", err)
	}
	_, err = c.DeleteBackupVault(ctx, &awsbackup.DeleteBackupVaultInput{BackupVaultName: name})
	refused(t, err, "AccessDeniedException", "")
	_, err = c.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: point})
	must(t, err)

	// Whatever the policy says, another account gets nothing through it.
	_, err = n.as(vaults).DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: point})
	refused(t, err, "AccessDeniedException", "")
	_, err = n.as(vaults).DeleteRecoveryPoint(ctx, &awsbackup.DeleteRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: point})
	refused(t, err, "AccessDeniedException", "")
	_, err = n.as(vaults).TagResource(ctx, &awsbackup.TagResourceInput{ResourceArn: point, Tags: map[string]string{"a": "b"}})
	refused(t, err, "AccessDeniedException", "")
}

func TestConditionKeysReachTheAuthorizer(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.allow[prod] = `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["backup:CreateBackupVault","backup-storage:MountCapsule"],"Resource":"*","Condition":{"StringEqualsIfExists":{"aws:RequestTag/team":"blue"}}},
		{"Effect":"Allow","Action":"backup:PutBackupVaultLockConfiguration","Resource":"*","Condition":{"NumericGreaterThanEquals":{"backup:MinRetentionDays":"30"}}},
		{"Effect":"Allow","Action":"backup:TagResource","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["team","stage"]}}},
		{"Effect":"Allow","Action":"backup:DescribeRecoveryPoint","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/stage":"prod"}}}]}`
	ctx := t.Context()
	c := n.as(prod)
	name := aws.String("main")
	_, err := c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: name, BackupVaultTags: map[string]string{"team": "red"}})
	refused(t, err, "AccessDeniedException", "")
	made, err := c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: name, BackupVaultTags: map[string]string{"team": "blue"}})
	must(t, err)
	_, err = c.PutBackupVaultLockConfiguration(ctx, &awsbackup.PutBackupVaultLockConfigurationInput{BackupVaultName: name, MinRetentionDays: aws.Int64(7)})
	refused(t, err, "AccessDeniedException", "")
	_, err = c.PutBackupVaultLockConfiguration(ctx, &awsbackup.PutBackupVaultLockConfigurationInput{BackupVaultName: name, MinRetentionDays: aws.Int64(30)})
	must(t, err)
	must(t, n.service.UnlockVault(ctx, prod, region, "main"))
	_, err = c.TagResource(ctx, &awsbackup.TagResourceInput{ResourceArn: made.BackupVaultArn, Tags: map[string]string{"secret": "x"}})
	refused(t, err, "AccessDeniedException", "")
	_, err = c.TagResource(ctx, &awsbackup.TagResourceInput{ResourceArn: made.BackupVaultArn, Tags: map[string]string{"stage": "x"}})
	must(t, err)
	point := aws.String(n.backup("main")) // takes over the resource's tag stage=prod
	_, err = c.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: point})
	must(t, err)
	must(t, n.service.RemoveTags(ctx, prod, region, *point, []string{"stage"}))
	_, err = c.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: point})
	refused(t, err, "AccessDeniedException", "")
}

func TestNotificationsOverTheWire(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	c := n.as(prod)
	name := aws.String("Default") // comes into being here
	topic := aws.String("arn:aws:sns:us-east-1:111111111111:t")
	_, err := c.PutBackupVaultNotifications(ctx, &awsbackup.PutBackupVaultNotificationsInput{BackupVaultName: name, SNSTopicArn: topic, BackupVaultEvents: []backuptypes.BackupVaultEvent{"NONSENSE"}})
	refused(t, err, "InvalidParameterValueException", "")
	_, err = c.PutBackupVaultNotifications(ctx, &awsbackup.PutBackupVaultNotificationsInput{BackupVaultName: name, SNSTopicArn: topic,
		BackupVaultEvents: []backuptypes.BackupVaultEvent{backuptypes.BackupVaultEventCopyJobFailed}})
	must(t, err)
	got, err := c.GetBackupVaultNotifications(ctx, &awsbackup.GetBackupVaultNotificationsInput{BackupVaultName: name})
	must(t, err)
	if *got.SNSTopicArn != *topic || len(got.BackupVaultEvents) != 1 || got.BackupVaultEvents[0] != backuptypes.BackupVaultEventCopyJobFailed {
		t.Fatalf("%+v", got)
	}
	_, err = c.DeleteBackupVaultNotifications(ctx, &awsbackup.DeleteBackupVaultNotificationsInput{BackupVaultName: name})
	must(t, err)
	_, err = c.GetBackupVaultNotifications(ctx, &awsbackup.GetBackupVaultNotificationsInput{BackupVaultName: name})
	refused(t, err, "ResourceNotFoundException", "")
}
