package policy

import "strings"

// set is the prefix of an operator for keys with several values.
type set int

const (
	noSet set = iota
	forAll
	forAny
)

// condition is one key under one operator.
type condition struct {
	name     string // operator as written
	op       *operator
	set      set
	ifExists bool
	key      string // folded
	rawKey   string
	vals     []condValue
}

// multiKeys are the condition keys that hold several values by their nature, even when a request has just one. Operators
// without a set prefix do not match them in an Allow.
var multiKeys = map[string]bool{
	"aws:principalorgpaths": true, "aws:principalservicenameslist": true, "aws:resourceorgpaths": true,
	"aws:sourceorgpaths": true, "aws:tagkeys": true, "aws:calledvia": true, "sts:transitivetagkeys": true,
	"backup:copytargets": true, "backup:copytargetorgpaths": true, "backup:frameworkarns": true,
	"kms:encryptioncontextkeys": true, "kms:grantoperations": true, "kms:resourcealiases": true,
}

func multivalued(foldedKey string) bool { return multiKeys[foldedKey] }

// splitOperator takes an operator's name apart; ok is false for an unknown one.
func splitOperator(name string) (op *operator, s set, ifExists, ok bool) {
	rest := name
	if r, found := strings.CutPrefix(rest, "ForAllValues:"); found {
		rest, s = r, forAll
	} else if r, found := strings.CutPrefix(rest, "ForAnyValue:"); found {
		rest, s = r, forAny
	}
	rest, ifExists = strings.CutSuffix(rest, "IfExists")
	op, ok = operators[rest]
	if ok && rest == "Null" && (s != noSet || ifExists) {
		ok = false
	}
	return op, s, ifExists, ok
}

// suggestOperator names the operator that differs from name in case only, or "".
func suggestOperator(name string) string {
	prefix, rest := "", name
	if p, r, found := strings.Cut(name, ":"); found {
		switch fold(p) {
		case "forallvalues":
			prefix = "ForAllValues:"
		case "foranyvalue":
			prefix = "ForAnyValue:"
		}
		rest = r
	}
	suffix := ""
	if r, found := strings.CutSuffix(fold(rest), "ifexists"); found {
		rest, suffix = r, "IfExists"
	}
	for known := range operators {
		if fold(known) == fold(rest) {
			return prefix + known + suffix
		}
	}
	return ""
}

// holds decides the condition. deny says that the statement is a Deny: operators without a set prefix on a key with
// several values never match in an Allow; in a Deny they match when some value does, so that neither side fails open.
func (c *condition) holds(vals values, deny bool) bool {
	got := vals[c.key]
	if c.op.name == "Null" {
		for i := range c.vals {
			if absent, _ := parseBool(c.vals[i].raw); absent == (len(got) == 0) {
				return true
			}
		}
		return false
	}
	if len(got) == 0 { // an empty list is the same as no key
		return c.ifExists || c.set == forAll || c.set == noSet && c.op.negated
	}
	switch {
	case c.set == forAll:
		for _, g := range got {
			if !c.one(g, vals) {
				return false
			}
		}
		return true
	case c.set == forAny:
		return c.some(got, vals)
	case len(got) > 1 || multivalued(c.key):
		return deny && c.some(got, vals)
	}
	return c.one(got[0], vals)
}

// some reports whether one of the request's values satisfies the operator.
func (c *condition) some(got []string, vals values) bool {
	for _, g := range got {
		if c.one(g, vals) {
			return true
		}
	}
	return false
}

// one compares a single value of the request: with a negated operator it must equal none of the policy's values, else one.
func (c *condition) one(got string, vals values) bool {
	for i := range c.vals {
		if c.op.match(&c.vals[i], got, vals) {
			return !c.op.negated
		}
	}
	return c.op.negated
}

// unmet describes a condition that does not hold.
func (c *condition) unmet(vals values) Unmet {
	u := Unmet{Operator: c.name, Key: c.rawKey, Got: vals[c.key], Absent: len(vals[c.key]) == 0}
	for i := range c.vals {
		v := &c.vals[i]
		u.Want = append(u.Want, v.pattern.show(v.raw, vals))
	}
	return u
}
