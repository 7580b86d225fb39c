package iamapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"

	"strongroom/internal/fault"
	"strongroom/internal/wire"
)

func (a api) accountOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateAccountAlias", nil, nil, nil, onAll[awsiam.CreateAccountAliasInput]("iam:CreateAccountAlias"), a.createAccountAlias),
		wire.Op("ListAccountAliases", nil, nil, nil, onAll[awsiam.ListAccountAliasesInput]("iam:ListAccountAliases"), a.listAccountAliases),
		wire.Op("DeleteAccountAlias", nil, nil, nil, onAll[awsiam.DeleteAccountAliasInput]("iam:DeleteAccountAlias"), a.deleteAccountAlias),
		wire.Op("GetAccountSummary", nil, nil, nil, onAll[awsiam.GetAccountSummaryInput]("iam:GetAccountSummary"), a.getAccountSummary),
	}
}

func (a api) createAccountAlias(ctx context.Context, c wire.Caller, in *awsiam.CreateAccountAliasInput) (*awsiam.CreateAccountAliasOutput, error) {
	return &awsiam.CreateAccountAliasOutput{}, a.s.SetAlias(ctx, c.Account, aws.ToString(in.AccountAlias))
}

func (a api) listAccountAliases(ctx context.Context, c wire.Caller, _ *awsiam.ListAccountAliasesInput) (*awsiam.ListAccountAliasesOutput, error) {
	out := &awsiam.ListAccountAliasesOutput{AccountAliases: []string{}}
	alias, err := a.s.Alias(ctx, c.Account)
	if alias != "" {
		out.AccountAliases = []string{alias}
	}
	return out, err
}

func (a api) deleteAccountAlias(ctx context.Context, c wire.Caller, in *awsiam.DeleteAccountAliasInput) (*awsiam.DeleteAccountAliasOutput, error) {
	alias, err := a.s.Alias(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	if alias == "" || alias != aws.ToString(in.AccountAlias) {
		return nil, fault.New(fault.NotFound, "The account alias %s was not found.", aws.ToString(in.AccountAlias))
	}
	return &awsiam.DeleteAccountAliasOutput{}, a.s.SetAlias(ctx, c.Account, "")
}

func (a api) getAccountSummary(ctx context.Context, c wire.Caller, _ *awsiam.GetAccountSummaryInput) (*awsiam.GetAccountSummaryOutput, error) {
	sum, err := a.s.Summary(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	out := &awsiam.GetAccountSummaryOutput{SummaryMap: make(map[string]int32, len(sum))}
	for k, v := range sum {
		out.SummaryMap[k] = int32(v)
	}
	return out, nil
}
