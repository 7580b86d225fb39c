package iam_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/iam"
)

func TestUsersFollowIAMsRules(t *testing.T) {
	run(t, func(w *world) {
		u, err := w.CreateUser(w.ctx, prod, iam.NewUser{Name: "Alice", Path: "/ops/", Tags: map[string]string{"Team": "sre"}})
		w.ok(err)
		if u.ARN != "arn:aws:iam::111111111111:user/ops/Alice" || !strings.HasPrefix(u.ID, "AIDA") || len(u.ID) != 21 || !u.Created.Equal(start()) {
			w.t.Errorf("user %+v", u)
		}
		_, err = w.CreateUser(w.ctx, prod, iam.NewUser{Name: "aLICE"})
		w.refused(err, fault.Exists, "", "User with name aLICE already exists.")
		got, err := w.User(w.ctx, prod, "alice")
		w.ok(err)
		if got.Name != "Alice" || got.Tags["Team"] != "sre" {
			w.t.Errorf("got %+v", got)
		}
		_, err = w.User(w.ctx, vault, "Alice")
		w.refused(err, fault.NotFound, "", "The user with name Alice cannot be found.")
		_, err = w.CreateUser(w.ctx, "333333333333", iam.NewUser{Name: "x"})
		w.refused(err, fault.NotFound, "", "")
		for _, bad := range []string{"", "no spaces", strings.Repeat("x", 65), "ä", "a/b"} {
			_, err := w.CreateUser(w.ctx, prod, iam.NewUser{Name: bad})
			w.refused(err, fault.Invalid, "", "")
		}
		for _, bad := range []string{"ops/", "/ops", "ops", "/o ps/", "/" + strings.Repeat("x", 511) + "/"} {
			_, err := w.CreateUser(w.ctx, prod, iam.NewUser{Name: "p", Path: bad})
			w.refused(err, fault.Invalid, "", "")
		}
		w.ok(w.UpdateUser(w.ctx, prod, "Alice", "alice", ""))
		bob := w.user("bob")
		w.refused(w.UpdateUser(w.ctx, prod, "bob", "ALICE", ""), fault.Exists, "", "User with name ALICE already exists.")
		w.ok(w.UpdateUser(w.ctx, prod, "bob", "Robert", "/x/"))
		got, err = w.User(w.ctx, prod, "robert")
		w.ok(err)
		if got.ID != bob.ID || got.ARN != "arn:aws:iam::111111111111:user/x/Robert" {
			w.t.Errorf("renamed %+v", got)
		}
		w.ok(w.DeleteUser(w.ctx, prod, "Robert"))
		w.refused(w.DeleteUser(w.ctx, prod, "Robert"), fault.NotFound, "", "The user with name Robert cannot be found.")
	})
}

func TestAnEntityInUseCannotBeDeleted(t *testing.T) {
	run(t, func(w *world) {
		w.user("u")
		w.role("r", byBackup)
		_, err := w.CreateGroup(w.ctx, prod, "g", "")
		w.ok(err)
		p := w.policy("p", allow)
		k, err := w.CreateAccessKey(w.ctx, prod, "u")
		w.ok(err)
		del := map[iam.Kind]func() error{
			iam.KindUser:  func() error { return w.DeleteUser(w.ctx, prod, "u") },
			iam.KindRole:  func() error { return w.DeleteRole(w.ctx, prod, "r") },
			iam.KindGroup: func() error { return w.DeleteGroup(w.ctx, prod, "g") },
		}
		w.ok(w.AddUserToGroup(w.ctx, prod, "g", "u"))
		w.refused(del[iam.KindUser](), fault.Conflict, iam.CodeDeleteConflict, "Cannot delete entity, must delete access keys first.")
		w.ok(w.DeleteAccessKey(w.ctx, prod, "u", k.ID))
		w.refused(del[iam.KindUser](), fault.Conflict, iam.CodeDeleteConflict, "Cannot delete entity, must remove user from groups first.")
		w.refused(del[iam.KindGroup](), fault.Conflict, iam.CodeDeleteConflict, "Cannot delete entity, must remove users from group first.")
		w.ok(w.RemoveUserFromGroup(w.ctx, prod, "g", "u"))
		for _, r := range []iam.Ref{iam.UserRef("u"), iam.RoleRef("r"), iam.GroupRef("g")} {
			w.ok(w.PutInline(w.ctx, prod, r, "i", allow))
			w.refused(del[r.Kind](), fault.Conflict, iam.CodeDeleteConflict, "Cannot delete entity, must delete policies first.")
			w.ok(w.DeleteInline(w.ctx, prod, r, "i"))
			w.ok(w.Attach(w.ctx, prod, r, p.ARN))
			w.ok(w.Attach(w.ctx, prod, r, p.ARN))
			w.refused(del[r.Kind](), fault.Conflict, iam.CodeDeleteConflict, "Cannot delete entity, must detach all policies first.")
			w.refused(w.DeletePolicy(w.ctx, prod, p.ARN), fault.Conflict, iam.CodeDeleteConflict, "Cannot delete a policy attached to entities.")
			w.ok(w.Detach(w.ctx, prod, r, p.ARN))
			w.refused(w.Detach(w.ctx, prod, r, p.ARN), fault.NotFound, "", "")
		}
		w.ok(w.SetBoundary(w.ctx, prod, iam.UserRef("u"), p.ARN))
		w.refused(w.DeletePolicy(w.ctx, prod, p.ARN), fault.Conflict, iam.CodeDeleteConflict, "")
		for _, d := range del {
			w.ok(d())
		}
		w.ok(w.DeletePolicy(w.ctx, prod, p.ARN))
	})
}

func TestRoles(t *testing.T) {
	run(t, func(w *world) {
		r, err := w.CreateRole(w.ctx, prod, iam.NewRole{Name: "AWSBackupServiceRole", Path: "/svc/", Trust: byBackup, Description: "d", MaxSession: 2 * time.Hour})
		w.ok(err)
		if r.ARN != "arn:aws:iam::111111111111:role/svc/AWSBackupServiceRole" || !strings.HasPrefix(r.ID, "AROA") {
			w.t.Errorf("role %+v", r)
		}
		for _, bad := range []string{"", "{}", allow, `{"Version":"2012-10-17","Statement":[`, trusting("arn:aws:iam::111111111111:user/nobody"), trusting("999999999999"), trusting("arn:aws:iam::111111111111:role/x*")} {
			_, err := w.CreateRole(w.ctx, prod, iam.NewRole{Name: "bad", Trust: bad})
			w.refused(err, fault.Invalid, iam.CodeMalformedPolicy, "")
		}
		_, err = w.CreateRole(w.ctx, prod, iam.NewRole{Name: "bad", Trust: trusting("arn:aws:iam::111111111111:user/nobody")})
		w.refused(err, fault.Invalid, iam.CodeMalformedPolicy, `Invalid principal in policy: "AWS":"arn:aws:iam::111111111111:user/nobody"`)
		_, err = w.CreateRole(w.ctx, prod, iam.NewRole{Name: "big", Trust: strings.Replace(byBackup, `"Effect"`, `"Sid":"`+strings.Repeat("a", 2048)+`","Effect"`, 1)})
		w.refused(err, fault.Limit, "", "Cannot exceed quota for ACLSizePerRole: 2048")
		for _, d := range []time.Duration{time.Minute, 13 * time.Hour} {
			_, err = w.CreateRole(w.ctx, prod, iam.NewRole{Name: "bad", Trust: byBackup, MaxSession: d})
			w.refused(err, fault.Invalid, "", "")
		}
		_, err = w.CreateRole(w.ctx, prod, iam.NewRole{Name: "AWSServiceRoleForBackup", Trust: byBackup})
		w.refused(err, fault.Invalid, iam.CodeInvalidInput, "")
		d, m := "other", 3*time.Hour
		w.ok(w.UpdateRole(w.ctx, prod, r.Name, &d, &m))
		w.ok(w.UpdateTrust(w.ctx, prod, r.Name, trusting(vault)))
		got, err := w.Role(w.ctx, prod, "awsbackupservicerole")
		w.ok(err)
		if got.Description != "other" || got.MaxSession != m || got.Trust != trusting(vault) {
			w.t.Errorf("role %+v", got)
		}
	})
}

func TestServiceLinkedRolesAreOnlyAWSs(t *testing.T) {
	run(t, func(w *world) {
		r, err := w.CreateServiceLinkedRole(w.ctx, prod, "backup.amazonaws.com", "", "")
		w.ok(err)
		if r.ARN != "arn:aws:iam::111111111111:role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup" || r.ARN != iam.LinkedRoleARN(prod, "backup.amazonaws.com") {
			w.t.Errorf("role %+v", r)
		}
		_, err = w.CreateServiceLinkedRole(w.ctx, prod, "backup.amazonaws.com", "", "")
		w.refused(err, fault.Invalid, iam.CodeInvalidInput, "Service role name AWSServiceRoleForBackup has been taken in this account, please try a different suffix.")
		_, err = w.CreateServiceLinkedRole(w.ctx, prod, "nosuch.amazonaws.com", "", "")
		w.refused(err, fault.Invalid, iam.CodeInvalidInput, "")
		text := "Cannot perform the operation on the protected role 'AWSServiceRoleForBackup' - this role is only modifiable by AWS"
		ref := iam.RoleRef("AWSServiceRoleForBackup")
		for _, err := range []error{
			w.Attach(w.ctx, prod, ref, iam.AdministratorAccess), w.Detach(w.ctx, prod, ref, "arn:aws:iam::aws:policy/aws-service-role/AWSBackupServiceLinkedRolePolicyForBackup"),
			w.PutInline(w.ctx, prod, ref, "x", allow), w.DeleteRole(w.ctx, prod, ref.Name), w.UpdateTrust(w.ctx, prod, ref.Name, trusting(prod)), w.SetBoundary(w.ctx, prod, ref, iam.AdministratorAccess),
		} {
			w.refused(err, fault.State, iam.CodeUnmodifiable, text)
		}
		list, _, err := w.AttachedPolicies(w.ctx, prod, ref, "", iam.Page{})
		w.ok(err)
		if fmt.Sprint(list) != "[{AWSBackupServiceLinkedRolePolicyForBackup arn:aws:iam::aws:policy/aws-service-role/AWSBackupServiceLinkedRolePolicyForBackup} {StrongroomBackupServiceRolePolicy arn:aws:iam::aws:policy/aws-service-role/StrongroomBackupServiceRolePolicy}]" {
			w.t.Errorf("attached %v", list)
		}
		w.role("mine", byBackup)
		w.refused(w.Attach(w.ctx, prod, iam.RoleRef("mine"), list[0].ARN), fault.State, iam.CodeNotAttachable, "Cannot attach a Service Role Policy to a Customer Role.")
		p, err := w.ServiceLinkedRole(w.ctx, vault, "backup.amazonaws.com")
		w.ok(err)
		q, err := w.ServiceLinkedRole(w.ctx, vault, "backup.amazonaws.com")
		w.ok(err)
		if p.ID != q.ID || !p.ServiceLinked || p.ARN != "arn:aws:sts::222222222222:assumed-role/AWSServiceRoleForBackup/AWSBackup" || p.RoleARN != iam.LinkedRoleARN(vault, "backup.amazonaws.com") {
			w.t.Errorf("principal %+v", p)
		}
		ids, err := w.Policies(w.ctx, p)
		w.ok(err)
		if len(ids.Identity) != 2 || ids.Identity[0].Doc == nil || ids.Identity[1].Doc == nil {
			w.t.Errorf("policies %+v", ids)
		}
	})
}

func TestPagesAreStableWhileEntitiesComeAndGo(t *testing.T) {
	run(t, func(w *world) {
		for i := range 25 {
			w.user(fmt.Sprintf("user-%02d", i*2))
		}
		var names []string
		page := iam.Page{MaxItems: 10}
		for {
			list, next, err := w.Users(w.ctx, prod, "/", page)
			w.ok(err)
			for _, u := range list {
				names = append(names, u.Name)
			}
			if next == "" {
				break
			}
			_, _, err = w.Users(w.ctx, vault, "/", iam.Page{Marker: next})
			w.refused(err, fault.Invalid, "", "Invalid Marker.")
			_, _, err = w.Roles(w.ctx, prod, "/", iam.Page{Marker: next})
			w.refused(err, fault.Invalid, "", "Invalid Marker.")
			page.Marker = next
			w.ok(w.DeleteUser(w.ctx, prod, names[len(names)-1]))
			w.user(fmt.Sprint("user-00-early", len(names)))
		}
		if len(names) != 25 {
			w.t.Errorf("%d names: %v", len(names), names)
		}
		_, _, err := w.Users(w.ctx, prod, "/", iam.Page{Marker: "made up"})
		w.refused(err, fault.Invalid, "", "Invalid Marker.")
	})
}

func TestTagsAreUniqueWithoutCase(t *testing.T) {
	run(t, func(w *world) {
		w.user("u")
		ref := iam.UserRef("u")
		w.ok(w.TagEntity(w.ctx, prod, ref, map[string]string{"Team": "a", "x": ""}))
		w.ok(w.TagEntity(w.ctx, prod, ref, map[string]string{"team": "b"}))
		list, _, err := w.EntityTags(w.ctx, prod, ref, iam.Page{})
		w.ok(err)
		if fmt.Sprint(list) != "[{team b} {x }]" {
			w.t.Errorf("tags %v", list)
		}
		w.refused(w.TagEntity(w.ctx, prod, ref, map[string]string{"A": "1", "a": "2"}), fault.Invalid, iam.CodeInvalidInput, "")
		w.refused(w.TagEntity(w.ctx, prod, ref, map[string]string{"aws:x": "1"}), fault.Invalid, iam.CodeInvalidInput, "")
		many := map[string]string{}
		for i := range 49 {
			many[fmt.Sprint("k", i)] = "v"
		}
		w.refused(w.TagEntity(w.ctx, prod, ref, many), fault.Limit, "", "")
		w.ok(w.UntagEntity(w.ctx, prod, ref, []string{"TEAM", "absent"}))
		list, _, err = w.EntityTags(w.ctx, prod, ref, iam.Page{})
		w.ok(err)
		if len(list) != 1 {
			w.t.Errorf("tags %v", list)
		}
	})
}
