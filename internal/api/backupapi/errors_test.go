package backupapi

import (
	"errors"
	"fmt"
	"testing"

	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/fault"
)

func TestEveryErrorBecomesAnExceptionOfTheModel(t *testing.T) {
	t.Parallel()
	model := map[string]bool{
		"AccessDeniedException": true, "UnsupportedOperationException": true, // not modelled, but what clients know from every service
	}
	for _, e := range []interface{ ErrorCode() string }{
		&backuptypes.AlreadyExistsException{}, &backuptypes.ConflictException{}, &backuptypes.DependencyFailureException{}, &backuptypes.InvalidParameterValueException{},
		&backuptypes.InvalidRequestException{}, &backuptypes.InvalidResourceStateException{}, &backuptypes.LimitExceededException{},
		&backuptypes.MissingParameterValueException{}, &backuptypes.ResourceNotFoundException{}, &backuptypes.ServiceUnavailableException{},
	} {
		model[e.ErrorCode()] = true
	}
	for c, s := range exceptions {
		if !model[s.name] {
			t.Errorf("%v: the model has no %s", c, s.name)
		}
	}
	for _, c := range []struct {
		err    error
		name   string
		status int
		text   string
	}{
		{errors.New("disk on fire"), "ServiceUnavailableException", 500, "The request failed due to a temporary failure of the server."},
		{fault.New(fault.Internal, "secret detail"), "ServiceUnavailableException", 500, "The request failed due to a temporary failure of the server."},
		{fault.New(fault.Corrupt, "secret detail"), "ServiceUnavailableException", 500, "The request failed due to a temporary failure of the server."},
		{fmt.Errorf("wrapped: %w", fault.New(fault.NotFound, "gone").WithCode("anything")), "ResourceNotFoundException", 400, "gone"},
		{fault.New(fault.State, "busy").WithCode("Status"), "InvalidResourceStateException", 400, "busy"},
		{fault.New(fault.State, "full").WithCode("ERROR_9101"), "InvalidRequestException", 400, "full"},
		{fault.New(fault.Denied, "no"), "AccessDeniedException", 403, "no"},
	} {
		if e := exception(c.err); e.Name != c.name || e.Status != c.status || e.Message != c.text {
			t.Errorf("%v: %+v", c.err, e)
		}
	}
}
