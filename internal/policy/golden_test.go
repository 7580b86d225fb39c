package policy_test

import (
	"strings"
	"testing"

	"strongroom/internal/access"
	"strongroom/internal/policy"
)

const (
	acctA = "111111111111"
	acctB = "222222222222"

	vaultARN = "arn:aws:backup:us-east-1:111111111111:backup-vault:v"
	vaultB   = "arn:aws:backup:us-east-1:222222222222:backup-vault:iso"
	keyARN   = "arn:aws:kms:us-east-1:111111111111:key/9f0c"
	keyB     = "arn:aws:kms:us-east-1:222222222222:key/77aa"
	roleARN  = "arn:aws:iam::111111111111:role/ops/Copy"
	roleB    = "arn:aws:iam::222222222222:role/Target"
)

var (
	user = access.Principal{Kind: access.User, Account: acctA, ARN: "arn:aws:iam::111111111111:user/ops", ID: "AIDA1234567890ABCDEF", Name: "ops"}
	role = access.Principal{Kind: access.Role, Account: acctA, ARN: "arn:aws:sts::111111111111:assumed-role/Copy/s1", RoleARN: roleARN,
		ID: "AROA1234567890ABCDEF:s1", Name: "Copy", SessionName: "s1"}
	root    = access.Principal{Kind: access.Root, Account: acctA, ARN: "arn:aws:iam::111111111111:root", ID: acctA}
	service = access.Principal{Kind: access.Service, ARN: "backup.amazonaws.com", Name: "backup.amazonaws.com"}
	linked  = access.Principal{Kind: access.Role, Account: acctA, ServiceLinked: true, Name: "AWSServiceRoleForBackup", ID: "AROAZZZZ567890ABCDEF:s",
		ARN:     "arn:aws:sts::111111111111:assumed-role/AWSServiceRoleForBackup/s",
		RoleARN: "arn:aws:iam::111111111111:role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup"}
)

// doc makes a document of statements in a short form: single quotes for double ones.
func doc(statements ...string) string {
	return strings.ReplaceAll(`{'Version':'2012-10-17','Statement':[`+strings.Join(statements, ",")+`]}`, "'", `"`)
}

func parse(t testing.TB, k policy.Kind, text string) *policy.Document {
	t.Helper()
	d, err := policy.Parse(k, text)
	if err != nil {
		t.Fatalf("Parse(%v, %s): %v", k, text, err)
	}
	return d
}

// ask is a request in test form; policies are statement lists for doc.
type ask struct {
	by       access.Principal
	do, on   string
	ctx      map[string]string   // single values
	multi    map[string][]string // lists
	id       []string
	boundary []string
	session  []string
	scp      [][]string // per level
	rcp      []string
	res      []string // the resource's policy
	kind     policy.ResourceKind
	owner    string // of the resource; "" takes account A
	grants   []policy.Grant
}

func (a ask) request(t testing.TB) policy.Request {
	t.Helper()
	src := func(k policy.Kind, name, owner string, st []string) policy.Source {
		return policy.Source{Name: name, Owner: owner, Doc: parse(t, k, doc(st...))}
	}
	r := policy.Request{Principal: a.by, Check: access.Check{Action: a.do, Resource: a.on}, Context: access.Context{},
		ResourceKind: a.kind, ResourceAccount: acctA, Grants: a.grants}
	for k, v := range a.ctx {
		r.Context[k] = []string{v}
	}
	for k, v := range a.multi {
		r.Context[k] = v
	}
	if a.owner != "" {
		r.ResourceAccount = a.owner
	}
	if a.id != nil {
		r.Identity = []policy.Source{src(policy.Identity, "inline", acctA, a.id)}
	}
	if a.boundary != nil {
		r.Boundary = []policy.Source{src(policy.Boundary, "limit", acctA, a.boundary)}
	}
	if a.session != nil {
		r.Session = []policy.Source{src(policy.SessionPolicy, "session", acctA, a.session)}
	}
	for _, level := range a.scp {
		sources := []policy.Source{}
		for _, st := range level {
			sources = append(sources, src(policy.SCP, "arn:aws:organizations::999999999999:policy/o-a1/service_control_policy/p-1", "999999999999", []string{st}))
		}
		r.SCPs = append(r.SCPs, sources)
	}
	if a.rcp != nil {
		r.RCPs = []policy.Source{src(policy.RCP, "rcp", "999999999999", a.rcp)}
	}
	if a.res != nil {
		k := map[policy.ResourceKind]policy.Kind{policy.Ordinary: policy.ResourceVault, policy.Vault: policy.ResourceVault, policy.KMSKey: policy.KeyPolicy, policy.RoleTrust: policy.TrustPolicy}[a.kind]
		s := src(k, a.on, r.ResourceAccount, a.res)
		r.Resource = &s
	}
	return r
}

const (
	allowAll  = `{'Effect':'Allow','Action':'*','Resource':'*'}`
	allowKMS  = `{'Effect':'Allow','Action':'kms:*','Resource':'*'}`
	keyRoot   = `{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111111111111:root'},'Action':'kms:*','Resource':'*'}`
	keyRole   = `{'Effect':'Allow','Principal':{'AWS':'` + roleARN + `'},'Action':'kms:*','Resource':'*'}`
	allowTwo  = `{'Effect':'Allow','Principal':{'AWS':'111111111111'},'Action':['kms:Decrypt','kms:DescribeKey'],'Resource':'*'}`
	copyInto  = "backup:CopyIntoBackupVault"
	vaultOrg  = `{'Effect':'Allow','Principal':'*','Action':'backup:CopyIntoBackupVault','Resource':'*','Condition':{'StringEquals':{'aws:PrincipalOrgID':'o-a1'}}}`
	allowBack = `{'Effect':'Allow','Action':'backup:*','Resource':'*'}`
	delVault  = "backup:DeleteBackupVault"
)

func cond(base, c string) string {
	return strings.TrimSuffix(base, "}") + `,'Condition':` + c + `}`
}

func denyIf(action, c string) string {
	return `{'Effect':'Deny','Action':'` + action + `','Resource':'*','Condition':` + c + `}`
}

func s(list ...string) []string { return list }

// TestGoldenVectors pins the verdicts that were checked against AWS's documentation. A = allowed, I = implicitly, E =
// explicitly denied.
func TestGoldenVectors(t *testing.T) {
	t.Parallel()
	kv := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	path := func(v ...string) map[string][]string { return map[string][]string{"aws:PrincipalOrgPaths": v} }
	targets := func(v ...string) map[string][]string { return map[string][]string{"backup:CopyTargets": v} }
	full := s(allowAll)
	cases := []struct {
		name string
		want string
		ask
	}{
		{"kms same: identity only, key policy does not name the account", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, id: s(allowKMS), res: s(`{'Effect':'Allow','Principal':{'AWS':'222222222222'},'Action':'kms:*','Resource':'*'}`)}},
		{"kms same: root delegation and identity", "A", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, id: s(allowKMS), res: s(keyRoot)}},
		{"kms same: role named, no identity", "A", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(keyRole)}},
		{"kms same: root delegation, no identity", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(keyRoot)}},
		{"kms same: the root user with delegation", "A", ask{by: root, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(keyRoot)}},
		{"kms same: the root user is powerless without delegation", "I", ask{by: root, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(keyRole)}},
		{"kms same: no Resource element never matches", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(`{'Effect':'Allow','Principal':'*','Action':'kms:*'}`)}},
		{"kms cross: root of A and identity", "A", ask{by: role, do: "kms:Decrypt", on: keyB, owner: acctB, kind: policy.KMSKey, id: s(allowKMS), res: s(keyRoot)}},
		{"kms cross: role named, no identity", "I", ask{by: role, do: "kms:Decrypt", on: keyB, owner: acctB, kind: policy.KMSKey, res: s(keyRole)}},
		{"kms cross: CreateGrant not listed", "I", ask{by: role, do: "kms:CreateGrant", on: keyB, owner: acctB, kind: policy.KMSKey, id: s(allowKMS), res: s(allowTwo)}},
		{"kms alias: identity alone", "A", ask{by: role, do: "kms:CreateAlias", on: "arn:aws:kms:us-east-1:111111111111:alias/x", id: s(allowKMS)}},
		{"CreateGrant with JSON true: service call", "A", ask{by: role, do: "kms:CreateGrant", on: keyARN, kind: policy.KMSKey, res: s(keyRoot), id: s(cond(allowKMS, `{'Bool':{'kms:GrantIsForAWSResource':true}}`)), ctx: kv("kms:GrantIsForAWSResource", "true")}},
		{"CreateGrant with JSON true: direct call", "I", ask{by: role, do: "kms:CreateGrant", on: keyARN, kind: policy.KMSKey, res: s(keyRoot), id: s(cond(allowKMS, `{'Bool':{'kms:GrantIsForAWSResource':true}}`))}},
		{"ViaService wildcard", "A", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(keyRoot), id: s(cond(allowKMS, `{'StringLike':{'kms:ViaService':'backup.*.amazonaws.com'}}`)), ctx: kv("kms:ViaService", "backup.us-east-1.amazonaws.com")}},
		{"ViaService of another region", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(keyRoot), id: s(cond(allowKMS, `{'StringLike':{'kms:ViaService':'backup.eu-west-1.amazonaws.com'}}`)), ctx: kv("kms:ViaService", "backup.us-east-1.amazonaws.com")}},
		{"EncryptionContextKeys without set operator", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(keyRoot), id: s(cond(allowKMS, `{'StringEquals':{'kms:EncryptionContextKeys':'k'}}`)), multi: map[string][]string{"kms:EncryptionContextKeys": {"k"}}}},
		{"EncryptionContextKeys with ForAnyValue", "A", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, res: s(keyRoot), id: s(cond(allowKMS, `{'ForAnyValue:StringEquals':{'kms:EncryptionContextKeys':'k'}}`)), multi: map[string][]string{"kms:EncryptionContextKeys": {"k"}}}},
		{"RCP denies another organization", "E", ask{by: role, do: "kms:Decrypt", on: keyB, owner: acctB, kind: policy.KMSKey, id: s(allowKMS), res: s(keyRoot), rcp: s(`{'Effect':'Deny','Principal':'*','Action':'kms:*','Resource':'*','Condition':{'StringNotEqualsIfExists':{'aws:PrincipalOrgID':'o-b'}}}`), ctx: kv("aws:PrincipalOrgID", "o-a1")}},
		{"CopyInto, same organization", "A", ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, id: s(allowBack), res: s(vaultOrg), ctx: kv("aws:PrincipalOrgID", "o-a1")}},
		{"CopyInto, other organization", "I", ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, id: s(allowBack), res: s(vaultOrg), ctx: kv("aws:PrincipalOrgID", "o-zz")}},
		{"CopyInto, no identity policy", "I", ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, res: s(vaultOrg), ctx: kv("aws:PrincipalOrgID", "o-a1")}},
		{"vault: other cross-account actions are not honoured", "I", ask{by: role, do: "backup:StartRestoreJob", on: vaultB, owner: acctB, kind: policy.Vault, id: full, res: s(`{'Effect':'Allow','Principal':'*','Action':'backup:StartRestoreJob','Resource':'*'}`)}},
		{"vault: its Deny counts for other accounts too", "E", ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, id: full, res: s(vaultOrg, `{'Effect':'Deny','Principal':'*','Action':'backup:CopyIntoBackupVault','Resource':'*'}`), ctx: kv("aws:PrincipalOrgID", "o-a1")}},
		{"OrgPaths: children pattern, child account", "A", ask{by: role, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'ForAnyValue:StringLike':{'aws:PrincipalOrgPaths':'o-a1/r-1/ou-a/*'}}`)), multi: path("o-a1/r-1/ou-a/ou-c/")}},
		{"OrgPaths: exact path, child account", "I", ask{by: role, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'ForAnyValue:StringLike':{'aws:PrincipalOrgPaths':'o-a1/r-1/ou-a/'}}`)), multi: path("o-a1/r-1/ou-a/ou-c/")}},
		{"SCP denies CopyInto of an untagged vault", "E", ask{by: role, do: copyInto, on: vaultARN, kind: policy.Vault, id: full, scp: [][]string{{allowAll, denyIf(copyInto, `{'Null':{'aws:ResourceTag/DestinationBackupVault':'true'}}`)}}}},
		{"SCP lets CopyInto of a tagged vault pass", "A", ask{by: role, do: copyInto, on: vaultARN, kind: policy.Vault, id: full, scp: [][]string{{allowAll, denyIf(copyInto, `{'Null':{'aws:ResourceTag/DestinationBackupVault':'true'}}`)}}, ctx: kv("aws:ResourceTag/DestinationBackupVault", "yes")}},
		{"CopyTargets listed", "A", ask{by: role, do: "backup:CopyFromBackupVault", on: vaultARN, id: full, scp: [][]string{{allowAll, denyIf("backup:CopyFromBackupVault", `{'ForAllValues:ArnNotLike':{'backup:CopyTargets':'arn:aws:backup:*:*:backup-vault:cab-*'}}`)}}, multi: targets("arn:aws:backup:us-east-1:222222222222:backup-vault:cab-1")}},
		{"CopyTargets not listed", "E", ask{by: role, do: "backup:CopyFromBackupVault", on: vaultARN, id: full, scp: [][]string{{allowAll, denyIf("backup:CopyFromBackupVault", `{'ForAllValues:ArnNotLike':{'backup:CopyTargets':'arn:aws:backup:*:*:backup-vault:cab-*'}}`)}}, multi: targets(vaultB)}},
		{"CopyTargets absent", "E", ask{by: role, do: "backup:CopyFromBackupVault", on: vaultARN, id: full, scp: [][]string{{allowAll, denyIf("backup:CopyFromBackupVault", `{'ForAllValues:ArnNotLike':{'backup:CopyTargets':'arn:aws:backup:*:*:backup-vault:cab-*'}}`)}}}},
		{"MFA Bool false does not catch long-term keys", "A", ask{by: user, do: delVault, on: vaultARN, id: s(allowAll, denyIf("backup:Delete*", `{'Bool':{'aws:MultiFactorAuthPresent':'false'}}`))}},
		{"MFA BoolIfExists false catches them", "E", ask{by: user, do: delVault, on: vaultARN, id: s(allowAll, denyIf("backup:Delete*", `{'BoolIfExists':{'aws:MultiFactorAuthPresent':'false'}}`))}},
		{"MFA age 120 s", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'NumericLessThan':{'aws:MultiFactorAuthAge':3600}}`)), ctx: kv("aws:MultiFactorAuthAge", "120")}},
		{"MFA age without MFA", "I", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'NumericLessThan':{'aws:MultiFactorAuthAge':3600}}`))}},
		{"AssumeRole same: trust root without identity", "I", ask{by: user, do: "sts:AssumeRole", on: roleARN, kind: policy.RoleTrust, res: s(`{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111111111111:root'},'Action':'sts:AssumeRole'}`)}},
		{"AssumeRole same: trust root with identity", "A", ask{by: user, do: "sts:AssumeRole", on: roleARN, kind: policy.RoleTrust, id: full, res: s(`{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111111111111:root'},'Action':'sts:AssumeRole'}`)}},
		{"AssumeRole same: trust names the user", "A", ask{by: user, do: "sts:AssumeRole", on: roleARN, kind: policy.RoleTrust, res: s(`{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111111111111:user/ops'},'Action':'sts:AssumeRole'}`)}},
		{"AssumeRole same: identity alone", "I", ask{by: role, do: "sts:AssumeRole", on: roleARN, kind: policy.RoleTrust, id: full, res: s(`{'Effect':'Allow','Principal':{'Service':'backup.amazonaws.com'},'Action':'sts:AssumeRole'}`)}},
		{"AssumeRole cross: ExternalId equal", "A", ask{by: user, do: "sts:AssumeRole", on: roleB, owner: acctB, kind: policy.RoleTrust, id: full, res: s(`{'Effect':'Allow','Principal':{'AWS':'111111111111'},'Action':'sts:AssumeRole','Condition':{'StringEquals':{'sts:ExternalId':'x1'}}}`), ctx: kv("sts:ExternalId", "x1")}},
		{"AssumeRole cross: ExternalId absent", "I", ask{by: user, do: "sts:AssumeRole", on: roleB, owner: acctB, kind: policy.RoleTrust, id: full, res: s(`{'Effect':'Allow','Principal':{'AWS':'111111111111'},'Action':'sts:AssumeRole','Condition':{'StringEquals':{'sts:ExternalId':'x1'}}}`)}},
		{"service principal in trust", "A", ask{by: service, do: "sts:AssumeRole", on: roleARN, kind: policy.RoleTrust, res: s(`{'Effect':'Allow','Principal':{'Service':'backup.amazonaws.com'},'Action':'sts:AssumeRole'}`)}},
		{"another service in trust", "I", ask{by: service, do: "sts:AssumeRole", on: roleARN, kind: policy.RoleTrust, res: s(`{'Effect':'Allow','Principal':{'Service':'ec2.amazonaws.com'},'Action':'sts:AssumeRole'}`)}},
		{"PassRole to backup", "A", ask{by: user, do: "iam:PassRole", on: roleARN, id: s(`{'Effect':'Allow','Action':'iam:PassRole','Resource':'*','Condition':{'StringEquals':{'iam:PassedToService':'backup.amazonaws.com'}}}`), ctx: kv("iam:PassedToService", "backup.amazonaws.com")}},
		{"PassRole to ec2", "I", ask{by: user, do: "iam:PassRole", on: roleARN, id: s(`{'Effect':'Allow','Action':'iam:PassRole','Resource':'*','Condition':{'StringEquals':{'iam:PassedToService':'backup.amazonaws.com'}}}`), ctx: kv("iam:PassedToService", "ec2.amazonaws.com")}},
		{"variable in condition: equal", "A", ask{by: user, do: "backup:TagResource", on: vaultARN, id: s(cond(allowBack, `{'StringEquals':{'aws:PrincipalAccount':'${aws:ResourceAccount}'}}`)), ctx: kv("aws:PrincipalAccount", acctA, "aws:ResourceAccount", acctA)}},
		{"variable in condition: no value", "I", ask{by: user, do: "backup:TagResource", on: vaultARN, id: s(cond(allowBack, `{'StringEquals':{'aws:PrincipalAccount':'${aws:ResourceAccount}'}}`)), ctx: kv("aws:PrincipalAccount", acctA)}},
		{"no wildcard injection by a tag", "I", ask{by: user, do: delVault, on: "arn:aws:backup:us-east-1:111111111111:backup-vault:vault9", id: s(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:backup:*:*:backup-vault:${aws:PrincipalTag/t}'}`), ctx: kv("aws:PrincipalTag/t", "v*")}},
		{"variable in resource", "A", ask{by: user, do: delVault, on: "arn:aws:backup:us-east-1:111111111111:backup-vault:vault9", id: s(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:backup:*:*:backup-vault:${aws:PrincipalTag/t}9'}`), ctx: kv("aws:PrincipalTag/t", "vault")}},
		{"NotAction iam, asking iam", "I", ask{by: user, do: "iam:ListUsers", on: "*", id: s(`{'Effect':'Allow','NotAction':'iam:*','Resource':'*'}`)}},
		{"Deny NotResource V, asking V", "A", ask{by: user, do: delVault, on: vaultARN, id: s(allowAll, `{'Effect':'Deny','Action':'*','NotResource':['`+vaultARN+`']}`)}},
		{"Deny NotResource V, asking W", "E", ask{by: user, do: delVault, on: vaultARN + "w", id: s(allowAll, `{'Effect':'Deny','Action':'*','NotResource':['`+vaultARN+`']}`)}},
		{"action without resource type needs Resource *", "I", ask{by: user, do: "backup:ListBackupVaults", on: "*", id: s(`{'Effect':'Allow','Action':'*','Resource':'` + vaultARN + `'}`)}},
		{"negated operator is a NOR", "I", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'StringNotEquals':{'k:k':['x','y']}}`)), ctx: kv("k:k", "x")}},
		{"resource policy names user, boundary lacks", "A", ask{by: user, do: delVault, on: vaultARN, kind: policy.Vault, boundary: s(allowKMS), res: s(`{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111111111111:user/ops'},'Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"resource policy names role, boundary lacks", "I", ask{by: role, do: delVault, on: vaultARN, kind: policy.Vault, boundary: s(allowKMS), res: s(`{'Effect':'Allow','Principal':{'AWS':'` + roleARN + `'},'Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"resource policy names session, boundary lacks", "A", ask{by: role, do: delVault, on: vaultARN, kind: policy.Vault, boundary: s(allowKMS), res: s(`{'Effect':'Allow','Principal':{'AWS':'arn:aws:sts::111111111111:assumed-role/Copy/s1'},'Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"boundary denies explicitly", "E", ask{by: user, do: delVault, on: vaultARN, kind: policy.Vault, boundary: s(`{'Effect':'Deny','Action':'*','Resource':'*'}`), res: s(`{'Effect':'Allow','Principal':'*','Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"session policy lacks", "I", ask{by: role, do: delVault, on: vaultARN, id: full, session: s(allowKMS)}},
		{"SCP second level lacks", "I", ask{by: user, do: delVault, on: vaultARN, id: full, scp: [][]string{{allowAll}, {allowKMS}, {allowAll}}}},
		{"ForAllValues absent", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'ForAllValues:StringEquals':{'aws:TagKeys':'a'}}`))}},
		{"ForAllValues empty", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'ForAllValues:StringEquals':{'aws:TagKeys':'a'}}`)), multi: map[string][]string{"aws:TagKeys": {}}}},
		{"ForAnyValue absent", "I", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'ForAnyValue:StringEquals':{'aws:TagKeys':'a'}}`))}},
		{"ForAnyValue negated, absent", "I", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'ForAnyValue:StringNotEquals':{'aws:TagKeys':'a'}}`))}},
		{"negated, key absent", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'StringNotEquals':{'aws:SourceVpc':'a'}}`))}},
		{"NotIpAddress, SourceIp absent", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'NotIpAddress':{'aws:SourceIp':'10.0.0.0/8'}}`))}},
		{"plain operator on several values", "I", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'StringEquals':{'aws:TagKeys':['a','b']}}`)), multi: map[string][]string{"aws:TagKeys": {"a", "b"}}}},
		{"plain operator on several values in a Deny", "E", ask{by: user, do: delVault, on: vaultARN, id: s(allowBack, denyIf("*", `{'StringEquals':{'aws:TagKeys':'a'}}`)), multi: map[string][]string{"aws:TagKeys": {"a", "b"}}}},
		{"action case differs", "A", ask{by: user, do: delVault, on: vaultARN, id: s(`{'Effect':'Allow','Action':'BACKUP:deletebackupVAULT','Resource':'*'}`)}},
		{"resource case differs", "I", ask{by: user, do: delVault, on: vaultARN, id: s(`{'Effect':'Allow','Action':'*','Resource':'`+strings.ToUpper(vaultARN[:3])+vaultARN[3:]+`'}`, `{'Effect':'Allow','Action':'*','Resource':'`+vaultARN[:len(vaultARN)-1]+`V'}`)[1:]}},
		{"condition key case differs", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'StringEquals':{'AWS:username':'ops'}}`)), ctx: kv("aws:UserName", "ops")}},
		{"ArnEquals acts as ArnLike", "A", ask{by: role, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'ArnEquals':{'aws:PrincipalArn':'arn:aws:iam::*:role/*'}}`)), ctx: kv("aws:PrincipalArn", roleARN)}},

		// Beyond the published vectors.
		{"root user in its own account", "A", ask{by: root, do: delVault, on: vaultARN}},
		{"root user across accounts", "I", ask{by: root, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, res: s(vaultOrg), ctx: kv("aws:PrincipalOrgID", "o-a1")}},
		{"SCP binds the root user", "E", ask{by: root, do: delVault, on: vaultARN, scp: [][]string{{allowAll, `{'Effect':'Deny','Action':'backup:*','Resource':'*'}`}}}},
		{"SCP does not bind service-linked roles", "A", ask{by: linked, do: delVault, on: vaultARN, id: full, scp: [][]string{{`{'Effect':'Deny','Action':'*','Resource':'*'}`}}}},
		{"resource policy denies the root user", "E", ask{by: root, do: delVault, on: vaultARN, kind: policy.Vault, res: s(`{'Effect':'Deny','Principal':'*','Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"a user by unique id", "A", ask{by: user, do: delVault, on: vaultARN, kind: policy.Vault, res: s(`{'Effect':'Allow','Principal':{'AWS':'AIDA1234567890ABCDEF'},'Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"a recreated user has another id", "I", ask{by: user, do: delVault, on: vaultARN, kind: policy.Vault, res: s(`{'Effect':'Allow','Principal':{'AWS':'AIDA1234567890ABCDEG'},'Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"a role by unique id", "A", ask{by: role, do: delVault, on: vaultARN, kind: policy.Vault, res: s(`{'Effect':'Allow','Principal':{'AWS':'AROA1234567890ABCDEF'},'Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"NotPrincipal with the full list spares the session", "A", ask{by: role, do: delVault, on: vaultARN, kind: policy.Vault, id: full, res: s(`{'Effect':'Deny','NotPrincipal':{'AWS':['111111111111','` + roleARN + `','arn:aws:sts::111111111111:assumed-role/Copy/s1']},'Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"NotPrincipal with the role alone denies its session", "E", ask{by: role, do: delVault, on: vaultARN, kind: policy.Vault, id: full, res: s(`{'Effect':'Deny','NotPrincipal':{'AWS':'` + roleARN + `'},'Action':'backup:DeleteBackupVault','Resource':'*'}`)}},
		{"cross-account needs a resource policy", "I", ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, id: full}},
		{"a wildcard does not swallow colons", "I", ask{by: user, do: delVault, on: vaultARN, id: s(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:backup:*:backup-vault:*:v'}`)}},
		{"a variable compares with its value", "I", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'StringEquals':{'a:b':'${aws:username}'}}`)), ctx: kv("a:b", "bob", "aws:username", "joe")}},
		{"default of a variable", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'StringEquals':{'a:b':'${aws:PrincipalTag/x, \u0027none\u0027}'}}`)), ctx: kv("a:b", "none")}},
		{"Allow NotResource with a variable without value", "I", ask{by: user, do: delVault, on: vaultARN, id: s(`{'Effect':'Allow','Action':'*','NotResource':'arn:aws:backup:*:*:backup-vault:${aws:PrincipalTag/x}'}`)}},
		{"the Kelvin sign is not a k", "I", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'StringEqualsIgnoreCase':{'a:b':'k'}}`)), ctx: kv("a:b", "\u212a")}},
		{"a question mark is one character, not one byte", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'StringLike':{'a:b':'x?z'}}`)), ctx: kv("a:b", "xéz")}},
		{"an IPv4 address in IPv6 clothes", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'IpAddress':{'aws:SourceIp':'10.0.0.0/8'}}`)), ctx: kv("aws:SourceIp", "::ffff:10.1.2.3")}},
		{"dates compare with epoch seconds", "A", ask{by: user, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'DateLessThan':{'aws:CurrentTime':'2027-01-01T00:00:00Z'},'DateGreaterThan':{'aws:CurrentTime':1700000000}}`)), ctx: kv("aws:CurrentTime", "2026-05-01T10:00:00Z")}},
		{"ARN condition with a variable in the account part", "A", ask{by: role, do: delVault, on: vaultARN, id: s(cond(allowBack, `{'ArnLike':{'aws:PrincipalArn':'arn:aws:iam::${aws:ResourceAccount}:role/*'}}`)), ctx: kv("aws:PrincipalArn", roleARN, "aws:ResourceAccount", acctA)}},

		// Grants.
		{"grant to the role", "A", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, grants: []policy.Grant{{ID: "g", Grantee: roleARN, IssuingAccount: acctA, Operations: s("Decrypt")}}}},
		{"grant of another operation", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, grants: []policy.Grant{{ID: "g", Grantee: roleARN, IssuingAccount: acctA, Operations: s("Encrypt")}}}},
		{"grant to the role, session policy lacks", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, session: s(allowBack), grants: []policy.Grant{{ID: "g", Grantee: roleARN, IssuingAccount: acctA, Operations: s("Decrypt")}}}},
		{"grant to a service", "A", ask{by: service, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, grants: []policy.Grant{{ID: "g", Grantee: "backup.amazonaws.com", IssuingAccount: acctA, Operations: s("Decrypt")}}}},
		{"grant, subset constraint met", "A", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, ctx: kv("kms:EncryptionContext:a", "1", "kms:EncryptionContext:b", "2"), grants: []policy.Grant{{ID: "g", Grantee: roleARN, Operations: s("Decrypt"), Subset: kv("a", "1")}}}},
		{"grant, constraint names are case-sensitive", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, ctx: kv("kms:EncryptionContext:A", "1"), grants: []policy.Grant{{ID: "g", Grantee: roleARN, Operations: s("Decrypt"), Subset: kv("a", "1")}}}},
		{"grant, equality constraint broken", "I", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, ctx: kv("kms:EncryptionContext:a", "1", "kms:EncryptionContext:b", "2"), grants: []policy.Grant{{ID: "g", Grantee: roleARN, Operations: s("Decrypt"), Equals: kv("a", "1")}}}},
		{"cross-account grant issued by A", "A", ask{by: role, do: "kms:Decrypt", on: keyB, owner: acctB, kind: policy.KMSKey, grants: []policy.Grant{{ID: "g", Grantee: roleARN, IssuingAccount: acctA, Operations: s("Decrypt")}}}},
		{"cross-account grant issued by B needs identity", "I", ask{by: role, do: "kms:Decrypt", on: keyB, owner: acctB, kind: policy.KMSKey, grants: []policy.Grant{{ID: "g", Grantee: roleARN, IssuingAccount: acctB, Operations: s("Decrypt")}}}},
		{"cross-account grant issued by B with identity", "A", ask{by: role, do: "kms:Decrypt", on: keyB, owner: acctB, kind: policy.KMSKey, id: s(allowKMS), grants: []policy.Grant{{ID: "g", Grantee: roleARN, IssuingAccount: acctB, Operations: s("Decrypt")}}}},
		{"an identity Deny beats a grant", "E", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, id: s(`{'Effect':'Deny','Action':'kms:*','Resource':'*'}`), grants: []policy.Grant{{ID: "g", Grantee: roleARN, Operations: s("Decrypt")}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := policy.Evaluate(c.request(t))
			got := map[policy.Reason]string{policy.Allow: "A", policy.ImplicitDeny: "I", policy.ExplicitDeny: "E"}[d.Reason]
			if got != c.want || d.Allowed != (c.want == "A") {
				t.Errorf("got %s, want %s\n%s", got, c.want, d.Explain())
			}
			if !d.Allowed && (d.Text() == "" || d.Missing() == "") {
				t.Errorf("a denial must explain itself: %q %q", d.Text(), d.Missing())
			}
		})
	}
}

// TestGuardrailTable is the table of service control policies of spec/organizations.md.
func TestGuardrailTable(t *testing.T) {
	t.Parallel()
	allow := func(a ...string) string {
		return `{'Effect':'Allow','Action':['` + strings.Join(a, "','") + `'],'Resource':'*'}`
	}
	deny := func(a string) string { return `{'Effect':'Deny','Action':'` + a + `','Resource':'*'}` }
	x := "backup:DeleteRecoveryPoint"
	for _, c := range []struct {
		name              string
		root, ou, account []string
		allowed, denied   []string
	}{
		{"all full", s(allowAll), s(allowAll), s(allowAll), s(x, "s3:GetObject"), nil},
		{"deny at root", s(allowAll, deny(x)), s(allowAll), s(allowAll), s("s3:GetObject", "backup:ListTags"), s(x)},
		{"OU allows s3", s(allowAll), s(allow("s3:*")), s(allowAll), s("s3:GetObject"), s(x)},
		{"root s3 and backup, OU backup", s(allow("s3:*", "backup:*")), s(allow("backup:*")), s(allowAll), s(x), s("s3:GetObject", "kms:Decrypt")},
		{"OU backup, account s3", s(allowAll), s(allow("backup:*")), s(allow("s3:*")), nil, s(x, "s3:GetObject")},
		{"deny on OU, allow on account", s(allowAll), s(allowAll, deny(x)), s(allowAll, allow(x)), s("s3:GetObject"), s(x)},
		{"a level without policies", s(allowAll), nil, s(allowAll), nil, s(x)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for want, list := range map[bool][]string{true: c.allowed, false: c.denied} {
				for _, action := range list {
					d := policy.Evaluate(ask{by: user, do: action, on: "*", id: s(allowAll), scp: [][]string{c.root, c.ou, c.account}}.request(t))
					if d.Allowed != want || !want && d.Type != policy.TypeSCP {
						t.Errorf("%s: allowed = %v, want %v\n%s", action, d.Allowed, want, d.Explain())
					}
				}
			}
		})
	}
}
