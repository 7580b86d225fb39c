package iamapi

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/access"
	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

func (a api) roleOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateRole", nil, nil, nil, onNew("iam:CreateRole", "role",
			func(in *awsiam.CreateRoleInput) *string { return in.Path }, func(in *awsiam.CreateRoleInput) *string { return in.RoleName },
			newBoundary(func(in *awsiam.CreateRoleInput) *string { return in.PermissionsBoundary }),
			requestTags(func(in *awsiam.CreateRoleInput) []types.Tag { return in.Tags })), a.createRole),
		wire.Op("GetRole", nil, nil, nil, onEntity(a, "iam:GetRole", iam.KindRole, func(in *awsiam.GetRoleInput) *string { return in.RoleName }), a.getRole),
		wire.Op("ListRoles", nil, nil, nil, onAll[awsiam.ListRolesInput]("iam:ListRoles"), a.listRoles),
		wire.Op("UpdateRole", nil, nil, nil, onEntity(a, "iam:UpdateRole", iam.KindRole, func(in *awsiam.UpdateRoleInput) *string { return in.RoleName }), a.updateRole),
		wire.Op("UpdateRoleDescription", nil, nil, nil, onEntity(a, "iam:UpdateRoleDescription", iam.KindRole,
			func(in *awsiam.UpdateRoleDescriptionInput) *string { return in.RoleName }), a.updateRoleDescription),
		wire.Op("UpdateAssumeRolePolicy", nil, nil, nil, onEntity(a, "iam:UpdateAssumeRolePolicy", iam.KindRole,
			func(in *awsiam.UpdateAssumeRolePolicyInput) *string { return in.RoleName }), a.updateAssumeRolePolicy),
		wire.Op("DeleteRole", nil, nil, nil, onEntity(a, "iam:DeleteRole", iam.KindRole, func(in *awsiam.DeleteRoleInput) *string { return in.RoleName }), a.deleteRole),
		wire.Op("PutRolePermissionsBoundary", nil, nil, nil, onEntity(a, "iam:PutRolePermissionsBoundary", iam.KindRole,
			func(in *awsiam.PutRolePermissionsBoundaryInput) *string { return in.RoleName },
			newBoundary(func(in *awsiam.PutRolePermissionsBoundaryInput) *string { return in.PermissionsBoundary })), a.putRoleBoundary),
		wire.Op("DeleteRolePermissionsBoundary", nil, nil, nil, onEntity(a, "iam:DeleteRolePermissionsBoundary", iam.KindRole,
			func(in *awsiam.DeleteRolePermissionsBoundaryInput) *string { return in.RoleName }, ownBoundary), a.deleteRoleBoundary),
		wire.Op("CreateServiceLinkedRole", nil, nil, nil, row("iam:CreateServiceLinkedRole", linkedResource), a.createServiceLinkedRole),
		// There are no instance profiles, so the list that tools read before they delete a role is empty.
		wire.Op("ListInstanceProfilesForRole", nil, nil, nil, onEntity(a, "iam:ListInstanceProfilesForRole", iam.KindRole,
			func(in *awsiam.ListInstanceProfilesForRoleInput) *string { return in.RoleName }), a.listInstanceProfilesForRole),
	}
}

func linkedResource(_ context.Context, c wire.Caller, in *awsiam.CreateServiceLinkedRoleInput) (string, access.Context, error) {
	service := aws.ToString(in.AWSServiceName)
	resource := iam.LinkedRoleARN(c.Account, service)
	if resource == "" {
		resource = iam.NewARN(c.Account, "role", "/aws-service-role/"+service+"/", "AWSServiceRole")
	}
	return resource, access.Context{"iam:AWSServiceName": {service}}, nil
}

func (a api) createRole(ctx context.Context, c wire.Caller, in *awsiam.CreateRoleInput) (*awsiam.CreateRoleOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	r, err := a.s.CreateRole(ctx, c.Account, iam.NewRole{
		Name: aws.ToString(in.RoleName), Path: aws.ToString(in.Path), Description: aws.ToString(in.Description), Trust: aws.ToString(in.AssumeRolePolicyDocument),
		Boundary: aws.ToString(in.PermissionsBoundary), MaxSession: time.Duration(aws.ToInt32(in.MaxSessionDuration)) * time.Second, Tags: tags,
	})
	if err != nil {
		return nil, err
	}
	out := role(r)
	return &awsiam.CreateRoleOutput{Role: &out}, nil
}

func (a api) getRole(ctx context.Context, c wire.Caller, in *awsiam.GetRoleInput) (*awsiam.GetRoleOutput, error) {
	r, err := a.s.Role(ctx, c.Account, aws.ToString(in.RoleName))
	if err != nil {
		return nil, err
	}
	out := role(r)
	out.RoleLastUsed = &types.RoleLastUsed{LastUsedDate: when(r.LastUsed), Region: nonEmpty(r.LastRegion)}
	return &awsiam.GetRoleOutput{Role: &out}, nil
}

func (a api) listRoles(ctx context.Context, c wire.Caller, in *awsiam.ListRolesInput) (*awsiam.ListRolesOutput, error) {
	list, next, err := a.s.Roles(ctx, c.Account, aws.ToString(in.PathPrefix), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &awsiam.ListRolesOutput{Roles: make([]types.Role, len(list)), IsTruncated: next != "", Marker: nonEmpty(next)}
	for i, r := range list {
		out.Roles[i] = role(r)
		out.Roles[i].PermissionsBoundary = nil
	}
	return out, nil
}

func (a api) updateRole(ctx context.Context, c wire.Caller, in *awsiam.UpdateRoleInput) (*awsiam.UpdateRoleOutput, error) {
	var longest *time.Duration
	if in.MaxSessionDuration != nil {
		d := time.Duration(*in.MaxSessionDuration) * time.Second
		longest = &d
	}
	return &awsiam.UpdateRoleOutput{}, a.s.UpdateRole(ctx, c.Account, aws.ToString(in.RoleName), in.Description, longest)
}

func (a api) updateRoleDescription(ctx context.Context, c wire.Caller, in *awsiam.UpdateRoleDescriptionInput) (*awsiam.UpdateRoleDescriptionOutput, error) {
	name := aws.ToString(in.RoleName)
	if err := a.s.UpdateRole(ctx, c.Account, name, aws.String(aws.ToString(in.Description)), nil); err != nil {
		return nil, err
	}
	r, err := a.s.Role(ctx, c.Account, name)
	if err != nil {
		return nil, err
	}
	out := role(r)
	return &awsiam.UpdateRoleDescriptionOutput{Role: &out}, nil
}

func (a api) updateAssumeRolePolicy(ctx context.Context, c wire.Caller, in *awsiam.UpdateAssumeRolePolicyInput) (*awsiam.UpdateAssumeRolePolicyOutput, error) {
	return &awsiam.UpdateAssumeRolePolicyOutput{}, a.s.UpdateTrust(ctx, c.Account, aws.ToString(in.RoleName), aws.ToString(in.PolicyDocument))
}

func (a api) deleteRole(ctx context.Context, c wire.Caller, in *awsiam.DeleteRoleInput) (*awsiam.DeleteRoleOutput, error) {
	return &awsiam.DeleteRoleOutput{}, a.s.DeleteRole(ctx, c.Account, aws.ToString(in.RoleName))
}

func (a api) putRoleBoundary(ctx context.Context, c wire.Caller, in *awsiam.PutRolePermissionsBoundaryInput) (*awsiam.PutRolePermissionsBoundaryOutput, error) {
	return &awsiam.PutRolePermissionsBoundaryOutput{}, a.s.SetBoundary(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), aws.ToString(in.PermissionsBoundary))
}

func (a api) deleteRoleBoundary(ctx context.Context, c wire.Caller, in *awsiam.DeleteRolePermissionsBoundaryInput) (*awsiam.DeleteRolePermissionsBoundaryOutput, error) {
	return &awsiam.DeleteRolePermissionsBoundaryOutput{}, a.s.SetBoundary(ctx, c.Account, iam.RoleRef(aws.ToString(in.RoleName)), "")
}

func (a api) createServiceLinkedRole(ctx context.Context, c wire.Caller, in *awsiam.CreateServiceLinkedRoleInput) (*awsiam.CreateServiceLinkedRoleOutput, error) {
	r, err := a.s.CreateServiceLinkedRole(ctx, c.Account, aws.ToString(in.AWSServiceName), aws.ToString(in.Description), aws.ToString(in.CustomSuffix))
	if err != nil {
		return nil, err
	}
	out := role(r)
	return &awsiam.CreateServiceLinkedRoleOutput{Role: &out}, nil
}

func (a api) listInstanceProfilesForRole(ctx context.Context, c wire.Caller, in *awsiam.ListInstanceProfilesForRoleInput) (*awsiam.ListInstanceProfilesForRoleOutput, error) {
	_, err := a.s.Role(ctx, c.Account, aws.ToString(in.RoleName))
	return &awsiam.ListInstanceProfilesForRoleOutput{InstanceProfiles: []types.InstanceProfile{}}, err
}
