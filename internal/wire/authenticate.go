package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"strongroom/internal/access"
	"strongroom/internal/wire/sigv4"
)

// authenticate establishes service, body and caller, or returns the refusal.
func (r *request) authenticate(ctx context.Context) *reply {
	claim, err := sigv4.Parse(r.http)
	if err != nil {
		if e := (*sigv4.Error)(nil); errors.As(err, &e) && e.Code == sigv4.Missing {
			if ok, out := r.unsigned(); ok {
				return out
			}
		}
		return r.refuseSignature(err)
	}
	r.claim = claim
	r.svc = r.h.services[claim.Service]
	if r.svc == nil {
		return r.refused(wrongScope, "Credential should be scoped to correct service: this endpoint serves "+strings.Join(r.h.names(), ", ")+", not '"+claim.Service+"'.")
	}
	r.proto = r.svc.Protocol
	if right := r.h.targeted(r.http); right != nil && right != r.svc {
		return r.refused(wrongScope, "Credential should be scoped to correct service: '"+right.Name+"'.")
	}
	if err := claim.Check(r.caller.Env.Now, r.svc.skew, r.h.Regions); err != nil {
		return r.refuseSignature(err)
	}
	id, err := r.h.Authenticate(ctx, claim.AccessKeyID, claim.SessionToken)
	if err != nil {
		if errors.Is(err, ErrUnknownKey) {
			return r.refused(unknownKey, "The security token included in the request is invalid.")
		}
		out := r.fail(err)
		return &out
	}
	if out := r.readBody(); out != nil {
		return out
	}
	if err := r.h.verifier.Verify(claim, r.http, r.body, id.Secret); err != nil {
		return r.refuseSignature(err)
	}
	if !id.Expires.IsZero() && !r.caller.Env.Now.Before(id.Expires) {
		return r.refused(expiredToken, "The security token included in the request is expired")
	}
	r.caller.Principal = id.Principal
	r.caller.Principal.AccessKeyID = claim.AccessKeyID
	r.caller.Env.Region = claim.Region
	r.known = true
	return nil
}

// unsigned lets through the calls that need no signature. It reports false if the request is none.
func (r *request) unsigned() (bool, *reply) {
	if r.proto != Query {
		return false, nil
	}
	if out := r.readBody(); out != nil {
		return true, out
	}
	pairs, err := r.form()
	if err != nil {
		return false, nil
	}
	action, version := actionOf(pairs)
	for _, s := range r.h.services {
		if s.Version == version && slices.Contains(s.Unsigned, action) {
			r.svc = s
			r.caller.Principal = access.Principal{Kind: access.Anonymous}
			r.caller.Env.Region = r.h.Regions[0]
			r.known = true
			return true, nil
		}
	}
	return false, nil
}

func (r *request) readBody() *reply {
	if r.http.Body == nil {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.http.Body, r.h.MaxBody+1))
	switch {
	case err != nil:
		r.cause = err
		return r.refused(unreadable, "The request body could not be read.")
	case int64(len(body)) > r.h.MaxBody:
		return r.refused(tooLarge, "The request body is larger than "+strconv.FormatInt(r.h.MaxBody, 10)+" bytes.")
	}
	r.body = body
	return nil
}

// guessProtocol guesses how to answer a request whose service is not known (yet).
func guessProtocol(r *http.Request) Protocol {
	_, query, _ := strings.Cut(r.RequestURI, "?")
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		return JSON11
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"), strings.Contains("&"+query, "&Action="):
		return Query
	}
	return RestJSON
}

// targeted returns the service that X-Amz-Target names, or nil.
func (h *handler) targeted(r *http.Request) *service {
	prefix, _, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if prefix == "" {
		return nil
	}
	for _, s := range h.services {
		if s.Target == prefix {
			return s
		}
	}
	return nil
}

// names lists the services, sorted.
func (h *handler) names() []string {
	var out []string
	for name := range h.services {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
