// Package iamapi serves IAM's API (2010-05-08) over iam.Service: it translates between the SDK's types and the service, and
// holds one authorization row for every operation.
//
// It decides nothing itself, with one exception: credentials of GetSessionToken without MFA may not call IAM at all (check.go).
// Operations of the model that are not in the table are answered as not implemented. Start at Service.
package iamapi

import (
	"slices"

	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

// api has a method for every operation.
type api struct{ s *iam.Service }

// Service describes IAM to the wire layer.
func Service(s *iam.Service) wire.Service {
	a := api{s}
	return wire.Service{
		Name: "iam", Protocol: wire.Query, Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
		Operations: slices.Concat(a.userOperations(), a.keyOperations(), a.groupOperations(), a.roleOperations(), a.inlineOperations(),
			a.attachmentOperations(), a.policyOperations(), a.tagOperations(), a.accountOperations()),
		KnownNames: knownNames(), Exception: exception, Constraints: constraints(),
	}
}
