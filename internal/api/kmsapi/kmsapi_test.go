package kmsapi_test

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"strongroom/internal/access"
	"strongroom/internal/api/kmsapi"
	"strongroom/internal/arn"
	"strongroom/internal/authz"
	"strongroom/internal/clock"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/kms"
	"strongroom/internal/policy"
	"strongroom/internal/wire"
)

const (
	mine   = "111111111111"
	theirs = "222222222222"
	region = "us-east-1"
)

// everybody may do everything as far as identity policies go: what is left to decide is the key's policy and its grants.
type everybody struct{}

func (everybody) Policies(context.Context, access.Principal) (policy.Identities, error) {
	doc, err := policy.Parse(policy.Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	return policy.Identities{Identity: []policy.Source{{Name: "all", Doc: doc}}}, err
}

// authenticate knows an access key per account (its root user) and, with the prefix "user", one of a user.
func authenticate(_ context.Context, id, _ string) (wire.Identity, error) {
	account := id[len(id)-12:]
	p := access.Principal{Kind: access.Root, Account: account, ARN: arn.Root(account), ID: account}
	if strings.HasPrefix(id, "user") {
		p = access.Principal{Kind: access.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/u", ID: "AIDAU", Name: "u"}
	}
	return wire.Identity{Secret: "secret", Principal: p}, nil
}

type world struct {
	s   *kms.Service
	url string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	c := clock.System{}
	s, err := kms.New(t.Context(), kms.Config{DB: dbtest.SQLite(t, c.Now), Clock: c, Seal: kms.OpenSeal(filepath.Join(t.TempDir(), "seal"))})
	ok(t, err)
	a := authz.New(authz.Config{Identities: everybody{}})
	a.Register("kms", func(ctx context.Context, check access.Check, p access.Principal) (authz.Resource, error) {
		r, err := s.Lookup(ctx, check, p)
		return authz.Resource(r), err
	})
	h, err := wire.NewHandler(wire.Config{
		Services: []wire.Service{kmsapi.Service(s)}, Regions: []string{region, "eu-west-1"}, Clock: c, Authenticate: authenticate,
		Authorize: func(ctx context.Context, c wire.Caller, checks []access.Check) error {
			return a.Authorize(ctx, c.Principal, c.Env, checks...)
		},
	})
	ok(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return &world{s, srv.URL}
}

func (w *world) as(id string) *awskms.Client { return w.in(id, region) }

func (w *world) in(id, region string) *awskms.Client {
	return awskms.New(awskms.Options{Region: region, BaseEndpoint: aws.String(w.url), Credentials: credentials.NewStaticCredentialsProvider(id, "secret", ""), RetryMaxAttempts: 1})
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Fatalf("want %s, got %v", code, err)
	}
}

func (w *world) key(t *testing.T, policy string) string {
	t.Helper()
	in := &awskms.CreateKeyInput{}
	if policy != "" {
		in.Policy = &policy
	}
	k, err := w.as(mine).CreateKey(t.Context(), in)
	ok(t, err)
	return *k.KeyMetadata.Arn
}

func keyPolicy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func allow(account, actions string) string {
	return `{"Effect":"Allow","Principal":{"AWS":"` + arn.Root(account) + `"},"Action":[` + actions + `],"Resource":"*"}`
}

func TestKeyLifeThroughTheAPI(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.as(mine)
	made, err := c.CreateKey(ctx, &awskms.CreateKeyInput{Description: aws.String("vault"), Tags: []kmstypes.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
	ok(t, err)
	m := made.KeyMetadata
	if m.KeyState != kmstypes.KeyStateEnabled || !m.Enabled || *m.AWSAccountId != mine || m.KeyManager != kmstypes.KeyManagerTypeCustomer || m.DeletionDate != nil || len(*m.CurrentKeyMaterialId) != 64 || time.Since(*m.CreationDate) > time.Hour {
		t.Fatalf("%+v", m)
	}
	_, err = c.CreateAlias(ctx, &awskms.CreateAliasInput{AliasName: aws.String("alias/vault"), TargetKeyId: m.KeyId})
	ok(t, err)
	for _, id := range []string{*m.KeyId, *m.Arn, "alias/vault", "arn:aws:kms:us-east-1:" + mine + ":alias/vault"} {
		d, err := c.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: &id})
		if err != nil || *d.KeyMetadata.Arn != *m.Arn || *d.KeyMetadata.Description != "vault" {
			t.Fatalf("%s: %v", id, err)
		}
	}
	list, err := c.ListKeys(ctx, &awskms.ListKeysInput{})
	if err != nil || len(list.Keys) != 1 || list.Truncated {
		t.Fatalf("%+v %v", list, err)
	}
	tags, err := c.ListResourceTags(ctx, &awskms.ListResourceTagsInput{KeyId: m.KeyId})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].TagValue != "b" {
		t.Fatalf("%+v %v", tags, err)
	}
	p, err := c.GetKeyPolicy(ctx, &awskms.GetKeyPolicyInput{KeyId: m.KeyId})
	if err != nil || *p.Policy != kms.DefaultPolicy(mine) || *p.PolicyName != "default" {
		t.Fatal(err)
	}
	_, err = c.DisableKey(ctx, &awskms.DisableKeyInput{KeyId: m.KeyId})
	ok(t, err)
	_, err = c.Encrypt(ctx, &awskms.EncryptInput{KeyId: m.KeyId, Plaintext: []byte("x")})
	wantCode(t, err, "DisabledException")
	s, err := c.ScheduleKeyDeletion(ctx, &awskms.ScheduleKeyDeletionInput{KeyId: m.KeyId, PendingWindowInDays: aws.Int32(7)})
	if err != nil || s.KeyState != kmstypes.KeyStatePendingDeletion || *s.PendingWindowInDays != 7 || *s.KeyId != *m.Arn || time.Until(*s.DeletionDate) > 7*24*time.Hour {
		t.Fatalf("%+v %v", s, err)
	}
	_, err = c.Encrypt(ctx, &awskms.EncryptInput{KeyId: m.KeyId, Plaintext: []byte("x")})
	wantCode(t, err, "KMSInvalidStateException")
	_, err = c.CancelKeyDeletion(ctx, &awskms.CancelKeyDeletionInput{KeyId: m.KeyId})
	ok(t, err)
	_, err = c.EnableKey(ctx, &awskms.EnableKeyInput{KeyId: m.KeyId})
	ok(t, err)
	for _, days := range []int32{6, 31} {
		_, err = c.ScheduleKeyDeletion(ctx, &awskms.ScheduleKeyDeletionInput{KeyId: m.KeyId, PendingWindowInDays: &days})
		wantCode(t, err, "ValidationException")
	}
	missing := "00000000-0000-0000-0000-000000000000"
	_, err = c.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: &missing})
	wantCode(t, err, "NotFoundException")
	_, err = c.CreateKey(ctx, &awskms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	wantCode(t, err, "UnsupportedOperationException")
	_, err = c.CreateKey(ctx, &awskms.CreateKeyInput{KeySpec: kmstypes.KeySpecRsa2048, KeyUsage: kmstypes.KeyUsageTypeSignVerify})
	wantCode(t, err, "UnsupportedOperationException")
	_, err = c.CreateKey(ctx, &awskms.CreateKeyInput{Policy: aws.String(keyPolicy(allow(theirs, `"kms:*"`)))})
	wantCode(t, err, "MalformedPolicyDocumentException")
	_, err = w.in(mine, "eu-west-1").DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: m.Arn})
	wantCode(t, err, "NotFoundException")
}

func TestCryptographyThroughTheAPI(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.as(mine)
	key := w.key(t, "")
	encCtx := map[string]string{"vault": "v"}
	dk, err := c.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{KeyId: &key, KeySpec: kmstypes.DataKeySpecAes256, EncryptionContext: encCtx})
	if err != nil || len(dk.Plaintext) != 32 || *dk.KeyId != key || len(*dk.KeyMaterialId) != 64 {
		t.Fatalf("%+v %v", dk, err)
	}
	open := func(in *awskms.DecryptInput) (*awskms.DecryptOutput, error) {
		in.CiphertextBlob = dk.CiphertextBlob
		return c.Decrypt(ctx, in)
	}
	o, err := open(&awskms.DecryptInput{EncryptionContext: encCtx})
	if err != nil || !bytes.Equal(o.Plaintext, dk.Plaintext) || *o.KeyId != key || o.EncryptionAlgorithm != kmstypes.EncryptionAlgorithmSpecSymmetricDefault {
		t.Fatalf("%+v %v", o, err)
	}
	_, err = open(&awskms.DecryptInput{})
	wantCode(t, err, "InvalidCiphertextException")
	second := w.key(t, "")
	_, err = open(&awskms.DecryptInput{EncryptionContext: encCtx, KeyId: &second})
	wantCode(t, err, "IncorrectKeyException")
	_, err = open(&awskms.DecryptInput{EncryptionContext: encCtx, KeyId: &key, DryRun: aws.Bool(true)})
	wantCode(t, err, "DryRunOperationException")
	_, err = c.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: []byte("x"), KeyId: &key, DryRun: aws.Bool(true), DryRunModifiers: []kmstypes.DryRunModifierType{kmstypes.DryRunModifierTypeIgnoreCiphertext}})
	wantCode(t, err, "DryRunOperationException")
	_, err = open(&awskms.DecryptInput{EncryptionContext: encCtx, GrantTokens: []string{"AAAA"}})
	wantCode(t, err, "InvalidGrantTokenException")
	_, err = c.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: []byte("nonsense")})
	wantCode(t, err, "InvalidCiphertextException")
	re, err := c.ReEncrypt(ctx, &awskms.ReEncryptInput{CiphertextBlob: dk.CiphertextBlob, SourceEncryptionContext: encCtx, DestinationKeyId: &second})
	if err != nil || *re.KeyId != second || *re.SourceKeyId != key {
		t.Fatalf("%+v %v", re, err)
	}
	o, err = c.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: re.CiphertextBlob})
	if err != nil || !bytes.Equal(o.Plaintext, dk.Plaintext) {
		t.Fatal(err)
	}
	_, err = c.RotateKeyOnDemand(ctx, &awskms.RotateKeyOnDemandInput{KeyId: &key})
	ok(t, err)
	if _, err = open(&awskms.DecryptInput{EncryptionContext: encCtx}); err != nil {
		t.Fatal(err)
	}
	rot, err := c.ListKeyRotations(ctx, &awskms.ListKeyRotationsInput{KeyId: &key})
	if err != nil || len(rot.Rotations) != 1 || rot.Rotations[0].RotationType != kmstypes.RotationTypeOnDemand || rot.Rotations[0].KeyMaterialState != kmstypes.KeyMaterialStateCurrent {
		t.Fatalf("%+v %v", rot, err)
	}
	wo, err := c.GenerateDataKeyWithoutPlaintext(ctx, &awskms.GenerateDataKeyWithoutPlaintextInput{KeyId: &key, NumberOfBytes: aws.Int32(64)})
	if err != nil || len(wo.CiphertextBlob) == 0 {
		t.Fatal(err)
	}
	_, err = c.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{KeyId: &key})
	wantCode(t, err, "ValidationException")
	r, err := c.GenerateRandom(ctx, &awskms.GenerateRandomInput{NumberOfBytes: aws.Int32(16)})
	if err != nil || len(r.Plaintext) != 16 {
		t.Fatal(err)
	}
	_, err = c.EnableKeyRotation(ctx, &awskms.EnableKeyRotationInput{KeyId: &key, RotationPeriodInDays: aws.Int32(90)})
	ok(t, err)
	st, err := c.GetKeyRotationStatus(ctx, &awskms.GetKeyRotationStatusInput{KeyId: &key})
	if err != nil || !st.KeyRotationEnabled || *st.RotationPeriodInDays != 90 || st.NextRotationDate == nil {
		t.Fatalf("%+v %v", st, err)
	}
}

// Another account sees the same for a key that is not there, one that is not for it, and learns what would have to be allowed.
func TestAcrossAccounts(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.as(theirs)
	closed := w.key(t, "")
	shared := w.key(t, keyPolicy(allow(mine, `"kms:*"`), allow(theirs, `"kms:Encrypt","kms:Decrypt","kms:DescribeKey","kms:CreateGrant","kms:DisableKey"`)))
	missing := closed[:len(closed)-36] + "00000000-0000-0000-0000-000000000000"
	texts := map[string]bool{}
	for _, key := range []string{closed, missing} {
		_, err := c.Encrypt(ctx, &awskms.EncryptInput{KeyId: &key, Plaintext: []byte("x")})
		wantCode(t, err, "AccessDeniedException")
		var e smithy.APIError
		errors.As(err, &e)
		text := strings.ReplaceAll(e.ErrorMessage(), key, "KEY")
		if !strings.Contains(text, "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access") || !strings.Contains(text, "kms:Encrypt") {
			t.Fatal(text)
		}
		texts[text] = true
	}
	if len(texts) != 1 {
		t.Fatalf("the answers tell a missing key from a forbidden one: %v", texts)
	}
	sealed, err := c.Encrypt(ctx, &awskms.EncryptInput{KeyId: &shared, Plaintext: []byte("x")})
	ok(t, err)
	_, err = c.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
	ok(t, err)
	_, err = c.DisableKey(ctx, &awskms.DisableKeyInput{KeyId: &shared}) // not across accounts, whatever the policy says
	wantCode(t, err, "AccessDeniedException")
	_, err = c.ScheduleKeyDeletion(ctx, &awskms.ScheduleKeyDeletionInput{KeyId: &shared, PendingWindowInDays: aws.Int32(7)})
	wantCode(t, err, "AccessDeniedException")

	foreign, err := w.as(mine).Encrypt(ctx, &awskms.EncryptInput{KeyId: &closed, Plaintext: []byte("x")})
	ok(t, err)
	gone := bytes.Clone(foreign.CiphertextBlob)
	gone[5] ^= 1
	texts = map[string]bool{}
	for _, b := range [][]byte{foreign.CiphertextBlob, gone} {
		_, err = c.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: b})
		wantCode(t, err, "AccessDeniedException")
		if !strings.Contains(err.Error(), kms.HiddenCiphertext) {
			t.Fatal(err)
		}
		var e smithy.APIError
		errors.As(err, &e)
		texts[e.ErrorMessage()] = true
	}
	if len(texts) != 1 {
		t.Fatalf("the answers tell a missing key from a forbidden one: %v", texts)
	}
}

func TestGrantsThroughTheAPI(t *testing.T) {
	w := newWorld(t)
	ctx, owner, c := t.Context(), w.as(mine), w.as("user"+theirs)
	key := w.key(t, "")
	user := "arn:aws:iam::" + theirs + ":user/u"
	encCtx := map[string]string{"vault": "v"}
	dk, err := owner.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{KeyId: &key, NumberOfBytes: aws.Int32(32), EncryptionContext: encCtx})
	ok(t, err)
	decrypt := func() error {
		_, err := c.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: dk.CiphertextBlob, EncryptionContext: encCtx})
		return err
	}
	wantCode(t, decrypt(), "AccessDeniedException")
	in := &awskms.CreateGrantInput{
		KeyId: &key, GranteePrincipal: &user, Name: aws.String("g"), Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt, kmstypes.GrantOperationRetireGrant},
		Constraints: &kmstypes.GrantConstraints{EncryptionContextEquals: encCtx},
	}
	g, err := owner.CreateGrant(ctx, in)
	ok(t, err)
	again, err := owner.CreateGrant(ctx, in)
	if err != nil || *again.GrantId != *g.GrantId || *again.GrantToken == *g.GrantToken {
		t.Fatal(err)
	}
	ok(t, decrypt())
	list, err := owner.ListGrants(ctx, &awskms.ListGrantsInput{KeyId: &key})
	if err != nil || len(list.Grants) != 1 || *list.Grants[0].GranteePrincipal != user || *list.Grants[0].IssuingAccount != arn.Root(mine) || list.Grants[0].Constraints.EncryptionContextEquals["vault"] != "v" {
		t.Fatalf("%+v %v", list, err)
	}
	_, err = w.as("333333333333").RetireGrant(ctx, &awskms.RetireGrantInput{GrantToken: g.GrantToken})
	wantCode(t, err, "AccessDeniedException")
	_, err = c.RetireGrant(ctx, &awskms.RetireGrantInput{GrantToken: g.GrantToken})
	ok(t, err)
	wantCode(t, decrypt(), "AccessDeniedException")
	_, err = owner.CreateGrant(ctx, &awskms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String("nobody"), Operations: in.Operations})
	wantCode(t, err, "InvalidArnException")
	in.RetiringPrincipal = aws.String(arn.Root(mine))
	g, err = owner.CreateGrant(ctx, in)
	ok(t, err)
	retirable, err := owner.ListRetirableGrants(ctx, &awskms.ListRetirableGrantsInput{RetiringPrincipal: in.RetiringPrincipal})
	if err != nil || len(retirable.Grants) != 1 {
		t.Fatal(err)
	}
	_, err = owner.RevokeGrant(ctx, &awskms.RevokeGrantInput{KeyId: &key, GrantId: g.GrantId})
	ok(t, err)
}

func TestPagesThroughTheAPI(t *testing.T) {
	w := newWorld(t)
	c := w.as(mine)
	for range 5 {
		w.key(t, "")
	}
	seen := 0
	p := awskms.NewListKeysPaginator(c, &awskms.ListKeysInput{Limit: aws.Int32(2)})
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		ok(t, err)
		seen += len(out.Keys)
	}
	if seen != 5 {
		t.Fatal(seen)
	}
	_, err := c.ListKeys(t.Context(), &awskms.ListKeysInput{Marker: aws.String("AAAAAAAAAAAAAAAAAAAAAAAA")})
	wantCode(t, err, "InvalidMarkerException")
}
