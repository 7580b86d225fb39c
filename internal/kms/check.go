package kms

import (
	"maps"
	"slices"

	"strongroom/internal/access"
	"strongroom/internal/arn"
)

// Check is the question whether p may do action ("kms:Decrypt") on a key, with the condition keys that every KMS request has. The
// API and the jobs ask it in the same words. Across accounts the denial does not say whether the key exists.
func Check(action, keyARN string, p access.Principal, env access.Env) access.Check {
	c := access.Context{}
	c.Set("kms:CallerAccount", p.Account)
	if env.ViaService != "" {
		c.Set("kms:ViaService", viaService(env))
	}
	check := access.Check{Action: action, Resource: keyARN, Context: c}
	if owner := arn.AccountOf(keyARN); owner != "" && owner != p.Account {
		check.Hidden = HiddenKey(p.ARN, action, keyARN)
	}
	return check
}

// viaService is the regional name of a service, as kms:ViaService has it: backup.us-east-1.amazonaws.com.
func viaService(env access.Env) string {
	const suffix = ".amazonaws.com"
	name := env.ViaService
	if len(name) > len(suffix) && name[len(name)-len(suffix):] == suffix {
		name = name[:len(name)-len(suffix)]
	}
	return name + "." + env.Region + suffix
}

// WithEncryptionContext adds the condition keys of a cryptographic operation's encryption context.
func WithEncryptionContext(c access.Check, encCtx map[string]string) access.Check {
	c.Context = c.Context.Clone()
	for k, v := range encCtx {
		c.Context[contextPrefix+k] = []string{v}
	}
	if len(encCtx) > 0 {
		c.Context["kms:EncryptionContextKeys"] = slices.Sorted(maps.Keys(encCtx))
	}
	return c
}

// GrantCheck is the question whether p may create the grant n on a key.
func GrantCheck(keyARN string, p access.Principal, env access.Env, n NewGrant) access.Check {
	c := Check("kms:CreateGrant", keyARN, p, env)
	if env.ViaService != "" { // absent in direct calls, as in AWS
		c.Context.Set("kms:GrantIsForAWSResource", "true")
	}
	c.Context["kms:GrantOperations"] = slices.Clone(n.Operations)
	c.Context.Set("kms:GranteePrincipal", n.Grantee)
	c.Context.Set("kms:RetiringPrincipal", n.Retiring)
	constraint := n.Equals
	switch {
	case n.Equals != nil:
		c.Context.Set("kms:GrantConstraintType", "EncryptionContextEquals")
	case n.Subset != nil:
		c.Context.Set("kms:GrantConstraintType", "EncryptionContextSubset")
		constraint = n.Subset
	}
	return WithEncryptionContext(c, constraint)
}

// RetireCheck is the question whether p may retire a grant.
func RetireCheck(keyARN, grantID string, p access.Principal, env access.Env) access.Check {
	c := Check("kms:RetireGrant", keyARN, p, env)
	c.Context.Set(grantIDKey, grantID)
	return c
}
