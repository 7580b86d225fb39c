package wire

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/wire/sigv4"
)

// request is one request on its way through the handler.
type request struct {
	h      *handler
	http   *http.Request
	body   []byte
	claim  *sigv4.Claim
	svc    *service // nil until known
	proto  Protocol // best guess until svc is known
	op     string   // "" until known
	caller Caller
	known  bool // the caller is authenticated

	input, output any
	cause         error // what the log should know and the client should not
}

// ServeHTTP answers one request: authenticate, decode, check constraints, authorize, run the handler, encode.
func (h *handler) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	start := h.Clock.Now()
	ctx, cancel := context.WithTimeout(hr.Context(), h.Timeout)
	defer cancel()
	r := &request{h: h, http: hr.WithContext(ctx)}
	r.caller.Env = access.Env{
		RequestID: ident.UUID(), SourceIP: peer(hr.RemoteAddr), UserAgent: hr.UserAgent(), Secure: hr.TLS != nil, Now: start,
	}
	r.proto = guessProtocol(hr)
	out := r.guarded(ctx)
	if r.known && h.Audit != nil {
		e := Event{Caller: r.caller, Operation: r.op, Input: r.input, Output: r.output, Code: out.error, Message: out.text, Status: out.status}
		if r.svc != nil {
			e.Service = r.svc.Name
		}
		h.Audit(ctx, e)
	}
	r.log(ctx, out, start)

	head := w.Header()
	head.Set("X-Amzn-Requestid", r.caller.Env.RequestID)
	if out.error != "" {
		head.Set("X-Amzn-Errortype", out.error)
	}
	if out.kind != "" {
		head.Set("Content-Type", out.kind)
	}
	if out.status != http.StatusNoContent {
		head.Set("Content-Length", strconv.Itoa(len(out.body)))
	}
	head.Set("Cache-Control", "no-store") // replies carry keys and tokens
	w.WriteHeader(out.status)
	if hr.Method != http.MethodHead {
		w.Write(out.body) // an error is the client's going away: nobody to tell
	}
}

// guarded runs serve and turns a panic into the service's internal exception.
func (r *request) guarded(ctx context.Context) (out reply) {
	defer func() {
		if p := recover(); p != nil {
			r.output = nil
			r.h.Log.ErrorContext(ctx, "panic while serving a request", "request_id", r.caller.Env.RequestID, "operation", r.op, "panic", p, "stack", string(debug.Stack()))
			out = r.internal(errors.New("panic"))
		}
	}()
	return r.serve(ctx)
}

func (r *request) serve(ctx context.Context) reply {
	if out := r.authenticate(ctx); out != nil {
		return *out
	}
	op, decode, out := r.find()
	if out != nil {
		return *out
	}
	in := reflect.New(op.in)
	if err := decode(in.Elem()); err != nil {
		var bad *decodeError
		if errors.As(err, &bad) {
			return r.refuse(unreadable, bad.msg)
		}
		return r.fail(err)
	}
	r.input = in.Interface()
	if bad := op.limits.check(op.input, in.Elem()); bad != nil {
		bad.Operation = op.Name
		return r.violated(*bad)
	}
	if err := r.authorize(ctx, op); err != nil {
		return r.fail(err)
	}
	result, err := op.handle(ctx, r.caller, r.input)
	if err == nil && (result == nil || reflect.ValueOf(result).IsNil()) {
		err = errors.New("the handler returned neither output nor error")
	}
	if err != nil {
		return r.fail(err)
	}
	success, err := r.encode(op, reflect.ValueOf(result).Elem())
	if err != nil {
		return r.fail(err)
	}
	r.output = result
	return success
}

// find matches the request to an operation and returns how to decode its input.
func (r *request) find() (*operation, func(reflect.Value) error, *reply) {
	switch r.svc.Protocol {
	case RestJSON:
		_, query, _ := strings.Cut(r.http.RequestURI, "?")
		path := sigv4.RawPath(r.http.RequestURI)
		route, labels := r.svc.routes.match(r.http.Method, path, query)
		if route == nil {
			return nil, nil, r.refused(unknownOperation, "No operation of "+r.svc.Name+" is bound to "+r.http.Method+" "+short(path)+".")
		}
		op, out := r.named(route.op)
		return op, func(v reflect.Value) error { return op.binding.read(labels, query, r.body, v) }, out
	case JSON11:
		target := r.http.Header.Get("X-Amz-Target")
		prefix, name, ok := strings.Cut(target, ".")
		if !ok || prefix != r.svc.Target || r.http.Method != http.MethodPost {
			return nil, nil, r.refused(unknownOperation, "X-Amz-Target '"+short(target)+"' names no operation of "+r.svc.Name+".")
		}
		op, out := r.named(name)
		return op, func(v reflect.Value) error {
			if len(r.body) == 0 {
				return nil
			}
			return readJSON(r.body, op.input, v)
		}, out
	}
	pairs, err := r.form()
	if err != nil {
		return nil, nil, r.refused(unreadable, err.Error())
	}
	tree, err := paramTree(pairs)
	if err != nil {
		return nil, nil, r.refused(unreadable, err.Error())
	}
	action, version := actionOf(pairs)
	if action == "" {
		return nil, nil, r.refused(unknownOperation, "The request names no Action.")
	}
	if version != r.svc.Version {
		return nil, nil, r.refused(unknownOperation, "Could not find operation "+short(action)+" for version "+short(version))
	}
	op, out := r.named(action)
	return op, func(v reflect.Value) error { return readForm(tree, op.input, v) }, out
}

// named looks an operation up by name.
func (r *request) named(name string) (*operation, *reply) {
	op, known := r.svc.operations[name]
	if known {
		r.op = name
	}
	switch {
	case op != nil:
		return op, nil
	case known:
		return nil, r.refused(notImplemented, "Strongroom does not implement "+r.svc.Name+":"+name+"; see docs/compatibility.md")
	case r.svc.Protocol == Query:
		return nil, r.refused(unknownOperation, "Could not find operation "+short(name)+" for version "+r.svc.Version)
	}
	return nil, r.refused(unknownOperation, "The service "+r.svc.Name+" has no operation "+short(name)+".")
}

// authorize asks the operation's row and has it decided. A row without checks is a mistake and refuses.
func (r *request) authorize(ctx context.Context, op *operation) error {
	checks, err := op.checks(ctx, r.caller, r.input)
	if err != nil {
		return err
	}
	if len(checks) == 0 {
		return errors.New("the authorization row is empty")
	}
	if &checks[0] == &anyone[0] {
		return nil
	}
	if r.caller.Kind == access.Anonymous {
		return errors.New("an unsigned operation has an authorization row")
	}
	return r.h.Authorize(ctx, r.caller, checks)
}

func (r *request) encode(op *operation, v reflect.Value) (reply, error) {
	out := reply{status: http.StatusOK, kind: r.svc.Protocol.contentType()}
	var err error
	switch r.svc.Protocol {
	case Query:
		var b bytes.Buffer
		err = writeQueryReply(&b, op.Name, r.svc.Namespace, r.caller.Env.RequestID, op.output, v)
		out.body = b.Bytes()
	case RestJSON:
		out.status = op.binding.status
		if len(op.output.fields) == 0 {
			out.kind = ""
			break
		}
		fallthrough
	default:
		out.body, err = appendJSON(nil, op.output, v)
	}
	return out, err
}

// refuse answers with a trouble of the dispatcher's own, refused the same as a pointer.
func (r *request) refuse(t trouble, message string) reply {
	return r.answer(t.exception(r.proto, message))
}

func (r *request) refused(t trouble, message string) *reply {
	out := r.refuse(t, message)
	return &out
}

func (r *request) refuseSignature(err error) *reply {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		out := r.fail(err)
		return &out
	}
	return r.refused(signatureTrouble(e), e.Message)
}

func (r *request) violated(v Violation) reply {
	if f := r.svc.ConstraintError; f != nil {
		return r.fail(f(v))
	}
	if r.svc.Protocol == RestJSON {
		return r.fail(v.Fault())
	}
	return r.refuse(invalid, v.Message())
}

// fail answers with the service's exception for an error of a handler, a row or the authorizer.
func (r *request) fail(err error) reply {
	r.cause = err
	if errors.Is(err, context.DeadlineExceeded) && fault.As(err) == nil {
		err = fault.New(fault.Unavailable, "The request took longer than %s.", r.h.Timeout).WithCause(err)
	}
	return r.internal(err)
}

func (r *request) internal(err error) (out reply) {
	e := Exception{Name: "InternalFailure", Status: http.StatusInternalServerError, Message: "The request failed because of an internal error."}
	if r.svc == nil {
		return r.answer(e)
	}
	defer func() {
		if recover() != nil { // the table itself is broken
			out = r.answer(e)
		}
	}()
	return r.answer(r.svc.Exception(err))
}

func (r *request) answer(e Exception) reply {
	namespace := ""
	if r.svc != nil {
		namespace = r.svc.Namespace
	}
	return exceptionReply(r.proto, namespace, r.caller.Env.RequestID, e)
}

// log writes the one line of a request. Errors of our own making are for the operator; everything else is the caller's.
func (r *request) log(ctx context.Context, out reply, start time.Time) {
	attrs := []slog.Attr{
		slog.String("request_id", r.caller.Env.RequestID), slog.String("operation", r.op), slog.Int("status", out.status),
		slog.Duration("duration", r.h.Clock.Now().Sub(start)), slog.String("source_ip", r.caller.Env.SourceIP),
	}
	if r.svc != nil {
		attrs = append(attrs, slog.String("service", r.svc.Name))
	}
	if r.known {
		attrs = append(attrs, slog.String("principal", r.caller.ARN), slog.String("account", r.caller.Account))
	} else if r.claim != nil {
		attrs = append(attrs, slog.String("claimed_key", r.claim.AccessKeyID))
	}
	level := slog.LevelInfo
	if out.error != "" {
		attrs = append(attrs, slog.String("error", out.error))
	}
	if out.status >= http.StatusInternalServerError && out.status != http.StatusNotImplemented {
		level = slog.LevelError
		if r.cause != nil {
			attrs = append(attrs, slog.String("cause", r.cause.Error()))
		}
	}
	r.h.Log.LogAttrs(ctx, level, "request", attrs...)
}

// form returns the parameters of a Query request: the body of a POST, else the query string.
func (r *request) form() ([]pair, error) {
	if r.http.Method == http.MethodPost {
		return parseForm(string(r.body))
	}
	_, query, _ := strings.Cut(r.http.RequestURI, "?")
	return parseForm(query)
}

func actionOf(pairs []pair) (action, version string) {
	for _, p := range pairs {
		switch p.key {
		case "Action":
			action = p.value
		case "Version":
			version = p.value
		}
	}
	return action, version
}

// peer returns the address of the connection without its port.
func peer(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
