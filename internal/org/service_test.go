package org_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/org"
)

const (
	mgmt = "999999999999"
	prod = "111111111111"
	vlt  = "222222222222"
	svc  = "backup.amazonaws.com"
)

// roles is IAM for these tests: it remembers which roles were made and fails when told to.
type roles struct {
	mu   sync.Mutex
	made map[string]string // account/role → trusted account
	fail error
}

func (r *roles) CreateAccessRole(_ context.Context, account, role, trusted string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	if _, twice := r.made[account+"/"+role]; twice {
		return fault.New(fault.Exists, "exists")
	}
	r.made[account+"/"+role] = trusted
	return nil
}

type world struct {
	*org.Service
	clock *clock.Fake
	db    *db.DB
	roles *roles
}

// run gives each engine, one after the other, a service with one account and a clock that stands still.
func run(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := clock.NewFake(start)
	var turn sync.Mutex
	dbtest.Run(t, c.Now, func(t *testing.T, d *db.DB) {
		turn.Lock()
		defer turn.Unlock()
		c.Set(start)
		w := &world{clock: c, db: d, roles: &roles{made: map[string]string{}}}
		w.Service = w.node(t)
		ok(t, w.AddFirstAccount(t.Context(), mgmt))
		fn(t, w)
	})
}

// node is one more node on the same catalog.
func (w *world) node(t *testing.T) *org.Service {
	t.Helper()
	s, err := org.New(context.Background(), org.Config{DB: w.db, Clock: w.clock, Accounts: w.roles, MaxAccounts: 30})
	ok(t, err)
	return s
}

func (w *world) organization(t *testing.T) org.Organization {
	t.Helper()
	o, err := w.CreateOrganization(t.Context(), mgmt, "")
	ok(t, err)
	return o
}

func (w *world) account(t *testing.T, id string) string {
	t.Helper()
	r, err := w.CreateAccount(t.Context(), mgmt, org.NewAccount{Email: "a" + id + "@example.com", Name: "n" + id, Tags: map[string]string{org.AccountIDTag: id}})
	ok(t, err)
	if r, err = w.AccountRequest(t.Context(), mgmt, r.ID); err != nil || r.State != org.Succeeded || r.AccountID != id {
		t.Fatalf("%+v %v", r, err)
	}
	return id
}

func (w *world) unit(t *testing.T, parent, name string) string {
	t.Helper()
	u, err := w.CreateUnit(t.Context(), mgmt, parent, name, nil)
	ok(t, err)
	return u.ID
}

func (w *world) policy(t *testing.T, name, content string) string {
	t.Helper()
	p, err := w.CreatePolicy(t.Context(), mgmt, org.Policy{Type: org.SCP, Name: name, Content: content}, nil)
	ok(t, err)
	return p.ID
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantCode demands an exception, and a Reason if one is given.
func wantCode(t *testing.T, err error, code string, reason ...string) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Code != code {
		t.Fatalf("want %s, got %v (%#v)", code, err, f)
	}
	if len(reason) > 0 && f.Detail["Reason"] != reason[0] {
		t.Fatalf("want reason %s, got %s", reason[0], f.Detail["Reason"])
	}
}

func ptr[T any](v T) *T { return &v }

var errAway = errors.New("iam is away")
