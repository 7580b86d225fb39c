package wire

import (
	"encoding/base64"
	"net/url"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Bounds on a form, against requests made to be expensive.
const (
	maxParams     = 5000
	maxParamDepth = 16
)

// pair is a decoded parameter of a query string or form.
type pair struct{ key, value string }

// parseForm splits a query string or form body. '+' and %20 are both spaces.
func parseForm(s string) ([]pair, error) {
	var out []pair
	for part := range strings.SplitSeq(s, "&") {
		if part == "" {
			continue
		}
		if len(out) == maxParams {
			return nil, badInput("more than %d parameters", maxParams)
		}
		k, v, _ := strings.Cut(part, "=")
		key, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil {
			return nil, badInput("malformed percent-encoding in a parameter")
		}
		out = append(out, pair{key, value})
	}
	return out, nil
}

// param is a node of the tree that dotted names span: "Tags.member.1.Key=x" is Tags → member → 1 → Key = x.
type param struct {
	value string
	set   bool // a value was given for exactly this name
	below map[string]*param
}

// paramTree arranges parameters by their dotted names. A name that comes twice is an error.
func paramTree(pairs []pair) (*param, error) {
	root := &param{}
	for _, kv := range pairs {
		n, depth := root, 0
		for part := range strings.SplitSeq(kv.key, ".") {
			if depth++; depth > maxParamDepth {
				return nil, badInput("parameter name %.64q is nested too deep", kv.key)
			}
			next := n.below[part]
			if next == nil {
				if n.below == nil {
					n.below = map[string]*param{}
				}
				next = &param{}
				n.below[part] = next
			}
			n = next
		}
		if n.set {
			return nil, badInput("parameter %.64q appears twice", kv.key)
		}
		n.value, n.set = kv.value, true
	}
	return root, nil
}

// queryDialect holds what the models of the Query services spell differently from the SDK's field names: two members begin with a small letter.
var queryDialect = struct{ in, out map[string]string }{
	in:  map[string]string{"PolicyDescriptorType.Arn": "arn"},                         // sts
	out: map[string]string{"ListDelegationRequestsOutput.IsTruncated": "isTruncated"}, // iam
}

// readForm fills v, a structure of plan p, from parameters by the rules of the AWS query protocol. Parameters that the input does not
// have are ignored.
func readForm(n *param, p *plan, v reflect.Value) error {
	switch p.kind {
	case kindStruct:
		for _, f := range p.fields {
			name := f.name
			below := n.below[name]
			if below == nil {
				if small, ok := queryDialect.in[p.typ.Name()+"."+name]; ok {
					below = n.below[small]
				}
			}
			if below == nil {
				continue
			}
			if err := readForm(below, f.plan, f.settle(v.Field(f.index))); err != nil {
				return in(name, err)
			}
		}
		return nil
	case kindUnion:
		for i, f := range p.fields {
			below := n.below[f.name]
			if below == nil {
				continue
			}
			if !v.IsNil() {
				return badInput("more than one member of a union is set")
			}
			s, place := p.choose(v, i)
			if err := readForm(below, s.plan, s.settle(place)); err != nil {
				return in(f.name, err)
			}
		}
		if v.IsNil() {
			return badInput("none of the supported members of a union is set")
		}
		return nil
	case kindList:
		return readFormList(n, p, v)
	case kindMap:
		return readFormMap(n, p, v)
	}
	if !n.set {
		return badInput("a single value is expected")
	}
	return setText(p, v, n.value)
}

// setText sets a simple value from its text in a query string or form.
func setText(p *plan, v reflect.Value, s string) error {
	switch p.kind {
	case kindString:
		v.SetString(s)
	case kindInt:
		return setInt(v, s)
	case kindBool:
		switch s {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			return badInput("%.64q is neither true nor false", s)
		}
	case kindBlob:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return badInput("a blob is not valid base64")
		}
		v.SetBytes(b)
	case kindTime:
		t, err := parseTime(s)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(t))
	default:
		return badInput("a single value cannot stand here")
	}
	return nil
}

// parseTime reads ISO 8601 with or without offset, fraction or time of day, or seconds since 1970.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Truncate(time.Millisecond), nil
		}
	}
	t, err := epoch(s)
	if err != nil {
		return t, badInput("%.64q is not a time", s)
	}
	return t, nil
}

// numbered returns the children whose names are positive numbers, in their order.
func numbered(n *param) ([]*param, error) {
	type item struct {
		at int
		n  *param
	}
	items := make([]item, 0, len(n.below))
	for k, c := range n.below {
		i, err := strconv.Atoi(k)
		if err != nil || i < 1 || k[0] == '+' || k[0] == '0' {
			return nil, badInput("%.64q is not the number of a list item", k)
		}
		items = append(items, item{i, c})
	}
	sort.Slice(items, func(a, b int) bool { return items[a].at < items[b].at })
	out := make([]*param, len(items))
	for i := range items {
		out[i] = items[i].n
	}
	return out, nil
}

func readFormList(n *param, p *plan, v reflect.Value) error {
	list := reflect.MakeSlice(p.typ, 0, 0)
	if m := n.below["member"]; m != nil {
		items, err := numbered(m)
		if err != nil {
			return err
		}
		list = reflect.MakeSlice(p.typ, len(items), len(items))
		for i, item := range items {
			if err := readForm(item, p.elem.plan, p.elem.settle(list.Index(i))); err != nil {
				return in(strconv.Itoa(i+1), err)
			}
		}
	} else if n.value != "" {
		return badInput("a list is expected")
	}
	v.Set(list) // "Tags=" is the empty list
	return nil
}

func readFormMap(n *param, p *plan, v reflect.Value) error {
	m := reflect.MakeMap(p.typ)
	if e := n.below["entry"]; e != nil {
		items, err := numbered(e)
		if err != nil {
			return err
		}
		for _, item := range items {
			k, val := item.below["key"], item.below["value"]
			if k == nil {
				return badInput("a map entry needs a key")
			}
			if val == nil {
				val = &param{} // clients send nothing for an empty list or structure
			}
			key := reflect.ValueOf(k.value).Convert(p.typ.Key())
			if m.MapIndex(key).IsValid() {
				return badInput("the key %.64q appears twice", k.value)
			}
			e := reflect.New(p.typ.Elem()).Elem()
			if err := readForm(val, p.elem.plan, p.elem.settle(e)); err != nil {
				return in(k.value, err)
			}
			m.SetMapIndex(key, e)
		}
	} else if n.value != "" {
		return badInput("a map is expected")
	}
	v.Set(m)
	return nil
}
