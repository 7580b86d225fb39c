package job

import (
	"context"
	"time"

	"strongroom/internal/db"
)

const current = " WHERE kind = ? AND account = ? AND id = ? AND fence = ? AND owner = ? AND state = 'leased'"

func (l Lease) key() []any { return []any{string(l.Kind), l.Account, l.ID, l.Fence, l.Owner} }

// Check makes the transaction depend on the lease being current: it fails with fault.Conflict when another worker has
// the job, and the caller must roll back. Every transaction that records an effect of the job calls it, first.
func (l Lease) Check(ctx context.Context, tx *db.Tx) error {
	// A write, not a read: under snapshot isolation a read would not collide with a claim that commits meanwhile.
	return l.update(ctx, tx, "UPDATE job SET fence = fence"+current)
}

// Complete removes the job: its object has ended. Like Check, it fails when the lease is not current.
func (l Lease) Complete(ctx context.Context, tx *db.Tx) error {
	return l.update(ctx, tx, "DELETE FROM job"+current)
}

// Retry gives the job back, to be tried again at at.
func (l Lease) Retry(ctx context.Context, tx *db.Tx, at time.Time, reason string) error {
	return l.update(ctx, tx, "UPDATE job SET state = 'ready', owner = '', lease_until = 0, not_before = ?, last_error = ?"+current, db.Micros(at), clip(reason))
}

// Release gives the job back like Retry, without counting the attempt: it waited, or the worker stops.
func (l Lease) Release(ctx context.Context, tx *db.Tx, at time.Time) error {
	return l.update(ctx, tx, "UPDATE job SET state = 'ready', owner = '', lease_until = 0, attempts = attempts - 1, not_before = ?"+current, db.Micros(at))
}

// Fail parks the job: it stays in the table with its reason for an operator to see and is never claimed again. It is for
// work whose object cannot be ended; handlers that have ended theirs call Complete.
func (l Lease) Fail(ctx context.Context, tx *db.Tx, reason string) error {
	return l.update(ctx, tx, "UPDATE job SET state = 'failed', owner = '', lease_until = 0, last_error = ?"+current, clip(reason))
}

func (l Lease) update(ctx context.Context, tx *db.Tx, query string, args ...any) error {
	n, err := tx.Exec(ctx, query, append(args, l.key()...)...)
	if err != nil {
		return err
	}
	if n == 0 {
		return lost(l)
	}
	return nil
}

func clip(s string) string {
	const most = 2000
	if len(s) > most {
		return s[:most]
	}
	return s
}
