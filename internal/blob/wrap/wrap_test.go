package wrap

import (
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/blobtest"
	"strongroom/internal/blob/mem"
)

func TestContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return New(mem.New()) })
}
