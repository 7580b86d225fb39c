package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"strongroom/internal/server"
)

const (
	prod   = "111111111111"
	backup = "222222222222"
	fsARN  = "arn:aws:elasticfilesystem:us-east-1:" + prod + ":file-system/fs-0aaaaaaaaaaaaaaaa"
)

func role(account string) string { return "arn:aws:iam::" + account + ":role/Backup" }

// node is a running strongroom with two accounts set up.
type node struct {
	dir   string
	cmd   *exec.Cmd
	prod  *awsbackup.Client
	other *awsbackup.Client
}

func startNode(ctx context.Context, c config, cp corpus) (_ *node, err error) {
	n := &node{dir: filepath.Join(c.dir, "node")}
	if err := os.RemoveAll(n.dir); err != nil {
		return nil, err
	}
	restored := filepath.Join(n.dir, "restored")
	if err := os.MkdirAll(restored, 0o755); err != nil {
		return nil, err
	}
	agent := filepath.Join(n.dir, "agent.yaml")
	text := fmt.Sprintf("account: %q\nregion: us-east-1\nresources:\n  - {type: EFS, id: fs-0aaaaaaaaaaaaaaaa, path: %q}\nrestore:\n  EFS: {root: %q}\n", prod, cp.path, restored)
	if err := os.WriteFile(agent, []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(n.dir, "log"))
	if err != nil {
		return nil, err
	}
	data := filepath.Join(n.dir, "data")
	n.cmd = exec.CommandContext(ctx, c.bin, "serve", "--data", data, "--listen", "127.0.0.1:0", "--account-id", "999999999999", "--agent", agent)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	var endpoint string
	for range 400 {
		raw, _ := os.ReadFile(filepath.Join(data, server.EndpointFile))
		if endpoint = strings.TrimSpace(string(raw)); endpoint != "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if endpoint == "" {
		return nil, errors.New("the node did not start; see " + log.Name())
	}
	return n, n.setUp(ctx, endpoint, data)
}

func sdk(endpoint, key, secret, token string) aws.Config {
	return aws.Config{Region: "us-east-1", BaseEndpoint: &endpoint, HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}, nil
		})}
}

func (n *node) setUp(ctx context.Context, endpoint, data string) error {
	root, err := server.ReadCredentials(filepath.Join(data, server.CredentialsFile))
	if err != nil {
		return err
	}
	rootIAM := awsiam.NewFromConfig(sdk(endpoint, root.ID, root.Secret, ""))
	if _, err := rootIAM.CreateUser(ctx, &awsiam.CreateUserInput{UserName: aws.String("admin")}); err != nil {
		return err
	}
	if _, err := rootIAM.AttachUserPolicy(ctx, &awsiam.AttachUserPolicyInput{UserName: aws.String("admin"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		return err
	}
	key, err := rootIAM.CreateAccessKey(ctx, &awsiam.CreateAccessKeyInput{UserName: aws.String("admin")})
	if err != nil {
		return err
	}
	admin := sdk(endpoint, *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
	org := awsorg.NewFromConfig(admin)
	if _, err := org.CreateOrganization(ctx, &awsorg.CreateOrganizationInput{FeatureSet: orgtypes.OrganizationFeatureSetAll}); err != nil {
		return err
	}
	for _, account := range []string{prod, backup} {
		if err := n.account(ctx, endpoint, admin, org, account); err != nil {
			return fmt.Errorf("account %s: %w", account, err)
		}
	}
	if _, err := awsbackup.NewFromConfig(admin).UpdateGlobalSettings(ctx, &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "true"}}); err != nil {
		return err
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + prod + `:root"},"Action":"backup:CopyIntoBackupVault","Resource":"*"}]}`
	_, err = n.other.PutBackupVaultAccessPolicy(ctx, &awsbackup.PutBackupVaultAccessPolicyInput{BackupVaultName: aws.String("bench"), Policy: &policy})
	return err
}

func (n *node) account(ctx context.Context, endpoint string, admin aws.Config, org *awsorg.Client, account string) error {
	req, err := org.CreateAccount(ctx, &awsorg.CreateAccountInput{AccountName: &account, Email: aws.String(account + "@example.com"),
		Tags: []orgtypes.Tag{{Key: aws.String("strongroom:account-id"), Value: &account}}})
	if err != nil {
		return err
	}
	for range 100 {
		st, err := org.DescribeCreateAccountStatus(ctx, &awsorg.DescribeCreateAccountStatusInput{CreateAccountRequestId: req.CreateAccountStatus.Id})
		if err != nil {
			return err
		}
		if st.CreateAccountStatus.State == orgtypes.CreateAccountStateSucceeded {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	s, err := awssts.NewFromConfig(admin).AssumeRole(ctx, &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + account + ":role/OrganizationAccountAccessRole"), RoleSessionName: aws.String("bench")})
	if err != nil {
		return err
	}
	cfg := sdk(endpoint, *s.Credentials.AccessKeyId, *s.Credentials.SecretAccessKey, *s.Credentials.SessionToken)
	iam := awsiam.NewFromConfig(cfg)
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	if _, err := iam.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: aws.String("Backup"), AssumeRolePolicyDocument: &trust}); err != nil {
		return err
	}
	for _, p := range []string{"AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores"} {
		if _, err := iam.AttachRolePolicy(ctx, &awsiam.AttachRolePolicyInput{RoleName: aws.String("Backup"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/" + p)}); err != nil {
			return err
		}
	}
	cl := awsbackup.NewFromConfig(cfg)
	if account == prod {
		n.prod = cl
	} else {
		n.other = cl
	}
	_, err = cl.CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("bench")})
	return err
}

// stop ends the node and returns its peak resident memory in bytes.
func (n *node) stop() (rss int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			rss = kb << 10
		}
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	return rss, n.cmd.Wait()
}

// nodeRound is resticRound with strongroom: backup, backup again, copy into the other account, restore.
func nodeRound(ctx context.Context, c config, cp corpus, out results) (rss int64, err error) {
	n, err := startNode(ctx, c, cp)
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(n.dir)
	point, d, err := n.backup(ctx)
	if err != nil {
		return 0, err
	}
	out.add(cp.name+": initial backup, s", "strongroom", d.Seconds())
	if _, d, err = n.backup(ctx); err != nil {
		return 0, err
	}
	out.add(cp.name+": nothing changed, s", "strongroom", d.Seconds())
	size, err := treeSize(filepath.Join(n.dir, "data", "regions"))
	if err != nil {
		return 0, err
	}
	out.add(cp.name+": stored, MB", "strongroom", float64(size)/1e6)
	if d, err = n.copy(ctx, point); err != nil {
		return 0, err
	}
	out.add(cp.name+": copy, other key, s", "strongroom", d.Seconds())
	if d, err = n.restore(ctx, point); err != nil {
		return 0, err
	}
	out.add(cp.name+": restore, s", "strongroom", d.Seconds())
	return n.stop()
}

const every = 20 * time.Millisecond

func (n *node) backup(ctx context.Context) (point string, d time.Duration, err error) {
	j, err := n.prod.StartBackupJob(ctx, &awsbackup.StartBackupJobInput{BackupVaultName: aws.String("bench"), ResourceArn: aws.String(fsARN), IamRoleArn: aws.String(role(prod))})
	if err != nil {
		return "", 0, err
	}
	for {
		time.Sleep(every)
		s, err := n.prod.DescribeBackupJob(ctx, &awsbackup.DescribeBackupJobInput{BackupJobId: j.BackupJobId})
		if err != nil {
			return "", 0, err
		}
		switch s.State {
		case types.BackupJobStateCompleted:
			return *s.RecoveryPointArn, s.CompletionDate.Sub(*s.CreationDate), nil
		case types.BackupJobStateFailed, types.BackupJobStatePartial, types.BackupJobStateAborted, types.BackupJobStateExpired:
			return "", 0, fmt.Errorf("backup %s: %s", s.State, aws.ToString(s.StatusMessage))
		}
	}
}

func (n *node) copy(ctx context.Context, point string) (time.Duration, error) {
	j, err := n.prod.StartCopyJob(ctx, &awsbackup.StartCopyJobInput{RecoveryPointArn: &point, SourceBackupVaultName: aws.String("bench"),
		DestinationBackupVaultArn: aws.String("arn:aws:backup:us-east-1:" + backup + ":backup-vault:bench"), IamRoleArn: aws.String(role(prod))})
	if err != nil {
		return 0, err
	}
	for {
		time.Sleep(every)
		s, err := n.prod.DescribeCopyJob(ctx, &awsbackup.DescribeCopyJobInput{CopyJobId: j.CopyJobId})
		if err != nil {
			return 0, err
		}
		switch s.CopyJob.State {
		case types.CopyJobStateCompleted:
			return s.CopyJob.CompletionDate.Sub(*s.CopyJob.CreationDate), nil
		case types.CopyJobStateFailed, types.CopyJobStatePartial:
			return 0, fmt.Errorf("copy %s: %s", s.CopyJob.State, aws.ToString(s.CopyJob.StatusMessage))
		}
	}
}

func (n *node) restore(ctx context.Context, point string) (time.Duration, error) {
	j, err := n.prod.StartRestoreJob(ctx, &awsbackup.StartRestoreJobInput{RecoveryPointArn: &point, IamRoleArn: aws.String(role(prod)), Metadata: map[string]string{"newFileSystem": "true"}})
	if err != nil {
		return 0, err
	}
	for {
		time.Sleep(every)
		s, err := n.prod.DescribeRestoreJob(ctx, &awsbackup.DescribeRestoreJobInput{RestoreJobId: j.RestoreJobId})
		if err != nil {
			return 0, err
		}
		switch s.Status {
		case types.RestoreJobStatusCompleted:
			return s.CompletionDate.Sub(*s.CreationDate), nil
		case types.RestoreJobStatusFailed, types.RestoreJobStatusAborted:
			return 0, fmt.Errorf("restore %s: %s", s.Status, aws.ToString(s.StatusMessage))
		}
	}
}

// apiRate loads DescribeRecoveryPoint from eight connections and returns calls per second.
func apiRate(ctx context.Context, c config, cp corpus) (float64, error) {
	n, err := startNode(ctx, c, corpus{path: filepath.Join(cp.path, "0")})
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(n.dir)
	defer n.stop()
	point, _, err := n.backup(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.apiFor)
	defer cancel()
	var calls atomic.Int64
	var failed atomic.Pointer[error]
	begun := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := n.prod.DescribeRecoveryPoint(ctx, &awsbackup.DescribeRecoveryPointInput{BackupVaultName: aws.String("bench"), RecoveryPointArn: &point})
				if err == nil {
					calls.Add(1)
				} else if ctx.Err() == nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if e := failed.Load(); e != nil {
		return 0, *e
	}
	return float64(calls.Load()) / time.Since(begun).Seconds(), nil
}
