package org_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/org"
	"strongroom/internal/policy"
)

const (
	allowBackup = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"backup:*","Resource":"*"}]}`
	denyDelete  = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"backup:DeleteRecoveryPoint","Resource":"*"}]}`
)

func TestPolicies(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		text := "{ \"Version\": \"2012-10-17\",\n \"Statement\": [{\"Effect\":\"Deny\",\"Action\":\"kms:*\",\"Resource\":\"*\"}] }\n"
		id := w.policy(t, "p", text)
		if p, err := w.Policy(ctx, mgmt, id); err != nil || p.Content != text || p.AWSManaged {
			t.Fatalf("%+v %v", p, err)
		}
		if arn := o.PolicyARN(id, org.SCP); arn != "arn:aws:organizations::"+mgmt+":policy/"+o.ID+"/service_control_policy/"+id {
			t.Fatal(arn)
		}
		create := func(p org.Policy) error { _, err := w.CreatePolicy(ctx, mgmt, p, nil); return err }
		wantCode(t, create(org.Policy{Type: org.SCP, Name: "p", Content: text}), "DuplicatePolicy")
		wantCode(t, create(org.Policy{Type: org.SCP, Name: "FullAWSAccess", Content: text}), "DuplicatePolicy")
		wantCode(t, create(org.Policy{Type: "NONE", Name: "q", Content: text}), "InvalidInput", "INVALID_ENUM:POLICY_TYPE")
		wantCode(t, create(org.Policy{Type: org.SCP, Name: "q", Content: text + strings.Repeat(" ", 5120)}), "ConstraintViolation", "POLICY_CONTENT_LIMIT_EXCEEDED")
		for _, bad := range []string{"", "{}", "not json", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`} {
			err := create(org.Policy{Type: org.SCP, Name: "q", Content: bad})
			wantCode(t, err, "MalformedPolicyDocument")
			if !strings.HasPrefix(fault.As(err).Msg, "The provided policy document does not meet the requirements of the specified policy type.") {
				t.Error(err)
			}
		}
		if err := create(org.Policy{Type: "BACKUP_POLICY", Name: "q", Content: "{}"}); !fault.Is(err, fault.Unsupported) {
			t.Fatal(err)
		}
		if p, err := w.UpdatePolicy(ctx, mgmt, id, nil, ptr("d"), nil); err != nil || p.Name != "p" || p.Description != "d" || p.Content != text {
			t.Fatalf("%+v %v", p, err)
		}
		_, err := w.UpdatePolicy(ctx, mgmt, id, nil, nil, ptr("{"))
		wantCode(t, err, "MalformedPolicyDocument")
		_, err = w.UpdatePolicy(ctx, mgmt, org.FullAccessID, ptr("x"), nil, nil)
		wantCode(t, err, "InvalidInput", "IMMUTABLE_POLICY")
		wantCode(t, w.DeletePolicy(ctx, mgmt, org.FullAccessID), "InvalidInput", "IMMUTABLE_POLICY")
		ok(t, w.Attach(ctx, mgmt, id, o.RootID))
		wantCode(t, w.DeletePolicy(ctx, mgmt, id), "PolicyInUse")
		ok(t, w.Detach(ctx, mgmt, id, o.RootID))
		ok(t, w.DeletePolicy(ctx, mgmt, id))
		_, err = w.Policy(ctx, mgmt, id)
		wantCode(t, err, "PolicyNotFound")
	})
}

func TestListingPoliciesPagesOverOursAndAWSs(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.organization(t)
		want := []string{org.FullAccessID}
		for _, n := range []string{"a", "b", "c", "d"} {
			want = append(want, w.policy(t, n, allowBackup))
		}
		slices.Sort(want)
		var got []string
		for p := (org.Page{Max: ptr(int32(2))}); ; {
			list, next, err := w.Policies(t.Context(), mgmt, org.SCP, p)
			ok(t, err)
			for _, x := range list {
				got = append(got, x.ID)
			}
			if next == "" {
				break
			}
			p.Token = &next
		}
		if !slices.Equal(got, want) {
			t.Fatal(got, want)
		}
	})
}

func TestAttaching(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		id := w.policy(t, "p", allowBackup)
		wantCode(t, w.Detach(ctx, mgmt, org.FullAccessID, prod), "ConstraintViolation", "MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED")
		wantCode(t, w.Detach(ctx, mgmt, id, prod), "PolicyNotAttached")
		ok(t, w.Attach(ctx, mgmt, id, prod))
		wantCode(t, w.Attach(ctx, mgmt, id, prod), "DuplicatePolicyAttachment")
		wantCode(t, w.Attach(ctx, mgmt, "p-none000000", prod), "PolicyNotFound")
		wantCode(t, w.Attach(ctx, mgmt, id, "333333333333"), "TargetNotFound")
		wantCode(t, w.Attach(ctx, mgmt, id, "r-none"), "TargetNotFound")
		wantCode(t, w.Attach(ctx, mgmt, id, "x"), "InvalidInput", "INVALID_PATTERN_TARGET_ID")
		ok(t, w.Detach(ctx, mgmt, org.FullAccessID, prod))
		for _, n := range []string{"1", "2", "3", "4"} {
			ok(t, w.Attach(ctx, mgmt, w.policy(t, n, allowBackup), prod))
		}
		wantCode(t, w.Attach(ctx, mgmt, org.FullAccessID, prod), "ConstraintViolation", "MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED")
		if list, _, err := w.PoliciesFor(ctx, mgmt, prod, org.SCP, org.Page{}); err != nil || len(list) != 5 {
			t.Fatal(list, err)
		}
		ok(t, w.Attach(ctx, mgmt, id, o.RootID))
		list, _, err := w.Targets(ctx, mgmt, id, org.Page{})
		if err != nil || !slices.Equal(list, []org.Node{{ID: prod, Type: org.TypeAccount, Name: "n" + prod}, {ID: o.RootID, Type: org.TypeRoot, Name: "Root"}}) {
			t.Fatal(list, err)
		}
	})
}

func TestDisablingTheTypeDetachesAndEnablingBringsBackFullAccess(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		id := w.policy(t, "p", denyDelete)
		ok(t, w.Attach(ctx, mgmt, id, prod))
		_, err := w.EnableType(ctx, mgmt, o.RootID, org.SCP)
		wantCode(t, err, "PolicyTypeAlreadyEnabled")
		_, err = w.DisableType(ctx, mgmt, "r-none", org.SCP)
		wantCode(t, err, "RootNotFound")
		if r, err := w.DisableType(ctx, mgmt, o.RootID, org.SCP); err != nil || len(r.PolicyTypes) != 0 {
			t.Fatal(r, err)
		}
		if _, scps, err := w.Guardrails(ctx, prod); err != nil || scps != nil {
			t.Fatal(scps, err)
		}
		wantCode(t, w.Attach(ctx, mgmt, id, prod), "PolicyTypeNotEnabled")
		_, err = w.DisableType(ctx, mgmt, o.RootID, org.SCP)
		wantCode(t, err, "PolicyTypeNotEnabled")
		w.account(t, vlt) // made while disabled
		u := w.unit(t, o.RootID, "u")
		if r, err := w.EnableType(ctx, mgmt, o.RootID, org.SCP); err != nil || len(r.PolicyTypes) != 1 {
			t.Fatal(r, err)
		}
		for _, target := range []string{o.RootID, u, prod, vlt, mgmt} {
			if list, _, err := w.PoliciesFor(ctx, mgmt, target, org.SCP, org.Page{}); err != nil || len(list) != 1 || list[0].ID != org.FullAccessID {
				t.Fatal(target, list, err)
			}
		}
	})
}

func names(levels [][]policy.Source) (out [][]string) {
	for _, l := range levels {
		var n []string
		for _, s := range l {
			n = append(n, s.Name[strings.LastIndex(s.Name, "/")+1:])
		}
		out = append(out, n)
	}
	return out
}

func TestGuardrailsFollowEveryChangeOnEveryNode(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		o := w.organization(t)
		w.account(t, prod)
		second := w.node(t)
		deny := w.policy(t, "deny", denyDelete)
		u := w.unit(t, o.RootID, "u")
		full := []string{org.FullAccessID}
		expect := func(what string, want ...[]string) {
			t.Helper()
			for i, node := range []*org.Service{w.Service, second} {
				for range 2 { // from the catalog, then from the cache
					place, scps, err := node.Guardrails(ctx, prod)
					if err != nil || place.OrgID != o.ID || place.Management || len(place.Levels) != len(want) || !slices.EqualFunc(names(scps), want, slices.Equal) {
						t.Fatalf("%s, node %d: %v %+v %v", what, i, names(scps), place, err)
					}
				}
			}
		}
		expect("new", full, full)
		ok(t, w.Attach(ctx, mgmt, deny, prod))
		expect("attached", full, []string{org.FullAccessID, deny})
		ok(t, w.MoveAccount(ctx, mgmt, prod, o.RootID, u))
		expect("moved", full, full, []string{org.FullAccessID, deny})
		ok(t, second.Attach(ctx, mgmt, deny, u))
		expect("attached by the other node", full, []string{org.FullAccessID, deny}, []string{org.FullAccessID, deny})
		_, err := w.UpdatePolicy(ctx, mgmt, deny, nil, nil, ptr(allowBackup))
		ok(t, err)
		if _, scps, err := second.Guardrails(ctx, prod); err != nil || scps[1][1].Doc.Text() != allowBackup {
			t.Fatal(err)
		}
		ok(t, w.Detach(ctx, mgmt, deny, prod))
		expect("detached", full, []string{org.FullAccessID, deny}, full)

		place, scps, err := w.Guardrails(ctx, mgmt)
		if err != nil || scps != nil || !place.Management || place.OrgPath != o.ID+"/"+o.RootID+"/" {
			t.Fatalf("management account: %+v %v %v", place, scps, err)
		}
		place, scps, err = w.Guardrails(ctx, "333333333333")
		if err != nil || scps != nil || place.OrgID != "" {
			t.Fatalf("unknown account: %+v %v %v", place, scps, err)
		}
	})
}

// TestTreeModel makes random changes to the tree and its attachments beside a model, and demands after each that the guardrails of every
// account are what the model says and that no level is without a policy. The tree grows over all runs.
func TestTreeModel(t *testing.T) {
	t.Parallel()
	c := clock.NewFake(clock.System{}.Now())
	w := &world{clock: c, db: dbtest.SQLite(t, c.Now), roles: &roles{made: map[string]string{}}}
	w.Service = w.node(t)
	ok(t, w.AddFirstAccount(t.Context(), mgmt))
	o := w.organization(t)
	ctx := t.Context()
	accounts := []string{w.account(t, prod), w.account(t, vlt)}
	policies := []string{org.FullAccessID}
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		policies = append(policies, w.policy(t, n, allowBackup))
	}
	parent := map[string]string{prod: o.RootID, vlt: o.RootID}
	attached := map[string][]string{o.RootID: {org.FullAccessID}, prod: {org.FullAccessID}, vlt: {org.FullAccessID}}
	depth := map[string]int{o.RootID: 0}
	made := 0
	keys := func() (out []string) {
		for k := range depth {
			out = append(out, k)
		}
		slices.Sort(out)
		return out
	}
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; runs > 25 { // each step is a durable commit
			return
		}
		pick := func(from []string, name string) string { return rapid.SampledFrom(from).Draw(rt, name) }
		targets := func() []string { return append(keys(), accounts...) }
		rt.Repeat(map[string]func(*rapid.T){
			"unit": func(*rapid.T) {
				under := pick(keys(), "under")
				made++
				u, err := w.CreateUnit(ctx, mgmt, under, fmt.Sprint("u", made), nil)
				if (err == nil) != (depth[under] < 5 && u.ID != "") {
					rt.Fatal(err)
				}
				if err == nil {
					depth[u.ID], parent[u.ID], attached[u.ID] = depth[under]+1, under, []string{org.FullAccessID}
				}
			},
			"remove unit": func(*rapid.T) {
				id := pick(keys(), "unit")
				empty := id != o.RootID
				for _, p := range parent {
					empty = empty && p != id
				}
				if err := w.DeleteUnit(ctx, mgmt, id); (err == nil) != empty {
					rt.Fatal(id, err)
				}
				if empty {
					delete(depth, id)
					delete(parent, id)
					delete(attached, id)
				}
			},
			"move": func(*rapid.T) {
				a, to := pick(accounts, "account"), pick(keys(), "to")
				if err := w.MoveAccount(ctx, mgmt, a, parent[a], to); (err == nil) != (to != parent[a]) {
					rt.Fatal(err)
				}
				parent[a] = to
			},
			"attach": func(*rapid.T) {
				id, p := pick(targets(), "target"), pick(policies, "policy")
				may := len(attached[id]) < 5 && !slices.Contains(attached[id], p)
				if err := w.Attach(ctx, mgmt, p, id); (err == nil) != may {
					rt.Fatal(err)
				}
				if may {
					attached[id] = append(attached[id], p)
				}
			},
			"detach": func(*rapid.T) {
				id, p := pick(targets(), "target"), pick(policies, "policy")
				may := len(attached[id]) > 1 && slices.Contains(attached[id], p)
				if err := w.Detach(ctx, mgmt, p, id); (err == nil) != may {
					rt.Fatal(err)
				}
				if may {
					attached[id] = slices.DeleteFunc(slices.Clone(attached[id]), func(x string) bool { return x == p })
				}
			},
			"": func(*rapid.T) {
				for _, a := range accounts {
					var want [][]string
					for at := a; at != ""; at = parent[at] {
						want = append([][]string{attached[at]}, want...)
					}
					_, scps, err := w.Guardrails(ctx, a)
					if err != nil || !slices.EqualFunc(names(scps), want, slices.Equal) {
						rt.Fatal(names(scps), want, err)
					}
				}
			},
		})
	})
}

func BenchmarkGuardrails(b *testing.B) {
	d, err := db.Open(b.Context(), db.Config{URL: b.TempDir() + "/catalog.db", Now: clock.System{}.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	s, err := org.New(b.Context(), org.Config{DB: d, Clock: clock.System{}, Accounts: &roles{made: map[string]string{}}})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.AddFirstAccount(b.Context(), mgmt); err != nil {
		b.Fatal(err)
	}
	if _, err := s.CreateOrganization(b.Context(), mgmt, ""); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := s.Guardrails(b.Context(), mgmt); err != nil {
			b.Fatal(err)
		}
	}
}
