package node

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"strongroom/internal/server"
)

func config(endpoint, key, secret, token string) aws.Config {
	return aws.Config{Region: Region, BaseEndpoint: &endpoint, HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}, nil
		})}
}

// Config is the SDK configuration of an account's administrator, for other services than AWS Backup.
func (n *Node) Config(account string) aws.Config {
	cfg := n.keys[account]
	cfg.BaseEndpoint = &n.Endpoint
	return cfg
}

// SetUp makes the organization, the accounts, their roles, vaults and policies. Once per directory.
func (n *Node) SetUp(ctx context.Context) error {
	root, err := server.ReadCredentials(filepath.Join(n.Dir, "data", server.CredentialsFile))
	if err != nil {
		return err
	}
	rootIAM := awsiam.NewFromConfig(config(n.Endpoint, root.ID, root.Secret, ""))
	name := aws.String("admin")
	if _, err := rootIAM.CreateUser(ctx, &awsiam.CreateUserInput{UserName: name}); err != nil {
		return err
	}
	if _, err := rootIAM.AttachUserPolicy(ctx, &awsiam.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		return err
	}
	key, err := rootIAM.CreateAccessKey(ctx, &awsiam.CreateAccessKeyInput{UserName: name})
	if err != nil {
		return err
	}
	n.keys[Management] = config(n.Endpoint, *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
	org := awsorg.NewFromConfig(n.keys[Management])
	if _, err := org.CreateOrganization(ctx, &awsorg.CreateOrganizationInput{FeatureSet: orgtypes.OrganizationFeatureSetAll}); err != nil {
		return err
	}
	for _, account := range []string{Production, Backup} {
		if err := n.account(ctx, org, account); err != nil {
			return fmt.Errorf("account %s: %w", account, err)
		}
	}
	n.connect()
	if _, err := awsbackup.NewFromConfig(n.keys[Management]).UpdateGlobalSettings(ctx, &awsbackup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "true"}}); err != nil {
		return err
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + Production + `:root"},"Action":"backup:CopyIntoBackupVault","Resource":"*"}]}`
	_, err = n.Other.PutBackupVaultAccessPolicy(ctx, &awsbackup.PutBackupVaultAccessPolicyInput{BackupVaultName: aws.String(Vault), Policy: &policy})
	return err
}

func (n *Node) account(ctx context.Context, org *awsorg.Client, account string) error {
	req, err := org.CreateAccount(ctx, &awsorg.CreateAccountInput{AccountName: &account, Email: aws.String(account + "@example.com"),
		Tags: []orgtypes.Tag{{Key: aws.String("strongroom:account-id"), Value: &account}}})
	if err != nil {
		return err
	}
	for {
		st, err := org.DescribeCreateAccountStatus(ctx, &awsorg.DescribeCreateAccountStatusInput{CreateAccountRequestId: req.CreateAccountStatus.Id})
		if err != nil {
			return err
		}
		if st.CreateAccountStatus.State == orgtypes.CreateAccountStateSucceeded {
			break
		}
		if st.CreateAccountStatus.State == orgtypes.CreateAccountStateFailed {
			return fmt.Errorf("not created: %s", st.CreateAccountStatus.FailureReason)
		}
		time.Sleep(20 * time.Millisecond)
	}
	s, err := awssts.NewFromConfig(n.keys[Management]).AssumeRole(ctx, &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + account + ":role/OrganizationAccountAccessRole"), RoleSessionName: aws.String("test")})
	if err != nil {
		return err
	}
	n.keys[account] = config(n.Endpoint, *s.Credentials.AccessKeyId, *s.Credentials.SecretAccessKey, *s.Credentials.SessionToken)
	iam := awsiam.NewFromConfig(n.keys[account])
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	if _, err := iam.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: aws.String("Backup"), AssumeRolePolicyDocument: &trust}); err != nil {
		return err
	}
	for _, p := range []string{"AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores"} {
		if _, err := iam.AttachRolePolicy(ctx, &awsiam.AttachRolePolicyInput{RoleName: aws.String("Backup"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/" + p)}); err != nil {
			return err
		}
	}
	_, err = awsbackup.NewFromConfig(n.keys[account]).CreateBackupVault(ctx, &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String(Vault)})
	return err
}
