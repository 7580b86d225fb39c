package orgapi

import (
	"net/http"
	"strings"
	"unicode"

	"strongroom/internal/fault"
	"strongroom/internal/wire"
)

// exceptionName returns the exception of a domain error. Package org's codes are the exceptions' names without their ending; a kind
// without a code comes from elsewhere, e.g. authorization.
func exceptionName(f *fault.Error) string {
	if f.Code != "" {
		return f.Code + "Exception"
	}
	return map[fault.Kind]string{
		fault.Invalid:     "InvalidInputException",
		fault.Missing:     "InvalidInputException",
		fault.Denied:      "AccessDeniedException",
		fault.Conflict:    "ConcurrentModificationException",
		fault.Unavailable: "TooManyRequestsException",
		fault.Unsupported: "UnsupportedAPIEndpointException",
	}[f.Kind]
}

// exception is the service's wire.Service.Exception. Every fault of the caller has status 400.
func exception(err error) wire.Exception {
	if f := fault.As(err); f != nil {
		if name := exceptionName(f); name != "" {
			members := map[string]any{}
			if r := f.Detail["Reason"]; r != "" {
				members["Reason"] = r
			}
			return wire.Exception{Name: name, Status: http.StatusBadRequest, Message: f.Msg, Members: members}
		}
	}
	return wire.Exception{Name: "ServiceException", Status: http.StatusInternalServerError, Message: "AWS Organizations can't complete your request because of an internal service error. Try again later."}
}

// constraintError is the service's wire.Service.ConstraintError: the Reason says which rule was broken and by which member.
func constraintError(v wire.Violation) error {
	leaf := v.Path
	if i := strings.LastIndexByte(leaf, '.'); i >= 0 {
		leaf = leaf[i+1:]
	}
	leaf, _, _ = strings.Cut(leaf, "[")
	member := screaming(leaf)
	if member == "FILTER" { // AWS names it by what it holds
		member = "POLICY_TYPE"
	}
	reason := map[wire.Rule]string{
		wire.Required: "INPUT_REQUIRED", wire.MinLength: "MIN_LENGTH_EXCEEDED", wire.MaxLength: "MAX_LENGTH_EXCEEDED", wire.MinValue: "MIN_VALUE_EXCEEDED",
		wire.MaxValue: "MAX_VALUE_EXCEEDED", wire.Pattern: "INVALID_PATTERN", wire.Enum: "INVALID_ENUM",
	}[v.Rule] + ":" + member
	switch {
	case v.Rule == wire.Pattern && member == "TARGET_ID":
		reason = "INVALID_PATTERN_TARGET_ID"
	case v.Rule == wire.Pattern && member == "POLICY_ID":
		reason = "INVALID_SYNTAX_POLICY_ID"
	case member == "NEXT_TOKEN":
		reason = "INVALID_NEXT_TOKEN"
	}
	return fault.New(fault.Invalid, "%s", v.Message()).WithCode("InvalidInput").WithDetail("Reason", reason)
}

// screaming turns PolicyType into POLICY_TYPE.
func screaming(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}
