// Package dbtest gives each test a fresh catalog, on every engine that the project supports.
//
// SQLite always; PostgreSQL when STRONGROOM_TEST_POSTGRES holds the URL of a server where databases may be created
// (`make test` starts one, so in CI both run).
package dbtest

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/ident"
)

// Run runs fn as a subtest per engine, each with an empty catalog whose time is now().
func Run(t *testing.T, now func() time.Time, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	each(t, func(t *testing.T, url string) { fn(t, Open(t, url, now)) })
}

// RunFake is Run with a fake clock of its own for each engine, which starts at now.
func RunFake(t *testing.T, now time.Time, fn func(t *testing.T, d *db.DB, c *clock.Fake)) {
	t.Helper()
	each(t, func(t *testing.T, url string) {
		c := clock.NewFake(now)
		fn(t, Open(t, url, c.Now), c)
	})
}

func each(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, filepath.Join(t.TempDir(), "catalog.db"))
	})
	server := os.Getenv("STRONGROOM_TEST_POSTGRES")
	if server == "" {
		return
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, freshDatabase(t, server))
	})
}

// SQLite opens an empty SQLite catalog that is closed with the test.
func SQLite(t *testing.T, now func() time.Time) *db.DB {
	t.Helper()
	return Open(t, filepath.Join(t.TempDir(), "catalog.db"), now)
}

// Open opens a catalog that is closed with the test.
func Open(t *testing.T, url string, now func() time.Time) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), db.Config{URL: url, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func freshDatabase(t *testing.T, server string) string {
	t.Helper()
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + ident.Random(ident.LowerAlnum, 16)
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		admin.Exec("DROP DATABASE " + name + " WITH (FORCE)")
		admin.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
