package policy

import (
	"fmt"
	"strings"
)

// Explain renders the decision in several lines for the principal's own account: what decided, every policy that stands
// in the way, near misses with the policy's values beside the request's, and the statement to add. Of policies of other
// accounts it tells no more than type and owner.
func (d Decision) Explain() string { return d.ExplainFor(nil) }

// ExplainFor is Explain for a viewer who may read the policies for which visible returns true; nil means those of the
// principal's own account.
func (d Decision) ExplainFor(visible func(Source) bool) string {
	if d.req == nil {
		return "nothing was evaluated\n"
	}
	see := func(s *Source) bool {
		if visible != nil {
			return visible(*s)
		}
		return d.own(s)
	}
	var b strings.Builder
	verdict := "NO"
	if d.Allowed {
		verdict = "ok"
	}
	fmt.Fprintf(&b, "%s  %s  %s on %s: %s\n", verdict, principalName(&d.req.Principal), d.req.Check.Action, d.req.Check.Resource, d.Reason)
	for i := range d.Deciding {
		s := &d.Deciding[i]
		word := "allowed by"
		if !d.Allowed {
			word = "denied by"
		}
		fmt.Fprintf(&b, "    %s %s%s\n", word, s.Describe(see(&s.Source)), why(s))
	}
	if d.Allowed {
		return b.String()
	}
	for i := range d.Near {
		if s := &d.Near[i]; see(&s.Source) {
			fmt.Fprintf(&b, "    almost: %s%s\n", s.Describe(true), why(s))
			if s.Source.Type == TypeSCP && s.Source.Owner != d.req.Principal.Account && visible == nil {
				continue // the caller may know the name of the policy, not its text
			}
			for _, u := range s.Unmet {
				fmt.Fprintf(&b, "        %s\n", u)
			}
		}
	}
	besides := ""
	if d.Reason == ExplicitDeny && len(d.Lacks) > 0 {
		besides = "besides, "
	}
	for _, l := range d.Lacks {
		fmt.Fprintf(&b, "    %sno %s allows it", besides, l.Type)
		if l.Target != "" {
			fmt.Fprintf(&b, ": %s", l.Target)
		}
		b.WriteByte('\n')
		if l.Statement != "" {
			owner := "the management account"
			if l.Account != "" {
				owner = "account " + l.Account
			}
			fmt.Fprintf(&b, "        fix (%s): add %s\n", owner, l.Statement)
		}
		if l.Note != "" {
			fmt.Fprintf(&b, "        note: %s\n", l.Note)
		}
	}
	return b.String()
}

func why(s *Statement) string {
	if s.Why == "" {
		return ""
	}
	return ": " + s.Why
}

// String compares the policy's values with the request's.
func (u Unmet) String() string {
	got := "the request has " + few(quoteAll(u.Got))
	if u.Absent {
		got = "the request has no such key"
	}
	return fmt.Sprintf("%s %s wants %s; %s", u.Operator, u.Key, few(quoteAll(u.Want)), got)
}

func quoteAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quote(s)
	}
	return out
}
