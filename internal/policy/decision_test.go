package policy_test

import (
	"strings"
	"testing"

	"strongroom/internal/access"
	"strongroom/internal/policy"
)

// TestDenialTexts: AWS's text is the beginning of every denial, word for word.
func TestDenialTexts(t *testing.T) {
	t.Parallel()
	const scpARN = "arn:aws:organizations::999999999999:policy/o-a1/service_control_policy/p-1"
	userPrefix := "User: arn:aws:iam::111111111111:user/ops is not authorized to perform: backup:DeleteBackupVault on resource: " + vaultARN + " "
	deny := `{'Sid':'KeepVaults','Effect':'Deny','Action':'backup:DeleteBackupVault','Resource':'*'}`
	full := s(allowAll)
	for _, c := range []struct {
		name string
		ask
		want string // beginning
		says string // in the details
	}{
		{"identity lacks", ask{by: user, do: delVault, on: vaultARN}, userPrefix + "because no identity-based policy allows the backup:DeleteBackupVault action (", `lacks {"Effect":"Allow","Action":"backup:DeleteBackupVault","Resource":"` + vaultARN + `"}`},
		{"identity denies", ask{by: user, do: delVault, on: vaultARN, id: s(allowAll, deny)}, userPrefix + "with an explicit deny in an identity-based policy (", `denied by identity-based policy inline statement 2 "KeepVaults"`},
		{"boundary lacks", ask{by: user, do: delVault, on: vaultARN, id: full, boundary: s(allowKMS)}, userPrefix + "because no permissions boundary allows the backup:DeleteBackupVault action (", "permissions boundary of limit"},
		{"boundary denies", ask{by: user, do: delVault, on: vaultARN, id: full, boundary: s(allowAll, deny)}, userPrefix + "with an explicit deny in a permissions boundary (", ""},
		{"session lacks", ask{by: user, do: delVault, on: vaultARN, id: full, session: s(allowKMS)}, userPrefix + "because no session policy allows the backup:DeleteBackupVault action (", "ask for a session"},
		{"session denies", ask{by: user, do: delVault, on: vaultARN, id: full, session: s(allowAll, deny)}, userPrefix + "with an explicit deny in a session policy (", ""},
		{"SCP lacks", ask{by: user, do: delVault, on: vaultARN, id: full, scp: [][]string{{allowKMS}}}, userPrefix + "because no service control policy allows the backup:DeleteBackupVault action (", "level 1 of 1"},
		{"SCP denies", ask{by: user, do: delVault, on: vaultARN, id: full, scp: [][]string{{allowAll, deny}}}, userPrefix + "with an explicit deny in a service control policy: " + scpARN + " (", `"KeepVaults"`},
		{"vault denies", ask{by: user, do: delVault, on: vaultARN, kind: policy.Vault, id: full, res: s(`{'Effect':'Deny','Principal':'*','Action':'backup:DeleteBackupVault','Resource':'*'}`)}, userPrefix + "with an explicit deny in a resource-based policy (", "statement 1"},
		{"session principals print the assumed role", ask{by: role, do: delVault, on: vaultARN}, "User: arn:aws:sts::111111111111:assumed-role/Copy/s1 is not authorized to perform: ", "principal arn:aws:sts::111111111111:assumed-role/Copy/s1"},
		{"copy into another account, identity lacks", ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, res: s(vaultOrg), ctx: map[string]string{"aws:PrincipalOrgID": "o-a1"}}, "User: arn:aws:sts::111111111111:assumed-role/Copy/s1 is not authorized to perform: backup:CopyIntoBackupVault on resource: " + vaultB + " because no identity-based policy allows the backup:CopyIntoBackupVault action (", ""},
		{"copy into another account, vault policy lacks", ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, id: full}, "User: arn:aws:sts::111111111111:assumed-role/Copy/s1 is not authorized to perform: backup:CopyIntoBackupVault on resource: " + vaultB + " because no resource-based policy allows the backup:CopyIntoBackupVault action (", `(account 222222222222) lacks {"Effect":"Allow","Principal":{"AWS":"` + roleARN + `"},"Action":"backup:CopyIntoBackupVault","Resource":"` + vaultB + `"}`},
		{"own key lacks", ask{by: role, do: "kms:Decrypt", on: keyARN, kind: policy.KMSKey, id: full}, "User: arn:aws:sts::111111111111:assumed-role/Copy/s1 is not authorized to perform: kms:Decrypt on resource: " + keyARN + " because no resource-based policy allows the kms:Decrypt action (", `lacks {"Effect":"Allow","Principal":{"AWS":"` + roleARN + `"}`},
		{"another account's key hides the cause", ask{by: role, do: "kms:CreateGrant", on: keyB, owner: acctB, kind: policy.KMSKey, id: full}, "User: arn:aws:sts::111111111111:assumed-role/Copy/s1 is not authorized to perform: kms:CreateGrant on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access (", "account 222222222222 decides"},
		{"another account's key that does not exist sounds the same", ask{by: role, do: "kms:CreateGrant", on: keyB, owner: acctB, id: full}, "User: arn:aws:sts::111111111111:assumed-role/Copy/s1 is not authorized to perform: kms:CreateGrant on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access (", "account 222222222222 decides"},
		{"trust lacks", ask{by: user, do: "sts:AssumeRole", on: roleB, owner: acctB, kind: policy.RoleTrust, id: full}, "User: arn:aws:iam::111111111111:user/ops is not authorized to perform: sts:AssumeRole on resource: " + roleB + " because no role trust policy allows the sts:AssumeRole action (", ""},
		{"anonymous", ask{by: access.Principal{}, do: delVault, on: vaultARN}, "User: anonymous is not authorized to perform: ", "not signed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := policy.Evaluate(c.request(t))
			if got := d.Text(); !strings.HasPrefix(got, c.want) || !strings.Contains(got, c.says) || !strings.HasSuffix(got, ")") {
				t.Errorf("got  %s\nwant %s\nwith %s", got, c.want, c.says)
			}
		})
	}
}

// TestAllDeniesAreListed: every policy that denies is in the trace, not just the first.
func TestAllDeniesAreListed(t *testing.T) {
	t.Parallel()
	deny := `{'Effect':'Deny','Action':'backup:*','Resource':'*'}`
	d := policy.Evaluate(ask{by: role, do: delVault, on: vaultARN, kind: policy.Vault, id: s(allowAll, deny), boundary: s(deny), session: s(deny), scp: [][]string{{allowAll, deny}, {deny}},
		res: s(`{'Effect':'Deny','Principal':'*','Action':'backup:DeleteBackupVault','Resource':'*'}`)}.request(t))
	var types []string
	for _, s := range d.Deciding {
		types = append(types, string(s.Source.Type))
	}
	if got := strings.Join(types, ", "); got != "service control policy, service control policy, resource-based policy, identity-based policy, permissions boundary, session policy" {
		t.Errorf("got %s", got)
	}
	if d.Deciding[3].Index != 1 || d.Deciding[3].Line != 1 || d.Deciding[3].Col < 2 {
		t.Errorf("the statement is not located: %+v", d.Deciding[3])
	}
}

// TestExplainShowsWhatIsUnmet: the explanation puts the policy's value beside the request's and offers the statement.
func TestExplainShowsWhatIsUnmet(t *testing.T) {
	t.Parallel()
	d := policy.Evaluate(ask{by: role, do: "kms:CreateGrant", on: keyARN, kind: policy.KMSKey,
		ctx: map[string]string{"kms:ViaService": "backup.eu-west-1.amazonaws.com", "kms:GrantIsForAWSResource": "true"},
		res: s(allowTwo, `{'Sid':'Via backup','Effect':'Allow','Principal':{'AWS':'111111111111'},'Action':'kms:*','Resource':'*','Condition':{'StringEquals':{'kms:ViaService':'backup.us-east-1.amazonaws.com'},'StringLike':{'aws:PrincipalTag/team':['red','blue']}}}`)}.request(t))
	got := d.Explain()
	for _, want := range []string{
		"NO  arn:aws:sts::111111111111:assumed-role/Copy/s1  kms:CreateGrant on " + keyARN + ": implicitly denied\n",
		"statement 1 (line 1, column 38): it allows kms:Decrypt, kms:DescribeKey, not kms:CreateGrant",
		`statement 2 "Via backup"`,
		`StringEquals kms:ViaService wants "backup.us-east-1.amazonaws.com"; the request has "backup.eu-west-1.amazonaws.com"`,
		`StringLike aws:PrincipalTag/team wants "red", "blue"; the request has no such key`,
		`fix (account 111111111111): add {"Effect":"Allow","Principal":{"AWS":"` + roleARN + `"},"Action":"kms:CreateGrant","Resource":"*","Condition":{"Bool":{"kms:GrantIsForAWSResource":"true"},"StringEquals":{"kms:ViaService":"backup.eu-west-1.amazonaws.com"}}}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestExplainKeepsForeignPoliciesSecret: of another account's policy nothing but type and owner is told, unless the viewer
// may read it.
func TestExplainKeepsForeignPoliciesSecret(t *testing.T) {
	t.Parallel()
	d := policy.Evaluate(ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, id: s(allowAll),
		res: s(`{'Sid':'TopSecret','Effect':'Deny','Principal':'*','Action':'backup:CopyIntoBackupVault','Resource':'*'}`)}.request(t))
	for _, text := range []string{d.Explain(), d.Text(), d.Missing()} {
		if strings.Contains(text, "TopSecret") || !strings.Contains(text, "a resource-based policy of account 222222222222") {
			t.Errorf("got %s", text)
		}
	}
	if all := d.ExplainFor(func(policy.Source) bool { return true }); !strings.Contains(all, "TopSecret") {
		t.Errorf("got %s", all)
	}
}

// TestUnreadablePolicyDenies: a policy that could not be parsed is never skipped.
func TestUnreadablePolicyDenies(t *testing.T) {
	t.Parallel()
	base := ask{by: role, do: delVault, on: vaultARN, id: s(allowAll)}.request(t)
	if !policy.Evaluate(base).Allowed {
		t.Fatal("the base case must be allowed")
	}
	broken := policy.Source{Name: "broken", Owner: acctA}
	for name, change := range map[string]func(*policy.Request){
		"identity": func(r *policy.Request) { r.Identity = append(r.Identity, broken) },
		"boundary": func(r *policy.Request) { r.Boundary = []policy.Source{broken} },
		"session":  func(r *policy.Request) { r.Session = []policy.Source{broken} },
		"SCP":      func(r *policy.Request) { r.SCPs = [][]policy.Source{{broken}} },
		"RCP":      func(r *policy.Request) { r.RCPs = []policy.Source{broken} },
		"resource": func(r *policy.Request) { r.Resource = &broken },
	} {
		r := base
		change(&r)
		if d := policy.Evaluate(r); d.Reason != policy.ExplicitDeny || d.Explain() == "" || d.Text() == "" {
			t.Errorf("%s: %v", name, d.Reason)
		}
	}
}

// TestEmptyLimitsAllowNothing: nil means no limit, an empty list means that nothing is allowed.
func TestEmptyLimitsAllowNothing(t *testing.T) {
	t.Parallel()
	base := ask{by: role, do: delVault, on: vaultARN, id: s(allowAll)}.request(t)
	for name, change := range map[string]func(*policy.Request){
		"boundary": func(r *policy.Request) { r.Boundary = []policy.Source{} },
		"session":  func(r *policy.Request) { r.Session = []policy.Source{} },
		"level":    func(r *policy.Request) { r.SCPs = [][]policy.Source{{}} },
		"action":   func(r *policy.Request) { r.Check.Action = "*" },
		"resource": func(r *policy.Request) { r.Check.Resource = "" },
	} {
		r := base
		change(&r)
		if d := policy.Evaluate(r); d.Allowed || d.Text() == "" {
			t.Errorf("%s: allowed", name)
		}
	}
	if (policy.Decision{}).Allowed || (policy.Decision{}).Text() != "" {
		t.Error("the zero decision must deny without panicking")
	}
}

// TestDenialsDoNotTellWhatExists: for other accounts a resource without policy and one that does not exist look the same,
// and as long as the own account does not allow the request, nothing is said about the other one.
func TestDenialsDoNotTellWhatExists(t *testing.T) {
	t.Parallel()
	text := func(a ask) string { return policy.Evaluate(a.request(t)).Text() }
	foreign := `{'Effect':'Allow','Principal':{'AWS':'333333333333'},'Action':'backup:CopyIntoBackupVault','Resource':'*'}`
	for _, action := range []string{copyInto, delVault} {
		there := text(ask{by: role, do: action, on: vaultB, owner: acctB, kind: policy.Vault, id: s(allowAll), res: s(foreign)})
		bare := text(ask{by: role, do: action, on: vaultB, owner: acctB, kind: policy.Vault, id: s(allowAll)})
		gone := text(ask{by: role, do: action, on: vaultB, owner: acctB, id: s(allowAll)})
		if there != gone || bare != gone {
			t.Errorf("%s:\n%s\n%s\n%s", action, there, bare, gone)
		}
	}
	open := text(ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, res: s(`{'Effect':'Allow','Principal':'*','Action':'backup:CopyIntoBackupVault','Resource':'*'}`)})
	closed := text(ask{by: role, do: copyInto, on: vaultB, owner: acctB, kind: policy.Vault, res: s(foreign)})
	if open != closed {
		t.Errorf("\n%s\n%s", open, closed)
	}
}
