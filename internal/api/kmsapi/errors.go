package kmsapi

import (
	"net/http"

	"strongroom/internal/fault"
	"strongroom/internal/kms"
	"strongroom/internal/wire"
)

// cause is a key of the exception table; an empty code stands for every code of the kind that has no line of its own.
type cause struct {
	kind fault.Kind
	code string
}

// exceptionName returns the exception of a domain error; all but the last lines have HTTP status 400.
func exceptionName(c cause) (name string, ok bool) {
	name, ok = map[cause]string{
		{fault.Invalid, ""}:                        "ValidationException",
		{fault.Invalid, kms.CodeInvalidCiphertext}: "InvalidCiphertextException",
		{fault.Invalid, kms.CodeIncorrectKey}:      "IncorrectKeyException",
		{fault.Invalid, kms.CodeInvalidAliasName}:  "InvalidAliasNameException",
		{fault.Invalid, kms.CodeInvalidArn}:        "InvalidArnException",
		{fault.Invalid, kms.CodeInvalidMarker}:     "InvalidMarkerException",
		{fault.Invalid, kms.CodeInvalidGrantID}:    "InvalidGrantIdException",
		{fault.Invalid, kms.CodeInvalidGrantToken}: "InvalidGrantTokenException",
		{fault.Invalid, kms.CodeMalformedPolicy}:   "MalformedPolicyDocumentException",
		{fault.Invalid, kms.CodeTag}:               "TagException",
		{fault.Invalid, kms.CodeKeyUsage}:          "InvalidKeyUsageException",
		{fault.Missing, ""}:                        "ValidationException",
		{fault.NotFound, ""}:                       "NotFoundException",
		{fault.Exists, ""}:                         "AlreadyExistsException",
		{fault.Conflict, ""}:                       "ConflictException",
		{fault.State, ""}:                          "KMSInvalidStateException",
		{fault.State, kms.CodeInvalidState}:        "KMSInvalidStateException",
		{fault.State, kms.CodeDisabled}:            "DisabledException",
		{fault.State, kms.CodeDryRun}:              "DryRunOperationException",
		{fault.Denied, ""}:                         "AccessDeniedException",
		{fault.Limit, ""}:                          "LimitExceededException",
		{fault.Unsupported, ""}:                    "UnsupportedOperationException",
		{fault.Corrupt, ""}:                        "KMSInternalException",
		{fault.Unavailable, ""}:                    "DependencyTimeoutException",
	}[c]
	return name, ok
}

func status(name string) int {
	switch name {
	case "KMSInternalException":
		return http.StatusInternalServerError
	case "DependencyTimeoutException":
		return http.StatusServiceUnavailable
	case "DryRunOperationException":
		return http.StatusPreconditionFailed
	}
	return http.StatusBadRequest
}

// exception is the service's wire.Service.Exception.
func exception(err error) wire.Exception {
	if f := fault.As(err); f != nil {
		name, ok := exceptionName(cause{f.Kind, f.Code})
		if !ok {
			name, ok = exceptionName(cause{f.Kind, ""})
		}
		if ok {
			return wire.Exception{Name: name, Status: status(name), Message: f.Msg}
		}
	}
	return wire.Exception{Name: "KMSInternalException", Status: http.StatusInternalServerError, Message: "The request failed because of an internal error."}
}
