package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// generated is an expression with an independent reading of it: a predicate over what the clock on the wall shows.
type generated struct {
	text  string
	match func(wall time.Time) bool
}

func genField(t *rapid.T, name string, lo, hi int) (string, func(int) bool) {
	member := map[int]bool{}
	var terms []string
	for range rapid.IntRange(1, 3).Draw(t, name+" terms") {
		a := rapid.IntRange(lo, hi).Draw(t, name+" from")
		b := rapid.IntRange(a, hi).Draw(t, name+" to")
		step := rapid.IntRange(1, hi-lo+1).Draw(t, name+" step")
		switch rapid.IntRange(0, 5).Draw(t, name+" form") {
		case 0:
			terms = append(terms, "*")
			a, b, step = lo, hi, 1
		case 1:
			terms = append(terms, fmt.Sprint(a))
			b, step = a, 1
		case 2:
			terms = append(terms, fmt.Sprintf("%d-%d", a, b))
			step = 1
		case 3:
			terms = append(terms, fmt.Sprintf("%d/%d", a, step))
			b = hi
		case 4:
			terms = append(terms, fmt.Sprintf("*/%d", step))
			a, b = lo, hi
		default:
			terms = append(terms, fmt.Sprintf("%d-%d/%d", a, b, step))
		}
		for v := a; v <= b; v += step {
			member[v] = true
		}
	}
	return strings.Join(terms, ","), func(v int) bool { return member[v] }
}

// genDays draws the day-of-month and day-of-week fields.
func genDays(t *rapid.T) (dom, dow string, match func(time.Time) bool) {
	isLast := func(w time.Time) bool { return w.AddDate(0, 0, 1).Day() == 1 }
	working := func(w time.Time) bool { return w.Weekday() != time.Saturday && w.Weekday() != time.Sunday }
	n := rapid.IntRange(1, 7).Draw(t, "weekday")
	day := rapid.IntRange(1, 31).Draw(t, "day")
	switch rapid.IntRange(0, 6).Draw(t, "day form") {
	case 0:
		return "L", "?", isLast
	case 1: // a working day after which the month has no other one
		return "LW", "?", func(w time.Time) bool {
			for d := w.AddDate(0, 0, 1); d.Month() == w.Month(); d = d.AddDate(0, 0, 1) {
				if working(d) {
					return false
				}
			}
			return working(w)
		}
	case 2: // the working day of the month with the smallest distance; Monday to Friday are never two apart from both sides
		return fmt.Sprintf("%dW", day), "?", func(w time.Time) bool {
			first := time.Date(w.Year(), w.Month(), 1, 0, 0, 0, 0, time.UTC)
			if first.AddDate(0, 0, day-1).Month() != w.Month() {
				return false
			}
			best, distance := 0, 99
			for d := first; d.Month() == w.Month(); d = d.AddDate(0, 0, 1) {
				if far := max(d.Day()-day, day-d.Day()); working(d) && far < distance {
					best, distance = d.Day(), far
				}
			}
			return w.Day() == best
		}
	case 3:
		return "?", fmt.Sprintf("%dL", n), func(w time.Time) bool { return int(w.Weekday()) == n-1 && w.AddDate(0, 0, 7).Month() != w.Month() }
	case 4:
		k := rapid.IntRange(1, 5).Draw(t, "which")
		return "?", fmt.Sprintf("%d#%d", n, k), func(w time.Time) bool { return int(w.Weekday()) == n-1 && (w.Day()-1)/7 == k-1 }
	case 5:
		text, in := genField(t, "dow", 1, 7)
		return "?", text, func(w time.Time) bool { return in(int(w.Weekday()) + 1) }
	default:
		text, in := genField(t, "dom", 1, 31)
		return text, "?", func(w time.Time) bool { return in(w.Day()) }
	}
}

func genExpression(t *rapid.T) generated {
	minute, isMinute := genField(t, "minute", 0, 59)
	hour, isHour := genField(t, "hour", 0, 23)
	dom, dow, isDay := genDays(t)
	month, isMonth := genField(t, "month", 1, 12)
	return generated{
		text: fmt.Sprintf("cron(%s %s %s %s %s *)", minute, hour, dom, month, dow),
		match: func(w time.Time) bool {
			return isMinute(w.Minute()) && isHour(w.Hour()) && isMonth(int(w.Month())) && isDay(w)
		},
	}
}

var walkZones = []string{"Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Africa/Casablanca", "Pacific/Chatham", "America/Santiago", "Africa/Cairo", "Pacific/Apia"}

// walk finds the runs in (from, to] the slow way: minute by minute, looking at the clock on the wall.
func walk(g generated, zone *time.Location, from, to time.Time) (runs []time.Time) {
	wall := func(at time.Time) time.Time {
		l := at.In(zone)
		return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC)
	}
	// Wall times up to shown have had their turn. Start early enough to know what the clock showed before it was set back.
	start := from.Truncate(time.Minute).Add(-50 * time.Hour)
	shown := wall(start)
	for at := start.Add(time.Minute); !at.After(to); at = at.Add(time.Minute) {
		now := wall(at)
		due := false
		for w := shown.Add(time.Minute); !w.After(now); w = w.Add(time.Minute) {
			due = due || g.match(w)
		}
		if now.After(shown) {
			shown = now
		}
		if due && at.After(from) {
			runs = append(runs, at)
		}
	}
	return runs
}

func TestRunsEqualAWalkOverEveryMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := genExpression(t)
		name := rapid.SampledFrom(walkZones).Draw(t, "zone")
		e := mustParse(t, g.text, name)
		// Around the clock changes as often as anywhere.
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 2*366*24*60).Draw(t, "minute")) * time.Minute)
		if name == "Pacific/Apia" {
			from = time.Date(2011, 12, 29, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 72*60).Draw(t, "near")) * time.Minute)
		} else if rapid.Bool().Draw(t, "near a change") {
			if _, end := from.In(e.Location()).ZoneBounds(); !end.IsZero() {
				from = end.Add(time.Duration(rapid.IntRange(-180, 180).Draw(t, "offset")) * time.Minute)
			}
		}
		from = from.Add(time.Duration(rapid.IntRange(0, 59).Draw(t, "second")) * time.Second)
		to := from.Add(time.Duration(rapid.IntRange(1, 10*24).Draw(t, "hours")) * time.Hour)
		want := walk(g, e.Location(), from, to)
		var got []time.Time
		for at := range e.Between(from, to) {
			got = append(got, at)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) && fmt.Sprint(inUTC(got)) != fmt.Sprint(inUTC(want)) {
			t.Fatalf("%s in %s from %v to %v:\n got %v\nwant %v", g.text, name, from, to, inUTC(got), inUTC(want))
		}
		before := to.Add(time.Nanosecond)
		for i := len(want) - 1; i >= 0; i-- {
			prev, ok := e.Prev(before)
			if !ok || !prev.Equal(want[i]) {
				t.Fatalf("%s in %s before %v: got %v, want %v", g.text, name, before, prev, want[i])
			}
			before = prev
		}
		if prev, ok := e.Prev(before); ok && len(want) > 0 && prev.After(from) {
			t.Fatalf("%s in %s: run %v was missed by Next", g.text, name, prev)
		}
	})
}

func inUTC(list []time.Time) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.UTC().Format(time.RFC3339)
	}
	return out
}

// Every local time of day has exactly one run on every local day of a year, in zones with all sorts of clock changes. Where a
// run falls into a gap that reaches over midnight, it is the first instant of the next day.
func TestAYearHasOneRunADayInEveryZone(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{
		"Etc/UTC", "Europe/Berlin", "Europe/London", "Europe/Lisbon", "America/New_York", "America/St_Johns", "America/Santiago", "America/Havana", "America/Asuncion",
		"America/Sao_Paulo", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Jerusalem", "Asia/Kathmandu", "Asia/Tokyo", "Australia/Lord_Howe",
		"Australia/Adelaide", "Pacific/Auckland", "Pacific/Chatham",
	} {
		begin := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
		end := begin.AddDate(1, 0, 0)
		for minute := 0; minute < 24*60; minute += 15 {
			e := mustParse(t, fmt.Sprintf("cron(%d %d * * ? *)", minute%60, minute/60), zone)
			n, last := 0, time.Time{}
			for at := range e.Between(begin, end) {
				if n++; n > 1 && (at.Sub(last) < 22*time.Hour || at.Sub(last) > 26*time.Hour) {
					t.Errorf("%s %v: %v follows %v", zone, e, at, last)
				}
				last = at
			}
			if n != 365 {
				t.Errorf("%s %v: %d runs in a year", zone, e, n)
			}
		}
	}
}
