package policy

import (
	"fmt"
	"strings"

	"strongroom/internal/access"
)

// lacks lists every policy that lacks an Allow. The first one names the reason of an implicit denial.
func (e *evaluator) lacks() []Lack {
	var out []Lack
	for i, h := range e.scp {
		if h.st == nil {
			out = append(out, e.lackSCP(i))
		}
	}
	p, g := &e.r.Principal, max(e.resource, e.grant)
	same, own := e.sameAccount(), e.ownPolicyDecides()
	switch {
	case p.Kind == access.Service:
		if g != byItself {
			return append(out, e.lackResource())
		}
		return out
	case p.Kind == access.Anonymous:
		return append(out, Lack{Type: TypeIdentity, Note: "the request is not signed"})
	case same && g == byItself:
		return out
	case same && own && g == notNamed:
		out = append(out, e.lackResource())
	case same && g != byRole && !e.identity:
		out = append(out, e.lackIdentity(TypeIdentity))
	case !same:
		if !e.identity && !e.grantSuffices {
			out = append(out, e.lackIdentity(TypeIdentity))
		}
		if g == notNamed {
			out = append(out, e.lackResource())
		}
	}
	if !e.boundary {
		out = append(out, e.lackIdentity(TypeBoundary))
	}
	if !e.session {
		out = append(out, e.lackIdentity(TypeSession))
	}
	return out
}

func (e *evaluator) lackSCP(i int) Lack {
	l := Lack{Type: TypeSCP, Statement: e.statementJSON("", "*", false)}
	l.Target = fmt.Sprintf("level %d of %d (root is 1)", i+1, len(e.r.SCPs))
	if i < len(e.r.Levels) {
		l.Target = e.r.Levels[i]
	}
	for _, s := range e.r.SCPs[i] {
		l.Account = s.Owner
	}
	l.Note = "each level from root to account needs a policy that allows the action"
	return l
}

func (e *evaluator) lackIdentity(typ Type) Lack {
	p := &e.r.Principal
	l := Lack{Type: typ, Account: p.Account, Target: p.PolicyARN(), Statement: e.statementJSON("", e.r.Check.Resource, true)}
	switch {
	case typ == TypeBoundary && len(e.r.Boundary) > 0:
		l.Target = e.r.Boundary[0].Name
	case typ == TypeSession:
		l.Target, l.Statement = p.ARN, ""
		l.Note = "session policies are fixed when the session is made; ask for a session with this action"
	case typ == TypeIdentity && p.Kind == access.Root:
		l.Statement = ""
		l.Note = "root users cannot use resources of other accounts; use a role or a user"
	case typ == TypeIdentity && p.ServiceLinked:
		l.Statement = ""
		l.Note = "the policy of a service-linked role cannot be changed"
	}
	return l
}

// lackResource goes by the action, not by whether the resource was found: other accounts must not learn from a denial
// which resources exist.
func (e *evaluator) lackResource() Lack {
	l := Lack{Type: e.resourceType(), Account: e.r.ResourceAccount, Target: e.r.Check.Resource}
	switch {
	case l.Type == TypeTrust:
		l.Statement = e.statementJSON(e.principalJSON(), "", false)
	case !e.honoured() || e.q.service == "backup" && e.q.name != copyInto && !e.sameAccount() && e.r.Principal.Kind != access.Service:
		l.Note = "other accounts can be allowed nothing but backup:CopyIntoBackupVault; act with a role of account " + e.r.ResourceAccount
	case e.q.service == "kms":
		l.Statement = e.statementJSON(e.principalJSON(), "*", true)
	default:
		l.Statement = e.statementJSON(e.principalJSON(), e.r.Check.Resource, false)
	}
	return l
}

// principalJSON names the caller in the narrowest form that lasts: the role, not one of its sessions.
func (e *evaluator) principalJSON() string {
	p := &e.r.Principal
	if p.Kind == access.Service {
		return `{"Service":` + quote(p.ARN) + `}`
	}
	return `{"AWS":` + quote(p.PolicyARN()) + `}`
}

// conditionKeys are the keys that the smallest statement pins to the request's value, with the operator to use.
var conditionKeys = []struct{ key, operator string }{
	{"kms:GrantIsForAWSResource", "Bool"},
	{"kms:ViaService", "StringEquals"},
	{"iam:PassedToService", "StringEquals"},
}

// statementJSON writes the smallest Allow statement for the request. Empty arguments leave their element out.
func (e *evaluator) statementJSON(principal, resource string, conditions bool) string {
	var b strings.Builder
	b.WriteString(`{"Effect":"Allow"`)
	if principal != "" {
		b.WriteString(`,"Principal":` + principal)
	}
	b.WriteString(`,"Action":` + quote(e.r.Check.Action))
	if resource != "" {
		b.WriteString(`,"Resource":` + quote(escapeWildcards(resource)))
	}
	var conds []string
	for _, c := range conditionKeys {
		if got := e.q.vals[fold(c.key)]; conditions && len(got) == 1 && got[0] != "" {
			conds = append(conds, quote(c.operator)+`:{`+quote(c.key)+`:`+quote(got[0])+`}`)
		}
	}
	if len(conds) > 0 {
		b.WriteString(`,"Condition":{` + strings.Join(conds, ",") + `}`)
	}
	return b.String() + "}"
}

// escapeWildcards keeps a resource's own asterisks from becoming wildcards. The bare "*" stays.
func escapeWildcards(s string) string {
	if s == "*" {
		return s
	}
	return strings.NewReplacer("*", "${*}", "?", "${?}", "${", "${$}{").Replace(s)
}

// near finds the Allow statements that miss in one thing only, at most nearLimit.
func (e *evaluator) near() []Statement {
	const nearLimit = 12
	var out []Statement
	look := func(sources []Source, typ Type) {
		for i := range sources {
			for j := range sources[i].Doc.statements {
				st := &sources[i].Doc.statements[j]
				if t, ok := e.nearMiss(st, &sources[i], typ); ok && len(out) < nearLimit {
					out = append(out, t)
				}
			}
		}
	}
	if e.r.Resource != nil {
		look([]Source{*e.r.Resource}, e.resourceType())
	}
	look(e.r.Identity, TypeIdentity)
	look(e.r.Boundary, TypeBoundary)
	look(e.r.Session, TypeSession)
	if e.scpApplies {
		for _, level := range e.r.SCPs {
			look(level, TypeSCP)
		}
	}
	return out
}

// nearMiss describes what keeps a statement from matching, if that is a single thing worth telling.
func (e *evaluator) nearMiss(st *statement, src *Source, typ Type) (Statement, bool) {
	if st.deny {
		return Statement{}, false
	}
	t := st.trace(src, typ)
	switch st.misses(&e.q) {
	case conditionFacet:
		for i := range st.conditions {
			if c := &st.conditions[i]; !c.holds(e.q.vals, false) {
				t.Unmet = append(t.Unmet, c.unmet(e.q.vals))
			}
		}
		t.Why = "its conditions are not met"
	case principalFacet:
		t.Why = "it names other principals"
	case resourceFacet:
		t.Why = "it names other resources: " + few(st.rawResources)
	case actionFacet:
		if typ != TypeResource && typ != TypeTrust {
			return Statement{}, false
		}
		t.Why = fmt.Sprintf("it allows %s, not %s", few(st.rawActions()), e.r.Check.Action)
		if st.notAction {
			t.Why = fmt.Sprintf("its NotAction leaves out %s", few(st.rawActions()))
		}
	case 0: // it matches, but what it gives is not enough or not honoured
		if typ != TypeResource && typ != TypeTrust {
			return Statement{}, false
		}
		t.Why = "it delegates to the account, whose identity-based policies must allow as well"
		if !e.honoured() {
			t.Why = "of a vault, other accounts can be allowed nothing but backup:CopyIntoBackupVault"
		} else if e.resource != byAccount {
			return Statement{}, false
		}
	default:
		return Statement{}, false
	}
	return t, true
}

func (s *statement) rawActions() []string {
	out := make([]string, len(s.actions))
	for i := range s.actions {
		out[i] = s.actions[i].raw
	}
	return out
}

// few joins the first values of a list.
func few(list []string) string {
	const n = 6
	if len(list) > n {
		return strings.Join(list[:n], ", ") + fmt.Sprintf(" and %d more", len(list)-n)
	}
	return strings.Join(list, ", ")
}
