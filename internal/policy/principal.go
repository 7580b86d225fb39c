package policy

import (
	"strings"

	"strongroom/internal/access"
	"strongroom/internal/arn"
)

// level says how directly a resource policy names a principal.
type level int

const (
	notNamed  level = iota
	byAccount       // its account: delegates to the account's own policies
	byRole          // the role of a session
	byItself        // the user, the session, the service, or everybody
)

// principalRef is one AWS principal named by a document. off and end delimit its JSON string in the text.
type principalRef struct {
	text     string
	account  string // set when it stands for a whole account
	off, end int
}

// principals is a Principal or NotPrincipal element.
type principals struct {
	everyone  bool
	aws       []principalRef
	services  []string
	federated []string
}

// parsePrincipalRef checks one AWS principal; bad says what is wrong with it.
func parsePrincipalRef(s string) (ref principalRef, bad string) {
	ref.text = s
	if arn.ValidAccount(s) {
		ref.account = s
		return ref, ""
	}
	if uniqueID(s) {
		return ref, ""
	}
	if strings.ContainsAny(s, "*?") {
		return ref, "principals cannot contain wildcards; only \"*\" alone is possible"
	}
	a, err := arn.Parse(s)
	if err != nil || !arn.ValidAccount(a.Account) || a.Region != "" {
		return ref, "want an account id, the ARN of an IAM identity, or \"*\""
	}
	kind, name, _ := strings.Cut(a.Resource, "/")
	switch {
	case a.Service == "iam" && a.Resource == "root":
		ref.account = a.Account
	case a.Service == "iam" && (kind == "user" || kind == "role") && name != "":
	case a.Service == "sts" && kind == "assumed-role" && strings.Count(name, "/") == 1 && !strings.HasSuffix(name, "/"):
	case a.Service == "sts" && kind == "federated-user" && name != "":
	case a.Service == "iam" && kind == "group":
		return ref, "a group cannot be a principal"
	default:
		return ref, "want the ARN of an account root, a user, a role or a session"
	}
	return ref, ""
}

// uniqueID reports whether s has the form of a user's or role's unique id.
func uniqueID(s string) bool {
	if len(s) < 16 || len(s) > 128 || s[:4] != "AIDA" && s[:4] != "AROA" {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// names reports how r names p.
func (r *principalRef) names(p *access.Principal) level {
	switch {
	case p.Kind == access.Anonymous || p.Kind == access.Service:
		return notNamed
	case r.account != "":
		if r.account == p.Account {
			return byAccount
		}
		return notNamed
	case p.Kind == access.User:
		if r.text == p.ARN || r.text == p.ID {
			return byItself
		}
	case p.Kind == access.Role:
		if r.text == p.ARN || r.text == p.ID {
			return byItself
		}
		id, _, _ := strings.Cut(p.ID, ":")
		if r.text == p.RoleARN || r.text == id && id != "" {
			return byRole
		}
	}
	return notNamed
}

// level returns the most direct way in which ps names p.
func (ps *principals) level(p *access.Principal) level {
	if ps.everyone {
		return byItself
	}
	best := notNamed
	for i := range ps.aws {
		best = max(best, ps.aws[i].names(p))
	}
	if p.Kind == access.Service {
		for _, s := range ps.services {
			if s == p.ARN {
				return byItself
			}
		}
	}
	return best
}

// exempts reports whether a NotPrincipal element spares p: a user must be listed with its account, a session with its
// role and its account. Whoever is listed in part only is not spared.
func (ps *principals) exempts(p *access.Principal) bool {
	var account, role, self bool
	for i := range ps.aws {
		switch ps.aws[i].names(p) {
		case byAccount:
			account = true
		case byRole:
			role = true
		case byItself:
			self = true
		}
	}
	switch p.Kind {
	case access.Root:
		return account
	case access.User:
		return account && self
	case access.Role:
		return account && role && self
	case access.Service:
		return ps.level(p) == byItself
	}
	return false
}
