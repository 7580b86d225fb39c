package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"strongroom/internal/schedule"
)

// failer is what the helpers need of *testing.T and *rapid.T.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func mustParse(t failer, text, zone string) *schedule.Expression {
	t.Helper()
	e, err := schedule.Parse(text, zone)
	if err != nil {
		t.Fatalf("%s in %q: %v", text, zone, err)
	}
	return e
}

func at(t failer, text string) time.Time {
	t.Helper()
	ts, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// The first runs after Saturday 2026-11-21 00:00 UTC, of expressions that are often read wrongly.
func TestNextReadsAWSCron(t *testing.T) {
	t.Parallel()
	from := at(t, "2026-11-21T00:00:00Z")
	for _, c := range []struct{ expression, next string }{
		{"cron(0 5 ? * * *)", "2026-11-21T05:00:00Z"},
		{"0 5 * * ? *", "2026-11-21T05:00:00Z"},
		{"cron(0 5 ? * 1 *)", "2026-11-22T05:00:00Z"}, // 1 is Sunday
		{"cron(0 5 ? * 7 *)", "2026-11-21T05:00:00Z"}, // 7 is Saturday
		{"cron(0 5 ? * SUN *)", "2026-11-22T05:00:00Z"},
		{"cron(0 22 ? * mon-fri *)", "2026-11-23T22:00:00Z"},
		{"cron(0 5 ? * L *)", "2026-11-21T05:00:00Z"},  // the last day of the week
		{"cron(0 5 ? * 6L *)", "2026-11-27T05:00:00Z"}, // last Friday
		{"cron(0 5 ? * 3#2 *)", "2026-12-08T05:00:00Z"},
		{"cron(0 5 ? * 7#5 *)", "2027-01-30T05:00:00Z"},
		{"cron(0 5 L * ? *)", "2026-11-30T05:00:00Z"},
		{"cron(0 5 LW * ? *)", "2026-11-30T05:00:00Z"},
		{"cron(0 5 LW 1 ? 2027)", "2027-01-29T05:00:00Z"}, // the 31st is a Sunday
		{"cron(0 5 15W 11 ? 2026-2027)", "2027-11-15T05:00:00Z"},
		{"cron(0 5 1W 8 ? 2026-2027)", "2027-08-02T05:00:00Z"}, // Sunday the 1st moves on within the month
		{"cron(0 5 1W 5 ? 2027)", "2027-05-03T05:00:00Z"},      // Saturday the 1st cannot move back into April
		{"cron(0 5 31W * ? *)", "2026-12-31T05:00:00Z"},
		{"cron(0 0 29 2 ? *)", "2028-02-29T00:00:00Z"},
		{"cron(0 5 1 1/3 ? *)", "2027-01-01T05:00:00Z"},
		{"cron(15 10/6 * * ? *)", "2026-11-21T10:15:00Z"},
		{"cron(0 0 1 1 ? 2199)", "2199-01-01T00:00:00Z"},
		{"cron(0 0 1 JAN,jul ? *)", "2027-01-01T00:00:00Z"},
		{"rate(12 hours)", "2026-11-21T12:00:00Z"},
		{"rate(1 day)", "2026-11-22T00:00:00Z"},
	} {
		got, ok := mustParse(t, c.expression, "").Next(from)
		if !ok || !got.Equal(at(t, c.next)) {
			t.Errorf("%s: next %v %v, want %s", c.expression, got, ok, c.next)
		}
	}
	for _, never := range []string{"cron(0 0 31 2 ? *)", "cron(0 0 1 1 ? 2020)", "cron(0 0 30W 2 ? *)"} {
		if got, ok := mustParse(t, never, "").Next(from); ok {
			t.Errorf("%s runs at %v", never, got)
		}
	}
}

func TestParseRefusesAndNamesTheField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expression, want string }{
		{"cron(61 3 * * ? *)", "minutes field: 61 is out of range 0-59"},
		{"cron(0 24 * * ? *)", "hours field: 24 is out of range 0-23"},
		{"cron(0 10 * * * *)", "day-of-month"},
		{"cron(0 10 ? * ? *)", "day-of-month"},
		{"cron(0 10 0 * ? *)", "day-of-month field: 0 is out of range 1-31"},
		{"cron(0 10 32 * ? *)", "day-of-month field: 32"},
		{"cron(0 10 * 13 ? *)", "month field: 13"},
		{"cron(0 10 * FOO ? *)", `month field: "FOO"`},
		{"cron(0 10 ? * 0 *)", "day-of-week field: 0"},
		{"cron(0 10 ? * 8 *)", "day-of-week field: 8"},
		{"cron(0 10 ? * 3#6 *)", "day-of-week"},
		{"cron(0 10 ? * 3#1,4#1 *)", "day-of-week"},
		{"cron(0 10 ? * 3,6L *)", "day-of-week"},
		{"cron(0 10 L,3 * ? *)", "day-of-month"},
		{"cron(0 10 3W,4 * ? *)", "day-of-month"},
		{"cron(0 10 * * ? 1969)", "year field: 1969"},
		{"cron(0 10 * * ? 2200)", "year field: 2200"},
		{"cron(5-3 10 * * ? *)", "minutes field: \"5-3\": the range ends before it begins"},
		{"cron(*/0 10 * * ? *)", "minutes field: \"*/0\": the step"},
		{"cron(*/61 10 * * ? *)", "minutes field"},
		{"cron(, 10 * * ? *)", "minutes field"},
		{"cron(1, 10 * * ? *)", "minutes field"},
		{"cron(+1 10 * * ? *)", "minutes field"},
		{"cron(1-2-3 10 * * ? *)", "minutes field"},
		{"cron(0 ? * * ? *)", "hours field"},
		{"cron(0 10 * * ?)", "six fields"},
		{"0 10 * * ? * *", "six fields"},
		{"cron(0 10 * * ? *", "parenthesis"},
		{"cron 0 10 * * ? *", "six fields"},
		{"at(2026-01-01T00:00:00)", "neither cron"},
		{"", "six fields"},
		{"rate(0 hours)", "rate"},
		{"rate(1 hours)", "singular"},
		{"rate(2 hour)", "singular"},
		{"rate(5 weeks)", "unit"},
		{"rate(-5 hours)", "rate"},
		{"rate(99999999 days)", "100 years"},
	} {
		_, err := schedule.Parse(c.expression, "")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.expression, err, c.want)
		}
	}
	for _, zone := range []string{"Local", "Europe/Nowhere", "../etc/passwd"} {
		if _, err := schedule.Parse("cron(0 5 ? * * *)", zone); err == nil {
			t.Errorf("time zone %q was accepted", zone)
		}
	}
}

// A local time that the clock skips runs when the gap ends; one that it repeats runs the first time only.
func TestClockChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, expression, from, runs string }{
		// Forward at 02:00 to 03:00 on 2026-03-29, back at 03:00 to 02:00 on 2026-10-25.
		{"Europe/Berlin", "cron(30 2 * * ? *)", "2026-03-27T12:00:00Z", "2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
		{"Europe/Berlin", "cron(30 2 * * ? *)", "2026-10-23T12:00:00Z", "2026-10-24T00:30:00Z 2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"Europe/Berlin", "cron(0 * 29 3 ? 2026)", "2026-03-28T23:30:00Z", "2026-03-29T00:00:00Z 2026-03-29T01:00:00Z 2026-03-29T02:00:00Z"},
		{"America/New_York", "cron(30 1 * * ? *)", "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z 2026-11-02T06:30:00Z"},
		{"America/New_York", "cron(0 2 * * ? *)", "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z 2026-03-09T06:00:00Z"},
		// Half an hour of daylight saving.
		{"Australia/Lord_Howe", "cron(15 2 * * ? *)", "2026-10-02T16:00:00Z", "2026-10-03T15:30:00Z 2026-10-04T15:15:00Z"},
		// Midnight itself is skipped.
		{"America/Santiago", "cron(0 0 * * ? *)", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z 2026-09-07T03:00:00Z"},
		{"Africa/Cairo", "cron(30 0 * * ? *)", "2026-04-23T00:00:00Z", "2026-04-23T22:00:00Z 2026-04-24T21:30:00Z"},
		// A whole day was skipped.
		{"Pacific/Apia", "cron(0 12 * * ? *)", "2011-12-29T00:00:00Z", "2011-12-29T22:00:00Z 2011-12-30T10:00:00Z 2011-12-30T22:00:00Z"},
		{"Asia/Kathmandu", "cron(0 5 * * ? *)", "2026-01-01T00:00:00Z", "2026-01-01T23:15:00Z"},
	} {
		e, got, next := mustParse(t, c.expression, c.zone), "", at(t, c.from)
		want := strings.Fields(c.runs)
		for range want {
			next, _ = e.Next(next)
			got += " " + next.Format(time.RFC3339)
		}
		if got[1:] != c.runs {
			t.Errorf("%s %s after %s:\n got %s\nwant %s", c.zone, c.expression, c.from, got[1:], c.runs)
		}
		for i := len(want) - 1; i > 0; i-- { // and backwards
			if prev, ok := e.Prev(at(t, want[i])); !ok || !prev.Equal(at(t, want[i-1])) {
				t.Errorf("%s %s before %s: got %v, want %s", c.zone, c.expression, want[i], prev, want[i-1])
			}
		}
	}
}

func TestFinerThanHour(t *testing.T) {
	t.Parallel()
	for text, finer := range map[string]bool{
		"cron(0 * * * ? *)": false, "cron(15 5 ? * * *)": false, "cron(0,30 5 * * ? *)": true, "cron(0/15 * * * ? *)": true, "cron(* 1 * * ? *)": true,
		"rate(1 hour)": false, "rate(60 minutes)": false, "rate(59 minutes)": true,
	} {
		if got := mustParse(t, text, "").FinerThanHour(); got != finer {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, zone, want string }{
		{"cron(0 5 ? * * *)", "Europe/Paris", "every day at 05:00 Europe/Paris"},
		{"cron(15 * ? * * *)", "", "every day every hour at :15 Etc/UTC"},
		{"cron(0 22 ? * MON-FRI *)", "", "every Monday, Tuesday, Wednesday, Thursday and Friday at 22:00 Etc/UTC"},
		{"cron(0 0,12 1,15 * ? *)", "", "on days 1 and 15 at 00:00 and 12:00 Etc/UTC"},
		{"cron(0 5 L JAN ? 2027)", "", "on the last day of the month in January in 2027 at 05:00 Etc/UTC"},
		{"cron(0 5 ? * 3#2 *)", "", "on the second Tuesday of the month at 05:00 Etc/UTC"},
		{"cron(0 5 ? * 6L *)", "", "on the last Friday of the month at 05:00 Etc/UTC"},
		{"rate(36 hours)", "", "every 36 hours"},
		{"rate(1 day)", "", "every day"},
	} {
		if got := mustParse(t, c.text, c.zone).Text(); got != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestRatesCountFromTheirAnchor(t *testing.T) {
	t.Parallel()
	e := mustParse(t, "rate(12 hours)", "").Anchored(at(t, "2026-03-01T07:20:00Z"))
	for _, c := range [][3]string{
		{"2026-03-01T07:20:00Z", "2026-03-01T19:20:00Z", "2026-02-28T19:20:00Z"},
		{"2026-03-01T07:19:59Z", "2026-03-01T07:20:00Z", "2026-02-28T19:20:00Z"},
		{"2026-03-04T00:00:00Z", "2026-03-04T07:20:00Z", "2026-03-03T19:20:00Z"},
		{"2025-12-31T07:20:01Z", "2025-12-31T19:20:00Z", "2025-12-31T07:20:00Z"},
	} {
		next, _ := e.Next(at(t, c[0]))
		prev, _ := e.Prev(at(t, c[0]))
		if !next.Equal(at(t, c[1])) || !prev.Equal(at(t, c[2])) {
			t.Errorf("at %s: next %v, prev %v", c[0], next, prev)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"cron(0 5 ? * * *)", "0/15 10-12,14 LW JAN-MAR ? 2026/3", "cron(0 0 ? * 3#2 *)", "cron(0 0 ? * 6L *)", "cron(0 0 31W 2 ? *)", "rate(5 days)", "cron(* * * * ? 2199)"} {
		f.Add(s, int64(1790000000))
	}
	f.Fuzz(func(t *testing.T, text string, sec int64) {
		e, err := schedule.Parse(text, "Europe/Berlin")
		if err != nil {
			return
		}
		if e.Text() == "" || e.String() != text {
			t.Fatal("no text")
		}
		from := time.Unix(sec%7e9, 0)
		next, ok := e.Next(from)
		if !ok {
			return
		}
		if !next.After(from) {
			t.Fatalf("%q: next of %v is %v", text, from, next)
		}
		if prev, ok := e.Prev(next); ok && prev.After(from) {
			t.Fatalf("%q: %v lies between %v and its next run %v", text, prev, from, next)
		}
		if back, ok := e.Prev(next.Add(time.Nanosecond)); !ok || !back.Equal(next) {
			t.Fatalf("%q: the run before just after %v is %v", text, next, back)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, text := range []string{"cron(0 5 ? * * *)", "cron(0 0 29 2 ? *)", "cron(0 5 ? * 6L *)"} {
		e, from := mustParse(b, text, "Europe/Berlin"), time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
		b.Run(fmt.Sprint(text), func(b *testing.B) {
			for b.Loop() {
				e.Next(from)
			}
		})
	}
}
