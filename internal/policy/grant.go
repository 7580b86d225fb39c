package policy

import (
	"slices"
	"strings"

	"strongroom/internal/access"
)

const encryptionContextPrefix = "kms:encryptioncontext:"

// scanGrants finds the grant that allows the request most directly. Across accounts, a grant that the caller's own account
// issued needs no identity policy besides.
func (e *evaluator) scanGrants() {
	if e.r.ResourceKind != KMSKey || e.q.service != "kms" || len(e.r.Grants) == 0 {
		return
	}
	ec := encryptionContext(e.r.Context)
	for i := range e.r.Grants {
		g := &e.r.Grants[i]
		if !slices.ContainsFunc(g.Operations, func(op string) bool { return fold(op) == e.q.name }) || !g.admits(e.q.name, ec) {
			continue
		}
		l := g.names(e.q.principal)
		if l > e.grant {
			e.grant, e.grantAt = l, g
		}
		if l >= byRole && g.IssuingAccount == e.r.Principal.Account {
			e.grantSuffices = true
		}
	}
}

// names reports how the grant names p as its grantee.
func (g *Grant) names(p *access.Principal) level {
	if p.Kind == access.Service {
		if g.Grantee == p.ARN {
			return byItself
		}
		return notNamed
	}
	ref, bad := parsePrincipalRef(g.Grantee)
	if bad != "" {
		return notNamed
	}
	return ref.names(p)
}

// admits checks the constraints; DescribeKey and RetireGrant have no encryption context and are not constrained.
func (g *Grant) admits(operation string, ec map[string][]string) bool {
	if operation == "describekey" || operation == "retiregrant" {
		return true
	}
	if g.Equals != nil && (len(g.Equals) != len(ec) || !contains(ec, g.Equals)) {
		return false
	}
	return contains(ec, g.Subset)
}

func contains(ec map[string][]string, want map[string]string) bool {
	for k, v := range want {
		if got := ec[k]; len(got) != 1 || got[0] != v {
			return false
		}
	}
	return true
}

// encryptionContext extracts the encryption context with the exact case of its names, which constraints compare.
func encryptionContext(c access.Context) map[string][]string {
	ec := map[string][]string{}
	for k, v := range c {
		if n := len(encryptionContextPrefix); len(k) > n && strings.EqualFold(k[:n], encryptionContextPrefix) {
			ec[k[n:]] = v
		}
	}
	return ec
}
