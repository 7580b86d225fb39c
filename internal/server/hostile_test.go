package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"strongroom/internal/access"
	"strongroom/internal/agent"
	"strongroom/internal/backup"
	"strongroom/internal/db"
	"strongroom/internal/job"
	"strongroom/internal/kms"
)

// The accounts of the tests below: production is in hostile hands, vaults is what it is after.
const (
	production = "111111111111"
	vaults     = "222222222222"
)

// organization makes an organization with both accounts and returns clients of an administrator of each.
func (n *node) organization(t *testing.T) (prod, backups clients) {
	t.Helper()
	admin := n.user(t, "admin")
	if _, err := n.root.iam.AttachUserPolicy(t.Context(), &awsiam.AttachUserPolicyInput{UserName: aws.String("admin"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.root.org.CreateOrganization(t.Context(), &awsorg.CreateOrganizationInput{}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.root.backup.UpdateGlobalSettings(t.Context(), &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "true"}}); err != nil {
		t.Fatal(err)
	}
	return n.member(t, admin, production), n.member(t, admin, vaults)
}

// member makes an account and returns clients of its administrator.
func (n *node) member(t *testing.T, admin clients, account string) clients {
	t.Helper()
	r, err := n.root.org.CreateAccount(t.Context(), &awsorg.CreateAccountInput{AccountName: &account, Email: aws.String(account + "@example.com"),
		Tags: []orgtypes.Tag{{Key: aws.String("strongroom:account-id"), Value: &account}}})
	if err != nil {
		t.Fatal(err)
	}
	if r.CreateAccountStatus.State == orgtypes.CreateAccountStateFailed {
		t.Fatal(r.CreateAccountStatus.FailureReason)
	}
	s, err := admin.sts.AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + account + ":role/OrganizationAccountAccessRole"), RoleSessionName: aws.String("test")})
	if err != nil {
		t.Fatal(err)
	}
	return newClients(n.url, "us-east-1", aws.Credentials{AccessKeyID: *s.Credentials.AccessKeyId, SecretAccessKey: *s.Credentials.SecretAccessKey, SessionToken: *s.Credentials.SessionToken})
}

// A service-managed key serves the vaults of its own account. Its ARN is no secret: every copy job shows it to the source.
func TestAnotherAccountsServiceKeyEncryptsNoVault(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	key, err := n.kms.ServiceKey(t.Context(), vaults, "us-east-1", "aws/backup")
	if err != nil {
		t.Fatal(err)
	}
	_, err = prod.backup.CreateBackupVault(t.Context(), &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("mine"), EncryptionKeyArn: &key})
	if code(err) != "InvalidParameterValueException" {
		t.Errorf("a vault under another account's service key: %v", err)
	}
	if list, _, err := n.kms.Grants(t.Context(), key, kms.GrantFilter{}, "", 10); err != nil || len(list) != 0 {
		t.Errorf("grants on it: %v %v", list, err)
	}
	own, err := n.kms.ServiceKey(t.Context(), production, "us-east-1", "aws/backup")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prod.backup.CreateBackupVault(t.Context(), &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("mine"), EncryptionKeyArn: &own}); err != nil {
		t.Errorf("a vault under its own: %v", err)
	}
	elsewhere, err := n.kms.ServiceKey(t.Context(), production, "eu-west-1", "aws/backup")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prod.backup.CreateBackupVault(t.Context(), &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("other"), EncryptionKeyArn: &elsewhere}); code(err) != "InvalidParameterValueException" {
		t.Errorf("a vault under a key of another region: %v", err)
	}
}

// role makes a role of the account that the backup service may assume and that may do everything for it.
func role(t *testing.T, c clients, name string) string {
	t.Helper()
	r, err := c.iam.CreateRole(t.Context(), &awsiam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.iam.AttachRolePolicy(t.Context(), &awsiam.AttachRolePolicyInput{RoleName: &name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		t.Fatal(err)
	}
	return *r.Role.Arn
}

// Asking changes nothing in other accounts, whether they exist or not, and beyond the organization it tells nothing.
func TestPreflightOfAnotherAccountsVault(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	const alone, nobody = "333333333333", "444444444444"
	if err := n.org.AddFirstAccount(t.Context(), alone); err != nil {
		t.Fatal(err)
	}
	secret, err := n.backup.CreateVault(t.Context(), access.Principal{Kind: access.Root, Account: alone}, access.Env{Region: "us-east-1"}, backup.VaultSpec{Name: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	destinations := []string{"arn:aws:backup:us-east-1:" + vaults + ":backup-vault:Default", "arn:aws:backup:us-east-1:" + nobody + ":backup-vault:Default", secret.ARN(), secret.ARN() + "s"}
	rule := backuptypes.BackupRuleInput{RuleName: aws.String("r"), TargetBackupVaultName: aws.String("Default"), ScheduleExpression: aws.String("cron(0 5 * * ? *)")}
	for i := range destinations {
		rule.CopyActions = append(rule.CopyActions, backuptypes.CopyAction{DestinationBackupVaultArn: &destinations[i]})
	}
	plan, err := prod.backup.CreateBackupPlan(t.Context(), &awsbackup.CreateBackupPlanInput{BackupPlan: &backuptypes.BackupPlanInput{BackupPlanName: aws.String("p"), Rules: []backuptypes.BackupRuleInput{rule}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prod.backup.CreateBackupSelection(t.Context(), &awsbackup.CreateBackupSelectionInput{BackupPlanId: plan.BackupPlanId, BackupSelection: &backuptypes.BackupSelection{
		SelectionName: aws.String("s"), IamRoleArn: aws.String(role(t, prod, "copier")), Resources: []string{"*"}}}); err != nil {
		t.Fatal(err)
	}
	answers, err := n.checker.AskPlan(t.Context(), production, "us-east-1", *plan.BackupPlanId)
	if err != nil || len(answers) != len(destinations) {
		t.Fatal(answers, err)
	}
	told := map[string]string{}
	for _, a := range answers {
		if a.Allowed() {
			t.Errorf("allowed: %+v", a)
		}
		for _, c := range a.Conditions {
			told[a.Destination] += c.Name + ": " + c.Message + "\n"
		}
	}
	if is, isNot := told[destinations[2]], told[destinations[3]]; is != isNot {
		t.Errorf("a vault beyond the organization shows:\n%s\n%s", is, isNot)
	}
	for _, account := range []string{vaults, nobody} {
		if list, _, err := n.backup.Vaults(t.Context(), account, "us-east-1", backup.Page{}); err != nil || len(list) != 0 {
			t.Errorf("account %s has vaults now: %v %v", account, list, err)
		}
	}
}

// work runs the one job of a kind that is due.
func (n *node) work(t *testing.T, kind job.Kind) {
	t.Helper()
	l, ok, err := n.queue.Claim(t.Context(), kind)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := n.runner.Handlers(1)[kind].Run(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

// protect declares a file system of production, with a place for restores, and backs it up into the vault Default.
func (n *node) protect(t *testing.T, prod clients, roleARN, fileSystem string) (point string) {
	t.Helper()
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := n.agents.Add(agent.File{Name: "prod.yaml", Account: production, Region: "us-east-1", Resources: []agent.Resource{{Type: agent.EFS, ID: fileSystem, Path: source, Tags: map[string]string{"keep": "out"}}},
		Restore: &agent.RestoreEFS{Root: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n.backUp(t, prod, roleARN, fileSystem)
}

// backUp makes a recovery point of a file system of production in the vault Default.
func (n *node) backUp(t *testing.T, prod clients, roleARN, fileSystem string) (point string) {
	t.Helper()
	j, err := prod.backup.StartBackupJob(t.Context(), &awsbackup.StartBackupJobInput{BackupVaultName: aws.String("Default"), IamRoleArn: &roleARN,
		ResourceArn: aws.String("arn:aws:elasticfilesystem:us-east-1:" + production + ":file-system/" + fileSystem)})
	if err != nil {
		t.Fatal(err)
	}
	n.work(t, backup.BackupKind)
	d, err := prod.backup.DescribeBackupJob(t.Context(), &awsbackup.DescribeBackupJobInput{BackupJobId: j.BackupJobId})
	if err != nil || d.State != backuptypes.BackupJobStateCompleted {
		t.Fatal(err, d.State, aws.ToString(d.StatusMessage))
	}
	return *d.RecoveryPointArn
}

// What a role may not write to by name or tag, a restore with it does not write to.
func TestARestoreNeedsTheRightToItsTarget(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	const live = "fs-0aaaaaaaaaaaaaaaa"
	point := n.protect(t, prod, role(t, prod, "all"), live)
	byName, byTag := role(t, prod, "name"), role(t, prod, "tag")
	for name, statement := range map[string]string{
		"name": `"Resource":"arn:aws:elasticfilesystem:*:*:file-system/` + live + `"`,
		"tag":  `"Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/keep":"out"}}`,
	} {
		if _, err := prod.iam.PutRolePolicy(t.Context(), &awsiam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("p"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"elasticfilesystem:Restore",` + statement + `}]}`)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		role, id, fresh string
		want            backuptypes.RestoreJobStatus
	}{
		{byName, live, "false", backuptypes.RestoreJobStatusFailed},
		{byName, "arn:aws:elasticfilesystem:us-east-1:" + production + ":file-system/" + live, "false", backuptypes.RestoreJobStatusFailed},
		{byTag, live, "false", backuptypes.RestoreJobStatusFailed},
		{byName, live, "true", backuptypes.RestoreJobStatusCompleted},
	} {
		j, err := prod.backup.StartRestoreJob(t.Context(), &awsbackup.StartRestoreJobInput{RecoveryPointArn: &point, IamRoleArn: &c.role,
			Metadata: map[string]string{"file-system-id": c.id, "newFileSystem": c.fresh, "Encrypted": "false"}})
		if err != nil {
			t.Fatal(err)
		}
		n.work(t, backup.RestoreKind)
		d, err := prod.backup.DescribeRestoreJob(t.Context(), &awsbackup.DescribeRestoreJobInput{RestoreJobId: j.RestoreJobId})
		if err != nil || d.Status != c.want {
			t.Errorf("%+v: %v %s %s", c, err, d.Status, aws.ToString(d.StatusMessage))
		}
	}
}

// A job that cannot leave the organization tells its account nothing about the vault it was to go to.
func TestACopyBeyondTheOrganizationTellsNothing(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	const alone = "333333333333"
	if err := n.org.AddFirstAccount(t.Context(), alone); err != nil {
		t.Fatal(err)
	}
	secret, err := n.backup.CreateVault(t.Context(), access.Principal{Kind: access.Root, Account: alone}, access.Env{Region: "us-east-1"}, backup.VaultSpec{Name: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	roleARN := role(t, prod, "all")
	point := n.protect(t, prod, roleARN, "fs-0aaaaaaaaaaaaaaaa")
	told := map[string]string{}
	for _, destination := range []string{secret.ARN(), secret.ARN() + "s"} {
		j, err := prod.backup.StartCopyJob(t.Context(), &awsbackup.StartCopyJobInput{RecoveryPointArn: &point, SourceBackupVaultName: aws.String("Default"), DestinationBackupVaultArn: &destination, IamRoleArn: &roleARN})
		if err != nil {
			t.Fatal(err)
		}
		n.work(t, backup.CopyKind)
		d, err := prod.backup.DescribeCopyJob(t.Context(), &awsbackup.DescribeCopyJobInput{CopyJobId: j.CopyJobId})
		if err != nil || d.CopyJob.State != backuptypes.CopyJobStateFailed {
			t.Fatal(err, d)
		}
		told[destination] = strings.Join([]string{aws.ToString(d.CopyJob.StatusMessage), aws.ToString(d.CopyJob.DestinationEncryptionKeyArn), aws.ToString(d.CopyJob.DestinationVaultLockState)}, "\n")
	}
	if is, isNot := told[secret.ARN()], told[secret.ARN()+"s"]; is != isNot {
		t.Errorf("it shows:\n%s\n%s", is, isNot)
	}
}

// A guardrail that keeps copies in is not got around by passing the service's own role, which guardrails do not bind.
func TestGuardrailsBindTheServicesOwnRoleWhenItIsPassed(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	point := n.protect(t, prod, role(t, prod, "all"), "fs-0aaaaaaaaaaaaaaaa")
	scp, err := n.root.org.CreatePolicy(t.Context(), &awsorg.CreatePolicyInput{Name: aws.String("stay"), Description: aws.String(""), Type: orgtypes.PolicyTypeServiceControlPolicy,
		Content: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"backup:CopyFromBackupVault","Resource":"*"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.root.org.AttachPolicy(t.Context(), &awsorg.AttachPolicyInput{PolicyId: scp.Policy.PolicySummary.Id, TargetId: aws.String(production)}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.iam.ServiceLinkedRole(t.Context(), production, "backup.amazonaws.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := prod.backup.CreateBackupVault(t.Context(), &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("other")}); err != nil {
		t.Fatal(err)
	}
	j, err := prod.backup.StartCopyJob(t.Context(), &awsbackup.StartCopyJobInput{RecoveryPointArn: &point, SourceBackupVaultName: aws.String("Default"),
		DestinationBackupVaultArn: aws.String("arn:aws:backup:us-east-1:" + production + ":backup-vault:other"),
		IamRoleArn:                aws.String("arn:aws:iam::" + production + ":role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup")})
	if err != nil {
		t.Fatal(err)
	}
	n.work(t, backup.CopyKind)
	d, err := prod.backup.DescribeCopyJob(t.Context(), &awsbackup.DescribeCopyJobInput{CopyJobId: j.CopyJobId})
	if err != nil || d.CopyJob.State != backuptypes.CopyJobStateFailed || !strings.Contains(aws.ToString(d.CopyJob.StatusMessage), "service control policy") {
		t.Errorf("%v %s %s", err, d.CopyJob.State, aws.ToString(d.CopyJob.StatusMessage))
	}
}

// Once a lock is immutable, whoever edits the catalog cannot make the node delete what the vault holds, be it from before the
// lock or from after it.
func TestAnEditedCatalogReleasesNothing(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	roleARN := role(t, prod, "all")
	edit := func(statement string) {
		t.Helper()
		if err := n.db.Update(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.Exec(ctx, statement)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	points := []string{n.protect(t, prod, roleARN, "fs-0aaaaaaaaaaaaaaaa")}
	edit("UPDATE vault SET locked = 1, immutable = 1, lock_date = 1")
	if err := n.runner.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	points = append(points, n.backUp(t, prod, roleARN, "fs-0aaaaaaaaaaaaaaaa"))
	edit("UPDATE vault SET locked = 0, immutable = 0, lock_date = 0")
	edit("UPDATE recovery_point SET delete_at = 1")
	if err := n.runner.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range points {
		n.work(t, backup.DeleteKind)
	}
	for _, point := range points {
		d, err := prod.backup.DescribeRecoveryPoint(t.Context(), &awsbackup.DescribeRecoveryPointInput{BackupVaultName: aws.String("Default"), RecoveryPointArn: &point})
		if err != nil || d.Status != backuptypes.RecoveryPointStatusExpired || !strings.Contains(aws.ToString(d.StatusMessage), "is locked") {
			t.Errorf("%v %+v", err, d)
		}
	}
}

// What another account calls its keys, and which key an alias leads to, shows in no refusal.
func TestAliasesOfOtherAccountsDoNotShow(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, backups := n.organization(t)
	k, err := backups.kms.CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backups.kms.CreateAlias(t.Context(), &awskms.CreateAliasInput{AliasName: aws.String("alias/real"), TargetKeyId: k.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}
	refusal := func(alias string) string {
		t.Helper()
		name := "arn:aws:kms:us-east-1:" + vaults + ":alias/" + alias
		_, err := prod.kms.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &name, Plaintext: []byte("x")})
		var e smithy.APIError
		if !errors.As(err, &e) || e.ErrorCode() != "AccessDeniedException" {
			t.Fatal(err)
		}
		return strings.ReplaceAll(e.ErrorMessage(), alias, "ALIAS")
	}
	if is, isNot := refusal("real"), refusal("none"); is != isNot {
		t.Errorf("%s\n%s", is, isNot)
	}
}
