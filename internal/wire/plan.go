package wire

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/aws/smithy-go/middleware"
)

// kind is the wire form of a Go type of the SDK.
type kind uint8

const (
	kindBool kind = iota
	kindInt
	kindString // enums too
	kindBlob
	kindTime
	kindList
	kindMap
	kindStruct
	kindUnion
)

// plan says how values of one Go type are read and written. Plans are built once per type and shared by all protocols; they may
// be recursive.
type plan struct {
	kind   kind
	typ    reflect.Type // never a pointer
	enum   []string     // values of an enum type, nil for plain strings
	elem   slot         // of a list or a map's values
	fields []field      // of a structure; of a union: its variants, index unused
	byName map[string]int
}

// slot is a place that holds a value of a plan: a field, a list's or a map's element.
type slot struct {
	*plan
	ptr bool // the place is a pointer to the type
}

// field is a member of a structure or a variant of a union. The SDK names fields as the model names members.
type field struct {
	slot
	name  string
	index int
}

// planner builds plans. It is used while a handler is made and not after.
type planner struct {
	plans  map[reflect.Type]*plan
	unions []reflect.Type // pointers to the known variants
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	bytesType    = reflect.TypeFor[[]byte]()
	metadataType = reflect.TypeFor[middleware.Metadata]()
)

func (p *planner) slot(t reflect.Type) (slot, error) {
	ptr := t.Kind() == reflect.Pointer
	if ptr {
		t = t.Elem()
	}
	pl, err := p.plan(t)
	return slot{pl, ptr}, err
}

func (p *planner) plan(t reflect.Type) (*plan, error) {
	if pl := p.plans[t]; pl != nil {
		return pl, nil
	}
	pl := &plan{typ: t}
	p.plans[t] = pl // before its parts: types may contain themselves
	var err error
	switch {
	case t == timeType:
		pl.kind = kindTime
	case t == bytesType:
		pl.kind = kindBlob
	case t.Kind() == reflect.Bool:
		pl.kind = kindBool
	case t.Kind() == reflect.Int32, t.Kind() == reflect.Int64:
		pl.kind = kindInt
	case t.Kind() == reflect.String:
		pl.kind, pl.enum = kindString, enumValues(t)
	case t.Kind() == reflect.Slice:
		pl.kind = kindList
		pl.elem, err = p.slot(t.Elem())
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		pl.kind = kindMap
		pl.elem, err = p.slot(t.Elem())
	case t.Kind() == reflect.Struct:
		pl.kind = kindStruct
		err = p.structure(pl)
	case t.Kind() == reflect.Interface:
		pl.kind = kindUnion
		err = p.union(pl)
	default:
		err = fmt.Errorf("no wire form for the Go type %s", t)
	}
	return pl, err
}

func (p *planner) structure(pl *plan) error {
	pl.byName = map[string]int{}
	for i := range pl.typ.NumField() {
		f := pl.typ.Field(i)
		if !f.IsExported() || f.Type == metadataType {
			continue
		}
		s, err := p.slot(f.Type)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", pl.typ, f.Name, err)
		}
		pl.byName[f.Name] = len(pl.fields)
		pl.fields = append(pl.fields, field{slot: s, name: f.Name, index: i})
	}
	return nil
}

// union finds the variants of an interface type among the registered ones. The SDK names them <Union>Member<Variant>, each a
// structure with the one field Value. A union without registered variants can be neither read nor written.
func (p *planner) union(pl *plan) error {
	pl.byName = map[string]int{}
	for _, v := range p.unions {
		if !v.Implements(pl.typ) {
			continue
		}
		f, ok := v.Elem().FieldByName("Value")
		name, named := strings.CutPrefix(v.Elem().Name(), pl.typ.Name()+"Member")
		if !ok || !named {
			return fmt.Errorf("%s is not a variant of a union", v)
		}
		s, err := p.slot(f.Type)
		if err != nil {
			return fmt.Errorf("%s: %w", v, err)
		}
		pl.byName[name] = len(pl.fields)
		// The variant's own type is kept by a plan around its value.
		pl.fields = append(pl.fields, field{slot: slot{&plan{kind: kindStruct, typ: v.Elem(), elem: s}, true}, name: name, index: f.Index[0]})
	}
	return nil
}

// enumValues asks an enum type for its values, which the SDK's enums know: func (T) Values() []T.
func enumValues(t reflect.Type) []string {
	m, ok := t.MethodByName("Values")
	if !ok || m.Type.NumIn() != 1 || m.Type.NumOut() != 1 || m.Type.Out(0) != reflect.SliceOf(t) {
		return nil
	}
	vs := m.Func.Call([]reflect.Value{reflect.Zero(t)})[0]
	out := make([]string, vs.Len())
	for i := range out {
		out[i] = vs.Index(i).String()
	}
	return out
}

// settle returns the place to write a value of the slot into, making the pointer's target first.
func (s slot) settle(v reflect.Value) reflect.Value {
	if !s.ptr {
		return v
	}
	if v.IsNil() {
		v.Set(reflect.New(s.typ))
	}
	return v.Elem()
}

// present returns the value in a slot, and whether there is one to be written: nil pointers, nil lists and maps and empty
// enums are absent; plain numbers, booleans and strings are always there, as AWS shows them.
func (s slot) present(v reflect.Value) (reflect.Value, bool) {
	if s.ptr {
		if v.IsNil() {
			return v, false
		}
		return v.Elem(), true
	}
	switch s.kind {
	case kindList, kindMap, kindBlob, kindUnion:
		return v, !v.IsNil()
	case kindString:
		return v, s.enum == nil || v.Len() > 0
	case kindTime:
		return v, !v.Interface().(time.Time).IsZero()
	}
	return v, true
}

// variant returns the union's variant that v holds, and its value.
func (p *plan) variant(v reflect.Value) (field, reflect.Value, error) {
	held := v.Elem()
	for _, f := range p.fields {
		if held.Type() == reflect.PointerTo(f.typ) {
			inner, ok := f.elem.present(held.Elem().Field(f.index))
			if !ok {
				return f, inner, fmt.Errorf("variant %s of %s is empty", f.name, p.typ)
			}
			return f, inner, nil
		}
	}
	return field{}, held, fmt.Errorf("no wire form for %s as a %s", held.Type(), p.typ)
}

// choose makes variant i of the union in v, and returns the place of its value.
func (p *plan) choose(v reflect.Value, i int) (slot, reflect.Value) {
	f := p.fields[i]
	held := reflect.New(f.typ)
	v.Set(held)
	return f.elem, held.Elem().Field(f.index)
}
