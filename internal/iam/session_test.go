package iam_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
)

func (w *world) caller(name string) access.Principal {
	w.t.Helper()
	w.user(name)
	k, err := w.CreateAccessKey(w.ctx, prod, name)
	w.ok(err)
	_, p, _, err := w.Credential(w.ctx, k.ID, "")
	w.ok(err)
	return p
}

func (w *world) assume(caller access.Principal, in iam.AssumeRole) (iam.Session, access.Principal) {
	w.t.Helper()
	if in.SessionName == "" {
		in.SessionName = "session"
	}
	s, err := w.AssumeRole(w.ctx, caller, "us-east-1", in)
	w.ok(err)
	secret, p, expires, err := w.Credential(w.ctx, s.AccessKeyID, s.Token)
	w.ok(err)
	if secret != s.Secret || !expires.Equal(s.Expires) || p.ARN != s.ARN || p.ID != s.ID {
		w.t.Errorf("credentials %+v do not match %+v", p, s)
	}
	return s, p
}

func TestAccessKeys(t *testing.T) {
	run(t, func(w *world) {
		w.user("u")
		k, err := w.CreateAccessKey(w.ctx, prod, "u")
		w.ok(err)
		if len(k.ID) != 20 || !strings.HasPrefix(k.ID, "AKIA") || len(k.Secret) != 40 {
			w.t.Errorf("key %q", k.ID)
		}
		secret, p, expires, err := w.Credential(w.ctx, k.ID, "")
		w.ok(err)
		if secret != k.Secret || p.Kind != access.User || p.ARN != "arn:aws:iam::111111111111:user/u" || !expires.IsZero() || p.AccessKeyID != k.ID {
			w.t.Errorf("principal %+v", p)
		}
		_, err = w.CreateAccessKey(w.ctx, prod, "u")
		w.ok(err)
		_, err = w.CreateAccessKey(w.ctx, prod, "u")
		w.refused(err, fault.Limit, "", "Cannot exceed quota for AccessKeysPerUser: 2")

		w.ok(w.UpdateAccessKey(w.ctx, prod, "u", k.ID, false))
		_, _, _, err = w.Credential(w.ctx, k.ID, "")
		w.refused(err, fault.NotFound, "", "The security token included in the request is invalid.")
		w.ok(w.UpdateAccessKey(w.ctx, prod, "u", k.ID, true))
		_, _, _, err = w.Credential(w.ctx, k.ID, "")
		w.ok(err)
		_, _, _, err = w.Credential(w.ctx, k.ID, "token")
		w.refused(err, fault.NotFound, "", "")
		w.user("other")
		w.refused(w.DeleteAccessKey(w.ctx, prod, "other", k.ID), fault.NotFound, "", "The Access Key with id "+k.ID+" cannot be found.")
		w.refused(w.DeleteAccessKey(w.ctx, vault, "", k.ID), fault.NotFound, "", "")
		w.ok(w.UpdateUser(w.ctx, prod, "u", "renamed", ""))
		_, p, _, err = w.Credential(w.ctx, k.ID, "")
		w.ok(err)
		if p.Name != "renamed" {
			w.t.Errorf("principal %+v", p)
		}
		w.ok(w.DeleteAccessKey(w.ctx, prod, "renamed", k.ID))
		_, _, _, err = w.Credential(w.ctx, k.ID, "")
		w.refused(err, fault.NotFound, "", "")
	})
}

func TestSecretsAreStoredSealed(t *testing.T) {
	run(t, func(w *world) {
		lost, _, err := w.CreateAccountRoot(w.ctx, prod)
		w.ok(err)
		id, secret, err := w.CreateAccountRoot(w.ctx, prod)
		w.ok(err)
		_, _, _, err = w.Credential(w.ctx, lost, "")
		w.refused(err, fault.NotFound, "", "")
		w.user("u")
		_, _, err = w.CreateAccountRoot(w.ctx, prod)
		w.refused(err, fault.Exists, "", "")
		_, p, _, err := w.Credential(w.ctx, id, "")
		w.ok(err)
		if p.Kind != access.Root || p.ARN != "arn:aws:iam::111111111111:root" || p.ID != prod {
			w.t.Errorf("principal %+v", p)
		}
		// The same database under another root key: the key is there, and worthless.
		other := open(w.t, w.db, w.clock, sealer{root: [32]byte{1}})
		_, _, _, err = other.Credential(w.ctx, id, "")
		if !fault.Is(err, fault.Corrupt) || strings.Contains(err.Error(), secret) {
			w.t.Errorf("got %v", err)
		}
	})
}

func TestKeyUsageIsStoredInBatches(t *testing.T) {
	run(t, func(w *world) {
		w.user("u")
		k, err := w.CreateAccessKey(w.ctx, prod, "u")
		w.ok(err)
		user, use, err := w.LastUsed(w.ctx, prod, k.ID)
		w.ok(err)
		if user != "u" || !use.Time.IsZero() {
			w.t.Errorf("use %+v", use)
		}
		w.RecordUse(k.ID, "backup", "us-east-1")
		_, use, err = w.LastUsed(w.ctx, prod, k.ID)
		w.ok(err)
		if use.Service != "backup" || !use.Time.Equal(start()) {
			w.t.Errorf("use %+v", use)
		}
		w.ok(w.FlushUse(w.ctx))
		_, use, err = open(w.t, w.db, w.clock, w.seal).LastUsed(w.ctx, prod, k.ID)
		w.ok(err)
		if use.Region != "us-east-1" {
			w.t.Errorf("use %+v", use)
		}
		_, _, err = w.LastUsed(w.ctx, vault, k.ID)
		w.refused(err, fault.NotFound, "", "")
	})
}

func TestAssumeRole(t *testing.T) {
	run(t, func(w *world) {
		alice := w.caller("alice")
		_, err := w.CreateRole(w.ctx, prod, iam.NewRole{Name: "Ops", Path: "/team/", Trust: trusting(alice.ARN), MaxSession: 2 * time.Hour, Tags: map[string]string{"env": "prod", "x": "role"}})
		w.ok(err)
		arn := "arn:aws:iam::111111111111:role/team/Ops"
		s, p := w.assume(alice, iam.AssumeRole{RoleARN: arn, Tags: map[string]string{"X": "session"}, Policy: allow, PolicyARNs: []string{iam.AdministratorAccess}})
		if s.ARN != "arn:aws:sts::111111111111:assumed-role/Ops/session" || !strings.HasSuffix(s.ID, ":session") || !s.Expires.Equal(start().Add(time.Hour)) || s.PackedSize < 1 || s.PackedSize > 100 {
			w.t.Errorf("session %+v", s)
		}
		if p.RoleARN != arn || len(p.Tags) != 2 || p.Tags["X"] != "session" || len(p.SessionPolicies) != 2 || !p.Issued.Equal(start()) {
			w.t.Errorf("principal %+v", p)
		}
		account, err := iam.KeyAccount(s.AccessKeyID)
		w.ok(err)
		if account != prod {
			w.t.Errorf("account %s", account)
		}
		refuse := func(in iam.AssumeRole, kind fault.Kind, code, text string) {
			w.t.Helper()
			if in.RoleARN == "" {
				in.RoleARN = arn
			}
			if in.SessionName == "" {
				in.SessionName = "session"
			}
			_, err := w.AssumeRole(w.ctx, alice, "us-east-1", in)
			w.refused(err, kind, code, text)
		}
		gone := "arn:aws:iam::111111111111:role/Gone"
		refuse(iam.AssumeRole{RoleARN: gone}, fault.Denied, "", "User: "+alice.ARN+" is not authorized to perform: sts:AssumeRole on resource: "+gone)
		refuse(iam.AssumeRole{RoleARN: "arn:aws:iam::111111111111:role/Ops"}, fault.Denied, "", "")
		refuse(iam.AssumeRole{RoleARN: "arn:aws:iam::111111111111:role/team/ops"}, fault.Denied, "", "")
		refuse(iam.AssumeRole{RoleARN: "nonsense"}, fault.Invalid, "", "nonsense is invalid")
		refuse(iam.AssumeRole{SessionName: "x"}, fault.Invalid, "", "")
		refuse(iam.AssumeRole{SessionName: "has space"}, fault.Invalid, "", "")
		refuse(iam.AssumeRole{Duration: 899 * time.Second}, fault.Invalid, "", "")
		refuse(iam.AssumeRole{Duration: 3 * time.Hour}, fault.Invalid, "", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
		refuse(iam.AssumeRole{Duration: 13 * time.Hour}, fault.Invalid, "", "")
		refuse(iam.AssumeRole{Policy: byBackup}, fault.Invalid, iam.CodeMalformedPolicy, "")
		refuse(iam.AssumeRole{PolicyARNs: []string{"arn:aws:iam::111111111111:policy/none"}}, fault.Invalid, "", "")
		refuse(iam.AssumeRole{Transitive: []string{"k"}}, fault.Invalid, "", "")
		refuse(iam.AssumeRole{ExternalID: "x"}, fault.Invalid, "", "")
		_, err = w.AssumeRole(w.ctx, access.Principal{Kind: access.Root, Account: prod, ARN: "arn:aws:iam::111111111111:root", ID: prod}, "us-east-1", iam.AssumeRole{RoleARN: arn, SessionName: "session"})
		w.refused(err, fault.Denied, "", "Roles may not be assumed by root accounts.")
	})
}

func TestRoleChains(t *testing.T) {
	run(t, func(w *world) {
		alice := w.caller("alice")
		w.role("a", trusting(prod))
		_, err := w.CreateRole(w.ctx, prod, iam.NewRole{Name: "b", Trust: trusting(prod), MaxSession: 12 * time.Hour})
		w.ok(err)
		a, b := "arn:aws:iam::111111111111:role/a", "arn:aws:iam::111111111111:role/b"
		_, pa := w.assume(alice, iam.AssumeRole{RoleARN: a, Tags: map[string]string{"case": "42", "stays": "here"}, Transitive: []string{"case"}, SourceIdentity: "alice"})
		_, err = w.AssumeRole(w.ctx, pa, "us-east-1", iam.AssumeRole{RoleARN: b, SessionName: "two", Duration: 2 * time.Hour})
		w.refused(err, fault.Invalid, "", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
		_, err = w.AssumeRole(w.ctx, pa, "us-east-1", iam.AssumeRole{RoleARN: b, SessionName: "two", Tags: map[string]string{"CASE": "43"}})
		w.refused(err, fault.Invalid, "", "")
		_, err = w.AssumeRole(w.ctx, pa, "us-east-1", iam.AssumeRole{RoleARN: b, SessionName: "two", SourceIdentity: "mallory"})
		w.refused(err, fault.Denied, "", "")
		_, pb := w.assume(pa, iam.AssumeRole{RoleARN: b})
		if len(pb.Tags) != 1 || pb.Tags["case"] != "42" || pb.SourceIdentity != "alice" || len(pb.TransitiveTags) != 1 {
			w.t.Errorf("principal %+v", pb)
		}
		if _, err := w.AssumeRole(w.ctx, alice, "us-east-1", iam.AssumeRole{RoleARN: b, SessionName: "two", Duration: 12 * time.Hour}); err != nil {
			w.t.Error(err)
		}
	})
}

func TestSessionsEndWithTheirRole(t *testing.T) {
	run(t, func(w *world) {
		alice := w.caller("alice")
		w.role("r", trusting(prod))
		in := iam.AssumeRole{RoleARN: "arn:aws:iam::111111111111:role/r"}
		s, p := w.assume(alice, in)
		w.ok(w.RevokeSessions(w.ctx, prod, "r"))
		_, _, _, err := w.Credential(w.ctx, s.AccessKeyID, s.Token)
		w.refused(err, fault.NotFound, "", "The security token included in the request is invalid.")
		w.clock.Advance(time.Second)
		s, _ = w.assume(alice, in)
		w.ok(w.DeleteRole(w.ctx, prod, "r"))
		w.role("r", trusting(prod))
		w.ok(w.PutInline(w.ctx, prod, iam.RoleRef("r"), "i", allow))
		_, _, _, err = w.Credential(w.ctx, s.AccessKeyID, s.Token)
		w.refused(err, fault.NotFound, "", "")
		if w.allows(p, "backup:ListBackupVaults") {
			w.t.Error("a principal of the deleted role has the policies of the new one")
		}
	})
}

func TestSessionPoliciesLimitAndFailClosed(t *testing.T) {
	run(t, func(w *world) {
		alice := w.caller("alice")
		w.role("r", trusting(prod))
		w.ok(w.Attach(w.ctx, prod, iam.RoleRef("r"), iam.AdministratorAccess))
		p := w.policy("p", allow)
		s, who := w.assume(alice, iam.AssumeRole{RoleARN: "arn:aws:iam::111111111111:role/r", PolicyARNs: []string{p.ARN}})
		if !w.allows(who, "backup:ListBackupVaults") || w.allows(who, "kms:ListKeys") {
			w.t.Error("the session policy does not limit the session")
		}
		w.ok(w.DeletePolicy(w.ctx, prod, p.ARN))
		_, who, _, err := w.Credential(w.ctx, s.AccessKeyID, s.Token)
		w.ok(err)
		if who.SessionPolicies == nil || w.allows(who, "backup:ListBackupVaults") {
			w.t.Error("without its session policy the session may do more, not less")
		}
	})
}

func TestSessionTokens(t *testing.T) {
	run(t, func(w *world) {
		alice := w.caller("alice")
		s, err := w.SessionToken(w.ctx, alice, 0)
		w.ok(err)
		if !s.Expires.Equal(start().Add(12 * time.Hour)) {
			w.t.Errorf("expires %v", s.Expires)
		}
		_, p, _, err := w.Credential(w.ctx, s.AccessKeyID, s.Token)
		w.ok(err)
		if p.Kind != access.User || p.ARN != alice.ARN || p.ID != alice.ID || p.Issued.IsZero() {
			w.t.Errorf("principal %+v", p)
		}
		_, err = w.SessionToken(w.ctx, p, 0)
		w.refused(err, fault.Denied, "", "Cannot call GetSessionToken with session credentials")
		root := access.Principal{Kind: access.Root, Account: prod, ID: prod, ARN: "arn:aws:iam::111111111111:root"}
		s, err = w.SessionToken(w.ctx, root, 0)
		w.ok(err)
		if !s.Expires.Equal(start().Add(time.Hour)) {
			w.t.Errorf("expires %v", s.Expires)
		}
	})
}

func TestATokenWorksOnlyWholeAndWithItsOwnKey(t *testing.T) {
	run(t, func(w *world) {
		alice := w.caller("alice")
		w.role("r", trusting(prod))
		in := iam.AssumeRole{RoleARN: "arn:aws:iam::111111111111:role/r"}
		one, _ := w.assume(alice, in)
		two, _ := w.assume(alice, in)
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one.Token, "SRv1"))
		w.ok(err)
		for _, bad := range [][2]string{{one.AccessKeyID, two.Token}, {two.AccessKeyID, one.Token}, {one.AccessKeyID, ""}, {one.AccessKeyID, "SRv1"}, {one.AccessKeyID, one.Token + "A"}, {"AKIA" + one.AccessKeyID[4:], one.Token}, {"", one.Token}} {
			_, _, _, err := w.Credential(w.ctx, bad[0], bad[1])
			w.refused(err, fault.NotFound, "", "The security token included in the request is invalid.")
		}
		rapid.Check(w.t, func(rt *rapid.T) {
			forged := append([]byte(nil), raw...)
			forged[rapid.IntRange(0, len(raw)-1).Draw(rt, "at")] ^= byte(rapid.IntRange(1, 255).Draw(rt, "flip"))
			if _, _, _, err := w.Credential(w.ctx, one.AccessKeyID, "SRv1"+base64.StdEncoding.EncodeToString(forged)); !fault.Is(err, fault.NotFound) {
				rt.Fatalf("a forged token gave %v", err)
			}
		})
	})
}

func TestTrustDoesNotReachARecreatedPrincipal(t *testing.T) {
	run(t, func(w *world) {
		u, err := w.CreateUser(w.ctx, vault, iam.NewUser{Name: "u"})
		w.ok(err)
		trust := trusting(u.ARN)
		w.role("r", trust)
		arn := "arn:aws:iam::111111111111:role/r"
		got, err := w.TrustPolicy(w.ctx, arn)
		w.ok(err)
		if !got.Exists || got.Policy.Doc.Text() != trust {
			w.t.Errorf("trust %+v", got)
		}
		w.ok(w.UpdateUser(w.ctx, vault, "u", "v", "/x/"))
		got, err = w.TrustPolicy(w.ctx, arn)
		w.ok(err)
		if renamed := trusting("arn:aws:iam::222222222222:user/x/v"); got.Policy.Doc.Text() != renamed {
			w.t.Errorf("trust %s, want %s", got.Policy.Doc.Text(), renamed)
		}
		w.ok(w.DeleteUser(w.ctx, vault, "v"))
		r, err := w.Role(w.ctx, prod, "r")
		w.ok(err)
		if r.Trust != trusting(u.ID) {
			w.t.Errorf("trust %s", r.Trust)
		}
		_, err = w.CreateUser(w.ctx, vault, iam.NewUser{Name: "u"})
		w.ok(err)
		got, err = w.TrustPolicy(w.ctx, arn)
		w.ok(err)
		if got.Policy.Doc.Text() != trusting(u.ID) {
			w.t.Errorf("trust %s: a new user of the old name is trusted", got.Policy.Doc.Text())
		}
		w.role("doomed", byBackup)
		w.role("s", trusting("arn:aws:sts::111111111111:assumed-role/doomed/x"))
		doomed, err := w.Role(w.ctx, prod, "doomed")
		w.ok(err)
		w.ok(w.DeleteRole(w.ctx, prod, "doomed"))
		got, err = w.TrustPolicy(w.ctx, "arn:aws:iam::111111111111:role/s")
		w.ok(err)
		if got.Policy.Doc == nil || got.Policy.Doc.Text() != trusting(doomed.ID) {
			w.t.Errorf("trust %+v", got)
		}
		got, err = w.TrustPolicy(w.ctx, "arn:aws:iam::111111111111:role/none")
		w.ok(err)
		if got.Exists {
			w.t.Error("a role that is not there exists")
		}
	})
}

func TestRolesForServices(t *testing.T) {
	run(t, func(w *world) {
		r := w.role("AWSBackupServiceRole", byBackup)
		w.role("people", trusting(prod))
		_, err := w.CreateRole(w.ctx, prod, iam.NewRole{Name: "guarded", Trust: strings.Replace(byBackup, `"Action"`, `"Condition":{"StringEquals":{"aws:SourceAccount":"111111111111"}},"Action"`, 1)})
		w.ok(err)
		p, err := w.AssumeForService(w.ctx, r.ARN, "backup.amazonaws.com", "job-1", prod, "")
		w.ok(err)
		if p.ARN != "arn:aws:sts::111111111111:assumed-role/AWSBackupServiceRole/job-1" || p.Kind != access.Role || p.AccessKeyID != "" || p.ServiceLinked {
			w.t.Errorf("principal %+v", p)
		}
		guarded := "arn:aws:iam::111111111111:role/guarded"
		_, err = w.AssumeForService(w.ctx, guarded, "backup.amazonaws.com", "job-1", prod, "")
		w.ok(err)
		for _, c := range [][3]string{
			{guarded, "backup.amazonaws.com", vault}, {guarded, "backup.amazonaws.com", ""}, {r.ARN, "ec2.amazonaws.com", prod},
			{"arn:aws:iam::111111111111:role/people", "backup.amazonaws.com", prod}, {"arn:aws:iam::111111111111:role/none", "backup.amazonaws.com", prod}, {"nonsense", "backup.amazonaws.com", prod},
		} {
			_, err := w.AssumeForService(w.ctx, c[0], c[1], "job-1", c[2], "")
			w.refused(err, fault.Invalid, "", "")
			text, why, told := strings.Cut(fault.As(err).Msg, " (")
			if text != "IAM Role "+c[0]+" cannot be assumed by AWS Backup" || told != (c[2] == prod && c[0] != "nonsense") {
				w.t.Errorf("%v: %s", c, fault.As(err).Msg)
			}
			if told && (!strings.Contains(why, "sts:AssumeRole") || !strings.Contains(why, c[1]) || !strings.Contains(why, c[0])) {
				w.t.Errorf("%v: %s", c, why)
			}
		}
		w.ok(w.Assumable(w.ctx, prod, r.ARN))
		w.refused(w.Assumable(w.ctx, vault, r.ARN), fault.Invalid, "", "")
	})
}

func TestAccessRole(t *testing.T) {
	run(t, func(w *world) {
		for range 2 {
			w.ok(w.CreateAccessRole(w.ctx, "333333333333", "OrganizationAccountAccessRole", vault))
		}
		got, err := w.TrustPolicy(w.ctx, "arn:aws:iam::333333333333:role/OrganizationAccountAccessRole")
		w.ok(err)
		if !got.Exists || got.Policy.Doc.Text() != trusting("arn:aws:iam::222222222222:root") {
			w.t.Errorf("trust %+v", got)
		}
		list, _, err := w.AttachedPolicies(w.ctx, "333333333333", iam.RoleRef("OrganizationAccountAccessRole"), "", iam.Page{})
		w.ok(err)
		if len(list) != 1 || list[0].ARN != iam.AdministratorAccess {
			w.t.Errorf("attached %v", list)
		}
		for principal, want := range map[string]bool{"333333333333": true, "arn:aws:iam::333333333333:root": true, "444444444444": false, "arn:aws:iam::333333333333:role/OrganizationAccountAccessRole": true,
			"arn:aws:iam::333333333333:role/organizationaccountaccessrole": false, "arn:aws:sts::333333333333:assumed-role/OrganizationAccountAccessRole/x": true, "arn:aws:iam::333333333333:user/x": false, "*": false} {
			if got, err := w.Exists(w.ctx, principal); err != nil || got != want {
				w.t.Errorf("Exists(%s) = %v, %v", principal, got, err)
			}
		}
	})
}

func TestAnotherProcessSeesChangesSoon(t *testing.T) {
	run(t, func(w *world) {
		w.user("u")
		k, err := w.CreateAccessKey(w.ctx, prod, "u")
		w.ok(err)
		other := open(w.t, w.db, w.clock, w.seal)
		for range 2 {
			_, _, _, err = other.Credential(w.ctx, k.ID, "")
			w.ok(err)
		}
		w.ok(w.UpdateAccessKey(w.ctx, prod, "u", k.ID, false))
		w.clock.Advance(2 * time.Second)
		_, _, _, err = other.Credential(w.ctx, k.ID, "")
		w.refused(err, fault.NotFound, "", "")
	})
}

func TestKeyAccountIsInTheKeyID(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "AKIA", "AKIAIOSFODNN7EXAMPLE", "AIDAQQQQQQQQQQQQQQQQ", "AKIA7777777777777777"} {
		if a, err := iam.KeyAccount(bad); err == nil {
			t.Errorf("%s: %s", bad, a)
		}
	}
}
