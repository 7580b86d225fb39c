package mem

import (
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/blobtest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return New() })
}
