package job

import (
	"context"
	"time"
)

// Handler does the work of one kind.
type Handler struct {
	// Run does the work of one lease. Outcomes:
	//  1. nil or ErrEnded: the job is done. A handler normally completes it in the transaction that records the result;
	//     if it has not, the pool does.
	//  2. *Later: try again at that time, the attempt does not count.
	//  3. a Permanent error: GiveUp is called.
	//  4. the context was cancelled with ErrStopping or ErrLost: the lease is given back, or is gone already.
	//  5. any other error: try again with growing delay, up to MaxAttempts; then GiveUp is called.
	// A panic counts as 5.
	Run func(ctx context.Context, l Lease) error
	// GiveUp ends the job's object with the reason. It must complete the lease in the same transaction. When it fails, the
	// job is tried again later.
	GiveUp func(ctx context.Context, l Lease, reason error) error
	// Workers is how many jobs of the kind run at once; 0 means 1.
	Workers int
	// MaxAttempts bounds outcome 5; 0 means 10.
	MaxAttempts int
}

// Pool runs the jobs of a queue.
type Pool struct {
	Queue    *Queue
	Handlers map[Kind]Handler
	// Poll is how often idle workers look without having been woken; 0 means 1 s.
	Poll time.Duration
}
