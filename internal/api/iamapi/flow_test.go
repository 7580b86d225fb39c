package iamapi_test

import (
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"strongroom/internal/iam"
)

const byBackup = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// The beginning of the cross-account story: root key, administrator, entering a member account, service role.
func TestAnAdministratorEntersAMemberAccount(t *testing.T) {
	n, root := newNode(t)
	who, err := n.stsAs(root).GetCallerIdentity(n.ctx, &awssts.GetCallerIdentityInput{})
	n.ok(err)
	if *who.Account != mgmt || *who.Arn != "arn:aws:iam::999999999999:root" || *who.UserId != mgmt {
		t.Errorf("root is %v %v %v", *who.Account, *who.Arn, *who.UserId)
	}
	admin := n.user(root, "admin", iam.AdministratorAccess)
	forged := creds{id: admin.id, secret: "wrongwrongwrongwrongwrongwrongwrongwrong"}
	_, err = n.stsAs(forged).GetCallerIdentity(n.ctx, &awssts.GetCallerIdentityInput{})
	n.refused(err, "SignatureDoesNotMatch", "")

	role := "arn:aws:iam::111111111111:role/OrganizationAccountAccessRole"
	_, err = n.stsAs(admin).AssumeRole(n.ctx, &awssts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("setup")})
	n.refused(err, "AccessDenied", "User: arn:aws:iam::999999999999:user/admin is not authorized to perform: sts:AssumeRole on resource: "+role)
	missing := err.Error()
	n.ok(n.iam.CreateAccessRole(n.ctx, prod, "OrganizationAccountAccessRole", vault))
	_, err = n.stsAs(admin).AssumeRole(n.ctx, &awssts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("setup")})
	n.refused(err, "AccessDenied", "")
	if err == nil || len(err.Error()) != len(missing) { // the request ids differ
		t.Errorf("a role that trusts others answers %v, one that is not there %v", err, missing)
	}
	n.ok(n.iam.CreateAccessRole(n.ctx, prod, "MgmtAccess", mgmt))
	inside := n.assume(admin, &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111111111111:role/MgmtAccess")})
	who, err = n.stsAs(inside).GetCallerIdentity(n.ctx, &awssts.GetCallerIdentityInput{})
	n.ok(err)
	if *who.Account != prod || *who.Arn != "arn:aws:sts::111111111111:assumed-role/MgmtAccess/setup" {
		t.Errorf("inside as %v", *who.Arn)
	}

	c := n.iamAs(inside)
	made, err := c.CreateRole(n.ctx, &awsiam.CreateRoleInput{RoleName: aws.String("AWSBackupServiceRole"), AssumeRolePolicyDocument: aws.String(byBackup)})
	n.ok(err)
	if doc, _ := url.PathUnescape(*made.Role.AssumeRolePolicyDocument); doc != byBackup || *made.Role.Arn != "arn:aws:iam::111111111111:role/AWSBackupServiceRole" {
		t.Errorf("role %v", *made.Role.AssumeRolePolicyDocument)
	}
	for _, p := range []string{"AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores"} {
		_, err = c.AttachRolePolicy(n.ctx, &awsiam.AttachRolePolicyInput{RoleName: aws.String("AWSBackupServiceRole"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/" + p)})
		n.ok(err)
	}
	list, err := c.ListAttachedRolePolicies(n.ctx, &awsiam.ListAttachedRolePoliciesInput{RoleName: aws.String("AWSBackupServiceRole")})
	n.ok(err)
	if len(list.AttachedPolicies) != 2 || list.IsTruncated {
		t.Errorf("attached %v", list.AttachedPolicies)
	}
	_, err = n.stsAs(root).AssumeRole(n.ctx, &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111111111111:role/MgmtAccess"), RoleSessionName: aws.String("setup")})
	n.refused(err, "AccessDenied", "Roles may not be assumed by root accounts.")
}

func TestRightsEndWithTheCredential(t *testing.T) {
	n, root := newNode(t)
	admin := n.user(root, "admin", iam.AdministratorAccess)
	user := n.user(root, "u", "")
	_, err := n.iamAs(user).ListUsers(n.ctx, &awsiam.ListUsersInput{})
	n.refused(err, "AccessDenied", "User: arn:aws:iam::999999999999:user/u is not authorized to perform: iam:ListUsers on resource: * because no identity-based policy allows the iam:ListUsers action")
	_, err = n.iamAs(admin).UpdateAccessKey(n.ctx, &awsiam.UpdateAccessKeyInput{UserName: aws.String("u"), AccessKeyId: &user.id, Status: types.StatusTypeInactive})
	n.ok(err)
	_, err = n.stsAs(user).GetCallerIdentity(n.ctx, &awssts.GetCallerIdentityInput{})
	n.refused(err, "InvalidClientTokenId", "")

	token, err := n.stsAs(admin).GetSessionToken(n.ctx, &awssts.GetSessionTokenInput{})
	n.ok(err)
	temporary := creds{*token.Credentials.AccessKeyId, *token.Credentials.SecretAccessKey, *token.Credentials.SessionToken}
	_, err = n.stsAs(temporary).GetCallerIdentity(n.ctx, &awssts.GetCallerIdentityInput{})
	n.ok(err)
	_, err = n.iamAs(temporary).ListUsers(n.ctx, &awsiam.ListUsersInput{})
	n.refused(err, "InvalidClientTokenId", "")
	info, err := n.stsAs(admin).GetAccessKeyInfo(n.ctx, &awssts.GetAccessKeyInfoInput{AccessKeyId: &temporary.id})
	n.ok(err)
	if *info.Account != mgmt {
		t.Errorf("account %v", *info.Account)
	}
}

func TestTrustConditions(t *testing.T) {
	n, root := newNode(t)
	admin := n.user(root, "admin", iam.AdministratorAccess)
	c := n.iamAs(admin)
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + mgmt + `"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"secret-42"}}}]}`
	_, err := c.CreateRole(n.ctx, &awsiam.CreateRoleInput{RoleName: aws.String("third"), AssumeRolePolicyDocument: &trust})
	n.ok(err)
	in := func() *awssts.AssumeRoleInput {
		return &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::999999999999:role/third"), RoleSessionName: aws.String("ss")}
	}
	_, err = n.stsAs(admin).AssumeRole(n.ctx, in())
	n.refused(err, "AccessDenied", "sts:AssumeRole")
	with := in()
	with.ExternalId = aws.String("secret-42")
	n.assume(admin, with)
	tagged := in()
	tagged.ExternalId, tagged.Tags = with.ExternalId, []ststypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}}
	_, err = n.stsAs(admin).AssumeRole(n.ctx, tagged)
	n.refused(err, "AccessDenied", "sts:TagSession")
	source := in()
	source.ExternalId, source.SourceIdentity = with.ExternalId, aws.String("alice")
	_, err = n.stsAs(admin).AssumeRole(n.ctx, source)
	n.refused(err, "AccessDenied", "sts:SetSourceIdentity")

	// Same account: the account in the trust policy delegates to identity policies, the user's own ARN suffices alone.
	plain := n.user(root, "plain", "")
	_, err = n.stsAs(plain).AssumeRole(n.ctx, with)
	n.refused(err, "AccessDenied", "")
	_, err = c.CreateRole(n.ctx, &awsiam.CreateRoleInput{RoleName: aws.String("named"), AssumeRolePolicyDocument: trusting("arn:aws:iam::999999999999:user/plain")})
	n.ok(err)
	inside := n.assume(plain, &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::999999999999:role/named"), Tags: []ststypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	_, err = n.iamAs(inside).ListRoles(n.ctx, &awsiam.ListRolesInput{})
	n.refused(err, "AccessDenied", "arn:aws:sts::999999999999:assumed-role/named/setup")
}

// A delegated administrator may make users only within a boundary and attach only certain policies.
func TestConditionsOnIAMsOwnActions(t *testing.T) {
	n, root := newNode(t)
	r := n.iamAs(root)
	limit, err := r.CreatePolicy(n.ctx, &awsiam.CreatePolicyInput{PolicyName: aws.String("limit"), PolicyDocument: allowing("backup:*", "*")})
	n.ok(err)
	helper := n.user(root, "helper", "")
	rules := `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["iam:CreateUser","iam:TagUser"],"Resource":"arn:aws:iam::999999999999:user/team/*","Condition":{"StringEquals":{"iam:PermissionsBoundary":"` + *limit.Policy.Arn + `","aws:RequestTag/team":"a"}}},
		{"Effect":"Allow","Action":"iam:AttachUserPolicy","Resource":"*","Condition":{"ArnLike":{"iam:PolicyARN":"arn:aws:iam::aws:policy/AWSBackup*"},"StringEquals":{"iam:PermissionsBoundary":"` + *limit.Policy.Arn + `","aws:ResourceTag/team":"a"}}},
		{"Effect":"Allow","Action":["iam:GetPolicy","iam:GetUser"],"Resource":"*"}]}`
	_, err = r.PutUserPolicy(n.ctx, &awsiam.PutUserPolicyInput{UserName: aws.String("helper"), PolicyName: aws.String("rules"), PolicyDocument: &rules})
	n.ok(err)
	h := n.iamAs(helper)
	in := &awsiam.CreateUserInput{UserName: aws.String("new"), Path: aws.String("/team/")}
	_, err = h.CreateUser(n.ctx, in)
	n.refused(err, "AccessDenied", "arn:aws:iam::999999999999:user/team/new")
	in.PermissionsBoundary = limit.Policy.Arn
	_, err = h.CreateUser(n.ctx, in)
	n.refused(err, "AccessDenied", "")
	in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}}
	made, err := h.CreateUser(n.ctx, in)
	n.ok(err)
	if *made.User.PermissionsBoundary.PermissionsBoundaryArn != *limit.Policy.Arn || len(made.User.Tags) != 1 {
		t.Errorf("user %+v", made.User)
	}
	attach := func(user, policy string) error {
		_, err := h.AttachUserPolicy(n.ctx, &awsiam.AttachUserPolicyInput{UserName: &user, PolicyArn: &policy})
		return err
	}
	n.ok(attach("new", "arn:aws:iam::aws:policy/AWSBackupFullAccess"))
	n.refused(attach("new", iam.AdministratorAccess), "AccessDenied", "")
	n.refused(attach("helper", "arn:aws:iam::aws:policy/AWSBackupFullAccess"), "AccessDenied", "")
	got, err := h.GetPolicy(n.ctx, &awsiam.GetPolicyInput{PolicyArn: aws.String(iam.AdministratorAccess)})
	n.ok(err)
	if *got.Policy.PolicyName != "AdministratorAccess" || !got.Policy.IsAttachable {
		t.Errorf("policy %+v", got.Policy)
	}
	self, err := h.GetUser(n.ctx, &awsiam.GetUserInput{})
	n.ok(err)
	if *self.User.UserName != "helper" {
		t.Errorf("self %+v", self.User)
	}
}

func TestErrorsAreIAMs(t *testing.T) {
	n, root := newNode(t)
	c := n.iamAs(root)
	name := aws.String("u")
	_, err := c.GetUser(n.ctx, &awsiam.GetUserInput{UserName: name})
	n.refused(err, "NoSuchEntity", "The user with name u cannot be found.")
	_, err = c.CreateUser(n.ctx, &awsiam.CreateUserInput{UserName: name})
	n.ok(err)
	_, err = c.CreateUser(n.ctx, &awsiam.CreateUserInput{UserName: aws.String("U")})
	n.refused(err, "EntityAlreadyExists", "User with name U already exists.")
	_, err = c.CreateUser(n.ctx, &awsiam.CreateUserInput{UserName: aws.String("a b")})
	n.refused(err, "ValidationError", "")
	_, err = c.PutUserPolicy(n.ctx, &awsiam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("p"), PolicyDocument: aws.String("{}")})
	n.refused(err, "MalformedPolicyDocument", "")
	_, err = c.PutUserPolicy(n.ctx, &awsiam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("p"), PolicyDocument: allowing("*", "*")})
	n.ok(err)
	got, err := c.GetUserPolicy(n.ctx, &awsiam.GetUserPolicyInput{UserName: name, PolicyName: aws.String("p")})
	n.ok(err)
	if doc, _ := url.PathUnescape(*got.PolicyDocument); doc != *allowing("*", "*") {
		t.Errorf("document %s", *got.PolicyDocument)
	}
	_, err = c.DeleteUser(n.ctx, &awsiam.DeleteUserInput{UserName: name})
	n.refused(err, "DeleteConflict", "Cannot delete entity, must delete policies first.")
	_, err = c.CreateServiceLinkedRole(n.ctx, &awsiam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("backup.amazonaws.com")})
	n.ok(err)
	_, err = c.DeleteRole(n.ctx, &awsiam.DeleteRoleInput{RoleName: aws.String("AWSServiceRoleForBackup")})
	n.refused(err, "UnmodifiableEntity", "")
	_, err = c.CreateVirtualMFADevice(n.ctx, &awsiam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: aws.String("x")})
	if err == nil {
		t.Error("an operation that is not there answered")
	}
	for range 2 {
		_, err = c.CreateAccessKey(n.ctx, &awsiam.CreateAccessKeyInput{UserName: name})
		n.ok(err)
	}
	_, err = c.CreateAccessKey(n.ctx, &awsiam.CreateAccessKeyInput{UserName: name})
	n.refused(err, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
}

// What Terraform's aws_iam_role, aws_iam_policy and aws_iam_role_policy_attachment call in one life.
func TestLifeOfARoleAndItsPolicies(t *testing.T) {
	n, root := newNode(t)
	c := n.iamAs(root)
	role := aws.String("r")
	_, err := c.CreateRole(n.ctx, &awsiam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: aws.String(byBackup), MaxSessionDuration: aws.Int32(7200), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	n.ok(err)
	got, err := c.GetRole(n.ctx, &awsiam.GetRoleInput{RoleName: role})
	n.ok(err)
	if *got.Role.MaxSessionDuration != 7200 || len(got.Role.Tags) != 1 || got.Role.RoleLastUsed == nil {
		t.Errorf("role %+v", got.Role)
	}
	p, err := c.CreatePolicy(n.ctx, &awsiam.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: allowing("s3:*", "*"), Description: aws.String("about")})
	n.ok(err)
	_, err = c.CreatePolicyVersion(n.ctx, &awsiam.CreatePolicyVersionInput{PolicyArn: p.Policy.Arn, PolicyDocument: allowing("kms:*", "*"), SetAsDefault: true})
	n.ok(err)
	versions, err := c.ListPolicyVersions(n.ctx, &awsiam.ListPolicyVersionsInput{PolicyArn: p.Policy.Arn})
	n.ok(err)
	if len(versions.Versions) != 2 || *versions.Versions[0].VersionId != "v2" || !versions.Versions[0].IsDefaultVersion {
		t.Errorf("versions %+v", versions.Versions)
	}
	_, err = c.AttachRolePolicy(n.ctx, &awsiam.AttachRolePolicyInput{RoleName: role, PolicyArn: p.Policy.Arn})
	n.ok(err)
	uses, err := c.ListEntitiesForPolicy(n.ctx, &awsiam.ListEntitiesForPolicyInput{PolicyArn: p.Policy.Arn})
	n.ok(err)
	if len(uses.PolicyRoles) != 1 || len(uses.PolicyUsers) != 0 {
		t.Errorf("uses %+v", uses)
	}
	_, err = c.TagRole(n.ctx, &awsiam.TagRoleInput{RoleName: role, Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("d")}}})
	n.ok(err)
	_, err = c.UntagRole(n.ctx, &awsiam.UntagRoleInput{RoleName: role, TagKeys: []string{"a"}})
	n.ok(err)
	tags, err := c.ListRoleTags(n.ctx, &awsiam.ListRoleTagsInput{RoleName: role})
	n.ok(err)
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "c" {
		t.Errorf("tags %+v", tags.Tags)
	}
	profiles, err := c.ListInstanceProfilesForRole(n.ctx, &awsiam.ListInstanceProfilesForRoleInput{RoleName: role})
	n.ok(err)
	if len(profiles.InstanceProfiles) != 0 {
		t.Errorf("profiles %+v", profiles)
	}
	_, err = c.DeleteRole(n.ctx, &awsiam.DeleteRoleInput{RoleName: role})
	n.refused(err, "DeleteConflict", "Cannot delete entity, must detach all policies first.")
	_, err = c.DetachRolePolicy(n.ctx, &awsiam.DetachRolePolicyInput{RoleName: role, PolicyArn: p.Policy.Arn})
	n.ok(err)
	_, err = c.DeletePolicyVersion(n.ctx, &awsiam.DeletePolicyVersionInput{PolicyArn: p.Policy.Arn, VersionId: aws.String("v1")})
	n.ok(err)
	_, err = c.DeletePolicy(n.ctx, &awsiam.DeletePolicyInput{PolicyArn: p.Policy.Arn})
	n.ok(err)
	_, err = c.DeleteRole(n.ctx, &awsiam.DeleteRoleInput{RoleName: role})
	n.ok(err)
	_, err = c.GetRole(n.ctx, &awsiam.GetRoleInput{RoleName: role})
	n.refused(err, "NoSuchEntity", "The role with name r cannot be found.")
}

func TestPaginatorsSeeEverything(t *testing.T) {
	n, root := newNode(t)
	c := n.iamAs(root)
	p := awsiam.NewListPoliciesPaginator(c, &awsiam.ListPoliciesInput{MaxItems: aws.Int32(7)})
	seen := map[string]bool{}
	for p.HasMorePages() {
		page, err := p.NextPage(n.ctx)
		n.ok(err)
		for _, v := range page.Policies {
			if seen[*v.Arn] {
				t.Errorf("%s twice", *v.Arn)
			}
			seen[*v.Arn] = true
		}
	}
	if len(seen) < 25 {
		t.Errorf("%d policies", len(seen))
	}
}

func TestAnEntityCannotBeMovedToWhereItsMoverMayNotAct(t *testing.T) {
	n, root := newNode(t)
	helper := n.user(root, "helper", "")
	_, err := n.iamAs(root).PutUserPolicy(n.ctx, &awsiam.PutUserPolicyInput{UserName: aws.String("helper"), PolicyName: aws.String("p"), PolicyDocument: allowing("iam:UpdateUser", "arn:aws:iam::999999999999:user/team/*")})
	n.ok(err)
	_, err = n.iamAs(root).CreateUser(n.ctx, &awsiam.CreateUserInput{UserName: aws.String("u"), Path: aws.String("/team/")})
	n.ok(err)
	c := n.iamAs(helper)
	_, err = c.UpdateUser(n.ctx, &awsiam.UpdateUserInput{UserName: aws.String("u"), NewPath: aws.String("/admins/")})
	n.refused(err, "AccessDenied", "arn:aws:iam::999999999999:user/admins/u")
	_, err = c.UpdateUser(n.ctx, &awsiam.UpdateUserInput{UserName: aws.String("u"), NewUserName: aws.String("v"), NewPath: aws.String("/team/x/")})
	n.ok(err)
}

func TestWhoMakesSomethingWithTagsMustBeAllowedToTag(t *testing.T) {
	n, root := newNode(t)
	maker := n.user(root, "maker", "")
	_, err := n.iamAs(root).PutUserPolicy(n.ctx, &awsiam.PutUserPolicyInput{UserName: aws.String("maker"), PolicyName: aws.String("p"), PolicyDocument: allowing("iam:Create*", "*")})
	n.ok(err)
	c, tags := n.iamAs(maker), []types.Tag{{Key: aws.String("team"), Value: aws.String("backup")}}
	_, err = c.CreateUser(n.ctx, &awsiam.CreateUserInput{UserName: aws.String("u"), Tags: tags})
	n.refused(err, "AccessDenied", "iam:TagUser")
	_, err = c.CreateRole(n.ctx, &awsiam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(byBackup), Tags: tags})
	n.refused(err, "AccessDenied", "iam:TagRole")
	_, err = c.CreatePolicy(n.ctx, &awsiam.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: allowing("iam:GetUser", "*"), Tags: tags})
	n.refused(err, "AccessDenied", "iam:TagPolicy")
	_, err = c.CreateUser(n.ctx, &awsiam.CreateUserInput{UserName: aws.String("u")})
	n.ok(err)
}
