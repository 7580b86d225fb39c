package repo

import (
	"errors"
	"syscall"

	"strongroom/internal/fault"
)

// unreadable reports whether an error is damage: what was read is not what was written, or the medium gives it back no more.
// Everything else (a cancelled operation, a store that is away) says nothing about the data.
func unreadable(err error) bool {
	return fault.Is(err, fault.Corrupt) || errors.Is(err, syscall.EIO)
}
