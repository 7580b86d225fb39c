package server

import (
	"context"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

const firstAccount = "999999999999"

// node is an opened server behind a test listener, with the SDK's clients of its root user. Nothing runs in the background.
type node struct {
	*Server
	url  string
	root clients
}

// startNode opens a server on a new directory with SQLite.
func startNode(t *testing.T) *node {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	s, err := Open(t.Context(), Config{Data: dir, AccountID: firstAccount})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	key, err := ReadCredentials(filepath.Join(dir, CredentialsFile))
	if err != nil {
		t.Fatal(err)
	}
	return &node{Server: s, url: h.URL, root: newClients(h.URL, "us-east-1", aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret})}
}

// clients are the SDK's clients with one identity. They do not retry.
type clients struct {
	backup *awsbackup.Client
	org    *awsorg.Client
	kms    *awskms.Client
	iam    *awsiam.Client
	sts    *awssts.Client
}

func newClients(url, region string, creds aws.Credentials) clients {
	c := aws.Config{
		Region: region, BaseEndpoint: &url, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil }),
	}
	return clients{awsbackup.NewFromConfig(c), awsorg.NewFromConfig(c), awskms.NewFromConfig(c), awsiam.NewFromConfig(c), awssts.NewFromConfig(c)}
}

// of returns the client of a service by its signing name; nil for the node's own service, which the SDK does not know.
func (c clients) of(service string) any {
	switch service {
	case "backup":
		return c.backup
	case "organizations":
		return c.org
	case "kms":
		return c.kms
	case "iam":
		return c.iam
	case "sts":
		return c.sts
	}
	return nil
}

// user makes a user without any policy and returns clients that speak for it.
func (n *node) user(t *testing.T, name string) clients {
	t.Helper()
	if _, err := n.root.iam.CreateUser(t.Context(), &awsiam.CreateUserInput{UserName: &name}); err != nil {
		t.Fatal(err)
	}
	k, err := n.root.iam.CreateAccessKey(t.Context(), &awsiam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return newClients(n.url, "us-east-1", aws.Credentials{AccessKeyID: *k.AccessKey.AccessKeyId, SecretAccessKey: *k.AccessKey.SecretAccessKey})
}

// code is the exception that a call ended with, "" for none.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}
