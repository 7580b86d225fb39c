package orgapi_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/smithy-go"

	"strongroom/internal/access"
	"strongroom/internal/api/orgapi"
	"strongroom/internal/arn"
	"strongroom/internal/authz"
	"strongroom/internal/clock"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/org"
	"strongroom/internal/policy"
	"strongroom/internal/wire"
)

const (
	mgmt = "999999999999"
	prod = "111111111111"
	vlt  = "222222222222"
	svc  = "backup.amazonaws.com"
)

type noRoles struct{}

func (noRoles) CreateAccessRole(context.Context, string, string, string) error { return nil }

// rootOnly knows nothing but root users, which need no identity policies.
type rootOnly struct{}

func (rootOnly) Policies(context.Context, access.Principal) (policy.Identities, error) {
	return policy.Identities{}, nil
}

func newWorld(t *testing.T) func(account string) *awsorg.Client {
	t.Helper()
	t.Parallel()
	c := clock.System{}
	s, err := org.New(t.Context(), org.Config{DB: dbtest.SQLite(t, c.Now), Clock: c, Accounts: noRoles{}})
	ok(t, err)
	ok(t, s.AddFirstAccount(t.Context(), mgmt))
	a := authz.New(authz.Config{Identities: rootOnly{}, Guardrails: s})
	h, err := wire.NewHandler(wire.Config{
		Services: []wire.Service{orgapi.Service(s)}, Regions: []string{"us-east-1"}, Clock: c,
		Authenticate: func(_ context.Context, id, _ string) (wire.Identity, error) {
			return wire.Identity{Secret: "secret", Principal: access.Principal{Kind: access.Root, Account: id, ARN: arn.Root(id), ID: id}}, nil
		},
		Authorize: func(ctx context.Context, c wire.Caller, checks []access.Check) error {
			return a.Authorize(ctx, c.Principal, c.Env, checks...)
		},
	})
	ok(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return func(account string) *awsorg.Client {
		return awsorg.New(awsorg.Options{Region: "us-east-1", BaseEndpoint: aws.String(srv.URL), Credentials: credentials.NewStaticCredentialsProvider(account, "secret", ""), RetryMaxAttempts: 1})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Fatalf("want %s, got %v", code, err)
	}
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	var in *orgtypes.InvalidInputException
	var limit *orgtypes.ConstraintViolationException
	switch {
	case errors.As(err, &in) && string(in.Reason) == reason:
	case errors.As(err, &limit) && string(limit.Reason) == reason:
	default:
		t.Fatalf("want %s, got %#v", reason, err)
	}
}

func create(t *testing.T, c *awsorg.Client, id string) {
	t.Helper()
	out, err := c.CreateAccount(t.Context(), &awsorg.CreateAccountInput{Email: aws.String("a" + id + "@example.com"), AccountName: aws.String("n" + id),
		Tags: []orgtypes.Tag{{Key: aws.String(org.AccountIDTag), Value: aws.String(id)}}})
	ok(t, err)
	st, err := c.DescribeCreateAccountStatus(t.Context(), &awsorg.DescribeCreateAccountStatusInput{CreateAccountRequestId: out.CreateAccountStatus.Id})
	if err != nil || st.CreateAccountStatus.State != orgtypes.CreateAccountStateSucceeded || *st.CreateAccountStatus.AccountId != id || st.CreateAccountStatus.CompletedTimestamp == nil {
		t.Fatalf("%+v %v", st, err)
	}
}

func TestOrganizationThroughTheAPI(t *testing.T) {
	as := newWorld(t)
	ctx, c := t.Context(), as(mgmt)
	_, err := c.DescribeOrganization(ctx, &awsorg.DescribeOrganizationInput{})
	wantCode(t, err, "AWSOrganizationsNotInUseException")
	made, err := c.CreateOrganization(ctx, &awsorg.CreateOrganizationInput{FeatureSet: orgtypes.OrganizationFeatureSetAll})
	ok(t, err)
	o := made.Organization
	if *o.MasterAccountId != mgmt || *o.Arn != "arn:aws:organizations::"+mgmt+":organization/"+*o.Id || len(o.AvailablePolicyTypes) != 1 {
		t.Fatalf("%+v", o)
	}
	create(t, c, prod)
	create(t, c, vlt)
	if d, err := as(prod).DescribeOrganization(ctx, &awsorg.DescribeOrganizationInput{}); err != nil || *d.Organization.Id != *o.Id {
		t.Fatal(err)
	}
	_, err = as(prod).ListAccounts(ctx, &awsorg.ListAccountsInput{})
	wantCode(t, err, "AccessDeniedException")
	roots, err := c.ListRoots(ctx, &awsorg.ListRootsInput{})
	if err != nil || len(roots.Roots) != 1 || roots.Roots[0].PolicyTypes[0].Status != orgtypes.PolicyTypeStatusEnabled {
		t.Fatalf("%+v %v", roots, err)
	}
	root := roots.Roots[0].Id
	seen := 0
	p := awsorg.NewListAccountsPaginator(c, &awsorg.ListAccountsInput{MaxResults: aws.Int32(1)})
	for p.HasMorePages() {
		out, err := p.NextPage(ctx)
		ok(t, err)
		for _, a := range out.Accounts {
			seen++
			if a.State != orgtypes.AccountStateActive || a.Status != orgtypes.AccountStatusActive || *a.Arn != "arn:aws:organizations::"+mgmt+":account/"+*o.Id+"/"+*a.Id || a.Paths[0] != *o.Id+"/"+*root+"/"+*a.Id+"/" {
				t.Fatalf("%+v", a)
			}
		}
	}
	if seen != 3 {
		t.Fatal(seen)
	}
	u, err := c.CreateOrganizationalUnit(ctx, &awsorg.CreateOrganizationalUnitInput{ParentId: root, Name: aws.String("u")})
	ok(t, err)
	_, err = c.MoveAccount(ctx, &awsorg.MoveAccountInput{AccountId: aws.String(prod), SourceParentId: root, DestinationParentId: u.OrganizationalUnit.Id})
	ok(t, err)
	parents, err := c.ListParents(ctx, &awsorg.ListParentsInput{ChildId: aws.String(prod)})
	if err != nil || len(parents.Parents) != 1 || *parents.Parents[0].Id != *u.OrganizationalUnit.Id || parents.Parents[0].Type != orgtypes.ParentTypeOrganizationalUnit {
		t.Fatalf("%+v %v", parents, err)
	}
	kids, err := c.ListChildren(ctx, &awsorg.ListChildrenInput{ParentId: u.OrganizationalUnit.Id, ChildType: orgtypes.ChildTypeAccount})
	if err != nil || len(kids.Children) != 1 {
		t.Fatal(err)
	}
	_, err = c.TagResource(ctx, &awsorg.TagResourceInput{ResourceId: u.OrganizationalUnit.Id, Tags: []orgtypes.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	ok(t, err)
	tags, err := c.ListTagsForResource(ctx, &awsorg.ListTagsForResourceInput{ResourceId: u.OrganizationalUnit.Id})
	if err != nil || len(tags.Tags) != 1 {
		t.Fatal(err)
	}
	_, err = c.ListAccounts(ctx, &awsorg.ListAccountsInput{MaxResults: aws.Int32(21)})
	wantReason(t, err, "MAX_VALUE_EXCEEDED:MAX_RESULTS")
	_, err = c.ListAccounts(ctx, &awsorg.ListAccountsInput{NextToken: aws.String("forged")})
	wantReason(t, err, "INVALID_NEXT_TOKEN")
	_, err = c.ListPolicies(ctx, &awsorg.ListPoliciesInput{Filter: "NONE"})
	wantReason(t, err, "INVALID_ENUM:POLICY_TYPE")
	_, err = c.CloseAccount(ctx, &awsorg.CloseAccountInput{AccountId: aws.String(prod)})
	wantCode(t, err, "UnsupportedOperationException")
	_, err = c.LeaveOrganization(ctx, &awsorg.LeaveOrganizationInput{})
	wantCode(t, err, "MasterCannotLeaveOrganizationException")
	_, err = c.DeleteOrganization(ctx, &awsorg.DeleteOrganizationInput{})
	wantCode(t, err, "OrganizationNotEmptyException")
}

// A service control policy binds the member's root user from the moment it is attached, and never the management account.
func TestGuardrailsBindThroughTheAPI(t *testing.T) {
	as := newWorld(t)
	ctx, c := t.Context(), as(mgmt)
	_, err := c.CreateOrganization(ctx, &awsorg.CreateOrganizationInput{})
	ok(t, err)
	create(t, c, prod)
	roots, err := c.ListRoots(ctx, &awsorg.ListRootsInput{})
	ok(t, err)
	p, err := c.CreatePolicy(ctx, &awsorg.CreatePolicyInput{Name: aws.String("stay"), Description: aws.String(""), Type: orgtypes.PolicyTypeServiceControlPolicy,
		Content: aws.String(`{"Version":"2012-10-17","Statement":[{"Sid":"Stay","Effect":"Deny","Action":"organizations:*","Resource":"*"}]}`)})
	ok(t, err)
	id := p.Policy.PolicySummary.Id
	describe := func(account string) error {
		_, err := as(account).DescribeOrganization(ctx, &awsorg.DescribeOrganizationInput{})
		return err
	}
	ok(t, describe(prod))
	_, err = c.AttachPolicy(ctx, &awsorg.AttachPolicyInput{PolicyId: id, TargetId: roots.Roots[0].Id})
	ok(t, err)
	wantCode(t, describe(prod), "AccessDeniedException")
	if !strings.Contains(describe(prod).Error(), "with an explicit deny in a service control policy") {
		t.Fatal(describe(prod))
	}
	ok(t, describe(mgmt))
	targets, err := c.ListTargetsForPolicy(ctx, &awsorg.ListTargetsForPolicyInput{PolicyId: id})
	if err != nil || len(targets.Targets) != 1 || targets.Targets[0].Type != orgtypes.TargetTypeRoot || *targets.Targets[0].Arn != *roots.Roots[0].Arn {
		t.Fatalf("%+v %v", targets, err)
	}
	_, err = c.DetachPolicy(ctx, &awsorg.DetachPolicyInput{PolicyId: aws.String(org.FullAccessID), TargetId: aws.String(prod)})
	wantReason(t, err, "MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED")
	_, err = c.DetachPolicy(ctx, &awsorg.DetachPolicyInput{PolicyId: id, TargetId: roots.Roots[0].Id})
	ok(t, err)
	ok(t, describe(prod))
	_, err = c.EnablePolicyType(ctx, &awsorg.EnablePolicyTypeInput{RootId: roots.Roots[0].Id, PolicyType: orgtypes.PolicyTypeBackupPolicy})
	wantCode(t, err, "UnsupportedAPIEndpointException")
	_, err = c.CreatePolicy(ctx, &awsorg.CreatePolicyInput{Name: aws.String("bad"), Description: aws.String(""), Type: orgtypes.PolicyTypeServiceControlPolicy, Content: aws.String("{}")})
	wantCode(t, err, "MalformedPolicyDocumentException")
}

func TestDelegationThroughTheAPI(t *testing.T) {
	as := newWorld(t)
	ctx, c := t.Context(), as(mgmt)
	_, err := c.CreateOrganization(ctx, &awsorg.CreateOrganizationInput{})
	ok(t, err)
	create(t, c, vlt)
	_, err = c.RegisterDelegatedAdministrator(ctx, &awsorg.RegisterDelegatedAdministratorInput{AccountId: aws.String(vlt), ServicePrincipal: aws.String(svc)})
	wantReason(t, err, "SERVICE_ACCESS_NOT_ENABLED")
	_, err = c.EnableAWSServiceAccess(ctx, &awsorg.EnableAWSServiceAccessInput{ServicePrincipal: aws.String(svc)})
	ok(t, err)
	_, err = c.RegisterDelegatedAdministrator(ctx, &awsorg.RegisterDelegatedAdministratorInput{AccountId: aws.String(vlt), ServicePrincipal: aws.String(svc)})
	ok(t, err)
	list, err := as(vlt).ListDelegatedAdministrators(ctx, &awsorg.ListDelegatedAdministratorsInput{ServicePrincipal: aws.String(svc)})
	if err != nil || len(list.DelegatedAdministrators) != 1 || *list.DelegatedAdministrators[0].Id != vlt || list.DelegatedAdministrators[0].DelegationEnabledDate == nil {
		t.Fatalf("%+v %v", list, err)
	}
	if a, err := as(vlt).DescribeAccount(ctx, &awsorg.DescribeAccountInput{AccountId: aws.String(mgmt)}); err != nil || *a.Account.Id != mgmt {
		t.Fatal(err)
	}
	services, err := c.ListDelegatedServicesForAccount(ctx, &awsorg.ListDelegatedServicesForAccountInput{AccountId: aws.String(vlt)})
	if err != nil || len(services.DelegatedServices) != 1 {
		t.Fatal(err)
	}
	trusted, err := c.ListAWSServiceAccessForOrganization(ctx, &awsorg.ListAWSServiceAccessForOrganizationInput{})
	if err != nil || len(trusted.EnabledServicePrincipals) != 1 {
		t.Fatal(err)
	}
	_, err = c.DeregisterDelegatedAdministrator(ctx, &awsorg.DeregisterDelegatedAdministratorInput{AccountId: aws.String(vlt), ServicePrincipal: aws.String(svc)})
	ok(t, err)
	_, err = as(vlt).ListDelegatedAdministrators(ctx, &awsorg.ListDelegatedAdministratorsInput{})
	wantCode(t, err, "AccessDeniedException")
}
