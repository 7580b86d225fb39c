package orgapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/schemas"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"strongroom/internal/access"
	"strongroom/internal/wire"
)

const serviceKey = "organizations:ServicePrincipal"

func (a *API) delegationOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("EnableAWSServiceAccess", schemas.EnableAWSServiceAccess, schemas.EnableAWSServiceAccessRequest, nil,
			onAll("EnableAWSServiceAccess", func(in *awsorg.EnableAWSServiceAccessInput, c access.Context) {
				c.Set(serviceKey, aws.ToString(in.ServicePrincipal))
			}), a.enableServiceAccess),
		wire.Op("DisableAWSServiceAccess", schemas.DisableAWSServiceAccess, schemas.DisableAWSServiceAccessRequest, nil,
			onAll("DisableAWSServiceAccess", func(in *awsorg.DisableAWSServiceAccessInput, c access.Context) {
				c.Set(serviceKey, aws.ToString(in.ServicePrincipal))
			}), a.disableServiceAccess),
		wire.Op("ListAWSServiceAccessForOrganization", schemas.ListAWSServiceAccessForOrganization, schemas.ListAWSServiceAccessForOrganizationRequest, schemas.ListAWSServiceAccessForOrganizationResponse,
			onAll[awsorg.ListAWSServiceAccessForOrganizationInput]("ListAWSServiceAccessForOrganization"), a.listServiceAccess),
		wire.Op("RegisterDelegatedAdministrator", schemas.RegisterDelegatedAdministrator, schemas.RegisterDelegatedAdministratorRequest, nil,
			on(a, "RegisterDelegatedAdministrator", func(in *awsorg.RegisterDelegatedAdministratorInput) []*string { return []*string{in.AccountId} },
				func(in *awsorg.RegisterDelegatedAdministratorInput, c access.Context) {
					c.Set(serviceKey, aws.ToString(in.ServicePrincipal))
				}), a.registerDelegate),
		wire.Op("DeregisterDelegatedAdministrator", schemas.DeregisterDelegatedAdministrator, schemas.DeregisterDelegatedAdministratorRequest, nil,
			on(a, "DeregisterDelegatedAdministrator", func(in *awsorg.DeregisterDelegatedAdministratorInput) []*string { return []*string{in.AccountId} },
				func(in *awsorg.DeregisterDelegatedAdministratorInput, c access.Context) {
					c.Set(serviceKey, aws.ToString(in.ServicePrincipal))
				}), a.deregisterDelegate),
		wire.Op("ListDelegatedAdministrators", schemas.ListDelegatedAdministrators, schemas.ListDelegatedAdministratorsRequest, schemas.ListDelegatedAdministratorsResponse,
			onAll("ListDelegatedAdministrators", func(in *awsorg.ListDelegatedAdministratorsInput, c access.Context) {
				c.Set(serviceKey, aws.ToString(in.ServicePrincipal))
			}), a.listDelegates),
		wire.Op("ListDelegatedServicesForAccount", schemas.ListDelegatedServicesForAccount, schemas.ListDelegatedServicesForAccountRequest, schemas.ListDelegatedServicesForAccountResponse,
			on(a, "ListDelegatedServicesForAccount", func(in *awsorg.ListDelegatedServicesForAccountInput) []*string { return []*string{in.AccountId} }), a.listDelegatedServices),
	}
}

func (a *API) enableServiceAccess(ctx context.Context, c wire.Caller, in *awsorg.EnableAWSServiceAccessInput) (*awsorg.EnableAWSServiceAccessOutput, error) {
	return &awsorg.EnableAWSServiceAccessOutput{}, a.s.EnableServiceAccess(ctx, c.Account, aws.ToString(in.ServicePrincipal))
}

func (a *API) disableServiceAccess(ctx context.Context, c wire.Caller, in *awsorg.DisableAWSServiceAccessInput) (*awsorg.DisableAWSServiceAccessOutput, error) {
	return &awsorg.DisableAWSServiceAccessOutput{}, a.s.DisableServiceAccess(ctx, c.Account, aws.ToString(in.ServicePrincipal))
}

func (a *API) listServiceAccess(ctx context.Context, c wire.Caller, in *awsorg.ListAWSServiceAccessForOrganizationInput) (*awsorg.ListAWSServiceAccessForOrganizationOutput, error) {
	list, next, err := a.s.ServiceAccesses(ctx, c.Account, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsorg.ListAWSServiceAccessForOrganizationOutput{EnabledServicePrincipals: []orgtypes.EnabledServicePrincipal{}, NextToken: text(next)}
	for _, s := range list {
		out.EnabledServicePrincipals = append(out.EnabledServicePrincipals, orgtypes.EnabledServicePrincipal{ServicePrincipal: aws.String(s.Service), DateEnabled: aws.Time(s.Enabled)})
	}
	return out, nil
}

func (a *API) registerDelegate(ctx context.Context, c wire.Caller, in *awsorg.RegisterDelegatedAdministratorInput) (*awsorg.RegisterDelegatedAdministratorOutput, error) {
	return &awsorg.RegisterDelegatedAdministratorOutput{}, a.s.RegisterDelegate(ctx, c.Account, aws.ToString(in.AccountId), aws.ToString(in.ServicePrincipal))
}

func (a *API) deregisterDelegate(ctx context.Context, c wire.Caller, in *awsorg.DeregisterDelegatedAdministratorInput) (*awsorg.DeregisterDelegatedAdministratorOutput, error) {
	return &awsorg.DeregisterDelegatedAdministratorOutput{}, a.s.DeregisterDelegate(ctx, c.Account, aws.ToString(in.AccountId), aws.ToString(in.ServicePrincipal))
}

func (a *API) listDelegates(ctx context.Context, c wire.Caller, in *awsorg.ListDelegatedAdministratorsInput) (*awsorg.ListDelegatedAdministratorsOutput, error) {
	list, next, err := a.s.Delegates(ctx, c.Account, aws.ToString(in.ServicePrincipal), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	o, err := a.s.Standing(ctx, c.Account)
	out := &awsorg.ListDelegatedAdministratorsOutput{DelegatedAdministrators: []orgtypes.DelegatedAdministrator{}, NextToken: text(next)}
	for _, d := range list {
		out.DelegatedAdministrators = append(out.DelegatedAdministrators, orgtypes.DelegatedAdministrator{
			Id: aws.String(d.ID), Arn: aws.String(o.AccountARN(d.ID)), Name: aws.String(d.Name), Email: aws.String(d.Email), JoinedMethod: orgtypes.AccountJoinedMethod(d.Method),
			JoinedTimestamp: aws.Time(d.Joined), State: orgtypes.AccountState(d.State), Status: status(d.Account), DelegationEnabledDate: aws.Time(d.Since),
		})
	}
	return out, err
}

func (a *API) listDelegatedServices(ctx context.Context, c wire.Caller, in *awsorg.ListDelegatedServicesForAccountInput) (*awsorg.ListDelegatedServicesForAccountOutput, error) {
	list, next, err := a.s.DelegatedServices(ctx, c.Account, aws.ToString(in.AccountId), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsorg.ListDelegatedServicesForAccountOutput{DelegatedServices: []orgtypes.DelegatedService{}, NextToken: text(next)}
	for _, s := range list {
		out.DelegatedServices = append(out.DelegatedServices, orgtypes.DelegatedService{ServicePrincipal: aws.String(s.Service), DelegationEnabledDate: aws.Time(s.Enabled)})
	}
	return out, nil
}
