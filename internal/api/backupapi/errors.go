package backupapi

import (
	"net/http"
	"strings"

	"strongroom/internal/fault"
	"strongroom/internal/wire"
)

// cause is a key of the exception table; an empty code stands for every code of the kind that has no line of its own.
type cause struct {
	kind fault.Kind
	code string
}

type shape struct {
	name   string
	status int
}

// exceptions is the one table from domain errors to exceptions. What is not in it is unavailable: the service has no
// exception for internal failures, and clients retry this one.
var exceptions = map[cause]shape{
	{fault.Invalid, ""}:            {"InvalidParameterValueException", http.StatusBadRequest},
	{fault.Missing, ""}:            {"MissingParameterValueException", http.StatusBadRequest},
	{fault.NotFound, ""}:           {"ResourceNotFoundException", http.StatusBadRequest},
	{fault.Exists, ""}:             {"AlreadyExistsException", http.StatusBadRequest},
	{fault.Conflict, ""}:           {"ConflictException", http.StatusBadRequest},
	{fault.State, ""}:              {"InvalidRequestException", http.StatusBadRequest},
	{fault.State, "Status"}:        {"InvalidResourceStateException", http.StatusBadRequest},
	{fault.Denied, ""}:             {"AccessDeniedException", http.StatusForbidden},
	{fault.Limit, ""}:              {"LimitExceededException", http.StatusBadRequest},
	{fault.Unsupported, ""}:        {"UnsupportedOperationException", http.StatusBadRequest},
	{fault.Unavailable, ""}:        {"ServiceUnavailableException", http.StatusInternalServerError},
	{fault.Unavailable, "Depends"}: {"DependencyFailureException", http.StatusInternalServerError},
}

// exception is the service's wire.Service.Exception.
func exception(err error) wire.Exception {
	f := fault.As(err)
	if f == nil {
		return unavailable()
	}
	s, ok := exceptions[cause{f.Kind, f.Code}]
	if !ok {
		s, ok = exceptions[cause{f.Kind, ""}]
	}
	if !ok {
		return unavailable()
	}
	members := map[string]any{"Type": "Client", "Code": nil, "Context": nil}
	if s.status >= 500 {
		members["Type"] = "Server"
	}
	// The service's own codes look like ERROR_9101; the other codes are ours and only choose the exception.
	if strings.HasPrefix(f.Code, "ERROR_") {
		members["Code"] = f.Code
	}
	if f.Context != "" {
		members["Context"] = f.Context
	}
	for k, v := range f.Detail {
		members[k] = v
	}
	return wire.Exception{Name: s.name, Status: s.status, Message: f.Msg, Members: members}
}

func unavailable() wire.Exception {
	return wire.Exception{
		Name: "ServiceUnavailableException", Status: http.StatusInternalServerError,
		Message: "The request failed due to a temporary failure of the server.", Members: map[string]any{"Type": "Server"},
	}
}
