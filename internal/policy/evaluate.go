package policy

import (
	"strings"

	"strongroom/internal/access"
)

// Evaluate decides a request. The order of policies and statements has no influence on Allowed, Reason and Type.
//
// The rules: an explicit Deny in any policy wins; every level of service control policies must allow; then the resource's
// policy and the principal's own policies decide together, within the limits of permissions boundary and session policies.
// Service control policies bind neither service-linked roles nor service principals; that they do not bind the management
// account is up to whoever fills Request.SCPs.
func Evaluate(r Request) Decision {
	e := &evaluator{r: &r}
	service, name, ok := strings.Cut(fold(r.Check.Action), ":")
	e.q = question{service: service, name: name, resource: splitARN(r.Check.Resource), principal: &r.Principal, vals: indexContext(r.Context)}
	if !ok || service == "" || name == "" || r.Check.Resource == "" {
		return Decision{Reason: ImplicitDeny, Type: TypeIdentity, req: e.r}
	}
	e.gather()
	d := Decision{req: e.r}
	switch {
	case len(e.denies) > 0:
		d.Reason, d.Type, d.Deciding = ExplicitDeny, e.denies[0].Source.Type, e.denies
		d.Lacks = e.lacks()
	case e.allowed():
		d.Allowed, d.Reason, d.Deciding = true, Allow, e.granting()
	default:
		d.Reason, d.Lacks, d.Near = ImplicitDeny, e.lacks(), e.near()
		d.Type = TypeIdentity
		if len(d.Lacks) > 0 {
			d.Type = d.Lacks[0].Type
		}
	}
	return d
}

// hit is an Allow statement that matches.
type hit struct {
	src *Source
	st  *statement
	typ Type
}

// evaluator holds what the policies say about one request.
type evaluator struct {
	r *Request
	q question

	denies []Statement // every matching Deny, and every policy that could not be read

	scpApplies bool
	scp        []hit // per level; a zero hit is a level without Allow
	resource   level // how the resource's policy allows
	resourceAt hit
	grant      level // how a KMS grant allows
	grantAt    *Grant
	// grantSuffices: a grant issued by the caller's own account names it
	grantSuffices bool
	identity      bool
	identityAt    hit // zero for an account's root user
	boundary      bool
	boundaryAt    hit
	session       bool
	sessionAt     hit
}

// gather matches all policies. Denies come in the order SCP, RCP, resource, identity, boundary, session.
func (e *evaluator) gather() {
	p := &e.r.Principal
	e.scpApplies = e.r.SCPs != nil && !p.ServiceLinked && p.Kind != access.Service && p.Kind != access.Anonymous
	if e.scpApplies {
		e.scp = make([]hit, len(e.r.SCPs))
		for i, sources := range e.r.SCPs {
			e.scp[i], _ = e.scan(sources, TypeSCP)
		}
	}
	if !p.ServiceLinked {
		e.scan(e.r.RCPs, TypeRCP)
	}
	e.scanResource()
	e.identityAt, e.identity = e.scan(e.r.Identity, TypeIdentity)
	if p.Kind == access.Root && e.sameAccount() {
		e.identity = true
	}
	if p.Kind == access.Service || p.Kind == access.Anonymous {
		e.identity = false
	}
	e.boundaryAt, e.boundary = e.scan(e.r.Boundary, TypeBoundary)
	e.sessionAt, e.session = e.scan(e.r.Session, TypeSession)
	e.boundary = e.boundary || e.r.Boundary == nil
	e.session = e.session || e.r.Session == nil
	e.scanGrants()
}

// scan collects the denies of policies without principals and returns the first Allow that matches.
func (e *evaluator) scan(sources []Source, typ Type) (first hit, ok bool) {
	for i := range sources {
		src := &sources[i]
		if src.Doc == nil {
			e.unreadable(src, typ)
			continue
		}
		for j := range src.Doc.statements {
			st := &src.Doc.statements[j]
			if !st.deny && ok || !st.matches(&e.q) {
				continue
			}
			if st.deny {
				e.denies = append(e.denies, st.trace(src, typ))
				continue
			}
			first, ok = hit{src, st, typ}, true
		}
	}
	return first, ok
}

func (e *evaluator) unreadable(src *Source, typ Type) {
	s := Statement{Source: *src, Effect: "Deny", Why: "the policy cannot be read, so nothing it takes part in is allowed"}
	s.Source.Type = typ
	e.denies = append(e.denies, s)
}

// resourceType is the type of the resource's own policy.
func (e *evaluator) resourceType() Type {
	if e.r.ResourceKind == RoleTrust {
		return TypeTrust
	}
	return TypeResource
}

// scanResource finds the most direct Allow of the resource's policy.
func (e *evaluator) scanResource() {
	src := e.r.Resource
	if src == nil {
		return
	}
	typ := e.resourceType()
	if src.Doc == nil {
		e.unreadable(src, typ)
		return
	}
	for j := range src.Doc.statements {
		st := &src.Doc.statements[j]
		if !st.matches(&e.q) {
			continue
		}
		if st.deny {
			e.denies = append(e.denies, st.trace(src, typ))
			continue
		}
		if st.principals == nil || !e.honoured() {
			continue
		}
		if l := st.principals.level(e.q.principal); l > e.resource {
			e.resource, e.resourceAt = l, hit{src, st, typ}
		}
	}
}

// honoured reports whether an Allow of the resource's policy counts at all: of a vault, other accounts get nothing but
// copying into it.
func (e *evaluator) honoured() bool {
	if e.r.ResourceKind != Vault || e.r.Principal.Kind == access.Service || e.sameAccount() {
		return true
	}
	return e.q.service == "backup" && e.q.name == copyInto
}

// copyInto is the only action of a vault's policy that is honoured across accounts, folded.
const copyInto = "copyintobackupvault"

func (e *evaluator) sameAccount() bool {
	a := e.r.Principal.Account
	return a != "" && a == e.r.ResourceAccount
}

// ownPolicyDecides is true for resources whose own policy must allow or delegate even in the same account.
func (e *evaluator) ownPolicyDecides() bool {
	return e.r.ResourceKind == KMSKey || e.r.ResourceKind == RoleTrust
}

func (e *evaluator) scpAllows() bool {
	for i := range e.scp {
		if e.scp[i].st == nil {
			return false
		}
	}
	return true
}

// allowed combines what gather found, given that nothing denies explicitly.
func (e *evaluator) allowed() bool {
	if !e.scpAllows() {
		return false
	}
	g := max(e.resource, e.grant)
	limits := e.boundary && e.session
	switch {
	case e.r.Principal.Kind == access.Service:
		return g == byItself
	case e.sameAccount() && g == byItself: // not limited by what boundary and session policies leave out
		return true
	case e.sameAccount() && g == byRole:
		return limits
	case e.sameAccount() && e.ownPolicyDecides():
		return g == byAccount && e.identity && limits
	case e.sameAccount():
		return e.identity && limits
	}
	return limits && (g != notNamed && e.identity || e.grantSuffices)
}

// granting lists the statements that allowed, one per policy type and SCP level.
func (e *evaluator) granting() []Statement {
	out := make([]Statement, 0, 4+len(e.scp))
	add := func(h hit) {
		if h.st != nil {
			out = append(out, h.st.trace(h.src, h.typ))
		}
	}
	add(e.resourceAt)
	if e.grantAt != nil {
		out = append(out, Statement{Source: Source{Type: TypeGrant, Name: e.grantAt.ID, Owner: e.r.ResourceAccount}, Effect: "Allow"})
	}
	if e.identity && e.identityAt.st == nil {
		out = append(out, Statement{Source: Source{Type: TypeIdentity, Name: "the account's root user", Owner: e.r.Principal.Account}, Effect: "Allow"})
	}
	add(e.identityAt)
	add(e.boundaryAt)
	add(e.sessionAt)
	for _, h := range e.scp {
		add(h)
	}
	return out
}

func (s *statement) trace(src *Source, typ Type) Statement {
	t := Statement{Source: *src, Sid: s.sid, Index: s.index, Effect: "Allow", Line: s.line, Col: s.col}
	t.Source.Type = typ
	if s.deny {
		t.Effect = "Deny"
	}
	return t
}
