package wire

import (
	"errors"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

// The SDK turns exceptions into its own types, with message, members and request id; names it does not know become generic
// errors with code and message.
func TestExceptionsReachTheSDK(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		service, op string
		in          any
		give        Exception
		want        error
	}{
		{"backup", "CreateBackupVault", &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("v")},
			Exception{Name: "AlreadyExistsException", Message: "there", Members: map[string]any{"Code": "ERROR_1", "Arn": "arn", "Type": "Client", "Context": "c", "CreatorRequestId": nil}},
			&backuptypes.AlreadyExistsException{Message: aws.String("there"), Code: aws.String("ERROR_1"), Arn: aws.String("arn"), Type: aws.String("Client"), Context: aws.String("c")}},
		{"kms", "DescribeKey", &awskms.DescribeKeyInput{KeyId: aws.String("k")}, Exception{Name: "NotFoundException", Message: "gone"}, &kmstypes.NotFoundException{Message: aws.String("gone")}},
		{"organizations", "ListRoots", &awsorg.ListRootsInput{}, Exception{Name: "InvalidInputException", Message: "bad", Members: map[string]any{"Reason": "INVALID_NEXT_TOKEN"}},
			&orgtypes.InvalidInputException{Message: aws.String("bad"), Reason: "INVALID_NEXT_TOKEN"}},
		{"iam", "GetUser", &awsiam.GetUserInput{}, Exception{Name: "NoSuchEntity", Status: 404, Message: "no <user>"}, &iamtypes.NoSuchEntityException{Message: aws.String("no <user>")}},
		{"sts", "AssumeRole", &awssts.AssumeRoleInput{}, Exception{Name: "MalformedPolicyDocument", Message: "x"}, &ststypes.MalformedPolicyDocumentException{Message: aws.String("x")}},
		{"backup", "ListBackupVaults", &awsbackup.ListBackupVaultsInput{}, Exception{Name: "AccessDeniedException", Status: 403, Message: "no"}, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}},
		{"kms", "ListKeys", &awskms.ListKeysInput{}, Exception{Name: "AccessDeniedException", Message: "no"}, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}},
		{"sts", "GetSessionToken", &awssts.GetSessionTokenInput{}, Exception{Name: "AccessDenied", Status: 403, Message: "no"}, &smithy.GenericAPIError{Code: "AccessDenied", Message: "no"}},
	} {
		t.Run(row.service+"/"+row.op, func(t *testing.T) {
			t.Parallel()
			var m model
			for _, m = range models() {
				if m.name == row.service {
					break
				}
			}
			s := m.service(t, func(string, any) (any, error) { return nil, errors.New("x") })
			s.Exception = func(error) Exception { return row.give }
			server := httptest.NewServer(testHandler(t, testConfig(s)))
			t.Cleanup(server.Close)
			_, err := call(sdkClient(row.service, server.URL, server.Client()), row.op, row.in)
			var reply *awshttp.ResponseError
			if !errors.As(err, &reply) || reply.ServiceRequestID() == "" {
				t.Fatalf("no request id in %v", err)
			}
			got := reply.Unwrap()
			if g, ok := got.(*smithy.GenericAPIError); ok {
				g.Fault = smithy.FaultUnknown
			}
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %#v, want %#v", got, row.want)
			}
		})
	}
}
