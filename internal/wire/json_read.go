package wire

import (
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// maxDepth is how deep documents may nest. The deepest input of the models has fewer than ten levels.
const maxDepth = 32

// maxValues is how many values a document may have: an empty structure takes three bytes to send and hundreds to hold.
const maxValues = 20000

// decodeError is a request body or parameter that cannot be read as the operation's input.
type decodeError struct{ msg string }

func (e *decodeError) Error() string { return e.msg }

func badInput(format string, args ...any) error { return &decodeError{fmt.Sprintf(format, args...)} }

// jsonReader reads one strict JSON document straight into SDK structures. Strict means: no duplicate names, valid UTF-8, numbers
// of exactly the member's kind, nothing after the document. Names that the input does not have are skipped, since newer
// clients may send more than this server knows.
type jsonReader struct {
	b      []byte
	i      int
	depth  int
	values int
}

// readJSON fills v, a structure of plan p, from a document that must be an object.
func readJSON(b []byte, p *plan, v reflect.Value) error {
	r := &jsonReader{b: b}
	r.space()
	if r.i < len(r.b) && r.b[r.i] != '{' {
		return badInput("the body must be a JSON object")
	}
	if err := r.value(p, v); err != nil {
		return err
	}
	r.space()
	if r.i != len(r.b) {
		return r.syntax("unexpected data after the document")
	}
	return nil
}

func (r *jsonReader) syntax(what string) error {
	return badInput("malformed JSON at byte %d: %s", r.i, what)
}

func (r *jsonReader) space() {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// peek returns the first byte of the next token, 0 at the end.
func (r *jsonReader) peek() byte {
	r.space()
	if r.i == len(r.b) {
		return 0
	}
	return r.b[r.i]
}

func (r *jsonReader) literal(word string) error {
	if len(r.b)-r.i < len(word) || string(r.b[r.i:r.i+len(word)]) != word {
		return r.syntax("expected " + word)
	}
	r.i += len(word)
	return nil
}

// value reads the next value into v. The caller has dealt with null.
func (r *jsonReader) value(p *plan, v reflect.Value) error {
	if err := r.count(); err != nil {
		return err
	}
	switch c := r.peek(); p.kind {
	case kindStruct:
		return r.structure(p, v)
	case kindUnion:
		return r.union(p, v)
	case kindMap:
		return r.mapping(p, v)
	case kindList:
		return r.list(p, v)
	case kindString:
		s, err := r.expectString()
		if err == nil {
			v.SetString(s)
		}
		return err
	case kindBlob:
		s, err := r.expectString()
		if err != nil {
			return err
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return badInput("a blob is not valid base64")
		}
		v.SetBytes(b)
		return nil
	case kindBool:
		switch c {
		case 't':
			v.SetBool(true)
			return r.literal("true")
		case 'f':
			v.SetBool(false)
			return r.literal("false")
		}
		return r.mismatch("a boolean")
	case kindInt:
		n, err := r.number()
		if err != nil {
			return err
		}
		return setInt(v, n)
	default: // kindTime
		n, err := r.number()
		if err != nil {
			return err
		}
		t, err := epoch(n)
		if err == nil {
			v.Set(reflect.ValueOf(t))
		}
		return err
	}
}

// setInt parses an integer without fraction or exponent.
func setInt(v reflect.Value, s string) error {
	n, err := strconv.ParseInt(s, 10, v.Type().Bits())
	if err != nil {
		return badInput("%q is not an integer of %d bits", s, v.Type().Bits())
	}
	v.SetInt(n)
	return nil
}

// epoch parses seconds since 1970 with an optional fraction, which is kept to the millisecond.
func epoch(s string) (time.Time, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 253402300799 { // the end of year 9999
		return time.Time{}, badInput("%q is not a time in seconds since 1970", s)
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
}

// mismatch says what was expected instead of the value at hand.
func (r *jsonReader) mismatch(want string) error {
	got := "nothing"
	switch c := r.peek(); {
	case c == '"':
		got = "a string"
	case c == '{':
		got = "an object"
	case c == '[':
		got = "a list"
	case c == 't', c == 'f':
		got = "a boolean"
	case c == 'n':
		got = "null"
	case c == '-', c >= '0' && c <= '9':
		got = "a number"
	case c != 0:
		return r.syntax("unexpected character")
	}
	return badInput("%s where %s is expected, at byte %d", got, want, r.i)
}

func (r *jsonReader) count() error {
	if r.values++; r.values > maxValues {
		return badInput("the document has more than %d values", maxValues)
	}
	return nil
}

func (r *jsonReader) enter() error {
	if r.depth++; r.depth > maxDepth {
		return badInput("the document is nested more than %d levels deep", maxDepth)
	}
	return nil
}

// object walks an object's members; each is called with a name that has not come before.
func (r *jsonReader) object(each func(name string) error) error {
	if r.peek() != '{' {
		return r.mismatch("an object")
	}
	if err := r.enter(); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	r.i++
	if r.peek() == '}' {
		r.i++
		return nil
	}
	seen := map[string]bool{}
	for {
		if r.peek() != '"' {
			return r.syntax("expected a name")
		}
		name, err := r.string()
		if err != nil {
			return err
		}
		if seen[name] {
			return badInput("the name %q appears twice in one object", name)
		}
		seen[name] = true
		if r.peek() != ':' {
			return r.syntax("expected ':'")
		}
		r.i++
		if err := each(name); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.i++
		case '}':
			r.i++
			return nil
		default:
			return r.syntax("expected ',' or '}'")
		}
	}
}

func (r *jsonReader) structure(p *plan, v reflect.Value) error {
	return r.object(func(name string) error {
		n, ok := p.byName[name]
		if !ok {
			return r.skip()
		}
		if r.peek() == 'n' {
			return r.literal("null") // the same as absent
		}
		f := p.fields[n]
		return in(name, r.value(f.plan, f.settle(v.Field(f.index))))
	})
}

// in puts a member's name before the text of a decode error.
func in(name string, err error) error {
	if e, ok := err.(*decodeError); ok {
		return &decodeError{name + ": " + e.msg}
	}
	return err
}

func (r *jsonReader) union(p *plan, v reflect.Value) error {
	err := r.object(func(name string) error {
		if r.peek() == 'n' {
			return r.literal("null")
		}
		n, ok := p.byName[name]
		if !ok {
			return badInput("%s is not supported here", name)
		}
		if !v.IsNil() {
			return badInput("more than one member of a union is set")
		}
		s, place := p.choose(v, n)
		return in(name, r.value(s.plan, s.settle(place)))
	})
	if err == nil && v.IsNil() {
		return badInput("no member of a union is set")
	}
	return err
}

func (r *jsonReader) mapping(p *plan, v reflect.Value) error {
	m := reflect.MakeMap(p.typ)
	v.Set(m)
	return r.object(func(name string) error {
		if r.peek() == 'n' {
			return badInput("%s: null is not a value here", name)
		}
		e := reflect.New(p.typ.Elem()).Elem()
		if err := r.value(p.elem.plan, p.elem.settle(e)); err != nil {
			return in(name, err)
		}
		m.SetMapIndex(reflect.ValueOf(name).Convert(p.typ.Key()), e)
		return nil
	})
}

func (r *jsonReader) list(p *plan, v reflect.Value) error {
	if r.peek() != '[' {
		return r.mismatch("a list")
	}
	if err := r.enter(); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	r.i++
	list := reflect.MakeSlice(p.typ, 0, 0)
	if r.peek() == ']' {
		r.i++
		v.Set(list)
		return nil
	}
	for {
		if r.peek() == 'n' {
			return badInput("null is not a value in a list")
		}
		e := reflect.New(p.typ.Elem()).Elem()
		if err := r.value(p.elem.plan, p.elem.settle(e)); err != nil {
			return in(strconv.Itoa(list.Len()), err)
		}
		list = reflect.Append(list, e)
		switch r.peek() {
		case ',':
			r.i++
		case ']':
			r.i++
			v.Set(list)
			return nil
		default:
			return r.syntax("expected ',' or ']'")
		}
	}
}
