package backupapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
)

// keeper remembers the request that a client signed instead of sending it.
type keeper struct{ last *http.Request }

func (k *keeper) Do(r *http.Request) (*http.Response, error) {
	k.last = r
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}}, nil
}

// BenchmarkDescribeRecoveryPoint is the whole call without the network: signature, decoding, authorization under the
// vault's policy, catalog, encoding.
func BenchmarkDescribeRecoveryPoint(b *testing.B) {
	n := start(b)
	_, err := n.as(prod).CreateBackupVault(b.Context(), &awsbackup.CreateBackupVaultInput{BackupVaultName: aws.String("main")})
	must(b, err)
	must(b, n.service.PutVaultPolicy(b.Context(), prod, region, "main", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:DeleteRecoveryPoint","Resource":"*"}]}`))
	point := n.backup("main")
	k := &keeper{}
	c := n.as(prod)
	_, err = c.DescribeRecoveryPoint(b.Context(), &awsbackup.DescribeRecoveryPointInput{BackupVaultName: aws.String("main"), RecoveryPointArn: &point},
		func(o *awsbackup.Options) { o.HTTPClient = k })
	must(b, err)
	signed := k.last
	signed.RequestURI = signed.URL.RequestURI()
	signed.Host = signed.URL.Host
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := httptest.NewRecorder()
			n.handler.ServeHTTP(w, signed.Clone(b.Context()))
			if w.Code != http.StatusOK {
				b.Errorf("%d %s", w.Code, w.Body)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
