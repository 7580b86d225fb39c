package orgapi_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/smithy-go"
)

// Every code that package org gives its errors is one of the model's exceptions: the SDK has a type for it.
func TestCodesAreTheModelsExceptions(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, e := range []smithy.APIError{
		&orgtypes.AWSOrganizationsNotInUseException{},
		&orgtypes.AccessDeniedException{},
		&orgtypes.AccountAlreadyRegisteredException{},
		&orgtypes.AccountNotFoundException{},
		&orgtypes.AccountNotRegisteredException{},
		&orgtypes.AlreadyInOrganizationException{},
		&orgtypes.ChildNotFoundException{},
		&orgtypes.ConcurrentModificationException{},
		&orgtypes.ConstraintViolationException{},
		&orgtypes.CreateAccountStatusNotFoundException{},
		&orgtypes.DestinationParentNotFoundException{},
		&orgtypes.DuplicateAccountException{},
		&orgtypes.DuplicateOrganizationalUnitException{},
		&orgtypes.DuplicatePolicyException{},
		&orgtypes.DuplicatePolicyAttachmentException{},
		&orgtypes.InvalidInputException{},
		&orgtypes.MalformedPolicyDocumentException{},
		&orgtypes.MasterCannotLeaveOrganizationException{},
		&orgtypes.OrganizationNotEmptyException{},
		&orgtypes.OrganizationalUnitNotEmptyException{},
		&orgtypes.OrganizationalUnitNotFoundException{},
		&orgtypes.ParentNotFoundException{},
		&orgtypes.PolicyInUseException{},
		&orgtypes.PolicyNotAttachedException{},
		&orgtypes.PolicyNotFoundException{},
		&orgtypes.PolicyTypeAlreadyEnabledException{},
		&orgtypes.PolicyTypeNotAvailableForOrganizationException{},
		&orgtypes.PolicyTypeNotEnabledException{},
		&orgtypes.RootNotFoundException{},
		&orgtypes.SourceParentNotFoundException{},
		&orgtypes.TargetNotFoundException{},
		&orgtypes.UnsupportedAPIEndpointException{},
	} {
		known[strings.TrimSuffix(e.ErrorCode(), "Exception")] = true
	}
	files, err := filepath.Glob("../../org/*.go")
	ok(t, err)
	used := regexp.MustCompile(`WithCode\("([A-Za-z]+)"\)`)
	n := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		ok(t, err)
		for _, m := range used.FindAllStringSubmatch(string(text), -1) {
			if n++; !known[m[1]] {
				t.Errorf("%s: %s is not among the exceptions", f, m[1])
			}
		}
	}
	if n < 20 {
		t.Fatalf("found only %d codes", n)
	}
}
