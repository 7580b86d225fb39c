package job

import (
	"context"
	"embed"
	"log/slog"
	"sync"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is what a Queue needs; DB and Clock are required.
type Config struct {
	DB    *db.DB
	Clock clock.Clock
	// LeaseFor is how long a lease lasts without a heartbeat; 0 means 30 s. It bounds how long a job of a dead node waits,
	// and it must be several times the longest pause a healthy node makes, or live work is done twice (never recorded
	// twice: the fence sees to that).
	LeaseFor time.Duration
	// Sole says that no other process works on this catalog (always so on SQLite). Opening then gives back every lease that
	// the previous process left behind, so that work goes on at once after a crash.
	Sole bool
	Log  *slog.Logger
}

// Queue hands out jobs. Safe for concurrent use.
type Queue struct {
	Config

	mu      sync.Mutex                  // guards the rest
	owner   string                      // of this process start: a restarted node is another owner
	wake    map[Kind]chan struct{}      // buffered, one pending signal is enough
	running map[[3]string]chan struct{} // by job: makes its next heartbeat come at once
}

// Open brings the table up to date and returns the queue.
func Open(ctx context.Context, c Config) (*Queue, error) {
	if c.LeaseFor <= 0 {
		c.LeaseFor = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := c.DB.Migrate(ctx, "job", migrations); err != nil {
		return nil, err
	}
	q := &Queue{Config: c, owner: ident.UUID(), wake: map[Kind]chan struct{}{}, running: map[[3]string]chan struct{}{}}
	if c.Sole {
		if err := q.giveBackAll(ctx); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (q *Queue) giveBackAll(ctx context.Context) error {
	return q.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE job SET state = 'ready', owner = '', lease_until = 0 WHERE state = 'leased'")
		return err
	})
}

// Enqueue adds a job in the caller's transaction: it exists exactly if that commits. A job that is in the queue already
// stays as it is. The first fence comes from the clock, so that a job which is enqueued again under the same name after it
// ended does not meet an old lease of its former life.
func (q *Queue) Enqueue(ctx context.Context, tx *db.Tx, j Job) error {
	at := j.NotBefore
	if at.IsZero() {
		at = tx.Now
	}
	_, err := tx.Exec(ctx, `INSERT INTO job (kind, account, region, id, state, not_before, owner, fence, lease_until, attempts, cancel, last_error, created)
		VALUES (?, ?, ?, ?, 'ready', ?, '', ?, 0, 0, 0, '', ?) ON CONFLICT (kind, account, id) DO NOTHING`,
		string(j.Kind), j.Account, j.Region, j.ID, db.Micros(at), db.Micros(tx.Now), db.Micros(tx.Now))
	if err == nil {
		q.Wake(j.Kind) // on SQLite the claim waits for this transaction; elsewhere it may come too early and the poll helps
	}
	return err
}

// Hurry makes a waiting job due now, because what it waited for has happened. It does nothing to a job that is not waiting.
func (q *Queue) Hurry(ctx context.Context, tx *db.Tx, kind Kind, account, id string) error {
	_, err := tx.Exec(ctx, "UPDATE job SET not_before = ? WHERE kind = ? AND account = ? AND id = ? AND state = 'ready' AND not_before > ?",
		db.Micros(tx.Now), string(kind), account, id, db.Micros(tx.Now))
	if err == nil {
		q.Wake(kind)
	}
	return err
}

// Cancel asks the current or next attempt of the job to stop: Heartbeat reports it. It is not an error when the job is not
// in the queue any more.
func (q *Queue) Cancel(ctx context.Context, tx *db.Tx, kind Kind, account, id string) error {
	_, err := tx.Exec(ctx, "UPDATE job SET cancel = 1, not_before = CASE WHEN not_before > ? THEN ? ELSE not_before END WHERE kind = ? AND account = ? AND id = ?",
		db.Micros(tx.Now), db.Micros(tx.Now), string(kind), account, id)
	if err == nil {
		q.poke(kind, account, id)
		q.Wake(kind)
	}
	return err
}

// Drop removes a job whatever its state, because its object has been ended by something else than its handler. A handler
// that still runs finds its lease gone.
func (q *Queue) Drop(ctx context.Context, tx *db.Tx, kind Kind, account, id string) error {
	_, err := tx.Exec(ctx, "DELETE FROM job WHERE kind = ? AND account = ? AND id = ?", string(kind), account, id)
	return err
}

// Claim leases the job of the kind that has been due longest; ok is false when none is due.
func (q *Queue) Claim(ctx context.Context, kind Kind) (l Lease, ok bool, err error) {
	lock := ""
	if q.DB.Postgres() {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	owner := q.self()
	err = q.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		ok = false
		now := db.Micros(tx.Now)
		// A lease of this very process never runs out here: after a clock jump the worker is still alive and renews it.
		row := tx.QueryRow(ctx, `UPDATE job SET state = 'leased', owner = ?, fence = fence + 1, attempts = attempts + 1, lease_until = ?
			WHERE (kind, account, id) IN (SELECT kind, account, id FROM job
				WHERE kind = ? AND ((state = 'ready' AND not_before <= ?) OR (state = 'leased' AND lease_until <= ? AND owner <> ?))
				ORDER BY not_before, created, id LIMIT 1`+lock+`)
			RETURNING account, region, id, fence, attempts, last_error`,
			owner, db.Micros(tx.Now.Add(q.LeaseFor)), string(kind), now, now, owner)
		l = Lease{Kind: kind, Owner: owner}
		err := row.Scan(&l.Account, &l.Region, &l.ID, &l.Fence, &l.Attempt, &l.LastError)
		if db.NoRows(err) {
			return nil
		}
		ok = err == nil
		return err
	})
	if err != nil {
		return Lease{}, false, err
	}
	return l, ok, nil
}

// Heartbeat extends the lease and reports whether cancellation was asked for. fault.Conflict means that the lease is lost.
func (q *Queue) Heartbeat(ctx context.Context, l Lease) (cancelled bool, err error) {
	err = q.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		var c int64
		row := tx.QueryRow(ctx, `UPDATE job SET lease_until = ? WHERE kind = ? AND account = ? AND id = ? AND fence = ? AND owner = ? AND state = 'leased' RETURNING cancel`,
			db.Micros(tx.Now.Add(q.LeaseFor)), string(l.Kind), l.Account, l.ID, l.Fence, l.Owner)
		err := row.Scan(&c)
		if db.NoRows(err) {
			return lost(l)
		}
		cancelled = c != 0
		return err
	})
	return cancelled, err
}

// self is the owner of new leases.
func (q *Queue) self() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.owner
}

// disown gives up a lease that could not be given back: later claims have another owner, for which it runs out.
func (q *Queue) disown() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.owner = ident.UUID()
}

// watch returns the channel that poke signals while the job runs here.
func (q *Queue) watch(l Lease) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	ch := make(chan struct{}, 1)
	q.running[[3]string{string(l.Kind), l.Account, l.ID}] = ch
	return ch
}

func (q *Queue) unwatch(l Lease, ch chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := [3]string{string(l.Kind), l.Account, l.ID}
	if q.running[k] == ch { // else a later lease of the job is watched
		delete(q.running, k)
	}
}

func (q *Queue) poke(kind Kind, account, id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case q.running[[3]string{string(kind), account, id}] <- struct{}{}: // a nil channel is never ready
	default:
	}
}

func lost(l Lease) error {
	return fault.New(fault.Conflict, "the lease of %s job %s (fence %d) is no longer current", l.Kind, l.ID, l.Fence).WithCause(ErrLost)
}

// Next returns when the earliest waiting job of the kind becomes due or the earliest foreign lease runs out; ok is false
// when there is none.
func (q *Queue) Next(ctx context.Context, kind Kind) (at time.Time, ok bool, err error) {
	err = q.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		var us int64
		err := tx.QueryRow(ctx, `SELECT at FROM (SELECT CASE WHEN state = 'ready' THEN not_before ELSE lease_until END AS at FROM job
			WHERE kind = ? AND (state = 'ready' OR (state = 'leased' AND owner <> ?))) AS due ORDER BY at LIMIT 1`, string(kind), q.self()).Scan(&us)
		if db.NoRows(err) {
			return nil
		}
		at, ok = db.Time(us), err == nil
		return err
	})
	return at, ok, err
}

// Wake makes idle workers of the kind look at the queue at once. Call it after the commit of a transaction that enqueued;
// it is a hint, without it the job waits for the next poll.
func (q *Queue) Wake(kind Kind) {
	select {
	case q.woken(kind) <- struct{}{}:
	default:
	}
}

// Woken returns the channel that Wake signals: at most one signal is pending, and it wakes one reader.
func (q *Queue) Woken(kind Kind) <-chan struct{} { return q.woken(kind) }

func (q *Queue) woken(kind Kind) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	ch := q.wake[kind]
	if ch == nil {
		ch = make(chan struct{}, 1)
		q.wake[kind] = ch
	}
	return ch
}
