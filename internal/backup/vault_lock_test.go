package backup

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/schedule"
)

const day = 24 * time.Hour

var days = schedule.Days

func TestLockSpecLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		spec LockSpec
		ok   bool
	}{
		{"nothing is governance without bounds", LockSpec{}, true},
		{"smallest", LockSpec{days(1), days(1), days(3)}, true},
		{"largest", LockSpec{days(36500), days(36500), days(36500)}, true},
		{"min zero", LockSpec{MinRetentionDays: days(0)}, false},
		{"max zero", LockSpec{MaxRetentionDays: days(0)}, false},
		{"max too long", LockSpec{MaxRetentionDays: days(36501)}, false},
		{"min above max", LockSpec{MinRetentionDays: days(8), MaxRetentionDays: days(7)}, false},
		{"grace too short", LockSpec{ChangeableForDays: days(2)}, false},
		{"grace too long", LockSpec{ChangeableForDays: days(36501)}, false},
	} {
		if err := c.spec.valid(); (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCheckRetention(t *testing.T) {
	t.Parallel()
	lock := func(min, max *int64) Lock { return Lock{Locked: true, MinRetentionDays: min, MaxRetentionDays: max} }
	for _, c := range []struct {
		name string
		lock Lock
		days *int64
		ok   bool
	}{
		{"unlocked takes all", Lock{}, days(1), true},
		{"no bounds", lock(nil, nil), nil, true},
		{"at min", lock(days(7), nil), days(7), true},
		{"below min", lock(days(7), nil), days(6), false},
		{"at max", lock(nil, days(30)), days(30), true},
		{"above max", lock(nil, days(30)), days(31), false},
		{"for ever satisfies a minimum", lock(days(7), nil), nil, true},
		{"for ever violates a maximum", lock(nil, days(30)), nil, false},
	} {
		err := c.lock.CheckRetention(schedule.Lifecycle{DeleteAfterDays: c.days})
		if (err == nil) != c.ok || err != nil && fault.As(err).Msg != "The retention specified in the job is not within the range specified for the target Backup Vault." {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLockTakesEffectAtOnceAndBecomesImmutable(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		r := f.point("main", nil)
		refused := func() {
			t.Helper()
			want(t, f.DeleteRecoveryPoint(ctx, testAccount, testRegion, "main", r.ARN), fault.State, "Locked")
			_, err := f.UpdateLifecycle(ctx, testAccount, testRegion, "main", r.ARN, schedule.Lifecycle{DeleteAfterDays: days(9999)})
			want(t, err, fault.State, "Locked")
		}
		state := func(want string) {
			t.Helper()
			v, err := f.Vault(ctx, testAccount, testRegion, "main")
			must(t, err)
			if v.Lock.State() != want {
				t.Fatalf("lock is %s, want %s", v.Lock.State(), want)
			}
		}
		must(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{MinRetentionDays: days(7)}))
		state(Governance)
		refused()
		must(t, f.UnlockVault(ctx, testAccount, testRegion, "main"))
		state(Unlocked)
		must(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{ChangeableForDays: days(3)}))
		state(Compliance)
		refused()
		f.clock.Advance(3*day - time.Second)
		must(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{ChangeableForDays: days(4)})) // restarts the grace
		f.clock.Advance(3 * day)
		must(t, f.UnlockVault(ctx, testAccount, testRegion, "main"))
		must(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{ChangeableForDays: days(3)}))
		f.clock.Advance(3 * day) // to the microsecond: from now on
		want(t, f.UnlockVault(ctx, testAccount, testRegion, "main"), fault.State, "Locked")
		want(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{MinRetentionDays: days(100), ChangeableForDays: days(10)}), fault.State, "Locked")
		refused()

		n, err := f.SealLocks(ctx)
		must(t, err)
		if n != 1 {
			t.Fatalf("sealed %d", n)
		}
		f.clock.Advance(-30 * day)
		want(t, f.UnlockVault(ctx, testAccount, testRegion, "main"), fault.State, "Locked")
		want(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{}), fault.State, "Locked")
		refused()
	})
}

// The promise of the lock: whatever sequence of calls, while a vault is locked none of its recovery points goes or
// gets another expiry date, but those whose own retention ended by both clocks and those whose deletion had begun before the
// lock. The model knows nothing of the service's tables.
func TestNoSequenceOfCallsDeletesOrShortensInALockedVault(t *testing.T) {
	t.Parallel()
	dbtest.RunFake(t, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), func(t *testing.T, d *db.DB, c *clock.Fake) {
		f := newFixture(t, d, c)
		run, most := 0, 25 // every step is a durable commit
		if os.Getenv("STRONGROOM_SOAK") != "" {
			most = 1000
		}
		rapid.Check(t, func(rt *rapid.T) {
			if run++; run > most {
				return
			}
			m := &lockModel{f: f, name: "v" + time.Duration(run).String(), trusted: c.Now(), points: map[string]*modelPoint{}}
			f.vault(m.name)
			rt.Repeat(map[string]func(*rapid.T){
				"": m.check, "create": m.create, "lock": m.lock, "unlock": m.unlock, "delete": m.delete, "lifecycle": m.lifecycle,
				"expire": m.expire, "runner": m.runner, "failing runner": m.failingRunner, "clock": m.moveClock, "trusted": m.moveTrusted,
				"others": m.others,
			})
		})
	})
}

type modelPoint struct {
	deleteAt time.Time // as the service said
	doomed   bool      // its deletion began while it was allowed
}

type lockModel struct {
	f       *fixture
	name    string
	locked  bool
	sealed  bool // immutable: unlocking must never succeed
	lockAt  time.Time
	trusted time.Time
	points  map[string]*modelPoint
	order   []string
}

func (m *lockModel) pick(t *rapid.T) string {
	if len(m.order) == 0 {
		t.Skip("no points")
	}
	return rapid.SampledFrom(m.order).Draw(t, "point")
}

func (m *lockModel) create(t *rapid.T) {
	r := m.f.point(m.name, func(r *RecoveryPoint) {
		r.Lifecycle = schedule.Lifecycle{DeleteAfterDays: days(rapid.Int64Range(1, 20).Draw(t, "days"))}
		if rapid.Bool().Draw(t, "for ever") {
			r.Lifecycle.DeleteAfterDays = nil
		}
		r.Created = m.f.clock.Now().Add(-time.Duration(rapid.IntRange(0, 10).Draw(t, "age")) * day) // copies keep their age
		r.Continuous = rapid.Bool().Draw(t, "continuous")
	})
	m.points[r.ARN] = &modelPoint{deleteAt: r.DeleteAt}
	m.order = append(m.order, r.ARN)
}

func (m *lockModel) immutable() bool {
	return m.sealed || m.locked && !m.lockAt.IsZero() && !m.f.clock.Now().Before(m.lockAt)
}

func (m *lockModel) lock(t *rapid.T) {
	var spec LockSpec
	var at time.Time
	if rapid.Bool().Draw(t, "compliance") {
		spec.ChangeableForDays = days(3)
		at = m.f.clock.Now().Add(3 * day)
	}
	err := m.f.LockVault(t.Context(), testAccount, testRegion, m.name, spec)
	if (err == nil) == m.immutable() {
		t.Fatalf("lock: %v, immutable %v", err, m.immutable())
	}
	if err == nil {
		m.locked, m.lockAt = true, at
	}
}

func (m *lockModel) unlock(t *rapid.T) {
	err := m.f.UnlockVault(t.Context(), testAccount, testRegion, m.name)
	if (err == nil) == m.immutable() {
		t.Fatalf("unlock: %v, immutable %v", err, m.immutable())
	}
	if err == nil {
		m.locked = false
	}
}

func (m *lockModel) delete(t *rapid.T) {
	name := m.pick(t)
	err := m.f.DeleteRecoveryPoint(t.Context(), testAccount, testRegion, m.name, name)
	if m.locked && err == nil {
		t.Fatal("deleted in a locked vault")
	}
	if err == nil {
		m.points[name].doomed = true
	}
}

func (m *lockModel) lifecycle(t *rapid.T) {
	name := m.pick(t)
	r, err := m.f.UpdateLifecycle(t.Context(), testAccount, testRegion, m.name, name, schedule.Lifecycle{DeleteAfterDays: days(rapid.Int64Range(1, 40).Draw(t, "new days"))})
	if m.locked && err == nil {
		t.Fatal("lifecycle changed in a locked vault")
	}
	if err == nil {
		m.points[name].deleteAt = r.DeleteAt
	}
}

func (m *lockModel) expire(t *rapid.T) {
	if _, err := m.f.ExpireDue(t.Context(), m.trusted); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.points {
		if !p.deleteAt.IsZero() && !p.deleteAt.After(m.trusted) && !p.deleteAt.After(m.f.clock.Now()) {
			p.doomed = true
		}
	}
}

// work leases deletions until none is left.
func (m *lockModel) work(t *rapid.T, do func(job.Lease) error) {
	for {
		l, ok, err := m.f.Jobs.Claim(t.Context(), DeleteKind)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		if _, err := m.f.DeletionWork(t.Context(), l); err != nil {
			if err == job.ErrEnded {
				continue
			}
			t.Fatal(err)
		}
		if err := do(l); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *lockModel) runner(t *rapid.T) {
	m.work(t, func(l job.Lease) error { return m.f.FinishDeletion(t.Context(), l) })
}

// failingRunner leaves recovery points EXPIRED: undeleted, and under the lock's protection again.
func (m *lockModel) failingRunner(t *rapid.T) {
	m.work(t, func(l job.Lease) error {
		if p := m.points[l.ID]; p != nil {
			p.doomed = false
		}
		return m.f.FailDeletion(t.Context(), l, "the repository refuses")
	})
}

func (m *lockModel) moveClock(t *rapid.T) {
	m.f.clock.Advance(time.Duration(rapid.IntRange(-48, 24*8).Draw(t, "hours")) * time.Hour)
}

func (m *lockModel) moveTrusted(t *rapid.T) {
	m.trusted = m.trusted.Add(time.Duration(rapid.IntRange(0, 24*8).Draw(t, "trusted hours")) * time.Hour)
}

// others are calls that must not matter.
func (m *lockModel) others(t *rapid.T) {
	ctx := t.Context()
	name := m.pick(t)
	_ = m.f.AddTags(ctx, testAccount, testRegion, name, map[string]string{"a": "b"})
	_ = m.f.PutVaultPolicy(ctx, testAccount, testRegion, m.name, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"backup:DeleteRecoveryPoint","Resource":"*"}]}`)
	if err := m.f.DeleteVault(ctx, testAccount, testRegion, m.name); err == nil {
		m.check(t)
		m.f.vault(m.name)
		m.locked, m.sealed = false, false
	}
	if err := m.f.DisassociateRecoveryPoint(ctx, testAccount, testRegion, m.name, name); err == nil && m.locked {
		t.Fatal("disassociated in a locked vault")
	}
	if _, err := m.f.TransitionDue(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.f.SealLocks(ctx); err != nil {
		t.Fatal(err)
	}
	m.sealed = m.immutable()
}

func (m *lockModel) check(t *rapid.T) {
	list, _, err := m.f.RecoveryPoints(t.Context(), testAccount, testRegion, m.name, PointFilter{}, Page{})
	if fault.Is(err, fault.Denied) {
		list = nil
	} else if err != nil {
		t.Fatal(err)
	}
	there := map[string]RecoveryPoint{}
	for _, r := range list {
		there[r.ARN] = r
	}
	for name, p := range m.points {
		r, ok := there[name]
		switch {
		case !ok && !p.doomed:
			t.Fatalf("%s is gone", name)
		case !ok:
			delete(m.points, name)
			m.order = remove(m.order, name)
		case !r.DeleteAt.Equal(p.deleteAt):
			t.Fatalf("%s: expiry moved from %v to %v", name, p.deleteAt, r.DeleteAt)
		}
	}
}

func remove(list []string, s string) (out []string) {
	for _, e := range list {
		if e != s {
			out = append(out, e)
		}
	}
	return out
}
