package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

func (a api) attachmentOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("AttachUserPolicy", nil, nil, nil, onEntity(a, "iam:AttachUserPolicy", iam.KindUser, func(in *awsiam.AttachUserPolicyInput) *string { return in.UserName }, policyARN(func(in *awsiam.AttachUserPolicyInput) *string { return in.PolicyArn }), ownBoundary), a.attachUserPolicy),
		wire.Op("DetachUserPolicy", nil, nil, nil, onEntity(a, "iam:DetachUserPolicy", iam.KindUser, func(in *awsiam.DetachUserPolicyInput) *string { return in.UserName }, policyARN(func(in *awsiam.DetachUserPolicyInput) *string { return in.PolicyArn }), ownBoundary), a.detachUserPolicy),
		wire.Op("ListAttachedUserPolicies", nil, nil, nil, onEntity(a, "iam:ListAttachedUserPolicies", iam.KindUser, func(in *awsiam.ListAttachedUserPoliciesInput) *string { return in.UserName }), a.listAttachedUserPolicies),
		wire.Op("AttachGroupPolicy", nil, nil, nil, onEntity(a, "iam:AttachGroupPolicy", iam.KindGroup, func(in *awsiam.AttachGroupPolicyInput) *string { return in.GroupName }, policyARN(func(in *awsiam.AttachGroupPolicyInput) *string { return in.PolicyArn })), a.attachGroupPolicy),
		wire.Op("DetachGroupPolicy", nil, nil, nil, onEntity(a, "iam:DetachGroupPolicy", iam.KindGroup, func(in *awsiam.DetachGroupPolicyInput) *string { return in.GroupName }, policyARN(func(in *awsiam.DetachGroupPolicyInput) *string { return in.PolicyArn })), a.detachGroupPolicy),
		wire.Op("ListAttachedGroupPolicies", nil, nil, nil, onEntity(a, "iam:ListAttachedGroupPolicies", iam.KindGroup, func(in *awsiam.ListAttachedGroupPoliciesInput) *string { return in.GroupName }), a.listAttachedGroupPolicies),
		wire.Op("AttachRolePolicy", nil, nil, nil, onEntity(a, "iam:AttachRolePolicy", iam.KindRole, func(in *awsiam.AttachRolePolicyInput) *string { return in.RoleName }, policyARN(func(in *awsiam.AttachRolePolicyInput) *string { return in.PolicyArn }), ownBoundary), a.attachRolePolicy),
		wire.Op("DetachRolePolicy", nil, nil, nil, onEntity(a, "iam:DetachRolePolicy", iam.KindRole, func(in *awsiam.DetachRolePolicyInput) *string { return in.RoleName }, policyARN(func(in *awsiam.DetachRolePolicyInput) *string { return in.PolicyArn }), ownBoundary), a.detachRolePolicy),
		wire.Op("ListAttachedRolePolicies", nil, nil, nil, onEntity(a, "iam:ListAttachedRolePolicies", iam.KindRole, func(in *awsiam.ListAttachedRolePoliciesInput) *string { return in.RoleName }), a.listAttachedRolePolicies),
		wire.Op("ListEntitiesForPolicy", nil, nil, nil, onPolicy("iam:ListEntitiesForPolicy", func(in *awsiam.ListEntitiesForPolicyInput) *string { return in.PolicyArn }), a.listEntitiesForPolicy),
	}
}

func (a api) attachUserPolicy(ctx context.Context, c wire.Caller, in *awsiam.AttachUserPolicyInput) (*awsiam.AttachUserPolicyOutput, error) {
	return &awsiam.AttachUserPolicyOutput{}, a.s.Attach(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), aws.ToString(in.PolicyArn))
}

func (a api) detachUserPolicy(ctx context.Context, c wire.Caller, in *awsiam.DetachUserPolicyInput) (*awsiam.DetachUserPolicyOutput, error) {
	return &awsiam.DetachUserPolicyOutput{}, a.s.Detach(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), aws.ToString(in.PolicyArn))
}

func (a api) listAttachedUserPolicies(ctx context.Context, c wire.Caller, in *awsiam.ListAttachedUserPoliciesInput) (*awsiam.ListAttachedUserPoliciesOutput, error) {
	list, next, err := a.s.AttachedPolicies(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), aws.ToString(in.PathPrefix), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListAttachedUserPoliciesOutput{AttachedPolicies: attached(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) attachGroupPolicy(ctx context.Context, c wire.Caller, in *awsiam.AttachGroupPolicyInput) (*awsiam.AttachGroupPolicyOutput, error) {
	return &awsiam.AttachGroupPolicyOutput{}, a.s.Attach(ctx, c.Account, iam.GroupRef(aws.ToString(in.GroupName)), aws.ToString(in.PolicyArn))
}

func (a api) detachGroupPolicy(ctx context.Context, c wire.Caller, in *awsiam.DetachGroupPolicyInput) (*awsiam.DetachGroupPolicyOutput, error) {
	return &awsiam.DetachGroupPolicyOutput{}, a.s.Detach(ctx, c.Account, iam.GroupRef(aws.ToString(in.GroupName)), aws.ToString(in.PolicyArn))
}

func (a api) listAttachedGroupPolicies(ctx context.Context, c wire.Caller, in *awsiam.ListAttachedGroupPoliciesInput) (*awsiam.ListAttachedGroupPoliciesOutput, error) {
	list, next, err := a.s.AttachedPolicies(ctx, c.Account, iam.GroupRef(aws.ToString(in.GroupName)), aws.ToString(in.PathPrefix), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListAttachedGroupPoliciesOutput{AttachedPolicies: attached(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) attachRolePolicy(ctx context.Context, c wire.Caller, in *awsiam.AttachRolePolicyInput) (*awsiam.AttachRolePolicyOutput, error) {
	return &awsiam.AttachRolePolicyOutput{}, a.s.Attach(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), aws.ToString(in.PolicyArn))
}

func (a api) detachRolePolicy(ctx context.Context, c wire.Caller, in *awsiam.DetachRolePolicyInput) (*awsiam.DetachRolePolicyOutput, error) {
	return &awsiam.DetachRolePolicyOutput{}, a.s.Detach(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), aws.ToString(in.PolicyArn))
}

func (a api) listAttachedRolePolicies(ctx context.Context, c wire.Caller, in *awsiam.ListAttachedRolePoliciesInput) (*awsiam.ListAttachedRolePoliciesOutput, error) {
	list, next, err := a.s.AttachedPolicies(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), aws.ToString(in.PathPrefix), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListAttachedRolePoliciesOutput{AttachedPolicies: attached(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) listEntitiesForPolicy(ctx context.Context, c wire.Caller, in *awsiam.ListEntitiesForPolicyInput) (*awsiam.ListEntitiesForPolicyOutput, error) {
	kinds := map[types.EntityType]iam.Kind{types.EntityTypeUser: iam.KindUser, types.EntityTypeGroup: iam.KindGroup, types.EntityTypeRole: iam.KindRole}
	f := iam.UserFilter{
		Kind: kinds[in.EntityFilter], PathPrefix: aws.ToString(in.PathPrefix),
		Attached: in.PolicyUsageFilter != types.PolicyUsageTypePermissionsBoundary, Bounded: in.PolicyUsageFilter != types.PolicyUsageTypePermissionsPolicy,
	}
	out := &awsiam.ListEntitiesForPolicyOutput{PolicyGroups: []types.PolicyGroup{}, PolicyRoles: []types.PolicyRole{}, PolicyUsers: []types.PolicyUser{}}
	if in.EntityFilter == types.EntityTypeLocalManagedPolicy || in.EntityFilter == types.EntityTypeAWSManagedPolicy {
		return out, nil // policies are not attached to policies
	}
	list, next, err := a.s.PolicyUsers(ctx, c.Account, aws.ToString(in.PolicyArn), f, page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	out.IsTruncated, out.Marker = next != "", nonEmpty(next)
	for _, u := range list {
		switch u.Kind {
		case iam.KindUser:
			out.PolicyUsers = append(out.PolicyUsers, types.PolicyUser{UserName: &u.Name, UserId: &u.ID})
		case iam.KindGroup:
			out.PolicyGroups = append(out.PolicyGroups, types.PolicyGroup{GroupName: &u.Name, GroupId: &u.ID})
		case iam.KindRole:
			out.PolicyRoles = append(out.PolicyRoles, types.PolicyRole{RoleName: &u.Name, RoleId: &u.ID})
		}
	}
	return out, nil
}
