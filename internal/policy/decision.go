package policy

import "strongroom/internal/access"

// Reason is the outcome of an evaluation.
type Reason int

// The outcomes. The zero value denies.
const (
	ImplicitDeny Reason = iota // nothing allows it, or a limit does not
	ExplicitDeny               // a Deny statement matches, or a policy could not be read
	Allow
)

func (r Reason) String() string {
	return [...]string{"implicitly denied", "explicitly denied", "allowed"}[r]
}

// Statement names a statement of a policy as part of a trace.
type Statement struct {
	Source    Source
	Sid       string
	Index     int    // position in the document's Statement list, from 0
	Effect    string // "Allow" or "Deny"
	Line, Col int    // of the statement in the document's text, from 1
	// Unmet are the conditions that kept a statement from matching; nil for statements that decided.
	Unmet []Unmet
	// Why says in words what else kept it from matching; "" for statements that decided.
	Why string
}

// Unmet is one condition key that kept a statement from matching.
type Unmet struct {
	Operator string
	Key      string
	Want     []string // the policy's values, variables replaced
	Got      []string // the request's values
	Absent   bool     // the request has no such key
}

// Lack is one thing that is missing for a request to be allowed.
type Lack struct {
	Type    Type   // of the policy to change
	Account string // that can change it
	Target  string // the policy, or the principal or resource it belongs to
	// Statement is the smallest statement to add, as JSON; "" when adding a statement does not help.
	Statement string
	Note      string // what to know besides; may be ""
}

// Decision is the answer to a Request with the trace of what decided.
type Decision struct {
	Allowed bool
	Reason  Reason
	// Type is the kind of policy that denied: the one holding the Deny, or the first one lacking an Allow.
	Type Type
	// Deciding are the statements that decided: those that granted, or all that deny explicitly. Empty for implicit denials.
	Deciding []Statement
	// Near are the Allow statements that match but for one thing (a condition, the principal, the action). Only for
	// implicit denials.
	Near []Statement
	// Lacks lists, for denials, every policy that lacks an Allow, each with the statement to add. After an explicit denial it
	// is what would be missing besides; the Deny must go first.
	Lacks []Lack

	req *Request
}

// Context returns the condition keys that the decision was made with. They may be recorded beside an audit event; they
// must not be changed.
func (d Decision) Context() access.Context {
	if d.req == nil {
		return nil
	}
	return d.req.Context
}
