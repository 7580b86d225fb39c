package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/rogpeppe/go-internal/testscript"
)

const (
	sceneProd   = "111111111111"
	sceneCopies = "222222222222"
)

// cmdScene starts a node and makes, with the SDK because the CLI takes its time, what most stories begin with: the profiles mgmt,
// prod and copies (administrators of the accounts 999999999999, 111111111111, 222222222222 of one organization) with a role
// Backup each, vault "main" of prod and vault "copies" of copies under keys of their own, and everything that copies between
// them need. prod's file system fs-0aaaaaaaaaaaaaaaa (tag Criticality=high) is $WORK/data, restores land in
// $WORK/restored-prod and $WORK/restored-copies. Sets PROD, COPIES (vault ARN), ROLE, FS, SRCKEY, DSTKEY, ORG.
// Further arguments are lines for prod's agent file, below resources or, beginning with "restore:", below restore.EFS.
func cmdScene(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: scene LINES...")
	}
	var resources, restore strings.Builder
	for _, line := range args {
		if r, ok := strings.CutPrefix(line, "restore:"); ok {
			restore.WriteString(", " + r)
		} else {
			resources.WriteString("  - " + line + "\n")
		}
	}
	work := ts.MkAbs(".")
	for _, d := range []string{"data", "restored-prod", "restored-copies"} {
		ts.Check(os.MkdirAll(filepath.Join(work, d), 0o755))
	}
	agents := map[string]string{
		"prod":   fmt.Sprintf("account: %q\nregion: us-east-1\nresources:\n  - {type: EFS, id: fs-0aaaaaaaaaaaaaaaa, path: %q, tags: {Criticality: high}}\n%srestore:\n  EFS: {root: %q%s}\n", sceneProd, filepath.Join(work, "data"), resources.String(), filepath.Join(work, "restored-prod"), restore.String()),
		"copies": fmt.Sprintf("account: %q\nregion: us-east-1\nrestore:\n  EFS: {root: %q}\n", sceneCopies, filepath.Join(work, "restored-copies")),
	}
	for name, text := range agents {
		ts.Check(os.WriteFile(filepath.Join(work, name+".yaml"), []byte(text), 0o600))
	}
	cmdServe(ts, false, []string{"node", "--account-id", "999999999999", "--agent", "prod.yaml", "--agent", "copies.yaml"})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := &stage{ts: ts, ctx: ctx}
	s.organization()
	s.accounts()
	ts.Setenv("PROD", "arn:aws:backup:us-east-1:"+sceneProd+":backup-vault:main")
	ts.Setenv("COPIES", "arn:aws:backup:us-east-1:"+sceneCopies+":backup-vault:copies")
	ts.Setenv("ROLE", "arn:aws:iam::"+sceneProd+":role/Backup")
	ts.Setenv("FS", "arn:aws:elasticfilesystem:us-east-1:"+sceneProd+":file-system/fs-0aaaaaaaaaaaaaaaa")
}

// stage is a scene being made.
type stage struct {
	ts  *testscript.TestScript
	ctx context.Context
}

// config is the SDK's configuration for a profile.
func (s *stage) config(profile string) aws.Config { return sdkConfig(s.ts, profile) }

func sdkConfig(ts *testscript.TestScript, profile string) aws.Config {
	raw, err := os.ReadFile(ts.MkAbs("creds." + profile))
	ts.Check(err)
	var c aws.Credentials
	for _, line := range strings.Split(string(raw), "\n") {
		name, value, _ := strings.Cut(line, " = ")
		switch name {
		case "aws_access_key_id":
			c.AccessKeyID = value
		case "aws_secret_access_key":
			c.SecretAccessKey = value
		case "aws_session_token":
			c.SessionToken = value
		}
	}
	return aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(ts.Getenv("ENDPOINT")), Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })}
}

func (s *stage) save(profile string, key, secret, token *string) {
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", *key, *secret)
	if token != nil {
		text += "aws_session_token = " + *token + "\n"
	}
	s.ts.Check(os.WriteFile(s.ts.MkAbs("creds."+profile), []byte(text), 0o600))
}

func (s *stage) organization() {
	root := awsiam.NewFromConfig(s.config("root"))
	name := aws.String("admin")
	_, err := root.CreateUser(s.ctx, &awsiam.CreateUserInput{UserName: name})
	s.ts.Check(err)
	_, err = root.AttachUserPolicy(s.ctx, &awsiam.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")})
	s.ts.Check(err)
	k, err := root.CreateAccessKey(s.ctx, &awsiam.CreateAccessKeyInput{UserName: name})
	s.ts.Check(err)
	s.save("mgmt", k.AccessKey.AccessKeyId, k.AccessKey.SecretAccessKey, nil)
	o, err := awsorg.NewFromConfig(s.config("mgmt")).CreateOrganization(s.ctx, &awsorg.CreateOrganizationInput{})
	s.ts.Check(err)
	s.ts.Setenv("ORG", *o.Organization.Id)
	_, err = awsbackup.NewFromConfig(s.config("mgmt")).UpdateGlobalSettings(s.ctx, &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "true"}})
	s.ts.Check(err)
}

func (s *stage) accounts() {
	statement := func(principal, actions string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + principal + `:root"},"Action":` + actions + `,"Resource":"*"}`
	}
	keyPolicy := `{"Version":"2012-10-17","Statement":[` + statement(sceneProd, `"kms:*"`) + `,` + statement(sceneCopies, `["kms:DescribeKey","kms:Decrypt","kms:CreateGrant"]`) + `]}`
	s.account("prod", sceneProd)
	s.account("copies", sceneCopies)
	s.ts.Setenv("SRCKEY", s.vault("prod", "main", &keyPolicy))
	s.ts.Setenv("DSTKEY", s.vault("copies", "copies", nil))
	_, err := awsbackup.NewFromConfig(s.config("copies")).PutBackupVaultAccessPolicy(s.ctx, &awsbackup.PutBackupVaultAccessPolicyInput{BackupVaultName: aws.String("copies"),
		Policy: aws.String(`{"Version":"2012-10-17","Statement":[` + statement(sceneProd, `"backup:CopyIntoBackupVault"`) + `]}`)})
	s.ts.Check(err)
}

// account makes a member account with its role.
func (s *stage) account(profile, id string) {
	mgmt := s.config("mgmt")
	_, err := awsorg.NewFromConfig(mgmt).CreateAccount(s.ctx, &awsorg.CreateAccountInput{AccountName: &profile, Email: aws.String(profile + "@example.com"),
		Tags: []orgtypes.Tag{{Key: aws.String("strongroom:account-id"), Value: &id}}})
	s.ts.Check(err)
	in, err := awssts.NewFromConfig(mgmt).AssumeRole(s.ctx, &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + id + ":role/OrganizationAccountAccessRole"), RoleSessionName: aws.String("story")})
	s.ts.Check(err)
	s.save(profile, in.Credentials.AccessKeyId, in.Credentials.SecretAccessKey, in.Credentials.SessionToken)
	iam := awsiam.NewFromConfig(s.config(profile))
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	_, err = iam.CreateRole(s.ctx, &awsiam.CreateRoleInput{RoleName: aws.String("Backup"), AssumeRolePolicyDocument: &trust})
	s.ts.Check(err)
	for _, p := range []string{"AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores"} {
		_, err = iam.AttachRolePolicy(s.ctx, &awsiam.AttachRolePolicyInput{RoleName: aws.String("Backup"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/" + p)})
		s.ts.Check(err)
	}
}

// vault makes a vault and its key, whose ARN it returns.
func (s *stage) vault(profile, vault string, keyPolicy *string) string {
	cfg := s.config(profile)
	k, err := awskms.NewFromConfig(cfg).CreateKey(s.ctx, &awskms.CreateKeyInput{Policy: keyPolicy})
	s.ts.Check(err)
	_, err = awsbackup.NewFromConfig(cfg).CreateBackupVault(s.ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: &vault, EncryptionKeyArn: k.KeyMetadata.Arn})
	s.ts.Check(err)
	return *k.KeyMetadata.Arn
}

// cmdEnded waits with the SDK until a job has ended and checks how: ended PROFILE backup|copy|restore ID STATE. It leaves the
// job's message in $MESSAGE, its message category in $CATEGORY, and what it made in $MADE.
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: ended PROFILE backup|copy|restore ID STATE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := awsbackup.NewFromConfig(sdkConfig(ts, args[0]))
	var state, message, category, made string
	for {
		switch args[1] {
		case "backup":
			j, err := c.DescribeBackupJob(ctx, &awsbackup.DescribeBackupJobInput{BackupJobId: &args[2]})
			ts.Check(err)
			state, message, category, made = string(j.State), aws.ToString(j.StatusMessage), aws.ToString(j.MessageCategory), aws.ToString(j.RecoveryPointArn)
		case "copy":
			j, err := c.DescribeCopyJob(ctx, &awsbackup.DescribeCopyJobInput{CopyJobId: &args[2]})
			ts.Check(err)
			state, message, category, made = string(j.CopyJob.State), aws.ToString(j.CopyJob.StatusMessage), aws.ToString(j.CopyJob.MessageCategory), aws.ToString(j.CopyJob.DestinationRecoveryPointArn)
		case "restore":
			j, err := c.DescribeRestoreJob(ctx, &awsbackup.DescribeRestoreJobInput{RestoreJobId: &args[2]})
			ts.Check(err)
			state, message, made = string(j.Status), aws.ToString(j.StatusMessage), aws.ToString(j.CreatedResourceArn)
		default:
			ts.Fatalf("unknown kind of job %s", args[1])
		}
		if endStates.MatchString(state) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if state != args[3] {
		ts.Fatalf("%s job %s ended %s, want %s: %s", args[1], args[2], state, args[3], message)
	}
	ts.Setenv("MESSAGE", message)
	ts.Setenv("CATEGORY", category)
	ts.Setenv("MADE", made)
}

// cmdBackup makes a recovery point of one of PROFILE's resources: backup PROFILE VAULT ARN.
func cmdBackup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: backup PROFILE VAULT ARN")
	}
	cfg := sdkConfig(ts, args[0])
	me, err := awssts.NewFromConfig(cfg).GetCallerIdentity(context.Background(), &awssts.GetCallerIdentityInput{})
	ts.Check(err)
	j, err := awsbackup.NewFromConfig(cfg).StartBackupJob(context.Background(), &awsbackup.StartBackupJobInput{BackupVaultName: &args[1], ResourceArn: &args[2],
		IamRoleArn: aws.String("arn:aws:iam::" + *me.Account + ":role/Backup")})
	ts.Check(err)
	cmdEnded(ts, false, []string{args[0], "backup", *j.BackupJobId, "COMPLETED"})
}

// cmdCopy copies $RP from prod's vault main to $COPIES and waits: copy STATE [DELETE-AFTER-DAYS].
func cmdCopy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: copy STATE [DELETE-AFTER-DAYS]")
	}
	in := &awsbackup.StartCopyJobInput{RecoveryPointArn: aws.String(ts.Getenv("RP")), SourceBackupVaultName: aws.String("main"),
		DestinationBackupVaultArn: aws.String(ts.Getenv("COPIES")), IamRoleArn: aws.String(ts.Getenv("ROLE"))}
	if len(args) == 2 {
		days, err := strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		in.Lifecycle = &backuptypes.Lifecycle{DeleteAfterDays: &days}
	}
	j, err := awsbackup.NewFromConfig(sdkConfig(ts, "prod")).StartCopyJob(context.Background(), in)
	ts.Check(err)
	cmdEnded(ts, false, []string{"prod", "copy", *j.CopyJobId, args[0]})
}

// cmdAbort starts a backup and stops it in a state: abort PROFILE VAULT ARN RUNNING|CREATED. For CREATED a second one is started,
// which has to wait for the first. It leaves the id of the job that was stopped in $JOB; it has ended ABORTED.
func cmdAbort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: abort PROFILE VAULT ARN RUNNING|CREATED")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := awsbackup.NewFromConfig(sdkConfig(ts, args[0]))
	start := func() string {
		j, err := c.StartBackupJob(ctx, &awsbackup.StartBackupJobInput{BackupVaultName: &args[1], ResourceArn: &args[2], IamRoleArn: aws.String(ts.Getenv("ROLE"))})
		ts.Check(err)
		return *j.BackupJobId
	}
	first := start()
	for state := ""; state != "RUNNING"; {
		j, err := c.DescribeBackupJob(ctx, &awsbackup.DescribeBackupJobInput{BackupJobId: &first})
		ts.Check(err)
		if state = string(j.State); endStates.MatchString(state) {
			ts.Fatalf("the job ended %s before it could be stopped: %s", state, aws.ToString(j.StatusMessage))
		}
	}
	stopped := first
	if args[3] == "CREATED" {
		stopped = start()
	}
	_, err := c.StopBackupJob(ctx, &awsbackup.StopBackupJobInput{BackupJobId: &stopped})
	ts.Check(err)
	cmdEnded(ts, false, []string{args[0], "backup", stopped, "ABORTED"})
	ts.Setenv("JOB", stopped)
	if stopped != first {
		cmdEnded(ts, false, []string{args[0], "backup", first, "COMPLETED"})
	}
}

// cmdSays checks what a variable holds: says VAR WORDS... wants each of the words in it; with !, none.
func cmdSays(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: says VAR WORDS...")
	}
	text := ts.Getenv(args[0])
	for _, w := range args[1:] {
		if strings.Contains(text, w) == neg {
			ts.Fatalf("$%s: %q in %q", args[0], w, text)
		}
	}
}
