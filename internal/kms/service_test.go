package kms_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
)

const (
	acct   = "111111111111"
	other  = "222222222222"
	region = "us-east-1"
	day    = 24 * time.Hour
)

func root(account string) access.Principal {
	return access.Principal{Kind: access.Root, Account: account, ARN: arn.Root(account), ID: account}
}

type world struct {
	*kms.Service
	clock *clock.Fake
	db    *db.DB
	seal  string
}

// run gives each engine, one after the other, a service over an empty catalog and a clock that stands still.
func run(t *testing.T, change func(*kms.Config), fn func(t *testing.T, w *world)) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := clock.NewFake(start)
	var turn sync.Mutex
	dbtest.Run(t, c.Now, func(t *testing.T, d *db.DB) {
		turn.Lock()
		defer turn.Unlock()
		c.Set(start)
		w := &world{clock: c, db: d, seal: filepath.Join(t.TempDir(), "seal")}
		w.open(t, change)
		fn(t, w)
	})
}

func (w *world) open(t *testing.T, change func(*kms.Config)) {
	t.Helper()
	cfg := kms.Config{DB: w.db, Clock: w.clock, Seal: kms.OpenSeal(w.seal)}
	if change != nil {
		change(&cfg)
	}
	s, err := kms.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
}

func (w *world) key(t *testing.T) string {
	t.Helper()
	k, err := w.CreateKey(t.Context(), root(acct), kms.NewKey{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	return k.ARN()
}

func (w *world) describe(t *testing.T, key string) kms.Key {
	t.Helper()
	k, err := w.Describe(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	if f := fault.As(err); f == nil || f.Kind != kind || f.Code != code {
		t.Fatalf("want %v %q, got %v (%#v)", kind, code, err, f)
	}
}
