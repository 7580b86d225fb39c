// Package runner holds the bodies of jobs: what really happens when a backup, copy, restore or deletion job runs.
//
// It is the one place where services, engine and agents meet. It decides nothing about jobs' states (backup does), about
// permissions (authz does) or about bytes (repo does); it puts them in order, asks every question before it acts, and
// turns whatever went wrong into a message that says what to do next.
//
// Invariants:
//   - Nothing is read from a resource or a vault before the passed role and the keys have been asked, in every attempt.
//   - A copy talks to a recovery point on one side and a repository on the other; nothing else of the two sides is assumed
//     to be shared.
//   - A body may run again from the start at any time: recovery point ids derive from the job's, and committing one that
//     is committed already gives the same receipt.
//
// Start reading at Runner.Handlers, then backup.go, copy.go, restore.go; what a copy needs to be allowed is in package
// preflight.
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/agent"
	"strongroom/internal/authz"
	"strongroom/internal/backup"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/job"
	"strongroom/internal/kms"
	"strongroom/internal/preflight"
)

// Config is what a Runner needs; all fields but Log and those of Prune are required.
type Config struct {
	Backup *backup.Service
	IAM    *iam.Service
	KMS    *kms.Service
	Authz  *authz.Authorizer
	Agents *agent.Hub
	Vaults *Vaults
	// Preflight holds what a copy depends on.
	Preflight *preflight.Checker
	Clock     clock.Clock
	Time      *clock.Trusted // decides about deletion
	// PruneGrace is how long packs wait in the trash, PruneApproved the plans that a person approved (deletion.go).
	PruneGrace    time.Duration
	PruneApproved []string
	Log           *slog.Logger
}

// Runner executes jobs. Safe for concurrent use.
type Runner struct{ Config }

// New returns a runner.
func New(c Config) *Runner {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Runner{c}
}

// Handlers is the table of job bodies; workers bounds how many of each kind run at once.
func (r *Runner) Handlers(workers int) map[job.Kind]job.Handler {
	give := func(end endFunc) func(context.Context, job.Lease, error) error {
		return func(ctx context.Context, l job.Lease, reason error) error {
			return end(ctx, l, backup.StateFailed, "The job failed after several attempts: "+r.explain(l, reason)+" "+nextStep, "")
		}
	}
	return map[job.Kind]job.Handler{
		backup.BackupKind:  {Run: r.logged(r.backup), GiveUp: give(r.endBackup), Workers: workers, MaxAttempts: 5},
		backup.CopyKind:    {Run: r.logged(r.copy), GiveUp: give(r.endCopy), Workers: workers, MaxAttempts: 5},
		backup.RestoreKind: {Run: r.logged(r.restore), GiveUp: give(r.endRestore), Workers: workers, MaxAttempts: 3},
		backup.DeleteKind:  {Run: r.logged(r.delete), Workers: 1, MaxAttempts: 1 << 30},
	}
}

// logged writes a line when an attempt begins and when it ends, with what names the job.
func (r *Runner) logged(run func(context.Context, job.Lease) error) func(context.Context, job.Lease) error {
	return func(ctx context.Context, l job.Lease) error {
		log := r.Log.With("kind", string(l.Kind), "account", l.Account, "region", l.Region, "job", l.ID, "attempt", l.Attempt)
		log.Info("job attempt began")
		begun := r.Clock.Now()
		err := run(ctx, l)
		log.Info("job attempt ended", "duration", r.Clock.Now().Sub(begun), "err", err)
		return err
	}
}

const nextStep = "See the node's log for this job id; start the job again when the cause is mended."

// endFunc ends a job of one kind in a state other than success. Copy jobs know FAILED only, and restore jobs no category.
type endFunc func(ctx context.Context, l job.Lease, state backup.State, message, category string) error

func (r *Runner) endRestore(ctx context.Context, l job.Lease, state backup.State, message, _ string) error {
	return r.Backup.EndRestore(ctx, l, state, message)
}

// errTooLate is the cause of a body's context when its completion window is over.
var errTooLate = errors.New("completion window is over")

// refusal is a reason to end a job as FAILED at once: no retry can cure it without somebody changing something.
type refusal struct {
	message  string
	category string
}

func (r *refusal) Error() string { return r.message }

func refuse(category, format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), category}
}

// settle ends a job whose body returned err, or hands err to the queue for another attempt.
func (r *Runner) settle(ctx context.Context, l job.Lease, err error, end endFunc) error {
	// The body's context may be over for the very reason that ends the job; recording that must still work.
	free, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	cause := context.Cause(ctx)
	var no *refusal
	switch {
	case errors.Is(cause, job.ErrLost) || errors.Is(cause, job.ErrStopping):
		return cause
	case errors.Is(cause, job.ErrCancelled):
		return end(free, l, backup.StateAborted, "", "")
	case errors.Is(cause, errTooLate):
		return end(free, l, backup.StateExpired, "Backup job expired before completion. It was cancelled when its completion window was over; allow more time with CompletionWindowMinutes.", "")
	case errors.As(err, &no):
		return end(free, l, backup.StateFailed, no.message, no.category)
	case err == nil || errors.Is(err, job.ErrEnded):
		return err
	}
	if k := fault.As(err); k != nil {
		switch k.Kind {
		case fault.Corrupt:
			return end(free, l, backup.StateFailed, "Stored data failed authentication: "+k.Msg+". Nothing that depends on it was used. Run a verification of the vault and restore from another copy.", "")
		case fault.Denied, fault.Invalid, fault.NotFound, fault.Limit, fault.Unsupported:
			return end(free, l, backup.StateFailed, k.Msg, "")
		case fault.Conflict:
			return err // the lease is gone: another worker has the job
		}
	}
	return err
}

// explain is what a person is told about an error: the text of a domain error, never the details of an internal one.
func (r *Runner) explain(l job.Lease, err error) string {
	if f := fault.As(err); f != nil {
		return f.Msg + "."
	}
	r.Log.Error("job gave up", "kind", string(l.Kind), "account", l.Account, "job", l.ID, "err", err)
	return "an internal error occurred."
}

// until returns ctx, cancelled with errTooLate when the clock reaches at.
func (r *Runner) until(ctx context.Context, at time.Time) (context.Context, context.CancelFunc) {
	if at.IsZero() {
		return context.WithCancel(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-r.Clock.After(at.Sub(r.Clock.Now())):
			cancel(errTooLate)
		case <-stop:
		case <-ctx.Done():
		}
	}()
	return ctx, func() { close(stop); cancel(nil) }
}

// env is the environment of calls that the service makes for a job.
func (r *Runner) env(region, jobID string) access.Env { return r.Preflight.Env(region, jobID) }

// servicePrincipal is backup.amazonaws.com acting as itself, under a vault's grant on its key.
func servicePrincipal() access.Principal { return preflight.ServicePrincipal() }

// roleSession assumes the role that was passed to a job.
func (r *Runner) roleSession(ctx context.Context, roleARN, session, account, source string) (access.Principal, error) {
	p, err := r.IAM.AssumeForService(ctx, roleARN, preflight.Service, session, account, source)
	if err == nil {
		return p, nil
	}
	if f := fault.As(err); f != nil {
		return p, refuse(preflight.AccessDenied, "%s", f.Msg)
	}
	return p, err
}
