package org

import "strongroom/internal/fault"

// A fault's Code is the API's exception without "Exception", and its detail "Reason" the exception's Reason.

func errNotInUse() *fault.Error {
	return fault.New(fault.NotFound, "Your account is not a member of an organization.").WithCode("AWSOrganizationsNotInUse")
}

func errDenied() *fault.Error {
	return fault.New(fault.Denied, "You don't have permissions to access this resource.").WithCode("AccessDenied")
}

func errInput(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).WithCode("InvalidInput").WithDetail("Reason", reason)
}

func errConstraint(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.Limit, format, args...).WithCode("ConstraintViolation").WithDetail("Reason", reason)
}

func errNoAccount(id string) *fault.Error {
	return fault.New(fault.NotFound, "You specified an account that doesn't exist.").WithCode("AccountNotFound").WithResource(id)
}

func errNoUnit(id string) *fault.Error {
	return fault.New(fault.NotFound, "You specified an organizational unit that doesn't exist.").WithCode("OrganizationalUnitNotFound").WithResource(id)
}

func errNoParent(id string) *fault.Error {
	return fault.New(fault.NotFound, "You specified parent that doesn't exist.").WithCode("ParentNotFound").WithResource(id)
}

func errNoTarget(id string) *fault.Error {
	return fault.New(fault.NotFound, "You specified a target that doesn't exist.").WithCode("TargetNotFound").WithResource(id)
}

func errNoPolicy(id string) *fault.Error {
	return fault.New(fault.NotFound, "You specified a policy that doesn't exist.").WithCode("PolicyNotFound").WithResource(id)
}
