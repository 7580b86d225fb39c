package stsapi

import (
	"strconv"

	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

type kindCode struct {
	kind fault.Kind
	code string
}

// exceptions is the table from faults to STS's exceptions; an unknown code falls back to its kind.
func exceptions() map[kindCode]wire.Exception {
	return map[kindCode]wire.Exception{
		{fault.Invalid, ""}:                      {Name: "ValidationError", Status: 400},
		{fault.Invalid, iam.CodeMalformedPolicy}: {Name: "MalformedPolicyDocument", Status: 400},
		{fault.Missing, ""}:                      {Name: "ValidationError", Status: 400},
		{fault.NotFound, ""}:                     {Name: "ValidationError", Status: 400},
		{fault.Denied, ""}:                       {Name: "AccessDenied", Status: 403},
		{fault.Limit, ""}:                        {Name: "ValidationError", Status: 400},
		{fault.Limit, iam.CodePackedPolicy}:      {Name: "PackedPolicyTooLarge", Status: 400},
		{fault.Unavailable, ""}:                  {Name: "ServiceUnavailable", Status: 503},
	}
}

// exception turns an error into what clients see. What the table does not know is an internal failure without details.
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
	return wire.Exception{Name: "InternalFailure", Status: 500, Message: "The request processing has failed because of an unknown error, exception or failure."}
}

func seconds(n int32) string { return strconv.Itoa(int(n)) }
