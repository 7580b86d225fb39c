package backupapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/smithy-go"

	"strongroom/internal/access"
	"strongroom/internal/api/backupapi"
	"strongroom/internal/arn"
	"strongroom/internal/authz"
	"strongroom/internal/backup"
	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/job"
	"strongroom/internal/policy"
	"strongroom/internal/wire"
)

const (
	prod   = "111111111111"
	vaults = "222222222222"
	region = "us-east-1"
	fs     = "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/fs-0123456789abcdef0"
	role   = "arn:aws:iam::111111111111:role/backup"
)

// node serves the adapter as a node would: signatures, authorization with the vaults' policies, the service, a catalog.
type node struct {
	t       testing.TB
	url     string
	handler http.Handler
	service *backup.Service
	jobs    *job.Queue
	clock   *clock.Fake
	allow   map[string]string // identity policy by account; absent: everything
}

func start(t testing.TB) *node {
	t.Helper()
	ctx := t.Context()
	c := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	d, err := db.Open(ctx, db.Config{URL: filepath.Join(t.TempDir(), "catalog.db"), Now: c.Now})
	must(t, err)
	t.Cleanup(func() { d.Close() })
	jobs, err := job.Open(ctx, job.Config{DB: d, Clock: c})
	must(t, err)
	s, err := backup.New(ctx, backup.Config{DB: d, Clock: c, Keys: keys{}, Roles: roles{}, Org: org{}, Jobs: jobs})
	must(t, err)
	n := &node{t: t, service: s, jobs: jobs, clock: c, allow: map[string]string{}}
	az := authz.New(authz.Config{Identities: n})
	az.Register("backup", backupapi.Lookup(s))
	h, err := wire.NewHandler(wire.Config{
		Services: []wire.Service{backupapi.Service(s)}, Regions: []string{region}, Clock: clock.System{},
		Authenticate: func(_ context.Context, id, _ string) (wire.Identity, error) {
			return wire.Identity{Secret: "secret", Principal: access.Principal{Kind: access.User, Account: id, ARN: arn.Make("iam", "", id, "user/u"), ID: "AIDA" + id, Name: "u"}}, nil
		},
		Authorize: func(ctx context.Context, c wire.Caller, checks []access.Check) error {
			return az.Authorize(ctx, c.Principal, c.Env, checks...)
		},
	})
	must(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	n.url, n.handler = server.URL, h
	return n
}

// Policies gives every user what node.allow says.
func (n *node) Policies(_ context.Context, p access.Principal) (policy.Identities, error) {
	text := n.allow[p.Account]
	if text == "" {
		text = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	}
	doc, err := policy.Parse(policy.Identity, text)
	return policy.Identities{Identity: []policy.Source{{Type: policy.TypeIdentity, Name: "test", Owner: p.Account, Doc: doc}}}, err
}

// as is a client of the account that does not retry.
func (n *node) as(account string) *awsbackup.Client {
	return awsbackup.New(awsbackup.Options{
		Region: region, BaseEndpoint: &n.url, Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: account, SecretAccessKey: "secret"}, nil
		}),
	})
}

// backup runs a whole backup job of prod's file system into a vault and returns the recovery point's ARN.
func (n *node) backup(vault string) string {
	n.t.Helper()
	ctx := n.t.Context()
	must(n.t, n.service.DeclareResources(ctx, "agent", []backup.Resource{{ARN: fs, Type: "EFS", Name: "files", Account: prod, Region: region, Tags: map[string]string{"stage": "prod"}}}))
	j, err := n.service.StartBackup(ctx, prod, region, backup.BackupRequest{Vault: vault, ResourceARN: fs, RoleARN: role})
	must(n.t, err)
	l, ok, err := n.jobs.Claim(ctx, backup.BackupKind)
	must(n.t, err)
	if !ok {
		n.t.Fatal("no backup job to claim")
	}
	_, err = n.service.BeginBackup(ctx, l)
	must(n.t, err)
	must(n.t, n.service.FinishBackup(ctx, l, backup.BackupResult{SizeBytes: 42, RestoreMetadata: map[string]string{"file-system-id": "fs-0123456789abcdef0"}}))
	return j.PointARN
}

// purge runs the deletions that are due.
func (n *node) purge() {
	n.t.Helper()
	for {
		l, ok, err := n.jobs.Claim(n.t.Context(), backup.DeleteKind)
		must(n.t, err)
		if !ok {
			return
		}
		must(n.t, n.service.FinishDeletion(n.t.Context(), l))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks the exception that a call ended with, and its text if one is given.
func refused(t testing.TB, err error, code, text string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || text != "" && e.ErrorMessage() != text {
		t.Fatalf("want %s %q, got %v", code, text, err)
	}
}

type keys struct{}

func (keys) DefaultKey(_ context.Context, account, region string) (string, error) {
	return arn.Make("kms", region, account, "key/service"), nil
}
func (keys) BindVault(_ context.Context, _ access.Principal, _ access.Env, _, vault string) (string, error) {
	return "grant-" + vault, nil
}
func (keys) ReleaseVault(context.Context, string, string) error { return nil }

type roles struct{}

func (roles) Assumable(context.Context, string, string) error { return nil }

type org struct{}

func (org) Membership(_ context.Context, account string) (backup.Membership, error) {
	return backup.Membership{OrgID: "o-test", Management: vaults}, nil
}
func (org) Accounts(context.Context, string) ([]string, error) { return []string{prod, vaults}, nil }
