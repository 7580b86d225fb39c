package db_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
)

var schema = fstest.MapFS{"001_pair.sql": {Data: []byte("-- +goose Up\nCREATE TABLE pair (k TEXT PRIMARY KEY, v BLOB, n BIGINT NOT NULL);\n")}}

func TestUpdateCommitsOrLeavesNothing(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	dbtest.Run(t, func() time.Time { return now }, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		if err := d.Migrate(ctx, "pair", schema); err != nil {
			t.Fatal(err)
		}
		if err := d.Migrate(ctx, "pair", schema); err != nil {
			t.Fatalf("second migration: %v", err)
		}
		put := func(k string, fail error) error {
			return d.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
				if !tx.Now.Equal(now.Truncate(time.Microsecond)) {
					t.Errorf("Now = %v", tx.Now)
				}
				if _, err := tx.Exec(ctx, "INSERT INTO pair (k, v, n) VALUES (?, ?, ?)", k, []byte{0, 1}, db.Micros(tx.Now)); err != nil {
					return err
				}
				return fail
			})
		}
		boom := errors.New("boom")
		if err := put("a", boom); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if err := put("a", nil); err != nil {
			t.Fatal(err)
		}
		if err := put("a", nil); !db.Duplicate(err) {
			t.Fatalf("want duplicate, got %v", err)
		}
		err := d.View(ctx, func(ctx context.Context, tx *db.Tx) error {
			var n int64
			if err := tx.QueryRow(ctx, "SELECT n FROM pair WHERE k = ? AND '?' = '?'", "a").Scan(&n); err != nil {
				return err
			}
			if !db.Time(n).Equal(now.Truncate(time.Microsecond)) {
				t.Errorf("stored time %v", db.Time(n))
			}
			err := tx.QueryRow(ctx, "SELECT n FROM pair WHERE k = ?", "none").Scan(&n)
			if !db.NoRows(err) {
				t.Errorf("want no rows, got %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestViewCannotWrite(t *testing.T) {
	dbtest.Run(t, time.Now, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		if err := d.Migrate(ctx, "pair", schema); err != nil {
			t.Fatal(err)
		}
		err := d.View(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO pair (k, n) VALUES ('x', 1)")
			return err
		})
		if err == nil {
			t.Fatal("a view wrote")
		}
	})
}

func TestConcurrentUpdatesAllCount(t *testing.T) {
	dbtest.Run(t, time.Now, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		if err := d.Migrate(ctx, "pair", schema); err != nil {
			t.Fatal(err)
		}
		if err := d.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO pair (k, n) VALUES ('n', 0)")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 10 {
					for { // a serialisation storm may exhaust the retries; the caller's duty is to try again
						err := d.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
							var n int64
							if err := tx.QueryRow(ctx, "SELECT n FROM pair WHERE k = 'n'").Scan(&n); err != nil {
								return err
							}
							_, err := tx.Exec(ctx, "UPDATE pair SET n = ? WHERE k = 'n'", n+1)
							return err
						})
						if err == nil {
							break
						}
					}
				}
			})
		}
		wg.Wait()
		var n int64
		d.View(ctx, func(ctx context.Context, tx *db.Tx) error {
			return tx.QueryRow(ctx, "SELECT n FROM pair WHERE k = 'n'").Scan(&n)
		})
		if n != 80 {
			t.Fatalf("n = %d, want 80", n)
		}
	})
}

func TestNewerCatalogIsRefused(t *testing.T) {
	d := dbtest.SQLite(t, time.Now)
	ctx := context.Background()
	newer := fstest.MapFS{"001_pair.sql": schema["001_pair.sql"], "002_more.sql": {Data: []byte("-- +goose Up\nALTER TABLE pair ADD COLUMN m BIGINT;\n")}}
	if err := d.Migrate(ctx, "pair", newer); err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(ctx, "pair", schema); err == nil {
		t.Fatal("an older program opened a newer catalog")
	}
}
