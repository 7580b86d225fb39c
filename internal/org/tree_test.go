package org_test

import (
	"strings"
	"testing"

	"strongroom/internal/org"
)

func TestUnits(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		a := w.unit(t, o.RootID, "a")
		if !strings.HasPrefix(a, "ou-"+strings.TrimPrefix(o.RootID, "r-")+"-") {
			t.Fatal(a)
		}
		_, err := w.CreateUnit(ctx, mgmt, o.RootID, "a", nil)
		wantCode(t, err, "DuplicateOrganizationalUnit")
		_, err = w.CreateUnit(ctx, mgmt, "ou-xxxx-xxxxxxxx", "b", nil)
		wantCode(t, err, "ParentNotFound")
		_, err = w.CreateUnit(ctx, mgmt, prod, "b", nil)
		wantCode(t, err, "ParentNotFound")
		deep := a
		for _, n := range []string{"b", "c", "d", "e"} {
			deep = w.unit(t, deep, n)
		}
		_, err = w.CreateUnit(ctx, mgmt, deep, "f", nil)
		wantCode(t, err, "ConstraintViolation", "OU_DEPTH_LIMIT_EXCEEDED")
		if u, err := w.Unit(ctx, mgmt, deep); err != nil || strings.Count(u.Path, "/") != 7 || !strings.HasSuffix(u.Path, deep+"/") {
			t.Fatalf("%+v %v", u, err)
		}
		wantCode(t, w.DeleteUnit(ctx, mgmt, a), "OrganizationalUnitNotEmpty")
		wantCode(t, w.DeleteUnit(ctx, mgmt, "ou-xxxx-xxxxxxxx"), "OrganizationalUnitNotFound")
		other := w.unit(t, o.RootID, "other")
		_, err = w.RenameUnit(ctx, mgmt, other, ptr("a"))
		wantCode(t, err, "DuplicateOrganizationalUnit")
		if u, err := w.RenameUnit(ctx, mgmt, other, ptr("new")); err != nil || u.Name != "new" {
			t.Fatal(u, err)
		}
		ok(t, w.DeleteUnit(ctx, mgmt, other))
		list, next, err := w.Units(ctx, mgmt, o.RootID, org.Page{})
		if err != nil || next != "" || len(list) != 1 || list[0].ID != a {
			t.Fatal(list, next, err)
		}
		_, _, err = w.Units(ctx, mgmt, "r-none", org.Page{})
		wantCode(t, err, "ParentNotFound")
	})
}

func TestMovingAccounts(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		a, b := w.unit(t, o.RootID, "a"), w.unit(t, o.RootID, "b")
		wantCode(t, w.MoveAccount(ctx, mgmt, "333333333333", o.RootID, a), "AccountNotFound")
		wantCode(t, w.MoveAccount(ctx, mgmt, prod, b, a), "SourceParentNotFound")
		wantCode(t, w.MoveAccount(ctx, mgmt, prod, o.RootID, "ou-xxxx-xxxxxxxx"), "DestinationParentNotFound")
		wantCode(t, w.MoveAccount(ctx, mgmt, prod, o.RootID, o.RootID), "DuplicateAccount")
		ok(t, w.MoveAccount(ctx, mgmt, prod, o.RootID, a))
		if n, err := w.Parent(ctx, mgmt, prod, org.Page{}); err != nil || n != (org.Node{ID: a, Type: org.TypeUnit}) {
			t.Fatal(n, err)
		}
		if n, err := w.Parent(ctx, mgmt, a, org.Page{}); err != nil || n != (org.Node{ID: o.RootID, Type: org.TypeRoot}) {
			t.Fatal(n, err)
		}
		_, err := w.Parent(ctx, mgmt, "333333333333", org.Page{})
		wantCode(t, err, "ChildNotFound")
		if list, _, err := w.Children(ctx, mgmt, a, org.TypeAccount, org.Page{}); err != nil || len(list) != 1 || list[0].ID != prod {
			t.Fatal(list, err)
		}
		if list, _, err := w.Children(ctx, mgmt, o.RootID, org.TypeUnit, org.Page{}); err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		_, _, err = w.Children(ctx, mgmt, o.RootID, "ROOT", org.Page{})
		wantCode(t, err, "InvalidInput", "INVALID_ENUM:CHILD_TYPE")
		if list, _, err := w.AccountsFor(ctx, mgmt, o.RootID, org.Page{}); err != nil || len(list) != 1 || list[0].ID != mgmt {
			t.Fatal(list, err)
		}
		if m, err := w.Membership(ctx, prod); err != nil || m.Path != o.ID+"/"+o.RootID+"/"+a+"/" || m.ParentID != a {
			t.Fatalf("%+v %v", m, err)
		}
		wantCode(t, w.DeleteUnit(ctx, mgmt, a), "OrganizationalUnitNotEmpty")
	})
}

func TestWhoMayCall(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		w.account(t, vlt)
		ok(t, w.EnableServiceAccess(ctx, mgmt, svc))
		ok(t, w.RegisterDelegate(ctx, mgmt, vlt, svc))
		p := w.policy(t, "p", allowBackup)
		const stranger = "333333333333"
		ok(t, w.AddFirstAccount(ctx, stranger))
		for name, c := range map[string]struct {
			do               func(caller string) error
			member, delegate bool
		}{
			"DescribeOrganization": {func(c string) error { _, err := w.Organization(ctx, c); return err }, true, true},
			"ListAccounts":         {func(c string) error { _, _, err := w.Accounts(ctx, c, org.Page{}); return err }, false, true},
			"ListRoots":            {func(c string) error { _, err := w.Root(ctx, c, org.Page{}); return err }, false, true},
			"DescribePolicy":       {func(c string) error { _, err := w.Policy(ctx, c, p); return err }, false, true},
			"ListTagsForResource":  {func(c string) error { _, err := w.Tags(ctx, c, prod); return err }, false, true},
			"CreateAccount": {func(c string) error {
				_, err := w.CreateAccount(ctx, c, org.NewAccount{Email: "z@example.com", Name: "z"})
				return err
			}, false, false},
			"AttachPolicy":        {func(c string) error { return w.Attach(ctx, c, p, prod) }, false, false},
			"MoveAccount":         {func(c string) error { return w.MoveAccount(ctx, c, prod, o.RootID, o.RootID) }, false, false},
			"EnableServiceAccess": {func(c string) error { return w.EnableServiceAccess(ctx, c, svc) }, false, false},
			"TagResource":         {func(c string) error { return w.Tag(ctx, c, prod, map[string]string{"a": "b"}) }, false, false},
			"DeleteOrganization":  {func(c string) error { return w.DeleteOrganization(ctx, c) }, false, false},
		} {
			for caller, may := range map[string]bool{prod: c.member, vlt: c.delegate} {
				if err := c.do(caller); may != (err == nil) {
					t.Errorf("%s by %s: %v", name, caller, err)
				} else if !may {
					wantCode(t, err, "AccessDenied")
				}
			}
			wantCode(t, c.do(stranger), "AWSOrganizationsNotInUse")
		}
	})
}

func TestPageTokensAreBoundToListAndCaller(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		w.account(t, vlt)
		_, next, err := w.Accounts(ctx, mgmt, org.Page{Max: ptr(int32(1))})
		if err != nil || next == "" {
			t.Fatal(err)
		}
		for _, bad := range []string{"", "x", next + "A", next[:len(next)-2]} {
			_, _, err := w.Accounts(ctx, mgmt, org.Page{Token: &bad})
			wantCode(t, err, "InvalidInput", "INVALID_NEXT_TOKEN")
		}
		_, _, err = w.AccountsFor(ctx, mgmt, o.RootID, org.Page{Token: &next})
		wantCode(t, err, "InvalidInput", "INVALID_NEXT_TOKEN")
		_, _, err = w.Accounts(ctx, mgmt, org.Page{Max: ptr(int32(0))})
		wantCode(t, err, "InvalidInput", "MIN_VALUE_EXCEEDED:MAX_RESULTS")
		_, _, err = w.Accounts(ctx, mgmt, org.Page{Max: ptr(int32(21))})
		wantCode(t, err, "InvalidInput", "MAX_VALUE_EXCEEDED:MAX_RESULTS")
	})
}

func TestDelegation(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		wantCode(t, w.RegisterDelegate(ctx, mgmt, prod, svc), "ConstraintViolation", "SERVICE_ACCESS_NOT_ENABLED")
		wantCode(t, w.EnableServiceAccess(ctx, mgmt, "backup"), "InvalidInput", "UNRECOGNIZED_SERVICE_PRINCIPAL")
		ok(t, w.EnableServiceAccess(ctx, mgmt, svc))
		ok(t, w.EnableServiceAccess(ctx, mgmt, svc))
		wantCode(t, w.RegisterDelegate(ctx, mgmt, mgmt, svc), "ConstraintViolation", "CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR")
		wantCode(t, w.RegisterDelegate(ctx, mgmt, vlt, svc), "AccountNotFound")
		ok(t, w.RegisterDelegate(ctx, mgmt, prod, svc))
		wantCode(t, w.RegisterDelegate(ctx, mgmt, prod, svc), "AccountAlreadyRegistered")
		if yes, err := w.IsDelegated(ctx, prod, svc); err != nil || !yes {
			t.Fatal(yes, err)
		}
		if yes, err := w.ServiceAccess(ctx, o.ID, svc); err != nil || !yes {
			t.Fatal(yes, err)
		}
		if list, _, err := w.Delegates(ctx, prod, svc, org.Page{}); err != nil || len(list) != 1 || list[0].Name != "n"+prod {
			t.Fatal(list, err)
		}
		if list, _, err := w.DelegatedServices(ctx, mgmt, prod, org.Page{}); err != nil || len(list) != 1 || list[0].Service != svc {
			t.Fatal(list, err)
		}
		if list, _, err := w.ServiceAccesses(ctx, mgmt, org.Page{}); err != nil || len(list) != 1 || !list[0].Enabled.Equal(w.clock.Now()) {
			t.Fatal(list, err)
		}
		wantCode(t, w.DisableServiceAccess(ctx, mgmt, svc), "ConstraintViolation")
		ok(t, w.DeregisterDelegate(ctx, mgmt, prod, svc))
		wantCode(t, w.DeregisterDelegate(ctx, mgmt, prod, svc), "AccountNotRegistered")
		ok(t, w.DisableServiceAccess(ctx, mgmt, svc))
		if yes, err := w.IsDelegated(ctx, prod, svc); err != nil || yes {
			t.Fatal(yes, err)
		}
	})
}

func TestTags(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		for _, id := range []string{o.RootID, w.unit(t, o.RootID, "u"), mgmt, w.policy(t, "p", allowBackup)} {
			ok(t, w.Tag(ctx, mgmt, id, map[string]string{"a": "1", "b": "2"}))
			ok(t, w.Untag(ctx, mgmt, id, []string{"b", "none"}))
			if tags, err := w.Tags(ctx, mgmt, id); err != nil || len(tags) != 1 || tags["a"] != "1" {
				t.Fatal(id, tags, err)
			}
		}
		for _, id := range []string{"r-none", "ou-xxxx-xxxxxxxx", prod, "p-none000000", "nonsense"} {
			wantCode(t, w.Tag(ctx, mgmt, id, map[string]string{"a": "b"}), "TargetNotFound")
		}
		wantCode(t, w.Tag(ctx, mgmt, mgmt, map[string]string{"AWS:x": ""}), "InvalidInput")
	})
}
