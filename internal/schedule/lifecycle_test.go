package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

func life(move, remove int64) schedule.Lifecycle {
	var l schedule.Lifecycle
	if move >= 0 {
		l.MoveToColdAfterDays = &move
	}
	if remove != 0 {
		l.DeleteAfterDays = &remove
	}
	return l
}

func TestLifecycleLimits(t *testing.T) {
	t.Parallel()
	const apart, outside = "cannot be less than 90 days apart from MoveToColdStorageAfterDays", "DeleteAfterDays cannot be less than 1 or more than 36500 days"
	for _, c := range []struct {
		l      schedule.Lifecycle
		cold   int
		isCopy bool
		want   string
	}{
		{l: schedule.Lifecycle{}},
		{l: life(-1, 1)},
		{l: life(-1, 36500)},
		{l: life(-1, 36501), want: outside},
		{l: life(-1, -1), want: outside},
		{l: life(-1, -1), isCopy: true},
		{l: life(-1, -2), isCopy: true, want: outside},
		{l: schedule.Lifecycle{DeleteAfterDays: schedule.Days(0)}, want: outside},
		{l: life(7, 90)},
		{l: life(7, 90), cold: 90, want: apart},
		{l: life(7, 97), cold: 90},
		{l: life(7, 7), want: "must be greater than"},
		{l: life(7, 0), cold: 90},
		{l: life(7, -1), cold: 90, isCopy: true},
	} {
		err := c.l.Validate(c.cold)
		if c.isCopy {
			err = c.l.ValidateCopy(c.cold)
		}
		if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "Invalid lifecycle. ") || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c, err, c.want)
		}
	}
}

func TestLifecycleOfACopy(t *testing.T) {
	t.Parallel()
	source := life(7, 30)
	created := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if got := schedule.ForCopy(nil, source); !got.DeleteAt(created).Equal(created.AddDate(0, 0, 30)) || got.MoveAt(created).IsZero() {
		t.Errorf("no lifecycle does not inherit: %+v", got)
	}
	own := life(-1, -1)
	if got := schedule.ForCopy(&own, source); !got.DeleteAt(created).Equal(source.DeleteAt(created)) || got.MoveToColdAfterDays != nil {
		t.Errorf("-1 does not keep the source's expiry: %+v", got)
	}
	if got := schedule.ForCopy(&own, schedule.Lifecycle{}); !got.DeleteAt(created).IsZero() {
		t.Errorf("-1 of a source that is kept for ever expires: %+v", got)
	}
	own = life(7, 90)
	if got := schedule.ForCopy(&own, source); got != own {
		t.Errorf("own lifecycle is not used: %+v", got)
	}
}

func TestLockRangeAgreesWithItsDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		days := rapid.Int64Range(0, 100).Draw(t, "days") // 0: for ever
		lo, hi := rapid.Int64Range(0, 100).Draw(t, "min"), rapid.Int64Range(0, 100).Draw(t, "max")
		kept := days
		if days == 0 {
			kept = 1 << 40
		}
		want := kept >= lo && (hi == 0 || kept <= hi)
		if got := life(-1, days).WithinLock(lo, hi); got != want {
			t.Fatalf("%d days in [%d, %d]: %v", days, lo, hi, got)
		}
		other := rapid.Int64Range(0, 100).Draw(t, "other")
		keptOther := other
		if other == 0 {
			keptOther = 1 << 40
		}
		if got := life(-1, days).Longer(life(-1, other)); got != (kept > keptOther) {
			t.Fatalf("%d longer than %d: %v", days, other, got)
		}
	})
}

// AWS's own example: an hourly rule kept a day and a 12-hourly rule kept a week give 2 and 8 backups a day.
func TestOverlappingRulesRunOnlyTheLongestRetention(t *testing.T) {
	t.Parallel()
	rules := []schedule.Rule{
		{Expression: mustParse(t, "cron(0 * * * ? *)", ""), StartMinutes: 60, Lifecycle: life(-1, 1)},
		{Expression: mustParse(t, "cron(0 0/12 * * ? *)", ""), StartMinutes: 480, Lifecycle: life(-1, 7)},
	}
	from := at(t, "2026-03-01T00:00:00Z").Add(-time.Second)
	var n [2]int
	for i, r := range rules {
		for run := range r.Expression.Between(from, from.Add(24*time.Hour)) {
			if schedule.Runs(rules, i, run) {
				n[i]++
			}
		}
	}
	if n != [2]int{8, 2} {
		t.Fatalf("runs per day: %v", n)
	}
	first := schedule.Upcoming(rules, from, 3)
	if len(first) != 3 || first[0].Rule != 1 || first[1].Rule != 0 || !first[1].At.Equal(at(t, "2026-03-01T08:00:00Z")) {
		t.Fatalf("preview: %v", first)
	}
}

// Whatever rules a plan has, every run that does not take place has one beside it that does, and of a longer retention.
func TestNoRunYieldsToNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var rules []schedule.Rule
		for range rapid.IntRange(1, 4).Draw(t, "rules") {
			text := fmtCron(rapid.IntRange(0, 59).Draw(t, "minute"), rapid.IntRange(0, 23).Draw(t, "hour"), rapid.SampledFrom([]int{1, 2, 3, 6, 12, 24}).Draw(t, "every"))
			rules = append(rules, schedule.Rule{Expression: mustParse(t, text, ""), StartMinutes: int64(rapid.IntRange(60, 600).Draw(t, "window")), Lifecycle: life(-1, rapid.Int64Range(0, 3).Draw(t, "days"))})
		}
		from := at(t, "2026-03-01T00:00:00Z")
		for i, r := range rules {
			for run := range r.Expression.Between(from, from.Add(36*time.Hour)) {
				if schedule.Runs(rules, i, run) {
					continue
				}
				covered := false
				for j, o := range rules {
					for other := range o.Expression.Between(from.Add(-24*time.Hour), from.Add(72*time.Hour)) {
						overlap := other.Before(run.Add(time.Duration(r.StartMinutes)*time.Minute)) && run.Before(other.Add(time.Duration(o.StartMinutes)*time.Minute))
						covered = covered || overlap && o.Lifecycle.Longer(r.Lifecycle) && schedule.Runs(rules, j, other)
					}
				}
				if !covered {
					t.Fatalf("the run of rule %d at %v yields to nothing", i, run)
				}
			}
		}
	})
}

func fmtCron(minute, hour, every int) string {
	return fmt.Sprintf("cron(%d %d/%d * * ? *)", minute, hour, every)
}
