package policy_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/policy"
)

// This file is the naive reference evaluator: written from the rules, over raw JSON, without any of the package's code,
// slow and plain. It knows only what the generator of differential_test.go produces.

type refStatement map[string]any

func refParse(text string) (out []refStatement) {
	var d struct{ Statement []refStatement }
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		panic(err)
	}
	return d.Statement
}

func refList(v any) (out []string) {
	switch v := v.(type) {
	case nil:
	case string:
		out = []string{v}
	case bool:
		out = []string{strconv.FormatBool(v)}
	case float64:
		out = []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case []any:
		for _, x := range v {
			out = append(out, refList(x)...)
		}
	}
	return out
}

// refGlob matches by recursion over characters; U+0001 before a character takes its meaning away.
func refGlob(p, s []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0] == '*':
		return refGlob(p[1:], s) || len(s) > 0 && refGlob(p, s[1:])
	case p[0] == 1:
		return len(s) > 0 && s[0] == p[1] && refGlob(p[2:], s[1:])
	}
	return len(s) > 0 && (p[0] == '?' || p[0] == s[0]) && refGlob(p[1:], s[1:])
}

func refARN(p, s string) bool {
	if p == "*" {
		return true
	}
	pp, ss := strings.SplitN(p, ":", 6), strings.SplitN(s, ":", 6)
	if len(pp) != 6 || len(ss) != 6 {
		return false
	}
	for i := range pp {
		if !refGlob([]rune(pp[i]), []rune(ss[i])) {
			return false
		}
	}
	return true
}

type reference struct {
	r   policy.Request
	ctx map[string][]string
}

// expand replaces the variables of s by literal text; ok is false when one has no value.
func (e *reference) expand(s string) (string, bool) {
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			return s, true
		}
		j := i + strings.Index(s[i:], "}")
		name := s[i+2 : j]
		var val string
		switch {
		case name == "*" || name == "?" || name == "$":
			val = name
		case len(e.ctx[strings.ToLower(name)]) == 1 && !refMulti(name):
			val = e.ctx[strings.ToLower(name)][0]
		default:
			return "", false
		}
		literal := ""
		for _, c := range val {
			literal += "\x01" + string(c)
		}
		s = s[:i] + literal + s[j+1:]
	}
}

func refMulti(key string) bool {
	return slices.Contains([]string{"aws:tagkeys", "aws:principalorgpaths", "backup:copytargets"}, strings.ToLower(key))
}

func refPlainText(s string) string { return strings.ReplaceAll(s, "\x01", "") }

func (e *reference) compare(op, want, got string) bool {
	w, ok := e.expand(want)
	switch {
	case !ok:
		return false
	case strings.HasPrefix(op, "StringLike"):
		return refGlob([]rune(w), []rune(got))
	case op == "StringEqualsIgnoreCase":
		return strings.EqualFold(refPlainText(w), got)
	case strings.HasPrefix(op, "String"):
		return refPlainText(w) == got
	case op == "Bool":
		return strings.EqualFold(refPlainText(w), got)
	case strings.HasPrefix(op, "Arn"):
		return refARN(w, got)
	case op == "IpAddress":
		a, err := netip.ParseAddr(got)
		return err == nil && netip.MustParsePrefix(want).Contains(a)
	case strings.HasPrefix(op, "Date"):
		a, ok1 := refDate(got)
		b, ok2 := refDate(want)
		return ok1 && ok2 && refOrder(op[4:], a.Compare(b))
	}
	a, err1 := strconv.ParseFloat(got, 64)
	b, err2 := strconv.ParseFloat(want, 64)
	switch c := a - b; {
	case err1 != nil || err2 != nil:
		return false
	case c < 0:
		return refOrder(op[7:], -1)
	case c > 0:
		return refOrder(op[7:], 1)
	}
	return refOrder(op[7:], 0)
}

// refDate knows the three forms among the generator's values: a full date, a year, seconds.
func refDate(s string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, true
	}
	if t, err := time.Parse("2006", s); err == nil {
		return t, true
	}
	f, err := strconv.ParseFloat(s, 64)
	return time.UnixMilli(int64(f * 1000)), err == nil
}

func refOrder(rel string, c int) bool {
	return map[string]bool{"Equals": c == 0, "LessThan": c < 0, "LessThanEquals": c <= 0, "GreaterThan": c > 0, "GreaterThanEquals": c >= 0}[rel]
}

func (e *reference) condition(name, key string, want []string, deny bool) bool {
	got := e.ctx[strings.ToLower(key)]
	if name == "Null" {
		return slices.Contains(want, strconv.FormatBool(len(got) == 0))
	}
	op, ifExists := strings.CutSuffix(name, "IfExists")
	op, all := strings.CutPrefix(op, "ForAllValues:")
	op, some := strings.CutPrefix(op, "ForAnyValue:")
	negated := strings.Contains(op, "Not")
	op = strings.Replace(op, "Not", "", 1)
	if len(got) == 0 {
		return ifExists || all || negated && !some
	}
	passed := 0
	for _, g := range got {
		if slices.ContainsFunc(want, func(w string) bool { return e.compare(op, w, g) }) != negated {
			passed++
		}
	}
	switch {
	case all:
		return passed == len(got)
	case !some && !deny && (len(got) > 1 || refMulti(key)):
		return false
	}
	return passed > 0
}

func (e *reference) matches(s refStatement) bool {
	deny := s["Effect"] == "Deny"
	hit := slices.ContainsFunc(append(refList(s["Action"]), refList(s["NotAction"])...), func(p string) bool {
		if p == "*" {
			return true
		}
		ps, pn, _ := strings.Cut(strings.ToLower(p), ":")
		as, an, _ := strings.Cut(strings.ToLower(e.r.Check.Action), ":")
		return refGlob([]rune(ps), []rune(as)) && refGlob([]rune(pn), []rune(an))
	})
	if hit == (s["NotAction"] != nil) {
		return false
	}
	if s["Resource"] != nil || s["NotResource"] != nil {
		hit, unknown := false, false
		for _, p := range append(refList(s["Resource"]), refList(s["NotResource"])...) {
			w, ok := e.expand(p)
			unknown = unknown || !ok
			hit = hit || ok && refARN(w, e.r.Check.Resource)
		}
		if hit == (s["NotResource"] != nil) || s["NotResource"] != nil && unknown && !deny {
			return false
		}
	}
	if p := s["Principal"]; p != nil && e.named(p) == 0 {
		return false
	}
	if p, ok := s["NotPrincipal"].(map[string]any); ok {
		need := map[access.Kind][]string{
			access.User: {e.r.Principal.ARN}, access.Role: {e.r.Principal.ARN, e.r.Principal.RoleARN}, access.Root: nil, access.Service: {e.r.Principal.ARN},
		}[e.r.Principal.Kind]
		listed := append(refList(p["AWS"]), refList(p["Service"])...)
		spared := e.r.Principal.Kind == access.Service || slices.Contains(listed, e.r.Principal.Account) || slices.Contains(listed, "arn:aws:iam::"+e.r.Principal.Account+":root")
		for _, n := range need {
			spared = spared && slices.Contains(listed, n)
		}
		if spared {
			return false
		}
	}
	conds, _ := s["Condition"].(map[string]any)
	for op, keys := range conds {
		for k, v := range keys.(map[string]any) {
			if !e.condition(op, k, refList(v), deny) {
				return false
			}
		}
	}
	return true
}

// named grades a Principal element: 0 no, 1 account, 2 role, 3 itself.
func (e *reference) named(p any) (best int) {
	if p == "*" {
		return 3
	}
	me := e.r.Principal
	m := p.(map[string]any)
	for _, s := range refList(m["AWS"]) {
		switch {
		case s == "*", s == me.ARN && me.Kind != access.Root && me.Kind != access.Service:
			best = 3
		case s == me.RoleARN && s != "":
			best = max(best, 2)
		case me.Account != "" && (s == me.Account || s == "arn:aws:iam::"+me.Account+":root"):
			best = max(best, 1)
		}
	}
	if me.Kind == access.Service && slices.Contains(refList(m["Service"]), me.ARN) {
		best = 3
	}
	return best
}

// decide applies the rules of combination in the order they are written down.
func (e *reference) decide() policy.Reason {
	r, p := e.r, e.r.Principal
	denied := false
	look := func(sources []policy.Source) (allowed bool) {
		for _, src := range sources {
			for _, s := range refParse(src.Doc.Text()) {
				if e.matches(s) {
					denied = denied || s["Effect"] == "Deny"
					allowed = allowed || s["Effect"] == "Allow"
				}
			}
		}
		return allowed
	}
	same := p.Account != "" && p.Account == r.ResourceAccount
	scp := true
	if p.Kind != access.Service && !p.ServiceLinked {
		for _, level := range r.SCPs {
			if !look(level) {
				scp = false
			}
		}
	}
	if !p.ServiceLinked {
		look(r.RCPs)
	}
	g := 0
	if r.Resource != nil {
		for _, s := range refParse(r.Resource.Doc.Text()) {
			if !e.matches(s) {
				continue
			}
			if s["Effect"] == "Deny" {
				denied = true
			} else if r.ResourceKind != policy.Vault || same || p.Kind == access.Service || r.Check.Action == "backup:CopyIntoBackupVault" {
				g = max(g, e.named(s["Principal"]))
			}
		}
	}
	id := look(r.Identity)
	id = id || p.Kind == access.Root && same
	limits := true
	if r.Boundary != nil {
		limits = look(r.Boundary) && limits
	}
	if r.Session != nil {
		limits = look(r.Session) && limits
	}
	var ok bool
	switch {
	case denied:
		return policy.ExplicitDeny
	case !scp:
	case p.Kind == access.Service:
		ok = g == 3
	case same && g == 3:
		ok = true
	case same && g == 2:
		ok = limits
	case same && (r.ResourceKind == policy.KMSKey || r.ResourceKind == policy.RoleTrust):
		ok = g == 1 && id && limits
	case same:
		ok = id && limits
	default:
		ok = g > 0 && id && limits
	}
	if ok {
		return policy.Allow
	}
	return policy.ImplicitDeny
}

func refEvaluate(r policy.Request) policy.Reason {
	e := &reference{r: r, ctx: map[string][]string{}}
	for k, v := range r.Context {
		e.ctx[strings.ToLower(k)] = v
	}
	return e.decide()
}
