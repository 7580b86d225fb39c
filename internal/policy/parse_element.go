package policy

import (
	"strconv"
	"strings"
)

// rcpServices are the services whose actions a resource control policy can deny. AWS Backup is not among them.
var rcpServices = map[string]bool{
	"s3": true, "sts": true, "kms": true, "sqs": true, "secretsmanager": true, "dynamodb": true, "ecr": true, "aoss": true,
}

func (p *parser) principal(s *statement, n *node, el map[string]*node) error {
	val, key, not, err := p.pair(n, el, "Principal")
	if err != nil {
		return err
	}
	if val == nil {
		if p.rules.principal == required {
			return p.fail(n, "every statement of a %s needs a Principal", p.rules.name)
		}
		return nil
	}
	return p.in(key, func() error {
		switch {
		case p.rules.principal == forbidden || not && !p.rules.notPrincipal:
			return p.fail(val, "a %s has no %s", p.rules.name, key)
		case not && !s.deny:
			return p.fail(val, "NotPrincipal with Allow would allow everybody else; name the principals to allow")
		}
		s.principals, s.notPrincipal = &principals{}, not
		if val.kind == stringNode {
			if val.text != "*" {
				return p.fail(val, "want \"*\" or an object such as {\"AWS\": \"arn:aws:iam::123456789012:root\"}")
			}
			s.principals.everyone = true
			return p.notEveryone(s, val)
		}
		if val.kind != objectNode || len(val.members) == 0 {
			return p.fail(val, "want \"*\" or an object with AWS, Service or Federated")
		}
		if p.rules.everyoneOnly {
			return p.fail(val, "the Principal of a %s must be \"*\"", p.rules.name)
		}
		for _, m := range val.members {
			if err := p.in(m.key, func() error { return p.principalType(s.principals, m) }); err != nil {
				return err
			}
		}
		return p.notEveryone(s, val)
	})
}

// notEveryone refuses a NotPrincipal that spares everybody.
func (p *parser) notEveryone(s *statement, n *node) error {
	if s.notPrincipal && s.principals.everyone {
		return p.fail(n, "NotPrincipal \"*\" would deny nobody")
	}
	return nil
}

func (p *parser) principalType(ps *principals, m member) error {
	return p.strings(m.val, func(n *node) error {
		switch m.key {
		case "AWS":
			if n.text == "*" {
				ps.everyone = true
				return nil
			}
			ref, bad := parsePrincipalRef(n.text)
			if bad != "" {
				return p.fail(n, "invalid principal %q: %s", n.text, bad)
			}
			ref.off, ref.end = n.off, n.end
			ps.aws = append(ps.aws, ref)
		case "Service":
			if n.text == "" || strings.ContainsAny(n.text, "*?/ :") || !strings.Contains(n.text, ".") {
				return p.fail(n, "invalid service principal %q: want a name such as \"backup.amazonaws.com\"", n.text)
			}
			ps.services = append(ps.services, n.text)
		case "Federated":
			if n.text == "" || strings.ContainsAny(n.text, "*? ") {
				return p.fail(n, "invalid federated principal %q: want the ARN or the URL of an identity provider", n.text)
			}
			ps.federated = append(ps.federated, n.text)
		default:
			return p.fail(n, "unknown kind of principal %q%s; want AWS, Service or Federated", m.key, hint(m.key, "AWS", "Service", "Federated"))
		}
		return nil
	})
}

func (p *parser) action(s *statement, n *node, el map[string]*node) error {
	val, key, not, err := p.pair(n, el, "Action")
	if err != nil {
		return err
	}
	if val == nil {
		return p.fail(n, "the statement has no Action")
	}
	s.notAction = not
	return p.in(key, func() error {
		if not && !p.rules.notAction {
			return p.fail(val, "a %s has no NotAction", p.rules.name)
		}
		return p.strings(val, func(n *node) error {
			if p.rules.plainActions && strings.ContainsAny(n.text, "*?") {
				return p.fail(n, "a %s cannot have wildcards in Action; list the actions one by one", p.rules.name)
			}
			a := action{raw: n.text, all: n.text == "*"}
			service, name, ok := strings.Cut(fold(n.text), ":")
			switch {
			case a.all && p.doc.kind == RCP:
				return p.fail(n, "the Action of a %s cannot be \"*\" alone; name a service", p.rules.name)
			case a.all && p.rules.service != "":
			case a.all:
				s.actions = append(s.actions, a)
				return nil
			case !ok || !word(service) || !word(name):
				return p.fail(n, "invalid action %q: want service:Name, where * and ? are wildcards, or \"*\"", n.text)
			}
			if p.rules.service != "" && service != p.rules.service {
				return p.fail(n, "a %s can only name actions of %s", p.rules.name, p.rules.service)
			}
			if p.doc.kind == RCP && !rcpServices[service] {
				return p.fail(n, "resource control policies do not cover the service %q", service)
			}
			a.service, _ = compile(service, true, false)
			a.name, _ = compile(name, true, false)
			s.actions = append(s.actions, a)
			return nil
		})
	})
}

// word reports whether s can be one side of an action pattern.
func word(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '*' && c != '?' {
			return false
		}
	}
	return s != ""
}

func (p *parser) resource(s *statement, n *node, el map[string]*node) error {
	val, key, not, err := p.pair(n, el, "Resource")
	if err != nil {
		return err
	}
	if val == nil {
		if p.rules.resource == required {
			return p.fail(n, "every statement of a %s needs a Resource", p.rules.name)
		}
		// In a trust policy the resource is the role. A statement of a key policy without Resource never matches, as in KMS.
		s.noResource = p.rules.resource == forbidden
		return nil
	}
	s.notResource = not
	return p.in(key, func() error {
		if p.rules.resource == forbidden {
			return p.fail(val, "a %s has no %s: it is always about the role it belongs to", p.rules.name, key)
		}
		return p.strings(val, func(n *node) error {
			a, bad := compileARN(n.text, p.vars(), true)
			if bad != "" {
				return p.fail(n, "%s", bad)
			}
			s.resources, s.rawResources = append(s.resources, *a), append(s.rawResources, n.text)
			return nil
		})
	})
}

func (p *parser) condition(s *statement, _ *node, el map[string]*node) error {
	val := el["Condition"]
	if val == nil {
		return nil
	}
	return p.in("Condition", func() error {
		if val.kind != objectNode {
			return p.fail(val, "Condition must be an object of operators")
		}
		for _, m := range val.members {
			if err := p.in(m.key, func() error { return p.operator(s, m) }); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *parser) operator(s *statement, m member) error {
	op, set, ifExists, ok := splitOperator(m.key)
	if !ok {
		also := ""
		if known := suggestOperator(m.key); known != "" {
			also = "; did you mean \"" + known + "\"?"
		}
		return errorAt(p.doc.text, m.off, pointer(p.path), "unknown condition operator %q%s", m.key, also)
	}
	if m.val.kind != objectNode {
		return p.fail(m.val, "the operator %s needs an object of condition keys", m.key)
	}
	for _, k := range m.val.members {
		c := condition{name: m.key, op: op, set: set, ifExists: ifExists, key: fold(k.key), rawKey: k.key}
		err := p.in(k.key, func() error {
			if k.key == "" || strings.ContainsAny(k.key, "*?") {
				return errorAt(p.doc.text, k.off, pointer(p.path), "invalid condition key %q", k.key)
			}
			return p.conditionValues(&c, k.val)
		})
		if err != nil {
			return err
		}
		s.conditions = append(s.conditions, c)
	}
	return nil
}

// conditionValues reads the values of one key: a scalar or a list of at least one.
func (p *parser) conditionValues(c *condition, n *node) error {
	if n.kind != arrayNode {
		return p.conditionValue(c, n)
	}
	if len(n.items) == 0 {
		return p.fail(n, "want at least one value")
	}
	for i, item := range n.items {
		if err := p.in(strconv.Itoa(i), func() error { return p.conditionValue(c, item) }); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) conditionValue(c *condition, n *node) error {
	switch n.kind {
	case stringNode, numberNode, boolNode:
	default:
		return p.fail(n, "want a string, a number or a boolean, not %s", n.kind)
	}
	v := condValue{raw: n.text}
	if bad := c.op.compile(&v, p.vars() && c.op.vars); bad != "" {
		return p.fail(n, "%s", bad)
	}
	c.vals = append(c.vals, v)
	return nil
}
