package iam

import (
	"strings"

	"strongroom/internal/fault"
)

// The codes that refine fault kinds into IAM's and STS's exceptions.
const (
	CodeInvalidInput    = "InvalidInput"            // Invalid
	CodeMalformedPolicy = "MalformedPolicyDocument" // Invalid
	CodeDeleteConflict  = "DeleteConflict"          // Conflict
	CodeUnmodifiable    = "UnmodifiableEntity"      // State
	CodeNotAttachable   = "PolicyNotAttachable"     // State
	CodePackedPolicy    = "PackedPolicyTooLarge"    // Limit
)

func noAccount(account string) error {
	return fault.New(fault.NotFound, "The account %s cannot be found.", account).WithResource(account)
}

func noEntity(kind Kind, name string) error {
	return fault.New(fault.NotFound, "The %s with name %s cannot be found.", kind, name).WithResource(name)
}

func noPolicy(arn string) error {
	return fault.New(fault.NotFound, "Policy %s was not found.", arn).WithResource(arn)
}

func noAttachablePolicy(arn string) error {
	return fault.New(fault.NotFound, "Policy %s does not exist or is not attachable.", arn).WithResource(arn)
}

func noVersion(arn, version string) error {
	return fault.New(fault.NotFound, "Policy %s version %s does not exist or is not attachable.", arn, version).WithResource(arn)
}

func noInline(kind Kind, name string) error {
	return fault.New(fault.NotFound, "The %s policy with name %s cannot be found.", kind, name).WithResource(name)
}

func noKey(id string) error {
	return fault.New(fault.NotFound, "The Access Key with id %s cannot be found.", id).WithResource(id)
}

func alreadyExists(kind Kind, name string) error {
	k := string(kind)
	return fault.New(fault.Exists, "%s with name %s already exists.", strings.ToUpper(k[:1])+k[1:], name).WithResource(name)
}

func deleteConflict(why string) error {
	return fault.New(fault.Conflict, "%s", why).WithCode(CodeDeleteConflict)
}

func overQuota(name string, n int) error {
	return fault.New(fault.Limit, "Cannot exceed quota for %s: %d", name, n)
}

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

func invalidInput(format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithCode(CodeInvalidInput)
}

func malformed(format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithCode(CodeMalformedPolicy)
}

func protected(role string) error {
	return fault.New(fault.State, "Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", role).WithCode(CodeUnmodifiable).WithResource(role)
}
