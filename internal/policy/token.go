package policy

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"strongroom/internal/fault"
)

// maxDepth bounds nesting; a valid document needs six levels (document, list, statement, condition, operator, list).
const maxDepth = 12

// nodeKind is the JSON type of a node.
type nodeKind int

const (
	objectNode nodeKind = iota
	arrayNode
	stringNode
	numberNode
	boolNode
	nullNode
)

func (k nodeKind) String() string {
	return [...]string{"an object", "a list", "a string", "a number", "a boolean", "null"}[k]
}

// node is a JSON value that knows where it stands. encoding/json is not used for the structure because it keeps the last
// of duplicate keys, which lets a second "Effect" turn a Deny into an Allow.
type node struct {
	kind    nodeKind
	text    string // string: decoded; number, bool: as written
	off     int    // byte offset of its first character
	end     int    // offset after its last character
	members []member
	items   []*node
}

type member struct {
	key string
	off int
	val *node
}

// reader walks JSON text. path is the JSON pointer of what is being read.
type reader struct {
	text string
	pos  int
	path []string
}

// errorAt reports a problem at a byte offset of text.
func errorAt(text string, off int, pointer, format string, args ...any) *fault.Error {
	line, col := position(text, off)
	if pointer == "" {
		pointer = "/"
	}
	e := fault.New(fault.Invalid, "policy document: %s (line %d, column %d): %s", pointer, line, col, fmt.Sprintf(format, args...))
	return e.WithCode("MalformedPolicy").WithDetail("Pointer", pointer).WithDetail("Line", strconv.Itoa(line)).WithDetail("Column", strconv.Itoa(col))
}

// position counts line and column (in characters) from 1.
func position(text string, off int) (line, col int) {
	off = min(off, len(text))
	before := text[:off]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// pointer joins path elements into a JSON pointer (RFC 6901).
func pointer(path []string) string {
	var b strings.Builder
	for _, p := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
	}
	return b.String()
}

// parseJSON reads one JSON value that fills text.
func parseJSON(text string) (*node, error) {
	r := &reader{text: text}
	if err := r.charset(); err != nil {
		return nil, err
	}
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.space(); r.pos < len(text) {
		return nil, r.fail("unexpected %q after the document", r.text[r.pos:min(r.pos+10, len(text))])
	}
	return n, nil
}

// charset checks that text is UTF-8 of the characters that IAM admits: tab, line feed, carriage return, U+0020 to U+00FF.
func (r *reader) charset() error {
	for i := 0; i < len(r.text); {
		c, n := utf8.DecodeRuneInString(r.text[i:])
		switch {
		case c == utf8.RuneError && n <= 1:
			return errorAt(r.text, i, "", "the text is not valid UTF-8")
		case c < 0x20 && c != '\t' && c != '\n' && c != '\r', c > 0xff:
			return errorAt(r.text, i, "", "character %U is not allowed in policies", c)
		}
		i += n
	}
	return nil
}

func (r *reader) fail(format string, args ...any) error {
	return errorAt(r.text, r.pos, pointer(r.path), format, args...)
}

func (r *reader) space() {
	for r.pos < len(r.text) {
		switch r.text[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// peek returns the next byte after white space, 0 at the end.
func (r *reader) peek() byte {
	if r.space(); r.pos < len(r.text) {
		return r.text[r.pos]
	}
	return 0
}

func (r *reader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, r.fail("nested too deeply")
	}
	switch c := r.peek(); {
	case c == '{':
		return r.object(depth)
	case c == '[':
		return r.array(depth)
	case c == '"':
		start := r.pos
		s, err := r.str()
		if err != nil {
			return nil, err
		}
		return &node{kind: stringNode, text: s, off: start, end: r.pos}, nil
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case c == 0 && r.pos >= len(r.text):
		return nil, r.fail("the document ends too early")
	}
	for word, kind := range map[string]nodeKind{"true": boolNode, "false": boolNode, "null": nullNode} {
		if strings.HasPrefix(r.text[r.pos:], word) {
			n := &node{kind: kind, text: word, off: r.pos, end: r.pos + len(word)}
			r.pos = n.end
			return n, nil
		}
	}
	return nil, r.fail("want a JSON value")
}

func (r *reader) object(depth int) (*node, error) {
	n := &node{kind: objectNode, off: r.pos}
	seen := map[string]bool{}
	r.pos++
	for {
		switch c := r.peek(); {
		case c == '}' && len(n.members) == 0:
			r.pos++
			n.end = r.pos
			return n, nil
		case c != '"':
			return nil, r.fail("want a name in double quotes")
		}
		off := r.pos
		key, err := r.str()
		if err != nil {
			return nil, err
		}
		if seen[key] {
			return nil, errorAt(r.text, off, pointer(append(r.path, key)), "%q appears twice in the same object", key)
		}
		seen[key] = true
		r.path = append(r.path, key)
		if r.peek() != ':' {
			return nil, r.fail("want a colon after %q", key)
		}
		r.pos++
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.members = append(n.members, member{key, off, v})
		r.path = r.path[:len(r.path)-1]
		switch r.peek() {
		case ',':
			r.pos++
		case '}':
			r.pos++
			n.end = r.pos
			return n, nil
		default:
			return nil, r.fail("want a comma or a closing brace")
		}
	}
}

func (r *reader) array(depth int) (*node, error) {
	n := &node{kind: arrayNode, off: r.pos}
	r.pos++
	if r.peek() == ']' {
		r.pos++
		n.end = r.pos
		return n, nil
	}
	for {
		r.path = append(r.path, strconv.Itoa(len(n.items)))
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, v)
		r.path = r.path[:len(r.path)-1]
		switch r.peek() {
		case ',':
			r.pos++
		case ']':
			r.pos++
			n.end = r.pos
			return n, nil
		default:
			return nil, r.fail("want a comma or a closing bracket")
		}
	}
}

// str reads a JSON string; escapes must not smuggle in control characters or half surrogate pairs.
func (r *reader) str() (string, error) {
	start := r.pos
	for r.pos++; r.pos < len(r.text); r.pos++ {
		switch r.text[r.pos] {
		case '\\':
			r.pos++
		case '"':
			r.pos++
			var s string
			if err := json.Unmarshal([]byte(r.text[start:r.pos]), &s); err != nil {
				r.pos = start
				return "", r.fail("%s is not a JSON string", r.text[start:min(len(r.text), start+40)])
			}
			for _, c := range s {
				if c == utf8.RuneError || c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
					r.pos = start
					return "", r.fail("character %U is not allowed in policies", c)
				}
			}
			return s, nil
		}
	}
	r.pos = start
	return "", r.fail("the string has no end")
}

func (r *reader) number() (*node, error) {
	start := r.pos
	for r.pos < len(r.text) && strings.IndexByte("+-.0123456789eE", r.text[r.pos]) >= 0 {
		r.pos++
	}
	t := r.text[start:r.pos]
	if !json.Valid([]byte(t)) {
		r.pos = start
		return nil, r.fail("%q is not a number", t)
	}
	return &node{kind: numberNode, text: t, off: start, end: r.pos}, nil
}
