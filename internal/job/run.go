package job

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"strongroom/internal/db"
)

// Run works until ctx ends, then cancels the handlers with ErrStopping, waits for them and gives their leases back. It
// returns nil after an orderly stop.
func (p *Pool) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for kind, h := range p.Handlers {
		for range max(h.Workers, 1) {
			wg.Go(func() { p.work(ctx, kind) })
		}
	}
	wg.Wait()
	return nil
}

// work is one worker: claim, execute, wait.
func (p *Pool) work(ctx context.Context, kind Kind) {
	poll := p.Poll
	if poll <= 0 {
		poll = time.Second
	}
	for ctx.Err() == nil {
		ran, err := p.RunOnce(ctx, kind)
		if err != nil && ctx.Err() == nil {
			p.Queue.Log.Error("job queue", "kind", string(kind), "err", err)
		}
		if ran && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-p.Queue.Woken(kind):
		case <-p.Queue.Clock.After(poll):
		}
	}
}

// RunOnce claims one due job of the kind and executes it; ran is false when none was due. err is a failure of the queue
// itself, never of the handler.
func (p *Pool) RunOnce(ctx context.Context, kind Kind) (ran bool, err error) {
	l, ok, err := p.Queue.Claim(ctx, kind)
	if err != nil || !ok {
		return false, err
	}
	p.Queue.Wake(kind) // there may be more: one signal wakes one worker, which wakes the next
	return true, p.execute(ctx, l)
}

func (p *Pool) execute(ctx context.Context, l Lease) error {
	h := p.Handlers[l.Kind]
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(ErrStopping) })
	beats, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		p.beat(context.WithoutCancel(ctx), l, beats, cancel)
	}()
	var err error
	if most := h.attempts(); l.Attempt > most { // only a handler that takes the process down with it gets here
		err = Permanent(fmt.Errorf("gave up after %d attempts: %s", most, l.LastError))
	} else {
		err = guarded(work, h.Run, l)
	}
	cause := context.Cause(work)
	stop()
	cancel(nil)
	err = p.settle(context.WithoutCancel(ctx), h, l, err, cause)
	close(beats)
	<-ended
	if err != nil {
		p.Queue.disown()
	}
	return err
}

// guarded turns a panic of the handler into an error.
func guarded(ctx context.Context, run func(context.Context, Lease) error, l Lease) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return run(ctx, l)
}

// beat renews the lease until done, also while a cancelled handler cleans up, and cancels the work when it must stop.
func (p *Pool) beat(ctx context.Context, l Lease, done <-chan struct{}, cancel context.CancelCauseFunc) {
	poke := p.Queue.watch(l)
	defer p.Queue.unwatch(l, poke)
	for {
		select {
		case <-done:
			return
		case <-poke:
		case <-p.Queue.Clock.After(p.Queue.LeaseFor / 4):
		}
		cancelled, err := p.Queue.Heartbeat(ctx, l)
		switch {
		case errors.Is(err, ErrLost):
			cancel(ErrLost)
			return
		case err != nil:
			p.Queue.Log.Warn("job heartbeat", "kind", string(l.Kind), "job", l.ID, "err", err) // the next one may succeed
		case cancelled:
			cancel(ErrCancelled)
		}
	}
}

// settle records the outcome. The transaction of the handler may have completed the lease already; then there is nothing
// to record.
func (p *Pool) settle(ctx context.Context, h Handler, l Lease, err, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var later *Later
	var record func(ctx context.Context, tx *db.Tx) error
	switch {
	case err == nil || errors.Is(err, ErrEnded):
		record = l.Complete
	case errors.Is(err, ErrLost) || errors.Is(cause, ErrLost):
		return nil
	case errors.Is(cause, ErrStopping):
		record = func(ctx context.Context, tx *db.Tx) error { return l.Release(ctx, tx, tx.Now) }
	case errors.As(err, &later):
		record = func(ctx context.Context, tx *db.Tx) error { return l.Release(ctx, tx, later.At) }
	default:
		p.Queue.Log.Warn("job attempt failed", "kind", string(l.Kind), "account", l.Account, "job", l.ID, "attempt", l.Attempt, "err", err)
		if (IsPermanent(err) || l.Attempt >= h.attempts()) && h.GiveUp != nil {
			giveUp := guarded(ctx, func(ctx context.Context, l Lease) error { return h.GiveUp(ctx, l, err) }, l)
			if giveUp == nil || errors.Is(giveUp, ErrEnded) || errors.Is(giveUp, ErrLost) {
				record = l.Complete
				break
			}
			p.Queue.Log.Error("job cannot be ended", "kind", string(l.Kind), "account", l.Account, "job", l.ID, "err", giveUp)
		} else if IsPermanent(err) {
			record = func(ctx context.Context, tx *db.Tx) error { return l.Fail(ctx, tx, err.Error()) }
			break
		}
		record = func(ctx context.Context, tx *db.Tx) error {
			return l.Retry(ctx, tx, tx.Now.Add(Backoff(l.Attempt, l.ID)), err.Error())
		}
	}
	err = p.Queue.DB.Update(ctx, record)
	if errors.Is(err, ErrLost) {
		return nil // completed by the handler, dropped, or another worker has it
	}
	return err
}

func (h Handler) attempts() int {
	if h.MaxAttempts > 0 {
		return h.MaxAttempts
	}
	return 10
}

// Backoff is the delay before the next attempt after n failed ones: doubling from 2 s to 10 min, spread by up to a quarter
// so that jobs that failed together do not come back together. The spread is derived from the id, so it is reproducible.
func Backoff(n int, id string) time.Duration {
	d := 10 * time.Minute
	if n = max(n, 1); n < 10 {
		d = min(d, 2*time.Second<<(n-1))
	}
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return d - time.Duration(h%256)*(d/4)/256
}
