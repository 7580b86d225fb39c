package server

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"strongroom/internal/clock"
)

// The two accounts of a scene, and what is in them.
const (
	prodAccount   = "111111111111"
	copiesAccount = "222222222222"
	prodRole      = "arn:aws:iam::111111111111:role/Backup"
	copiesVault   = "arn:aws:backup:us-east-1:222222222222:backup-vault:copies"
	prodFiles     = "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/fs-0aaaaaaaaaaaaaaaa"
	trustBackup   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

// scene is a running node where a recovery point of production can be copied into the backup account.
type scene struct {
	*running
	t                *testing.T
	mgmt, prod, dest clients
	orgID, root      string
	srcKey, dstKey   string // ARNs
	point            string // a COMPLETED recovery point in vault "prod" of production, of a tree in files
	files            string
	applied          int // changes that were made as the preflight said
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return newSceneAt(t, nil)
}

// newSceneAt is newScene with a clock of the test's own; clients sign with the real one.
func newSceneAt(t *testing.T, c clock.Clock) *scene {
	t.Helper()
	return newSceneLogged(t, c, nil)
}

// newSceneLogged is newSceneAt with a log.
func newSceneLogged(t *testing.T, c clock.Clock, log *slog.Logger) *scene {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	s := &scene{t: t, files: filepath.Join(dir, "files")}
	write(t, filepath.Join(s.files, "a.txt"), "forty-two")
	for _, d := range []string{"restored-prod", "restored-copies"} {
		check(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	agent := func(name, account, resources string) string {
		path := filepath.Join(dir, name+".yaml")
		write(t, path, fmt.Sprintf("account: %q\nregion: us-east-1\n%srestore:\n  EFS: {root: %q}\n", account, resources, filepath.Join(dir, "restored-"+name)))
		return path
	}
	s.running = run(t, Config{Data: filepath.Join(dir, "node"), AccountID: firstAccount, Clock: c, Log: log, PruneGrace: new(time.Duration), Agents: []string{
		agent("prod", prodAccount, fmt.Sprintf("resources:\n  - {type: EFS, id: fs-0aaaaaaaaaaaaaaaa, path: %q}\n", s.files)),
		agent("copies", copiesAccount, ""),
	}})
	key, err := ReadCredentials(s.data.join(CredentialsFile))
	check(t, err)
	n := &node{Server: s.Server, url: s.url, root: newClients(s.url, "us-east-1", aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret})}
	s.mgmt = n.user(t, "scene-admin")
	_, err = n.root.iam.AttachUserPolicy(ctx, &awsiam.AttachUserPolicyInput{UserName: aws.String("scene-admin"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")})
	check(t, err)
	o, err := s.mgmt.org.CreateOrganization(ctx, &awsorg.CreateOrganizationInput{})
	check(t, err)
	s.orgID = *o.Organization.Id
	roots, err := s.mgmt.org.ListRoots(ctx, &awsorg.ListRootsInput{})
	check(t, err)
	s.root = *roots.Roots[0].Id
	s.globalSetting("true")
	s.prod, s.dest = s.account(prodAccount), s.account(copiesAccount)
	s.srcKey, s.dstKey = s.vault(s.prod, prodAccount, "prod"), s.vault(s.dest, copiesAccount, "copies")
	s.vaultPolicy(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"backup:CopyIntoBackupVault","Resource":"*"}`)
	s.keyPolicy(s.prod, s.srcKey, prodAccount, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::222222222222:root"},"Action":["kms:DescribeKey","kms:Decrypt","kms:CreateGrant"],"Resource":"*"}`)
	s.point = s.backupNow()
	return s
}

// account makes a member account with a role for AWS Backup and returns clients of its administrator.
func (s *scene) account(id string) clients {
	s.t.Helper()
	ctx := s.t.Context()
	_, err := s.mgmt.org.CreateAccount(ctx, &awsorg.CreateAccountInput{AccountName: &id, Email: aws.String(id + "@example.com"),
		Tags: []orgtypes.Tag{{Key: aws.String("strongroom:account-id"), Value: &id}}})
	check(s.t, err)
	in, err := s.mgmt.sts.AssumeRole(ctx, &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + id + ":role/OrganizationAccountAccessRole"), RoleSessionName: aws.String("scene")})
	check(s.t, err)
	c := newClients(s.url, "us-east-1", aws.Credentials{AccessKeyID: *in.Credentials.AccessKeyId, SecretAccessKey: *in.Credentials.SecretAccessKey, SessionToken: *in.Credentials.SessionToken})
	s.role(c)
	return c
}

// role makes the role Backup.
func (s *scene) role(c clients) {
	s.t.Helper()
	_, err := c.iam.CreateRole(s.t.Context(), &awsiam.CreateRoleInput{RoleName: aws.String("Backup"), AssumeRolePolicyDocument: aws.String(trustBackup)})
	check(s.t, err)
	s.attach(c, "AWSBackupServiceRolePolicyForBackup")
	s.attach(c, "AWSBackupServiceRolePolicyForRestores")
}

func (s *scene) attach(c clients, name string) {
	s.t.Helper()
	_, err := c.iam.AttachRolePolicy(s.t.Context(), &awsiam.AttachRolePolicyInput{RoleName: aws.String("Backup"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/" + name)})
	check(s.t, err)
}

func (s *scene) detach(c clients, name string) {
	s.t.Helper()
	_, err := c.iam.DetachRolePolicy(s.t.Context(), &awsiam.DetachRolePolicyInput{RoleName: aws.String("Backup"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/" + name)})
	check(s.t, err)
}

// vault makes a vault under a key of its own and returns the key's ARN.
func (s *scene) vault(c clients, account, name string) (keyARN string) {
	s.t.Helper()
	k, err := c.kms.CreateKey(s.t.Context(), &awskms.CreateKeyInput{})
	check(s.t, err)
	_, err = c.backup.CreateBackupVault(s.t.Context(), &awsbackup.CreateBackupVaultInput{BackupVaultName: &name, EncryptionKeyArn: k.KeyMetadata.Arn})
	check(s.t, err)
	return *k.KeyMetadata.Arn
}

func (s *scene) globalSetting(on string) {
	s.t.Helper()
	_, err := s.mgmt.backup.UpdateGlobalSettings(s.t.Context(), &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": on}})
	check(s.t, err)
}

// vaultPolicy sets the destination vault's policy to one statement.
func (s *scene) vaultPolicy(statement string) {
	s.t.Helper()
	_, err := s.dest.backup.PutBackupVaultAccessPolicy(s.t.Context(), &awsbackup.PutBackupVaultAccessPolicyInput{BackupVaultName: aws.String("copies"), Policy: aws.String(policyOf(statement))})
	check(s.t, err)
}

// keyPolicy sets a key's policy: the account itself may do everything, then the given statements.
func (s *scene) keyPolicy(c clients, key, account string, statements ...string) {
	s.t.Helper()
	local := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"kms:*","Resource":"*"}`
	_, err := c.kms.PutKeyPolicy(s.t.Context(), &awskms.PutKeyPolicyInput{KeyId: &key, Policy: aws.String(policyOf(append([]string{local}, statements...)...))})
	check(s.t, err)
}

func policyOf(statements ...string) string {
	text := `{"Version":"2012-10-17","Statement":[`
	for i, st := range statements {
		if i > 0 {
			text += ","
		}
		text += st
	}
	return text + "]}"
}

// backupNow makes a recovery point of production's files and returns its ARN.
func (s *scene) backupNow() string { return s.backupWith(&awsbackup.StartBackupJobInput{}) }

// backupWith is backupNow with more to the request.
func (s *scene) backupWith(in *awsbackup.StartBackupJobInput) string {
	s.t.Helper()
	in.BackupVaultName, in.ResourceArn, in.IamRoleArn = aws.String("prod"), aws.String(prodFiles), aws.String(prodRole)
	j, err := s.prod.backup.StartBackupJob(s.t.Context(), in)
	check(s.t, err)
	for ; ; pause() {
		d, err := s.prod.backup.DescribeBackupJob(s.t.Context(), &awsbackup.DescribeBackupJobInput{BackupJobId: j.BackupJobId})
		check(s.t, err)
		switch d.State {
		case backuptypes.BackupJobStateCompleted:
			return *d.RecoveryPointArn
		case backuptypes.BackupJobStateCreated, backuptypes.BackupJobStateRunning:
			continue
		}
		s.t.Fatalf("backup %s: %s", d.State, aws.ToString(d.StatusMessage))
	}
}

// copy runs a copy job into the backup account and returns how it ended.
func (s *scene) copy(l *backuptypes.Lifecycle) backuptypes.CopyJob {
	s.t.Helper()
	id, err := s.startCopy(l)
	check(s.t, err)
	return s.ended(id)
}

func (s *scene) startCopy(l *backuptypes.Lifecycle) (id string, err error) {
	j, err := s.prod.backup.StartCopyJob(s.t.Context(), &awsbackup.StartCopyJobInput{RecoveryPointArn: &s.point, SourceBackupVaultName: aws.String("prod"),
		DestinationBackupVaultArn: aws.String(copiesVault), IamRoleArn: aws.String(prodRole), Lifecycle: l})
	if err != nil {
		return "", err
	}
	return *j.CopyJobId, nil
}

// ended waits for a copy job.
func (s *scene) ended(id string) backuptypes.CopyJob {
	s.t.Helper()
	for ; ; pause() {
		d, err := s.prod.backup.DescribeCopyJob(s.t.Context(), &awsbackup.DescribeCopyJobInput{CopyJobId: &id})
		check(s.t, err)
		if st := d.CopyJob.State; st != backuptypes.CopyJobStateCreated && st != backuptypes.CopyJobStateRunning {
			return *d.CopyJob
		}
	}
}

// pause is between two looks at a job, which the API can only be polled for.
func pause() { time.Sleep(5 * time.Millisecond) }
