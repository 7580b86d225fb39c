package iam_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
)

const (
	prod     = "111111111111"
	vault    = "222222222222"
	allow    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"backup:*","Resource":"*"}]}`
	deny     = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"backup:*","Resource":"*"}]}`
	byBackup = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

// sealer is AES-256-GCM with a key per purpose.
type sealer struct{ root [32]byte }

func (s sealer) gcm(purpose string) cipher.AEAD {
	key := sha256.Sum256(append(s.root[:], purpose...))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	g, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return g
}

func (s sealer) Seal(purpose string, plain []byte, aad string) ([]byte, error) {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return s.gcm(purpose).Seal(nonce, nonce, plain, []byte(aad)), nil
}

func (s sealer) Open(purpose string, sealed []byte, aad string) ([]byte, error) {
	if len(sealed) < 12 {
		return nil, errors.New("too short")
	}
	return s.gcm(purpose).Open(nil, sealed[:12], sealed[12:], []byte(aad))
}

// world is a service with two accounts.
type world struct {
	*iam.Service
	t     *testing.T
	ctx   context.Context
	clock *clock.Fake
	db    *db.DB
	seal  sealer
}

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func open(t *testing.T, d *db.DB, c *clock.Fake, seal sealer) *iam.Service {
	t.Helper()
	s, err := iam.New(context.Background(), iam.Config{DB: d, Clock: c, Secrets: seal})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs fn on every engine.
func run(t *testing.T, fn func(w *world)) {
	t.Helper()
	t.Parallel()
	// The engines' subtests run side by side, so each moves a clock of its own; transactions all happen at the start.
	dbtest.Run(t, start, func(t *testing.T, d *db.DB) {
		c := clock.NewFake(start())
		w := &world{t: t, ctx: context.Background(), clock: c, db: d}
		w.Service = open(t, d, c, w.seal)
		for _, a := range []string{prod, vault} {
			w.ok(w.AddAccount(w.ctx, a))
		}
		fn(w)
	})
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v", err)
	}
}

// refused demands a fault of a kind with a code and exact text ("" for any).
func (w *world) refused(err error, kind fault.Kind, code, text string) {
	w.t.Helper()
	e := fault.As(err)
	if e == nil || e.Kind != kind || e.Code != code || text != "" && e.Msg != text {
		w.t.Fatalf("got %#v, want %v %s %q", err, kind, code, text)
	}
}

func (w *world) user(name string) iam.User {
	w.t.Helper()
	u, err := w.CreateUser(w.ctx, prod, iam.NewUser{Name: name})
	w.ok(err)
	return u
}

func (w *world) role(name, trust string) iam.Role {
	w.t.Helper()
	r, err := w.CreateRole(w.ctx, prod, iam.NewRole{Name: name, Trust: trust})
	w.ok(err)
	return r
}

func (w *world) policy(name, document string) iam.Policy {
	w.t.Helper()
	p, err := w.CreatePolicy(w.ctx, prod, iam.NewPolicy{Name: name, Document: document})
	w.ok(err)
	return p
}

func trusting(principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}]}`
}
