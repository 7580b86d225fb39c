package backup

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
)

// BenchmarkDescribeRecoveryPoint is what one DescribeRecoveryPoint asks of this package: the guard for the authorizer
// and the recovery point, each one indexed read, in a vault of many.
func BenchmarkDescribeRecoveryPoint(b *testing.B) {
	c := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	d, err := db.Open(b.Context(), db.Config{URL: filepath.Join(b.TempDir(), "catalog.db"), Now: c.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	f := newFixture(b, d, c)
	f.vault("main")
	must(b, f.PutVaultPolicy(b.Context(), testAccount, testRegion, "main", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:DeleteRecoveryPoint","Resource":"*"}]}`))
	var names []string
	for i := range 2000 {
		r := f.point("main", func(r *RecoveryPoint) { r.ResourceName = fmt.Sprint("fs-", i) })
		names = append(names, r.ARN)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			name := names[i%len(names)]
			if g, err := f.Guard(b.Context(), name); err != nil || !g.Exists {
				b.Error(g, err)
				return
			}
			if _, err := f.RecoveryPoint(b.Context(), testAccount, testRegion, "main", name); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
