package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/aws/smithy-go"

	"strongroom/internal/access"
	"strongroom/internal/clock"
	"strongroom/internal/wire/sigv4"
)

// Identity is what is known about an access key: the secret to verify signatures with, and whom it speaks for.
type Identity struct {
	Secret    string
	Principal access.Principal
	Expires   time.Time // zero for long-term keys; checked after the signature
}

// ErrUnknownKey is returned by Config.Authenticate for an access key that does not exist, is inactive, or came with a
// session token that does not belong to it. Callers cannot tell these cases apart.
var ErrUnknownKey = errors.New("unknown access key or session token")

// Config configures a handler. Services, Regions, Clock, Authenticate and Authorize are required.
type Config struct {
	Services []Service
	Regions  []string // names that credential scopes may carry
	Clock    clock.Clock
	// Authenticate finds the identity behind an access key. It returns ErrUnknownKey (possibly wrapped) for keys and
	// tokens that are not good; any other error is internal.
	Authenticate func(ctx context.Context, accessKeyID, sessionToken string) (Identity, error)
	// Authorize allows all checks or returns an error, a *fault.Error of kind Denied when the answer is no. It is never called
	// without checks.
	Authorize func(ctx context.Context, c Caller, checks []access.Check) error
	Log       *slog.Logger  // nil: discard
	MaxBody   int64         // largest request body; 0: 2 MiB
	Timeout   time.Duration // for one request, authentication to reply; 0: one minute
	// Audit, if set, is told of every request that passed authentication, after its reply is decided and before it is sent.
	Audit func(context.Context, Event)
}

// Event is a finished request for Config.Audit.
type Event struct {
	Caller    Caller
	Service   string // signing name
	Operation string // "" if the request names none that is known
	Input     any    // *sdk.XInput; nil if it could not be decoded. Members may be sensitive.
	Output    any    // *sdk.XOutput; nil on error
	Code      string // exception name, "" on success
	Message   string
	Status    int
}

// Skew of the clocks of client and server, as AWS's services allow it.
const (
	skew       = 5 * time.Minute
	skewLegacy = 15 * time.Minute // IAM and STS
)

// handler serves all services; dispatch.go has the way of a request.
type handler struct {
	Config
	services map[string]*service // by signing name
	verifier sigv4.Verifier
}

// service is a Service with what is derived from it.
type service struct {
	Service
	skew       time.Duration
	operations map[string]*operation // by name; nil for those that are known but not implemented
	routes     routes                // RestJSON
}

// operation is an Operation ready to be served.
type operation struct {
	Operation
	input, output *plan
	limits        *limits
	binding       *binding // RestJSON
}

// NewHandler checks the services' tables and returns the handler that serves them all. It wants request targets as they were
// sent, so it must not stand behind a ServeMux pattern that cleans paths.
func NewHandler(c Config) (http.Handler, error) {
	if len(c.Regions) == 0 || c.Clock == nil || c.Authenticate == nil || c.Authorize == nil {
		return nil, errors.New("wire: Regions, Clock, Authenticate and Authorize are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxBody == 0 {
		c.MaxBody = 2 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	h := &handler{Config: c, services: map[string]*service{}}
	for _, s := range c.Services {
		if s.Name == "" || s.Exception == nil {
			return nil, fmt.Errorf("wire: service %q needs a name and an exception table", s.Name)
		}
		if h.services[s.Name] != nil {
			return nil, fmt.Errorf("wire: service %s is given twice", s.Name)
		}
		built, err := newService(s)
		if err != nil {
			return nil, fmt.Errorf("wire: service %s: %w", s.Name, err)
		}
		h.services[s.Name] = built
	}
	return h, nil
}

func newService(s Service) (*service, error) {
	out := &service{Service: s, skew: skew, operations: map[string]*operation{}, routes: routes{}}
	if s.Name == "iam" || s.Name == "sts" {
		out.skew = skewLegacy
	}
	plans := &planner{plans: map[reflect.Type]*plan{}}
	for _, u := range s.Unions {
		plans.unions = append(plans.unions, reflect.TypeOf(u))
	}
	limits := &limiter{table: s.Constraints, done: map[limitsOf]*limits{}}
	for _, op := range s.Operations {
		if _, twice := out.operations[op.Name]; twice || op.handle == nil {
			return nil, fmt.Errorf("operation %s is given twice or not made by Op", op.Name)
		}
		built, err := out.operation(op, plans, limits)
		if err != nil {
			return nil, err
		}
		out.operations[op.Name] = built
	}
	names := slices.Clone(s.KnownNames)
	for _, schema := range s.Known {
		name := schema.ID().Name
		names = append(names, name)
		if s.Protocol == RestJSON && out.operations[name] == nil {
			if _, err := out.route(schema, nil); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range names {
		if _, ok := out.operations[name]; !ok {
			out.operations[name] = nil
		}
	}
	for _, name := range s.Unsigned {
		if s.Protocol != Query {
			return nil, errors.New("only Query services may have unsigned operations")
		}
		if _, ok := out.operations[name]; !ok {
			return nil, fmt.Errorf("the unsigned operation %s is not known", name)
		}
	}
	return out, nil
}

func (s *service) operation(op Operation, plans *planner, limits *limiter) (*operation, error) {
	out := &operation{Operation: op}
	var err error
	if out.input, err = plans.plan(op.in); err != nil {
		return nil, fmt.Errorf("input of %s: %w", op.Name, err)
	}
	if out.output, err = plans.plan(op.out); err != nil {
		return nil, fmt.Errorf("output of %s: %w", op.Name, err)
	}
	if out.limits, err = limits.compile(out.input, s.Constraints.Inputs[op.Name]); err != nil {
		return nil, fmt.Errorf("constraints of %s: %w", op.Name, err)
	}
	if s.Protocol == Query {
		return out, nil
	}
	// The SDK has no schemas for inputs and outputs without members.
	if op.Schema == nil || op.Input == nil && len(out.input.fields) > 0 || op.Output == nil && len(out.output.fields) > 0 {
		return nil, fmt.Errorf("operation %s lacks a schema", op.Name)
	}
	seen := map[smithy.ShapeID]bool{}
	for _, schema := range []*smithy.Schema{op.Input, op.Output} {
		if err := checkSchema(schema, true, seen); err != nil {
			return nil, err
		}
	}
	if s.Protocol == RestJSON {
		r, err := s.route(op.Schema, out)
		if err != nil {
			return nil, err
		}
		out.binding, err = bind(op, r, out.input)
		return out, err
	}
	return out, nil
}

// route adds the route of an operation.
func (s *service) route(schema *smithy.Schema, op *operation) (*route, error) {
	r, err := newRoute(schema)
	if err != nil {
		return nil, err
	}
	r.known = op
	s.routes[r.method] = append(s.routes[r.method], r)
	return r, nil
}
