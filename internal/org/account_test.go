package org_test

import (
	"regexp"
	"testing"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/fault"
	"strongroom/internal/org"
)

func TestOrganizationLife(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		_, err := w.Organization(ctx, mgmt)
		wantCode(t, err, "AWSOrganizationsNotInUse")
		o := w.organization(t)
		if !regexp.MustCompile(`^o-[a-z0-9]{10,32}$`).MatchString(o.ID) || !regexp.MustCompile(`^r-[0-9a-z]{4,32}$`).MatchString(o.RootID) || o.Management != mgmt {
			t.Fatalf("%+v", o)
		}
		if got, err := w.Organization(ctx, mgmt); err != nil || got.ID != o.ID || len(got.PolicyTypes) != 1 || got.PolicyTypes[0] != org.SCP {
			t.Fatalf("%+v %v", got, err)
		}
		_, err = w.CreateOrganization(ctx, mgmt, "")
		wantCode(t, err, "AlreadyInOrganization")
		a, err := w.Account(ctx, mgmt, mgmt)
		if err != nil || a.Path != o.ID+"/"+o.RootID+"/"+mgmt+"/" || a.State != org.Active {
			t.Fatalf("%+v %v", a, err)
		}
		w.unit(t, o.RootID, "empty")
		w.policy(t, "p", allowBackup)
		w.account(t, prod)
		wantCode(t, w.DeleteOrganization(ctx, mgmt), "OrganizationNotEmpty")
		w.clock.Advance(5 * 24 * time.Hour)
		ok(t, w.RemoveAccount(ctx, mgmt, prod))
		ok(t, w.DeleteOrganization(ctx, mgmt))
		_, err = w.Organization(ctx, mgmt)
		wantCode(t, err, "AWSOrganizationsNotInUse")
		if again := w.organization(t); again.ID == o.ID {
			t.Fatal("the same organization")
		}
	})
}

func TestAccountIsCreatedWithItsRoleAndPlace(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		r, err := w.CreateAccount(ctx, mgmt, org.NewAccount{Email: "Prod@Example.com", Name: "production", Tags: map[string]string{org.AccountIDTag: prod, "team": "x"}})
		if err != nil || r.State != org.InProgress || r.AccountID != "" {
			t.Fatalf("%+v %v", r, err)
		}
		if w.roles.made[prod+"/"+org.DefaultRole] != mgmt {
			t.Fatal(w.roles.made)
		}
		if tags, err := w.Tags(ctx, mgmt, prod); err != nil || len(tags) != 1 || tags["team"] != "x" {
			t.Fatal(tags, err)
		}
		m, err := w.Membership(ctx, prod)
		if err != nil || m.OrgID != o.ID || m.Management != mgmt || m.Path != o.ID+"/"+o.RootID+"/" || m.State != org.Active {
			t.Fatalf("%+v %v", m, err)
		}
		if ids, err := w.AccountIDs(ctx, o.ID); err != nil || len(ids) != 2 {
			t.Fatal(ids, err)
		}
		r, err = w.CreateAccount(ctx, mgmt, org.NewAccount{Email: "x@example.com", Name: "random", Role: "Admin"})
		ok(t, err)
		r, err = w.AccountRequest(ctx, mgmt, r.ID)
		if err != nil || !arn.ValidAccount(r.AccountID) || r.Completed.IsZero() || w.roles.made[r.AccountID+"/Admin"] != mgmt {
			t.Fatalf("%+v %v", r, err)
		}
	})
}

func TestAccountsThatCannotBeMadeFailWithTheReason(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.organization(t)
		w.account(t, prod)
		for reason, n := range map[string]org.NewAccount{
			"EMAIL_ALREADY_EXISTS":            {Email: "A" + prod + "@EXAMPLE.com", Name: "x"},
			"INVALID_EMAIL":                   {Email: "nobody", Name: "x"},
			"CONCURRENT_ACCOUNT_MODIFICATION": {Email: "b@example.com", Name: "x", Tags: map[string]string{org.AccountIDTag: prod}},
		} {
			r, err := w.CreateAccount(ctx, mgmt, n)
			if err != nil || r.State != org.Failed || r.Reason != reason {
				t.Errorf("%s: %+v %v", reason, r, err)
			}
			if got, err := w.AccountRequest(ctx, mgmt, r.ID); err != nil || got.Reason != reason || got.Completed.IsZero() {
				t.Errorf("%s: %+v %v", reason, got, err)
			}
		}
		for _, n := range []org.NewAccount{
			{Email: "b@example.com", Name: ""}, {Email: "b@example.com", Name: "x", Role: "AWSServiceRoleForX"}, {Email: "b@example.com", Name: "x", Role: "awsServiceroleForBackup"}, {Email: "b@example.com", Name: "x", Role: "a b"},
			{Email: "b@example.com", Name: "x", Tags: map[string]string{org.AccountIDTag: "12"}}, {Email: "b@example.com", Name: "x", Tags: map[string]string{"aws:x": ""}},
		} {
			_, err := w.CreateAccount(ctx, mgmt, n)
			wantCode(t, err, "InvalidInput")
		}
		failed, next, err := w.AccountRequests(ctx, mgmt, []string{org.Failed}, org.Page{})
		if err != nil || next != "" || len(failed) != 3 {
			t.Fatal(failed, next, err)
		}
		_, _, err = w.AccountRequests(ctx, mgmt, []string{"LOST"}, org.Page{})
		wantCode(t, err, "InvalidInput", "INVALID_ENUM:STATES")
	})
}

// An account whose role could not be made yet exists, with its policies, but is not active; a later pass finishes it.
func TestCutOffCreationIsFinishedLater(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.roles.fail = errAway
		r, err := w.CreateAccount(ctx, mgmt, org.NewAccount{Email: "p@example.com", Name: "x", Tags: map[string]string{org.AccountIDTag: prod}})
		if err != nil || r.State != org.InProgress {
			t.Fatalf("%+v %v", r, err)
		}
		if ids, err := w.AccountIDs(ctx, o.ID); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		if _, scps, err := w.Guardrails(ctx, prod); err != nil || len(scps) != 2 {
			t.Fatal(scps, err)
		}
		if _, err := w.RunOnce(ctx); err == nil {
			t.Fatal("no error")
		}
		wantCode(t, w.RemoveAccount(ctx, mgmt, prod), "ConcurrentModification")
		w.roles.fail = nil
		w.roles.made[prod+"/"+org.DefaultRole] = mgmt // the role was made before the cut
		if st, err := w.RunOnce(ctx); err != nil || st.Finished != 1 {
			t.Fatal(st, err)
		}
		if r, err = w.AccountRequest(ctx, mgmt, r.ID); err != nil || r.State != org.Succeeded {
			t.Fatalf("%+v %v", r, err)
		}
		if st, err := w.RunOnce(ctx); err != nil || st.Finished != 0 {
			t.Fatal(st, err)
		}

		w.roles.fail = fault.New(fault.Invalid, "never")
		r, err = w.CreateAccount(ctx, mgmt, org.NewAccount{Email: "q@example.com", Name: "x", Tags: map[string]string{org.AccountIDTag: vlt}})
		ok(t, err)
		if r, err = w.AccountRequest(ctx, mgmt, r.ID); err != nil || r.State != org.Failed || r.Reason != "INTERNAL_FAILURE" || r.AccountID != "" {
			t.Fatalf("%+v %v", r, err)
		}
		w.roles.fail = nil
		w.account(t, vlt) // the id is free again
	})
}

func TestAccountLimit(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.organization(t)
		for i := range 30 {
			r, err := w.CreateAccount(t.Context(), mgmt, org.NewAccount{Email: string(rune('a'+i%26)) + string(rune('a'+i/26)) + "@example.com", Name: "x"})
			ok(t, err)
			if full := r.State == org.Failed; full != (i == 29) || full && r.Reason != "ACCOUNT_LIMIT_EXCEEDED" {
				t.Fatalf("%d: %+v", i, r)
			}
		}
		seen := map[string]bool{}
		for p := (org.Page{Max: ptr(int32(7))}); ; {
			list, next, err := w.Accounts(t.Context(), mgmt, p)
			ok(t, err)
			for _, a := range list {
				if seen[a.ID] || a.Path == "" {
					t.Fatalf("%+v", a)
				}
				seen[a.ID] = true
			}
			if next == "" {
				break
			}
			p.Token = &next
		}
		if len(seen) != 30 {
			t.Fatal(len(seen))
		}
	})
}

func TestLeaving(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		w.account(t, vlt)
		wantCode(t, w.LeaveOrganization(ctx, prod), "ConstraintViolation", "WAIT_PERIOD_ACTIVE")
		w.clock.Advance(4 * 24 * time.Hour)
		wantCode(t, w.LeaveOrganization(ctx, mgmt), "MasterCannotLeaveOrganization")
		wantCode(t, w.RemoveAccount(ctx, mgmt, mgmt), "MasterCannotLeaveOrganization")
		wantCode(t, w.RemoveAccount(ctx, prod, prod), "AccessDenied") // a member leaves by another operation
		wantCode(t, w.RemoveAccount(ctx, mgmt, "333333333333"), "AccountNotFound")
		ok(t, w.EnableServiceAccess(ctx, mgmt, svc))
		ok(t, w.RegisterDelegate(ctx, mgmt, prod, svc))
		wantCode(t, w.RemoveAccount(ctx, mgmt, prod), "ConstraintViolation", "CANNOT_REMOVE_DELEGATED_ADMINISTRATOR_FROM_ORG")
		ok(t, w.DeregisterDelegate(ctx, mgmt, prod, svc))
		ok(t, w.Tag(ctx, mgmt, prod, map[string]string{"a": "b"}))
		ok(t, w.RemoveAccount(ctx, mgmt, prod))
		if m, err := w.Membership(ctx, prod); err != nil || m != (org.Membership{}) {
			t.Fatalf("%+v %v", m, err)
		}
		if _, scps, err := w.Guardrails(ctx, prod); err != nil || scps != nil {
			t.Fatal(scps, err)
		}
		ok(t, w.LeaveOrganization(ctx, vlt))
		if ids, err := w.AccountIDs(ctx, o.ID); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		if there, err := w.Exists(ctx, prod); err != nil || !there {
			t.Fatal("an account that left is no more")
		}
	})
}
