package backupapi_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
)

func TestRecoveryPointsOverTheWire(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	c := n.as(prod)
	name := aws.String("main")
	_, err := c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: name})
	must(t, err)
	born := n.clock.Now()
	first := aws.String(n.backup("main"))
	n.clock.Advance(time.Hour)
	second := n.backup("main")

	got, err := c.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: first})
	must(t, err)
	if *got.RecoveryPointArn != *first || got.Status != "COMPLETED" || *got.ResourceArn != fs || *got.ResourceType != "EFS" || *got.ResourceName != "files" || *got.BackupSizeInBytes != 42 ||
		!got.CreationDate.Equal(born) || got.StorageClass != "WARM" || !got.IsEncrypted || got.Lifecycle != nil || got.CalculatedLifecycle != nil || got.CreatedBy != nil || *got.IamRoleArn != role ||
		*got.EncryptionKeyArn != "arn:aws:kms:us-east-1:111111111111:key/service" || got.VaultType != "BACKUP_VAULT" {
		t.Fatalf("%+v", got)
	}
	_, err = c.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: aws.String(*first + "0")})
	refused(t, err, "ResourceNotFoundException", "Cannot find recovery point "+*first+"0.")
	_, err = c.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: aws.String("none"), RecoveryPointArn: first})
	refused(t, err, "AccessDeniedException", "Insufficient privileges to perform this action.")

	meta, err := c.GetRecoveryPointRestoreMetadata(ctx, &awsbackup.GetRecoveryPointRestoreMetadataInput{BackupVaultName: name, RecoveryPointArn: first})
	must(t, err)
	if meta.RestoreMetadata["file-system-id"] != "fs-0123456789abcdef0" || *meta.ResourceType != "EFS" {
		t.Fatalf("%+v", meta)
	}

	life, err := c.UpdateRecoveryPointLifecycle(ctx, &awsbackup.UpdateRecoveryPointLifecycleInput{BackupVaultName: name, RecoveryPointArn: first,
		Lifecycle: &backuptypes.Lifecycle{MoveToColdStorageAfterDays: aws.Int64(7), DeleteAfterDays: aws.Int64(90)}})
	must(t, err)
	if !life.CalculatedLifecycle.DeleteAt.Equal(born.Add(90*24*time.Hour)) || !life.CalculatedLifecycle.MoveToColdStorageAt.Equal(born.Add(7*24*time.Hour)) || *life.Lifecycle.DeleteAfterDays != 90 {
		t.Fatalf("%+v", life)
	}
	_, err = c.UpdateRecoveryPointLifecycle(ctx, &awsbackup.UpdateRecoveryPointLifecycleInput{BackupVaultName: name, RecoveryPointArn: first,
		Lifecycle: &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(40000)}})
	refused(t, err, "InvalidParameterValueException", "Invalid lifecycle. DeleteAfterDays cannot be less than 1 or more than 36500 days")
	_, err = c.UpdateRecoveryPointLifecycle(ctx, &awsbackup.UpdateRecoveryPointLifecycleInput{BackupVaultName: name, RecoveryPointArn: first})
	refused(t, err, "MissingParameterValueException", "")
	_, err = c.DisassociateRecoveryPoint(ctx, &awsbackup.DisassociateRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: first})
	refused(t, err, "InvalidRequestException", "")

	list, err := c.ListRecoveryPointsByBackupVault(ctx, &awsbackup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: name, ByCreatedAfter: aws.Time(born.Add(time.Minute))})
	must(t, err)
	if len(list.RecoveryPoints) != 1 || *list.RecoveryPoints[0].RecoveryPointArn != second || list.RecoveryPoints[0].Status != "COMPLETED" {
		t.Fatalf("%+v", list.RecoveryPoints)
	}
	byResource, err := c.ListRecoveryPointsByResource(ctx, &awsbackup.ListRecoveryPointsByResourceInput{ResourceArn: aws.String(fs)})
	must(t, err)
	if len(byResource.RecoveryPoints) != 2 || *byResource.RecoveryPoints[0].RecoveryPointArn != second || *byResource.RecoveryPoints[0].BackupSizeBytes != 42 {
		t.Fatalf("%+v", byResource.RecoveryPoints)
	}
	protected, err := c.ListProtectedResources(ctx, &awsbackup.ListProtectedResourcesInput{})
	must(t, err)
	inVault, err := c.ListProtectedResourcesByBackupVault(ctx, &awsbackup.ListProtectedResourcesByBackupVaultInput{BackupVaultName: name})
	must(t, err)
	for _, r := range [][]backuptypes.ProtectedResource{protected.Results, inVault.Results} {
		if len(r) != 1 || *r[0].ResourceArn != fs || *r[0].LastRecoveryPointArn != second {
			t.Fatalf("%+v", r)
		}
	}
	res, err := c.DescribeProtectedResource(ctx, &awsbackup.DescribeProtectedResourceInput{ResourceArn: aws.String(fs)})
	must(t, err)
	if *res.LastRecoveryPointArn != second || res.LatestRestoreJobCreationDate != nil || res.LatestRestoreExecutionTimeMinutes != nil {
		t.Fatalf("%+v", res)
	}
	_, err = c.DescribeProtectedResource(ctx, &awsbackup.DescribeProtectedResourceInput{ResourceArn: aws.String("arn:aws:s3:::none")})
	refused(t, err, "ResourceNotFoundException", "")

	_, err = c.DeleteRecoveryPoint(ctx, &awsbackup.DeleteRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: first})
	must(t, err)
	got, err = c.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: first})
	must(t, err)
	if got.Status != "DELETING" {
		t.Fatalf("status %s", got.Status)
	}
	n.purge()
	_, err = c.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: first})
	refused(t, err, "ResourceNotFoundException", "")
}

func TestTagsOverTheWire(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	c := n.as(prod)
	v, err := c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("main")})
	must(t, err)
	point := n.backup("main")
	for _, name := range []string{*v.BackupVaultArn, point} {
		_, err = c.TagResource(ctx, &awsbackup.TagResourceInput{ResourceArn: &name, Tags: map[string]string{"a": "1", "b": "2"}})
		must(t, err)
		_, err = c.UntagResource(ctx, &awsbackup.UntagResourceInput{ResourceArn: &name, TagKeyList: []string{"b", "stage"}})
		must(t, err)
		got, err := c.ListTags(ctx, &awsbackup.ListTagsInput{ResourceArn: &name})
		must(t, err)
		if len(got.Tags) != 1 || got.Tags["a"] != "1" {
			t.Fatalf("%s: %v", name, got.Tags)
		}
		_, err = c.TagResource(ctx, &awsbackup.TagResourceInput{ResourceArn: &name, Tags: map[string]string{"aws:a": "1"}})
		refused(t, err, "InvalidParameterValueException", "")
	}
	_, err = c.ListTags(ctx, &awsbackup.ListTagsInput{ResourceArn: aws.String(point + "0")})
	refused(t, err, "ResourceNotFoundException", "")
}

func TestSettingsOverTheWire(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	_, err := n.as(prod).UpdateRegionSettings(ctx, &awsbackup.UpdateRegionSettingsInput{
		ResourceTypeManagementPreference: map[string]bool{"EFS": true, "DynamoDB": false}, ResourceTypeOptInPreference: map[string]bool{"EFS": false}})
	must(t, err)
	r, err := n.as(prod).DescribeRegionSettings(ctx, &awsbackup.DescribeRegionSettingsInput{})
	must(t, err)
	if r.ResourceTypeOptInPreference["EFS"] || !r.ResourceTypeOptInPreference["S3"] || r.ResourceTypeManagementPreference["DynamoDB"] {
		t.Fatalf("%+v", r)
	}
	_, err = n.as(prod).UpdateGlobalSettings(ctx, &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "true"}})
	refused(t, err, "InvalidRequestException", "")
	_, err = n.as(vaults).UpdateGlobalSettings(ctx, &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "true"}})
	must(t, err)
	g, err := n.as(prod).DescribeGlobalSettings(ctx, &awsbackup.DescribeGlobalSettingsInput{})
	must(t, err)
	if g.GlobalSettings["isCrossAccountBackupEnabled"] != "true" || g.LastUpdateTime == nil {
		t.Fatalf("%+v", g)
	}
	types, err := n.as(prod).GetSupportedResourceTypes(ctx, &awsbackup.GetSupportedResourceTypesInput{})
	must(t, err)
	if len(types.ResourceTypes) != 1 || types.ResourceTypes[0] != "EFS" {
		t.Fatalf("%v", types.ResourceTypes)
	}
}
