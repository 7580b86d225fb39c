package wire

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/clock"
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
	Operation string
	Input     any    // *sdk.XInput; nil if it could not be decoded. Members may be sensitive.
	Output    any    // *sdk.XOutput; nil on error
	Code      string // exception name, "" on success
	Message   string
	Status    int
}

// NewHandler checks the services' tables and returns the handler that serves them all.
func NewHandler(c Config) (http.Handler, error) {
	return nil, errors.New("not built yet")
}
