package kmsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/kms"
	"strongroom/internal/wire"
)

func (a *API) aliasOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateAlias", schemas.CreateAlias, schemas.CreateAliasRequest, nil, func(ctx context.Context, c wire.Caller, in *awskms.CreateAliasInput) ([]access.Check, error) {
			return a.aliasChecks(ctx, c, "kms:CreateAlias", in.AliasName, in.TargetKeyId, false)
		}, a.createAlias),
		wire.Op("UpdateAlias", schemas.UpdateAlias, schemas.UpdateAliasRequest, nil, func(ctx context.Context, c wire.Caller, in *awskms.UpdateAliasInput) ([]access.Check, error) {
			return a.aliasChecks(ctx, c, "kms:UpdateAlias", in.AliasName, in.TargetKeyId, true)
		}, a.updateAlias),
		wire.Op("DeleteAlias", schemas.DeleteAlias, schemas.DeleteAliasRequest, nil, func(ctx context.Context, c wire.Caller, in *awskms.DeleteAliasInput) ([]access.Check, error) {
			return a.aliasChecks(ctx, c, "kms:DeleteAlias", in.AliasName, nil, true)
		}, a.deleteAlias),
		wire.Op("ListAliases", schemas.ListAliases, schemas.ListAliasesRequest, schemas.ListAliasesResponse, onAll[awskms.ListAliasesInput]("kms:ListAliases"), a.listAliases),
	}
}

// aliasChecks asks for the alias and for every key that the call takes it from or gives it to.
func (a *API) aliasChecks(ctx context.Context, c wire.Caller, action string, alias, target *string, current bool) ([]access.Check, error) {
	checks := []access.Check{kms.Check(action, arn.Make("kms", c.Env.Region, c.Account, aws.ToString(alias)), c.Principal, c.Env)}
	if target != nil {
		check, err := a.keyCheck(ctx, c, action, *target, ownKeys)
		if err != nil {
			return nil, err
		}
		checks = append(checks, check)
	}
	if current {
		ref, err := a.s.Resolve(ctx, c.Account, c.Env.Region, aws.ToString(alias), true)
		if err != nil {
			return nil, err
		}
		if ref.Exists {
			checks = append(checks, kms.Check(action, ref.ARN, c.Principal, c.Env))
		}
	}
	return checks, nil
}

func (a *API) createAlias(ctx context.Context, c wire.Caller, in *awskms.CreateAliasInput) (*awskms.CreateAliasOutput, error) {
	key, err := a.key(ctx, c, in.TargetKeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.CreateAliasOutput{}, a.s.CreateAlias(ctx, aws.ToString(in.AliasName), key)
}

func (a *API) updateAlias(ctx context.Context, c wire.Caller, in *awskms.UpdateAliasInput) (*awskms.UpdateAliasOutput, error) {
	key, err := a.key(ctx, c, in.TargetKeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.UpdateAliasOutput{}, a.s.UpdateAlias(ctx, aws.ToString(in.AliasName), key)
}

func (a *API) deleteAlias(ctx context.Context, c wire.Caller, in *awskms.DeleteAliasInput) (*awskms.DeleteAliasOutput, error) {
	return &awskms.DeleteAliasOutput{}, a.s.DeleteAlias(ctx, c.Account, c.Env.Region, aws.ToString(in.AliasName))
}

func (a *API) listAliases(ctx context.Context, c wire.Caller, in *awskms.ListAliasesInput) (*awskms.ListAliasesOutput, error) {
	keyID := ""
	if in.KeyId != nil {
		key, err := a.key(ctx, c, in.KeyId, ownKeys)
		if err != nil {
			return nil, err
		}
		k, err := a.s.Describe(ctx, key)
		if err != nil {
			return nil, err
		}
		keyID = k.ID
	}
	p, err := a.page("aliases "+c.Account+" "+c.Env.Region+" "+keyID, in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	list, more, err := a.s.Aliases(ctx, c.Account, c.Env.Region, keyID, p.cursor, p.limit)
	if err != nil {
		return nil, err
	}
	out := &awskms.ListAliasesOutput{Aliases: []kmstypes.AliasListEntry{}, Truncated: more}
	for _, l := range list {
		out.Aliases = append(out.Aliases, kmstypes.AliasListEntry{
			AliasName: aws.String(l.Name), AliasArn: aws.String(l.ARN), TargetKeyId: aws.String(l.KeyID), CreationDate: aws.Time(l.Created), LastUpdatedDate: aws.Time(l.Updated),
		})
		out.NextMarker = a.next(p, more, l.Name)
	}
	return out, nil
}
