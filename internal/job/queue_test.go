package job_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/job"
)

const kind job.Kind = "work"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, d *db.DB, c clock.Clock, sole bool) *job.Queue {
	t.Helper()
	q, err := job.Open(context.Background(), job.Config{DB: d, Clock: c, Sole: sole})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func enqueue(t testing.TB, q *job.Queue, id string, at time.Time) {
	t.Helper()
	update(t, q, func(ctx context.Context, tx *db.Tx) error {
		return q.Enqueue(ctx, tx, job.Job{Kind: kind, Account: "111111111111", Region: "us-east-1", ID: id, NotBefore: at})
	})
}

func update(t testing.TB, q *job.Queue, fn func(context.Context, *db.Tx) error) {
	t.Helper()
	if err := q.DB.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func claim(t testing.TB, q *job.Queue) (job.Lease, bool) {
	t.Helper()
	l, ok, err := q.Claim(context.Background(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return l, ok
}

func mustClaim(t testing.TB, q *job.Queue, id string) job.Lease {
	t.Helper()
	l, ok := claim(t, q)
	if !ok || l.ID != id {
		t.Fatalf("claimed %+v %v, want %s", l, ok, id)
	}
	return l
}

func TestJobsAreClaimedOnceInTheOrderTheyAreDue(t *testing.T) {
	t.Parallel()
	dbtest.RunFake(t, start, func(t *testing.T, d *db.DB, c *clock.Fake) {
		q := open(t, d, c, false)
		enqueue(t, q, "later", start.Add(time.Minute))
		enqueue(t, q, "second", start)
		enqueue(t, q, "first", start.Add(-time.Minute))
		enqueue(t, q, "first", start.Add(time.Hour)) // again: stays as it is
		a, b := mustClaim(t, q, "first"), mustClaim(t, q, "second")
		if l, ok := claim(t, q); ok {
			t.Fatalf("claimed %+v before it is due", l)
		}
		if at, ok, err := q.Next(context.Background(), kind); err != nil || !ok || !at.Equal(start.Add(time.Minute)) {
			t.Fatalf("next %v %v %v", at, ok, err)
		}
		c.Advance(time.Minute)
		update(t, q, mustClaim(t, q, "later").Complete)
		update(t, q, a.Complete)
		update(t, q, b.Complete)
		if _, ok := claim(t, q); ok {
			t.Fatal("a finished job was claimed")
		}
	})
}

func TestAFencedOutOwnerRecordsNothing(t *testing.T) {
	t.Parallel()
	dbtest.RunFake(t, start, func(t *testing.T, d *db.DB, c *clock.Fake) {
		ctx := context.Background()
		q, other := open(t, d, c, false), open(t, d, c, false)
		enqueue(t, q, "a", start)
		old := mustClaim(t, q, "a")
		if _, ok := claim(t, other); ok {
			t.Fatal("two leases at once")
		}
		c.Advance(q.LeaseFor - time.Second)
		if _, err := q.Heartbeat(ctx, old); err != nil {
			t.Fatal(err)
		}
		c.Advance(2 * time.Second)
		if _, ok := claim(t, other); ok {
			t.Fatal("a renewed lease was taken over")
		}
		c.Advance(q.LeaseFor)
		if _, ok := claim(t, q); ok {
			t.Fatal("a live worker's own lease ran out for itself")
		}
		now := mustClaim(t, other, "a")
		if now.Fence <= old.Fence || now.Attempt != 2 {
			t.Fatalf("taken over with %+v after %+v", now, old)
		}
		if _, err := q.Heartbeat(ctx, old); !errors.Is(err, job.ErrLost) || !fault.Is(err, fault.Conflict) {
			t.Fatalf("heartbeat of a lost lease: %v", err)
		}
		for name, record := range map[string]func(context.Context, *db.Tx) error{
			"check": old.Check, "complete": old.Complete,
			"retry":   func(ctx context.Context, tx *db.Tx) error { return old.Retry(ctx, tx, tx.Now, "x") },
			"release": func(ctx context.Context, tx *db.Tx) error { return old.Release(ctx, tx, tx.Now) },
			"fail":    func(ctx context.Context, tx *db.Tx) error { return old.Fail(ctx, tx, "x") },
		} {
			if err := d.Update(ctx, record); !errors.Is(err, job.ErrLost) {
				t.Errorf("%s with a lost lease: %v", name, err)
			}
		}
		update(t, q, now.Check)
		update(t, q, now.Complete)
		// The same name again is another job: no lease of the former life fits it.
		enqueue(t, q, "a", start)
		again := mustClaim(t, q, "a")
		if again.Fence <= now.Fence {
			t.Fatalf("fence %d after %d", again.Fence, now.Fence)
		}
	})
}

func TestALoneProcessTakesUpItsJobsAtOnceAfterACrash(t *testing.T) {
	t.Parallel()
	dbtest.RunFake(t, start, func(t *testing.T, d *db.DB, c *clock.Fake) {
		q := open(t, d, c, true)
		enqueue(t, q, "a", start)
		old := mustClaim(t, q, "a")
		again := open(t, d, c, true)
		l := mustClaim(t, again, "a")
		if l.Fence <= old.Fence {
			t.Fatalf("fence %d after %d", l.Fence, old.Fence)
		}
		if err := d.Update(context.Background(), old.Complete); !errors.Is(err, job.ErrLost) {
			t.Fatalf("the crashed owner's lease: %v", err)
		}
	})
}

func TestRetryReleaseHurryCancelDrop(t *testing.T) {
	t.Parallel()
	dbtest.RunFake(t, start, func(t *testing.T, d *db.DB, c *clock.Fake) {
		ctx := context.Background()
		q := open(t, d, c, false)
		enqueue(t, q, "a", start)
		l := mustClaim(t, q, "a")
		update(t, q, func(ctx context.Context, tx *db.Tx) error {
			return l.Retry(ctx, tx, tx.Now.Add(time.Hour), "disk full")
		})
		if _, ok := claim(t, q); ok {
			t.Fatal("claimed before its retry")
		}
		update(t, q, func(ctx context.Context, tx *db.Tx) error { return q.Hurry(ctx, tx, kind, l.Account, "a") })
		l = mustClaim(t, q, "a")
		if l.Attempt != 2 || l.LastError != "disk full" {
			t.Fatalf("second attempt %+v", l)
		}
		update(t, q, func(ctx context.Context, tx *db.Tx) error { return l.Release(ctx, tx, tx.Now) })
		if l = mustClaim(t, q, "a"); l.Attempt != 2 {
			t.Fatalf("a released attempt counts: %+v", l)
		}
		update(t, q, func(ctx context.Context, tx *db.Tx) error { return q.Cancel(ctx, tx, kind, l.Account, "a") })
		if cancelled, err := q.Heartbeat(ctx, l); err != nil || !cancelled {
			t.Fatalf("heartbeat %v %v", cancelled, err)
		}
		update(t, q, func(ctx context.Context, tx *db.Tx) error { return q.Drop(ctx, tx, kind, l.Account, "a") })
		if err := d.Update(ctx, l.Complete); !errors.Is(err, job.ErrLost) {
			t.Fatalf("a dropped job was completed: %v", err)
		}
		enqueue(t, q, "b", start)
		b := mustClaim(t, q, "b")
		update(t, q, func(ctx context.Context, tx *db.Tx) error { return b.Fail(ctx, tx, "no way") })
		c.Advance(24 * time.Hour)
		if _, ok := claim(t, q); ok {
			t.Fatal("a parked job was claimed")
		}
	})
}

// Several nodes with random pauses beyond their leases: every job has exactly one recorded effect, and none is left.
func TestPausedOwnersNeverDoubleAnEffect(t *testing.T) {
	t.Parallel()
	dbtest.RunFake(t, start, func(t *testing.T, d *db.DB, c *clock.Fake) {
		ctx := context.Background()
		queues := []*job.Queue{open(t, d, c, false), open(t, d, c, false), open(t, d, c, false)}
		update(t, queues[0], func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.Exec(ctx, "CREATE TABLE effect (id TEXT NOT NULL, fence BIGINT NOT NULL)")
			return err
		})
		const jobs = 60
		for i := range jobs {
			enqueue(t, queues[0], fmt.Sprint(i), start)
		}
		var mu sync.Mutex
		finished, doubled := 0, 0
		var wg sync.WaitGroup
		for n, q := range queues {
			wg.Go(func() {
				for step := n * 7919; ; step++ {
					mu.Lock()
					done := finished == jobs
					mu.Unlock()
					if done {
						return
					}
					l, ok, err := q.Claim(ctx, kind)
					if err != nil || !ok { // nothing due for this node: the pauses of the others must run out
						c.Advance(q.LeaseFor / 2)
						continue
					}
					if (step*2654435761)%5 < 2 { // this owner sleeps beyond its lease, others may go on meanwhile
						c.Advance(q.LeaseFor + time.Second)
						q.Claim(ctx, "nothing")
					}
					for { // a serialisation storm may exhaust the retries of a transaction
						err = d.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
							if _, err := tx.Exec(ctx, "INSERT INTO effect (id, fence) VALUES (?, ?)", l.ID, l.Fence); err != nil {
								return err
							}
							return l.Complete(ctx, tx)
						})
						if err == nil || errors.Is(err, job.ErrLost) {
							break
						}
					}
					mu.Lock()
					if err == nil {
						finished++
					} else {
						doubled++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		var effects, distinct int
		d.View(ctx, func(ctx context.Context, tx *db.Tx) error {
			return tx.QueryRow(ctx, "SELECT count(*), count(DISTINCT id) FROM effect").Scan(&effects, &distinct)
		})
		if effects != jobs || distinct != jobs {
			t.Fatalf("%d effects of %d jobs for %d jobs", effects, distinct, jobs)
		}
		t.Logf("%d fenced out attempts", doubled)
	})
}
