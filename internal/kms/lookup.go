package kms

import (
	"context"
	"slices"
	"strings"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/policy"
)

// Resource is what a key or alias adds to an authorization decision. Its fields are those of authz.Resource, into which it
// converts; services do not import authz.
type Resource struct {
	Exists  bool
	Account string
	Kind    policy.ResourceKind
	Policy  *policy.Source
	Tags    map[string]string
	Grants  []policy.Grant
	Context access.Context
}

// grantIDKey carries the grant of a RetireGrant request to Lookup.
const grantIDKey = "strongroom:KmsGrantId"

// Lookup finds the key or alias that a check of a kms action is about, as the principal's request sees it.
func (s *Service) Lookup(ctx context.Context, check access.Check, p access.Principal) (Resource, error) {
	a, err := arn.Parse(check.Resource)
	if err != nil { // "*": actions without a resource
		return Resource{Exists: true, Account: p.Account}, nil
	}
	if strings.HasPrefix(a.Resource, "alias/") {
		// An alias has no policy of its own. One that leads nowhere stands for the key it should lead to, except where the
		// action is about the alias itself.
		return Resource{Exists: strings.HasSuffix(check.Action, "Alias"), Account: a.Account}, nil
	}
	var k Key
	var r Resource
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		r = Resource{Account: a.Account, Kind: policy.KMSKey}
		id := strings.TrimPrefix(a.Resource, "key/")
		if k, err = keyByID(ctx, tx, id); err != nil {
			return err
		}
		if k.ID == "" || k.Account != a.Account || k.Region != a.Region {
			return nil
		}
		r.Exists = true
		if r.Tags, err = tagsOf(ctx, tx, id); err != nil {
			return err
		}
		aliases, err := aliasNames(ctx, tx, id)
		if err != nil {
			return err
		}
		r.Context = keyContext(k, aliases)
		r.Grants, err = grantsFor(ctx, tx, id, check, p)
		return err
	})
	if err != nil || !r.Exists {
		return r, err
	}
	// A stored policy parsed when it was put. Should it not any more, a nil document denies everything.
	doc, err := policy.Parse(policy.KeyPolicy, k.Policy)
	if err != nil {
		s.Log.ErrorContext(ctx, "a stored key policy cannot be read", "key", k.ARN(), "error", err)
		doc = nil
	}
	r.Policy = &policy.Source{Type: policy.TypeResource, Name: k.ARN(), Owner: k.Account, Doc: doc}
	return r, nil
}

// keyContext holds the condition keys that describe a key.
func keyContext(k Key, aliases []string) access.Context {
	c := access.Context{}
	c.Set("kms:KeySpec", "SYMMETRIC_DEFAULT")
	c.Set("kms:CustomerMasterKeySpec", "SYMMETRIC_DEFAULT")
	c.Set("kms:KeyUsage", "ENCRYPT_DECRYPT")
	c.Set("kms:CustomerMasterKeyUsage", "ENCRYPT_DECRYPT")
	c.Set("kms:KeyOrigin", "AWS_KMS")
	c.Set("kms:MultiRegion", "false")
	if len(aliases) > 0 {
		c["kms:ResourceAliases"] = aliases
	}
	return c
}

func aliasNames(ctx context.Context, tx *db.Tx, keyID string) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT name FROM kms_alias WHERE key = ? ORDER BY name", keyID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// grantsFor returns the grants on a key that can matter to a check by p: those of principals that p is, or of services.
func grantsFor(ctx context.Context, tx *db.Tx, keyID string, check access.Check, p access.Principal) ([]policy.Grant, error) {
	op := strings.TrimPrefix(check.Action, "kms:")
	if op == "RetireGrant" {
		return retireRight(ctx, tx, keyID, check, p)
	}
	if !slices.Contains(GrantOperations(), op) {
		return nil, nil
	}
	names := []any{keyID, p.ARN, p.PolicyARN(), arn.Root(p.Account)}
	grants, err := grantsWhere(ctx, tx, "g.key = ? AND g.grantee IN (?, ?, ?)", names...)
	if err != nil {
		return nil, err
	}
	var out []policy.Grant
	for _, g := range grants {
		if op == "CreateGrant" && !g.covers(check.Context) {
			continue
		}
		pg := policy.Grant{ID: g.ID, Grantee: g.Grantee, IssuingAccount: arn.AccountOf(g.Issuer), Operations: g.Ops, Equals: g.Equals, Subset: g.Subset}
		if op == "CreateGrant" || op == "DescribeKey" {
			pg.Equals, pg.Subset = nil, nil // covers has compared the constraints; describing has no encryption context
		}
		out = append(out, pg)
	}
	return out, nil
}

// retireRight turns the right to retire a grant, which policies can only take away, into one that the evaluator understands: a grant
// to the caller itself, or to its account when the caller is not named but belongs to the account that is. Then the account
// decides by its own policies who of it may.
func retireRight(ctx context.Context, tx *db.Tx, keyID string, check access.Check, p access.Principal) ([]policy.Grant, error) {
	id := first(check.Context[grantIDKey])
	grants, err := grantsWhere(ctx, tx, "g.key = ? AND g.id = ?", keyID, id)
	if err != nil || len(grants) == 0 || !grants[0].RetirableBy(p) {
		return nil, err
	}
	grantee := arn.Root(p.Account)
	if grants[0].retirableBy(func(name string) bool { return name == p.ARN || name == p.PolicyARN() }) {
		grantee = p.ARN
	}
	return []policy.Grant{{ID: id, Grantee: grantee, IssuingAccount: p.Account, Operations: []string{"RetireGrant"}}}, nil
}

// RetirableBy says whether p may retire the grant: it is the retiring principal, of the account that issued it, or the grantee of a
// grant that includes RetireGrant. Whoever is only of a named account needs its policies' permission besides.
func (g Grant) RetirableBy(p access.Principal) bool {
	return g.retirableBy(func(name string) bool {
		return name == p.ARN || name == p.PolicyARN() || p.Account != "" && name == arn.Root(p.Account)
	})
}

func (g Grant) retirableBy(is func(string) bool) bool {
	named := func(name string) bool { return name != "" && is(name) }
	return named(g.Retiring) || named(g.Issuer) || named(g.Grantee) && slices.Contains(g.Ops, "RetireGrant")
}

// covers says whether this grant, if it allows CreateGrant, allows to create the grant that a check describes: no operation
// that it does not have itself, and a constraint that is at least as strict.
func (g Grant) covers(c access.Context) bool {
	for _, op := range c["kms:GrantOperations"] {
		if !slices.Contains(g.Ops, op) {
			return false
		}
	}
	kind, want := first(c["kms:GrantConstraintType"]), g.Subset
	if g.Equals != nil {
		if want = g.Equals; kind != "EncryptionContextEquals" || len(contextPairs(c)) != len(want) {
			return false
		}
	} else if g.Subset != nil && kind == "" {
		return false
	}
	have := contextPairs(c)
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

const contextPrefix = "kms:EncryptionContext:"

func contextPairs(c access.Context) map[string]string {
	out := map[string]string{}
	for k, v := range c {
		if name, ok := strings.CutPrefix(k, contextPrefix); ok {
			out[name] = first(v)
		}
	}
	return out
}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}
