package repo

import (
	"context"
	"time"
)

// Retention returns until when a recovery point is kept (zero: without a date) and whether it is locked. It needs no root key.
// fault.NotFound, fault.Corrupt.
func (r *Repository) Retention(ctx context.Context, id string) (until time.Time, locked bool, err error) {
	_, until, locked, err = r.live(ctx, id)
	return until, locked, err
}
