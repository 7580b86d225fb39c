package wire

import (
	"context"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/access"
)

func describedPoint() *awsbackup.DescribeRecoveryPointOutput {
	day := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	return &awsbackup.DescribeRecoveryPointOutput{
		BackupVaultName: aws.String("v"), BackupVaultArn: aws.String("arn:aws:backup:us-east-1:111111111111:backup-vault:v"), RecoveryPointArn: aws.String("arn:aws:backup:us-east-1:111111111111:recovery-point:1EB3B5E7"),
		BackupSizeInBytes: aws.Int64(1 << 30), CreationDate: &day, CompletionDate: &day, Status: backuptypes.RecoveryPointStatusCompleted,
		Lifecycle: &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(35)}, CalculatedLifecycle: &backuptypes.CalculatedLifecycle{DeleteAt: &day},
		CreatedBy: &backuptypes.RecoveryPointCreator{BackupPlanArn: aws.String("arn"), BackupRuleId: aws.String("id")}, IamRoleArn: aws.String("arn:aws:iam::111111111111:role/x"),
	}
}

// BenchmarkDescribeRecoveryPoint is a signed request through the whole handler, without the network: the part of a
// request that is the wire layer's.
func BenchmarkDescribeRecoveryPoint(b *testing.B) {
	m := models()[0]
	out := describedPoint()
	s := m.service(b, func(string, any) (any, error) { return out, nil })
	for i := range s.Operations {
		s.Operations[i].checks = func(context.Context, Caller, any) ([]access.Check, error) {
			return []access.Check{{Action: "backup:DescribeRecoveryPoint", Resource: "r"}}, nil
		}
	}
	h := testHandler(b, testConfig(s))
	r := incoming(b, "GET", "/backup-vaults/v/recovery-points/arn%3Aaws%3Abackup%3Aus-east-1%3A111111111111%3Arecovery-point%3A1EB3B5E7", nil, nil, "backup")
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		r.Body = httptest.NewRequest("GET", "/", strings.NewReader("")).Body
		h.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkDescribeRecoveryPointRoundTrip is the same with the SDK's client and HTTP on the loopback; most of it is the client.
func BenchmarkDescribeRecoveryPointRoundTrip(b *testing.B) {
	m := models()[0]
	out := describedPoint()
	s := testServer(b, testConfig(m.service(b, func(string, any) (any, error) { return out, nil })))
	client := sdkClient("backup", s.URL, s.Client())
	in := &awsbackup.DescribeRecoveryPointInput{BackupVaultName: aws.String("v"), RecoveryPointArn: out.RecoveryPointArn}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			got, err := call(client, "DescribeRecoveryPoint", in)
			if err != nil || !reflect.ValueOf(got).IsValid() {
				b.Error(err)
			}
		}
	})
}
