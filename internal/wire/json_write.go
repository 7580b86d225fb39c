package wire

import (
	"encoding/base64"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// appendJSON writes the structure in v as an object. What is written and what is left out: slot.present.
func appendJSON(b []byte, p *plan, v reflect.Value) ([]byte, error) {
	var err error
	switch p.kind {
	case kindStruct:
		b = append(b, '{')
		first := true
		for _, f := range p.fields {
			inner, ok := f.present(v.Field(f.index))
			if !ok {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(appendString(b, f.name), ':')
			if b, err = appendJSON(b, f.plan, inner); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	case kindUnion:
		f, inner, err := p.variant(v)
		if err != nil {
			return b, err
		}
		b = append(appendString(append(b, '{'), f.name), ':')
		if b, err = appendJSON(b, f.elem.plan, inner); err != nil {
			return b, err
		}
		return append(b, '}'), nil
	case kindMap:
		b = append(b, '{')
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		first := true
		for _, k := range keys {
			inner, ok := p.elem.present(v.MapIndex(k))
			if !ok {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(appendString(b, k.String()), ':')
			if b, err = appendJSON(b, p.elem.plan, inner); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	case kindList:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			inner := v.Index(i)
			if p.elem.ptr {
				inner = inner.Elem()
			}
			if b, err = appendJSON(b, p.elem.plan, inner); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	case kindString:
		return appendString(b, v.String()), nil
	case kindBlob:
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), v.Bytes()), '"'), nil
	case kindBool:
		return strconv.AppendBool(b, v.Bool()), nil
	case kindInt:
		return strconv.AppendInt(b, v.Int(), 10), nil
	default: // kindTime
		return appendEpoch(b, v.Interface().(time.Time)), nil
	}
}

// appendEpoch writes seconds since 1970, with milliseconds if there are any.
func appendEpoch(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if ms %= 1000; ms != 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return b
}

// appendString writes a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ', c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
