package backup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/job"
	"strongroom/internal/schedule"
)

const (
	testAccount = "111111111111"
	testOther   = "222222222222"
	testManager = "999999999999"
	testRegion  = "us-east-1"
	testFS      = "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/fs-0123456789abcdef0"
)

// fixture is a service over an empty catalog with a clock that stands still and small real key, role and organization
// services.
type fixture struct {
	*Service
	t     testing.TB
	clock *clock.Fake
	keys  *testKeys
}

// onEach runs fn as a subtest per database.
func onEach(t *testing.T, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	dbtest.RunFake(t, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), func(t *testing.T, d *db.DB, c *clock.Fake) { fn(t, newFixture(t, d, c)) })
}

func newFixture(t testing.TB, d *db.DB, c *clock.Fake) *fixture {
	t.Helper()
	ctx := context.Background()
	q, err := job.Open(ctx, job.Config{DB: d, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	keys := &testKeys{grants: map[string]string{}}
	s, err := New(ctx, Config{DB: d, Clock: c, Keys: keys, Roles: testRoles{}, Org: testOrg{}, Jobs: q})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Service: s, t: t, clock: c, keys: keys}
}

// vault makes a vault in the test account.
func (f *fixture) vault(name string) Vault {
	f.t.Helper()
	v, err := f.CreateVault(context.Background(), rootOf(testAccount), access.Env{Region: testRegion}, VaultSpec{Name: name})
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// point puts a completed recovery point, made now, in a vault of the test account.
func (f *fixture) point(vaultName string, change func(*RecoveryPoint)) RecoveryPoint {
	f.t.Helper()
	id := ident.UUID()
	r := RecoveryPoint{
		ARN: PointARN(testAccount, testRegion, id), ID: id, Account: testAccount, Region: testRegion, Vault: vaultName,
		ResourceARN: testFS, ResourceType: "EFS", Status: PointCompleted, Lifecycle: schedule.Lifecycle{DeleteAfterDays: schedule.Days(30)},
		RestoreMetadata: map[string]string{"file-system-id": "fs-0123456789abcdef0"},
	}
	if change != nil {
		change(&r)
	}
	var out RecoveryPoint
	err := f.DB.Update(context.Background(), func(ctx context.Context, tx *db.Tx) (err error) {
		out, err = insertRecoveryPoint(ctx, tx, r, map[string]string{"from": "test"})
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func rootOf(account string) access.Principal {
	return access.Principal{Kind: access.Root, Account: account, ARN: arn.Root(account), ID: account}
}

// want fails the test unless err is a fault of the kind and code.
func want(t testing.TB, err error, k fault.Kind, code string) {
	t.Helper()
	e := fault.As(err)
	if e == nil || e.Kind != k || e.Code != code {
		t.Fatalf("want %v %q, got %v", k, code, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testKeys hands out one service key per account and region, and grants that are remembered until they are released.
type testKeys struct {
	mu     sync.Mutex
	grants map[string]string // guarded by mu: grant by key and vault
	refuse error             // guarded by mu: what BindVault answers
}

func (k *testKeys) DefaultKey(_ context.Context, account, region string) (string, error) {
	return arn.Make("kms", region, account, "key/service"), nil
}

func (k *testKeys) BindVault(_ context.Context, _ access.Principal, _ access.Env, keyARN, vaultARN string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		return "", k.refuse
	}
	g := k.grants[keyARN+vaultARN]
	if g == "" {
		g = ident.UUID()
		k.grants[keyARN+vaultARN] = g
	}
	return g, nil
}

func (k *testKeys) ReleaseVault(_ context.Context, _, grant string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, g := range k.grants {
		if g == grant {
			delete(k.grants, at)
			return nil
		}
	}
	return errors.New("no such grant")
}

func (k *testKeys) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.grants)
}

type testRoles struct{}

func (testRoles) Assumable(_ context.Context, account, roleARN string) error {
	if arn.AccountOf(roleARN) != account {
		return fault.New(fault.Invalid, "IAM Role %s cannot be assumed by AWS Backup", roleARN)
	}
	return nil
}

// testOrg has one organization with the manager and the two accounts; all others are alone.
type testOrg struct{}

func (testOrg) Membership(_ context.Context, account string) (Membership, error) {
	switch account {
	case testAccount, testOther, testManager:
		return Membership{OrgID: "o-test", Management: testManager, Path: "o-test/r-test/", Trusted: true}, nil
	}
	return Membership{}, nil
}

func (testOrg) Accounts(context.Context, string) ([]string, error) {
	return []string{testAccount, testOther, testManager}, nil
}
