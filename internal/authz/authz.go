// Package authz answers whether a principal may do something: it gathers the policies and the condition keys that a check
// depends on and lets package policy decide. Every allowed or refused request of the node goes through Authorizer.
//
// It holds no rules of the policy language and knows no service: IAM and Organizations come in as the interfaces
// Identities and Guardrails, and each service that has resource policies, tags or grants registers a Lookup for its
// actions. Invariants: no checks is no permission; whatever cannot be gathered denies; a caller cannot set a condition key
// that describes itself or its connection.
//
// Start with Authorizer.Authorize, then context.go, which lists every condition key and where its value comes from.
package authz

import (
	"context"
	"log/slog"
	"strings"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/fault"
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

// Lookup finds the resource of a check. It must not decide anything itself. It is not called for Resource "*". An error
// denies; a *fault.Error reaches the caller as it is, so a resource that does not exist is Resource{}, not NotFound.
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
func New(c Config) *Authorizer {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Authorizer{c: c, lookups: map[string]Lookup{}}
}

// Register sets the lookup for the actions of a service ("kms") or for one action ("iam:PassRole", which then has
// precedence over "iam"). Names are compared without regard to case. It panics when the name is taken.
func (a *Authorizer) Register(name string, l Lookup) {
	name = strings.ToLower(name)
	if a.lookups[name] != nil || l == nil {
		panic("authz: lookup for " + name + " is nil or registered twice")
	}
	a.lookups[name] = l
}

// Denial is in the chain of the error of Authorize. Callers take it with errors.As for explanations and the audit log.
type Denial struct {
	Decisions []policy.Decision // of the checks in their order, all of them; the first that is not allowed is the reason
}

// First returns the decision that denied.
func (d *Denial) First() *policy.Decision {
	for i := range d.Decisions {
		if !d.Decisions[i].Allowed {
			return &d.Decisions[i]
		}
	}
	return nil
}

// Error is the explanation, for the log.
func (d *Denial) Error() string {
	if f := d.First(); f != nil {
		return f.Missing()
	}
	return "denied"
}

// Authorize returns nil when every check is allowed. Otherwise the error is a *fault.Error of kind Denied whose message is
// that of the first check that is not allowed: its Hidden text, or AWS's text with the reason; its chain has a *Denial.
// Policies that cannot be gathered give an internal error and no permission.
func (a *Authorizer) Authorize(ctx context.Context, p access.Principal, env access.Env, checks ...access.Check) error {
	if len(checks) == 0 {
		return fault.New(fault.Internal, "authorization was asked without a question")
	}
	ds, err := a.Explain(ctx, p, env, checks...)
	if err != nil {
		return err
	}
	for i := range ds {
		if ds[i].Allowed {
			continue
		}
		msg := checks[i].Hidden
		if msg == "" {
			msg = ds[i].Text()
		}
		a.c.Log.DebugContext(ctx, "request denied", "principal", p.ARN, "action", checks[i].Action, "resource", checks[i].Resource, "missing", ds[i].Missing())
		return &fault.Error{Kind: fault.Denied, Resource: checks[i].Resource, Msg: msg, Err: &Denial{Decisions: ds}}
	}
	return nil
}

// Explain evaluates every check without refusing anything: decisions come in the order of checks. It has no side effects,
// so it also serves to ask whether something would be allowed.
func (a *Authorizer) Explain(ctx context.Context, p access.Principal, env access.Env, checks ...access.Check) ([]policy.Decision, error) {
	g := &gathering{a: a, p: p, env: env}
	if err := g.caller(ctx); err != nil {
		return nil, err
	}
	out := make([]policy.Decision, len(checks))
	for i := range checks {
		r, err := g.request(ctx, checks[i])
		if err != nil {
			return nil, err
		}
		out[i] = policy.Evaluate(r)
	}
	return out, nil
}

// lookup finds the lookup for an action: the action's own, else its service's, else nil.
func (a *Authorizer) lookup(action string) Lookup {
	action = strings.ToLower(action)
	if l := a.lookups[action]; l != nil {
		return l
	}
	service, _, _ := strings.Cut(action, ":")
	return a.lookups[service]
}

// gathering collects what the checks of one request depend on; what they share is gathered once.
type gathering struct {
	a   *Authorizer
	p   access.Principal
	env access.Env

	identities policy.Identities
	boundary   []policy.Source
	place      policy.Place // of the caller's account
	scps       [][]policy.Source
	base       access.Context // the caller's and the connection's keys
	others     map[string]policy.Place
}

// caller gathers what is about the caller alone.
func (g *gathering) caller(ctx context.Context) (err error) {
	if g.p.Account != "" {
		if g.identities, err = g.a.c.Identities.Policies(ctx, g.p); err != nil {
			return err
		}
		if g.identities.Boundary != nil {
			g.boundary = []policy.Source{*g.identities.Boundary}
		}
		if g.place, g.scps, err = g.guardrails(ctx, g.p.Account); err != nil {
			return err
		}
		if g.place.Management {
			g.scps = nil
		}
	}
	g.base = callerContext(&g.p, &g.env, g.place)
	return nil
}

func (g *gathering) guardrails(ctx context.Context, account string) (policy.Place, [][]policy.Source, error) {
	if g.a.c.Guardrails == nil {
		return policy.Place{}, nil, nil
	}
	return g.a.c.Guardrails.Guardrails(ctx, account)
}

// placeOf returns the place of a resource's account.
func (g *gathering) placeOf(ctx context.Context, account string) (policy.Place, error) {
	if account == g.p.Account {
		return g.place, nil
	}
	if p, ok := g.others[account]; ok || account == "" {
		return p, nil
	}
	p, _, err := g.guardrails(ctx, account)
	if err != nil {
		return p, err
	}
	if g.others == nil {
		g.others = map[string]policy.Place{}
	}
	g.others[account] = p
	return p, nil
}

// request completes one check.
func (g *gathering) request(ctx context.Context, c access.Check) (policy.Request, error) {
	var res Resource
	if l := g.a.lookup(c.Action); l != nil && c.Resource != "*" {
		var err error
		if res, err = l(ctx, c, g.p); err != nil {
			return policy.Request{}, err
		}
		if !res.Exists { // nothing of it may count, whatever the lookup filled in
			kind := policy.Ordinary
			if _, isRole := strings.CutPrefix(strings.ToLower(c.Action), "sts:"); isRole { // a role that does not exist trusts nobody
				kind = policy.RoleTrust
			}
			res = Resource{Account: res.Account, Kind: kind}
		}
	}
	owner := g.owner(&c, &res)
	place, err := g.placeOf(ctx, owner)
	if err != nil {
		return policy.Request{}, err
	}
	r := policy.Request{
		Principal: g.p, Check: c, Context: g.context(&c, &res, owner, place),
		Identity: g.identities.Identity, Boundary: g.boundary, Session: g.identities.Session,
		SCPs: g.scps, Levels: g.place.Levels,
		Resource: res.Policy, ResourceAccount: owner, ResourceKind: res.Kind, Grants: res.Grants,
	}
	if !place.Management {
		r.RCPs = place.RCPs
	}
	return r, nil
}

// owner is the account that owns the resource of a check.
func (g *gathering) owner(c *access.Check, res *Resource) string {
	for _, account := range [...]string{res.Account, c.Account, arn.AccountOf(c.Resource)} {
		if arn.ValidAccount(account) { // AWS's own policies have the account "aws" in their ARNs and belong to everybody
			return account
		}
	}
	return g.p.Account
}
