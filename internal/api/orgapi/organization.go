package orgapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/schemas"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"strongroom/internal/org"
	"strongroom/internal/wire"
)

func (a *API) organizationOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateOrganization", schemas.CreateOrganization, schemas.CreateOrganizationRequest, schemas.CreateOrganizationResponse, onAll[awsorg.CreateOrganizationInput]("CreateOrganization"), a.createOrganization),
		wire.Op("DescribeOrganization", schemas.DescribeOrganization, nil, schemas.DescribeOrganizationResponse, onAll[awsorg.DescribeOrganizationInput]("DescribeOrganization"), a.describeOrganization),
		wire.Op("DeleteOrganization", schemas.DeleteOrganization, nil, nil, onAll[awsorg.DeleteOrganizationInput]("DeleteOrganization"), a.deleteOrganization),
		wire.Op("ListRoots", schemas.ListRoots, schemas.ListRootsRequest, schemas.ListRootsResponse, onAll[awsorg.ListRootsInput]("ListRoots"), a.listRoots),
	}
}

func (a *API) createOrganization(ctx context.Context, c wire.Caller, in *awsorg.CreateOrganizationInput) (*awsorg.CreateOrganizationOutput, error) {
	o, err := a.s.CreateOrganization(ctx, c.Account, string(in.FeatureSet))
	if err != nil {
		return nil, err
	}
	return &awsorg.CreateOrganizationOutput{Organization: organization(o)}, nil
}

func (a *API) describeOrganization(ctx context.Context, c wire.Caller, _ *awsorg.DescribeOrganizationInput) (*awsorg.DescribeOrganizationOutput, error) {
	o, err := a.s.Organization(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	return &awsorg.DescribeOrganizationOutput{Organization: organization(o)}, nil
}

func (a *API) deleteOrganization(ctx context.Context, c wire.Caller, _ *awsorg.DeleteOrganizationInput) (*awsorg.DeleteOrganizationOutput, error) {
	return &awsorg.DeleteOrganizationOutput{}, a.s.DeleteOrganization(ctx, c.Account)
}

func (a *API) listRoots(ctx context.Context, c wire.Caller, in *awsorg.ListRootsInput) (*awsorg.ListRootsOutput, error) {
	o, err := a.s.Root(ctx, c.Account, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	return &awsorg.ListRootsOutput{Roots: []orgtypes.Root{*root(o)}}, nil
}

func organization(o org.Organization) *orgtypes.Organization {
	out := &orgtypes.Organization{
		Id: aws.String(o.ID), Arn: aws.String(o.ARN()), FeatureSet: orgtypes.OrganizationFeatureSet(o.FeatureSet),
		MasterAccountId: aws.String(o.Management), MasterAccountArn: aws.String(o.AccountARN(o.Management)), MasterAccountEmail: aws.String(o.Email),
		AvailablePolicyTypes: []orgtypes.PolicyTypeSummary{},
	}
	if o.FeatureSet == org.AllFeatures { // deprecated member: AWS names this one type, whatever is enabled
		out.AvailablePolicyTypes = append(out.AvailablePolicyTypes, orgtypes.PolicyTypeSummary{Type: orgtypes.PolicyTypeServiceControlPolicy, Status: orgtypes.PolicyTypeStatusEnabled})
	}
	return out
}

func root(o org.Organization) *orgtypes.Root {
	out := &orgtypes.Root{Id: aws.String(o.RootID), Arn: aws.String(o.RootARN()), Name: aws.String("Root"), PolicyTypes: []orgtypes.PolicyTypeSummary{}}
	for _, t := range o.PolicyTypes {
		out.PolicyTypes = append(out.PolicyTypes, orgtypes.PolicyTypeSummary{Type: orgtypes.PolicyType(t), Status: orgtypes.PolicyTypeStatusEnabled})
	}
	return out
}
