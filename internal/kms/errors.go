package kms

import (
	"strings"

	"strongroom/internal/arn"
	"strongroom/internal/fault"
)

// The codes refine a fault's kind to one of KMS's exceptions; the adapter's table has each of them.
const (
	CodeDisabled          = "Disabled"          // State
	CodeInvalidState      = "InvalidState"      // State
	CodeInvalidCiphertext = "InvalidCiphertext" // Invalid
	CodeIncorrectKey      = "IncorrectKey"      // Invalid
	CodeInvalidAliasName  = "InvalidAliasName"  // Invalid
	CodeInvalidArn        = "InvalidArn"        // Invalid
	CodeInvalidMarker     = "InvalidMarker"     // Invalid
	CodeInvalidGrantID    = "InvalidGrantId"    // Invalid
	CodeInvalidGrantToken = "InvalidGrantToken" // Invalid
	CodeMalformedPolicy   = "MalformedPolicy"   // Invalid
	CodeTag               = "Tag"               // Invalid
	CodeKeyUsage          = "KeyUsage"          // Invalid
	CodeDryRun            = "DryRun"            // State
)

func errInvalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...)
}

func errNoKey(keyARN string) *fault.Error {
	return fault.New(fault.NotFound, "Key '%s' does not exist", keyARN).WithResource(keyARN)
}

func errNoAlias(aliasARN string) *fault.Error {
	return fault.New(fault.NotFound, "Alias %s is not found.", aliasARN).WithResource(aliasARN)
}

// errCiphertext is deliberately without a reason: which part of a ciphertext or context is wrong helps only a forger.
func errCiphertext() *fault.Error {
	return fault.New(fault.Invalid, "").WithCode(CodeInvalidCiphertext)
}

// UnknownCiphertext is the answer for a ciphertext whose key the caller cannot see; it does not say whether the key exists.
func UnknownCiphertext() *fault.Error {
	return fault.New(fault.Denied, "%s", HiddenCiphertext)
}

// HiddenCiphertext is KMS's text for a ciphertext whose key is missing or forbidden.
const HiddenCiphertext = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."

// HiddenKey is KMS's text where one account must not learn whether another account's key exists, followed by what has to be
// true for the call to work, which is the same in every case.
func HiddenKey(principal, action, keyARN string) string {
	owner, region := arn.AccountOf(keyARN), ""
	if a, err := arn.Parse(keyARN); err == nil {
		region = a.Region
	}
	var b strings.Builder
	b.WriteString("User: " + principal + " is not authorized to perform: " + action + " on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access")
	b.WriteString(". To allow it, the key " + keyARN + " must exist in " + region + ", account " + owner + " must allow " + action + " in that key's policy or by a grant, and the caller's own account must allow " + action + " on it.")
	return b.String()
}
