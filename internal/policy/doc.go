// Package policy is the IAM policy language: a strict parser, the condition operators and the evaluator that combines
// identity, resource, session, boundary, service control and resource control policies into one decision.
//
// It is pure rules: no context, no I/O, no clock, no goroutines; everything a decision depends on is in Request. It does
// not know where policies are stored (iam, org, kms and backup do) and does not gather them (authz does).
//
// Invariants: the default is deny; an explicit Deny anywhere dominates; adding a Deny or removing an Allow never allows
// more; the order of statements and policies does not matter; what cannot be understood is refused at Parse, and what
// cannot be read at evaluation denies.
package policy
