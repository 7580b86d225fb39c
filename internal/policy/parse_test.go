package policy_test

import (
	"strings"
	"sync"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

// TestParseRefuses: each document is refused at the right place for the right reason.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	stmt := func(s string) string { return `{'Version':'2012-10-17','Statement':` + s + `}` }
	idWith := func(cond string) string {
		return stmt(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':` + cond + `}`)
	}
	for _, c := range []struct {
		name    string
		kind    policy.Kind
		text    string
		pointer string
		says    string
	}{
		{"empty", policy.Identity, ``, "/", "ends too early"},
		{"not an object", policy.Identity, `[]`, "/", "JSON object"},
		{"trailing text", policy.Identity, stmt(`{'Effect':'Allow','Action':'*','Resource':'*'}`) + `x`, "/", "after the document"},
		{"trailing comma", policy.Identity, stmt(`[{'Effect':'Allow','Action':'*','Resource':'*'},]`), "/Statement/1", "JSON value"},
		{"duplicate Effect", policy.Identity, stmt(`{'Effect':'Deny','Action':'*','Resource':'*','Effect':'Allow'}`), "/Statement/Effect", "twice"},
		{"duplicate by escape", policy.Identity, stmt(`{'Effect':'Deny','Action':'*','Resource':'*','\u0045ffect':'Allow'}`), "/Statement/Effect", "twice"},
		{"duplicate condition key", policy.Identity, idWith(`{'Bool':{'a:b':'true','a:b':'false'}}`), "/Statement/Condition/Bool/a:b", "twice"},
		{"element case", policy.Identity, stmt(`{'effect':'Allow','Action':'*','Resource':'*'}`), "/Statement/effect", `did you mean "Effect"`},
		{"effect case", policy.Identity, stmt(`{'Effect':'allow','Action':'*','Resource':'*'}`), "/Statement/Effect", `must be "Allow"`},
		{"unknown element", policy.Identity, stmt(`{'Effect':'Allow','Action':'*','Resource':'*','Conditions':{}}`), "/Statement/Conditions", "unknown element"},
		{"no statement", policy.Identity, `{'Version':'2012-10-17'}`, "/", "no Statement"},
		{"empty statement list", policy.Identity, stmt(`[]`), "/Statement", "at least one"},
		{"version", policy.Identity, `{'Version':'2012-10-18','Statement':[]}`, "/Version", "2012-10-17"},
		{"no effect", policy.Identity, stmt(`[{'Action':'*','Resource':'*'}]`), "/Statement/0", "no Effect"},
		{"no action", policy.Identity, stmt(`[{'Effect':'Allow','Resource':'*'}]`), "/Statement/0", "no Action"},
		{"both actions", policy.Identity, stmt(`{'Effect':'Allow','Action':'*','NotAction':'*','Resource':'*'}`), "/Statement", "not both"},
		{"empty action list", policy.Identity, stmt(`{'Effect':'Allow','Action':[],'Resource':'*'}`), "/Statement/Action", "at least one"},
		{"action without service", policy.Identity, stmt(`{'Effect':'Allow','Action':['backup:X','DeleteBackupVault'],'Resource':'*'}`), "/Statement/Action/1", "invalid action"},
		{"action number", policy.Identity, stmt(`{'Effect':'Allow','Action':[1],'Resource':'*'}`), "/Statement/Action/0", "want a string"},
		{"identity needs a resource", policy.Identity, stmt(`{'Effect':'Allow','Action':'*'}`), "/Statement", "needs a Resource"},
		{"identity has no principal", policy.Identity, stmt(`{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*'}`), "/Statement/Principal", "has no Principal"},
		{"resource is no ARN", policy.Identity, stmt(`{'Effect':'Deny','Action':'*','Resource':'arn:aws:s3*'}`), "/Statement/Resource", "six parts"},
		{"variable in the account part", policy.Identity, stmt(`{'Effect':'Deny','Action':'*','Resource':'arn:aws:iam::${aws:PrincipalAccount}:role/x'}`), "/Statement/Resource", "sixth part"},
		{"open variable", policy.Identity, stmt(`{'Effect':'Deny','Action':'*','Resource':'arn:aws:s3:::${aws:username'}`), "/Statement/Resource", "closing brace"},
		{"sid", policy.Identity, stmt(`{'Sid':'a b','Effect':'Allow','Action':'*','Resource':'*'}`), "/Statement/Sid", "letters and digits"},
		{"sid twice", policy.Identity, stmt(`[{'Sid':'a','Effect':'Allow','Action':'*','Resource':'*'},{'Sid':'a','Effect':'Allow','Action':'*','Resource':'*'}]`), "/Statement/1/Sid", "twice"},
		{"unknown operator", policy.Identity, idWith(`{'StringContains':{'a:b':'c'}}`), "/Statement/Condition/StringContains", "unknown condition operator"},
		{"operator case", policy.Identity, idWith(`{'ForAnyvalue:stringequals':{'a:b':'c'}}`), "/Statement/Condition/ForAnyvalue:stringequals", `did you mean "ForAnyValue:StringEquals"`},
		{"Null has no IfExists", policy.Identity, idWith(`{'NullIfExists':{'a:b':'true'}}`), "/Statement/Condition/NullIfExists", "unknown condition operator"},
		{"number", policy.Identity, idWith(`{'NumericLessThan':{'a:b':'ten'}}`), "/Statement/Condition/NumericLessThan/a:b", "not a decimal number"},
		{"date", policy.Identity, idWith(`{'DateLessThan':{'a:b':['2026-13-01']}}`), "/Statement/Condition/DateLessThan/a:b/0", "ISO 8601"},
		{"bool", policy.Identity, idWith(`{'Bool':{'a:b':'yes'}}`), "/Statement/Condition/Bool/a:b", "neither true nor false"},
		{"network", policy.Identity, idWith(`{'IpAddress':{'a:b':'10.0.0.0/33'}}`), "/Statement/Condition/IpAddress/a:b", "CIDR"},
		{"base64", policy.Identity, idWith(`{'BinaryEquals':{'a:b':'!'}}`), "/Statement/Condition/BinaryEquals/a:b", "base64"},
		{"ARN condition", policy.Identity, idWith(`{'ArnLike':{'a:b':'role/x'}}`), "/Statement/Condition/ArnLike/a:b", "six parts"},
		{"null value", policy.Identity, idWith(`{'StringEquals':{'a:b':null}}`), "/Statement/Condition/StringEquals/a:b", "not null"},
		{"empty values", policy.Identity, idWith(`{'StringEquals':{'a:b':[]}}`), "/Statement/Condition/StringEquals/a:b", "at least one value"},
		{"pointer escapes", policy.Identity, idWith(`{'StringEquals':{'aws:PrincipalTag/a~b':null}}`), "/Statement/Condition/StringEquals/aws:PrincipalTag~1a~0b", "not null"},
		{"control character", policy.Identity, stmt("{'Effect':'Allow','Action':'*\x01','Resource':'*'}"), "/", "U+0001"},
		{"control character by escape", policy.Identity, stmt(`{'Effect':'Allow','Action':'*\u0000','Resource':'*'}`), "/Statement/Action", "U+0000"},
		{"character above U+00FF", policy.Identity, stmt(`{'Effect':'Allow','Action':'аction:x','Resource':'*'}`), "/", "not allowed"},
		{"half a surrogate pair", policy.Identity, idWith(`{'StringEquals':{'a:b':'\ud800'}}`), "/Statement/Condition/StringEquals/a:b", "not allowed"},
		{"invalid UTF-8", policy.Identity, "{\"Version\":\"\xff\"}", "/", "UTF-8"},
		{"nesting", policy.Identity, strings.Repeat("[", 40), "/0/0/0/0/0/0/0/0/0/0/0/0/0", "too deeply"},

		{"vault needs a principal", policy.ResourceVault, stmt(`{'Effect':'Allow','Action':'backup:X','Resource':'*'}`), "/Statement", "needs a Principal"},
		{"vault needs a resource", policy.ResourceVault, stmt(`{'Effect':'Allow','Principal':'*','Action':'backup:X'}`), "/Statement", "needs a Resource"},
		{"vault has no action wildcards", policy.ResourceVault, stmt(`{'Effect':'Allow','Principal':'*','Action':'backup:Copy*','Resource':'*'}`), "/Statement/Action", "wildcards"},
		{"vault has no bare star", policy.ResourceVault, stmt(`{'Effect':'Deny','Principal':'*','Action':['*'],'Resource':'*'}`), "/Statement/Action/0", "wildcards"},
		{"NotPrincipal with Allow", policy.ResourceVault, stmt(`{'Effect':'Allow','NotPrincipal':{'AWS':'111111111111'},'Action':'backup:X','Resource':'*'}`), "/Statement/NotPrincipal", "everybody else"},
		{"NotPrincipal everybody", policy.ResourceVault, stmt(`{'Effect':'Deny','NotPrincipal':'*','Action':'backup:X','Resource':'*'}`), "/Statement/NotPrincipal", "nobody"},
		{"principal wildcard", policy.KeyPolicy, stmt(`{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111111111111:role/*'},'Action':'kms:*','Resource':'*'}`), "/Statement/Principal/AWS", "wildcards"},
		{"principal group", policy.KeyPolicy, stmt(`{'Effect':'Allow','Principal':{'AWS':['arn:aws:iam::111111111111:group/g']},'Action':'kms:*','Resource':'*'}`), "/Statement/Principal/AWS/0", "group"},
		{"principal text", policy.KeyPolicy, stmt(`{'Effect':'Allow','Principal':'111111111111','Action':'kms:*','Resource':'*'}`), "/Statement/Principal", "object"},
		{"principal kind", policy.KeyPolicy, stmt(`{'Effect':'Allow','Principal':{'aws':'111111111111'},'Action':'kms:*','Resource':'*'}`), "/Statement/Principal/aws", `did you mean "AWS"`},
		{"trust has no resource", policy.TrustPolicy, stmt(`{'Effect':'Allow','Principal':'*','Action':'sts:AssumeRole','Resource':'*'}`), "/Statement/Resource", "has no Resource"},
		{"trust has no NotPrincipal", policy.TrustPolicy, stmt(`{'Effect':'Deny','NotPrincipal':{'AWS':'111111111111'},'Action':'sts:AssumeRole'}`), "/Statement/NotPrincipal", "has no NotPrincipal"},
		{"trust names sts only", policy.TrustPolicy, stmt(`{'Effect':'Allow','Principal':'*','Action':'iam:PassRole'}`), "/Statement/Action", "actions of sts"},
		{"trust bare star", policy.TrustPolicy, stmt(`{'Effect':'Allow','Principal':'*','Action':'*'}`), "/Statement/Action", "actions of sts"},
		{"SCP has no principal", policy.SCP, stmt(`{'Effect':'Deny','Principal':'*','Action':'*','Resource':'*'}`), "/Statement/Principal", "has no Principal"},
		{"RCP only denies", policy.RCP, stmt(`{'Effect':'Allow','Principal':'*','Action':'kms:*','Resource':'*'}`), "/Statement/Effect", "only deny"},
		{"RCP is for everybody", policy.RCP, stmt(`{'Effect':'Deny','Principal':{'AWS':'*'},'Action':'kms:*','Resource':'*'}`), "/Statement/Principal", `must be "*"`},
		{"RCP bare star", policy.RCP, stmt(`{'Effect':'Deny','Principal':'*','Action':'*','Resource':'*'}`), "/Statement/Action", "name a service"},
		{"RCP does not cover backup", policy.RCP, stmt(`{'Effect':'Deny','Principal':'*','Action':'backup:DeleteBackupVault','Resource':'*'}`), "/Statement/Action", "do not cover"},
		{"SCP size", policy.SCP, stmt(`{'Effect':'Deny','Action':'*','Resource':'*'}`) + strings.Repeat(" ", 5120), "/", "5120 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Parse(c.kind, strings.ReplaceAll(c.text, "'", `"`))
			f := fault.As(err)
			if f == nil || f.Kind != fault.Invalid || f.Code != "MalformedPolicy" {
				t.Fatalf("got %v, want a malformed-policy fault", err)
			}
			if f.Detail["Pointer"] != c.pointer || !strings.Contains(f.Msg, c.says) {
				t.Errorf("got %s, want %q at %s", f.Msg, c.says, c.pointer)
			}
		})
	}
}

// TestParseSaysWhere: line and column count from 1, in characters.
func TestParseSaysWhere(t *testing.T) {
	t.Parallel()
	_, err := policy.Parse(policy.Identity, "{\n \"Statement\": [{\n  \"Sid\": \"\",\n  \"Effect\": \"Allow\", \"Action\": [\"é:x\", 7], \"Resource\": \"*\"}]}")
	f := fault.As(err)
	if f == nil || f.Detail["Line"] != "4" || f.Detail["Column"] != "33" || !strings.Contains(f.Msg, "/Statement/0/Action/0 (line 4, column 33)") {
		t.Errorf("got %v", err)
	}
}

// TestParseAccepts: forms of real policies that must pass.
func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kind policy.Kind
		text string
	}{
		{"no version, one statement, scalars", policy.Identity, `{'Statement':{'Effect':'Allow','Action':'s3:GetObject','Resource':'arn:aws:s3:::b/*'}}`},
		{"unquoted values", policy.Identity, `{'Id':'x','Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':['kms:CreateGrant'],'Resource':['*'],'Condition':{'Bool':{'kms:GrantIsForAWSResource':true},'NumericLessThan':{'aws:MultiFactorAuthAge':[3600,7200.5]}}}]}`},
		{"empty condition", policy.Identity, `{'Statement':{'Effect':'Allow','Action':'*','Resource':'*','Condition':{}}}`},
		{"backup operator style", policy.Identity, `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':['backup:Get*','backup:List*','backup-storage:*'],'Resource':'*'},{'Effect':'Allow','Action':'iam:PassRole','Resource':['arn:aws:iam::*:role/*AwsBackup*','arn:aws:iam::*:role/*AWSBackup*'],'Condition':{'StringLike':{'iam:PassedToService':'backup.amazonaws.com'}}},{'Effect':'Allow','Action':'rds:Delete*','Resource':'*','Condition':{'ForAnyValue:StringEquals':{'aws:CalledVia':['backup.amazonaws.com']}}}]}`},
		{"key policy with spaces in Sid and no Resource", policy.KeyPolicy, `{'Statement':[{'Sid':'Enable IAM policies','Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111111111111:root'},'Action':'kms:*'}]}`},
		{"key policy with unique ids, a service and a session", policy.KeyPolicy, `{'Statement':[{'Effect':'Allow','Principal':{'AWS':['AROA1234567890ABCDEF','arn:aws:sts::111111111111:assumed-role/R/s','*'],'Service':'backup.amazonaws.com'},'Action':'kms:*','Resource':'*'}]}`},
		{"SCP of the full language", policy.SCP, `{'Version':'2012-10-17','Statement':[{'Sid':'Keep It','Effect':'Allow','NotAction':'iam:*','NotResource':'arn:aws:iam::*:role/BackupAdmin','Condition':{'ArnNotLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/BackupAdmin'}}}]}`},
		{"RCP for keys", policy.RCP, `{'Version':'2012-10-17','Statement':[{'Effect':'Deny','Principal':'*','Action':['kms:ScheduleKeyDeletion','kms:DisableKey'],'Resource':'*','Condition':{'ArnNotLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/BackupAdmin'}}}]}`},
		{"trust with a provider", policy.TrustPolicy, `{'Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::111111111111:oidc-provider/example.org'},'Action':'sts:AssumeRoleWithWebIdentity'}]}`},
		{"characters by escape", policy.Identity, `{'Statement':[{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'StringEquals':{'aws:ResourceTag/t':'\u4e2d'}}}]}`},
		{"variables are plain text in the old version", policy.Identity, `{'Statement':[{'Effect':'Allow','Action':'*','Resource':'arn:aws:iam::${x:*'}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			parse(t, c.kind, strings.ReplaceAll(c.text, "'", `"`))
		})
	}
}

// TestVariablesNeedTheNewVersion: without "2012-10-17" a variable is literal text.
func TestVariablesNeedTheNewVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{`"Version":"2012-10-17",`: true, `"Version":"2008-10-17",`: false, ``: false} {
		text := `{` + version + `"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"${aws:username}"}}}}`
		r := ask{by: user, do: delVault, on: vaultARN, ctx: map[string]string{"a:b": "ops", "aws:username": "ops"}}.request(t)
		r.Identity = []policy.Source{{Doc: parse(t, policy.Identity, text)}}
		if got := policy.Evaluate(r).Allowed; got != want {
			t.Errorf("%s: allowed = %v", version, got)
		}
	}
}

// TestMapPrincipals: users and roles are replaced in place, everything else stays byte for byte.
func TestMapPrincipals(t *testing.T) {
	t.Parallel()
	text := "{ \"Statement\": [ {\"Effect\":\"Allow\", \"Principal\": {\"AWS\": [\"arn:aws:iam::111111111111:role/r\",\n \"111111111111\", \"*\"],\"Service\":\"backup.amazonaws.com\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}," +
		"{\"Effect\":\"Deny\",\"NotPrincipal\":{\"AWS\":\"arn:aws:iam::111111111111:role/r\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}]}"
	d := parse(t, policy.KeyPolicy, text)
	if got := strings.Join(d.Principals(), " "); got != "111111111111 arn:aws:iam::111111111111:role/r" {
		t.Errorf("principals: %s", got)
	}
	stored := d.MapPrincipals(func(s string) string {
		if strings.HasPrefix(s, "arn:") {
			return "AROA1234567890ABCDEF"
		}
		return s
	})
	if want := strings.ReplaceAll(text, "arn:aws:iam::111111111111:role/r", "AROA1234567890ABCDEF"); stored != want {
		t.Errorf("got %s", stored)
	}
	back := parse(t, policy.KeyPolicy, stored).MapPrincipals(func(s string) string {
		if s == "AROA1234567890ABCDEF" {
			return "arn:aws:iam::111111111111:role/r"
		}
		return s
	})
	if back != text {
		t.Errorf("got %s", back)
	}
}

func TestSizeIgnoresWhiteSpace(t *testing.T) {
	t.Parallel()
	if n := policy.Size(" {\n\t\"a\": é } "); n != 7 {
		t.Errorf("got %d", n)
	}
}

// TestCacheForgets: the cache returns equal documents, keeps kinds apart, forgets old ones and does not remember refusals.
func TestCacheForgets(t *testing.T) {
	t.Parallel()
	c := policy.NewCache(2)
	a := doc(allowAll)
	d1, err := c.Parse(policy.Identity, a)
	if err != nil {
		t.Fatal(err)
	}
	if d2, _ := c.Parse(policy.Identity, a); d2 != d1 {
		t.Error("parsed twice")
	}
	if d3, _ := c.Parse(policy.SCP, a); d3 == d1 || d3.Kind() != policy.SCP {
		t.Error("kinds are mixed up")
	}
	for i := range 8 {
		if _, err := c.Parse(policy.Identity, a+strings.Repeat(" ", i+1)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Parse(policy.Identity, "{"); err == nil {
			t.Fatal("accepted")
		}
	}
	if d4, _ := c.Parse(policy.Identity, a); d4 == d1 {
		t.Error("nothing was forgotten")
	}
}

// FuzzParse: no text panics; what is accepted parses again to the same, and evaluating it does not panic.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		doc(allowAll), doc(keyRoot, vaultOrg), doc(denyIf("*", `{'StringNotLike':{'aws:PrincipalTag/x':'${aws:username, \u0027d\u0027}*'}}`)),
		`{"Statement":[{"Effect":"Deny","NotPrincipal":{"AWS":["111111111111"]},"NotAction":"a:b","NotResource":"arn:a:b:c:d:e"}]}`,
		`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:ArnLikeIfExists":{"k":["${a:b}","arn:*:?:::${*}"]},"DateLessThan":{"d":1.5},"IpAddress":{"i":"::1/64"},"BinaryEquals":{"b":"YQ=="}}}}`,
	} {
		for k := policy.Identity; k <= policy.Boundary; k++ {
			f.Add(int(k), s)
		}
	}
	f.Fuzz(func(t *testing.T, kind int, text string) {
		k := policy.Kind(uint(kind) % uint(policy.Boundary+1))
		d, err := policy.Parse(k, text)
		if err != nil {
			if fault.As(err) == nil || fault.As(err).Kind != fault.Invalid {
				t.Fatalf("want a fault, got %v", err)
			}
			return
		}
		again, err := policy.Parse(k, d.MapPrincipals(func(s string) string { return s }))
		if err != nil || again.Text() != text || again.Statements() != d.Statements() {
			t.Fatalf("parses differently the second time: %v", err)
		}
		r := ask{by: role, do: copyInto, on: vaultB, ctx: map[string]string{"a:b": "x", "k": "arn:a:b:c:d:e", "d": "2", "i": "::1", "b": "YQ=="}}.request(t)
		r.Identity = []policy.Source{{Doc: d}}
		r.Resource = &policy.Source{Doc: d}
		one := policy.Evaluate(r)
		r.Identity[0].Doc, r.Resource = again, &policy.Source{Doc: again}
		if two := policy.Evaluate(r); one.Reason != two.Reason || one.Explain() != two.Explain() {
			t.Fatalf("decides differently the second time: %v and %v", one.Reason, two.Reason)
		}
	})
}

// TestCacheConcurrently is for the race detector.
func TestCacheConcurrently(t *testing.T) {
	t.Parallel()
	c := policy.NewCache(3)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				if _, err := c.Parse(policy.Identity, doc(allowAll)+strings.Repeat(" ", (i+g)%7)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
