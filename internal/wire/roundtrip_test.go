package wire

import (
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"sync/atomic"
	"testing"
	"time"
)

const rounds = 6

// Every operation of every service, whatever Strongroom implements of it: what the SDK sends is what a handler gets, and what
// a handler returns is what the SDK shows, member by member.
func TestEveryOperationTravelsUnchanged(t *testing.T) {
	t.Parallel()
	total := 0
	for _, m := range models() {
		total += len(m.operations())
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var got atomic.Value // what the handler got
			var give atomic.Value
			c := testConfig(m.service(t, func(op string, in any) (any, error) {
				got.Store(&in)
				return *give.Load().(*any), nil
			}))
			s := testServer(t, c)
			client := sdkClient(m.name, s.URL, s.Client())
			for _, op := range m.operations() {
				h := fnv.New64()
				h.Write([]byte(m.name + op.Name))
				f := filler{Rand: rand.New(rand.NewPCG(1, h.Sum64())), unions: m.base.Unions}
				for round := range rounds {
					in, out := reflect.New(op.Type.In(2).Elem()), reflect.New(op.Type.Out(0).Elem())
					f.fill(in.Elem(), round == 0, 0)
					f.fill(out.Elem(), round == 0, 0)
					for i := range in.Elem().NumField() { // path labels cannot be absent
						if row := modelSchemas()[m.name][op.Name]; m.base.Protocol == RestJSON && row.in != nil {
							sf := in.Elem().Type().Field(i)
							if ms := row.in.Member(sf.Name); ms != nil && isLabel(ms) && in.Elem().Field(i).IsZero() {
								f.fill(in.Elem().Field(i), true, 0)
							}
						}
					}
					var v any = out.Interface()
					give.Store(&v)
					shown, err := call(client, op.Name, in.Interface())
					if err != nil {
						t.Errorf("%s: %v", op.Name, err)
						break
					}
					if sent, arrived := plain(in.Elem(), m.base.Protocol), plain(reflect.ValueOf(*got.Load().(*any)).Elem(), m.base.Protocol); !reflect.DeepEqual(sent, arrived) {
						t.Errorf("%s: the input changed\nsent    %s\narrived %s", op.Name, text(sent), text(arrived))
						break
					}
					if gave, saw := plain(out.Elem(), m.base.Protocol), plain(reflect.ValueOf(shown).Elem(), m.base.Protocol); !reflect.DeepEqual(gave, saw) {
						t.Errorf("%s: the output changed\ngave %s\nsaw  %s", op.Name, text(gave), text(saw))
						break
					}
				}
			}
		})
	}
	if total < 420 {
		t.Errorf("only %d operations found", total)
	}
}

func text(v any) string { b, _ := json.Marshal(v); return string(b) }

// plain turns an SDK structure into maps, lists and scalars to compare. Where a protocol cannot tell two values apart they become
// the same: times are milliseconds, and
//   - forms and XML cannot tell empty lists, maps and structures from absent ones, not even as items of a list;
//   - the SDK reads an absent and an empty blob alike.
func plain(v reflect.Value, p Protocol) any {
	t := v.Type()
	switch {
	case t == timeType:
		return v.Interface().(time.Time).UnixMilli()
	case t == bytesType:
		if v.Len() == 0 {
			return nil
		}
		return string(v.Bytes())
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if t.Kind() == reflect.Interface {
			return map[string]any{v.Elem().Type().Elem().Name(): plain(v.Elem(), p)}
		}
		return plain(v.Elem(), p)
	case t.Kind() == reflect.Slice:
		if v.IsNil() || p == Query && v.Len() == 0 {
			return nil
		}
		out := []any{}
		for i := range v.Len() {
			if e := plain(v.Index(i), p); e != nil || p != Query {
				out = append(out, e)
			}
		}
		if len(out) == 0 && p == Query {
			return nil
		}
		return out
	case t.Kind() == reflect.Map:
		if v.IsNil() || p == Query && v.Len() == 0 {
			return nil
		}
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = plain(it.Value(), p)
		}
		return out
	case t.Kind() == reflect.Struct:
		out := map[string]any{}
		for i := range t.NumField() {
			if sf := t.Field(i); sf.IsExported() && sf.Type != metadataType {
				if e := plain(v.Field(i), p); e != nil {
					out[sf.Name] = e
				}
			}
		}
		if p == Query && len(out) == 0 {
			return nil
		}
		return out
	}
	return v.Interface()
}
