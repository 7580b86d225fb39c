package iamapi_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"strongroom/internal/access"
	"strongroom/internal/api/iamapi"
	"strongroom/internal/api/stsapi"
	"strongroom/internal/authz"
	"strongroom/internal/clock"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

const (
	mgmt  = "999999999999"
	prod  = "111111111111"
	vault = "222222222222"
)

// sealer is AES-256-GCM under one key.
type sealer struct{ gcm cipher.AEAD }

func newSealer(t *testing.T) sealer {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	g, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{g}
}

func (s sealer) Seal(purpose string, plain []byte, aad string) ([]byte, error) {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return s.gcm.Seal(nonce, nonce, plain, []byte(purpose+"\x00"+aad)), nil
}

func (s sealer) Open(purpose string, sealed []byte, aad string) ([]byte, error) {
	if len(sealed) < 12 {
		return nil, errors.New("too short")
	}
	return s.gcm.Open(nil, sealed[:12], sealed[12:], []byte(purpose+"\x00"+aad))
}

// node serves IAM and STS with real signatures and real authorization.
type node struct {
	t   *testing.T
	ctx context.Context
	iam *iam.Service
	url string
}

// creds are what a client signs with.
type creds struct{ id, secret, token string }

func newNode(t *testing.T) (*node, creds) {
	t.Helper()
	t.Parallel()
	s, err := iam.New(context.Background(), iam.Config{DB: dbtest.SQLite(t, clock.System{}.Now), Clock: clock.System{}, Secrets: newSealer(t)})
	if err != nil {
		t.Fatal(err)
	}
	auth := authz.New(authz.Config{Identities: s})
	auth.Register("iam", iamapi.Lookup(s))
	auth.Register("sts", iamapi.Lookup(s))
	h, err := wire.NewHandler(wire.Config{
		Services: []wire.Service{iamapi.Service(s), stsapi.Service(s)}, Regions: []string{"us-east-1"}, Clock: clock.System{},
		Authenticate: func(ctx context.Context, id, token string) (wire.Identity, error) {
			secret, p, expires, err := s.Credential(ctx, id, token)
			if fault.Is(err, fault.NotFound) {
				err = wire.ErrUnknownKey
			}
			return wire.Identity{Secret: secret, Principal: p, Expires: expires}, err
		},
		Authorize: func(ctx context.Context, c wire.Caller, checks []access.Check) error {
			return auth.Authorize(ctx, c.Principal, c.Env, checks...)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	n := &node{t: t, ctx: context.Background(), iam: s, url: server.URL}
	id, secret, err := s.CreateAccountRoot(n.ctx, mgmt)
	n.ok(err)
	return n, creds{id: id, secret: secret}
}

func (n *node) ok(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (c creds) provider() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: c.id, SecretAccessKey: c.secret, SessionToken: c.token}, nil
	})
}

func (n *node) iamAs(c creds) *awsiam.Client {
	return awsiam.New(awsiam.Options{Region: "us-east-1", BaseEndpoint: &n.url, Credentials: c.provider(), RetryMaxAttempts: 1})
}

func (n *node) stsAs(c creds) *awssts.Client {
	return awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: &n.url, Credentials: c.provider(), RetryMaxAttempts: 1})
}

// refused demands an API error with a code and a message that contains text.
func (n *node) refused(err error, code, text string) {
	n.t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		n.t.Fatalf("got %v, want %s %q", err, code, text)
	}
}

// admin makes a user with a managed policy and returns its key.
func (n *node) user(root creds, name, policyARN string) creds {
	n.t.Helper()
	c := n.iamAs(root)
	_, err := c.CreateUser(n.ctx, &awsiam.CreateUserInput{UserName: &name})
	n.ok(err)
	if policyARN != "" {
		_, err = c.AttachUserPolicy(n.ctx, &awsiam.AttachUserPolicyInput{UserName: &name, PolicyArn: &policyARN})
		n.ok(err)
	}
	k, err := c.CreateAccessKey(n.ctx, &awsiam.CreateAccessKeyInput{UserName: &name})
	n.ok(err)
	return creds{id: *k.AccessKey.AccessKeyId, secret: *k.AccessKey.SecretAccessKey}
}

func (n *node) assume(c creds, in *awssts.AssumeRoleInput) creds {
	n.t.Helper()
	if in.RoleSessionName == nil {
		in.RoleSessionName = aws.String("setup")
	}
	out, err := n.stsAs(c).AssumeRole(n.ctx, in)
	n.ok(err)
	if d := time.Until(*out.Credentials.Expiration); d > time.Hour || d < 50*time.Minute {
		n.t.Errorf("expires in %v", d)
	}
	return creds{*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken}
}

func trusting(principal string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`)
}

func allowing(action, resource string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}]}`)
}
