// Package db opens the catalog database and runs transactions in it.
//
// It hides the differences between SQLite (embedded default) and PostgreSQL: one SQL text per statement, written with `?`
// placeholders in the subset both understand (BIGINT, TEXT, BLOB in migrations, ON CONFLICT, RETURNING, no SKIP LOCKED).
// It knows no table: each service owns its migrations and its SQL.
//
// Invariants:
//   - A transaction sees one fixed time, Tx.Now, and that is the only clock inside it. Times are stored as BIGINT
//     microseconds since 1970 (Micros, Time).
//   - When Update returns nil the commit is durable (SQLite: WAL, synchronous=FULL).
//   - Update functions may run more than once (serialisation failures are retried), so they must not have effects outside
//     the transaction.
//
// Start reading at DB.Update.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Config says which database to open.
type Config struct {
	// URL is "postgres://..." or the path of an SQLite file, which is created with mode 0600 if it does not exist.
	URL string
	// Now is the source of Tx.Now; required.
	Now func() time.Time
}

// DB is an open catalog. It is safe for concurrent use.
type DB struct {
	write, read *sql.DB
	postgres    bool
	now         func() time.Time
	writer      chan struct{} // SQLite: one writer at a time, waiting in line instead of in busy loops
}

// Open opens or creates the database and checks that it answers.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Now == nil {
		return nil, errors.New("db: Config.Now is required")
	}
	d := &DB{now: c.Now, writer: make(chan struct{}, 1)}
	if strings.HasPrefix(c.URL, "postgres://") || strings.HasPrefix(c.URL, "postgresql://") {
		p, err := sql.Open("pgx", c.URL)
		if err != nil {
			return nil, fmt.Errorf("open postgres: %w", err)
		}
		p.SetMaxOpenConns(16)
		d.write, d.read, d.postgres = p, p, true
	} else {
		if err := createPrivate(c.URL); err != nil {
			return nil, err
		}
		dsn := "file:" + (&url.URL{Path: c.URL}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
		w, err := sql.Open("sqlite", dsn+"&_txlock=immediate")
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", c.URL, err)
		}
		w.SetMaxOpenConns(1)
		r, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
		if err != nil {
			w.Close()
			return nil, fmt.Errorf("open %s: %w", c.URL, err)
		}
		r.SetMaxOpenConns(8)
		d.write, d.read = w, r
	}
	if err := d.write.PingContext(ctx); err != nil {
		d.Close()
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	return d, nil
}

// Close closes all connections.
func (d *DB) Close() error {
	err := d.write.Close()
	if d.read != d.write {
		err = errors.Join(err, d.read.Close())
	}
	return err
}

// Postgres reports whether the database is PostgreSQL.
func (d *DB) Postgres() bool { return d.postgres }

// Tx is a transaction with a fixed time.
type Tx struct {
	// Now was taken when the transaction began, in UTC and whole microseconds, so that it survives storage.
	Now time.Time

	tx       *sql.Tx
	postgres bool
}

// Update runs fn in a read-write transaction and commits it when fn returns nil. On SQLite writers run one after another;
// on PostgreSQL at serializable isolation with retries. fn must use ctx and tx only.
func (d *DB) Update(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	if !d.postgres {
		select {
		case d.writer <- struct{}{}:
			defer func() { <-d.writer }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	const attempts = 20
	for i := 0; ; i++ {
		err := d.run(ctx, d.write, &sql.TxOptions{Isolation: d.isolation()}, fn)
		if err == nil || i == attempts || !retryable(err) || ctx.Err() != nil {
			return err
		}
	}
}

// View runs fn in a read-only transaction over one consistent state.
func (d *DB) View(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if d.postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	return d.run(ctx, d.read, opts, fn)
}

func (d *DB) isolation() sql.IsolationLevel {
	if d.postgres {
		return sql.LevelSerializable
	}
	return sql.LevelDefault
}

func (d *DB) run(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, fn func(context.Context, *Tx) error) error {
	if !d.postgres {
		opts.ReadOnly = false // modernc refuses the option; query_only on the read pool does it
	}
	t, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	done := false
	defer func() { // also on panic
		if !done {
			t.Rollback()
		}
	}()
	tx := &Tx{Now: d.now().UTC().Truncate(time.Microsecond), tx: t, postgres: d.postgres}
	if err := fn(ctx, tx); err != nil {
		return err
	}
	done = true
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func retryable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01"
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_BUSY
}

// Duplicate reports whether err is a violation of a primary key or unique constraint.
func Duplicate(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && (lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// NoRows reports whether err says that QueryRow found nothing.
func NoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// Exec runs a statement and returns the number of rows it changed.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := t.tx.ExecContext(ctx, t.bind(query), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Query runs a query; the caller closes the rows before the next statement.
func (t *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, t.bind(query), args...)
}

// QueryRow runs a query for at most one row.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, t.bind(query), args...)
}

// bind rewrites `?` to $1, $2, ... for PostgreSQL, leaving quoted text alone.
func (t *Tx) bind(q string) string {
	if !t.postgres || !strings.Contains(q, "?") {
		return q
	}
	var b strings.Builder
	n, quoted := 0, false
	for i := range len(q) {
		switch c := q[i]; {
		case c == '\'':
			quoted = !quoted
			b.WriteByte(c)
		case c == '?' && !quoted:
			n++
			fmt.Fprintf(&b, "$%d", n)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Micros turns a time into what is stored; the zero time becomes 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the inverse of Micros, in UTC.
func Time(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// Migrate brings one service's tables up to date. fsys holds files NNN_noun.sql in goose's format, at its top or in a
// directory named migrations; the versions applied are kept in table migrations_<service>. A database written by a newer
// program is refused.
func (d *DB) Migrate(ctx context.Context, service string, fsys fs.FS) error {
	return migrate(ctx, d, service, fsys)
}

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error { return d.read.PingContext(ctx) }
