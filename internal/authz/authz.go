// Package authz answers whether a principal may do something: it gathers the policies and the condition keys that a
// check depends on and lets package policy decide.
package authz

import (
	"context"
	"log/slog"

	"strongroom/internal/access"
	"strongroom/internal/policy"
)

// Identities provides a principal's policies; iam.Service implements it.
type Identities interface {
	// Policies returns the policies of p. An error denies.
	Policies(ctx context.Context, p access.Principal) (policy.Identities, error)
}

// Guardrails provides an account's place in its organization and the service control policies over it, one list per
// level from root to account; nil when none apply.
type Guardrails interface {
	Guardrails(ctx context.Context, account string) (policy.Place, [][]policy.Source, error)
}

// Resource is what the owner of a resource type knows about one resource.
type Resource struct {
	// Exists is false for a resource that does not exist: identity policies alone decide for its own account (so that the
	// handler can say "not found"), other accounts are denied.
	Exists  bool
	Account string // owner; "" takes Check.Account, then the account of the ARN, then the caller's
	Kind    policy.ResourceKind
	Policy  *policy.Source    // the resource's own policy, nil for none
	Tags    map[string]string // become aws:ResourceTag/*
	Grants  []policy.Grant    // on a KMS key
	Context access.Context    // further condition keys of the resource, e.g. kms:ResourceAliases
}

// Lookup finds the resource of a check. It must not decide anything itself. It is not called for Resource "*".
type Lookup func(ctx context.Context, check access.Check, p access.Principal) (Resource, error)

// Config is what an Authorizer needs.
type Config struct {
	Identities Identities   // required
	Guardrails Guardrails   // nil: no account is in an organization
	Log        *slog.Logger // nil: discard
}

// Authorizer decides requests. Register everything before the first Authorize; after that it is safe for concurrent use.
type Authorizer struct {
	c       Config
	lookups map[string]Lookup
}

// New returns an Authorizer without lookups.
func New(c Config) *Authorizer { return &Authorizer{c: c, lookups: map[string]Lookup{}} }

// Register sets the lookup for the actions of a service ("kms") or for one action ("iam:PassRole").
func (a *Authorizer) Register(prefix string, l Lookup) { a.lookups[prefix] = l }

// Denial is in the chain of the error of Authorize.
type Denial struct {
	Decisions []policy.Decision // of all checks, in their order; the first that is not allowed decided
}

func (d *Denial) Error() string { return "denied" }

// Authorize returns nil when every check is allowed.
func (a *Authorizer) Authorize(ctx context.Context, p access.Principal, env access.Env, checks ...access.Check) error {
	return &Denial{}
}

// Explain evaluates every check without deciding anything.
func (a *Authorizer) Explain(ctx context.Context, p access.Principal, env access.Env, checks ...access.Check) ([]policy.Decision, error) {
	return nil, nil
}
