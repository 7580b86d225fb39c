package repo_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/internal/repo/repotest"
)

const (
	vaultA = "00000000-0000-4000-8000-00000000000a"
	vaultB = "00000000-0000-4000-8000-00000000000b"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func config(store blob.Store, vault string) repo.Config {
	return repo.Config{
		Store: store, Vault: vault, Clock: clock.NewFake(start), Workers: 2,
		Root: bytes.Repeat([]byte(vault[35:]), 32), Maint: bytes.Repeat([]byte{vault[35] + 1}, 32),
	}
}

type failer interface { // *testing.T and *rapid.T
	Helper()
	Fatalf(string, ...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

func wantKind(t failer, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("got %v, want an error of kind %v", err, k)
	}
}

func create(t failer, store blob.Store, vault string) *repo.Repository {
	t.Helper()
	r, err := repo.Create(context.Background(), config(store, vault), repo.Descriptor{Owner: "111111111111", Name: "v", Region: "us-east-1"}, []repo.Envelope{{Kind: "kms", KeyID: "k", Blob: []byte("wrapped")}})
	must(t, err)
	return r
}

func open(t failer, store blob.Store, vault string) *repo.Repository {
	t.Helper()
	r, err := repo.Open(context.Background(), config(store, vault))
	must(t, err)
	return r
}

func backup(t failer, r *repo.Repository, tr *repotest.Tree, id, base string) repo.Receipt {
	t.Helper()
	rc, err := r.Backup(context.Background(), tr, repo.BackupOptions{ID: id, Base: base, Meta: repo.Meta{Owner: "111111111111", ResourceARN: "arn:x"}})
	must(t, err)
	return rc
}

func point(t failer, r *repo.Repository, id string) *repo.Point {
	t.Helper()
	p, err := r.Point(context.Background(), id)
	must(t, err)
	return p
}

// same restores a recovery point and compares it with what it should hold.
func same(t failer, r *repo.Repository, id string, want *repotest.Tree) {
	t.Helper()
	target := repotest.NewTarget()
	_, err := point(t, r, id).Restore(context.Background(), target, repo.RestoreOptions{})
	must(t, err)
	if d := want.Diff(target, nil); d != "" {
		t.Fatalf("recovery point %s: %s", id, d)
	}
}

// sound checks everything.
func sound(t failer, r *repo.Repository) {
	t.Helper()
	report, err := r.VerifyAll(context.Background(), nil)
	must(t, err)
	if !report.OK() {
		t.Fatalf("%d findings: %+v", report.FindingCount, report.Findings)
	}
	report, err = r.Scrub(context.Background(), nil)
	must(t, err)
	if !report.OK() {
		t.Fatalf("%d findings: %+v", report.FindingCount, report.Findings)
	}
}

func newRepo(t *testing.T) (*repo.Repository, *mem.Store) {
	t.Helper()
	s := mem.New()
	return create(t, s, vaultA), s
}
