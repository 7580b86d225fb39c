package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"

	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

func (a api) inlineOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("PutUserPolicy", nil, nil, nil, onEntity(a, "iam:PutUserPolicy", iam.KindUser, func(in *awsiam.PutUserPolicyInput) *string { return in.UserName }, ownBoundary), a.putUserPolicy),
		wire.Op("GetUserPolicy", nil, nil, nil, onEntity(a, "iam:GetUserPolicy", iam.KindUser, func(in *awsiam.GetUserPolicyInput) *string { return in.UserName }), a.getUserPolicy),
		wire.Op("DeleteUserPolicy", nil, nil, nil, onEntity(a, "iam:DeleteUserPolicy", iam.KindUser, func(in *awsiam.DeleteUserPolicyInput) *string { return in.UserName }, ownBoundary), a.deleteUserPolicy),
		wire.Op("ListUserPolicies", nil, nil, nil, onEntity(a, "iam:ListUserPolicies", iam.KindUser, func(in *awsiam.ListUserPoliciesInput) *string { return in.UserName }), a.listUserPolicies),
		wire.Op("PutGroupPolicy", nil, nil, nil, onEntity(a, "iam:PutGroupPolicy", iam.KindGroup, func(in *awsiam.PutGroupPolicyInput) *string { return in.GroupName }), a.putGroupPolicy),
		wire.Op("GetGroupPolicy", nil, nil, nil, onEntity(a, "iam:GetGroupPolicy", iam.KindGroup, func(in *awsiam.GetGroupPolicyInput) *string { return in.GroupName }), a.getGroupPolicy),
		wire.Op("DeleteGroupPolicy", nil, nil, nil, onEntity(a, "iam:DeleteGroupPolicy", iam.KindGroup, func(in *awsiam.DeleteGroupPolicyInput) *string { return in.GroupName }), a.deleteGroupPolicy),
		wire.Op("ListGroupPolicies", nil, nil, nil, onEntity(a, "iam:ListGroupPolicies", iam.KindGroup, func(in *awsiam.ListGroupPoliciesInput) *string { return in.GroupName }), a.listGroupPolicies),
		wire.Op("PutRolePolicy", nil, nil, nil, onEntity(a, "iam:PutRolePolicy", iam.KindRole, func(in *awsiam.PutRolePolicyInput) *string { return in.RoleName }, ownBoundary), a.putRolePolicy),
		wire.Op("GetRolePolicy", nil, nil, nil, onEntity(a, "iam:GetRolePolicy", iam.KindRole, func(in *awsiam.GetRolePolicyInput) *string { return in.RoleName }), a.getRolePolicy),
		wire.Op("DeleteRolePolicy", nil, nil, nil, onEntity(a, "iam:DeleteRolePolicy", iam.KindRole, func(in *awsiam.DeleteRolePolicyInput) *string { return in.RoleName }, ownBoundary), a.deleteRolePolicy),
		wire.Op("ListRolePolicies", nil, nil, nil, onEntity(a, "iam:ListRolePolicies", iam.KindRole, func(in *awsiam.ListRolePoliciesInput) *string { return in.RoleName }), a.listRolePolicies),
	}
}

func (a api) putUserPolicy(ctx context.Context, c wire.Caller, in *awsiam.PutUserPolicyInput) (*awsiam.PutUserPolicyOutput, error) {
	return &awsiam.PutUserPolicyOutput{}, a.s.PutInline(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), aws.ToString(in.PolicyName), aws.ToString(in.PolicyDocument))
}

func (a api) getUserPolicy(ctx context.Context, c wire.Caller, in *awsiam.GetUserPolicyInput) (*awsiam.GetUserPolicyOutput, error) {
	owner, document, err := a.s.Inline(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), aws.ToString(in.PolicyName))
	if err != nil {
		return nil, err
	}
	return &awsiam.GetUserPolicyOutput{UserName: &owner, PolicyName: in.PolicyName, PolicyDocument: encoded(document)}, nil
}

func (a api) deleteUserPolicy(ctx context.Context, c wire.Caller, in *awsiam.DeleteUserPolicyInput) (*awsiam.DeleteUserPolicyOutput, error) {
	return &awsiam.DeleteUserPolicyOutput{}, a.s.DeleteInline(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), aws.ToString(in.PolicyName))
}

func (a api) listUserPolicies(ctx context.Context, c wire.Caller, in *awsiam.ListUserPoliciesInput) (*awsiam.ListUserPoliciesOutput, error) {
	names, next, err := a.s.InlineNames(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListUserPoliciesOutput{PolicyNames: names, IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) putGroupPolicy(ctx context.Context, c wire.Caller, in *awsiam.PutGroupPolicyInput) (*awsiam.PutGroupPolicyOutput, error) {
	return &awsiam.PutGroupPolicyOutput{}, a.s.PutInline(ctx, c.Account, iam.GroupRef(aws.ToString(in.GroupName)), aws.ToString(in.PolicyName), aws.ToString(in.PolicyDocument))
}

func (a api) getGroupPolicy(ctx context.Context, c wire.Caller, in *awsiam.GetGroupPolicyInput) (*awsiam.GetGroupPolicyOutput, error) {
	owner, document, err := a.s.Inline(ctx, c.Account, iam.GroupRef(aws.ToString(in.GroupName)), aws.ToString(in.PolicyName))
	if err != nil {
		return nil, err
	}
	return &awsiam.GetGroupPolicyOutput{GroupName: &owner, PolicyName: in.PolicyName, PolicyDocument: encoded(document)}, nil
}

func (a api) deleteGroupPolicy(ctx context.Context, c wire.Caller, in *awsiam.DeleteGroupPolicyInput) (*awsiam.DeleteGroupPolicyOutput, error) {
	return &awsiam.DeleteGroupPolicyOutput{}, a.s.DeleteInline(ctx, c.Account, iam.GroupRef(aws.ToString(in.GroupName)), aws.ToString(in.PolicyName))
}

func (a api) listGroupPolicies(ctx context.Context, c wire.Caller, in *awsiam.ListGroupPoliciesInput) (*awsiam.ListGroupPoliciesOutput, error) {
	names, next, err := a.s.InlineNames(ctx, c.Account, iam.GroupRef(aws.ToString(in.GroupName)), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListGroupPoliciesOutput{PolicyNames: names, IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) putRolePolicy(ctx context.Context, c wire.Caller, in *awsiam.PutRolePolicyInput) (*awsiam.PutRolePolicyOutput, error) {
	return &awsiam.PutRolePolicyOutput{}, a.s.PutInline(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), aws.ToString(in.PolicyName), aws.ToString(in.PolicyDocument))
}

func (a api) getRolePolicy(ctx context.Context, c wire.Caller, in *awsiam.GetRolePolicyInput) (*awsiam.GetRolePolicyOutput, error) {
	owner, document, err := a.s.Inline(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), aws.ToString(in.PolicyName))
	if err != nil {
		return nil, err
	}
	return &awsiam.GetRolePolicyOutput{RoleName: &owner, PolicyName: in.PolicyName, PolicyDocument: encoded(document)}, nil
}

func (a api) deleteRolePolicy(ctx context.Context, c wire.Caller, in *awsiam.DeleteRolePolicyInput) (*awsiam.DeleteRolePolicyOutput, error) {
	return &awsiam.DeleteRolePolicyOutput{}, a.s.DeleteInline(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), aws.ToString(in.PolicyName))
}

func (a api) listRolePolicies(ctx context.Context, c wire.Caller, in *awsiam.ListRolePoliciesInput) (*awsiam.ListRolePoliciesOutput, error) {
	names, next, err := a.s.InlineNames(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListRolePoliciesOutput{PolicyNames: names, IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}
