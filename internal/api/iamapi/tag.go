package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

func (a api) tagOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("TagUser", nil, nil, nil, onEntity(a, "iam:TagUser", iam.KindUser, func(in *awsiam.TagUserInput) *string { return in.UserName }, requestTags(func(in *awsiam.TagUserInput) []types.Tag { return in.Tags })), a.tagUser),
		wire.Op("UntagUser", nil, nil, nil, onEntity(a, "iam:UntagUser", iam.KindUser, func(in *awsiam.UntagUserInput) *string { return in.UserName }, tagKeys(func(in *awsiam.UntagUserInput) []string { return in.TagKeys })), a.untagUser),
		wire.Op("ListUserTags", nil, nil, nil, onEntity(a, "iam:ListUserTags", iam.KindUser, func(in *awsiam.ListUserTagsInput) *string { return in.UserName }), a.listUserTags),
		wire.Op("TagRole", nil, nil, nil, onEntity(a, "iam:TagRole", iam.KindRole, func(in *awsiam.TagRoleInput) *string { return in.RoleName }, requestTags(func(in *awsiam.TagRoleInput) []types.Tag { return in.Tags })), a.tagRole),
		wire.Op("UntagRole", nil, nil, nil, onEntity(a, "iam:UntagRole", iam.KindRole, func(in *awsiam.UntagRoleInput) *string { return in.RoleName }, tagKeys(func(in *awsiam.UntagRoleInput) []string { return in.TagKeys })), a.untagRole),
		wire.Op("ListRoleTags", nil, nil, nil, onEntity(a, "iam:ListRoleTags", iam.KindRole, func(in *awsiam.ListRoleTagsInput) *string { return in.RoleName }), a.listRoleTags),
		wire.Op("TagPolicy", nil, nil, nil, onPolicy("iam:TagPolicy", func(in *awsiam.TagPolicyInput) *string { return in.PolicyArn }, requestTags(func(in *awsiam.TagPolicyInput) []types.Tag { return in.Tags })), a.tagPolicy),
		wire.Op("UntagPolicy", nil, nil, nil, onPolicy("iam:UntagPolicy", func(in *awsiam.UntagPolicyInput) *string { return in.PolicyArn }, tagKeys(func(in *awsiam.UntagPolicyInput) []string { return in.TagKeys })), a.untagPolicy),
		wire.Op("ListPolicyTags", nil, nil, nil, onPolicy("iam:ListPolicyTags", func(in *awsiam.ListPolicyTagsInput) *string { return in.PolicyArn }), a.listPolicyTags),
	}
}

func (a api) tagUser(ctx context.Context, c wire.Caller, in *awsiam.TagUserInput) (*awsiam.TagUserOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &awsiam.TagUserOutput{}, a.s.TagEntity(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), tags)
}

func (a api) untagUser(ctx context.Context, c wire.Caller, in *awsiam.UntagUserInput) (*awsiam.UntagUserOutput, error) {
	return &awsiam.UntagUserOutput{}, a.s.UntagEntity(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), in.TagKeys)
}

func (a api) listUserTags(ctx context.Context, c wire.Caller, in *awsiam.ListUserTagsInput) (*awsiam.ListUserTagsOutput, error) {
	list, next, err := a.s.EntityTags(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListUserTagsOutput{Tags: tagList(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) tagRole(ctx context.Context, c wire.Caller, in *awsiam.TagRoleInput) (*awsiam.TagRoleOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &awsiam.TagRoleOutput{}, a.s.TagEntity(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), tags)
}

func (a api) untagRole(ctx context.Context, c wire.Caller, in *awsiam.UntagRoleInput) (*awsiam.UntagRoleOutput, error) {
	return &awsiam.UntagRoleOutput{}, a.s.UntagEntity(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), in.TagKeys)
}

func (a api) listRoleTags(ctx context.Context, c wire.Caller, in *awsiam.ListRoleTagsInput) (*awsiam.ListRoleTagsOutput, error) {
	list, next, err := a.s.EntityTags(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListRoleTagsOutput{Tags: tagList(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) tagPolicy(ctx context.Context, c wire.Caller, in *awsiam.TagPolicyInput) (*awsiam.TagPolicyOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &awsiam.TagPolicyOutput{}, a.s.TagPolicy(ctx, c.Account, aws.ToString(in.PolicyArn), tags)
}

func (a api) untagPolicy(ctx context.Context, c wire.Caller, in *awsiam.UntagPolicyInput) (*awsiam.UntagPolicyOutput, error) {
	return &awsiam.UntagPolicyOutput{}, a.s.UntagPolicy(ctx, c.Account, aws.ToString(in.PolicyArn), in.TagKeys)
}

func (a api) listPolicyTags(ctx context.Context, c wire.Caller, in *awsiam.ListPolicyTagsInput) (*awsiam.ListPolicyTagsOutput, error) {
	list, next, err := a.s.PolicyTags(ctx, c.Account, aws.ToString(in.PolicyArn), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListPolicyTagsOutput{Tags: tagList(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}
