package kmsapi

import (
	"errors"
	"strings"
	"testing"

	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"strongroom/internal/fault"
	"strongroom/internal/kms"
)

// Every exception of the table is one of the model's, or of those that every AWS service has.
func TestExceptionsAreTheModels(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"ValidationException": true, "AccessDeniedException": true}
	for _, e := range []smithy.APIError{
		&kmstypes.InvalidCiphertextException{}, &kmstypes.IncorrectKeyException{}, &kmstypes.InvalidAliasNameException{}, &kmstypes.InvalidArnException{},
		&kmstypes.InvalidMarkerException{}, &kmstypes.InvalidGrantIdException{}, &kmstypes.InvalidGrantTokenException{}, &kmstypes.MalformedPolicyDocumentException{},
		&kmstypes.TagException{}, &kmstypes.InvalidKeyUsageException{}, &kmstypes.NotFoundException{}, &kmstypes.AlreadyExistsException{}, &kmstypes.ConflictException{},
		&kmstypes.KMSInvalidStateException{}, &kmstypes.DisabledException{}, &kmstypes.DryRunOperationException{}, &kmstypes.LimitExceededException{},
		&kmstypes.UnsupportedOperationException{}, &kmstypes.KMSInternalException{}, &kmstypes.DependencyTimeoutException{},
	} {
		known[e.ErrorCode()] = true
	}
	codes := []string{"", kms.CodeDisabled, kms.CodeInvalidState, kms.CodeInvalidCiphertext, kms.CodeIncorrectKey, kms.CodeInvalidAliasName, kms.CodeInvalidArn, kms.CodeInvalidMarker,
		kms.CodeInvalidGrantID, kms.CodeInvalidGrantToken, kms.CodeMalformedPolicy, kms.CodeTag, kms.CodeKeyUsage, kms.CodeDryRun}
	for k := fault.Internal; k <= fault.Unsupported; k++ {
		for _, c := range codes {
			e := exception(fault.New(k, "text").WithCode(c).WithCause(errors.New("a detail for the log")))
			if !known[e.Name] || strings.Contains(e.Message, "detail") {
				t.Errorf("%v %q: %+v", k, c, e)
			}
		}
	}
	if e := exception(errors.New("a detail for the log")); e.Name != "KMSInternalException" || e.Status != 500 || strings.Contains(e.Message, "detail") {
		t.Errorf("%+v", e)
	}
}
