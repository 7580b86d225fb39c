package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"strongroom/internal/backup"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/job"
)

// ending records how a job was ended.
type ending struct {
	called            bool
	state             backup.State
	message, category string
	ctx               error // of the context that end was given
}

func (e *ending) end(ctx context.Context, _ job.Lease, state backup.State, message, category string) error {
	*e = ending{true, state, message, category, ctx.Err()}
	return nil
}

// Every way in which a body can come back leads either to an end of the job that says why, or back to the queue.
func TestSettle(t *testing.T) {
	t.Parallel()
	disk := errors.New("read /dev/sda: input/output error")
	for name, c := range map[string]struct {
		cause    error        // of the body's context; nil: it is not over
		err      error        // what the body returned
		state    backup.State // "" when the job must not be ended
		says     string
		category string
		back     error // what the queue gets
	}{
		"success":                         {},
		"ended already":                   {err: fmt.Errorf("begin: %w", job.ErrEnded), back: job.ErrEnded},
		"refused":                         {err: fmt.Errorf("open: %w", refuse("KMS_ERROR", "key %s", "k")), state: backup.StateFailed, says: "key k", category: "KMS_ERROR"},
		"cancelled":                       {cause: job.ErrCancelled, err: context.Canceled, state: backup.StateAborted},
		"cancelled, and refused":          {cause: job.ErrCancelled, err: refuse("x", "y"), state: backup.StateAborted},
		"cancelled as it was done":        {cause: job.ErrCancelled, state: backup.StateAborted},
		"too late":                        {cause: errTooLate, err: context.Canceled, state: backup.StateExpired, says: "Backup job expired before completion."},
		"lease lost":                      {cause: job.ErrLost, err: context.Canceled, back: job.ErrLost},
		"lease lost, and refused":         {cause: job.ErrLost, err: refuse("x", "y"), back: job.ErrLost},
		"node stops":                      {cause: job.ErrStopping, err: context.Canceled, back: job.ErrStopping},
		"node stops as it was done":       {cause: job.ErrStopping, back: job.ErrStopping},
		"data that is not what it was":    {err: fmt.Errorf("pack: %w", fault.New(fault.Corrupt, "pack 7 is altered")), state: backup.StateFailed, says: "Stored data failed authentication: pack 7 is altered."},
		"denied":                          {err: fault.New(fault.Denied, "no"), state: backup.StateFailed, says: "no"},
		"invalid":                         {err: fault.New(fault.Invalid, "bad"), state: backup.StateFailed, says: "bad"},
		"not found":                       {err: fault.New(fault.NotFound, "gone"), state: backup.StateFailed, says: "gone"},
		"limit":                           {err: fault.New(fault.Limit, "full"), state: backup.StateFailed, says: "full"},
		"unsupported":                     {err: fault.New(fault.Unsupported, "new"), state: backup.StateFailed, says: "new"},
		"somebody else has the job":       {err: fault.New(fault.Conflict, "fence"), back: fault.New(fault.Conflict, "fence")},
		"something is away for a while":   {err: fault.New(fault.Unavailable, "catalog"), back: fault.New(fault.Unavailable, "catalog")},
		"a fault of the machine":          {err: disk, back: disk},
		"a fault of the machine, wrapped": {err: fmt.Errorf("backup: %w", disk), back: disk},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if c.cause != nil {
				cancel(c.cause)
			}
			var e ending
			back := New(Config{}).settle(ctx, job.Lease{}, c.err, e.end)
			if e.called != (c.state != "") || e.state != c.state || e.category != c.category || !strings.HasPrefix(e.message, c.says) {
				t.Errorf("ended %+v", e)
			}
			if e.ctx != nil {
				t.Errorf("the end could not be recorded: %v", e.ctx)
			}
			same := errors.Is(back, c.back)
			if f := fault.As(c.back); f != nil {
				same = fault.Is(back, f.Kind)
			}
			if !same {
				t.Errorf("the queue gets %v, want %v", back, c.back)
			}
		})
	}
}

func TestCompletionWindow(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	r := New(Config{Clock: fake})
	ctx, done := r.until(t.Context(), fake.Now().Add(time.Hour))
	defer done()
	for range 59 {
		fake.Advance(time.Minute)
	}
	if ctx.Err() != nil {
		t.Fatal("over before its time")
	}
	for ctx.Err() == nil { // the goroutine may not have asked the clock yet
		fake.Advance(time.Minute)
	}
	if !errors.Is(context.Cause(ctx), errTooLate) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
	open, done := r.until(t.Context(), time.Time{})
	fake.Advance(1000 * time.Hour)
	if open.Err() != nil {
		t.Error("a job without window was ended")
	}
	done()
	early, done := r.until(t.Context(), fake.Now().Add(time.Hour))
	done()
	if !errors.Is(context.Cause(early), context.Canceled) {
		t.Errorf("after the body: %v", context.Cause(early))
	}
}

// What people are told of an internal error is that there was one; the rest is in the log.
func TestExplainKeepsInternalsOut(t *testing.T) {
	t.Parallel()
	r := New(Config{})
	if got := r.explain(job.Lease{}, errors.New("dial /var/lib/secret")); strings.Contains(got, "secret") {
		t.Errorf("told %q", got)
	}
	if got := r.explain(job.Lease{}, fmt.Errorf("x: %w", fault.New(fault.Unavailable, "the catalog is away"))); got != "the catalog is away." {
		t.Errorf("told %q", got)
	}
}
