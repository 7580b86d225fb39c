package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

func (a api) keyOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateAccessKey", nil, nil, nil, onEntity(a, "iam:CreateAccessKey", iam.KindUser, func(in *awsiam.CreateAccessKeyInput) *string { return in.UserName }), a.createAccessKey),
		wire.Op("ListAccessKeys", nil, nil, nil, onEntity(a, "iam:ListAccessKeys", iam.KindUser, func(in *awsiam.ListAccessKeysInput) *string { return in.UserName }), a.listAccessKeys),
		wire.Op("UpdateAccessKey", nil, nil, nil, onEntity(a, "iam:UpdateAccessKey", iam.KindUser, func(in *awsiam.UpdateAccessKeyInput) *string { return in.UserName }), a.updateAccessKey),
		wire.Op("DeleteAccessKey", nil, nil, nil, onEntity(a, "iam:DeleteAccessKey", iam.KindUser, func(in *awsiam.DeleteAccessKeyInput) *string { return in.UserName }), a.deleteAccessKey),
		wire.Op("GetAccessKeyLastUsed", nil, nil, nil, row("iam:GetAccessKeyLastUsed", a.keyResource), a.getAccessKeyLastUsed),
	}
}

// keyResource is the user that a key belongs to; a key that is not known is asked about as any user's.
func (a api) keyResource(ctx context.Context, c wire.Caller, in *awsiam.GetAccessKeyLastUsedInput) (string, access.Context, error) {
	name, err := a.s.KeyUser(ctx, c.Account, aws.ToString(in.AccessKeyId))
	switch {
	case fault.Is(err, fault.NotFound):
		return iam.NewARN(c.Account, "user", "/", "*"), nil, nil
	case err != nil:
		return "", nil, err
	case name == "":
		return c.ARN, nil, nil
	}
	f, err := a.s.Find(ctx, c.Account, iam.UserRef(name))
	return f.ARN, nil, err
}

func status(active bool) types.StatusType {
	if active {
		return types.StatusTypeActive
	}
	return types.StatusTypeInactive
}

func (a api) createAccessKey(ctx context.Context, c wire.Caller, in *awsiam.CreateAccessKeyInput) (*awsiam.CreateAccessKeyOutput, error) {
	name, err := self(c, in.UserName)
	if err != nil {
		return nil, err
	}
	k, err := a.s.CreateAccessKey(ctx, c.Account, name)
	if err != nil {
		return nil, err
	}
	return &awsiam.CreateAccessKeyOutput{AccessKey: &types.AccessKey{
		AccessKeyId: &k.ID, SecretAccessKey: &k.Secret, UserName: nonEmpty(k.User), Status: status(k.Active), CreateDate: when(k.Created),
	}}, nil
}

func (a api) listAccessKeys(ctx context.Context, c wire.Caller, in *awsiam.ListAccessKeysInput) (*awsiam.ListAccessKeysOutput, error) {
	name, err := self(c, in.UserName)
	if err != nil {
		return nil, err
	}
	list, next, err := a.s.AccessKeys(ctx, c.Account, name, page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &awsiam.ListAccessKeysOutput{AccessKeyMetadata: []types.AccessKeyMetadata{}, IsTruncated: next != "", Marker: nonEmpty(next)}
	for _, k := range list {
		out.AccessKeyMetadata = append(out.AccessKeyMetadata, types.AccessKeyMetadata{AccessKeyId: &k.ID, UserName: nonEmpty(k.User), Status: status(k.Active), CreateDate: when(k.Created)})
	}
	return out, nil
}

func (a api) updateAccessKey(ctx context.Context, c wire.Caller, in *awsiam.UpdateAccessKeyInput) (*awsiam.UpdateAccessKeyOutput, error) {
	name, err := self(c, in.UserName)
	if err != nil {
		return nil, err
	}
	if in.Status != types.StatusTypeActive && in.Status != types.StatusTypeInactive {
		return nil, fault.New(fault.Invalid, "The status of an access key is Active or Inactive.").WithCode(iam.CodeInvalidInput)
	}
	return &awsiam.UpdateAccessKeyOutput{}, a.s.UpdateAccessKey(ctx, c.Account, name, aws.ToString(in.AccessKeyId), in.Status == types.StatusTypeActive)
}

func (a api) deleteAccessKey(ctx context.Context, c wire.Caller, in *awsiam.DeleteAccessKeyInput) (*awsiam.DeleteAccessKeyOutput, error) {
	name, err := self(c, in.UserName)
	if err != nil {
		return nil, err
	}
	return &awsiam.DeleteAccessKeyOutput{}, a.s.DeleteAccessKey(ctx, c.Account, name, aws.ToString(in.AccessKeyId))
}

func (a api) getAccessKeyLastUsed(ctx context.Context, c wire.Caller, in *awsiam.GetAccessKeyLastUsedInput) (*awsiam.GetAccessKeyLastUsedOutput, error) {
	name, use, err := a.s.LastUsed(ctx, c.Account, aws.ToString(in.AccessKeyId))
	if err != nil {
		return nil, err
	}
	last := &types.AccessKeyLastUsed{LastUsedDate: when(use.Time), ServiceName: aws.String("N/A"), Region: aws.String("N/A")}
	if use.Service != "" {
		last.ServiceName = &use.Service
	}
	if use.Region != "" {
		last.Region = &use.Region
	}
	return &awsiam.GetAccessKeyLastUsedOutput{UserName: nonEmpty(name), AccessKeyLastUsed: last}, nil
}
