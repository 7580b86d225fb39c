package kmsapi

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
	"strongroom/internal/wire"
)

func (a *API) keyOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateKey", schemas.CreateKey, schemas.CreateKeyRequest, schemas.CreateKeyResponse, createKeyChecks, a.createKey),
		wire.Op("DescribeKey", schemas.DescribeKey, schemas.DescribeKeyRequest, schemas.DescribeKeyResponse,
			onKey(a, "kms:DescribeKey", aliases|foreignKeys, func(in *awskms.DescribeKeyInput) *string { return in.KeyId }), a.describeKey),
		wire.Op("ListKeys", schemas.ListKeys, schemas.ListKeysRequest, schemas.ListKeysResponse, onAll[awskms.ListKeysInput]("kms:ListKeys"), a.listKeys),
		wire.Op("UpdateKeyDescription", schemas.UpdateKeyDescription, schemas.UpdateKeyDescriptionRequest, nil,
			onKey(a, "kms:UpdateKeyDescription", ownKeys, func(in *awskms.UpdateKeyDescriptionInput) *string { return in.KeyId }), a.updateKeyDescription),
		wire.Op("EnableKey", schemas.EnableKey, schemas.EnableKeyRequest, nil,
			onKey(a, "kms:EnableKey", ownKeys, func(in *awskms.EnableKeyInput) *string { return in.KeyId }), a.enableKey),
		wire.Op("DisableKey", schemas.DisableKey, schemas.DisableKeyRequest, nil,
			onKey(a, "kms:DisableKey", ownKeys, func(in *awskms.DisableKeyInput) *string { return in.KeyId }), a.disableKey),
		wire.Op("ScheduleKeyDeletion", schemas.ScheduleKeyDeletion, schemas.ScheduleKeyDeletionRequest, schemas.ScheduleKeyDeletionResponse,
			onKey(a, "kms:ScheduleKeyDeletion", ownKeys, func(in *awskms.ScheduleKeyDeletionInput) *string { return in.KeyId }, func(in *awskms.ScheduleKeyDeletionInput, c access.Check) access.Check {
				days := 30
				if in.PendingWindowInDays != nil {
					days = int(*in.PendingWindowInDays)
				}
				return set(c, "kms:ScheduleKeyDeletionPendingWindowInDays", strconv.Itoa(days))
			}), a.scheduleKeyDeletion),
		wire.Op("CancelKeyDeletion", schemas.CancelKeyDeletion, schemas.CancelKeyDeletionRequest, schemas.CancelKeyDeletionResponse,
			onKey(a, "kms:CancelKeyDeletion", ownKeys, func(in *awskms.CancelKeyDeletionInput) *string { return in.KeyId }), a.cancelKeyDeletion),
	}
}

// createKeyChecks asks for CreateKey and, when the key is to have tags, for TagResource on a key of the account.
func createKeyChecks(_ context.Context, c wire.Caller, in *awskms.CreateKeyInput) ([]access.Check, error) {
	describe := func(check access.Check) access.Check {
		check = requestTags(check, in.Tags)
		check.Context.Set("kms:KeySpec", "SYMMETRIC_DEFAULT")
		check.Context.Set("kms:KeyUsage", "ENCRYPT_DECRYPT")
		check.Context.Set("kms:KeyOrigin", "AWS_KMS")
		check.Context.Set("kms:MultiRegion", strconv.FormatBool(aws.ToBool(in.MultiRegion)))
		check.Context.Set("kms:BypassPolicyLockoutSafetyCheck", strconv.FormatBool(in.BypassPolicyLockoutSafetyCheck))
		return check
	}
	checks := []access.Check{describe(kms.Check("kms:CreateKey", "*", c.Principal, c.Env))}
	if len(in.Tags) > 0 {
		checks = append(checks, describe(kms.Check("kms:TagResource", arn.Make("kms", c.Env.Region, c.Account, "key/*"), c.Principal, c.Env)))
	}
	return checks, nil
}

func unsupported(what string) error {
	return fault.New(fault.Unsupported, "%s not supported by this server; see docs/compatibility.md", what)
}

func (a *API) createKey(ctx context.Context, c wire.Caller, in *awskms.CreateKeyInput) (*awskms.CreateKeyOutput, error) {
	switch {
	case aws.ToBool(in.MultiRegion):
		return nil, unsupported("Multi-Region keys are")
	case in.KeySpec != "" && in.KeySpec != kmstypes.KeySpecSymmetricDefault, in.CustomerMasterKeySpec != "" && in.CustomerMasterKeySpec != kmstypes.CustomerMasterKeySpecSymmetricDefault,
		in.KeyUsage != "" && in.KeyUsage != kmstypes.KeyUsageTypeEncryptDecrypt:
		return nil, unsupported("Keys other than SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT are")
	case in.Origin != "" && in.Origin != kmstypes.OriginTypeAwsKms, in.CustomKeyStoreId != nil, in.XksKeyId != nil:
		return nil, unsupported("Imported key material and custom key stores are")
	}
	k, err := a.s.CreateKey(ctx, c.Principal, kms.NewKey{
		Region: c.Env.Region, Policy: aws.ToString(in.Policy), Description: aws.ToString(in.Description), Tags: tagMap(in.Tags), BypassLockout: in.BypassPolicyLockoutSafetyCheck,
	})
	if err != nil {
		return nil, err
	}
	return &awskms.CreateKeyOutput{KeyMetadata: metadata(k)}, nil
}

func (a *API) describeKey(ctx context.Context, c wire.Caller, in *awskms.DescribeKeyInput) (*awskms.DescribeKeyOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, aliases)
	if err != nil {
		return nil, err
	}
	if err := a.s.CheckTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := a.s.Describe(ctx, key)
	if err != nil {
		return nil, err
	}
	return &awskms.DescribeKeyOutput{KeyMetadata: metadata(k)}, nil
}

func (a *API) listKeys(ctx context.Context, c wire.Caller, in *awskms.ListKeysInput) (*awskms.ListKeysOutput, error) {
	p, err := a.page("keys "+c.Account+" "+c.Env.Region, in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	keys, more, err := a.s.Keys(ctx, c.Account, c.Env.Region, p.cursor, p.limit)
	if err != nil {
		return nil, err
	}
	out := &awskms.ListKeysOutput{Keys: []kmstypes.KeyListEntry{}, Truncated: more}
	for _, k := range keys {
		out.Keys = append(out.Keys, kmstypes.KeyListEntry{KeyId: aws.String(k.ID), KeyArn: aws.String(k.ARN())})
		out.NextMarker = a.next(p, more, k.ID)
	}
	return out, nil
}

func (a *API) updateKeyDescription(ctx context.Context, c wire.Caller, in *awskms.UpdateKeyDescriptionInput) (*awskms.UpdateKeyDescriptionOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.UpdateKeyDescriptionOutput{}, a.s.UpdateDescription(ctx, key, aws.ToString(in.Description))
}

func (a *API) enableKey(ctx context.Context, c wire.Caller, in *awskms.EnableKeyInput) (*awskms.EnableKeyOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.EnableKeyOutput{}, a.s.EnableKey(ctx, key)
}

func (a *API) disableKey(ctx context.Context, c wire.Caller, in *awskms.DisableKeyInput) (*awskms.DisableKeyOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.DisableKeyOutput{}, a.s.DisableKey(ctx, key)
}

func (a *API) scheduleKeyDeletion(ctx context.Context, c wire.Caller, in *awskms.ScheduleKeyDeletionInput) (*awskms.ScheduleKeyDeletionOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	days := 30
	if in.PendingWindowInDays != nil {
		days = int(*in.PendingWindowInDays)
	}
	k, err := a.s.ScheduleDeletion(ctx, key, days)
	if err != nil {
		return nil, err
	}
	return &awskms.ScheduleKeyDeletionOutput{
		KeyId: aws.String(k.ARN()), KeyState: kmstypes.KeyState(k.State), DeletionDate: aws.Time(k.Deletion), PendingWindowInDays: aws.Int32(int32(k.PendingDays)),
	}, nil
}

func (a *API) cancelKeyDeletion(ctx context.Context, c wire.Caller, in *awskms.CancelKeyDeletionInput) (*awskms.CancelKeyDeletionOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.CancelKeyDeletionOutput{KeyId: aws.String(key)}, a.s.CancelDeletion(ctx, key)
}

func metadata(k kms.Key) *kmstypes.KeyMetadata {
	m := &kmstypes.KeyMetadata{
		AWSAccountId: aws.String(k.Account), KeyId: aws.String(k.ID), Arn: aws.String(k.ARN()), CreationDate: aws.Time(k.Created),
		Enabled: k.State == kms.Enabled, Description: aws.String(k.Description), KeyUsage: kmstypes.KeyUsageTypeEncryptDecrypt, KeyState: kmstypes.KeyState(k.State),
		DeletionDate: when(k.Deletion), Origin: kmstypes.OriginTypeAwsKms, KeyManager: kmstypes.KeyManagerType(k.Manager),
		CustomerMasterKeySpec: kmstypes.CustomerMasterKeySpecSymmetricDefault, KeySpec: kmstypes.KeySpecSymmetricDefault,
		EncryptionAlgorithms: []kmstypes.EncryptionAlgorithmSpec{kmstypes.EncryptionAlgorithmSpecSymmetricDefault}, MultiRegion: aws.Bool(false),
		CurrentKeyMaterialId: aws.String(k.MaterialID),
	}
	return m
}

// when leaves zero times out.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
