package iamapi

import (
	"errors"
	"slices"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/iam"
)

func TestEveryOperationIsOfTheModelAndServedOnce(t *testing.T) {
	t.Parallel()
	s := Service(nil)
	seen := map[string]bool{}
	for _, op := range s.Operations {
		if !slices.Contains(s.KnownNames, op.Name) || seen[op.Name] {
			t.Errorf("%s is no operation of IAM or served twice", op.Name)
		}
		seen[op.Name] = true
	}
}

func TestExceptionsHideWhatIsNotForCallers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		name   string
		status int
	}{
		{fault.New(fault.NotFound, "no"), "NoSuchEntity", 404},
		{fault.New(fault.Conflict, "no").WithCode(iam.CodeDeleteConflict), "DeleteConflict", 409},
		{fault.New(fault.State, "no").WithCode(iam.CodeNotAttachable), "PolicyNotAttachable", 400},
		{fault.New(fault.Invalid, "no").WithCode("something new"), "ValidationError", 400},
		{errors.New("secret"), "ServiceFailure", 500},
		{fault.New(fault.Corrupt, "secret"), "ServiceFailure", 500},
	} {
		x := exception(c.err)
		if x.Name != c.name || x.Status != c.status || x.Message == "secret" {
			t.Errorf("%v: %+v", c.err, x)
		}
	}
}
