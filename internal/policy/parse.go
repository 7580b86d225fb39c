package policy

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// Parse reads a document of a kind. The error is a *fault.Error of kind Invalid with code MalformedPolicy whose message
// names the place (JSON pointer, line and column) and whose Detail has Pointer, Line and Column; each service wraps it as
// its own malformed-policy exception.
//
// Whatever could make a statement mean something else than its author thinks is refused: duplicate keys, unknown elements
// and operators, values that an operator can never match, misplaced variables.
func Parse(kind Kind, text string) (*Document, error) {
	r := &kinds[kind]
	if len(text) > r.maxBytes {
		return nil, errorAt(text, 0, "", "a %s has at most %d bytes, this one has %d", r.name, r.maxBytes, len(text))
	}
	root, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	p := &parser{doc: &Document{kind: kind, text: text}, rules: r}
	if err := p.document(root); err != nil {
		return nil, err
	}
	return p.doc, nil
}

// parser turns the JSON tree into statements. path is the JSON pointer of the node at hand.
type parser struct {
	doc   *Document
	rules *rules
	path  []string
	sids  map[string]bool
}

func (p *parser) fail(n *node, format string, args ...any) error {
	return errorAt(p.doc.text, n.off, pointer(p.path), format, args...)
}

// in runs f with name appended to the path.
func (p *parser) in(name string, f func() error) error {
	p.path = append(p.path, name)
	err := f()
	p.path = p.path[:len(p.path)-1]
	return err
}

// vars reports whether policy variables have their meaning.
func (p *parser) vars() bool { return p.doc.version == "2012-10-17" }

func (p *parser) document(n *node) error {
	if n.kind != objectNode {
		return p.fail(n, "a policy document is a JSON object, not %s", n.kind)
	}
	var list *node
	p.doc.version = "2008-10-17"
	for _, m := range n.members {
		err := p.in(m.key, func() error {
			switch m.key {
			case "Version":
				if m.val.kind != stringNode || m.val.text != "2008-10-17" && m.val.text != "2012-10-17" {
					return p.fail(m.val, "Version must be \"2012-10-17\" or \"2008-10-17\"")
				}
				p.doc.version = m.val.text
			case "Id":
				if m.val.kind != stringNode {
					return p.fail(m.val, "Id must be a string")
				}
			case "Statement":
				list = m.val
			default:
				return errorAt(p.doc.text, m.off, pointer(p.path), "unknown element %q%s", m.key, hint(m.key, "Version", "Id", "Statement"))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if list == nil {
		return p.fail(n, "the document has no Statement")
	}
	return p.in("Statement", func() error { return p.statements(list) })
}

func (p *parser) statements(n *node) error {
	if n.kind == objectNode {
		return p.statement(n)
	}
	if n.kind != arrayNode || len(n.items) == 0 {
		return p.fail(n, "Statement must be a statement or a list of at least one")
	}
	for i, s := range n.items {
		if err := p.in(strconv.Itoa(i), func() error { return p.statement(s) }); err != nil {
			return err
		}
	}
	return nil
}

// statement reads one statement. The order of its elements does not matter, so they are collected before they are read.
func (p *parser) statement(n *node) error {
	if n.kind != objectNode {
		return p.fail(n, "a statement is a JSON object, not %s", n.kind)
	}
	s := statement{index: len(p.doc.statements)}
	s.line, s.col = position(p.doc.text, n.off)
	el := map[string]*node{}
	for _, m := range n.members {
		switch m.key {
		case "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition":
			el[m.key] = m.val
		default:
			return errorAt(p.doc.text, m.off, pointer(append(p.path, m.key)), "unknown element %q%s", m.key,
				hint(m.key, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"))
		}
	}
	for _, f := range []func(*statement, *node, map[string]*node) error{p.effect, p.sid, p.principal, p.action, p.resource, p.condition} {
		if err := f(&s, n, el); err != nil {
			return err
		}
	}
	p.doc.statements = append(p.doc.statements, s)
	return nil
}

func (p *parser) effect(s *statement, n *node, el map[string]*node) error {
	e := el["Effect"]
	if e == nil {
		return p.fail(n, "the statement has no Effect")
	}
	return p.in("Effect", func() error {
		if e.kind != stringNode || e.text != "Allow" && e.text != "Deny" {
			return p.fail(e, "Effect must be \"Allow\" or \"Deny\"")
		}
		if s.deny = e.text == "Deny"; !s.deny && p.rules.denyOnly {
			return p.fail(e, "a %s can only deny", p.rules.name)
		}
		return nil
	})
}

func (p *parser) sid(s *statement, _ *node, el map[string]*node) error {
	e := el["Sid"]
	if e == nil {
		return nil
	}
	return p.in("Sid", func() error {
		if e.kind != stringNode {
			return p.fail(e, "Sid must be a string")
		}
		s.sid = e.text
		if !p.rules.strictSid {
			return nil
		}
		for i := range len(s.sid) {
			if c := s.sid[i] | 0x20; (c < 'a' || c > 'z') && (s.sid[i] < '0' || s.sid[i] > '9') {
				return p.fail(e, "the Sid of a %s consists of letters and digits", p.rules.name)
			}
		}
		if s.sid != "" && p.sids[s.sid] {
			return p.fail(e, "Sid %q appears twice; it must be unique in the document", s.sid)
		}
		if p.sids == nil {
			p.sids = map[string]bool{}
		}
		p.sids[s.sid] = true
		return nil
	})
}

// pair picks Name or NotName, of which a statement has at most one.
func (p *parser) pair(n *node, el map[string]*node, name string) (val *node, key string, not bool, err error) {
	val, other := el[name], el["Not"+name]
	if val != nil && other != nil {
		return nil, "", false, p.fail(n, "a statement has either %s or Not%s, not both", name, name)
	}
	if other != nil {
		return other, "Not" + name, true, nil
	}
	return val, name, false, nil
}

// strings reads a string or a list of strings, at least one.
func (p *parser) strings(n *node, f func(n *node) error) error {
	if n.kind == stringNode {
		return f(n)
	}
	if n.kind != arrayNode || len(n.items) == 0 {
		return p.fail(n, "want a string or a list of at least one string")
	}
	for i, item := range n.items {
		err := p.in(strconv.Itoa(i), func() error {
			if item.kind != stringNode {
				return p.fail(item, "want a string, not %s", item.kind)
			}
			return f(item)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hint suggests the known name that differs in case only.
func hint(name string, known ...string) string {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return "; did you mean \"" + k + "\"?"
		}
	}
	return ""
}

// quote writes s as a JSON string without escaping for HTML.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}
