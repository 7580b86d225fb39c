package kmsapi

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
	"strongroom/internal/wire"
)

func (a *API) grantOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateGrant", schemas.CreateGrant, schemas.CreateGrantRequest, schemas.CreateGrantResponse, a.createGrantChecks, a.createGrant),
		wire.Op("ListGrants", schemas.ListGrants, schemas.ListGrantsRequest, schemas.ListGrantsResponse,
			onKey(a, "kms:ListGrants", foreignKeys, func(in *awskms.ListGrantsInput) *string { return in.KeyId }), a.listGrants),
		wire.Op("ListRetirableGrants", schemas.ListRetirableGrants, schemas.ListRetirableGrantsRequest, schemas.ListGrantsResponse, onAll[awskms.ListRetirableGrantsInput]("kms:ListRetirableGrants"), a.listRetirableGrants),
		wire.Op("RevokeGrant", schemas.RevokeGrant, schemas.RevokeGrantRequest, nil,
			onKey(a, "kms:RevokeGrant", foreignKeys, func(in *awskms.RevokeGrantInput) *string { return in.KeyId }), a.revokeGrant),
		wire.Op("RetireGrant", schemas.RetireGrant, schemas.RetireGrantRequest, nil, a.retireGrantChecks, a.retireGrant),
	}
}

func newGrant(c wire.Caller, in *awskms.CreateGrantInput) kms.NewGrant {
	n := kms.NewGrant{Issuer: c.Account, Name: aws.ToString(in.Name), Grantee: aws.ToString(in.GranteePrincipal), Retiring: aws.ToString(in.RetiringPrincipal)}
	for _, o := range in.Operations {
		n.Operations = append(n.Operations, string(o))
	}
	if in.Constraints != nil {
		n.Equals, n.Subset = in.Constraints.EncryptionContextEquals, in.Constraints.EncryptionContextSubset
	}
	return n
}

func (a *API) createGrantChecks(ctx context.Context, c wire.Caller, in *awskms.CreateGrantInput) ([]access.Check, error) {
	check, err := a.keyCheck(ctx, c, "kms:CreateGrant", aws.ToString(in.KeyId), foreignKeys)
	if err != nil {
		return nil, err
	}
	return []access.Check{kms.GrantCheck(check.Resource, c.Principal, c.Env, newGrant(c, in))}, nil
}

func (a *API) createGrant(ctx context.Context, c wire.Caller, in *awskms.CreateGrantInput) (*awskms.CreateGrantOutput, error) {
	if in.GranteeServicePrincipal != nil || in.RetiringServicePrincipal != nil {
		return nil, fault.New(fault.Invalid, "Grants to services are made by the services themselves")
	}
	if err := a.s.CheckTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	n := newGrant(c, in)
	if aws.ToBool(in.DryRun) {
		if err := a.s.CheckGrant(ctx, key, n); err != nil {
			return nil, err
		}
		return nil, dryRun()
	}
	g, token, err := a.s.CreateGrant(ctx, key, n)
	if err != nil {
		return nil, err
	}
	return &awskms.CreateGrantOutput{GrantId: aws.String(g.ID), GrantToken: aws.String(token)}, nil
}

func (a *API) listGrants(ctx context.Context, c wire.Caller, in *awskms.ListGrantsInput) (*awskms.ListGrantsOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	f := kms.GrantFilter{ID: aws.ToString(in.GrantId), Grantee: aws.ToString(in.GranteePrincipal)}
	if in.GranteeServicePrincipal != nil {
		f.Grantee = *in.GranteeServicePrincipal
	}
	p, err := a.page("grants "+c.Account+" "+key+" "+f.ID+" "+f.Grantee, in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	list, more, err := a.s.Grants(ctx, key, f, p.cursor, p.limit)
	if err != nil {
		return nil, err
	}
	out := &awskms.ListGrantsOutput{Grants: grants(list), Truncated: more}
	if more {
		out.NextMarker = a.next(p, more, list[len(list)-1].ID)
	}
	return out, nil
}

func (a *API) listRetirableGrants(ctx context.Context, c wire.Caller, in *awskms.ListRetirableGrantsInput) (*awskms.ListRetirableGrantsOutput, error) {
	who := aws.ToString(in.RetiringPrincipal)
	if arn.AccountOf(who) != c.Account {
		return nil, fault.New(fault.Invalid, "RetiringPrincipal must be a principal of the caller's account").WithCode(kms.CodeInvalidArn)
	}
	p, err := a.page("retirable "+c.Account+" "+c.Env.Region+" "+who, in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	list, more, err := a.s.RetirableGrants(ctx, c.Env.Region, who, p.cursor, p.limit)
	if err != nil {
		return nil, err
	}
	out := &awskms.ListRetirableGrantsOutput{Grants: grants(list), Truncated: more}
	if more {
		out.NextMarker = a.next(p, more, list[len(list)-1].ID)
	}
	return out, nil
}

func grants(list []kms.Grant) []kmstypes.GrantListEntry {
	out := []kmstypes.GrantListEntry{}
	for _, g := range list {
		e := kmstypes.GrantListEntry{
			GrantId: aws.String(g.ID), KeyId: aws.String(g.KeyARN), GranteePrincipal: aws.String(g.Grantee), IssuingAccount: aws.String(g.Issuer), CreationDate: aws.Time(g.Created),
		}
		if g.Name != "" {
			e.Name = aws.String(g.Name)
		}
		if g.Retiring != "" {
			e.RetiringPrincipal = aws.String(g.Retiring)
		}
		if !strings.Contains(g.Grantee, ":") {
			e.GranteeServicePrincipal = aws.String(g.Grantee)
		}
		for _, o := range g.Ops {
			e.Operations = append(e.Operations, kmstypes.GrantOperation(o))
		}
		if g.Equals != nil || g.Subset != nil {
			e.Constraints = &kmstypes.GrantConstraints{EncryptionContextEquals: g.Equals, EncryptionContextSubset: g.Subset}
		}
		out = append(out, e)
	}
	return out
}

func (a *API) revokeGrant(ctx context.Context, c wire.Caller, in *awskms.RevokeGrantInput) (*awskms.RevokeGrantOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	if aws.ToBool(in.DryRun) {
		if _, err := a.s.Grant(ctx, key, aws.ToString(in.GrantId)); err != nil {
			return nil, err
		}
		return nil, dryRun()
	}
	return &awskms.RevokeGrantOutput{}, a.s.RevokeGrant(ctx, key, aws.ToString(in.GrantId))
}

// retired names the grant to retire: by token, or by key ARN and grant id.
func (a *API) retired(ctx context.Context, c wire.Caller, in *awskms.RetireGrantInput) (key, id string, err error) {
	if in.GrantToken != nil {
		if in.KeyId != nil || in.GrantId != nil {
			return "", "", fault.New(fault.Invalid, "Give either a grant token or a key and a grant id")
		}
		g, err := a.s.GrantOfToken(ctx, *in.GrantToken)
		return g.KeyARN, g.ID, err
	}
	if in.KeyId == nil || in.GrantId == nil {
		return "", "", fault.New(fault.Invalid, "Give either a grant token or a key and a grant id")
	}
	ref, err := a.s.Resolve(ctx, c.Account, c.Env.Region, *in.KeyId, false)
	if err != nil {
		return "", "", err
	}
	if arn.AccountOf(ref.ARN) == c.Account {
		if _, err := a.s.Grant(ctx, ref.ARN, *in.GrantId); err != nil {
			return "", "", err
		}
	}
	return ref.ARN, *in.GrantId, nil
}

func (a *API) retireGrantChecks(ctx context.Context, c wire.Caller, in *awskms.RetireGrantInput) ([]access.Check, error) {
	key, id, err := a.retired(ctx, c, in)
	if err != nil {
		return nil, err
	}
	return []access.Check{kms.RetireCheck(key, id, c.Principal, c.Env)}, nil
}

func (a *API) retireGrant(ctx context.Context, c wire.Caller, in *awskms.RetireGrantInput) (*awskms.RetireGrantOutput, error) {
	key, id, err := a.retired(ctx, c, in)
	if err != nil {
		return nil, err
	}
	if aws.ToBool(in.DryRun) {
		return nil, dryRun()
	}
	return &awskms.RetireGrantOutput{}, a.s.RetireGrant(ctx, key, id)
}
