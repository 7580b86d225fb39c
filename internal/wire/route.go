package wire

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/traits"
)

// route is the HTTP binding of a RestJSON operation, from its schema.
type route struct {
	method   string
	segments []segment
	marker   string // a parameter that must be in the query string, e.g. "delete" of ".../mpaApprovalTeam?delete"
	op       string
	known    *operation // nil: in the model but not implemented
}

// segment is a literal path segment, or a label to be bound to an input member.
type segment struct {
	text  string
	label bool
}

func newRoute(s *smithy.Schema) (*route, error) {
	h, ok := smithy.SchemaTrait[*traits.HTTP](s)
	if !ok {
		return nil, fmt.Errorf("operation %s has no HTTP binding", s.ID().Name)
	}
	uri, marker, _ := strings.Cut(h.URI, "?")
	if strings.Contains(marker, "=") || strings.Contains(uri, "+}") {
		return nil, fmt.Errorf("operation %s: the binding %s is of a form that is not implemented", s.ID().Name, h.URI)
	}
	r := &route{method: h.Method, marker: marker, op: s.ID().Name}
	for part := range strings.SplitSeq(strings.Trim(uri, "/"), "/") {
		name, ok := strings.CutPrefix(part, "{")
		r.segments = append(r.segments, segment{strings.TrimSuffix(name, "}"), ok})
	}
	return r, nil
}

// routes finds operations by method and path.
type routes map[string][]*route // by method

// match finds the route of a request by its raw path, in which one trailing slash more or less does not matter: the aws CLI sends
// them and the SDKs do not. Literal segments win over labels. Labels are returned percent-decoded, in the order of the path.
//
// Empty and dot segments match nothing: signatures cover the normalized path, and a path that changes by normalization could
// mean another operation than the signed one.
func (rs routes) match(method, rawPath, rawQuery string) (*route, []string) {
	path := strings.TrimSuffix(strings.TrimPrefix(rawPath, "/"), "/")
	parts := strings.Split(path, "/")
	for _, p := range parts {
		if p == "" || p == "." || p == ".." {
			return nil, nil
		}
	}
	var best *route
	for _, r := range rs[method] {
		if len(r.segments) == len(parts) && r.fits(parts, rawQuery) && (best == nil || r.before(best)) {
			best = r
		}
	}
	if best == nil {
		return nil, nil
	}
	var labels []string
	for i, s := range best.segments {
		if !s.label {
			continue
		}
		v, err := url.PathUnescape(parts[i])
		if err != nil {
			return nil, nil
		}
		labels = append(labels, v)
	}
	return best, labels
}

func (r *route) fits(parts []string, rawQuery string) bool {
	for i, s := range r.segments {
		if !s.label && s.text != parts[i] {
			return false
		}
	}
	if r.marker == "" {
		return true
	}
	for p := range strings.SplitSeq(rawQuery, "&") {
		if p == r.marker || p == r.marker+"=" {
			return true
		}
	}
	return false
}

// before reports whether r is more specific than o, which fits the same path.
func (r *route) before(o *route) bool {
	for i, s := range r.segments {
		if s.label != o.segments[i].label {
			return !s.label
		}
	}
	return r.marker != "" && o.marker == ""
}

// binding says where the members of a RestJSON input come from.
type binding struct {
	labels []field // in the order of the path
	query  map[string]field
	body   *plan // the input's plan with the names of body members only; nil if there are none
	status int
}

// bind derives the binding of an operation's input from its schemas.
func bind(op Operation, r *route, in *plan) (*binding, error) {
	h, _ := smithy.SchemaTrait[*traits.HTTP](op.Schema)
	b := &binding{status: h.Code, query: map[string]field{}}
	body := &plan{kind: kindStruct, typ: in.typ, fields: in.fields, byName: map[string]int{}}
	labels := map[string]field{}
	for i, f := range in.fields {
		m := op.Input.Member(f.name)
		if m == nil {
			return nil, fmt.Errorf("%s: the schema has no member %s", op.Name, f.name)
		}
		if _, ok := smithy.SchemaTrait[*traits.HTTPLabel](m); ok {
			if f.kind != kindString {
				return nil, fmt.Errorf("%s: the label %s is not a string", op.Name, f.name)
			}
			labels[f.name] = f
		} else if q, ok := smithy.SchemaTrait[*traits.HTTPQuery](m); ok {
			switch f.kind {
			case kindString, kindInt, kindBool, kindTime:
			default:
				return nil, fmt.Errorf("%s: the query parameter %s is of a type that is not implemented", op.Name, q.Name)
			}
			b.query[q.Name] = f
		} else {
			body.byName[f.name] = i
			b.body = body
		}
	}
	for _, s := range r.segments {
		if !s.label {
			continue
		}
		f, ok := labels[s.text]
		if !ok {
			return nil, fmt.Errorf("%s: no member for the label %s", op.Name, s.text)
		}
		b.labels = append(b.labels, f)
	}
	if len(b.labels) != len(labels) {
		return nil, fmt.Errorf("%s: a label is missing in the path", op.Name)
	}
	return b, nil
}

// read fills the input in v.
func (b *binding) read(labels []string, rawQuery string, body []byte, v reflect.Value) error {
	for i, f := range b.labels {
		if err := setText(f.plan, f.settle(v.Field(f.index)), labels[i]); err != nil {
			return in(f.name, err)
		}
	}
	if len(b.query) > 0 {
		pairs, err := parseForm(rawQuery)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, kv := range pairs {
			f, ok := b.query[kv.key]
			if !ok {
				continue
			}
			if seen[kv.key] {
				return badInput("the query parameter %s appears twice", kv.key)
			}
			seen[kv.key] = true
			if err := setText(f.plan, f.settle(v.Field(f.index)), kv.value); err != nil {
				return in(kv.key, err)
			}
		}
	}
	if b.body != nil && len(body) > 0 {
		return readJSON(body, b.body, v)
	}
	return nil
}

// checkSchema makes sure that a structure uses nothing that the codecs here do not implement, at any depth.
func checkSchema(s *smithy.Schema, top bool, seen map[smithy.ShapeID]bool) error {
	if s == nil {
		return nil
	}
	for name, m := range s.Members() {
		for _, t := range []struct {
			used bool
			name string
		}{
			{has[*traits.HTTPHeader](m), "httpHeader"},
			{has[*traits.HTTPPrefixHeaders](m), "httpPrefixHeaders"},
			{has[*traits.HTTPPayload](m), "httpPayload"},
			{has[*traits.HTTPQueryParams](m), "httpQueryParams"},
			{has[*traits.HTTPResponseCode](m), "httpResponseCode"},
			{has[*traits.TimestampFormat](m), "timestampFormat"},
			{has[*traits.Streaming](m), "streaming"},
			{!top && has[*traits.HTTPQuery](m), "nested httpQuery"},
			{renamed(m), "jsonName"},
		} {
			if t.used {
				return fmt.Errorf("%s.%s: the trait %s is not implemented", s.ID().Name, name, t.name)
			}
		}
		if id := m.TargetID(); !seen[id] {
			seen[id] = true
			if err := checkSchema(m, false, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

func has[T smithy.Trait](s *smithy.Schema) bool {
	_, ok := smithy.SchemaTrait[T](s)
	return ok
}

func renamed(m *smithy.Schema) bool {
	n, ok := smithy.SchemaTrait[*traits.JSONName](m)
	return ok && n.Name != m.MemberName()
}
