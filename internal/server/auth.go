package server

import (
	"context"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/wire"
)

// authenticate finds the identity behind an access key for the wire layer.
func (s *Server) authenticate(ctx context.Context, accessKeyID, sessionToken string) (wire.Identity, error) {
	secret, p, expires, err := s.iam.Credential(ctx, accessKeyID, sessionToken)
	if fault.Is(err, fault.NotFound) {
		return wire.Identity{}, wire.ErrUnknownKey
	}
	if err != nil {
		return wire.Identity{}, err
	}
	return wire.Identity{Secret: secret, Principal: p, Expires: expires}, nil
}

// authorize decides an operation's checks for the wire layer.
func (s *Server) authorize(ctx context.Context, c wire.Caller, checks []access.Check) error {
	return s.authz.Authorize(ctx, c.Principal, c.Env, checks...)
}

// record notes that an access key was used; it writes nothing (iam.Run does, once a minute).
func (s *Server) record(_ context.Context, e wire.Event) {
	if e.Caller.AccessKeyID != "" {
		s.iam.RecordUse(e.Caller.AccessKeyID, e.Service, e.Caller.Env.Region)
	}
}
