package demo

import (
	"context"
	"net/http"
	"runtime"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
)

// clients are the SDK's, with one principal's credentials.
type clients struct {
	backup *awsbackup.Client
	iam    *awsiam.Client
	kms    *awskms.Client
	org    *awsorg.Client
	sts    *awssts.Client
}

func newClients(endpoint, key, secret, token string) clients {
	cfg := aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(endpoint),
		HTTPClient:   http.DefaultClient,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}, nil
		}),
	}
	return clients{
		backup: awsbackup.NewFromConfig(cfg), iam: awsiam.NewFromConfig(cfg), kms: awskms.NewFromConfig(cfg),
		org: awsorg.NewFromConfig(cfg), sts: awssts.NewFromConfig(cfg),
	}
}

// assume returns the clients of a role session.
func (c clients) assume(ctx context.Context, endpoint, role, session string) (clients, error) {
	out, err := c.sts.AssumeRole(ctx, &awssts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &session})
	if err != nil {
		return clients{}, err
	}
	cr := out.Credentials
	return newClients(endpoint, *cr.AccessKeyId, *cr.SecretAccessKey, *cr.SessionToken), nil
}

func goroot() string { return runtime.GOROOT() }
