package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// writeQueryReply writes the reply of a Query operation: the output's members in <OpResult>, and the request id. The result element
// is there even when it is empty: some operations have an output without members, and their clients look for it.
func writeQueryReply(b *bytes.Buffer, op, namespace, requestID string, p *plan, v reflect.Value) error {
	b.WriteString("<" + op + `Response xmlns="` + namespace + `">`)
	if err := writeXML(b, op+"Result", p, v); err != nil {
		return err
	}
	b.WriteString("<ResponseMetadata>")
	writeElement(b, "RequestId", requestID)
	b.WriteString("</ResponseMetadata></" + op + "Response>")
	return nil
}

// writeElement writes text as an element. Characters that XML cannot carry become U+FFFD.
func writeElement(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">")
	xml.EscapeText(b, []byte(text)) // a bytes.Buffer does not fail
	b.WriteString("</" + name + ">")
}

// writeXML writes v as the element name: lists as <member>s, maps as <entry>s with key and value.
func writeXML(b *bytes.Buffer, name string, p *plan, v reflect.Value) error {
	switch p.kind {
	case kindStruct, kindUnion, kindList, kindMap:
		b.WriteString("<" + name + ">")
		if err := writeParts(b, p, v); err != nil {
			return err
		}
		b.WriteString("</" + name + ">")
	case kindString:
		writeElement(b, name, v.String())
	case kindBlob:
		writeElement(b, name, base64.StdEncoding.EncodeToString(v.Bytes()))
	case kindBool:
		writeElement(b, name, strconv.FormatBool(v.Bool()))
	case kindInt:
		writeElement(b, name, strconv.FormatInt(v.Int(), 10))
	case kindTime:
		writeElement(b, name, v.Interface().(time.Time).UTC().Truncate(time.Millisecond).Format("2006-01-02T15:04:05.999Z"))
	}
	return nil
}

func writeParts(b *bytes.Buffer, p *plan, v reflect.Value) error {
	switch p.kind {
	case kindStruct:
		for _, f := range p.fields {
			inner, ok := f.present(v.Field(f.index))
			if !ok {
				continue
			}
			name := f.name
			if small, ok := queryDialect.out[p.typ.Name()+"."+name]; ok {
				name = small
			}
			if err := writeXML(b, name, f.plan, inner); err != nil {
				return err
			}
		}
	case kindUnion:
		f, inner, err := p.variant(v)
		if err != nil {
			return err
		}
		return writeXML(b, f.name, f.elem.plan, inner)
	case kindList:
		for i := range v.Len() {
			inner := v.Index(i)
			if p.elem.ptr {
				inner = inner.Elem()
			}
			if err := writeXML(b, "member", p.elem.plan, inner); err != nil {
				return err
			}
		}
	case kindMap:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			inner, ok := p.elem.present(v.MapIndex(k))
			if !ok {
				continue
			}
			b.WriteString("<entry>")
			writeElement(b, "key", k.String())
			if err := writeXML(b, "value", p.elem.plan, inner); err != nil {
				return err
			}
			b.WriteString("</entry>")
		}
	}
	return nil
}
