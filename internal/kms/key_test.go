package kms_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
)

func keyPolicy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func allow(principal, action string) string {
	return fmt.Sprintf(`{"Effect":"Allow","Principal":{"AWS":%q},"Action":%q,"Resource":"*"}`, principal, action)
}

func TestPoliciesThatLockOutOrNameNobodyAreRefused(t *testing.T) {
	run(t, func(c *kms.Config) {
		c.PrincipalExists = func(_ context.Context, p string) bool { return strings.Contains(p, acct) || strings.Contains(p, other) }
	}, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key(t)
		user := access.Principal{Kind: access.User, Account: acct, ARN: "arn:aws:iam::" + acct + ":user/ops", ID: "AIDAX", Name: "ops"}
		mine := allow(root(acct).ARN, "kms:*")
		for name, c := range map[string]struct {
			text   string
			caller access.Principal
			bypass bool
			good   bool
		}{
			"account":              {keyPolicy(mine, allow(root(other).ARN, "kms:Decrypt")), root(acct), false, true},
			"caller by name":       {keyPolicy(allow(user.ARN, "kms:PutKeyPolicy")), user, false, true},
			"caller not named":     {keyPolicy(allow(user.ARN, "kms:*")), root(acct), false, false},
			"only others":          {keyPolicy(allow(root(other).ARN, "kms:*")), root(acct), false, false},
			"lock-out bypassed":    {keyPolicy(allow(root(other).ARN, "kms:*")), root(acct), true, true},
			"no PutKeyPolicy":      {keyPolicy(allow(root(acct).ARN, "kms:Decrypt")), root(acct), false, false},
			"denied again":         {keyPolicy(mine, `{"Effect":"Deny","Principal":"*","Action":"kms:Put*","Resource":"*"}`), root(acct), false, false},
			"nobody":               {keyPolicy(mine, allow("arn:aws:iam::333333333333:role/gone", "kms:Decrypt")), root(acct), false, false},
			"nobody, bypassed":     {keyPolicy(mine, allow("arn:aws:iam::333333333333:root", "kms:Decrypt")), root(acct), true, false},
			"not JSON":             {"{", root(acct), true, false},
			"no principal":         {`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`, root(acct), true, false},
			"duplicate JSON names": {`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}]}`, root(acct), true, false},
		} {
			err := w.PutPolicy(ctx, c.caller, key, c.text, c.bypass)
			if c.good {
				if err != nil || w.describe(t, key).Policy != c.text {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if f := fault.As(err); f == nil || f.Code != kms.CodeMalformedPolicy {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := w.CreateKey(ctx, c.caller, kms.NewKey{Region: region, Policy: c.text, BypassLockout: c.bypass}); err == nil {
				t.Errorf("%s: a key was made with it", name)
			}
		}
		wantFault(t, w.PutPolicy(ctx, root(acct), key, keyPolicy(mine)+strings.Repeat(" ", 33<<10), false), fault.Limit, "")
	})
}

func TestResolve(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key(t)
		id := key[strings.LastIndex(key, "/")+1:]
		ok(t, w.CreateAlias(ctx, "alias/mine", key))
		aliasARN := "arn:aws:kms:" + region + ":" + acct + ":alias/mine"
		for _, name := range []string{id, key} {
			ref, err := w.Resolve(ctx, acct, region, name, false)
			if err != nil || ref != (kms.Ref{ARN: key, Exists: true}) {
				t.Errorf("%s: %+v %v", name, ref, err)
			}
		}
		for _, name := range []string{"alias/mine", aliasARN} {
			if ref, err := w.Resolve(ctx, acct, region, name, true); err != nil || ref != (kms.Ref{ARN: key, Alias: "alias/mine", Exists: true}) {
				t.Errorf("%s: %+v %v", name, ref, err)
			}
			if _, err := w.Resolve(ctx, acct, region, name, false); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s where no alias is taken: %v", name, err)
			}
		}
		for _, c := range []struct{ account, region, name string }{
			{other, region, id}, {other, region, "alias/mine"}, {acct, region, strings.Replace(key, acct, other, 1)}, {acct, "eu-west-1", id},
			{acct, region, "alias/none"}, {acct, region, "00000000-0000-0000-0000-000000000000"},
		} {
			if ref, err := w.Resolve(ctx, c.account, c.region, c.name, true); err != nil || ref.Exists || !fault.Is(ref.NotFound(), fault.NotFound) {
				t.Errorf("%+v: %+v %v", c, ref, err)
			}
		}
		for _, bad := range []string{"", "nonsense", "arn:aws:s3:::b", "arn:aws:kms:us-east-1:1:key/x", "arn:aws:kms:us-east-1:111111111111:grant/x", "arn:aws:kms:eu-west-1:111111111111:key/" + id, strings.ToUpper(id)} {
			if ref, err := w.Resolve(ctx, acct, region, bad, true); fault.As(err) == nil {
				t.Errorf("%q: %+v", bad, ref)
			}
		}
		_, err := w.Describe(ctx, strings.Replace(key, region, "eu-west-1", 1))
		wantFault(t, err, fault.NotFound, "")
	})
}

func TestAliases(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		a, b := w.key(t), w.key(t)
		for _, bad := range []string{"mine", "alias/", "alias/aws/mine", "alias/a b", "alias/" + strings.Repeat("x", 251)} {
			wantFault(t, w.CreateAlias(ctx, bad, a), fault.Invalid, kms.CodeInvalidAliasName)
		}
		ok(t, w.CreateAlias(ctx, "alias/x", a))
		wantFault(t, w.CreateAlias(ctx, "alias/x", b), fault.Exists, "")
		ok(t, w.UpdateAlias(ctx, "alias/x", b))
		if ref, err := w.Resolve(ctx, acct, region, "alias/x", true); err != nil || ref.ARN != b {
			t.Fatal(ref, err)
		}
		wantFault(t, w.UpdateAlias(ctx, "alias/y", b), fault.NotFound, "")
		ok(t, w.CreateAlias(ctx, "alias/a", a))
		list, more, err := w.Aliases(ctx, acct, region, "", "", 1)
		if err != nil || !more || len(list) != 1 || list[0].Name != "alias/a" {
			t.Fatalf("%+v %v %v", list, more, err)
		}
		if list, more, err = w.Aliases(ctx, acct, region, w.describe(t, b).ID, "", 9); err != nil || more || len(list) != 1 || list[0].Name != "alias/x" {
			t.Fatalf("%+v %v %v", list, more, err)
		}
		ok(t, w.DeleteAlias(ctx, acct, region, "alias/x"))
		wantFault(t, w.DeleteAlias(ctx, acct, region, "alias/x"), fault.NotFound, "")
		wantFault(t, w.DeleteAlias(ctx, other, region, "alias/a"), fault.NotFound, "")
	})
}

func TestTags(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key(t)
		ok(t, w.Tag(ctx, key, map[string]string{"a": "1", "b": "2"}))
		ok(t, w.Tag(ctx, key, map[string]string{"a": "3"}))
		ok(t, w.Untag(ctx, key, []string{"b", "none"}))
		if tags, err := w.Tags(ctx, key); err != nil || len(tags) != 1 || tags["a"] != "3" {
			t.Fatal(tags, err)
		}
		wantFault(t, w.Tag(ctx, key, map[string]string{"aws:x": ""}), fault.Invalid, kms.CodeTag)
		many := map[string]string{}
		for i := range 50 {
			many[fmt.Sprint(i)] = ""
		}
		wantFault(t, w.Tag(ctx, key, many), fault.Limit, "")
		if r, err := w.Lookup(ctx, access.Check{Action: "kms:Decrypt", Resource: key}, root(acct)); err != nil || r.Tags["a"] != "3" {
			t.Fatal(r, err)
		}
	})
}

func TestServiceKeyIsOnePerAccountAndRegionAndCannotBeChanged(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		var wg sync.WaitGroup
		names := make([]string, 4)
		for i := range names {
			wg.Go(func() { names[i], _ = w.ServiceKey(ctx, acct, region, "aws/backup") })
		}
		wg.Wait()
		key := names[0]
		for _, n := range names {
			if n != key || n == "" {
				t.Fatal(names)
			}
		}
		if elsewhere, err := w.ServiceKey(ctx, acct, "eu-west-1", "aws/backup"); err != nil || elsewhere == key {
			t.Fatal(elsewhere, err)
		}
		k := w.describe(t, key)
		if k.Manager != kms.ManagerAWS || k.RotationDays != 365 {
			t.Fatalf("%+v", k)
		}
		_, scheduled := w.ScheduleDeletion(ctx, key, 7)
		for name, err := range map[string]error{
			"disable": w.DisableKey(ctx, key), "schedule": scheduled, "policy": w.PutPolicy(ctx, root(acct), key, kms.DefaultPolicy(acct), false),
			"tag": w.Tag(ctx, key, map[string]string{"a": "b"}), "alias": w.CreateAlias(ctx, "alias/x", key), "rotation": w.DisableRotation(ctx, key),
		} {
			if !fault.Is(err, fault.Denied) {
				t.Errorf("%s: %v", name, err)
			}
		}
		direct, via := access.Env{Region: region}, access.Env{Region: region, ViaService: "backup.amazonaws.com"}
		if w.decide(t, kms.Check("kms:Decrypt", key, root(acct), direct), root(acct)) || !w.decide(t, kms.Check("kms:Decrypt", key, root(acct), via), root(acct)) ||
			w.decide(t, kms.Check("kms:Decrypt", key, root(other), via), root(other)) || w.decide(t, kms.Check("kms:DisableKey", key, root(acct), via), root(acct)) ||
			!w.decide(t, kms.Check("kms:DescribeKey", key, root(acct), direct), root(acct)) {
			t.Fatal("the service key's policy")
		}
	})
}

func TestMarkersAreBoundToTheirList(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		m := w.Marker("keys 1", "cursor")
		if c, err := w.Cursor("keys 1", m); err != nil || c != "cursor" {
			t.Fatal(c, err)
		}
		for _, bad := range []struct{ scope, marker string }{{"keys 2", m}, {"keys 1", m + "A"}, {"keys 1", "A"}, {"keys 1", "%"}} {
			_, err := w.Cursor(bad.scope, bad.marker)
			wantFault(t, err, fault.Invalid, kms.CodeInvalidMarker)
		}
	})
}
