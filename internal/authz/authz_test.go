package authz_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/authz"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

const (
	acctA = "111111111111"
	acctB = "222222222222"
	mgmt  = "999999999999"

	vaultA = "arn:aws:backup:us-east-1:111111111111:backup-vault:v"
	vaultB = "arn:aws:backup:us-east-1:222222222222:backup-vault:iso"
	keyA   = "arn:aws:kms:us-east-1:111111111111:key/9f0c"
)

var (
	now  = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	env  = access.Env{RequestID: "r1", Region: "us-east-1", SourceIP: "10.1.2.3", UserAgent: "aws-cli/1", Secure: true, Now: now}
	user = access.Principal{Kind: access.User, Account: acctA, ARN: "arn:aws:iam::111111111111:user/ops", ID: "AIDA1234567890ABCDEF", Name: "ops",
		Tags: map[string]string{"team": "red", "empty": ""}, AccessKeyID: "AKIA1"}
	role = access.Principal{Kind: access.Role, Account: acctA, ARN: "arn:aws:sts::111111111111:assumed-role/Copy/s1", RoleARN: "arn:aws:iam::111111111111:role/x/Copy",
		ID: "AROA1234567890ABCDEF:s1", Name: "Copy", SessionName: "s1", AccessKeyID: "ASIA1", Issued: now.Add(-time.Hour), MFA: now.Add(-2 * time.Minute), SourceIdentity: "alice"}
	service = access.Principal{Kind: access.Service, ARN: "backup.amazonaws.com", Name: "backup.amazonaws.com"}
)

// directory is a small IAM: policies by principal name.
type directory struct {
	policies map[string]policy.Identities
	err      error
}

func (d *directory) Policies(_ context.Context, p access.Principal) (policy.Identities, error) {
	return d.policies[p.Name], d.err
}

// tree is a small organization: places and policies by account.
type tree struct {
	places map[string]policy.Place
	scps   map[string][][]policy.Source
	err    error
	asked  []string
}

func (o *tree) Guardrails(_ context.Context, account string) (policy.Place, [][]policy.Source, error) {
	o.asked = append(o.asked, account)
	return o.places[account], o.scps[account], o.err
}

func source(t testing.TB, k policy.Kind, name, owner, statement string) policy.Source {
	t.Helper()
	d, err := policy.Parse(k, strings.ReplaceAll(`{'Version':'2012-10-17','Statement':`+statement+`}`, "'", `"`))
	if err != nil {
		t.Fatal(err)
	}
	return policy.Source{Name: name, Owner: owner, Doc: d}
}

const full = `{'Effect':'Allow','Action':'*','Resource':'*'}`

// world is a node with two member accounts and a management account.
func world(t testing.TB) (*authz.Authorizer, *directory, *tree) {
	t.Helper()
	all := policy.Identities{Identity: []policy.Source{source(t, policy.Identity, "all", acctA, full)}}
	d := &directory{policies: map[string]policy.Identities{"ops": all, "Copy": all}}
	scp := source(t, policy.SCP, "p-FullAWSAccess", mgmt, full)
	o := &tree{places: map[string]policy.Place{
		acctA: {OrgID: "o-a1", OrgPath: "o-a1/r-1/ou-prod/"}, acctB: {OrgID: "o-a1", OrgPath: "o-a1/r-1/ou-safe/"}, mgmt: {OrgID: "o-a1", OrgPath: "o-a1/r-1/", Management: true},
	}, scps: map[string][][]policy.Source{acctA: {{scp}, {scp}, {scp}}, acctB: {{scp}, {scp}}}}
	return authz.New(authz.Config{Identities: d, Guardrails: o}), d, o
}

// keys returns the complete context of a check, as the evaluator saw it, by way of a lookup-free denial.
func keys(t *testing.T, a *authz.Authorizer, p access.Principal, e access.Env, c access.Check) access.Context {
	t.Helper()
	ds, err := a.Explain(t.Context(), p, e, c)
	if err != nil {
		t.Fatal(err)
	}
	return ds[0].Context()
}

// TestContextKeys pins every key that is derived, and which are absent.
func TestContextKeys(t *testing.T) {
	t.Parallel()
	common := map[string]string{"aws:CurrentTime": "2026-05-01T10:00:00Z", "aws:EpochTime": "1777629600", "aws:RequestedRegion": "us-east-1", "aws:SecureTransport": "true"}
	with := func(pairs ...string) map[string]string {
		m := maps.Clone(common)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	direct := []string{"aws:UserAgent", "aws-cli/1", "aws:SourceIp", "10.1.2.3", "aws:ViaAWSService", "false", "aws:PrincipalIsAWSService", "false"}
	inA := []string{"aws:PrincipalAccount", acctA, "aws:PrincipalOrgID", "o-a1", "aws:PrincipalOrgPaths", "o-a1/r-1/ou-prod/"}
	resA := []string{"aws:ResourceAccount", acctA, "aws:ResourceOrgID", "o-a1", "aws:ResourceOrgPaths", "o-a1/r-1/ou-prod/"}
	resB := []string{"aws:ResourceAccount", acctB, "aws:ResourceOrgID", "o-a1", "aws:ResourceOrgPaths", "o-a1/r-1/ou-safe/"}
	long := []string{"aws:PrincipalType", "User", "aws:PrincipalArn", user.ARN, "aws:userid", user.ID, "aws:username", "ops", "aws:PrincipalTag/team", "red", "aws:PrincipalTag/empty", ""}
	session := []string{"aws:PrincipalType", "AssumedRole", "aws:PrincipalArn", role.RoleARN, "aws:userid", role.ID, "aws:TokenIssueTime", "2026-05-01T09:00:00Z",
		"aws:MultiFactorAuthPresent", "true", "aws:MultiFactorAuthAge", "120", "aws:SourceIdentity", "alice"}
	cat := slices.Concat[[]string]
	via := env
	via.ViaService = "backup.amazonaws.com"
	internal := access.Env{Region: "us-east-1", Secure: true, Now: now, ViaService: "backup.amazonaws.com"}
	noMFA := role
	noMFA.MFA = time.Time{}
	engine := role
	engine.AccessKeyID = ""
	for _, c := range []struct {
		name string
		p    access.Principal
		env  access.Env
		c    access.Check
		want map[string]string
	}{
		{"user", user, env, access.Check{Action: "backup:X", Resource: "*"}, with(cat(direct, inA, resA, long)...)},
		{"user at another account's vault", user, env, access.Check{Action: "backup:X", Resource: vaultB}, with(cat(direct, inA, resB, long)...)},
		{"owner given by the check", user, env, access.Check{Action: "backup:X", Resource: "arn:aws:ec2:us-east-1::snapshot/s", Account: acctB}, with(cat(direct, inA, resB, long)...)},
		{"AWS's own policies belong to everybody", user, env, access.Check{Action: "iam:GetPolicy", Resource: "arn:aws:iam::aws:policy/X"}, with(cat(direct, inA, resA, long)...)},
		{"session", role, env, access.Check{Action: "backup:X", Resource: "*"}, with(cat(direct, inA, resA, session)...)},
		{"session without MFA", noMFA, env, access.Check{Action: "backup:X", Resource: "*"}, with(cat(direct, inA, resA, []string{"aws:PrincipalType", "AssumedRole", "aws:PrincipalArn", role.RoleARN, "aws:userid", role.ID,
			"aws:TokenIssueTime", "2026-05-01T09:00:00Z", "aws:MultiFactorAuthPresent", "false", "aws:SourceIdentity", "alice"})...)},
		{"kms", user, env, access.Check{Action: "kms:X", Resource: keyA}, with(cat(direct, inA, resA, long, []string{"kms:CallerAccount", acctA})...)},
		{"kms with the caller's credentials via a service", role, via, access.Check{Action: "kms:X", Resource: keyA}, with(cat(inA, resA, session, []string{"aws:PrincipalIsAWSService", "false", "aws:UserAgent", "aws-cli/1",
			"kms:CallerAccount", acctA, "kms:ViaService", "backup.us-east-1.amazonaws.com", "aws:ViaAWSService", "true", "aws:CalledVia", "backup.amazonaws.com", "aws:CalledViaFirst", "backup.amazonaws.com", "aws:CalledViaLast", "backup.amazonaws.com"})...)},
		{"kms by a role of the service", engine, internal, access.Check{Action: "kms:X", Resource: keyA}, with(cat(inA, resA, session, []string{"aws:PrincipalIsAWSService", "false", "kms:CallerAccount", acctA,
			"kms:ViaService", "backup.us-east-1.amazonaws.com", "aws:ViaAWSService", "false"})...)},
		{"service principal", service, internal, access.Check{Action: "sts:AssumeRole", Resource: role.RoleARN, Context: access.Context{"aws:SourceAccount": {acctA}}}, with(cat(resA, []string{"aws:PrincipalIsAWSService", "true",
			"aws:PrincipalServiceName", "backup.amazonaws.com", "aws:PrincipalServiceNamesList", "backup.amazonaws.com", "aws:ViaAWSService", "false", "aws:SourceAccount", acctA})...)},
		{"anonymous", access.Principal{}, env, access.Check{Action: "backup:X", Resource: vaultA}, with(cat(direct, resA, []string{"aws:PrincipalAccount", "anonymous", "aws:PrincipalType", "Anonymous"})...)},
		{"a check cannot describe the caller", user, env, access.Check{Action: "backup:X", Resource: "*", Context: access.Context{"AWS:principalarn": {"x"}, "aws:PrincipalTag/admin": {"yes"}, "aws:MultiFactorAuthPresent": {"true"}, "aws:CalledVia": {"x"},
			"aws:RequestTag/a": {"b"}}}, with(cat(direct, inA, resA, long, []string{"aws:RequestTag/a", "b"})...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, _, _ := world(t)
			got := keys(t, a, c.p, c.env, c.c)
			for k, v := range c.want {
				if len(got[k]) != 1 || got[k][0] != v {
					t.Errorf("%s = %q, want %q", k, got[k], v)
				}
			}
			for k := range got {
				if _, ok := c.want[k]; !ok {
					t.Errorf("unexpected %s = %q", k, got[k])
				}
			}
		})
	}
}

// TestLookups: the resource's policy, tags, kind and owner come from the lookup of the action or of its service.
func TestLookups(t *testing.T) {
	t.Parallel()
	a, _, _ := world(t)
	vaultPolicy := source(t, policy.ResourceVault, vaultB, acctB, `{'Effect':'Allow','Principal':'*','Action':['backup:CopyIntoBackupVault','backup:StartRestoreJob'],'Resource':'*','Condition':{'StringEquals':{'aws:PrincipalOrgID':'o-a1','aws:ResourceTag/kind':'safe'}}}`)
	a.Register("backup", func(_ context.Context, c access.Check, p access.Principal) (authz.Resource, error) {
		switch c.Resource {
		case vaultB:
			return authz.Resource{Exists: true, Kind: policy.Vault, Policy: &vaultPolicy, Tags: map[string]string{"kind": "safe"}}, nil
		case "arn:aws:ec2:us-east-1::snapshot/broken":
			return authz.Resource{}, errors.New("disk on fire")
		case "arn:aws:backup:us-east-1:222222222222:backup-vault:gone":
			return authz.Resource{Policy: &vaultPolicy, Kind: policy.Vault}, nil
		}
		return authz.Resource{}, nil
	})
	a.Register("backup:ListBackupJobs", func(context.Context, access.Check, access.Principal) (authz.Resource, error) {
		return authz.Resource{Exists: true, Account: acctB}, nil
	})
	trust := source(t, policy.TrustPolicy, role.RoleARN, acctA, `{'Effect':'Allow','Principal':{'Service':'backup.amazonaws.com'},'Action':'sts:AssumeRole','Condition':{'StringEquals':{'aws:SourceAccount':'111111111111'}}}`)
	a.Register("sts", func(_ context.Context, c access.Check, _ access.Principal) (authz.Resource, error) {
		return authz.Resource{Exists: c.Resource == role.RoleARN, Kind: policy.RoleTrust, Policy: &trust}, nil
	})
	for _, c := range []struct {
		name string
		p    access.Principal
		c    access.Check
		want string // beginning of the error's text after "because", "" for allowed
	}{
		{"copy into the other account", role, access.Check{Action: "backup:CopyIntoBackupVault", Resource: vaultB}, ""},
		{"other actions across accounts", role, access.Check{Action: "backup:StartRestoreJob", Resource: vaultB}, "no resource-based policy"},
		{"a vault that is gone, in another account", role, access.Check{Action: "backup:CopyIntoBackupVault", Resource: "arn:aws:backup:us-east-1:222222222222:backup-vault:gone"}, "no resource-based policy"},
		{"a vault that is gone, in the own account", role, access.Check{Action: "backup:CopyIntoBackupVault", Resource: "arn:aws:backup:us-east-1:111111111111:backup-vault:gone"}, ""},
		{"no lookup for Resource *", role, access.Check{Action: "backup:ListBackupJobs", Resource: "*"}, ""},
		{"the action's own lookup", role, access.Check{Action: "BACKUP:listbackupjobs", Resource: vaultA}, "no resource-based policy"},
		{"a service without lookup, own account", role, access.Check{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}, ""},
		{"a service without lookup, other account", role, access.Check{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Account: acctB}, "no resource-based policy"},
		{"service assumes", service, access.Check{Action: "sts:AssumeRole", Resource: role.RoleARN, Context: access.Context{"aws:SourceAccount": {acctA}}}, ""},
		{"service assumes for another account", service, access.Check{Action: "sts:AssumeRole", Resource: role.RoleARN, Context: access.Context{"aws:SourceAccount": {acctB}}}, "no role trust policy"},
		{"assume a role that does not exist", role, access.Check{Action: "sts:AssumeRole", Resource: "arn:aws:iam::111111111111:role/none"}, "no role trust policy"},
	} {
		err := a.Authorize(t.Context(), c.p, env, c.c)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!fault.Is(err, fault.Denied) || !strings.Contains(fault.As(err).Msg, "because "+c.want)):
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if err := a.Authorize(t.Context(), role, env, access.Check{Action: "backup:X", Resource: "arn:aws:ec2:us-east-1::snapshot/broken"}); err == nil || fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "fire") {
		t.Errorf("a lookup's error must come through, got %v", err)
	}
}

// TestEveryCheckMustPass: the first denied check is the reason, the denial has all decisions, Hidden replaces the text.
func TestEveryCheckMustPass(t *testing.T) {
	t.Parallel()
	a, d, _ := world(t)
	d.policies["ops"] = policy.Identities{Identity: []policy.Source{source(t, policy.Identity, "some", acctA, `{'Effect':'Allow','Action':['backup:StartBackupJob','backup:TagResource'],'Resource':'*'}`)}}
	ok, pass, hidden := access.Check{Action: "backup:StartBackupJob", Resource: vaultA}, access.Check{Action: "iam:PassRole", Resource: role.RoleARN}, access.Check{Action: "kms:Decrypt", Resource: keyA, Hidden: "you cannot know"}
	if err := a.Authorize(t.Context(), user, env, ok, ok); err != nil {
		t.Error(err)
	}
	err := a.Authorize(t.Context(), user, env, ok, pass, hidden)
	var denial *authz.Denial
	if !fault.Is(err, fault.Denied) || !errors.As(err, &denial) || len(denial.Decisions) != 3 || !denial.Decisions[0].Allowed || denial.First() != &denial.Decisions[1] {
		t.Fatalf("got %v", err)
	}
	if f := fault.As(err); f.Resource != role.RoleARN || !strings.HasPrefix(f.Msg, "User: "+user.ARN+" is not authorized to perform: iam:PassRole on resource: "+role.RoleARN+" because no identity-based policy allows the iam:PassRole action (") {
		t.Errorf("got %s", f.Msg)
	}
	if f := fault.As(a.Authorize(t.Context(), user, env, ok, hidden)); f == nil || f.Msg != "you cannot know" {
		t.Errorf("got %v", f)
	}
	if err := a.Authorize(t.Context(), user, env); err == nil {
		t.Error("no checks must be no permission")
	}
}

// TestLimitsReachTheEvaluator: boundary, session policies and guardrails of the right account apply.
func TestLimitsReachTheEvaluator(t *testing.T) {
	t.Parallel()
	deny := `{'Effect':'Deny','Action':'backup:*','Resource':'*'}`
	check := access.Check{Action: "backup:DeleteBackupVault", Resource: vaultA}
	for _, c := range []struct {
		name   string
		change func(*directory, *tree)
		p      access.Principal
		want   string
	}{
		{"boundary", func(d *directory, _ *tree) {
			b := source(t, policy.Boundary, "b", acctA, deny)
			d.policies["Copy"] = policy.Identities{Identity: d.policies["Copy"].Identity, Boundary: &b}
		}, role, "permissions boundary"},
		{"session", func(d *directory, _ *tree) {
			d.policies["Copy"] = policy.Identities{Identity: d.policies["Copy"].Identity, Session: []policy.Source{}}
		}, role, "session policy"},
		{"SCP", func(_ *directory, o *tree) {
			o.scps[acctA] = append(o.scps[acctA], []policy.Source{source(t, policy.SCP, "p", mgmt, deny)})
		}, role, "service control policy"},
		{"SCPs of the resource's account do not matter", func(_ *directory, o *tree) {
			o.scps[acctB] = [][]policy.Source{{source(t, policy.SCP, "p", mgmt, deny)}}
		}, role, ""},
		{"RCP", func(_ *directory, o *tree) {
			p := o.places[acctA]
			p.RCPs = []policy.Source{source(t, policy.RCP, "r", mgmt, `{'Effect':'Deny','Principal':'*','Action':'kms:*','Resource':'*'}`)}
			o.places[acctA] = p
		}, role, ""},
		{"management account", func(_ *directory, o *tree) {
			p := o.places[acctA]
			p.Management = true
			o.places[acctA], o.scps[acctA] = p, [][]policy.Source{{source(t, policy.SCP, "p", mgmt, deny)}}
		}, role, ""},
		{"service-linked role", func(_ *directory, o *tree) {
			o.scps[acctA] = [][]policy.Source{{source(t, policy.SCP, "p", mgmt, deny)}}
		}, func() access.Principal { p := role; p.ServiceLinked = true; return p }(), ""},
		{"identities fail", func(d *directory, _ *tree) { d.err = errors.New("no disk") }, role, "no disk"},
		{"guardrails fail", func(_ *directory, o *tree) { o.err = errors.New("no disk") }, role, "no disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, d, o := world(t)
			c.change(d, o)
			err := a.Authorize(t.Context(), c.p, env, check)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestGathersOnce: many checks of one request ask IAM once and Organizations once per account.
func TestGathersOnce(t *testing.T) {
	t.Parallel()
	a, _, o := world(t)
	checks := []access.Check{{Action: "backup:A", Resource: vaultA}, {Action: "backup:B", Resource: vaultB}, {Action: "backup:C", Resource: vaultB}, {Action: "backup:D", Resource: "*"}}
	if _, err := a.Explain(t.Context(), role, env, checks...); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(o.asked, " "); got != acctA+" "+acctB {
		t.Errorf("asked for %s", got)
	}
}

// BenchmarkAuthorize is the cost per API call without what the lookups themselves need.
func BenchmarkAuthorize(b *testing.B) {
	a, d, _ := world(b)
	managed := `[{'Effect':'Allow','Action':['backup:Get*','backup:List*','backup:Describe*','backup:Start*'],'Resource':'*'},{'Effect':'Allow','Action':'iam:PassRole','Resource':['arn:aws:iam::*:role/*AwsBackup*'],'Condition':{'StringLike':{'iam:PassedToService':'backup.amazonaws.com'}}},
		{'Effect':'Allow','Action':['rds:Describe*','ec2:Describe*','dynamodb:ListTables','elasticfilesystem:Describe*','fsx:Describe*','s3:ListAllMyBuckets'],'Resource':'*'},{'Effect':'Deny','Action':'backup:Delete*','Resource':'*','Condition':{'BoolIfExists':{'aws:MultiFactorAuthPresent':'false'}}}]`
	src := source(b, policy.Identity, "managed", acctA, managed)
	d.policies["Copy"] = policy.Identities{Identity: []policy.Source{src, src, src}}
	vaultPolicy := source(b, policy.ResourceVault, vaultA, acctA, `{'Effect':'Deny','Principal':'*','Action':['backup:DeleteRecoveryPoint'],'Resource':'*','Condition':{'ArnNotLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/BackupAdmin'}}}`)
	a.Register("backup", func(context.Context, access.Check, access.Principal) (authz.Resource, error) {
		return authz.Resource{Exists: true, Kind: policy.Vault, Policy: &vaultPolicy, Tags: map[string]string{"team": "red"}}, nil
	})
	check := access.Check{Action: "backup:DescribeRecoveryPoint", Resource: "arn:aws:backup:us-east-1:111111111111:recovery-point:ab12"}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Authorize(b.Context(), role, env, check); err != nil {
			b.Fatal(err)
		}
	}
}
