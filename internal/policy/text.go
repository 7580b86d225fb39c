package policy

import (
	"fmt"
	"strings"

	"strongroom/internal/access"
)

// Text is AWS's denial text word for word, followed by " (details)": principal, action and resource, then the statement
// that denies or the one that is missing. Of policies of other accounts it names no more than the type and the owner, and
// for another account's KMS key it does not tell a missing key from a forbidden one. It is "" for allowed requests.
func (d Decision) Text() string {
	if d.Allowed || d.req == nil {
		return ""
	}
	c := &d.req.Check
	who := principalName(&d.req.Principal)
	facts := fmt.Sprintf("principal %s; action %s; resource %s; ", who, c.Action, c.Resource)
	if d.hidden() {
		return fmt.Sprintf("User: %s is not authorized to perform: %s on this resource because the resource does not exist in this Region, "+
			"no resource-based policies allow access, or a resource-based policy explicitly denies access (%s"+
			"account %s decides about access to its keys)", who, c.Action, facts, d.req.ResourceAccount)
	}
	return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s (%s%s)", who, c.Action, c.Resource, d.because(), facts, d.missing(true))
}

// hidden: the reason lies with another account's key, be it the key's policy or that there is no such key.
func (d Decision) hidden() bool {
	return strings.HasPrefix(fold(d.req.Check.Action), "kms:") && d.Type == TypeResource && d.req.Principal.Account != d.req.ResourceAccount
}

// because is AWS's reason.
func (d Decision) because() string {
	if d.Reason == ImplicitDeny {
		return fmt.Sprintf("because no %s allows the %s action", d.Type, d.req.Check.Action)
	}
	switch {
	case d.Type == TypeTrust:
		return "with an explicit deny in the role trust policy"
	case d.Type == TypeIdentity:
		return "with an explicit deny in an identity-based policy"
	case (d.Type == TypeSCP || d.Type == TypeRCP) && strings.HasPrefix(d.Deciding[0].Source.Name, "arn:"):
		return "with an explicit deny in a " + string(d.Type) + ": " + d.Deciding[0].Source.Name
	}
	return "with an explicit deny in a " + string(d.Type)
}

func principalName(p *access.Principal) string {
	if p.ARN == "" {
		return "anonymous"
	}
	return p.ARN
}

// Missing says in one line what stands in the way: the statement that denies, or the policy that lacks an Allow with the
// statement to add. Policies of other accounts are named by type and owner only. It is "" for allowed requests.
func (d Decision) Missing() string { return d.missing(false) }

// missing leaves out, when terse, what other accounts would have to change besides: as long as the caller's own account
// does not allow the request, a denial must not tell what the other one would say.
func (d Decision) missing(terse bool) string {
	if d.Allowed || d.req == nil {
		return ""
	}
	if d.Reason == ExplicitDeny {
		names := make([]string, 0, len(d.Deciding))
		for i := range d.Deciding {
			names = append(names, d.Deciding[i].Describe(d.own(&d.Deciding[i].Source)))
		}
		return "denied by " + few(names)
	}
	if len(d.Lacks) == 0 {
		return "nothing allows it"
	}
	parts := make([]string, 0, len(d.Lacks))
	for i, l := range d.Lacks {
		if i > 0 && terse && l.Account != d.req.Principal.Account && l.Type != TypeSCP {
			continue
		}
		parts = append(parts, l.String())
	}
	return "missing: " + strings.Join(parts, "; and ")
}

// String names the policy and the statement to add to it.
func (l Lack) String() string {
	s := string(l.Type)
	if l.Target != "" {
		s += " of " + l.Target
	}
	if l.Account != "" {
		s += " (account " + l.Account + ")"
	}
	if l.Statement != "" {
		return s + " lacks " + l.Statement
	}
	if l.Note != "" {
		return s + ": " + l.Note
	}
	return s
}

// Describe names a statement. Without detail it says no more than the policy's type and owner.
func (s *Statement) Describe(detail bool) string {
	if !detail {
		if s.Source.Owner == "" {
			return fmt.Sprintf("a %s", s.Source.Type)
		}
		return fmt.Sprintf("a %s of account %s", s.Source.Type, s.Source.Owner)
	}
	out := string(s.Source.Type)
	if s.Source.Name != "" {
		out += " " + s.Source.Name
	}
	if s.Line == 0 { // a grant, the root user, or an unreadable policy
		return out
	}
	out += fmt.Sprintf(" statement %d", s.Index+1)
	if s.Sid != "" {
		out += fmt.Sprintf(" %q", s.Sid)
	}
	return fmt.Sprintf("%s (line %d, column %d)", out, s.Line, s.Col)
}

// own reports whether the caller may be told about a policy: those of its own account, and the names of SCPs.
func (d Decision) own(s *Source) bool {
	return s.Type == TypeSCP || s.Owner != "" && s.Owner == d.req.Principal.Account
}
