// Package kmsapi speaks the wire protocol of AWS KMS: it translates between the SDK's structures and package kms, and holds each
// operation's authorization row and the table from domain errors to exceptions.
//
// It decides nothing and stores nothing. Every operation is a line of a table in the file of its noun that pairs a row of checks
// with a handler; service.go joins the tables. Operations of the model without a line are answered as unsupported by the
// wire layer.
//
// Across accounts KMS does not say whether a key exists: rows of operations that work across accounts carry a text that is the same
// for a missing and a forbidden key, the others refuse before anything is looked up.
//
// Start at Service, then check.go.
package kmsapi

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	"github.com/aws/smithy-go"

	"strongroom/internal/kms"
	"strongroom/internal/wire"
)

// API holds the handlers.
type API struct {
	s *kms.Service
}

// Service returns the wire service over s.
func Service(s *kms.Service) wire.Service {
	a := &API{s}
	return wire.Service{
		Name:        "kms",
		Protocol:    wire.JSON11,
		Target:      "TrentService",
		Operations:  slices.Concat(a.keyOperations(), a.policyOperations(), a.aliasOperations(), a.cryptoOperations(), a.grantOperations(), a.rotationOperations(), a.tagOperations()),
		Known:       known(),
		Exception:   exception,
		Constraints: constraints(),
	}
}

// known lists every operation of the model.
func known() []*smithy.Schema {
	return []*smithy.Schema{
		schemas.CancelKeyDeletion, schemas.ConnectCustomKeyStore, schemas.CreateAlias, schemas.CreateCustomKeyStore,
		schemas.CreateGrant, schemas.CreateKey, schemas.Decapsulate, schemas.Decrypt,
		schemas.DeleteAlias, schemas.DeleteCustomKeyStore, schemas.DeleteImportedKeyMaterial, schemas.DeriveSharedSecret,
		schemas.DescribeCustomKeyStores, schemas.DescribeKey, schemas.DisableKey, schemas.DisableKeyRotation,
		schemas.DisconnectCustomKeyStore, schemas.EnableKey, schemas.EnableKeyRotation, schemas.Encapsulate,
		schemas.Encrypt, schemas.GenerateDataKey, schemas.GenerateDataKeyPair, schemas.GenerateDataKeyPairWithoutPlaintext,
		schemas.GenerateDataKeyWithoutPlaintext, schemas.GenerateMac, schemas.GenerateRandom, schemas.GetKeyLastUsage,
		schemas.GetKeyPolicy, schemas.GetKeyRotationStatus, schemas.GetParametersForImport, schemas.GetPublicKey,
		schemas.ImportKeyMaterial, schemas.ListAliases, schemas.ListGrants, schemas.ListKeyPolicies,
		schemas.ListKeyRotations, schemas.ListKeys, schemas.ListResourceTags, schemas.ListRetirableGrants,
		schemas.PutKeyPolicy, schemas.ReEncrypt, schemas.ReplicateKey, schemas.RetireGrant,
		schemas.RevokeGrant, schemas.RotateKeyOnDemand, schemas.ScheduleKeyDeletion, schemas.Sign,
		schemas.TagResource, schemas.UntagResource, schemas.UpdateAlias, schemas.UpdateCustomKeyStore,
		schemas.UpdateKeyDescription, schemas.UpdatePrimaryRegion, schemas.Verify, schemas.VerifyMac,
	}
}
