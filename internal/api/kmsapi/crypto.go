package kmsapi

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/kms"
	"strongroom/internal/wire"
)

func (a *API) cryptoOperations() []wire.Operation {
	const any = aliases | foreignKeys
	return []wire.Operation{
		wire.Op("Encrypt", schemas.Encrypt, schemas.EncryptRequest, schemas.EncryptResponse,
			onKey(a, "kms:Encrypt", any, func(in *awskms.EncryptInput) *string { return in.KeyId }, func(in *awskms.EncryptInput, c access.Check) access.Check {
				return withAlgorithm(kms.WithEncryptionContext(c, in.EncryptionContext))
			}), a.encrypt),
		wire.Op("Decrypt", schemas.Decrypt, schemas.DecryptRequest, schemas.DecryptResponse, a.decryptChecks, a.decrypt),
		wire.Op("ReEncrypt", schemas.ReEncrypt, schemas.ReEncryptRequest, schemas.ReEncryptResponse, a.reEncryptChecks, a.reEncrypt),
		wire.Op("GenerateDataKey", schemas.GenerateDataKey, schemas.GenerateDataKeyRequest, schemas.GenerateDataKeyResponse,
			onKey(a, "kms:GenerateDataKey", any, func(in *awskms.GenerateDataKeyInput) *string { return in.KeyId }, func(in *awskms.GenerateDataKeyInput, c access.Check) access.Check {
				return withAlgorithm(kms.WithEncryptionContext(c, in.EncryptionContext))
			}), a.generateDataKey),
		wire.Op("GenerateDataKeyWithoutPlaintext", schemas.GenerateDataKeyWithoutPlaintext, schemas.GenerateDataKeyWithoutPlaintextRequest, schemas.GenerateDataKeyWithoutPlaintextResponse,
			onKey(a, "kms:GenerateDataKeyWithoutPlaintext", any, func(in *awskms.GenerateDataKeyWithoutPlaintextInput) *string { return in.KeyId }, func(in *awskms.GenerateDataKeyWithoutPlaintextInput, c access.Check) access.Check {
				return withAlgorithm(kms.WithEncryptionContext(c, in.EncryptionContext))
			}), a.generateDataKeyWithoutPlaintext),
		wire.Op("GenerateRandom", schemas.GenerateRandom, schemas.GenerateRandomRequest, schemas.GenerateRandomResponse, onAll[awskms.GenerateRandomInput]("kms:GenerateRandom"), a.generateRandom),
	}
}

func withAlgorithm(c access.Check) access.Check {
	return set(c, "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT")
}

// decryptChecks asks for the key that is named or, when none is, for the key of the ciphertext. Whether that key exists is told to
// nobody who may not use it.
func (a *API) decryptChecks(ctx context.Context, c wire.Caller, in *awskms.DecryptInput) ([]access.Check, error) {
	check, err := a.sourceCheck(ctx, c, "kms:Decrypt", in.KeyId, in.CiphertextBlob)
	if err != nil {
		return nil, err
	}
	return []access.Check{withAlgorithm(kms.WithEncryptionContext(check, in.EncryptionContext))}, nil
}

func (a *API) sourceCheck(ctx context.Context, c wire.Caller, action string, keyID *string, blob []byte) (access.Check, error) {
	if keyID != nil {
		return a.keyCheck(ctx, c, action, *keyID, aliases|foreignKeys)
	}
	hidden := kms.HiddenCiphertext + " If its key exists here, its policy or a grant must allow " + action + " to " + c.ARN + ", and so must the caller's own account."
	key, err := a.s.BlobKey(ctx, blob)
	if fault.Is(err, fault.NotFound) {
		return access.Check{}, fault.New(fault.Denied, "%s", hidden)
	}
	if err != nil {
		return access.Check{}, err
	}
	if name, err := arn.Parse(key); err != nil || name.Region != c.Env.Region {
		return access.Check{}, fault.New(fault.Denied, "%s", hidden)
	}
	check := kms.Check(action, key, c.Principal, c.Env)
	if check.Hidden != "" {
		check.Hidden = hidden
	}
	return check, nil
}

func (a *API) reEncryptChecks(ctx context.Context, c wire.Caller, in *awskms.ReEncryptInput) ([]access.Check, error) {
	from, err := a.sourceCheck(ctx, c, "kms:ReEncryptFrom", in.SourceKeyId, in.CiphertextBlob)
	if err != nil {
		return nil, err
	}
	to, err := a.keyCheck(ctx, c, "kms:ReEncryptTo", aws.ToString(in.DestinationKeyId), aliases|foreignKeys)
	if err != nil {
		return nil, err
	}
	same := "false"
	if from.Resource == to.Resource {
		same = "true"
	}
	from = set(withAlgorithm(kms.WithEncryptionContext(from, in.SourceEncryptionContext)), "kms:ReEncryptOnSameKey", same)
	to = set(withAlgorithm(kms.WithEncryptionContext(to, in.DestinationEncryptionContext)), "kms:ReEncryptOnSameKey", same)
	return []access.Check{from, to}, nil
}

// before checks what all cryptographic operations share. It is asked after authorization.
func (a *API) before(tokens []string, algorithms ...kmstypes.EncryptionAlgorithmSpec) error {
	for _, alg := range algorithms {
		if alg != "" && alg != kmstypes.EncryptionAlgorithmSpecSymmetricDefault {
			return fault.New(fault.Invalid, "The algorithm %s cannot be used with a symmetric key", alg).WithCode(kms.CodeKeyUsage)
		}
	}
	return a.s.CheckTokens(tokens)
}

// dryRun ends a request that would have succeeded.
func dryRun() error {
	return fault.New(fault.State, "The request would have succeeded, but the DryRun option is set.").WithCode(kms.CodeDryRun)
}

func (a *API) encrypt(ctx context.Context, c wire.Caller, in *awskms.EncryptInput) (*awskms.EncryptOutput, error) {
	defer clear(in.Plaintext)
	if err := a.before(in.GrantTokens, in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	key, err := a.key(ctx, c, in.KeyId, aliases)
	if err != nil {
		return nil, err
	}
	out, err := a.s.Encrypt(ctx, key, in.Plaintext, in.EncryptionContext)
	if err == nil && aws.ToBool(in.DryRun) {
		err = dryRun()
	}
	if err != nil {
		return nil, err
	}
	return &awskms.EncryptOutput{CiphertextBlob: out.Blob, KeyId: aws.String(out.KeyARN), EncryptionAlgorithm: kmstypes.EncryptionAlgorithmSpecSymmetricDefault}, nil
}

// ofKey checks that a ciphertext is of the key that the request names, if it names one.
func (a *API) ofKey(ctx context.Context, c wire.Caller, keyID *string, blob []byte) (string, error) {
	if keyID == nil {
		return a.s.BlobKey(ctx, blob)
	}
	key, err := a.key(ctx, c, keyID, aliases)
	if err != nil {
		return "", err
	}
	of, err := a.s.BlobKey(ctx, blob)
	if err == nil && of != key || fault.Is(err, fault.NotFound) {
		return "", fault.New(fault.Invalid, "The key ID in the request does not identify a CMK that can perform this operation.").WithCode(kms.CodeIncorrectKey)
	}
	return key, err
}

// ignoresCiphertext says that a dry run is about the key and its permissions only.
func ignoresCiphertext(dry *bool, modifiers []kmstypes.DryRunModifierType) bool {
	return aws.ToBool(dry) && slices.Contains(modifiers, kmstypes.DryRunModifierTypeIgnoreCiphertext)
}

func (a *API) decrypt(ctx context.Context, c wire.Caller, in *awskms.DecryptInput) (*awskms.DecryptOutput, error) {
	if in.Recipient != nil {
		return nil, unsupported("Attested recipients are")
	}
	if err := a.before(in.GrantTokens, in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	if in.KeyId != nil && ignoresCiphertext(in.DryRun, in.DryRunModifiers) {
		return nil, a.dryRunOn(ctx, c, in.KeyId)
	}
	if _, err := a.ofKey(ctx, c, in.KeyId, in.CiphertextBlob); err != nil {
		return nil, err
	}
	o, err := a.s.Open(ctx, in.CiphertextBlob, in.EncryptionContext)
	if err == nil && aws.ToBool(in.DryRun) {
		clear(o.Plain)
		err = dryRun()
	}
	if err != nil {
		return nil, err
	}
	return &awskms.DecryptOutput{
		KeyId: aws.String(o.KeyARN), Plaintext: o.Plain, EncryptionAlgorithm: kmstypes.EncryptionAlgorithmSpecSymmetricDefault, KeyMaterialId: aws.String(o.MaterialID),
	}, nil
}

// dryRunOn ends a dry run on a key.
func (a *API) dryRunOn(ctx context.Context, c wire.Caller, keyID *string) error {
	key, err := a.key(ctx, c, keyID, aliases)
	if err != nil {
		return err
	}
	if err := a.s.Usable(ctx, key); err != nil {
		return err
	}
	return dryRun()
}

func (a *API) reEncrypt(ctx context.Context, c wire.Caller, in *awskms.ReEncryptInput) (*awskms.ReEncryptOutput, error) {
	if err := a.before(in.GrantTokens, in.SourceEncryptionAlgorithm, in.DestinationEncryptionAlgorithm); err != nil {
		return nil, err
	}
	destination, err := a.key(ctx, c, in.DestinationKeyId, aliases)
	if err != nil {
		return nil, err
	}
	if in.SourceKeyId != nil && ignoresCiphertext(in.DryRun, in.DryRunModifiers) {
		if err := a.s.Usable(ctx, destination); err != nil {
			return nil, err
		}
		return nil, a.dryRunOn(ctx, c, in.SourceKeyId)
	}
	if _, err := a.ofKey(ctx, c, in.SourceKeyId, in.CiphertextBlob); err != nil {
		return nil, err
	}
	to, from, err := a.s.ReEncrypt(ctx, in.CiphertextBlob, in.SourceEncryptionContext, destination, in.DestinationEncryptionContext)
	if err == nil && aws.ToBool(in.DryRun) {
		err = dryRun()
	}
	if err != nil {
		return nil, err
	}
	return &awskms.ReEncryptOutput{
		CiphertextBlob: to.Blob, KeyId: aws.String(to.KeyARN), DestinationKeyMaterialId: aws.String(to.MaterialID),
		SourceKeyId: aws.String(from.KeyARN), SourceKeyMaterialId: aws.String(from.MaterialID),
		SourceEncryptionAlgorithm: kmstypes.EncryptionAlgorithmSpecSymmetricDefault, DestinationEncryptionAlgorithm: kmstypes.EncryptionAlgorithmSpecSymmetricDefault,
	}, nil
}

// dataKeySize reads the two ways of saying how long a data key shall be, exactly one of which must be used.
func dataKeySize(spec kmstypes.DataKeySpec, n *int32) (int, error) {
	switch {
	case (spec == "") == (n == nil):
		return 0, fault.New(fault.Invalid, "Please specify either number of bytes or key spec.")
	case n != nil:
		return int(*n), nil
	case spec == kmstypes.DataKeySpecAes128:
		return 16, nil
	}
	return 32, nil
}

func (a *API) dataKey(ctx context.Context, c wire.Caller, keyID *string, spec kmstypes.DataKeySpec, bytes *int32, encCtx map[string]string, tokens []string, dry *bool) ([]byte, kms.Sealed, error) {
	if err := a.before(tokens); err != nil {
		return nil, kms.Sealed{}, err
	}
	n, err := dataKeySize(spec, bytes)
	if err != nil {
		return nil, kms.Sealed{}, err
	}
	key, err := a.key(ctx, c, keyID, aliases)
	if err != nil {
		return nil, kms.Sealed{}, err
	}
	plain, sealed, err := a.s.NewDataKey(ctx, key, encCtx, n)
	if err == nil && aws.ToBool(dry) {
		clear(plain)
		err = dryRun()
	}
	return plain, sealed, err
}

func (a *API) generateDataKey(ctx context.Context, c wire.Caller, in *awskms.GenerateDataKeyInput) (*awskms.GenerateDataKeyOutput, error) {
	if in.Recipient != nil {
		return nil, unsupported("Attested recipients are")
	}
	plain, sealed, err := a.dataKey(ctx, c, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, in.GrantTokens, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &awskms.GenerateDataKeyOutput{Plaintext: plain, CiphertextBlob: sealed.Blob, KeyId: aws.String(sealed.KeyARN), KeyMaterialId: aws.String(sealed.MaterialID)}, nil
}

func (a *API) generateDataKeyWithoutPlaintext(ctx context.Context, c wire.Caller, in *awskms.GenerateDataKeyWithoutPlaintextInput) (*awskms.GenerateDataKeyWithoutPlaintextOutput, error) {
	plain, sealed, err := a.dataKey(ctx, c, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, in.GrantTokens, in.DryRun)
	if err != nil {
		return nil, err
	}
	clear(plain)
	return &awskms.GenerateDataKeyWithoutPlaintextOutput{CiphertextBlob: sealed.Blob, KeyId: aws.String(sealed.KeyARN), KeyMaterialId: aws.String(sealed.MaterialID)}, nil
}

func (a *API) generateRandom(_ context.Context, _ wire.Caller, in *awskms.GenerateRandomInput) (*awskms.GenerateRandomOutput, error) {
	switch {
	case in.CustomKeyStoreId != nil:
		return nil, unsupported("Custom key stores are")
	case in.Recipient != nil:
		return nil, unsupported("Attested recipients are")
	case in.NumberOfBytes == nil || *in.NumberOfBytes < 1 || *in.NumberOfBytes > 1024:
		return nil, fault.New(fault.Invalid, "NumberOfBytes must be between 1 and 1024")
	}
	return &awskms.GenerateRandomOutput{Plaintext: ident.Bytes(int(*in.NumberOfBytes))}, nil
}
