package orgapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/schemas"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"strongroom/internal/access"
	"strongroom/internal/org"
	"strongroom/internal/wire"
)

func (a *API) treeOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateOrganizationalUnit", schemas.CreateOrganizationalUnit, schemas.CreateOrganizationalUnitRequest, schemas.CreateOrganizationalUnitResponse,
			on(a, "CreateOrganizationalUnit", func(in *awsorg.CreateOrganizationalUnitInput) []*string { return []*string{in.ParentId} },
				func(in *awsorg.CreateOrganizationalUnitInput, c access.Context) { requestTags(c, in.Tags) }), a.createUnit),
		wire.Op("UpdateOrganizationalUnit", schemas.UpdateOrganizationalUnit, schemas.UpdateOrganizationalUnitRequest, schemas.UpdateOrganizationalUnitResponse,
			on(a, "UpdateOrganizationalUnit", func(in *awsorg.UpdateOrganizationalUnitInput) []*string { return []*string{in.OrganizationalUnitId} }), a.updateUnit),
		wire.Op("DeleteOrganizationalUnit", schemas.DeleteOrganizationalUnit, schemas.DeleteOrganizationalUnitRequest, nil,
			on(a, "DeleteOrganizationalUnit", func(in *awsorg.DeleteOrganizationalUnitInput) []*string { return []*string{in.OrganizationalUnitId} }), a.deleteUnit),
		wire.Op("DescribeOrganizationalUnit", schemas.DescribeOrganizationalUnit, schemas.DescribeOrganizationalUnitRequest, schemas.DescribeOrganizationalUnitResponse,
			on(a, "DescribeOrganizationalUnit", func(in *awsorg.DescribeOrganizationalUnitInput) []*string { return []*string{in.OrganizationalUnitId} }), a.describeUnit),
		wire.Op("ListOrganizationalUnitsForParent", schemas.ListOrganizationalUnitsForParent, schemas.ListOrganizationalUnitsForParentRequest, schemas.ListOrganizationalUnitsForParentResponse,
			on(a, "ListOrganizationalUnitsForParent", func(in *awsorg.ListOrganizationalUnitsForParentInput) []*string { return []*string{in.ParentId} }), a.listUnits),
		wire.Op("MoveAccount", schemas.MoveAccount, schemas.MoveAccountRequest, nil,
			on(a, "MoveAccount", func(in *awsorg.MoveAccountInput) []*string {
				return []*string{in.AccountId, in.SourceParentId, in.DestinationParentId}
			}), a.moveAccount),
		wire.Op("ListParents", schemas.ListParents, schemas.ListParentsRequest, schemas.ListParentsResponse,
			on(a, "ListParents", func(in *awsorg.ListParentsInput) []*string { return []*string{in.ChildId} }), a.listParents),
		wire.Op("ListChildren", schemas.ListChildren, schemas.ListChildrenRequest, schemas.ListChildrenResponse,
			on(a, "ListChildren", func(in *awsorg.ListChildrenInput) []*string { return []*string{in.ParentId} }), a.listChildren),
	}
}

func (a *API) unit(ctx context.Context, c wire.Caller, u org.Unit, err error) (*orgtypes.OrganizationalUnit, error) {
	if err != nil {
		return nil, err
	}
	o, err := a.s.Standing(ctx, c.Account)
	return &orgtypes.OrganizationalUnit{Id: aws.String(u.ID), Arn: aws.String(o.UnitARN(u.ID)), Name: aws.String(u.Name), Path: aws.String(u.Path)}, err
}

func (a *API) createUnit(ctx context.Context, c wire.Caller, in *awsorg.CreateOrganizationalUnitInput) (*awsorg.CreateOrganizationalUnitOutput, error) {
	u, err := a.s.CreateUnit(ctx, c.Account, aws.ToString(in.ParentId), aws.ToString(in.Name), tagMap(in.Tags))
	out, err := a.unit(ctx, c, u, err)
	return &awsorg.CreateOrganizationalUnitOutput{OrganizationalUnit: out}, err
}

func (a *API) updateUnit(ctx context.Context, c wire.Caller, in *awsorg.UpdateOrganizationalUnitInput) (*awsorg.UpdateOrganizationalUnitOutput, error) {
	u, err := a.s.RenameUnit(ctx, c.Account, aws.ToString(in.OrganizationalUnitId), in.Name)
	out, err := a.unit(ctx, c, u, err)
	return &awsorg.UpdateOrganizationalUnitOutput{OrganizationalUnit: out}, err
}

func (a *API) deleteUnit(ctx context.Context, c wire.Caller, in *awsorg.DeleteOrganizationalUnitInput) (*awsorg.DeleteOrganizationalUnitOutput, error) {
	return &awsorg.DeleteOrganizationalUnitOutput{}, a.s.DeleteUnit(ctx, c.Account, aws.ToString(in.OrganizationalUnitId))
}

func (a *API) describeUnit(ctx context.Context, c wire.Caller, in *awsorg.DescribeOrganizationalUnitInput) (*awsorg.DescribeOrganizationalUnitOutput, error) {
	u, err := a.s.Unit(ctx, c.Account, aws.ToString(in.OrganizationalUnitId))
	out, err := a.unit(ctx, c, u, err)
	return &awsorg.DescribeOrganizationalUnitOutput{OrganizationalUnit: out}, err
}

func (a *API) listUnits(ctx context.Context, c wire.Caller, in *awsorg.ListOrganizationalUnitsForParentInput) (*awsorg.ListOrganizationalUnitsForParentOutput, error) {
	list, next, err := a.s.Units(ctx, c.Account, aws.ToString(in.ParentId), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsorg.ListOrganizationalUnitsForParentOutput{OrganizationalUnits: []orgtypes.OrganizationalUnit{}, NextToken: text(next)}
	for _, u := range list {
		one, err := a.unit(ctx, c, u, nil)
		if err != nil {
			return nil, err
		}
		out.OrganizationalUnits = append(out.OrganizationalUnits, *one)
	}
	return out, nil
}

func (a *API) moveAccount(ctx context.Context, c wire.Caller, in *awsorg.MoveAccountInput) (*awsorg.MoveAccountOutput, error) {
	return &awsorg.MoveAccountOutput{}, a.s.MoveAccount(ctx, c.Account, aws.ToString(in.AccountId), aws.ToString(in.SourceParentId), aws.ToString(in.DestinationParentId))
}

func (a *API) listParents(ctx context.Context, c wire.Caller, in *awsorg.ListParentsInput) (*awsorg.ListParentsOutput, error) {
	n, err := a.s.Parent(ctx, c.Account, aws.ToString(in.ChildId), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	return &awsorg.ListParentsOutput{Parents: []orgtypes.Parent{{Id: aws.String(n.ID), Type: orgtypes.ParentType(n.Type)}}}, nil
}

func (a *API) listChildren(ctx context.Context, c wire.Caller, in *awsorg.ListChildrenInput) (*awsorg.ListChildrenOutput, error) {
	list, next, err := a.s.Children(ctx, c.Account, aws.ToString(in.ParentId), string(in.ChildType), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsorg.ListChildrenOutput{Children: []orgtypes.Child{}, NextToken: text(next)}
	for _, n := range list {
		out.Children = append(out.Children, orgtypes.Child{Id: aws.String(n.ID), Type: orgtypes.ChildType(n.Type)})
	}
	return out, nil
}
