package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"

	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

func (a api) groupOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateGroup", nil, nil, nil, onNew("iam:CreateGroup", "group",
			func(in *awsiam.CreateGroupInput) *string { return in.Path }, func(in *awsiam.CreateGroupInput) *string { return in.GroupName }), a.createGroup),
		wire.Op("GetGroup", nil, nil, nil, onEntity(a, "iam:GetGroup", iam.KindGroup, func(in *awsiam.GetGroupInput) *string { return in.GroupName }), a.getGroup),
		wire.Op("ListGroups", nil, nil, nil, onAll[awsiam.ListGroupsInput]("iam:ListGroups"), a.listGroups),
		wire.Op("UpdateGroup", nil, nil, nil, onRenamed(a, "iam:UpdateGroup", iam.KindGroup, func(in *awsiam.UpdateGroupInput) *string { return in.GroupName },
			func(in *awsiam.UpdateGroupInput) *string { return in.NewGroupName }, func(in *awsiam.UpdateGroupInput) *string { return in.NewPath }), a.updateGroup),
		wire.Op("DeleteGroup", nil, nil, nil, onEntity(a, "iam:DeleteGroup", iam.KindGroup, func(in *awsiam.DeleteGroupInput) *string { return in.GroupName }), a.deleteGroup),
		wire.Op("AddUserToGroup", nil, nil, nil, onEntity(a, "iam:AddUserToGroup", iam.KindGroup, func(in *awsiam.AddUserToGroupInput) *string { return in.GroupName }), a.addUserToGroup),
		wire.Op("RemoveUserFromGroup", nil, nil, nil, onEntity(a, "iam:RemoveUserFromGroup", iam.KindGroup,
			func(in *awsiam.RemoveUserFromGroupInput) *string { return in.GroupName }), a.removeUserFromGroup),
		wire.Op("ListGroupsForUser", nil, nil, nil, onEntity(a, "iam:ListGroupsForUser", iam.KindUser, func(in *awsiam.ListGroupsForUserInput) *string { return in.UserName }), a.listGroupsForUser),
	}
}

func (a api) createGroup(ctx context.Context, c wire.Caller, in *awsiam.CreateGroupInput) (*awsiam.CreateGroupOutput, error) {
	g, err := a.s.CreateGroup(ctx, c.Account, aws.ToString(in.GroupName), aws.ToString(in.Path))
	if err != nil {
		return nil, err
	}
	out := group(g)
	return &awsiam.CreateGroupOutput{Group: &out}, nil
}

func (a api) getGroup(ctx context.Context, c wire.Caller, in *awsiam.GetGroupInput) (*awsiam.GetGroupOutput, error) {
	g, members, next, err := a.s.Group(ctx, c.Account, aws.ToString(in.GroupName), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := group(g)
	return &awsiam.GetGroupOutput{Group: &out, Users: users(members), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) listGroups(ctx context.Context, c wire.Caller, in *awsiam.ListGroupsInput) (*awsiam.ListGroupsOutput, error) {
	list, next, err := a.s.Groups(ctx, c.Account, aws.ToString(in.PathPrefix), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListGroupsOutput{Groups: groups(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) updateGroup(ctx context.Context, c wire.Caller, in *awsiam.UpdateGroupInput) (*awsiam.UpdateGroupOutput, error) {
	return &awsiam.UpdateGroupOutput{}, a.s.UpdateGroup(ctx, c.Account, aws.ToString(in.GroupName), aws.ToString(in.NewGroupName), aws.ToString(in.NewPath))
}

func (a api) deleteGroup(ctx context.Context, c wire.Caller, in *awsiam.DeleteGroupInput) (*awsiam.DeleteGroupOutput, error) {
	return &awsiam.DeleteGroupOutput{}, a.s.DeleteGroup(ctx, c.Account, aws.ToString(in.GroupName))
}

func (a api) addUserToGroup(ctx context.Context, c wire.Caller, in *awsiam.AddUserToGroupInput) (*awsiam.AddUserToGroupOutput, error) {
	return &awsiam.AddUserToGroupOutput{}, a.s.AddUserToGroup(ctx, c.Account, aws.ToString(in.GroupName), aws.ToString(in.UserName))
}

func (a api) removeUserFromGroup(ctx context.Context, c wire.Caller, in *awsiam.RemoveUserFromGroupInput) (*awsiam.RemoveUserFromGroupOutput, error) {
	return &awsiam.RemoveUserFromGroupOutput{}, a.s.RemoveUserFromGroup(ctx, c.Account, aws.ToString(in.GroupName), aws.ToString(in.UserName))
}

func (a api) listGroupsForUser(ctx context.Context, c wire.Caller, in *awsiam.ListGroupsForUserInput) (*awsiam.ListGroupsForUserOutput, error) {
	list, next, err := a.s.GroupsOf(ctx, c.Account, aws.ToString(in.UserName), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListGroupsForUserOutput{Groups: groups(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}
