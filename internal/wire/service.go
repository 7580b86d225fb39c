// Package wire speaks the AWS protocols on the server side: restJson1, awsJson1.1 and awsQuery, over the structures of the
// official SDK.
//
// It knows no service. An adapter (api/...) describes one as a Service: a table of operations, each with the SDK's schemas, a
// handler and an authorization row. Everything else is derived from the schemas and structures, so that there is no second
// set of types and no route written by hand.
//
// Invariants: no handler runs before the request's signature is verified and everything in its row is allowed; an operation
// without a row is refused; bodies, secrets and tokens are never logged; whatever an adapter does, the client gets an
// answer in its protocol with a request id.
//
// Start with Service and Config, then dispatch.go and authenticate.go for the way of one request. plan.go explains how Go types become wire forms;
// route.go, json_*.go and query_*.go are the codecs. The wire formats are those of the Smithy protocol specifications
// (aws.protocols), read in November 2026.
package wire

import (
	"context"
	"reflect"

	"github.com/aws/smithy-go"

	"strongroom/internal/access"
)

// Caller is who made a request and how it arrived. Handlers take the account from it and from nowhere else.
type Caller struct {
	access.Principal
	Env access.Env
}

// Protocol is the wire format of a service.
type Protocol int

// The protocols.
const (
	RestJSON Protocol = iota // restJson1: AWS Backup
	JSON11                   // awsJson1.1: Organizations, KMS
	Query                    // awsQuery with XML replies: IAM, STS
)

// Service describes one AWS service that the node speaks: one adapter package builds one value.
type Service struct {
	Name     string // signing name, e.g. "backup"; credential scopes must name it
	Protocol Protocol
	// Target is the X-Amz-Target prefix before the dot (JSON11), e.g. "TrentService".
	Target string
	// Version and Namespace are the API version and XML namespace (Query).
	Version, Namespace string
	// Operations are the implemented ones.
	Operations []Operation
	// Known are the schemas (or, for Query, just the names in KnownNames) of every operation of the model, so that a call of
	// one that is not implemented is recognised and answered as unsupported.
	Known      []*smithy.Schema
	KnownNames []string
	// Exception turns an error of the handlers into the service's exception. It must handle every error: what it does not
	// know becomes the service's internal exception without details.
	Exception func(error) Exception
	// Constraints holds the model's limits on input members (required, length, pattern, range, enum), see constraint.go.
	Constraints Constraints
	// ConstraintError makes the error for a broken limit, which Exception then turns into the service's exception. nil means
	// Violation.Fault for RestJSON (kinds Missing and Invalid without a code), and ValidationException (JSON11) or
	// ValidationError (Query) with AWS's common text, without asking Exception.
	ConstraintError func(Violation) error
	// Unions are the variants of the union types that inputs use, as nil pointers: (*types.PolicyIdentifierMemberPolicyArn)(nil).
	// A request that uses another variant is refused.
	Unions []any
	// Unsigned names operations that need no signature (sts:AssumeRoleWithWebIdentity). Their caller is anonymous, their row must be
	// AnyCaller. Query services only.
	Unsigned []string
}

// Exception is an error as clients see it.
type Exception struct {
	Name    string         // "ResourceNotFoundException"
	Status  int            // HTTP status
	Message string         // human text
	Members map[string]any // further members of the body (Code, Type, Context, Arn, Reason); nil values are left out
}

// Operation is one implemented API operation with its authorization row. Build it with Op.
type Operation struct {
	Name                  string
	Schema, Input, Output *smithy.Schema // nil for Query
	in, out               reflect.Type
	checks                func(context.Context, Caller, any) ([]access.Check, error)
	handle                func(context.Context, Caller, any) (any, error)
}

// Checks is the authorization row of an operation: every check it returns must be allowed before the handler runs.
// It may look things up (tags, the key behind an alias) but must not change anything.
type Checks[In any] func(context.Context, Caller, *In) ([]access.Check, error)

// AnyCaller is the row of the few operations that every authenticated principal may call, e.g. sts:GetCallerIdentity.
func AnyCaller[In any](context.Context, Caller, *In) ([]access.Check, error) { return anyone, nil }

// anyone is recognised by identity, so that a row that forgets its checks is refused instead of open.
var anyone = []access.Check{{Action: "*"}}

// Op makes an Operation from a handler and its authorization row; both are required. op, in and out are the schemas of
// the SDK's schemas package: nil for Query services, and in or out nil where there are no members.
func Op[In, Out any](name string, op, in, out *smithy.Schema, checks Checks[In], handle func(context.Context, Caller, *In) (*Out, error)) Operation {
	if checks == nil || handle == nil {
		panic("wire: operation " + name + " needs a handler and an authorization row")
	}
	return Operation{
		Name: name, Schema: op, Input: in, Output: out,
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
		checks: func(ctx context.Context, c Caller, v any) ([]access.Check, error) { return checks(ctx, c, v.(*In)) },
		handle: func(ctx context.Context, c Caller, v any) (any, error) {
			out, err := handle(ctx, c, v.(*In))
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}
