package stsapi

import (
	"errors"
	"slices"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/iam"
)

func TestEveryOperationIsOfTheModel(t *testing.T) {
	t.Parallel()
	s := Service(nil)
	for _, op := range s.Operations {
		if !slices.Contains(s.KnownNames, op.Name) {
			t.Errorf("%s is not an operation of STS", op.Name)
		}
	}
}

func TestExceptionsHideWhatIsNotForCallers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		name   string
		status int
	}{
		{fault.New(fault.Denied, "no"), "AccessDenied", 403},
		{fault.New(fault.Limit, "no").WithCode(iam.CodePackedPolicy), "PackedPolicyTooLarge", 400},
		{fault.New(fault.Invalid, "no").WithCode("something new"), "ValidationError", 400},
		{errors.New("secret"), "InternalFailure", 500},
		{fault.New(fault.Corrupt, "secret"), "InternalFailure", 500},
	} {
		x := exception(c.err)
		if x.Name != c.name || x.Status != c.status || x.Message == "secret" {
			t.Errorf("%v: %+v", c.err, x)
		}
	}
}
