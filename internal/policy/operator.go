package policy

import (
	"bytes"
	"net/netip"
	"strings"
	"time"
)

// operator is a condition operator without prefix and suffix.
type operator struct {
	name    string
	negated bool
	vars    bool // policy variables are replaced in its values
	// compile prepares a policy value; bad says what is wrong with it.
	compile func(v *condValue, vars bool) (bad string)
	// match compares one value of the request. For negated operators it is the comparison that is negated.
	match func(v *condValue, got string, vals values) bool
}

// condValue is one value of the policy, prepared for its operator.
type condValue struct {
	raw     string
	pattern pattern
	arn     *arnPattern
	number  decimal
	date    time.Time
	prefix  netip.Prefix
	bytes   []byte
}

// operators lists every operator once; Null is handled apart because it looks at the key, not at values.
var operators = func() map[string]*operator {
	m := map[string]*operator{}
	add := func(name string, negated, vars bool, compile func(*condValue, bool) string, match func(*condValue, string, values) bool) {
		m[name] = &operator{name, negated, vars, compile, match}
	}
	add("StringEquals", false, true, compileText, matchText)
	add("StringNotEquals", true, true, compileText, matchText)
	add("StringEqualsIgnoreCase", false, true, compileText, matchFolded)
	add("StringNotEqualsIgnoreCase", true, true, compileText, matchFolded)
	add("StringLike", false, true, compileWild, matchText)
	add("StringNotLike", true, true, compileWild, matchText)
	add("ArnEquals", false, true, compileArnValue, matchArnValue)
	add("ArnLike", false, true, compileArnValue, matchArnValue)
	add("ArnNotEquals", true, true, compileArnValue, matchArnValue)
	add("ArnNotLike", true, true, compileArnValue, matchArnValue)
	add("Bool", false, true, compileBool, matchFolded)
	add("BinaryEquals", false, false, compileBinary, matchBinary)
	add("IpAddress", false, false, compilePrefix, matchPrefix)
	add("NotIpAddress", true, false, compilePrefix, matchPrefix)
	for name, holds := range map[string]func(int) bool{
		"Equals":            func(c int) bool { return c == 0 },
		"LessThan":          func(c int) bool { return c < 0 },
		"LessThanEquals":    func(c int) bool { return c <= 0 },
		"GreaterThan":       func(c int) bool { return c > 0 },
		"GreaterThanEquals": func(c int) bool { return c >= 0 },
	} {
		add("Numeric"+name, false, false, compileNumber, matchNumber(holds))
		add("Date"+name, false, false, compileDate, matchDate(holds))
	}
	equal := func(c int) bool { return c == 0 }
	add("NumericNotEquals", true, false, compileNumber, matchNumber(equal))
	add("DateNotEquals", true, false, compileDate, matchDate(equal))
	add("Null", false, false, compileBool, nil)
	return m
}()

func compileText(v *condValue, vars bool) (bad string) {
	v.pattern, bad = compile(v.raw, false, vars)
	return bad
}

func compileWild(v *condValue, vars bool) (bad string) {
	v.pattern, bad = compile(v.raw, true, vars)
	return bad
}

func matchText(v *condValue, got string, vals values) bool { return v.pattern.match(got, vals) }

func matchFolded(v *condValue, got string, vals values) bool {
	es, ok := v.pattern.elems(nil, vals)
	return ok && fold(text(es)) == fold(got)
}

func compileArnValue(v *condValue, vars bool) (bad string) {
	v.arn, bad = compileARN(v.raw, vars, false)
	return bad
}

func matchArnValue(v *condValue, got string, vals values) bool {
	a := splitARN(got)
	return v.arn.match(&a, vals)
}

func compileBool(v *condValue, vars bool) string {
	if _, ok := parseBool(v.raw); !ok && !(vars && strings.Contains(v.raw, "${")) {
		return "\"" + v.raw + "\" is neither true nor false"
	}
	return compileText(v, vars)
}

func compileNumber(v *condValue, _ bool) string {
	var ok bool
	if v.number, ok = parseDecimal(v.raw); !ok {
		return "\"" + v.raw + "\" is not a decimal number"
	}
	return ""
}

func matchNumber(holds func(int) bool) func(*condValue, string, values) bool {
	return func(v *condValue, got string, _ values) bool {
		d, ok := parseDecimal(got)
		return ok && holds(d.compare(v.number))
	}
}

func compileDate(v *condValue, _ bool) string {
	var ok bool
	if v.date, ok = parseDate(v.raw); !ok {
		return "\"" + v.raw + "\" is neither an ISO 8601 date nor a count of seconds since 1970"
	}
	return ""
}

func matchDate(holds func(int) bool) func(*condValue, string, values) bool {
	return func(v *condValue, got string, _ values) bool {
		t, ok := parseDate(got)
		return ok && holds(t.Compare(v.date))
	}
}

func compilePrefix(v *condValue, _ bool) string {
	var ok bool
	if v.prefix, ok = parsePrefix(v.raw); !ok {
		return "\"" + v.raw + "\" is neither an IP address nor a CIDR block"
	}
	return ""
}

func matchPrefix(v *condValue, got string, _ values) bool {
	a, err := netip.ParseAddr(got)
	return err == nil && v.prefix.Contains(a.Unmap().WithZone(""))
}

func compileBinary(v *condValue, _ bool) string {
	var ok bool
	if v.bytes, ok = parseBinary(v.raw); !ok {
		return "\"" + v.raw + "\" is not base64"
	}
	return ""
}

func matchBinary(v *condValue, got string, _ values) bool {
	b, ok := parseBinary(got)
	return ok && bytes.Equal(b, v.bytes)
}
