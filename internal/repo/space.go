package repo

import (
	"context"
	"errors"
	"math/bits"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// minReserve is the least space that is kept free for what frees space: entries of the journal and of the index.
const minReserve = 256 << 10

// full reports whether an operation failed because there is no space left.
func full(err error) bool {
	return fault.Is(err, fault.Limit) && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT))
}

// inReserve runs what makes room or says what must be kept. When the disk is full it gives the reserve back and runs it once
// more. op leaves nothing behind that keeps it from being repeated.
func (v *vault) inReserve(ctx context.Context, op func() error) error {
	err := op()
	x, ok := v.store.(blob.Reserver)
	if !ok || !full(err) {
		return err
	}
	if none := x.Reserve(ctx, 0); none != nil {
		return errors.Join(err, none)
	}
	return op()
}

// reserve sees to it that there is a reserve in proportion to what a Prune would have to write. Where there is no space for
// one it does nothing: then backups fail, too, and the next Prune tries again.
func (v *vault) reserve(ctx context.Context) {
	x, ok := v.store.(blob.Reserver)
	if !ok {
		return
	}
	v.journal.mu.Lock()
	points := len(v.journal.points)
	v.journal.mu.Unlock()
	n := minReserve + 128*uint64(points) + v.index.Entries()/8 // a pack has hundreds of entries
	_ = x.Reserve(ctx, 1<<bits.Len64(n-1))
}
