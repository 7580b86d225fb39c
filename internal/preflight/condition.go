package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/authz"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/policy"
)

// list collects conditions.
type list struct {
	asker string // the account that asks
	all   []Condition
}

func (b *list) add(c Condition) { b.all = append(b.all, c) }

// condition turns the error of a question into a condition.
func condition(name string, err error, prefix, category string) Condition {
	c := Condition{Name: name, Category: category}
	f := fault.As(err)
	switch {
	case err == nil:
		c.OK = true
	case f != nil && f.Kind != fault.Unavailable && f.Kind != fault.Internal:
		c.Message = strings.TrimSpace(prefix + " " + f.Msg)
	default:
		c.Err = err
	}
	return c
}

// check asks the evaluator and adds the answer, with the statements that are missing.
func (k *Checker) check(ctx context.Context, b *list, name string, p access.Principal, env access.Env, prefix, category string, check access.Check) {
	err := k.Authz.Authorize(ctx, p, env, check)
	c := condition(name, err, prefix, category)
	var denial *authz.Denial
	if errors.As(err, &denial) {
		for _, d := range denial.Decisions {
			c.Missing = append(c.Missing, missing(d)...)
		}
	}
	// The evaluator speaks to the principal, which may be of another account and is not told about this one's keys. The
	// account that asks is: it is its policy that lacks the statement.
	for _, m := range c.Missing {
		if m.Statement != "" && m.Account == b.asker && !strings.Contains(c.Message, m.Statement) {
			c.Message += fmt.Sprintf(" Missing in the %s (account %s): %s", m.Policy, m.Account, m.Statement)
		}
	}
	b.add(c)
}

// assumable is the condition that the passed role can be assumed; err is what became of the attempt.
func assumable(roleARN string, err error) Condition {
	c := condition("role "+roleARN+" can be assumed by AWS Backup", err, "", AccessDenied)
	var no *iam.RoleRefusal
	switch {
	case !errors.As(err, &no):
	case no.Exists:
		c.Missing = missing(no.Decision)
	default:
		c.Missing = []Missing{{Account: arn.AccountOf(roleARN), Policy: "role " + roleARN,
			Note: "create the role with a trust policy that lets " + no.Service + " assume it and the managed policies AWSBackupServiceRolePolicyForBackup and AWSBackupServiceRolePolicyForRestores"}}
	}
	return c
}

func missing(d policy.Decision) []Missing {
	var out []Missing
	for _, l := range d.Lacks {
		out = append(out, Missing{Account: l.Account, Policy: string(l.Type) + " of " + l.Target, Statement: l.Statement, Note: l.Note})
	}
	if d.Reason == policy.ExplicitDeny {
		for _, s := range d.Deciding {
			out = append(out, Missing{Account: s.Source.Owner, Policy: string(s.Source.Type) + " " + s.Source.Name,
				Note: fmt.Sprintf("statement %s (line %d) denies it: remove it or add an exception", statementName(s), s.Line)})
		}
	}
	return out
}

func statementName(s policy.Statement) string {
	if s.Sid != "" {
		return fmt.Sprintf("%q", s.Sid)
	}
	return fmt.Sprintf("number %d", s.Index+1)
}
