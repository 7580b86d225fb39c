// Package disk keeps blobs as files of one directory.
package disk

import (
	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// Open returns the store in dir, which is created if it does not exist.
func Open(dir string) (blob.Store, error) { return nil, fault.New(fault.Unsupported, "not implemented") }
