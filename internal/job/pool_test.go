package job_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/job"
)

func runOnce(t testing.TB, p *job.Pool) bool {
	t.Helper()
	ran, err := p.RunOnce(context.Background(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return ran
}

func count(t testing.TB, d *db.DB, state string) (n int) {
	t.Helper()
	if err := d.View(context.Background(), func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM job WHERE state = ?", state).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOutcomesOfAHandler(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, c := range []struct {
		name    string
		run     func(n int) error
		runs    int    // attempts until the job has left the queue, or what stays as state
		left    string // state of the row afterwards; "" for none
		givesUp bool
	}{
		{name: "done", run: func(int) error { return nil }, runs: 1},
		{name: "ended already", run: func(int) error { return job.ErrEnded }, runs: 1},
		{name: "retried", run: func(n int) error {
			if n < 3 {
				return boom
			}
			return nil
		}, runs: 3},
		{name: "permanent", run: func(int) error { return job.Permanent(boom) }, runs: 1, givesUp: true},
		{name: "given up", run: func(int) error { return boom }, runs: 4, givesUp: true},
		{name: "panics", run: func(int) error { panic("ouch") }, runs: 4, givesUp: true},
		{name: "waits without counting", run: func(n int) error {
			if n < 9 {
				return &job.Later{At: start, Reason: "busy"}
			}
			return nil
		}, runs: 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dbtest.RunFake(t, start, func(t *testing.T, d *db.DB, k *clock.Fake) {
				q := open(t, d, k, false)
				n, gaveUp := 0, false
				p := &job.Pool{Queue: q, Handlers: map[job.Kind]job.Handler{kind: {
					MaxAttempts: 4,
					Run:         func(context.Context, job.Lease) error { n++; return c.run(n) },
					GiveUp:      func(ctx context.Context, l job.Lease, reason error) error { gaveUp = true; return nil },
				}}}
				enqueue(t, q, "a", start)
				for range 20 {
					runOnce(t, p)
					k.Advance(11 * time.Minute)
				}
				if n != c.runs || gaveUp != c.givesUp {
					t.Fatalf("%d attempts, gave up %v; want %d, %v", n, gaveUp, c.runs, c.givesUp)
				}
				if left := count(t, d, "ready") + count(t, d, "leased") + count(t, d, "failed"); left != 0 {
					t.Fatalf("%d rows left", left)
				}
			})
		})
	}
}

func TestAHandlerThatKillsItsProcessIsGivenUp(t *testing.T) {
	t.Parallel()
	d, k := fakeSQLite(t)
	enqueue(t, open(t, d, k, true), "a", start)
	for range 3 { // claimed, and the process is gone
		claim(t, open(t, d, k, true))
	}
	q, gaveUp := open(t, d, k, true), false
	p := &job.Pool{Queue: q, Handlers: map[job.Kind]job.Handler{kind: {
		MaxAttempts: 3,
		Run:         func(context.Context, job.Lease) error { t.Error("ran again"); return nil },
		GiveUp:      func(context.Context, job.Lease, error) error { gaveUp = true; return nil },
	}}}
	if !runOnce(t, p) || !gaveUp {
		t.Fatal("not given up")
	}
}

func TestCancellationReachesARunningHandlerAtOnce(t *testing.T) {
	t.Parallel()
	dbtest.RunFake(t, start, func(t *testing.T, d *db.DB, k *clock.Fake) {
		q := open(t, d, k, false)
		enqueue(t, q, "a", start)
		running := make(chan struct{})
		var cause error
		p := &job.Pool{Queue: q, Handlers: map[job.Kind]job.Handler{kind: {Run: func(ctx context.Context, l job.Lease) error {
			close(running)
			<-ctx.Done()
			cause = context.Cause(ctx)
			return d.Update(context.WithoutCancel(ctx), l.Complete)
		}}}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.RunOnce(context.Background(), kind)
		}()
		<-running
		for stopped := false; !stopped; { // on PostgreSQL the signal may outrun the commit; asking again is harmless
			update(t, q, func(ctx context.Context, tx *db.Tx) error { return q.Cancel(ctx, tx, kind, "111111111111", "a") })
			select {
			case <-done:
				stopped = true
			case <-time.After(50 * time.Millisecond):
			}
		}
		if !errors.Is(cause, job.ErrCancelled) {
			t.Fatalf("cause %v", cause)
		}
	})
}

func TestAnOrderlyStopGivesJobsBack(t *testing.T) {
	t.Parallel()
	dbtest.RunFake(t, start, func(t *testing.T, d *db.DB, k *clock.Fake) {
		q := open(t, d, k, false)
		enqueue(t, q, "a", start)
		running := make(chan struct{})
		p := &job.Pool{Queue: q, Handlers: map[job.Kind]job.Handler{kind: {Workers: 2, Run: func(ctx context.Context, l job.Lease) error {
			close(running)
			<-ctx.Done()
			return context.Cause(ctx)
		}}}}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		<-running
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if l := mustClaim(t, open(t, d, k, false), "a"); l.Attempt != 1 {
			t.Fatalf("the stop counts as an attempt: %+v", l)
		}
	})
}

func TestWorkersDrainTheQueueWithoutPolling(t *testing.T) {
	t.Parallel()
	d, k := fakeSQLite(t) // a clock that stands still: only wake-ups make progress
	q := open(t, d, k, false)
	const jobs = 50
	done := make(chan string, jobs)
	p := &job.Pool{Queue: q, Handlers: map[job.Kind]job.Handler{kind: {Workers: 4, Run: func(_ context.Context, l job.Lease) error {
		done <- l.ID
		return nil
	}}}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	for i := range jobs {
		enqueue(t, q, string(rune('A'+i)), start)
	}
	seen := map[string]bool{}
	for range jobs {
		if id := <-done; seen[id] {
			t.Fatalf("%s ran twice", id)
		} else {
			seen[id] = true
		}
	}
	stop()
	<-ended
}

func TestBackoffGrowsToTenMinutes(t *testing.T) {
	t.Parallel()
	last := time.Duration(0)
	for n := 1; n < 40; n++ {
		d := job.Backoff(n, "job")
		if d < last || d > 10*time.Minute || d < time.Second {
			t.Fatalf("attempt %d waits %v after %v", n, d, last)
		}
		last = d
	}
	if last < 7*time.Minute {
		t.Fatalf("ends at %v", last)
	}
}

func fakeSQLite(t *testing.T) (*db.DB, *clock.Fake) {
	k := clock.NewFake(start)
	return dbtest.Open(t, t.TempDir()+"/catalog.db", k.Now), k
}
