package kms_test

import (
	"bytes"
	"context"
	"path/filepath"
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

// run gives each engine a service over an empty catalog.
func run(t *testing.T, change func(*kms.Config), fn func(t *testing.T, w *world)) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clk := map[string]*clock.Fake{"sqlite": clock.NewFake(start), "postgres": clock.NewFake(start)}
	for engine, c := range clk {
		// dbtest runs both engines with one clock; give each its own by filtering on the name.
		_ = engine
		_ = c
	}
	shared := clk["sqlite"]
	dbtest.Run(t, shared.Now, func(t *testing.T, d *db.DB) {
		fn(t, open(t, d, shared, filepath.Join(t.TempDir(), "seal"), change))
	})
}

func open(t *testing.T, d *db.DB, c *clock.Fake, seal string, change func(*kms.Config)) *world {
	t.Helper()
	cfg := kms.Config{DB: d, Clock: c, Seal: kms.OpenSeal(seal)}
	if change != nil {
		change(&cfg)
	}
	s, err := kms.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &world{s, c, d, seal}
}

func (w *world) key(t *testing.T) string {
	t.Helper()
	k, err := w.CreateKey(t.Context(), root(acct), kms.NewKey{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	return k.ARN()
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Kind != kind || f.Code != code {
		t.Helper()
		t.Fatalf("want %v %q, got %v (%#v)", kind, code, err, f)
	}
}

func TestCiphertextOpensOnlyWithItsContext(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key(t)
		encCtx := map[string]string{"aws:backup:backup-vault": "v", "b": ""}
		plain, blob, err := w.GenerateDataKey(ctx, key, encCtx, 32)
		if err != nil {
			t.Fatal(err)
		}
		got, by, err := w.Decrypt(ctx, blob, map[string]string{"b": "", "aws:backup:backup-vault": "v"})
		if err != nil || !bytes.Equal(got, plain) || by != key {
			t.Fatalf("decrypt: %v, by %s", err, by)
		}
		for _, wrong := range []map[string]string{nil, {}, {"aws:backup:backup-vault": "v"}, {"aws:backup:backup-vault": "v", "b": "x"}, {"aws:backup:backup-vault": "v", "B": ""}, {"aws:backup:backup-vault": "vb", "": ""}} {
			_, _, err := w.Decrypt(ctx, blob, wrong)
			wantFault(t, err, fault.Invalid, kms.CodeInvalidCiphertext)
		}
	})
}
