// Package job is the durable queue: rows of one table that workers lease, with a fencing number against owners that come
// back from the dead.
//
// A job is what remains to be done for an API object (a backup job, a copy job, ...), named by kind, account and id; the
// object's state and history live in its own service's table. A row is enqueued in the transaction that makes the object
// and removed in the transaction that ends it, so no object waits without a row and no work is done for a finished one.
//
// Invariants:
//   - At most one lease of a job is current: the one with the highest fence. Every transaction that records an effect calls
//     Lease.Check (Complete, Retry and Fail do) and is rolled back when the lease is no longer current.
//   - A job is lost only with its row: whatever happens to a worker, the row is claimed again once the lease runs out.
//   - The queue never decides that work is finished; handlers do, inside their own transaction.
//
// It is not a scheduler (backup.RunSchedules is) and knows nothing of what the jobs do.
//
// Start reading at Queue.Enqueue and Lease, then Pool (pool.go).
package job

import (
	"errors"
	"time"
)

// Kind says which handler runs a job.
type Kind string

// Job names a piece of work. Kind, Account and ID identify it.
type Job struct {
	Kind      Kind
	Account   string
	Region    string
	ID        string
	NotBefore time.Time // zero: at once
}

// Lease is the right to work on a job for a while. It is a value: copies are the same lease.
type Lease struct {
	Kind    Kind
	Account string
	Region  string
	ID      string
	Owner   string
	Fence   int64
	// Attempt counts the executions that began, this one included. Waiting and orderly stops do not count.
	Attempt int
	// LastError is why the previous attempt ended, "" for the first.
	LastError string
}

// Why a handler's context was cancelled: context.Cause returns one of these.
var (
	// ErrCancelled: somebody asked for the job to stop (Cancel). The handler ends the job.
	ErrCancelled = errors.New("job: cancelled on request")
	// ErrLost: the lease is no longer current. The handler returns without recording anything; another worker has the job.
	ErrLost = errors.New("job: lease lost")
	// ErrStopping: the process is shutting down. The handler returns soon; the job is given back and runs again elsewhere.
	ErrStopping = errors.New("job: worker is stopping")
)

// ErrEnded is returned by a handler, or by what it calls, when the job has been ended already in a transaction of its own
// (expired, refused): there is nothing left to do. The pool treats it as success.
var ErrEnded = errors.New("job: already ended")

// Permanent marks an error that no retry can cure: the pool calls the handler's GiveUp at once.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// IsPermanent reports whether err was marked with Permanent.
func IsPermanent(err error) bool {
	var p *permanent
	return errors.As(err, &p)
}

// Later is returned by a handler when the job cannot run yet through no fault of its own, for instance because another
// job works on the same resource. It is tried again at At, and the attempt does not count.
type Later struct {
	At     time.Time
	Reason string
}

func (l *Later) Error() string { return "job: not yet: " + l.Reason }
