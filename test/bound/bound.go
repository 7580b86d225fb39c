// Package bound keeps fuzz targets honest about memory: what a decoder allocates for one input must not depend on what the
// input claims.
//
// It is for tests only. Start reading at Allocation.
package bound

import (
	"runtime/metrics"
	"testing"
)

// Limit is how much a decoder may allocate for one input, whatever is in it.
const Limit = 64 << 20

// Allocation runs fn and fails the test when it allocated more than Limit. What other goroutines allocate meanwhile counts too:
// it is for fuzz targets, whose process does nothing else.
func Allocation(t testing.TB, fn func()) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	fn()
	metrics.Read(sample)
	if n := sample[0].Value.Uint64() - before; n > Limit {
		t.Fatalf("%d bytes were allocated for one input", n)
	}
}
