package backupapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/backup"
)

func planInput() *backuptypes.BackupPlanInput {
	return &backuptypes.BackupPlanInput{BackupPlanName: aws.String("protection"), Rules: []backuptypes.BackupRuleInput{{
		RuleName: aws.String("Daily"), TargetBackupVaultName: aws.String("main"), ScheduleExpression: aws.String("cron(30 12 * * ? *)"),
		StartWindowMinutes: aws.Int64(60), CompletionWindowMinutes: aws.Int64(180), Lifecycle: &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(30)},
		CopyActions: []backuptypes.CopyAction{{DestinationBackupVaultArn: aws.String("arn:aws:backup:us-east-1:222222222222:backup-vault:isolated"),
			Lifecycle: &backuptypes.Lifecycle{MoveToColdStorageAfterDays: aws.Int64(7), DeleteAfterDays: aws.Int64(90)}}},
	}}}
}

func TestPlansAndSelectionsOverTheWire(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	c := n.as(prod)
	made, err := c.CreateBackupPlan(ctx, &awsbackup.CreateBackupPlanInput{BackupPlan: planInput(), BackupPlanTags: map[string]string{"team": "x"}})
	must(t, err)
	_, err = c.CreateBackupPlan(ctx, &awsbackup.CreateBackupPlanInput{BackupPlan: planInput()})
	refused(t, err, "AlreadyExistsException", "Backup plan with the same plan document already exists")

	for name, change := range map[string]func(*backuptypes.BackupPlanInput){
		"cron":              func(p *backuptypes.BackupPlanInput) { p.Rules[0].ScheduleExpression = aws.String("cron(61 3 * * ? *)") },
		"window":            func(p *backuptypes.BackupPlanInput) { p.Rules[0].StartWindowMinutes = aws.Int64(0) },
		"continuous backup": func(p *backuptypes.BackupPlanInput) { p.Rules[0].EnableContinuousBackup = aws.Bool(true) },
		"air-gapped": func(p *backuptypes.BackupPlanInput) {
			p.Rules[0].TargetLogicallyAirGappedBackupVaultArn = aws.String("arn:aws:backup:us-east-1:111111111111:backup-vault:lag")
		},
		"index": func(p *backuptypes.BackupPlanInput) {
			p.Rules[0].IndexActions = []backuptypes.IndexAction{{ResourceTypes: []string{"S3"}}}
		},
	} {
		p := planInput()
		p.BackupPlanName = aws.String("other")
		change(p)
		_, err := c.CreateBackupPlan(ctx, &awsbackup.CreateBackupPlanInput{BackupPlan: p})
		if err == nil {
			t.Fatalf("%s was accepted", name)
		}
		refused(t, err, "InvalidParameterValueException", "")
	}

	got, err := c.GetBackupPlan(ctx, &awsbackup.GetBackupPlanInput{BackupPlanId: made.BackupPlanId, MaxScheduledRunsPreview: 2})
	must(t, err)
	rule := got.BackupPlan.Rules[0]
	if *got.BackupPlanArn != *made.BackupPlanArn || *got.VersionId != *made.VersionId || aws.ToString(rule.RuleId) == "" || *rule.ScheduleExpressionTimezone != "Etc/UTC" ||
		*rule.Lifecycle.DeleteAfterDays != 30 || *rule.CopyActions[0].Lifecycle.DeleteAfterDays != 90 || len(got.ScheduledRunsPreview) != 2 || *got.ScheduledRunsPreview[0].RuleId != *rule.RuleId {
		t.Fatalf("%+v", got)
	}
	update := planInput()
	update.Rules[0].CompletionWindowMinutes = aws.Int64(240)
	changed, err := c.UpdateBackupPlan(ctx, &awsbackup.UpdateBackupPlanInput{BackupPlanId: made.BackupPlanId, BackupPlan: update})
	must(t, err)
	versions, err := c.ListBackupPlanVersions(ctx, &awsbackup.ListBackupPlanVersionsInput{BackupPlanId: made.BackupPlanId})
	must(t, err)
	if len(versions.BackupPlanVersionsList) != 2 || *versions.BackupPlanVersionsList[0].VersionId != *changed.VersionId {
		t.Fatalf("%+v", versions.BackupPlanVersionsList)
	}
	tags, err := c.ListTags(ctx, &awsbackup.ListTagsInput{ResourceArn: made.BackupPlanArn})
	must(t, err)
	if tags.Tags["team"] != "x" {
		t.Fatalf("%+v", tags.Tags)
	}

	// Terraform sends empty members.
	sel, err := c.CreateBackupSelection(ctx, &awsbackup.CreateBackupSelectionInput{BackupPlanId: made.BackupPlanId, BackupSelection: &backuptypes.BackupSelection{
		SelectionName: aws.String("s"), IamRoleArn: aws.String(role), Resources: []string{}, NotResources: []string{}, Conditions: &backuptypes.Conditions{},
		ListOfTags: []backuptypes.Condition{{ConditionType: backuptypes.ConditionTypeStringequals, ConditionKey: aws.String("stage"), ConditionValue: aws.String("prod")}},
	}})
	must(t, err)
	_, err = c.CreateBackupSelection(ctx, &awsbackup.CreateBackupSelectionInput{BackupPlanId: made.BackupPlanId, BackupSelection: &backuptypes.BackupSelection{
		SelectionName: aws.String("t"), IamRoleArn: aws.String(role), ListOfTags: []backuptypes.Condition{}}})
	refused(t, err, "InvalidParameterValueException", "Invalid backup selection. Either 'ListOfTags' or 'Resources' section must be non-empty.")
	read, err := c.GetBackupSelection(ctx, &awsbackup.GetBackupSelectionInput{BackupPlanId: made.BackupPlanId, SelectionId: sel.SelectionId})
	must(t, err)
	if b := read.BackupSelection; b.Conditions == nil || len(b.ListOfTags) != 1 || b.ListOfTags[0].ConditionType != "STRINGEQUALS" || *b.IamRoleArn != role {
		t.Fatalf("%+v", b)
	}
	listed, err := c.ListBackupSelections(ctx, &awsbackup.ListBackupSelectionsInput{BackupPlanId: made.BackupPlanId})
	must(t, err)
	if len(listed.BackupSelectionsList) != 1 || *listed.BackupSelectionsList[0].SelectionName != "s" {
		t.Fatalf("%+v", listed.BackupSelectionsList)
	}
	_, err = c.DeleteBackupPlan(ctx, &awsbackup.DeleteBackupPlanInput{BackupPlanId: made.BackupPlanId})
	refused(t, err, "InvalidRequestException", "Related backup plan selections must be deleted prior to backup plan deletion")
	_, err = c.DeleteBackupSelection(ctx, &awsbackup.DeleteBackupSelectionInput{BackupPlanId: made.BackupPlanId, SelectionId: sel.SelectionId})
	must(t, err)
	gone, err := c.DeleteBackupPlan(ctx, &awsbackup.DeleteBackupPlanInput{BackupPlanId: made.BackupPlanId})
	must(t, err)
	if gone.DeletionDate == nil || *gone.VersionId != *changed.VersionId {
		t.Fatalf("%+v", gone)
	}
	_, err = c.GetBackupPlan(ctx, &awsbackup.GetBackupPlanInput{BackupPlanId: made.BackupPlanId})
	refused(t, err, "ResourceNotFoundException", "")
	_, err = c.GetBackupSelection(ctx, &awsbackup.GetBackupSelectionInput{BackupPlanId: made.BackupPlanId, SelectionId: sel.SelectionId})
	refused(t, err, "InvalidParameterValueException", "")
	if !strings.Contains(err.Error(), "Cannot find Backup plan") {
		t.Fatal(err)
	}
	list, err := c.ListBackupPlans(ctx, &awsbackup.ListBackupPlansInput{IncludeDeleted: aws.Bool(true)})
	must(t, err)
	if len(list.BackupPlansList) != 1 || list.BackupPlansList[0].DeletionDate == nil {
		t.Fatalf("%+v", list.BackupPlansList)
	}
}

func TestPassingARoleIsARightOfItsOwn(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	_, err := n.as(prod).CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("main")})
	must(t, err)
	point := n.backup("main")
	n.allow[prod] = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"backup:*","Resource":"*"},
		{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}}]}`
	c := n.as(prod)
	_, err = c.StartBackupJob(ctx, &awsbackup.StartBackupJobInput{BackupVaultName: aws.String("main"), ResourceArn: aws.String(fs), IamRoleArn: aws.String(role)})
	refused(t, err, "AccessDeniedException", "")
	_, err = c.StartCopyJob(ctx, &awsbackup.StartCopyJobInput{RecoveryPointArn: &point, SourceBackupVaultName: aws.String("main"), IamRoleArn: aws.String(role),
		DestinationBackupVaultArn: aws.String(backup.VaultARN(prod, region, "main"))})
	refused(t, err, "AccessDeniedException", "")
	_, err = c.StartRestoreJob(ctx, &awsbackup.StartRestoreJobInput{RecoveryPointArn: &point, IamRoleArn: aws.String(role), Metadata: map[string]string{}})
	refused(t, err, "AccessDeniedException", "")
	made, err := c.CreateBackupPlan(ctx, &awsbackup.CreateBackupPlanInput{BackupPlan: planInput()})
	must(t, err)
	_, err = c.CreateBackupSelection(ctx, &awsbackup.CreateBackupSelectionInput{BackupPlanId: made.BackupPlanId, BackupSelection: &backuptypes.BackupSelection{
		SelectionName: aws.String("s"), IamRoleArn: aws.String(role), Resources: []string{"*"}}})
	refused(t, err, "AccessDeniedException", "")
	// Where copies may go is a condition of the start.
	n.allow[prod] = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["backup:*","iam:PassRole"],"Resource":"*"},
		{"Effect":"Deny","Action":"backup:StartCopyJob","Resource":"*","Condition":{"ForAnyValue:ArnLike":{"backup:CopyTargets":"arn:aws:backup:*:222222222222:backup-vault:*"}}}]}`
	to := func(account string) error {
		_, err := c.StartCopyJob(ctx, &awsbackup.StartCopyJobInput{RecoveryPointArn: &point, SourceBackupVaultName: aws.String("main"), IamRoleArn: aws.String(role),
			DestinationBackupVaultArn: aws.String(backup.VaultARN(account, region, "main"))})
		return err
	}
	must(t, to(prod))
	refused(t, to(vaults), "AccessDeniedException", "")
}

func TestJobsOverTheWire(t *testing.T) {
	t.Parallel()
	n := start(t)
	ctx := t.Context()
	c := n.as(prod)
	_, err := c.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("main")})
	must(t, err)
	first := n.backup("main")
	n.clock.Advance(time.Second)

	in := &awsbackup.StartBackupJobInput{BackupVaultName: aws.String("main"), ResourceArn: aws.String(fs), IamRoleArn: aws.String(role), IdempotencyToken: aws.String("t"),
		Lifecycle: &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(5)}, StartWindowMinutes: aws.Int64(60), CompleteWindowMinutes: aws.Int64(120)}
	b, err := c.StartBackupJob(ctx, in)
	must(t, err)
	again, err := c.StartBackupJob(ctx, in)
	must(t, err)
	if *again.BackupJobId != *b.BackupJobId || aws.ToString(b.RecoveryPointArn) == "" {
		t.Fatalf("%+v %+v", b, again)
	}
	j, err := c.DescribeBackupJob(ctx, &awsbackup.DescribeBackupJobInput{BackupJobId: b.BackupJobId})
	must(t, err)
	if j.State != "CREATED" || *j.PercentDone != "0.0" || *j.RecoveryPointArn != *b.RecoveryPointArn || *j.ResourceType != "EFS" || *j.AccountId != prod || j.CreatedBy != nil ||
		!j.StartBy.Equal(n.clock.Now().Add(time.Hour)) || *j.RecoveryPointLifecycle.DeleteAfterDays != 5 {
		t.Fatalf("%+v", j)
	}
	_, err = c.StopBackupJob(ctx, &awsbackup.StopBackupJobInput{BackupJobId: b.BackupJobId})
	must(t, err)
	_, err = c.StopBackupJob(ctx, &awsbackup.StopBackupJobInput{BackupJobId: b.BackupJobId})
	refused(t, err, "InvalidRequestException", "")
	list, err := c.ListBackupJobs(ctx, &awsbackup.ListBackupJobsInput{ByAccountId: aws.String("*"), ByState: "ABORTED"})
	must(t, err)
	if len(list.BackupJobs) != 1 || *list.BackupJobs[0].StatusMessage != "Backup job was stopped by user." || list.BackupJobs[0].RecoveryPointArn != nil {
		t.Fatalf("%+v", list.BackupJobs)
	}
	_, err = c.DescribeBackupJob(ctx, &awsbackup.DescribeBackupJobInput{BackupJobId: aws.String("none")})
	refused(t, err, "ResourceNotFoundException", "")

	_, err = n.as(vaults).CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("isolated")})
	must(t, err)
	to := backup.VaultARN(vaults, region, "isolated")
	cp, err := c.StartCopyJob(ctx, &awsbackup.StartCopyJobInput{RecoveryPointArn: &first, SourceBackupVaultName: aws.String("main"), DestinationBackupVaultArn: &to, IamRoleArn: aws.String(role)})
	must(t, err)
	l, ok, err := n.jobs.Claim(ctx, backup.CopyKind)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	_, err = n.service.BeginCopy(ctx, l)
	must(t, err)
	must(t, n.service.FinishCopy(ctx, l, backup.CopyResult{SizeBytes: 42}))
	cj, err := c.DescribeCopyJob(ctx, &awsbackup.DescribeCopyJobInput{CopyJobId: cp.CopyJobId})
	must(t, err)
	if k := cj.CopyJob; k.State != "COMPLETED" || *k.DestinationBackupVaultArn != to || *k.MessageCategory != "SUCCESS" || *k.BackupSizeInBytes != 42 || aws.ToString(k.DestinationRecoveryPointArn) == "" {
		t.Fatalf("%+v", k)
	}
	copies, err := c.ListCopyJobs(ctx, &awsbackup.ListCopyJobsInput{ByDestinationVaultArn: &to})
	must(t, err)
	if len(copies.CopyJobs) != 1 {
		t.Fatalf("%+v", copies.CopyJobs)
	}

	rs, err := n.as(vaults).StartRestoreJob(ctx, &awsbackup.StartRestoreJobInput{RecoveryPointArn: cj.CopyJob.DestinationRecoveryPointArn, IamRoleArn: aws.String("arn:aws:iam::222222222222:role/backup"), Metadata: map[string]string{"newFileSystem": "true"}})
	must(t, err)
	rj, err := n.as(vaults).DescribeRestoreJob(ctx, &awsbackup.DescribeRestoreJobInput{RestoreJobId: rs.RestoreJobId})
	must(t, err)
	if rj.Status != "PENDING" || *rj.PercentDone != "0.0" || *rj.SourceResourceArn != fs {
		t.Fatalf("%+v", rj)
	}
	meta, err := n.as(vaults).GetRestoreJobMetadata(ctx, &awsbackup.GetRestoreJobMetadataInput{RestoreJobId: rs.RestoreJobId})
	must(t, err)
	if meta.Metadata["newFileSystem"] != "true" {
		t.Fatalf("%+v", meta)
	}
	byResource, err := n.as(vaults).ListRestoreJobsByProtectedResource(ctx, &awsbackup.ListRestoreJobsByProtectedResourceInput{ResourceArn: aws.String(fs)})
	must(t, err)
	all, err := n.as(vaults).ListRestoreJobs(ctx, &awsbackup.ListRestoreJobsInput{ByStatus: "PENDING"})
	must(t, err)
	if len(byResource.RestoreJobs) != 1 || len(all.RestoreJobs) != 1 {
		t.Fatalf("%d and %d", len(byResource.RestoreJobs), len(all.RestoreJobs))
	}
	_, err = c.DescribeRestoreJob(ctx, &awsbackup.DescribeRestoreJobInput{RestoreJobId: rs.RestoreJobId})
	refused(t, err, "ResourceNotFoundException", "")
}
