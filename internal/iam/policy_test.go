package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/policy"
)

func TestManagedPolicyVersions(t *testing.T) {
	run(t, func(w *world) {
		p, err := w.CreatePolicy(w.ctx, prod, iam.NewPolicy{Name: "P", Path: "/x/", Document: allow, Description: "d", Tags: map[string]string{"a": "b"}})
		w.ok(err)
		if p.ARN != "arn:aws:iam::111111111111:policy/x/P" || p.DefaultVersion != 1 {
			w.t.Errorf("policy %+v", p)
		}
		_, err = w.CreatePolicy(w.ctx, prod, iam.NewPolicy{Name: "p", Document: allow})
		w.refused(err, fault.Exists, "", "A policy called p already exists. Duplicate names are not allowed.")
		for range 4 {
			_, err = w.CreatePolicyVersion(w.ctx, prod, p.ARN, deny, false)
			w.ok(err)
		}
		_, err = w.CreatePolicyVersion(w.ctx, prod, p.ARN, deny, false)
		w.refused(err, fault.Limit, "", "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
		w.refused(w.DeletePolicyVersion(w.ctx, prod, p.ARN, "v1"), fault.Conflict, iam.CodeDeleteConflict, "Cannot delete the default version of a policy.")
		w.ok(w.SetDefaultPolicyVersion(w.ctx, prod, p.ARN, "v3"))
		w.ok(w.DeletePolicyVersion(w.ctx, prod, p.ARN, "v1"))
		for _, gone := range []string{"v1", "v9", "3", "v03", ""} {
			_, err = w.PolicyVersion(w.ctx, prod, p.ARN, gone)
			w.refused(err, fault.NotFound, "", "")
		}
		v, err := w.CreatePolicyVersion(w.ctx, prod, p.ARN, allow, true)
		w.ok(err)
		if v.ID != 6 {
			w.t.Errorf("version %+v: numbers must not be used again", v)
		}
		list, _, err := w.PolicyVersions(w.ctx, prod, p.ARN, iam.Page{})
		w.ok(err)
		var names []string
		for _, v := range list {
			names = append(names, fmt.Sprint(iam.VersionName(v.ID), v.Default))
		}
		if strings.Join(names, " ") != "v6true v5false v4false v3false v2false" {
			w.t.Errorf("versions %v", names)
		}
		w.refused(w.DeletePolicy(w.ctx, prod, p.ARN), fault.Conflict, iam.CodeDeleteConflict, "")
		_, err = w.Policy(w.ctx, vault, p.ARN)
		w.refused(err, fault.NotFound, "", "Policy arn:aws:iam::111111111111:policy/x/P was not found.")
	})
}

func TestPolicyDocumentsAreChecked(t *testing.T) {
	run(t, func(w *world) {
		big := strings.Replace(allow, `"Effect"`, `"Sid":"`+strings.Repeat("a", 6144)+`","Effect"`, 1)
		_, err := w.CreatePolicy(w.ctx, prod, iam.NewPolicy{Name: "big", Document: big})
		w.refused(err, fault.Limit, "", "Cannot exceed quota for PolicySize: 6144")
		for _, bad := range []string{"", "[]", byBackup, `{"Version":"2012-10-17","Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}`} {
			_, err := w.CreatePolicy(w.ctx, prod, iam.NewPolicy{Name: "bad", Document: bad})
			w.refused(err, fault.Invalid, iam.CodeMalformedPolicy, "")
		}
		w.user("u")
		w.refused(w.PutInline(w.ctx, prod, iam.UserRef("u"), "x", byBackup), fault.Invalid, iam.CodeMalformedPolicy, "")
		pad := strings.Replace(allow, `"Effect"`, `"Sid":"`+strings.Repeat("a", 1000)+`","Effect"`, 1)
		w.ok(w.PutInline(w.ctx, prod, iam.UserRef("u"), "a", pad))
		w.refused(w.PutInline(w.ctx, prod, iam.UserRef("u"), "b", pad), fault.Limit, "", "Maximum policy size of 2048 bytes exceeded for user u")
		w.ok(w.PutInline(w.ctx, prod, iam.UserRef("u"), "a", pad))
		_, doc, err := w.Inline(w.ctx, prod, iam.UserRef("U"), "a")
		w.ok(err)
		if doc != pad {
			w.t.Error("the document came back changed")
		}
		_, _, err = w.Inline(w.ctx, prod, iam.UserRef("u"), "zz")
		w.refused(err, fault.NotFound, "", "The user policy with name zz cannot be found.")
	})
}

func TestAWSManagedPoliciesParseAndCannotBeChanged(t *testing.T) {
	run(t, func(w *world) {
		list, next, err := w.ListPolicies(w.ctx, prod, iam.PolicyFilter{AWS: true}, iam.Page{MaxItems: 1000})
		w.ok(err)
		if len(list) < 25 || next != "" {
			w.t.Fatalf("%d policies", len(list))
		}
		want := map[string]int{
			"arn:aws:iam::aws:policy/AWSBackupFullAccess": 30, "arn:aws:iam::aws:policy/AWSBackupOperatorAccess": 28, "arn:aws:iam::aws:policy/AWSBackupOrganizationAdminAccess": 3,
			"arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup": 30, "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForRestores": 35,
			"arn:aws:iam::aws:policy/aws-service-role/AWSBackupServiceLinkedRolePolicyForBackup": 31, "arn:aws:iam::aws:policy/AWSBackupServiceRolePolicyForS3Backup": 4,
			"arn:aws:iam::aws:policy/AWSBackupServiceRolePolicyForS3Restore": 2, "arn:aws:iam::aws:policy/aws-service-role/AWSServiceRolePolicyForBackupRestoreTesting": 3,
			"arn:aws:iam::aws:policy/AWSBackupAuditAccess": 2, "arn:aws:iam::aws:policy/AWSBackupSearchOperatorAccess": 6, "arn:aws:iam::aws:policy/AWSBackupServiceRolePolicyForIndexing": 3,
			"arn:aws:iam::aws:policy/AWSBackupServiceRolePolicyForItemRestores": 3, iam.AdministratorAccess: 1, "arn:aws:iam::aws:policy/ReadOnlyAccess": 182,
		}
		for _, p := range list {
			v, err := w.PolicyVersion(w.ctx, prod, p.ARN, iam.VersionName(p.DefaultVersion))
			w.ok(err)
			for _, k := range []policy.Kind{policy.Identity, policy.Boundary, policy.SessionPolicy} {
				if _, err := policy.Parse(k, v.Document); err != nil {
					w.t.Errorf("%s: %v", p.ARN, err)
				}
			}
			if n, ok := want[p.ARN]; ok && n != p.DefaultVersion {
				w.t.Errorf("%s has version %d", p.ARN, p.DefaultVersion)
			}
			delete(want, p.ARN)
		}
		if len(want) > 0 {
			w.t.Errorf("missing: %v", want)
		}
		w.refused(w.DeletePolicy(w.ctx, prod, iam.AdministratorAccess), fault.Denied, "", "")
		_, err = w.CreatePolicyVersion(w.ctx, prod, iam.AdministratorAccess, allow, true)
		w.refused(err, fault.Denied, "", "")
	})
}

func TestListPoliciesFilters(t *testing.T) {
	run(t, func(w *world) {
		for _, n := range []string{"zed", "Alpha", "mid"} {
			w.policy(n, allow)
		}
		w.user("u")
		w.ok(w.Attach(w.ctx, prod, iam.UserRef("u"), "arn:aws:iam::111111111111:policy/zed"))
		w.ok(w.Attach(w.ctx, prod, iam.UserRef("u"), iam.AdministratorAccess))
		w.ok(w.SetBoundary(w.ctx, prod, iam.UserRef("u"), "arn:aws:iam::111111111111:policy/mid"))
		for _, c := range []struct {
			f    iam.PolicyFilter
			want string
		}{
			{iam.PolicyFilter{Local: true}, "Alpha mid zed"},
			{iam.PolicyFilter{OnlyAttached: true}, "mid zed AdministratorAccess"},
			{iam.PolicyFilter{OnlyAttached: true, Usage: "PermissionsPolicy"}, "zed AdministratorAccess"},
			{iam.PolicyFilter{Usage: "PermissionsBoundary"}, "mid"},
			{iam.PolicyFilter{AWS: true, OnlyAttached: true}, "AdministratorAccess"},
			{iam.PolicyFilter{PathPrefix: "/service-role/AWS"}, ""},
			{iam.PolicyFilter{PathPrefix: "/service-role/"}, "AWSBackupGatewayServiceRolePolicyForVirtualMachineMetadataSync AWSBackupServiceRolePolicyForBackup AWSBackupServiceRolePolicyForRestores"},
		} {
			var names []string
			page := iam.Page{MaxItems: 2}
			for {
				list, next, err := w.ListPolicies(w.ctx, prod, c.f, page)
				w.ok(err)
				for _, p := range list {
					names = append(names, p.Name)
				}
				if page.Marker = next; next == "" {
					break
				}
			}
			if got := strings.Join(names, " "); got != c.want {
				w.t.Errorf("%+v: %s", c.f, got)
			}
		}
		users, _, err := w.PolicyUsers(w.ctx, prod, "arn:aws:iam::111111111111:policy/mid", iam.UserFilter{Attached: true, Bounded: true}, iam.Page{})
		w.ok(err)
		if len(users) != 1 || users[0].Name != "u" {
			w.t.Errorf("users %v", users)
		}
	})
}

func TestAttachmentLimits(t *testing.T) {
	run(t, func(w *world) {
		w.user("u")
		for i := range 11 {
			p := w.policy(fmt.Sprint("p", i), allow)
			err := w.Attach(w.ctx, prod, iam.UserRef("u"), p.ARN)
			if i < 10 {
				w.ok(err)
			} else {
				w.refused(err, fault.Limit, "", "Cannot exceed quota for PoliciesPerUser: 10")
			}
		}
		for _, arn := range []string{"arn:aws:iam::111111111111:policy/none", "arn:aws:iam::222222222222:policy/p0", "nonsense", "arn:aws:iam::aws:policy/NoSuchPolicy"} {
			w.refused(w.Attach(w.ctx, prod, iam.UserRef("u"), arn), fault.NotFound, "", "Policy "+arn+" does not exist or is not attachable.")
		}
	})
}

// allows evaluates an action with everything that Policies returns.
func (w *world) allows(p access.Principal, action string) bool {
	w.t.Helper()
	ids, err := w.Policies(w.ctx, p)
	w.ok(err)
	r := policy.Request{Principal: p, Check: access.Check{Action: action, Resource: "*"}, Context: access.Context{}, Identity: ids.Identity, Session: ids.Session, ResourceAccount: p.Account}
	if ids.Boundary != nil {
		r.Boundary = []policy.Source{*ids.Boundary}
	}
	return policy.Evaluate(r).Allowed
}

func TestPoliciesFollowEveryChangeAtOnce(t *testing.T) {
	run(t, func(w *world) {
		w.user("u")
		k, err := w.CreateAccessKey(w.ctx, prod, "u")
		w.ok(err)
		_, err = w.CreateGroup(w.ctx, prod, "g", "")
		w.ok(err)
		p := w.policy("p", deny)
		_, err = w.CreatePolicyVersion(w.ctx, prod, p.ARN, allow, false)
		w.ok(err)
		only := func(action string) string {
			return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`
		}
		u, g := iam.UserRef("u"), iam.GroupRef("g")
		_, who, _, err := w.Credential(w.ctx, k.ID, "")
		w.ok(err)
		for i, step := range []struct {
			do   func() error
			want bool
		}{
			{func() error { return nil }, false},
			{func() error { return w.PutInline(w.ctx, prod, u, "i", allow) }, true},
			{func() error { return w.DeleteInline(w.ctx, prod, u, "i") }, false},
			{func() error { return w.PutInline(w.ctx, prod, g, "i", allow) }, false},
			{func() error { return w.AddUserToGroup(w.ctx, prod, "g", "u") }, true},
			{func() error { return w.Attach(w.ctx, prod, u, p.ARN) }, false},
			{func() error { return w.SetDefaultPolicyVersion(w.ctx, prod, p.ARN, "v2") }, true},
			{func() error { return w.SetBoundary(w.ctx, prod, u, w.policy("b", only("kms:*")).ARN) }, false},
			{func() error { return w.SetBoundary(w.ctx, prod, u, "") }, true},
			{func() error { return w.RemoveUserFromGroup(w.ctx, prod, "g", "u") }, true},
			{func() error { return w.Detach(w.ctx, prod, u, p.ARN) }, false},
		} {
			w.ok(step.do())
			for range 2 { // from the database, then from memory
				if got := w.allows(who, "backup:ListBackupVaults"); got != step.want {
					w.t.Errorf("step %d: allowed %v", i, got)
				}
			}
		}
	})
}
