package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// elem is one element of a compiled pattern: a character, or one of the wildcards below. Bytes that are not valid UTF-8
// become values above the last character, so that two different broken strings never look equal.
type elem = rune

const (
	star  elem = -1 // any run of characters, also an empty one
	anyCh elem = -2 // one character
)

// decode returns the first element of s and its length in bytes.
func decode(s string) (elem, int) {
	if c := s[0]; c < utf8.RuneSelf {
		return elem(c), 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return unicode.MaxRune + 1 + elem(s[0]), 1
	}
	return r, n
}

// literal turns s into elements without wildcards.
func literal(dst []elem, s string) []elem {
	for i := 0; i < len(s); {
		e, n := decode(s[i:])
		dst, i = append(dst, e), i+n
	}
	return dst
}

// glob matches s against a pattern without recursion, in time proportional to the product of the lengths at worst.
func glob(p []elem, s string) bool {
	pi, si := 0, 0
	back, mark := -1, 0
	for si < len(s) {
		c, n := decode(s[si:])
		switch {
		case pi < len(p) && p[pi] == star:
			back, mark = pi, si
			pi++
		case pi < len(p) && (p[pi] == anyCh || p[pi] == c):
			pi, si = pi+1, si+n
		case back >= 0:
			_, n := decode(s[mark:])
			mark += n
			pi, si = back+1, mark
		default:
			return false
		}
	}
	for pi < len(p) && p[pi] == star {
		pi++
	}
	return pi == len(p)
}

// fold maps s to the form in which names compare without regard to case: letters up to U+00FF become lower case. Full
// Unicode folding is avoided on purpose: it would make the Kelvin sign equal to "k".
func fold(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, s)
		}
	}
	return s
}

func foldRune(r rune) rune {
	if r <= 0xff {
		return unicode.ToLower(r)
	}
	return r
}

// variable is a policy variable inside a pattern.
type variable struct {
	key        string // folded
	def        string
	hasDefault bool
}

// piece is a run of elements or one variable.
type piece struct {
	elems []elem
	v     *variable
}

// pattern is a compiled string of a policy: a literal, a wildcard pattern or one with variables.
type pattern struct {
	exact  string // literal: the text; prefix: what comes before the star
	form   form
	pieces []piece // form general: one piece of elements; variables: any
}

type form int

const (
	literalForm   form = iota
	prefixForm         // literal, then one star at the end
	generalForm        // wildcards anywhere
	variablesForm      // holds at least one variable
)

// compile makes a pattern of s. wild gives * and ? their meaning; vars gives ${...} its meaning. bad is a description of
// what is wrong with a variable, "" when nothing is.
func compile(s string, wild, vars bool) (p pattern, bad string) {
	var pieces []piece
	var cur []elem
	hasVar := false
	for i := 0; i < len(s); {
		if vars && strings.HasPrefix(s[i:], "${") {
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return pattern{}, "the policy variable at \"" + s[i:] + "\" has no closing brace; write ${$} for a dollar sign"
			}
			body := s[i+2 : i+end]
			i += end + 1
			if body == "*" || body == "?" || body == "$" {
				cur = append(cur, elem(body[0]))
				continue
			}
			v, bad := parseVariable(body)
			if bad != "" {
				return pattern{}, bad
			}
			hasVar = true
			pieces = append(pieces, piece{elems: cur}, piece{v: v})
			cur = nil
			continue
		}
		e, n := decode(s[i:])
		if wild && e == '*' {
			e = star
		} else if wild && e == '?' {
			e = anyCh
		}
		cur, i = append(cur, e), i+n
	}
	pieces = append(pieces, piece{elems: cur})
	switch {
	case hasVar:
		return pattern{form: variablesForm, pieces: pieces}, ""
	case plain(cur):
		return pattern{form: literalForm, exact: text(cur)}, ""
	case cur[len(cur)-1] == star && plain(cur[:len(cur)-1]):
		return pattern{form: prefixForm, exact: text(cur[:len(cur)-1])}, ""
	}
	return pattern{form: generalForm, pieces: pieces}, ""
}

// parseVariable reads the inside of ${...}: a key, optionally followed by a comma and a quoted default.
func parseVariable(body string) (*variable, string) {
	key, rest, hasDefault := strings.Cut(body, ",")
	key = strings.TrimSpace(key)
	v := &variable{key: fold(key)}
	if key == "" || strings.ContainsAny(key, "{$\"'") {
		return nil, "\"${" + body + "}\" is not a policy variable"
	}
	if hasDefault {
		rest = strings.TrimSpace(rest)
		if len(rest) < 2 || rest[0] != '\'' || rest[len(rest)-1] != '\'' {
			return nil, "the default of \"${" + body + "}\" must be in single quotes"
		}
		v.def, v.hasDefault = rest[1:len(rest)-1], true
	}
	return v, ""
}

func plain(es []elem) bool {
	for _, e := range es {
		if e < 0 {
			return false
		}
	}
	return true
}

// text is the inverse of literal for elements without wildcards.
func text(es []elem) string { return string(es) }

// elems appends the pattern's elements with variables replaced by literal text. ok is false when a variable has no value.
func (p *pattern) elems(dst []elem, vals values) (_ []elem, ok bool) {
	switch p.form {
	case literalForm:
		return literal(dst, p.exact), true
	case prefixForm:
		return append(literal(dst, p.exact), star), true
	}
	for i := range p.pieces {
		v := p.pieces[i].v
		if v == nil {
			dst = append(dst, p.pieces[i].elems...)
			continue
		}
		s, ok := vals.variable(v)
		if !ok {
			return dst, false
		}
		dst = literal(dst, s)
	}
	return dst, true
}

// match reports whether s matches; a pattern with a variable without value matches nothing.
func (p *pattern) match(s string, vals values) bool {
	switch p.form {
	case literalForm:
		return s == p.exact
	case prefixForm:
		return strings.HasPrefix(s, p.exact)
	case generalForm:
		return glob(p.pieces[0].elems, s)
	}
	es, ok := p.elems(make([]elem, 0, 128), vals)
	return ok && glob(es, s)
}

// resolvable reports whether every variable has a value.
func (p *pattern) resolvable(vals values) bool {
	if p.form != variablesForm {
		return true
	}
	for i := range p.pieces {
		if v := p.pieces[i].v; v != nil {
			if _, ok := vals.variable(v); !ok {
				return false
			}
		}
	}
	return true
}

// show renders the pattern for people, with variables replaced where they have values.
func (p *pattern) show(raw string, vals values) string {
	if p.form != variablesForm {
		return raw
	}
	es, ok := p.elems(nil, vals)
	if !ok {
		return raw
	}
	var b strings.Builder
	for _, e := range es {
		switch {
		case e == star:
			b.WriteByte('*')
		case e == anyCh:
			b.WriteByte('?')
		case e <= unicode.MaxRune:
			b.WriteRune(e)
		}
	}
	return b.String()
}

// values are the condition keys of a request by folded name.
type values map[string][]string

// indexContext folds the names of a context. Names that differ only in case become one key with several values, which
// the operators for single values do not match in an Allow.
func indexContext[C ~map[string][]string](c C) values {
	out := make(values, len(c))
	for k, v := range c {
		k = fold(k)
		if have, ok := out[k]; ok {
			v = append(append([]string(nil), have...), v...)
		}
		out[k] = v
	}
	return out
}

// variable returns the text that replaces v. A key with several values has none, and its default does not help.
func (vs values) variable(v *variable) (string, bool) {
	got := vs[v.key]
	switch {
	case len(got) == 1 && !multivalued(v.key):
		return got[0], true
	case len(got) == 0 && v.hasDefault:
		return v.def, true
	}
	return "", false
}
