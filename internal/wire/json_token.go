package wire

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// skip reads past a value that nobody wants, as strictly as one that is.
func (r *jsonReader) skip() error {
	if err := r.count(); err != nil {
		return err
	}
	switch c := r.peek(); c {
	case '{':
		return r.object(func(string) error { return r.skip() })
	case '[':
		if err := r.enter(); err != nil {
			return err
		}
		defer func() { r.depth-- }()
		r.i++
		if r.peek() == ']' {
			r.i++
			return nil
		}
		for {
			if err := r.skip(); err != nil {
				return err
			}
			switch r.peek() {
			case ',':
				r.i++
			case ']':
				r.i++
				return nil
			default:
				return r.syntax("expected ',' or ']'")
			}
		}
	case '"':
		_, err := r.string()
		return err
	case 't':
		return r.literal("true")
	case 'f':
		return r.literal("false")
	case 'n':
		return r.literal("null")
	default:
		_, err := r.number()
		return err
	}
}

// number returns the text of a JSON number.
func (r *jsonReader) number() (string, error) {
	if c := r.peek(); c != '-' && (c < '0' || c > '9') {
		return "", r.mismatch("a number")
	}
	start := r.i
	digits := func() bool {
		from := r.i
		for r.i < len(r.b) && r.b[r.i] >= '0' && r.b[r.i] <= '9' {
			r.i++
		}
		return r.i > from
	}
	is := func(set string) bool {
		for _, c := range []byte(set) {
			if r.i < len(r.b) && r.b[r.i] == c {
				r.i++
				return true
			}
		}
		return false
	}
	is("-")
	if !is("0") && !digits() {
		return "", r.syntax("malformed number")
	}
	if is(".") && !digits() {
		return "", r.syntax("malformed number")
	}
	if is("eE") {
		is("+-")
		if !digits() {
			return "", r.syntax("malformed number")
		}
	}
	return string(r.b[start:r.i]), nil
}

func (r *jsonReader) expectString() (string, error) {
	if r.peek() != '"' {
		return "", r.mismatch("a string")
	}
	return r.string()
}

// string reads a string; the reader stands at its opening quote.
func (r *jsonReader) string() (string, error) {
	r.i++
	start := r.i
	for r.i < len(r.b) && r.b[r.i] != '"' && r.b[r.i] != '\\' && r.b[r.i] >= ' ' {
		r.i++
	}
	out := r.b[start:r.i]
	if r.i < len(r.b) && r.b[r.i] == '\\' {
		out = append(make([]byte, 0, len(out)+32), out...)
	}
	for {
		if r.i == len(r.b) {
			return "", r.syntax("unterminated string")
		}
		switch c := r.b[r.i]; {
		case c == '"':
			r.i++
			if !utf8.Valid(out) {
				return "", badInput("a string is not valid UTF-8")
			}
			return string(out), nil
		case c < ' ':
			return "", r.syntax("control character in a string")
		case c == '\\':
			var err error
			if out, err = r.escape(out); err != nil {
				return "", err
			}
		default:
			out = append(out, c)
			r.i++
		}
	}
}

func (r *jsonReader) escape(out []byte) ([]byte, error) {
	if r.i+1 >= len(r.b) {
		return nil, r.syntax("unterminated string")
	}
	c := r.b[r.i+1]
	r.i += 2
	switch c {
	case '"', '\\', '/':
		return append(out, c), nil
	case 'b':
		return append(out, '\b'), nil
	case 'f':
		return append(out, '\f'), nil
	case 'n':
		return append(out, '\n'), nil
	case 'r':
		return append(out, '\r'), nil
	case 't':
		return append(out, '\t'), nil
	case 'u':
		u, ok := r.hex4()
		if !ok {
			return nil, r.syntax("malformed \\u escape")
		}
		if utf16.IsSurrogate(u) {
			if r.i+1 >= len(r.b) || r.b[r.i] != '\\' || r.b[r.i+1] != 'u' {
				return nil, r.syntax("lone surrogate")
			}
			r.i += 2
			low, ok := r.hex4()
			if u = utf16.DecodeRune(u, low); !ok || u == utf8.RuneError {
				return nil, r.syntax("lone surrogate")
			}
		}
		return utf8.AppendRune(out, u), nil
	}
	return nil, r.syntax("unknown escape")
}

func (r *jsonReader) hex4() (rune, bool) {
	if len(r.b)-r.i < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r.b[r.i:r.i+4]), 16, 16)
	r.i += 4
	return rune(n), err == nil
}
