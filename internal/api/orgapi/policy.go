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

const typeKey = "organizations:PolicyType"

func (a *API) policyOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("EnablePolicyType", schemas.EnablePolicyType, schemas.EnablePolicyTypeRequest, schemas.EnablePolicyTypeResponse,
			on(a, "EnablePolicyType", func(in *awsorg.EnablePolicyTypeInput) []*string { return []*string{in.RootId} },
				func(in *awsorg.EnablePolicyTypeInput, c access.Context) { c.Set(typeKey, string(in.PolicyType)) }), a.enablePolicyType),
		wire.Op("DisablePolicyType", schemas.DisablePolicyType, schemas.DisablePolicyTypeRequest, schemas.DisablePolicyTypeResponse,
			on(a, "DisablePolicyType", func(in *awsorg.DisablePolicyTypeInput) []*string { return []*string{in.RootId} },
				func(in *awsorg.DisablePolicyTypeInput, c access.Context) { c.Set(typeKey, string(in.PolicyType)) }), a.disablePolicyType),
		wire.Op("CreatePolicy", schemas.CreatePolicy, schemas.CreatePolicyRequest, schemas.CreatePolicyResponse,
			onAll("CreatePolicy", func(in *awsorg.CreatePolicyInput, c access.Context) {
				c.Set(typeKey, string(in.Type))
				requestTags(c, in.Tags)
			}), a.createPolicy),
		wire.Op("UpdatePolicy", schemas.UpdatePolicy, schemas.UpdatePolicyRequest, schemas.UpdatePolicyResponse,
			on(a, "UpdatePolicy", func(in *awsorg.UpdatePolicyInput) []*string { return []*string{in.PolicyId} }, scp[awsorg.UpdatePolicyInput]), a.updatePolicy),
		wire.Op("DeletePolicy", schemas.DeletePolicy, schemas.DeletePolicyRequest, nil,
			on(a, "DeletePolicy", func(in *awsorg.DeletePolicyInput) []*string { return []*string{in.PolicyId} }, scp[awsorg.DeletePolicyInput]), a.deletePolicy),
		wire.Op("DescribePolicy", schemas.DescribePolicy, schemas.DescribePolicyRequest, schemas.DescribePolicyResponse,
			on(a, "DescribePolicy", func(in *awsorg.DescribePolicyInput) []*string { return []*string{in.PolicyId} }, scp[awsorg.DescribePolicyInput]), a.describePolicy),
		wire.Op("ListPolicies", schemas.ListPolicies, schemas.ListPoliciesRequest, schemas.ListPoliciesResponse,
			onAll("ListPolicies", func(in *awsorg.ListPoliciesInput, c access.Context) { c.Set(typeKey, string(in.Filter)) }), a.listPolicies),
		wire.Op("AttachPolicy", schemas.AttachPolicy, schemas.AttachPolicyRequest, nil,
			on(a, "AttachPolicy", func(in *awsorg.AttachPolicyInput) []*string { return []*string{in.PolicyId, in.TargetId} }, scp[awsorg.AttachPolicyInput]), a.attachPolicy),
		wire.Op("DetachPolicy", schemas.DetachPolicy, schemas.DetachPolicyRequest, nil,
			on(a, "DetachPolicy", func(in *awsorg.DetachPolicyInput) []*string { return []*string{in.PolicyId, in.TargetId} }, scp[awsorg.DetachPolicyInput]), a.detachPolicy),
		wire.Op("ListPoliciesForTarget", schemas.ListPoliciesForTarget, schemas.ListPoliciesForTargetRequest, schemas.ListPoliciesForTargetResponse,
			on(a, "ListPoliciesForTarget", func(in *awsorg.ListPoliciesForTargetInput) []*string { return []*string{in.TargetId} },
				func(in *awsorg.ListPoliciesForTargetInput, c access.Context) { c.Set(typeKey, string(in.Filter)) }), a.listPoliciesForTarget),
		wire.Op("ListTargetsForPolicy", schemas.ListTargetsForPolicy, schemas.ListTargetsForPolicyRequest, schemas.ListTargetsForPolicyResponse,
			on(a, "ListTargetsForPolicy", func(in *awsorg.ListTargetsForPolicyInput) []*string { return []*string{in.PolicyId} }, scp[awsorg.ListTargetsForPolicyInput]), a.listTargetsForPolicy),
	}
}

// scp sets the type of a policy that is named by its id; there is one type so far.
func scp[In any](_ *In, c access.Context) { c.Set(typeKey, org.SCP) }

func (a *API) enablePolicyType(ctx context.Context, c wire.Caller, in *awsorg.EnablePolicyTypeInput) (*awsorg.EnablePolicyTypeOutput, error) {
	o, err := a.s.EnableType(ctx, c.Account, aws.ToString(in.RootId), string(in.PolicyType))
	return &awsorg.EnablePolicyTypeOutput{Root: root(o)}, err
}

func (a *API) disablePolicyType(ctx context.Context, c wire.Caller, in *awsorg.DisablePolicyTypeInput) (*awsorg.DisablePolicyTypeOutput, error) {
	o, err := a.s.DisableType(ctx, c.Account, aws.ToString(in.RootId), string(in.PolicyType))
	return &awsorg.DisablePolicyTypeOutput{Root: root(o)}, err
}

func (a *API) policy(ctx context.Context, c wire.Caller, p org.Policy, err error) (*orgtypes.Policy, error) {
	if err != nil {
		return nil, err
	}
	list, err := a.summaries(ctx, c, []org.Policy{p})
	if err != nil {
		return nil, err
	}
	return &orgtypes.Policy{PolicySummary: &list[0], Content: aws.String(p.Content)}, nil
}

func (a *API) summaries(ctx context.Context, c wire.Caller, list []org.Policy) ([]orgtypes.PolicySummary, error) {
	o, err := a.s.Standing(ctx, c.Account)
	out := make([]orgtypes.PolicySummary, 0, len(list))
	for _, p := range list {
		out = append(out, orgtypes.PolicySummary{
			Id: aws.String(p.ID), Arn: aws.String(o.PolicyARN(p.ID, p.Type)), Name: aws.String(p.Name), Description: aws.String(p.Description), Type: orgtypes.PolicyType(p.Type), AwsManaged: p.AWSManaged,
		})
	}
	return out, err
}

func (a *API) createPolicy(ctx context.Context, c wire.Caller, in *awsorg.CreatePolicyInput) (*awsorg.CreatePolicyOutput, error) {
	p, err := a.s.CreatePolicy(ctx, c.Account, org.Policy{Type: string(in.Type), Name: aws.ToString(in.Name), Description: aws.ToString(in.Description), Content: aws.ToString(in.Content)}, tagMap(in.Tags))
	out, err := a.policy(ctx, c, p, err)
	return &awsorg.CreatePolicyOutput{Policy: out}, err
}

func (a *API) updatePolicy(ctx context.Context, c wire.Caller, in *awsorg.UpdatePolicyInput) (*awsorg.UpdatePolicyOutput, error) {
	p, err := a.s.UpdatePolicy(ctx, c.Account, aws.ToString(in.PolicyId), in.Name, in.Description, in.Content)
	out, err := a.policy(ctx, c, p, err)
	return &awsorg.UpdatePolicyOutput{Policy: out}, err
}

func (a *API) deletePolicy(ctx context.Context, c wire.Caller, in *awsorg.DeletePolicyInput) (*awsorg.DeletePolicyOutput, error) {
	return &awsorg.DeletePolicyOutput{}, a.s.DeletePolicy(ctx, c.Account, aws.ToString(in.PolicyId))
}

func (a *API) describePolicy(ctx context.Context, c wire.Caller, in *awsorg.DescribePolicyInput) (*awsorg.DescribePolicyOutput, error) {
	p, err := a.s.Policy(ctx, c.Account, aws.ToString(in.PolicyId))
	out, err := a.policy(ctx, c, p, err)
	return &awsorg.DescribePolicyOutput{Policy: out}, err
}

func (a *API) listPolicies(ctx context.Context, c wire.Caller, in *awsorg.ListPoliciesInput) (*awsorg.ListPoliciesOutput, error) {
	list, next, err := a.s.Policies(ctx, c.Account, string(in.Filter), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out, err := a.summaries(ctx, c, list)
	return &awsorg.ListPoliciesOutput{Policies: out, NextToken: text(next)}, err
}

func (a *API) attachPolicy(ctx context.Context, c wire.Caller, in *awsorg.AttachPolicyInput) (*awsorg.AttachPolicyOutput, error) {
	return &awsorg.AttachPolicyOutput{}, a.s.Attach(ctx, c.Account, aws.ToString(in.PolicyId), aws.ToString(in.TargetId))
}

func (a *API) detachPolicy(ctx context.Context, c wire.Caller, in *awsorg.DetachPolicyInput) (*awsorg.DetachPolicyOutput, error) {
	return &awsorg.DetachPolicyOutput{}, a.s.Detach(ctx, c.Account, aws.ToString(in.PolicyId), aws.ToString(in.TargetId))
}

func (a *API) listPoliciesForTarget(ctx context.Context, c wire.Caller, in *awsorg.ListPoliciesForTargetInput) (*awsorg.ListPoliciesForTargetOutput, error) {
	list, next, err := a.s.PoliciesFor(ctx, c.Account, aws.ToString(in.TargetId), string(in.Filter), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out, err := a.summaries(ctx, c, list)
	return &awsorg.ListPoliciesForTargetOutput{Policies: out, NextToken: text(next)}, err
}

func (a *API) listTargetsForPolicy(ctx context.Context, c wire.Caller, in *awsorg.ListTargetsForPolicyInput) (*awsorg.ListTargetsForPolicyOutput, error) {
	list, next, err := a.s.Targets(ctx, c.Account, aws.ToString(in.PolicyId), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	o, err := a.s.Standing(ctx, c.Account)
	out := &awsorg.ListTargetsForPolicyOutput{Targets: []orgtypes.PolicyTargetSummary{}, NextToken: text(next)}
	for _, n := range list {
		out.Targets = append(out.Targets, orgtypes.PolicyTargetSummary{TargetId: aws.String(n.ID), Arn: aws.String(o.TargetARN(n.ID)), Name: aws.String(n.Name), Type: orgtypes.TargetType(n.Type)})
	}
	return out, err
}
