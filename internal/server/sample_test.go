package server

import (
	"context"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"strongroom/internal/wire"
)

// sampler makes inputs for operations out of nothing but the SDK's types and a service's limits.
type sampler struct {
	limits wire.Constraints
	// all fills every member, as far as the types go; otherwise only what is required.
	all bool
	// given are values by member name, instead of those in hints.
	given map[string]string
}

// input returns a *sdk.XInput for an operation of client.
func (s sampler) input(t *testing.T, client any, operation string) reflect.Value {
	t.Helper()
	m := reflect.ValueOf(client).MethodByName(operation)
	if !m.IsValid() {
		t.Fatalf("the SDK has no operation %s", operation)
	}
	in := reflect.New(m.Type().In(1).Elem())
	s.fill(in.Elem(), "", s.limits.Inputs[operation], 0)
	return in
}

// invoke calls an operation of an SDK client.
func invoke(ctx context.Context, client any, operation string, in reflect.Value) error {
	out := reflect.ValueOf(client).MethodByName(operation).Call([]reflect.Value{reflect.ValueOf(ctx), in})
	err, _ := out[1].Interface().(error)
	return err
}

// depth bounds types that contain themselves.
const depth = 8

// fill gives v, a member called name whose type the model calls kind, a value that keeps the limits.
func (s sampler) fill(v reflect.Value, name, kind string, level int) {
	if level > depth {
		return
	}
	l := s.limits.Limits[kind]
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		s.fill(v.Elem(), name, kind, level+1)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			m := s.limits.Structures[kind][f.Name]
			if f.IsExported() && f.Name != "ResultMetadata" && (s.all || m.Required || hints[f.Name] != "") {
				s.fill(v.Field(i), f.Name, m.Type, level+1)
			}
		}
	case reflect.String:
		v.SetString(s.text(v, name, l))
	case reflect.Int32, reflect.Int64:
		n := int64(1)
		if l.Min != nil {
			n = max(n, *l.Min)
		}
		v.SetInt(n)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("sample"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		s.fill(v.Index(0), name, l.Item, level+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		s.fill(key, "", l.Key, level+1)
		s.fill(value, name, l.Item, level+1)
		v.SetMapIndex(key, value)
	}
}

// hints are values for members whose limits do not say what they mean, and which are given also where they are optional.
var hints = map[string]string{
	"RecoveryPointArn":          "arn:aws:backup:us-east-1:999999999999:recovery-point:sample",
	"DestinationBackupVaultArn": "arn:aws:backup:us-east-1:999999999999:backup-vault:sample",
	"IamRoleArn":                "arn:aws:iam::999999999999:role/sample",
	"RoleArn":                   "arn:aws:iam::999999999999:role/sample",
	"ResourceArn":               "arn:aws:backup:us-east-1:999999999999:backup-vault:sample",
	"PolicyArn":                 "arn:aws:iam::999999999999:policy/sample",
	"UserName":                  "sample",
	"KeyId":                     "arn:aws:kms:us-east-1:999999999999:key/00000000-0000-4000-8000-000000000000",
	"AccessKeyId":               "AKIASAMPLESAMPLE1234",
	"AWSServiceName":            "backup.amazonaws.com",
	"ParentId":                  "r-abcd",
	"TargetId":                  "999999999999",
	"ServicePrincipal":          "backup.amazonaws.com",
	"PolicyType":                "SERVICE_CONTROL_POLICY",
	"TargetKeyId":               "arn:aws:kms:us-east-1:999999999999:key/00000000-0000-4000-8000-000000000000",
	"SourceKeyId":               "arn:aws:kms:us-east-1:999999999999:key/00000000-0000-4000-8000-000000000000",
	"DestinationKeyId":          "arn:aws:kms:us-east-1:999999999999:key/00000000-0000-4000-8000-000000000000",
	"AliasName":                 "alias/sample",
	"GrantId":                   "0000000000000000000000000000000000000000000000000000000000000000",
}

// samples are tried in turn against the limits of a member.
var samples = []string{
	"sample", "999999999999", "arn:aws:iam::999999999999:role/sample", "arn:aws:organizations::999999999999:account/o-abcdefghij/999999999999",
	"00000000-0000-4000-8000-000000000000", "/", "sample@example.com", "r-abcd", "ou-abcd-12345678", "p-12345678", "o-abcdefghij", "alias/sample",
	"car-" + strings.Repeat("a", 32), "h-" + strings.Repeat("a", 32), strings.Repeat("a", 64), "a", "2026-01-02", strings.Repeat("0", 6), "arn:aws:sns:us-east-1:999999999999:sample",
	"v1",
}

func (s sampler) text(v reflect.Value, name string, l wire.Limit) string {
	if g := s.given[name]; g != "" {
		return g
	}
	if m := v.MethodByName("Values"); m.IsValid() { // an enumeration: any of its values
		return m.Call(nil)[0].Index(0).String()
	}
	fits := func(c string) bool {
		ok := (l.Min == nil || int64(len(c)) >= *l.Min) && (l.Max == nil || int64(len(c)) <= *l.Max)
		return ok && (l.Pattern == "" || regexp.MustCompile(`^(?:`+l.Pattern+`)$`).MatchString(c))
	}
	if h := hints[name]; h != "" && fits(h) {
		return h
	}
	for _, c := range samples {
		if fits(c) {
			return c
		}
	}
	return samples[0]
}
