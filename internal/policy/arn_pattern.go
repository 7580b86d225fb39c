package policy

import "strings"

// arnPattern is a pattern whose six parts are compared one by one, so that a wildcard never swallows one of the first
// five colons.
type arnPattern struct {
	all   bool // the bare "*"
	parts [6]pattern
	// whole is used for the rare pattern whose parts are not known before its variables are replaced, e.g. "${aws:SourceArn}".
	whole *pattern
}

// arnValue is a value to match, split once.
type arnValue struct {
	text  string
	parts [6]string
	ok    bool // it has six parts
}

func splitARN(s string) arnValue {
	v := arnValue{text: s}
	for i := range 5 {
		j := strings.IndexByte(s, ':')
		if j < 0 {
			return v
		}
		v.parts[i], s = s[:j], s[j+1:]
	}
	v.parts[5], v.ok = s, true
	return v
}

// compileARN makes an arnPattern. In a Resource element variables are allowed in the sixth part only; in a condition
// value anywhere.
func compileARN(s string, vars, resource bool) (*arnPattern, string) {
	if s == "*" {
		return &arnPattern{all: true}, ""
	}
	if vars && !resource && strings.Contains(s, "${") {
		return compileVariableARN(s)
	}
	v := splitARN(s)
	if !v.ok || v.parts[0] != "arn" && !strings.ContainsAny(v.parts[0], "*?") {
		return nil, "\"" + s + "\" is neither \"*\" nor an ARN pattern of six parts (arn:partition:service:region:account:resource)"
	}
	p := &arnPattern{}
	for i, part := range v.parts {
		if vars && i < 5 && strings.Contains(part, "${") {
			return nil, "policy variables are possible only in the sixth part of an ARN, not in \"" + s + "\""
		}
		var bad string
		if p.parts[i], bad = compile(part, true, vars && i == 5); bad != "" {
			return nil, bad
		}
	}
	return p, ""
}

// compileVariableARN splits at the first five colons that are outside of variables.
func compileVariableARN(s string) (*arnPattern, string) {
	whole, bad := compile(s, true, true)
	if bad != "" {
		return nil, bad
	}
	p := &arnPattern{}
	part, start, inside := 0, 0, false
	for i := 0; i < len(s) && part < 5; i++ {
		switch {
		case strings.HasPrefix(s[i:], "${"):
			inside = true
		case s[i] == '}':
			inside = false
		case s[i] == ':' && !inside:
			p.parts[part], _ = compile(s[start:i], true, true)
			part, start = part+1, i+1
		}
	}
	if part < 5 {
		return &arnPattern{whole: &whole}, ""
	}
	p.parts[5], _ = compile(s[start:], true, true)
	return p, ""
}

func (p *arnPattern) match(v *arnValue, vals values) bool {
	switch {
	case p.all:
		return true
	case p.whole != nil:
		return p.matchWhole(v, vals)
	case !v.ok:
		return false
	}
	for i := range p.parts {
		if !p.parts[i].match(v.parts[i], vals) {
			return false
		}
	}
	return true
}

// matchWhole replaces the variables, then splits.
func (p *arnPattern) matchWhole(v *arnValue, vals values) bool {
	es, ok := p.whole.elems(nil, vals)
	if !ok || !v.ok {
		return false
	}
	for i := range 5 {
		j := 0
		for j < len(es) && es[j] != ':' {
			j++
		}
		if j == len(es) || !glob(es[:j], v.parts[i]) {
			return false
		}
		es = es[j+1:]
	}
	return glob(es, v.parts[5])
}

// resolvable reports whether every variable has a value.
func (p *arnPattern) resolvable(vals values) bool {
	if p.whole != nil {
		return p.whole.resolvable(vals)
	}
	for i := range p.parts {
		if !p.parts[i].resolvable(vals) {
			return false
		}
	}
	return true
}
