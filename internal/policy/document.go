package policy

import (
	"sort"
	"strings"

	"strongroom/internal/access"
)

// Document is a parsed, compiled policy document. It is immutable and safe for concurrent use.
type Document struct {
	kind       Kind
	text       string
	version    string
	statements []statement
}

// statement is one compiled statement.
type statement struct {
	sid          string
	index        int
	line, col    int
	deny         bool
	actions      []action
	notAction    bool
	resources    []arnPattern
	rawResources []string
	notResource  bool
	noResource   bool        // the statement is about the role it belongs to
	principals   *principals // nil in kinds without
	notPrincipal bool
	conditions   []condition
}

// action is one pattern of an Action element, folded.
type action struct {
	raw           string
	all           bool
	service, name pattern
}

// Text returns the document as it was parsed, byte for byte.
func (d *Document) Text() string { return d.text }

// Kind returns the kind it was parsed as.
func (d *Document) Kind() Kind { return d.kind }

// Statements returns the number of statements.
func (d *Document) Statements() int { return len(d.statements) }

// Principals lists the distinct AWS principals that the document names, as written (ARNs, account ids, unique ids), in
// sorted order and without "*".
func (d *Document) Principals() []string {
	seen := map[string]bool{}
	var out []string
	for _, r := range d.principalRefs() {
		if !seen[r.text] {
			seen[r.text] = true
			out = append(out, r.text)
		}
	}
	sort.Strings(out)
	return out
}

// MapPrincipals returns the document's text with every AWS principal (not "*", services or providers) replaced by what f
// returns for it; the rest of the text stays as it is. Services use it to store users and roles by their unique ids, so
// that a recreated namesake does not inherit access, and to show the ids as ARNs again.
func (d *Document) MapPrincipals(f func(string) string) string {
	refs := d.principalRefs()
	sort.Slice(refs, func(i, j int) bool { return refs[i].off < refs[j].off })
	var b strings.Builder
	last := 0
	for _, r := range refs {
		to := f(r.text)
		if to == r.text {
			continue
		}
		b.WriteString(d.text[last:r.off])
		b.WriteString(quote(to))
		last = r.end
	}
	b.WriteString(d.text[last:])
	return b.String()
}

func (d *Document) principalRefs() []principalRef {
	var out []principalRef
	for i := range d.statements {
		if ps := d.statements[i].principals; ps != nil {
			out = append(out, ps.aws...)
		}
	}
	return out
}

// question is a request prepared for matching.
type question struct {
	service, name string // of the action, folded
	resource      arnValue
	principal     *access.Principal
	vals          values
}

// facet is a set of the parts of a statement.
type facet uint8

const (
	actionFacet facet = 1 << iota
	resourceFacet
	principalFacet
	conditionFacet
)

// matches reports whether the statement applies to the request.
func (s *statement) matches(q *question) bool {
	return s.matchesAction(q) && s.matchesResource(q) && s.matchesPrincipal(q) && s.matchesConditions(q)
}

// misses returns every facet that does not match.
func (s *statement) misses(q *question) (f facet) {
	if !s.matchesAction(q) {
		f |= actionFacet
	}
	if !s.matchesResource(q) {
		f |= resourceFacet
	}
	if !s.matchesPrincipal(q) {
		f |= principalFacet
	}
	if !s.matchesConditions(q) {
		f |= conditionFacet
	}
	return f
}

func (s *statement) matchesAction(q *question) bool {
	for i := range s.actions {
		a := &s.actions[i]
		if a.all || a.service.match(q.service, nil) && a.name.match(q.name, nil) {
			return !s.notAction
		}
	}
	return s.notAction
}

func (s *statement) matchesResource(q *question) bool {
	if s.noResource {
		return true
	}
	if !s.notResource {
		for i := range s.resources {
			if s.resources[i].match(&q.resource, q.vals) {
				return true
			}
		}
		return false
	}
	for i := range s.resources {
		if s.resources[i].match(&q.resource, q.vals) {
			return false
		}
		// "everything but what this variable names" must not allow everything because the variable has no value.
		if !s.deny && !s.resources[i].resolvable(q.vals) {
			return false
		}
	}
	return true
}

func (s *statement) matchesPrincipal(q *question) bool {
	switch {
	case s.principals == nil:
		return true
	case s.notPrincipal:
		return !s.principals.exempts(q.principal)
	}
	return s.principals.level(q.principal) != notNamed
}

func (s *statement) matchesConditions(q *question) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(q.vals, s.deny) {
			return false
		}
	}
	return true
}
