package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

func (a api) userOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateUser", nil, nil, nil, onNew("iam:CreateUser", "user",
			func(in *awsiam.CreateUserInput) *string { return in.Path }, func(in *awsiam.CreateUserInput) *string { return in.UserName },
			newBoundary(func(in *awsiam.CreateUserInput) *string { return in.PermissionsBoundary }),
			requestTags(func(in *awsiam.CreateUserInput) []types.Tag { return in.Tags })), a.createUser),
		wire.Op("GetUser", nil, nil, nil, onEntity(a, "iam:GetUser", iam.KindUser, func(in *awsiam.GetUserInput) *string { return in.UserName }), a.getUser),
		wire.Op("ListUsers", nil, nil, nil, onAll[awsiam.ListUsersInput]("iam:ListUsers"), a.listUsers),
		wire.Op("UpdateUser", nil, nil, nil, onRenamed(a, "iam:UpdateUser", iam.KindUser, func(in *awsiam.UpdateUserInput) *string { return in.UserName },
			func(in *awsiam.UpdateUserInput) *string { return in.NewUserName }, func(in *awsiam.UpdateUserInput) *string { return in.NewPath }), a.updateUser),
		wire.Op("DeleteUser", nil, nil, nil, onEntity(a, "iam:DeleteUser", iam.KindUser, func(in *awsiam.DeleteUserInput) *string { return in.UserName }), a.deleteUser),
		wire.Op("PutUserPermissionsBoundary", nil, nil, nil, onEntity(a, "iam:PutUserPermissionsBoundary", iam.KindUser,
			func(in *awsiam.PutUserPermissionsBoundaryInput) *string { return in.UserName },
			newBoundary(func(in *awsiam.PutUserPermissionsBoundaryInput) *string { return in.PermissionsBoundary })), a.putUserBoundary),
		wire.Op("DeleteUserPermissionsBoundary", nil, nil, nil, onEntity(a, "iam:DeleteUserPermissionsBoundary", iam.KindUser,
			func(in *awsiam.DeleteUserPermissionsBoundaryInput) *string { return in.UserName }, ownBoundary), a.deleteUserBoundary),
		// Users have none of these here, so the lists that tools read before they delete a user are empty.
		wire.Op("ListMFADevices", nil, nil, nil, onEntity(a, "iam:ListMFADevices", iam.KindUser, func(in *awsiam.ListMFADevicesInput) *string { return in.UserName }), a.listMFADevices),
		wire.Op("ListSSHPublicKeys", nil, nil, nil, onEntity(a, "iam:ListSSHPublicKeys", iam.KindUser, func(in *awsiam.ListSSHPublicKeysInput) *string { return in.UserName }), a.listSSHPublicKeys),
		wire.Op("ListSigningCertificates", nil, nil, nil, onEntity(a, "iam:ListSigningCertificates", iam.KindUser,
			func(in *awsiam.ListSigningCertificatesInput) *string { return in.UserName }), a.listSigningCertificates),
		wire.Op("ListServiceSpecificCredentials", nil, nil, nil, onEntity(a, "iam:ListServiceSpecificCredentials", iam.KindUser,
			func(in *awsiam.ListServiceSpecificCredentialsInput) *string { return in.UserName }), a.listServiceSpecificCredentials),
	}
}

func (a api) createUser(ctx context.Context, c wire.Caller, in *awsiam.CreateUserInput) (*awsiam.CreateUserOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	u, err := a.s.CreateUser(ctx, c.Account, iam.NewUser{Name: aws.ToString(in.UserName), Path: aws.ToString(in.Path), Boundary: aws.ToString(in.PermissionsBoundary), Tags: tags})
	if err != nil {
		return nil, err
	}
	out := user(u)
	return &awsiam.CreateUserOutput{User: &out}, nil
}

func (a api) getUser(ctx context.Context, c wire.Caller, in *awsiam.GetUserInput) (*awsiam.GetUserOutput, error) {
	name, err := self(c, in.UserName)
	if err != nil {
		return nil, err
	}
	if name == "" {
		created, err := a.s.AccountCreated(ctx, c.Account)
		if err != nil {
			return nil, err
		}
		return &awsiam.GetUserOutput{User: &types.User{UserId: aws.String(c.Account), Arn: aws.String(c.ARN), CreateDate: when(created)}}, nil
	}
	u, err := a.s.User(ctx, c.Account, name)
	if err != nil {
		return nil, err
	}
	out := user(u)
	return &awsiam.GetUserOutput{User: &out}, nil
}

func (a api) listUsers(ctx context.Context, c wire.Caller, in *awsiam.ListUsersInput) (*awsiam.ListUsersOutput, error) {
	list, next, err := a.s.Users(ctx, c.Account, aws.ToString(in.PathPrefix), page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	return &awsiam.ListUsersOutput{Users: users(list), IsTruncated: next != "", Marker: nonEmpty(next)}, nil
}

func (a api) updateUser(ctx context.Context, c wire.Caller, in *awsiam.UpdateUserInput) (*awsiam.UpdateUserOutput, error) {
	return &awsiam.UpdateUserOutput{}, a.s.UpdateUser(ctx, c.Account, aws.ToString(in.UserName), aws.ToString(in.NewUserName), aws.ToString(in.NewPath))
}

func (a api) deleteUser(ctx context.Context, c wire.Caller, in *awsiam.DeleteUserInput) (*awsiam.DeleteUserOutput, error) {
	return &awsiam.DeleteUserOutput{}, a.s.DeleteUser(ctx, c.Account, aws.ToString(in.UserName))
}

func (a api) putUserBoundary(ctx context.Context, c wire.Caller, in *awsiam.PutUserPermissionsBoundaryInput) (*awsiam.PutUserPermissionsBoundaryOutput, error) {
	return &awsiam.PutUserPermissionsBoundaryOutput{}, a.s.SetBoundary(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), aws.ToString(in.PermissionsBoundary))
}

func (a api) deleteUserBoundary(ctx context.Context, c wire.Caller, in *awsiam.DeleteUserPermissionsBoundaryInput) (*awsiam.DeleteUserPermissionsBoundaryOutput, error) {
	return &awsiam.DeleteUserPermissionsBoundaryOutput{}, a.s.SetBoundary(ctx, c.Account, iam.UserRef(aws.ToString(in.UserName)), "")
}

// checkUser is NotFound for a user that does not exist.
func (a api) checkUser(ctx context.Context, c wire.Caller, name *string) error {
	n, err := self(c, name)
	if err != nil || n == "" {
		return err
	}
	_, err = a.s.User(ctx, c.Account, n)
	return err
}

func (a api) listMFADevices(ctx context.Context, c wire.Caller, in *awsiam.ListMFADevicesInput) (*awsiam.ListMFADevicesOutput, error) {
	return &awsiam.ListMFADevicesOutput{MFADevices: []types.MFADevice{}}, a.checkUser(ctx, c, in.UserName)
}

func (a api) listSSHPublicKeys(ctx context.Context, c wire.Caller, in *awsiam.ListSSHPublicKeysInput) (*awsiam.ListSSHPublicKeysOutput, error) {
	return &awsiam.ListSSHPublicKeysOutput{}, a.checkUser(ctx, c, in.UserName)
}

func (a api) listSigningCertificates(ctx context.Context, c wire.Caller, in *awsiam.ListSigningCertificatesInput) (*awsiam.ListSigningCertificatesOutput, error) {
	return &awsiam.ListSigningCertificatesOutput{Certificates: []types.SigningCertificate{}}, a.checkUser(ctx, c, in.UserName)
}

func (a api) listServiceSpecificCredentials(ctx context.Context, c wire.Caller, in *awsiam.ListServiceSpecificCredentialsInput) (*awsiam.ListServiceSpecificCredentialsOutput, error) {
	return &awsiam.ListServiceSpecificCredentialsOutput{}, a.checkUser(ctx, c, in.UserName)
}
