package kmsapi

import (
	"context"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/wire"
)

// policyName is the only name that a key policy can have.
const policyName = "default"

func (a *API) policyOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("GetKeyPolicy", schemas.GetKeyPolicy, schemas.GetKeyPolicyRequest, schemas.GetKeyPolicyResponse,
			onKey(a, "kms:GetKeyPolicy", ownKeys, func(in *awskms.GetKeyPolicyInput) *string { return in.KeyId }), a.getKeyPolicy),
		wire.Op("PutKeyPolicy", schemas.PutKeyPolicy, schemas.PutKeyPolicyRequest, nil,
			onKey(a, "kms:PutKeyPolicy", ownKeys, func(in *awskms.PutKeyPolicyInput) *string { return in.KeyId }, func(in *awskms.PutKeyPolicyInput, c access.Check) access.Check {
				return set(c, "kms:BypassPolicyLockoutSafetyCheck", strconv.FormatBool(in.BypassPolicyLockoutSafetyCheck))
			}), a.putKeyPolicy),
		wire.Op("ListKeyPolicies", schemas.ListKeyPolicies, schemas.ListKeyPoliciesRequest, schemas.ListKeyPoliciesResponse,
			onKey(a, "kms:ListKeyPolicies", ownKeys, func(in *awskms.ListKeyPoliciesInput) *string { return in.KeyId }), a.listKeyPolicies),
	}
}

func namedDefault(name *string) error {
	if name != nil && *name != policyName {
		return fault.New(fault.NotFound, "No such policy exists: the only name of a key policy is %s", policyName)
	}
	return nil
}

func (a *API) getKeyPolicy(ctx context.Context, c wire.Caller, in *awskms.GetKeyPolicyInput) (*awskms.GetKeyPolicyOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	if err := namedDefault(in.PolicyName); err != nil {
		return nil, err
	}
	k, err := a.s.Describe(ctx, key)
	if err != nil {
		return nil, err
	}
	return &awskms.GetKeyPolicyOutput{Policy: aws.String(k.Policy), PolicyName: aws.String(policyName)}, nil
}

func (a *API) putKeyPolicy(ctx context.Context, c wire.Caller, in *awskms.PutKeyPolicyInput) (*awskms.PutKeyPolicyOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	if err := namedDefault(in.PolicyName); err != nil {
		return nil, err
	}
	return &awskms.PutKeyPolicyOutput{}, a.s.PutPolicy(ctx, c.Principal, key, aws.ToString(in.Policy), in.BypassPolicyLockoutSafetyCheck)
}

func (a *API) listKeyPolicies(ctx context.Context, c wire.Caller, in *awskms.ListKeyPoliciesInput) (*awskms.ListKeyPoliciesOutput, error) {
	if _, err := a.key(ctx, c, in.KeyId, ownKeys); err != nil {
		return nil, err
	}
	return &awskms.ListKeyPoliciesOutput{PolicyNames: []string{policyName}}, nil
}
