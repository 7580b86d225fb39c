package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"strongroom/internal/arn"
	"strongroom/internal/clock"
	"strongroom/internal/server"
)

// story is the state that the chapters hand on.
type story struct {
	Config
	clock    clock.Clock
	say      *narrator
	scratch  string
	endpoint string
	accounts map[string]clients // by account id; management is the administrator

	before   map[string]facts // the data as it was
	org      string
	srcKey   string
	dstKey   string
	plan     string
	copy     string // recovery point in the backup account
	backupID string
	sum      Summary
}

func (s *story) data() string { return filepath.Join(s.scratch, "production-data") }

func (s *story) run(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	agents, err := s.writeAgents()
	if err != nil {
		return err
	}
	url, stop, err := s.startNode(ctx, agents)
	if err != nil {
		return err
	}
	s.endpoint = url
	err = s.tell(ctx)
	if err == nil && s.Keep {
		s.sum.Endpoint, s.sum.Directory = url, s.scratch
	}
	if err == nil {
		s.say.summary(s.sum)
		if s.Keep && !s.JSON {
			s.keepNote()
		}
		if s.Keep {
			<-ctx.Done()
		}
	}
	return errors.Join(err, stop())
}

func (s *story) tell(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{s.administrator, s.organization, s.keysAndVaults, s.planIt, s.watchIt, s.attack, s.restore} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) keepNote() {
	fmt.Fprintf(s.Out, `
The node goes on running until you press Ctrl-C; its files stay in %s
  endpoint     %s
  credentials  %s
  eval "$(go run ./cmd/strongroom env --data %s)"
  aws --endpoint-url %s backup list-backup-vaults
`, s.scratch, s.endpoint, filepath.Join(s.scratch, "node", server.CredentialsFile), filepath.Join(s.scratch, "node"), s.endpoint)
}

// prepare copies the source into the scratch directory, where it can be attacked without harm.
func (s *story) prepare(ctx context.Context) error {
	s.say.chapter("Production")
	bar := s.say.bar("copy")
	leftOut, err := s.copyTree(ctx, s.Source, s.data(), func(n int64) { bar.Update(n, 0) })
	if err != nil {
		return fmt.Errorf("copy %s into the scratch directory: %w", s.Source, err)
	}
	s.before, err = inventory(s.data(), func(n int64) { bar.Update(n, 0) })
	bar.Done()
	if err != nil {
		return err
	}
	for _, f := range s.before {
		s.sum.Objects++
		s.sum.BackedUp += f.size
	}
	what := fmt.Sprintf("copied %s to %s", s.Source, s.data())
	if leftOut > 0 {
		what += fmt.Sprintf(", without %d objects that could not be read", leftOut)
	}
	s.say.did(what, "this copy plays production's data, so nothing of yours is touched", "")
	return nil
}

// writeAgents declares what may be protected and where restores may go: the API can never name a path of the host.
func (s *story) writeAgents() ([]string, error) {
	var out []string
	for _, a := range []struct{ name, account, resources string }{
		{"production", production, fmt.Sprintf("resources:\n  - {type: EFS, id: %s, path: %q, tags: {Criticality: high}}\n", fileSystem, s.data())},
		{"backup", backupAcct, ""},
	} {
		root := filepath.Join(s.scratch, "restored-"+a.name)
		if err := os.MkdirAll(root, 0o700); err != nil {
			return nil, err
		}
		path := filepath.Join(s.scratch, a.name+"-agent.yaml")
		text := fmt.Sprintf("account: %q\nregion: %s\n%srestore:\n  EFS: {root: %q, setuid: true, devices: true}\n", a.account, region, a.resources, root)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
		out = append(out, path)
	}
	return out, nil
}

func (s *story) administrator(ctx context.Context) error {
	key, err := server.ReadCredentials(filepath.Join(s.scratch, "node", server.CredentialsFile))
	if err != nil {
		return err
	}
	root := newClients(s.endpoint, key.ID, key.Secret, "")
	admin := aws.String("admin")
	if _, err := root.iam.CreateUser(ctx, &awsiam.CreateUserInput{UserName: admin}); err != nil {
		return err
	}
	if _, err := root.iam.AttachUserPolicy(ctx, &awsiam.AttachUserPolicyInput{UserName: admin, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		return err
	}
	k, err := root.iam.CreateAccessKey(ctx, &awsiam.CreateAccessKeyInput{UserName: admin})
	if err != nil {
		return err
	}
	s.accounts[management] = newClients(s.endpoint, *k.AccessKey.AccessKeyId, *k.AccessKey.SecretAccessKey, "")
	s.say.did("started a node at "+s.endpoint+" and made an administrator", "the root key is for the first minute only", "aws iam create-user --user-name admin")
	return nil
}

func (s *story) organization(ctx context.Context) error {
	s.say.chapter("Two accounts of one organization")
	admin := s.accounts[management]
	o, err := admin.org.CreateOrganization(ctx, &awsorg.CreateOrganizationInput{FeatureSet: orgtypes.OrganizationFeatureSetAll})
	if err != nil {
		return err
	}
	s.org = *o.Organization.Id
	for _, a := range []struct{ id, name string }{{production, "production"}, {backupAcct, "backup"}} {
		req, err := admin.org.CreateAccount(ctx, &awsorg.CreateAccountInput{
			AccountName: &a.name, Email: aws.String(a.name + "@example.com"),
			Tags: []orgtypes.Tag{{Key: aws.String("strongroom:account-id"), Value: &a.id}},
		})
		if err != nil {
			return err
		}
		err = s.poll(ctx, 20*time.Second, "creating account "+a.id, func() (bool, error) {
			st, err := admin.org.DescribeCreateAccountStatus(ctx, &awsorg.DescribeCreateAccountStatusInput{CreateAccountRequestId: req.CreateAccountStatus.Id})
			if err != nil {
				return false, err
			}
			if st.CreateAccountStatus.State == orgtypes.CreateAccountStateFailed {
				return false, fmt.Errorf("creating account %s failed: %s", a.id, st.CreateAccountStatus.FailureReason)
			}
			return st.CreateAccountStatus.State == orgtypes.CreateAccountStateSucceeded, nil
		})
		if err != nil {
			return err
		}
		if s.accounts[a.id], err = admin.assume(ctx, s.endpoint, arn.Make("iam", "", a.id, "role/OrganizationAccountAccessRole"), "demo"); err != nil {
			return err
		}
		s.say.did(fmt.Sprintf("account %s %q", a.id, a.name), "an account is the border of trust",
			fmt.Sprintf("aws organizations create-account --account-name %s --email %s@example.com --tags Key=strongroom:account-id,Value=%s", a.name, a.name, a.id))
	}
	service := aws.String("backup.amazonaws.com")
	if _, err := admin.org.EnableAWSServiceAccess(ctx, &awsorg.EnableAWSServiceAccessInput{ServicePrincipal: service}); err != nil {
		return err
	}
	if _, err := admin.backup.UpdateGlobalSettings(ctx, &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "true"}}); err != nil {
		return err
	}
	s.say.did("cross-account backup is on", "only the management account can switch it", "aws backup update-global-settings --global-settings isCrossAccountBackupEnabled=true")
	return nil
}

const trustBackup = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func (s *story) keysAndVaults(ctx context.Context) error {
	s.say.chapter("Keys, vaults and who may do what")
	prod, bk := s.accounts[production], s.accounts[backupAcct]
	local := func(acct string) string {
		return fmt.Sprintf(`{"Sid":"LocalAdministration","Effect":"Allow","Principal":{"AWS":"%s"},"Action":"kms:*","Resource":"*"}`, arn.Root(acct))
	}
	policy := func(statements string) *string {
		return aws.String(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)
	}
	dk, err := bk.kms.CreateKey(ctx, &awskms.CreateKeyInput{Policy: policy(local(backupAcct)), Description: aws.String("copies")})
	if err != nil {
		return err
	}
	s.dstKey = *dk.KeyMetadata.Arn
	use := fmt.Sprintf(`{"Sid":"BackupAccountCopies","Effect":"Allow","Principal":{"AWS":"%s"},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey","kms:CreateGrant"],"Resource":"*"}`, arn.Root(backupAcct))
	sk, err := prod.kms.CreateKey(ctx, &awskms.CreateKeyInput{Policy: policy(local(production) + "," + use), Description: aws.String("production's backups")})
	if err != nil {
		return err
	}
	s.srcKey = *sk.KeyMetadata.Arn
	s.say.did("one key per account", "the copy will be under a key that production does not control", "aws kms create-key --policy file://key-policy.json")

	if _, err := prod.backup.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String(sourceName), EncryptionKeyArn: &s.srcKey}); err != nil {
		return err
	}
	if _, err := bk.backup.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String(vaultName), EncryptionKeyArn: &s.dstKey}); err != nil {
		return err
	}
	allow := fmt.Sprintf(`{"Sid":"OrganizationMayCopyIn","Effect":"Allow","Principal":"*","Action":"backup:CopyIntoBackupVault","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"%s"}}}`, s.org)
	if _, err := bk.backup.PutBackupVaultAccessPolicy(ctx, &awsbackup.PutBackupVaultAccessPolicyInput{BackupVaultName: aws.String(vaultName), Policy: policy(allow)}); err != nil {
		return err
	}
	s.say.did("a vault in each account; the backup account's lets the organization copy in, and nothing else", "copying in is the only right that can be given to another account",
		"aws backup put-backup-vault-access-policy --backup-vault-name "+vaultName+" --policy file://vault-policy.json")
	for _, acct := range []string{production, backupAcct} {
		c := s.accounts[acct].iam
		if _, err := c.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: aws.String("AWSBackupServiceRole"), AssumeRolePolicyDocument: aws.String(trustBackup)}); err != nil {
			return err
		}
		for _, p := range []string{"AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores"} {
			if _, err := c.AttachRolePolicy(ctx, &awsiam.AttachRolePolicyInput{RoleName: aws.String("AWSBackupServiceRole"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/" + p)}); err != nil {
				return err
			}
		}
	}
	s.say.did("a service role in each account, with AWS's own managed policies", "jobs act with this role's rights, not with the administrator's",
		"aws iam create-role --role-name AWSBackupServiceRole --assume-role-policy-document file://trust.json")
	return nil
}

func role(account string) string { return arn.Make("iam", "", account, "role/AWSBackupServiceRole") }

func vaultARN() string {
	return arn.Make("backup", region, backupAcct, "backup-vault:"+vaultName)
}

func (s *story) planIt(ctx context.Context) error {
	s.say.chapter("The plan")
	at := s.clock.Now().UTC().Add(10 * time.Second).Truncate(time.Minute).Add(time.Minute)
	schedule := fmt.Sprintf("cron(%d %d * * ? *)", at.Minute(), at.Hour())
	prod := s.accounts[production].backup
	p, err := prod.CreateBackupPlan(ctx, &awsbackup.CreateBackupPlanInput{BackupPlan: &backuptypes.BackupPlanInput{
		BackupPlanName: aws.String("daily-with-copy"),
		Rules: []backuptypes.BackupRuleInput{{
			RuleName: aws.String("daily"), TargetBackupVaultName: aws.String(sourceName), ScheduleExpression: &schedule,
			StartWindowMinutes: aws.Int64(60), CompletionWindowMinutes: aws.Int64(180),
			Lifecycle: &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(30)},
			CopyActions: []backuptypes.CopyAction{{DestinationBackupVaultArn: aws.String(vaultARN()),
				Lifecycle: &backuptypes.Lifecycle{MoveToColdStorageAfterDays: aws.Int64(7), DeleteAfterDays: aws.Int64(90)}}},
		}},
	}})
	if err != nil {
		return err
	}
	s.plan = *p.BackupPlanId
	_, err = prod.CreateBackupSelection(ctx, &awsbackup.CreateBackupSelectionInput{BackupPlanId: p.BackupPlanId, BackupSelection: &backuptypes.BackupSelection{
		SelectionName: aws.String("critical"), IamRoleArn: aws.String(role(production)),
		ListOfTags: []backuptypes.Condition{{ConditionType: backuptypes.ConditionTypeStringequals, ConditionKey: aws.String("Criticality"), ConditionValue: aws.String("high")}},
	}})
	if err != nil {
		return err
	}
	s.say.did(fmt.Sprintf("every day at %s UTC: what is tagged Criticality=high is backed up, and copied into the backup account", at.Format("15:04")), "the copy is kept 90 days, whatever happens to production",
		"aws backup create-backup-plan --backup-plan file://plan.json && aws backup create-backup-selection --backup-plan-id "+s.plan+" --backup-selection file://selection.json")
	wait := at.Sub(s.clock.Now())
	s.say.did(fmt.Sprintf("waiting %.0f s for the schedule to fire", max(0, wait.Seconds())), "nobody presses a button", "")
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.clock.After(wait):
	}
	return nil
}
