// Package fault holds the one error type that crosses package borders.
//
// A service returns *fault.Error for everything a caller can do something about; each API adapter turns it into its
// protocol's exception by one table over (Kind, Code). Anything that is not a *fault.Error is internal: the caller sees
// the service's internal exception with the request id, the log has the details.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what went wrong in terms that every service shares.
type Kind int

// The kinds. Corrupt is never retried and never reported as "not found".
const (
	Internal    Kind = iota // a bug or an environment failure
	Invalid                 // the request is wrong: a parameter's value
	Missing                 // the request is wrong: a required parameter is absent
	NotFound                // the named thing does not exist
	Exists                  // the thing to create exists already
	Conflict                // it changed under the caller, or two things exclude each other
	State                   // the thing is not in a state that allows this
	Denied                  // not authorized
	Limit                   // a quota
	Unavailable             // try again later
	Corrupt                 // stored data failed authentication or does not make sense
	Unsupported             // the operation or feature is not implemented
)

var kindNames = [...]string{"internal", "invalid", "missing", "not found", "exists", "conflict", "state", "denied", "limit", "unavailable", "corrupt", "unsupported"}

func (k Kind) String() string { return kindNames[k] }

// Error is the domain error.
type Error struct {
	Kind     Kind
	Code     string            // refines Kind where a protocol has more than one exception for it, else ""
	Resource string            // ARN or name of the thing concerned, may be ""
	Msg      string            // for the caller; AWS's own text where there is one
	Context  string            // the protocol's free-text context (AWS Backup), may be ""
	Detail   map[string]string // further members of the exception (Arn, CreatorRequestId, Reason), may be nil
	Err      error             // cause, for the log; its text is not shown to the caller
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Msg + ": " + e.Err.Error()
	}
	return e.Msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of a kind with a formatted message.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// WithCode, WithResource, WithContext, WithDetail and WithCause set one field and return e, for use in one expression.
func (e *Error) WithCode(c string) *Error { e.Code = c; return e }

// WithResource names the thing concerned.
func (e *Error) WithResource(r string) *Error { e.Resource = r; return e }

// WithContext sets the free-text context.
func (e *Error) WithContext(c string) *Error { e.Context = c; return e }

// WithCause sets the cause.
func (e *Error) WithCause(err error) *Error { e.Err = err; return e }

// WithDetail adds one further member.
func (e *Error) WithDetail(key, value string) *Error {
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	e.Detail[key] = value
	return e
}

// As returns the *Error in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Is reports whether err carries a *Error of kind k. A nil error and an ordinary error are of no kind but Internal.
func Is(err error, k Kind) bool {
	if err == nil {
		return false
	}
	if e := As(err); e != nil {
		return e.Kind == k
	}
	return k == Internal
}
