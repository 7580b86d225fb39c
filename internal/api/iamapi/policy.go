package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

func (a api) policyOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreatePolicy", nil, nil, nil, onNew("iam:CreatePolicy", "policy",
			func(in *awsiam.CreatePolicyInput) *string { return in.Path }, func(in *awsiam.CreatePolicyInput) *string { return in.PolicyName },
			requestTags(func(in *awsiam.CreatePolicyInput) []types.Tag { return in.Tags })), a.createPolicy),
		wire.Op("GetPolicy", nil, nil, nil, onPolicy("iam:GetPolicy", func(in *awsiam.GetPolicyInput) *string { return in.PolicyArn }), a.getPolicy),
		wire.Op("ListPolicies", nil, nil, nil, onAll[awsiam.ListPoliciesInput]("iam:ListPolicies"), a.listPolicies),
		wire.Op("DeletePolicy", nil, nil, nil, onPolicy("iam:DeletePolicy", func(in *awsiam.DeletePolicyInput) *string { return in.PolicyArn }), a.deletePolicy),
		wire.Op("CreatePolicyVersion", nil, nil, nil, onPolicy("iam:CreatePolicyVersion", func(in *awsiam.CreatePolicyVersionInput) *string { return in.PolicyArn }), a.createPolicyVersion),
		wire.Op("GetPolicyVersion", nil, nil, nil, onPolicy("iam:GetPolicyVersion", func(in *awsiam.GetPolicyVersionInput) *string { return in.PolicyArn }), a.getPolicyVersion),
		wire.Op("ListPolicyVersions", nil, nil, nil, onPolicy("iam:ListPolicyVersions", func(in *awsiam.ListPolicyVersionsInput) *string { return in.PolicyArn }), a.listPolicyVersions),
		wire.Op("SetDefaultPolicyVersion", nil, nil, nil, onPolicy("iam:SetDefaultPolicyVersion",
			func(in *awsiam.SetDefaultPolicyVersionInput) *string { return in.PolicyArn }), a.setDefaultPolicyVersion),
		wire.Op("DeletePolicyVersion", nil, nil, nil, onPolicy("iam:DeletePolicyVersion", func(in *awsiam.DeletePolicyVersionInput) *string { return in.PolicyArn }), a.deletePolicyVersion),
	}
}

func (a api) createPolicy(ctx context.Context, c wire.Caller, in *awsiam.CreatePolicyInput) (*awsiam.CreatePolicyOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	p, err := a.s.CreatePolicy(ctx, c.Account, iam.NewPolicy{
		Name: aws.ToString(in.PolicyName), Path: aws.ToString(in.Path), Description: aws.ToString(in.Description), Document: aws.ToString(in.PolicyDocument), Tags: tags,
	})
	if err != nil {
		return nil, err
	}
	out := managed(p)
	out.Description = nil // as in AWS, only GetPolicy tells it
	return &awsiam.CreatePolicyOutput{Policy: &out}, nil
}

func (a api) getPolicy(ctx context.Context, c wire.Caller, in *awsiam.GetPolicyInput) (*awsiam.GetPolicyOutput, error) {
	p, err := a.s.Policy(ctx, c.Account, aws.ToString(in.PolicyArn))
	if err != nil {
		return nil, err
	}
	out := managed(p)
	return &awsiam.GetPolicyOutput{Policy: &out}, nil
}

func (a api) listPolicies(ctx context.Context, c wire.Caller, in *awsiam.ListPoliciesInput) (*awsiam.ListPoliciesOutput, error) {
	list, next, err := a.s.ListPolicies(ctx, c.Account, iam.PolicyFilter{
		PathPrefix: aws.ToString(in.PathPrefix), Local: in.Scope == types.PolicyScopeTypeLocal, AWS: in.Scope == types.PolicyScopeTypeAws,
		OnlyAttached: in.OnlyAttached, Usage: string(in.PolicyUsageFilter),
	}, page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &awsiam.ListPoliciesOutput{Policies: make([]types.Policy, len(list)), IsTruncated: next != "", Marker: nonEmpty(next)}
	for i, p := range list {
		out.Policies[i] = managed(p)
	}
	return out, nil
}

func (a api) deletePolicy(ctx context.Context, c wire.Caller, in *awsiam.DeletePolicyInput) (*awsiam.DeletePolicyOutput, error) {
	return &awsiam.DeletePolicyOutput{}, a.s.DeletePolicy(ctx, c.Account, aws.ToString(in.PolicyArn))
}

func (a api) createPolicyVersion(ctx context.Context, c wire.Caller, in *awsiam.CreatePolicyVersionInput) (*awsiam.CreatePolicyVersionOutput, error) {
	v, err := a.s.CreatePolicyVersion(ctx, c.Account, aws.ToString(in.PolicyArn), aws.ToString(in.PolicyDocument), in.SetAsDefault)
	if err != nil {
		return nil, err
	}
	out := version(v, false)
	return &awsiam.CreatePolicyVersionOutput{PolicyVersion: &out}, nil
}

func (a api) getPolicyVersion(ctx context.Context, c wire.Caller, in *awsiam.GetPolicyVersionInput) (*awsiam.GetPolicyVersionOutput, error) {
	v, err := a.s.PolicyVersion(ctx, c.Account, aws.ToString(in.PolicyArn), aws.ToString(in.VersionId))
	if err != nil {
		return nil, err
	}
	out := version(v, true)
	return &awsiam.GetPolicyVersionOutput{PolicyVersion: &out}, nil
}

func (a api) listPolicyVersions(ctx context.Context, c wire.Caller, in *awsiam.ListPolicyVersionsInput) (*awsiam.ListPolicyVersionsOutput, error) {
	list, next, err := a.s.PolicyVersions(ctx, c.Account, aws.ToString(in.PolicyArn), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &awsiam.ListPolicyVersionsOutput{Versions: make([]types.PolicyVersion, len(list)), IsTruncated: next != "", Marker: nonEmpty(next)}
	for i, v := range list {
		out.Versions[i] = version(v, false)
	}
	return out, nil
}

func (a api) setDefaultPolicyVersion(ctx context.Context, c wire.Caller, in *awsiam.SetDefaultPolicyVersionInput) (*awsiam.SetDefaultPolicyVersionOutput, error) {
	return &awsiam.SetDefaultPolicyVersionOutput{}, a.s.SetDefaultPolicyVersion(ctx, c.Account, aws.ToString(in.PolicyArn), aws.ToString(in.VersionId))
}

func (a api) deletePolicyVersion(ctx context.Context, c wire.Caller, in *awsiam.DeletePolicyVersionInput) (*awsiam.DeletePolicyVersionOutput, error) {
	return &awsiam.DeletePolicyVersionOutput{}, a.s.DeletePolicyVersion(ctx, c.Account, aws.ToString(in.PolicyArn), aws.ToString(in.VersionId))
}
