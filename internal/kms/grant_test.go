package kms_test

import (
	"slices"
	"strings"
	"testing"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
	"strongroom/internal/policy"
)

var vaultCtx = map[string]string{"aws:backup:backup-vault": "arn:v"}

func (w *world) grant(t *testing.T, key string, n kms.NewGrant) (kms.Grant, string) {
	t.Helper()
	if n.Issuer == "" {
		n.Issuer = acct
	}
	g, token, err := w.CreateGrant(t.Context(), key, n)
	ok(t, err)
	return g, token
}

func TestEqualNamedGrantsAreOneGrant(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		n := kms.NewGrant{Name: "vault", Grantee: root(other).ARN, Operations: []string{"Decrypt", "Encrypt"}, Subset: vaultCtx}
		a, tokenA := w.grant(t, key, n)
		n.Operations = []string{"Encrypt", "Decrypt", "Decrypt"} // the same set
		b, tokenB := w.grant(t, key, n)
		if a.ID != b.ID || tokenA == tokenB || len(a.ID) != 64 {
			t.Fatalf("%s %s", a.ID, b.ID)
		}
		for i, change := range []func(*kms.NewGrant){
			func(n *kms.NewGrant) { n.Name = "" },
			func(n *kms.NewGrant) { n.Name = "" }, // unnamed ones never are the same
			func(n *kms.NewGrant) { n.Retiring = root(acct).ARN },
			func(n *kms.NewGrant) { n.Equals, n.Subset = n.Subset, nil },
			func(n *kms.NewGrant) { n.Issuer = other },
		} {
			m := n
			change(&m)
			if c, _ := w.grant(t, key, m); c.ID == a.ID {
				t.Errorf("change %d gave the same grant", i)
			}
		}
		list, more, err := w.Grants(t.Context(), key, kms.GrantFilter{}, "", 100)
		if err != nil || more || len(list) != 6 {
			t.Fatal(len(list), more, err)
		}
		got, err := w.Grant(t.Context(), key, a.ID)
		if err != nil || got.Subset["aws:backup:backup-vault"] != "arn:v" || got.Equals != nil || got.Issuer != root(acct).ARN || !slices.Equal(got.Ops, []string{"Decrypt", "Encrypt"}) {
			t.Fatalf("%+v %v", got, err)
		}
	})
}

func TestGrantsAreChecked(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		good := kms.NewGrant{Issuer: acct, Grantee: root(other).ARN, Operations: []string{"Decrypt"}}
		many := map[string]string{}
		for i := range 9 {
			many[string(rune('a'+i))] = "x"
		}
		for name, change := range map[string]func(*kms.NewGrant){
			"no operation":        func(n *kms.NewGrant) { n.Operations = nil },
			"asymmetric":          func(n *kms.NewGrant) { n.Operations = []string{"Sign"} },
			"two constraints":     func(n *kms.NewGrant) { n.Equals, n.Subset = vaultCtx, vaultCtx },
			"too many pairs":      func(n *kms.NewGrant) { n.Subset = many },
			"long value":          func(n *kms.NewGrant) { n.Subset = map[string]string{"a": strings.Repeat("x", 385)} },
			"service by a user":   func(n *kms.NewGrant) { n.Grantee = "backup.amazonaws.com" },
			"no principal":        func(n *kms.NewGrant) { n.Grantee = "arn:aws:s3:::bucket" },
			"bad retiring":        func(n *kms.NewGrant) { n.Retiring = "me" },
			"service in disguise": func(n *kms.NewGrant) { n.Service, n.Grantee = true, "arn:x.amazonaws.com" },
		} {
			n := good
			change(&n)
			if _, _, err := w.CreateGrant(t.Context(), key, n); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestTokensNameTheirGrantAndCannotBeMadeUp(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		g, token := w.grant(t, key, kms.NewGrant{Grantee: root(other).ARN, Operations: []string{"Decrypt"}})
		got, err := w.GrantOfToken(t.Context(), token)
		if err != nil || got.ID != g.ID {
			t.Fatal(got, err)
		}
		for _, bad := range []string{"", "x", token[1:], strings.Replace(token, token[:1], "!", 1), flip(token)} {
			wantFault(t, w.CheckTokens([]string{token, bad}), fault.Invalid, kms.CodeInvalidGrantToken)
		}
		ok(t, w.RetireGrant(t.Context(), key, g.ID))
		_, err = w.GrantOfToken(t.Context(), token)
		wantFault(t, err, fault.NotFound, "")
		wantFault(t, w.RevokeGrant(t.Context(), key, g.ID), fault.NotFound, "")
	})
}

func flip(s string) string {
	b := []byte(s)
	if b[10]++; b[10] > 'z' || b[10] == '=' {
		b[10] = 'A'
	}
	return string(b)
}

func TestWhoMayRetire(t *testing.T) {
	t.Parallel()
	role := access.Principal{Kind: access.Role, Account: other, ARN: "arn:aws:sts::222222222222:assumed-role/R/s", RoleARN: "arn:aws:iam::222222222222:role/R"}
	g := kms.Grant{Grantee: role.RoleARN, Issuer: root(acct).ARN, Ops: []string{"Decrypt"}}
	retire := g
	retire.Ops = []string{"Decrypt", "RetireGrant"}
	named := g
	named.Retiring = "arn:aws:iam::333333333333:user/u"
	user := access.Principal{Kind: access.User, Account: "333333333333", ARN: named.Retiring}
	for name, c := range map[string]struct {
		g    kms.Grant
		p    access.Principal
		want bool
	}{
		"issuing account":                {g, root(acct), true},
		"grantee without RetireGrant":    {g, role, false},
		"grantee with RetireGrant":       {retire, role, true},
		"another account":                {retire, root("444444444444"), false},
		"retiring principal":             {named, user, true},
		"retiring principal not named":   {g, user, false},
		"somebody of the issuer account": {g, access.Principal{Kind: access.User, Account: acct, ARN: "arn:aws:iam::111111111111:user/x"}, true},
		"anonymous":                      {kms.Grant{}, access.Principal{}, false},
	} {
		if got := c.g.RetirableBy(c.p); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// decide evaluates a check by p, whose own account allows everything, with what Lookup says about the key.
func (w *world) decide(t *testing.T, c access.Check, p access.Principal) bool {
	t.Helper()
	r, err := w.Lookup(t.Context(), c, p)
	ok(t, err)
	all, err := policy.Parse(policy.Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	ok(t, err)
	full := c.Context.Clone()
	full.Set("aws:PrincipalArn", p.PolicyARN())
	full.Set("aws:PrincipalAccount", p.Account)
	return policy.Evaluate(policy.Request{
		Principal: p, Check: c, Context: full, Identity: []policy.Source{{Name: "all", Owner: p.Account, Doc: all}},
		Resource: r.Policy, ResourceAccount: r.Account, ResourceKind: r.Kind, Grants: r.Grants,
	}).Allowed
}

func TestLookupBringsThePolicyAndTheGrantsThatMatter(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		mine, theirs := root(acct), root(other)
		env := access.Env{Region: region}
		decrypt := func(p access.Principal, c map[string]string) bool {
			return w.decide(t, kms.WithEncryptionContext(kms.Check("kms:Decrypt", key, p, env), c), p)
		}
		if !decrypt(mine, nil) {
			t.Fatal("the default policy delegates to the account")
		}
		if decrypt(theirs, vaultCtx) {
			t.Fatal("another account without grant")
		}
		g, _ := w.grant(t, key, kms.NewGrant{Grantee: theirs.ARN, Operations: []string{"Decrypt", "CreateGrant"}, Subset: vaultCtx})
		if !decrypt(theirs, vaultCtx) || !decrypt(theirs, map[string]string{"aws:backup:backup-vault": "arn:v", "more": "1"}) {
			t.Fatal("the grant does not allow what it says")
		}
		if decrypt(theirs, nil) || decrypt(theirs, map[string]string{"aws:backup:backup-vault": "arn:w"}) {
			t.Fatal("the constraint does not bind")
		}
		if w.decide(t, kms.Check("kms:Encrypt", key, theirs, env), theirs) {
			t.Fatal("an operation that was not granted")
		}
		ok(t, w.RevokeGrant(t.Context(), key, g.ID))
		if decrypt(theirs, vaultCtx) {
			t.Fatal("a revoked grant allows")
		}
	})
}

// A grantee can pass on what it has, never more, and never with a weaker constraint.
func TestGrantsOfGranteesAreNotWider(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		theirs := root(other)
		more := map[string]string{"aws:backup:backup-vault": "arn:v", "x": "1"}
		wrong := map[string]string{"aws:backup:backup-vault": "arn:w"}
		ops := []string{"Decrypt", "CreateGrant"}
		for name, c := range map[string]struct {
			parent, child kms.NewGrant
			want          bool
		}{
			"unconstrained":          {kms.NewGrant{}, kms.NewGrant{Operations: []string{"Decrypt"}}, true},
			"operation not held":     {kms.NewGrant{}, kms.NewGrant{Operations: []string{"Decrypt", "Encrypt"}}, false},
			"constraint added":       {kms.NewGrant{}, kms.NewGrant{Operations: ops, Equals: more}, true},
			"constraint dropped":     {kms.NewGrant{Subset: vaultCtx}, kms.NewGrant{Operations: ops}, false},
			"constraint kept":        {kms.NewGrant{Subset: vaultCtx}, kms.NewGrant{Operations: ops, Subset: vaultCtx}, true},
			"constraint tightened":   {kms.NewGrant{Subset: vaultCtx}, kms.NewGrant{Operations: ops, Subset: more}, true},
			"subset to equals":       {kms.NewGrant{Subset: vaultCtx}, kms.NewGrant{Operations: ops, Equals: more}, true},
			"constraint changed":     {kms.NewGrant{Subset: vaultCtx}, kms.NewGrant{Operations: ops, Subset: wrong}, false},
			"pair lost":              {kms.NewGrant{Subset: more}, kms.NewGrant{Operations: ops, Subset: vaultCtx}, false},
			"equals kept":            {kms.NewGrant{Equals: vaultCtx}, kms.NewGrant{Operations: ops, Equals: vaultCtx}, true},
			"equals weakened":        {kms.NewGrant{Equals: vaultCtx}, kms.NewGrant{Operations: ops, Subset: vaultCtx}, false},
			"equals with more pairs": {kms.NewGrant{Equals: vaultCtx}, kms.NewGrant{Operations: ops, Equals: more}, false},
		} {
			key := w.key(t)
			c.parent.Grantee, c.parent.Operations = theirs.ARN, ops
			w.grant(t, key, c.parent)
			c.child.Grantee = root("333333333333").ARN
			if got := w.decide(t, kms.GrantCheck(key, theirs, access.Env{Region: region}, c.child), theirs); got != c.want {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

func TestRetiringIsARightOfTheGrant(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		theirs := root(other)
		g, _ := w.grant(t, key, kms.NewGrant{Grantee: theirs.ARN, Operations: []string{"Decrypt", "RetireGrant"}})
		env := access.Env{Region: region}
		if !w.decide(t, kms.RetireCheck(key, g.ID, theirs, env), theirs) {
			t.Fatal("the grantee may retire")
		}
		stranger := root("333333333333")
		if w.decide(t, kms.RetireCheck(key, g.ID, stranger, env), stranger) || w.decide(t, kms.RetireCheck(key, strings.Repeat("0", 64), theirs, env), theirs) {
			t.Fatal("retired by a stranger")
		}
	})
}

func TestRetirableGrants(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		for range 3 {
			w.grant(t, w.key(t), kms.NewGrant{Grantee: root(acct).ARN, Retiring: root(other).ARN, Operations: []string{"Decrypt"}})
		}
		var seen []string
		for after, more := "", true; more; {
			var list []kms.Grant
			var err error
			list, more, err = w.RetirableGrants(t.Context(), region, root(other).ARN, after, 2)
			ok(t, err)
			for _, g := range list {
				seen, after = append(seen, g.ID), g.ID
			}
		}
		if len(seen) != 3 {
			t.Fatal(seen)
		}
	})
}
