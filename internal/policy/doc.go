// Package policy is the IAM policy language: a strict parser, the condition operators and the evaluator that combines
// identity, resource, session, boundary, service control and resource control policies, and KMS grants, into one decision
// that says why.
//
// It is pure rules: no context, no I/O, no clock, no goroutines; everything a decision depends on is in Request. It does
// not know where policies are stored (iam, org, kms and backup do) and does not gather them (authz does).
//
// Invariants: the default is deny; an explicit Deny anywhere dominates; adding a Deny or removing an Allow never allows
// more; the order of statements and policies does not matter; what cannot be understood is refused by Parse, and a policy
// that cannot be read denies; text that comes from a request (the value of a variable) is never a wildcard; a denial tells
// nobody about the policies or the existence of another account's resources.
//
// Where AWS fails open, this package does not: an operator without ForAllValues or ForAnyValue on a key with several
// values never matches in an Allow, as in AWS, but matches in a Deny when one of the values does; an Allow with a
// NotResource whose variable has no value matches nothing.
//
// Start with Request (source.go) and Evaluate (evaluate.go); Parse is in parse.go over the reader of token.go; matching is
// in document.go, pattern.go, condition.go and principal.go; decision.go, text.go, lack.go and explain.go are about saying
// why. reference_test.go is the same rules again in the plainest form, and the two are compared over random policies.
//
// Behaviour follows the IAM, KMS, Organizations and AWS Backup guides as of 2026.
package policy
