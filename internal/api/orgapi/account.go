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

func (a *API) accountOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateAccount", schemas.CreateAccount, schemas.CreateAccountRequest, schemas.CreateAccountResponse,
			onAll("CreateAccount", func(in *awsorg.CreateAccountInput, c access.Context) { requestTags(c, in.Tags) }), a.createAccount),
		wire.Op("DescribeCreateAccountStatus", schemas.DescribeCreateAccountStatus, schemas.DescribeCreateAccountStatusRequest, schemas.DescribeCreateAccountStatusResponse,
			onAll[awsorg.DescribeCreateAccountStatusInput]("DescribeCreateAccountStatus"), a.describeCreateAccountStatus),
		wire.Op("ListCreateAccountStatus", schemas.ListCreateAccountStatus, schemas.ListCreateAccountStatusRequest, schemas.ListCreateAccountStatusResponse,
			onAll[awsorg.ListCreateAccountStatusInput]("ListCreateAccountStatus"), a.listCreateAccountStatus),
		wire.Op("ListAccounts", schemas.ListAccounts, schemas.ListAccountsRequest, schemas.ListAccountsResponse, onAll[awsorg.ListAccountsInput]("ListAccounts"), a.listAccounts),
		wire.Op("DescribeAccount", schemas.DescribeAccount, schemas.DescribeAccountRequest, schemas.DescribeAccountResponse,
			on(a, "DescribeAccount", func(in *awsorg.DescribeAccountInput) []*string { return []*string{in.AccountId} }), a.describeAccount),
		wire.Op("ListAccountsForParent", schemas.ListAccountsForParent, schemas.ListAccountsForParentRequest, schemas.ListAccountsForParentResponse,
			on(a, "ListAccountsForParent", func(in *awsorg.ListAccountsForParentInput) []*string { return []*string{in.ParentId} }), a.listAccountsForParent),
		wire.Op("RemoveAccountFromOrganization", schemas.RemoveAccountFromOrganization, schemas.RemoveAccountFromOrganizationRequest, nil,
			on(a, "RemoveAccountFromOrganization", func(in *awsorg.RemoveAccountFromOrganizationInput) []*string { return []*string{in.AccountId} }), a.removeAccount),
		wire.Op("LeaveOrganization", schemas.LeaveOrganization, nil, nil, onAll[awsorg.LeaveOrganizationInput]("LeaveOrganization"), a.leaveOrganization),
	}
}

func (a *API) createAccount(ctx context.Context, c wire.Caller, in *awsorg.CreateAccountInput) (*awsorg.CreateAccountOutput, error) {
	r, err := a.s.CreateAccount(ctx, c.Account, org.NewAccount{Email: aws.ToString(in.Email), Name: aws.ToString(in.AccountName), Role: aws.ToString(in.RoleName), Tags: tagMap(in.Tags)})
	if err != nil {
		return nil, err
	}
	return &awsorg.CreateAccountOutput{CreateAccountStatus: request(r)}, nil
}

func (a *API) describeCreateAccountStatus(ctx context.Context, c wire.Caller, in *awsorg.DescribeCreateAccountStatusInput) (*awsorg.DescribeCreateAccountStatusOutput, error) {
	r, err := a.s.AccountRequest(ctx, c.Account, aws.ToString(in.CreateAccountRequestId))
	if err != nil {
		return nil, err
	}
	return &awsorg.DescribeCreateAccountStatusOutput{CreateAccountStatus: request(r)}, nil
}

func (a *API) listCreateAccountStatus(ctx context.Context, c wire.Caller, in *awsorg.ListCreateAccountStatusInput) (*awsorg.ListCreateAccountStatusOutput, error) {
	var states []string
	for _, s := range in.States {
		states = append(states, string(s))
	}
	list, next, err := a.s.AccountRequests(ctx, c.Account, states, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsorg.ListCreateAccountStatusOutput{CreateAccountStatuses: []orgtypes.CreateAccountStatus{}, NextToken: text(next)}
	for _, r := range list {
		out.CreateAccountStatuses = append(out.CreateAccountStatuses, *request(r))
	}
	return out, nil
}

func request(r org.AccountRequest) *orgtypes.CreateAccountStatus {
	s := &orgtypes.CreateAccountStatus{
		Id: aws.String(r.ID), AccountName: aws.String(r.Name), State: orgtypes.CreateAccountState(r.State), FailureReason: orgtypes.CreateAccountFailureReason(r.Reason),
		RequestedTimestamp: aws.Time(r.Requested), AccountId: text(r.AccountID),
	}
	if !r.Completed.IsZero() {
		s.CompletedTimestamp = aws.Time(r.Completed)
	}
	return s
}

func (a *API) listAccounts(ctx context.Context, c wire.Caller, in *awsorg.ListAccountsInput) (*awsorg.ListAccountsOutput, error) {
	list, next, err := a.s.Accounts(ctx, c.Account, page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	accounts, err := a.accounts(ctx, c, list)
	return &awsorg.ListAccountsOutput{Accounts: accounts, NextToken: text(next)}, err
}

func (a *API) describeAccount(ctx context.Context, c wire.Caller, in *awsorg.DescribeAccountInput) (*awsorg.DescribeAccountOutput, error) {
	one, err := a.s.Account(ctx, c.Account, aws.ToString(in.AccountId))
	if err != nil {
		return nil, err
	}
	list, err := a.accounts(ctx, c, []org.Account{one})
	if err != nil {
		return nil, err
	}
	return &awsorg.DescribeAccountOutput{Account: &list[0]}, nil
}

func (a *API) listAccountsForParent(ctx context.Context, c wire.Caller, in *awsorg.ListAccountsForParentInput) (*awsorg.ListAccountsForParentOutput, error) {
	list, next, err := a.s.AccountsFor(ctx, c.Account, aws.ToString(in.ParentId), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	accounts, err := a.accounts(ctx, c, list)
	return &awsorg.ListAccountsForParentOutput{Accounts: accounts, NextToken: text(next)}, err
}

func (a *API) accounts(ctx context.Context, c wire.Caller, list []org.Account) ([]orgtypes.Account, error) {
	o, err := a.s.Standing(ctx, c.Account)
	out := make([]orgtypes.Account, 0, len(list))
	for _, l := range list {
		e := orgtypes.Account{
			Id: aws.String(l.ID), Arn: aws.String(o.AccountARN(l.ID)), Name: aws.String(l.Name), Email: aws.String(l.Email), JoinedMethod: orgtypes.AccountJoinedMethod(l.Method),
			JoinedTimestamp: aws.Time(l.Joined), State: orgtypes.AccountState(l.State), Status: status(l),
		}
		if l.Path != "" {
			e.Paths = []string{l.Path}
		}
		out = append(out, e)
	}
	return out, err
}

// status is the older of the two words for an account's state; it has none for an account that is being created.
func status(a org.Account) orgtypes.AccountStatus {
	if a.State == org.Active {
		return orgtypes.AccountStatusActive
	}
	return ""
}

func (a *API) removeAccount(ctx context.Context, c wire.Caller, in *awsorg.RemoveAccountFromOrganizationInput) (*awsorg.RemoveAccountFromOrganizationOutput, error) {
	return &awsorg.RemoveAccountFromOrganizationOutput{}, a.s.RemoveAccount(ctx, c.Account, aws.ToString(in.AccountId))
}

func (a *API) leaveOrganization(ctx context.Context, c wire.Caller, _ *awsorg.LeaveOrganizationInput) (*awsorg.LeaveOrganizationOutput, error) {
	return &awsorg.LeaveOrganizationOutput{}, a.s.LeaveOrganization(ctx, c.Account)
}
