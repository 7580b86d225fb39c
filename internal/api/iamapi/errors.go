package iamapi

import (
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

type kindCode struct {
	kind fault.Kind
	code string
}

// codeSessionToken refuses credentials of GetSessionToken.
const codeSessionToken = "InvalidClientTokenId"

// exceptions is the table from faults to IAM's exceptions; an unknown code falls back to its kind.
func exceptions() map[kindCode]wire.Exception {
	return map[kindCode]wire.Exception{
		{fault.Invalid, ""}:                      {Name: "ValidationError", Status: 400},
		{fault.Invalid, iam.CodeInvalidInput}:    {Name: "InvalidInput", Status: 400},
		{fault.Invalid, iam.CodeMalformedPolicy}: {Name: "MalformedPolicyDocument", Status: 400},
		{fault.Missing, ""}:                      {Name: "ValidationError", Status: 400},
		{fault.NotFound, ""}:                     {Name: "NoSuchEntity", Status: 404},
		{fault.Exists, ""}:                       {Name: "EntityAlreadyExists", Status: 409},
		{fault.Conflict, ""}:                     {Name: "ConcurrentModification", Status: 409},
		{fault.Conflict, iam.CodeDeleteConflict}: {Name: "DeleteConflict", Status: 409},
		{fault.State, ""}:                        {Name: "UnmodifiableEntity", Status: 400},
		{fault.State, iam.CodeUnmodifiable}:      {Name: "UnmodifiableEntity", Status: 400},
		{fault.State, iam.CodeNotAttachable}:     {Name: "PolicyNotAttachable", Status: 400},
		{fault.Denied, ""}:                       {Name: "AccessDenied", Status: 403},
		{fault.Denied, codeSessionToken}:         {Name: "InvalidClientTokenId", Status: 403},
		{fault.Limit, ""}:                        {Name: "LimitExceeded", Status: 409},
		{fault.Unavailable, ""}:                  {Name: "ServiceFailure", Status: 503},
		{fault.Unsupported, ""}:                  {Name: "ValidationError", Status: 400},
	}
}

// exception turns an error into what clients see. What the table does not know is a service failure without details.
func exception(err error) wire.Exception {
	if e := fault.As(err); e != nil {
		table := exceptions()
		x, ok := table[kindCode{e.Kind, e.Code}]
		if !ok {
			x, ok = table[kindCode{e.Kind, ""}]
		}
		if ok {
			x.Message = e.Msg
			return x
		}
	}
	return wire.Exception{Name: "ServiceFailure", Status: 500, Message: "The request processing has failed because of an unknown error, exception or failure."}
}
