package wire

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/traits"

	"strongroom/internal/access"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
)

const (
	testKey    = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// model is a service for tests: every operation of the SDK's client, answered by one function.
type model struct {
	name   string
	client reflect.Type
	base   Service
}

func models() []model {
	return []model{
		{"backup", reflect.TypeFor[*awsbackup.Client](), Service{Name: "backup", Protocol: RestJSON}},
		{"kms", reflect.TypeFor[*awskms.Client](), Service{Name: "kms", Protocol: JSON11, Target: "TrentService"}},
		{"organizations", reflect.TypeFor[*awsorg.Client](), Service{Name: "organizations", Protocol: JSON11, Target: "AWSOrganizationsV20161128"}},
		{"iam", reflect.TypeFor[*awsiam.Client](), Service{Name: "iam", Protocol: Query, Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
			Unions: []any{(*iamtypes.PolicyIdentifierMemberPolicyArn)(nil), (*iamtypes.PolicyIdentifierMemberPolicyType)(nil), (*iamtypes.PolicyIdentifierMemberInlinePolicyIdentifier)(nil)}}},
		{"sts", reflect.TypeFor[*awssts.Client](), Service{Name: "sts", Protocol: Query, Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
			Unsigned: []string{"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"}}},
	}
}

// operations lists the operations of a client: its methods of the shape (ctx, *In, ...func(*Options)) (*Out, error).
func (m model) operations() []reflect.Method {
	var out []reflect.Method
	for i := range m.client.NumMethod() {
		f := m.client.Method(i)
		t := f.Type
		if t.IsVariadic() && t.NumIn() == 4 && t.NumOut() == 2 && t.In(2).Elem().Name() == f.Name+"Input" {
			out = append(out, f)
		}
	}
	return out
}

// service builds the service with all its operations answered by handle.
func (m model) service(t testing.TB, handle func(op string, in any) (any, error)) Service {
	s := m.base
	schemas := modelSchemas()[m.name]
	for _, f := range m.operations() {
		name := f.Name
		op := Operation{
			Name: name, in: f.Type.In(2).Elem(), out: f.Type.Out(0).Elem(),
			checks: func(context.Context, Caller, any) ([]access.Check, error) { return AnyCaller[int](nil, Caller{}, nil) },
			handle: func(_ context.Context, _ Caller, in any) (any, error) { return handle(name, in) },
		}
		if s.Protocol != Query {
			row, ok := schemas[name]
			if !ok {
				t.Fatalf("%s.%s is not in modelSchemas", m.name, name)
			}
			op.Schema, op.Input, op.Output = row.op, row.in, row.out
		}
		s.Operations = append(s.Operations, op)
	}
	s.Exception = testException
	return s
}

func testException(err error) Exception {
	f := fault.As(err)
	if f == nil {
		return Exception{Name: "ServiceException", Status: 500, Message: "internal"}
	}
	names := map[fault.Kind]string{fault.Invalid: "InvalidParameterValueException", fault.Missing: "MissingParameterValueException", fault.Denied: "AccessDeniedException", fault.Unavailable: "ServiceUnavailableException"}
	e := Exception{Name: names[f.Kind], Message: f.Msg, Status: 400}
	if f.Kind == fault.Denied {
		e.Status = 403
	}
	return e
}

// testConfig authenticates the one test key and allows everything.
func testConfig(services ...Service) Config {
	return Config{
		Services: services, Regions: []string{"us-east-1", "my-dc-1"}, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
		Authenticate: func(_ context.Context, key, token string) (Identity, error) {
			if key != testKey || token != "" {
				return Identity{}, ErrUnknownKey
			}
			return Identity{Secret: testSecret, Principal: access.Principal{Kind: access.Root, Account: "111111111111", ARN: "arn:aws:iam::111111111111:root"}}, nil
		},
		Authorize: func(context.Context, Caller, []access.Check) error { return nil },
	}
}

func testHandler(t testing.TB, c Config) http.Handler {
	t.Helper()
	h, err := NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func testServer(t testing.TB, c Config) *httptest.Server {
	s := httptest.NewServer(testHandler(t, c))
	t.Cleanup(s.Close)
	return s
}

// unvalidated removes what the SDK does to an input before it is sent, so that any input can be.
func unvalidated(s *middleware.Stack) error {
	s.Initialize.Remove("OperationInputValidation")
	s.Initialize.Remove("OperationIdempotencyTokenAutoFill")
	return nil
}

type staticKey struct{ id, secret, token string }

func (k staticKey) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret, SessionToken: k.token}, nil
}

// ownBody sends a copy of each request's body. The SDK closes the body as soon as it has the head of the reply, while the
// transport may still be looking whether the body has more bytes than announced: it then finds a closed body, takes that for a
// failed request and closes the connection under the reply that is being read.
type ownBody struct{ doer }

func (o ownBody) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
	return o.doer.Do(r)
}

// doer is what the SDK needs of an HTTP client.
type doer interface {
	Do(*http.Request) (*http.Response, error)
}

// sdkClient makes the SDK's client of a service.
func sdkClient(name, url string, hc doer) reflect.Value {
	hc = ownBody{hc}
	api := []func(*middleware.Stack) error{unvalidated}
	key := staticKey{testKey, testSecret, ""}
	switch name {
	case "backup":
		return reflect.ValueOf(awsbackup.New(awsbackup.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: key, HTTPClient: hc, Retryer: aws.NopRetryer{}, APIOptions: api}))
	case "kms":
		return reflect.ValueOf(awskms.New(awskms.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: key, HTTPClient: hc, Retryer: aws.NopRetryer{}, APIOptions: api}))
	case "organizations":
		return reflect.ValueOf(awsorg.New(awsorg.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: key, HTTPClient: hc, Retryer: aws.NopRetryer{}, APIOptions: api}))
	case "iam":
		return reflect.ValueOf(awsiam.New(awsiam.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: key, HTTPClient: hc, Retryer: aws.NopRetryer{}, APIOptions: api}))
	case "sts":
		return reflect.ValueOf(awssts.New(awssts.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: key, HTTPClient: hc, Retryer: aws.NopRetryer{}, APIOptions: api}))
	}
	panic("no client for " + name)
}

// call calls an operation of an SDK client.
func call(client reflect.Value, op string, in any) (any, error) {
	out := client.MethodByName(op).Call([]reflect.Value{reflect.ValueOf(context.Background()), reflect.ValueOf(in)})
	err, _ := out[1].Interface().(error)
	return out[0].Interface(), err
}

// filler fills SDK structures at random.
type filler struct {
	*rand.Rand
	unions []any
}

// piece are strings that codecs get wrong: separators of every layer, non-ASCII, JSON and XML syntax.
var piece = []string{"a", "Vault-1", "/", "%2F", "+", " ", "é", "日本", "*", "(", "\"", "\\", "&", "=", "?", "#", ";", ":", ",", "<", ">", "'", "\n", "\t", "😀", ".", "..", "~", "$", "@", "!", "null", "0", "arn:aws:ec2:us-east-1::snapshot/snap-1"}

func (f filler) text() string {
	var b strings.Builder
	b.WriteString("x") // "." and ".." alone cannot be path labels
	for range f.IntN(5) {
		b.WriteString(piece[f.IntN(len(piece))])
	}
	return b.String()
}

// fill sets v; all sets every pointer, otherwise some stay nil.
func (f filler) fill(v reflect.Value, all bool, depth int) {
	t := v.Type()
	switch {
	case t == timeType:
		// The SDK reads 1.001 as a float and cuts it to milliseconds, which makes some times a millisecond earlier. Take others.
		ms := f.Int64N(4102444800000)
		for int64(float64(ms)/1000*1000) != ms {
			ms++
		}
		v.Set(reflect.ValueOf(time.UnixMilli(ms).UTC()))
	case t == bytesType:
		b := make([]byte, f.IntN(40))
		for i := range b {
			b[i] = byte(f.Uint32())
		}
		v.SetBytes(b)
	case t.Kind() == reflect.Pointer:
		if depth > 8 || !all && f.IntN(3) == 0 {
			return
		}
		v.Set(reflect.New(t.Elem()))
		f.fill(v.Elem(), all, depth)
	case t.Kind() == reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case t.Kind() == reflect.Int32:
		v.SetInt(int64(int32(f.Uint32())))
	case t.Kind() == reflect.Int64:
		v.SetInt(int64(f.Uint64()))
	case t.Kind() == reflect.String:
		if e := enumValues(t); e != nil {
			v.SetString(e[f.IntN(len(e))])
		} else {
			v.SetString(f.text())
		}
	case t.Kind() == reflect.Slice:
		if depth > 8 || !all && f.IntN(3) == 0 {
			return
		}
		n := f.IntN(3)
		if all {
			n++
		}
		v.Set(reflect.MakeSlice(t, n, n))
		for i := range n {
			f.fill(v.Index(i), all, depth+1)
		}
	case t.Kind() == reflect.Map:
		if depth > 8 || !all && f.IntN(3) == 0 {
			return
		}
		v.Set(reflect.MakeMap(t))
		for range f.IntN(3) + 1 {
			k, e := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
			f.fill(k, all, depth+1)
			f.fill(e, all, depth+1)
			v.SetMapIndex(k, e)
		}
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if sf := t.Field(i); sf.IsExported() && sf.Type != metadataType {
				f.fill(v.Field(i), all, depth+1)
			}
		}
	case t.Kind() == reflect.Interface:
		var fits []reflect.Type
		for _, u := range f.unions {
			if ut := reflect.TypeOf(u); ut.Implements(t) {
				fits = append(fits, ut)
			}
		}
		u := reflect.New(fits[f.IntN(len(fits))].Elem())
		f.fill(u.Elem(), true, depth+1)
		v.Set(u)
	}
}

func isLabel(m *smithy.Schema) bool {
	_, ok := smithy.SchemaTrait[*traits.HTTPLabel](m)
	return ok
}
