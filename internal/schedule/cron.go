package schedule

import (
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// cron is a parsed cron expression, without its time zone.
type cron struct {
	minutes, hours, months, years set
	dom, dow                      set
	days                          dayRule
	day, nth                      int // arguments of the rule: day of month or weekday (0 = Sunday), and which one of the month
}

// dayRule says how the days of a month are chosen.
type dayRule int

const (
	byMonthDay     dayRule = iota // dom
	byWeekday                     // dow
	lastDay                       // L in day-of-month
	lastWeekday                   // LW
	nearestWeekday                // <day>W
	lastNamedDay                  // <weekday>L
	nthNamedDay                   // <weekday>#<nth>
)

func parseCron(text string) (*cron, error) {
	f := strings.Fields(text)
	if len(f) != 6 {
		return nil, fmt.Errorf("cron wants six fields (minutes hours day-of-month month day-of-week year), this has %d", len(f))
	}
	c := &cron{}
	var err error
	for _, p := range []struct {
		field
		text string
		to   *set
	}{{minuteField, f[0], &c.minutes}, {hourField, f[1], &c.hours}, {monthField, f[3], &c.months}, {yearField, f[5], &c.years}} {
		if *p.to, err = p.parse(p.text); err != nil {
			return nil, err
		}
	}
	switch dom, dow := f[2] == "?", f[4] == "?"; {
	case dom && dow:
		return nil, domField.errorf("one of day-of-month and day-of-week must name days; both are ?")
	case !dom && !dow:
		return nil, domField.errorf("day-of-month and day-of-week exclude each other: one of them must be ?")
	case dow:
		err = c.parseDayOfMonth(f[2])
	default:
		err = c.parseDayOfWeek(f[4])
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *cron) parseDayOfMonth(text string) (err error) {
	switch {
	case strings.EqualFold(text, "L"):
		c.days = lastDay
	case strings.EqualFold(text, "LW") || strings.EqualFold(text, "WL"):
		c.days = lastWeekday
	case strings.ContainsAny(text, "Ww"):
		day, ok := strings.CutSuffix(strings.ToUpper(text), "W")
		if n, isNumber := number(day); !ok || !isNumber || n < 1 || n > 31 {
			return domField.errorf("%q: W stands after one day, as in 15W", text)
		}
		c.days = nearestWeekday
		c.day, err = domField.value(day)
	case strings.ContainsAny(text, "Ll"):
		return domField.errorf("%q: L stands alone or as LW", text)
	default:
		c.days = byMonthDay
		c.dom, err = domField.parse(text)
	}
	return err
}

func (c *cron) parseDayOfWeek(text string) (err error) {
	if strings.EqualFold(text, "L") { // the last day of the week
		c.days = byWeekday
		c.dow.add(6)
		return nil
	}
	if day, nth, ok := strings.Cut(text, "#"); ok {
		n, isNumber := number(nth)
		if !isNumber || n < 1 || n > 5 || strings.ContainsAny(day, ",-/*") {
			return dowField.errorf("%q: # stands alone between one weekday and 1-5, as in 3#2", text)
		}
		c.days, c.nth = nthNamedDay, n
		c.day, err = dowField.value(day)
		c.day--
		return err
	}
	// No weekday's name ends in L.
	if day, ok := strings.CutSuffix(strings.ToUpper(text), "L"); ok {
		if strings.ContainsAny(day, ",-/*") {
			return dowField.errorf("%q: L stands alone or after one weekday, as in 6L", text)
		}
		c.days = lastNamedDay
		c.day, err = dowField.value(day)
		c.day--
		return err
	}
	c.days = byWeekday
	c.dow, err = dowField.parse(text)
	return err
}

// monthDays returns the days of a month on which the expression runs, day d at bit d.
func (c *cron) monthDays(year int, month time.Month) uint64 {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC)
	n := last.Day()
	lastWd := int(last.Weekday())
	weekday := func(day int) int { return ((lastWd-(n-day))%7 + 7) % 7 }
	switch c.days {
	case lastDay:
		return 1 << n
	case lastWeekday:
		return 1 << nearest(n, n, weekday)
	case nearestWeekday:
		if c.day > n {
			return 0
		}
		return 1 << nearest(c.day, n, weekday)
	case lastNamedDay:
		return 1 << (n - (lastWd-c.day+7)%7)
	case nthNamedDay:
		d := 1 + (c.day-weekday(1)+7)%7 + 7*(c.nth-1)
		if d > n {
			return 0
		}
		return 1 << d
	case byWeekday:
		var m uint64
		for d := 1; d <= n; d++ {
			if c.dow.has(weekday(d)) {
				m |= 1 << d
			}
		}
		return m
	default:
		return c.dom[0] << 1 & (1<<(n+1) - 1) // the set counts from day 1
	}
}

// nearest returns the weekday (Monday to Friday) nearest to day without leaving the month of n days.
func nearest(day, n int, weekday func(int) int) int {
	switch weekday(day) {
	case 6: // Saturday
		if day == 1 {
			return 3
		}
		return day - 1
	case 0: // Sunday
		if day == n {
			return day - 2
		}
		return day + 1
	}
	return day
}

// Local times are computed as if they were UTC ("wall" times); instant maps them to real ones.

// wallFrom returns the first wall time of the expression that is not before w.
func (c *cron) wallFrom(w time.Time) (time.Time, bool) {
	if r := w.Truncate(time.Minute); r.Before(w) {
		w = r.Add(time.Minute)
	}
	year, month, day := w.Date()
	hour, minute := w.Hour(), w.Minute()
	for y := c.years.from(year - MinYear); y >= 0; y = c.years.from(y + 1) {
		if y+MinYear > year {
			year, month, day, hour, minute = y+MinYear, 1, 1, 0, 0
		}
		for m := c.months.from(int(month) - 1); m >= 0; m = c.months.from(m + 1) {
			if time.Month(m+1) > month {
				month, day, hour, minute = time.Month(m+1), 1, 0, 0
			}
			for days := c.monthDays(year, month) >> day << day; days != 0; days &= days - 1 {
				if d := bits.TrailingZeros64(days); d > day {
					day, hour, minute = d, 0, 0
				}
				for h := c.hours.from(hour); h >= 0; h = c.hours.from(h + 1) {
					if h > hour {
						hour, minute = h, 0
					}
					if mi := c.minutes.from(minute); mi >= 0 {
						return time.Date(year, month, day, h, mi, 0, 0, time.UTC), true
					}
				}
			}
		}
	}
	return time.Time{}, false
}

// wallUpTo returns the last wall time of the expression that is not after w.
func (c *cron) wallUpTo(w time.Time) (time.Time, bool) {
	year, month, day := w.Date()
	hour, minute := w.Hour(), w.Minute()
	for y := c.years.upTo(year - MinYear); y >= 0; y = c.years.upTo(y - 1) {
		if y+MinYear < year {
			year, month, day, hour, minute = y+MinYear, 12, 31, 23, 59
		}
		for m := c.months.upTo(int(month) - 1); m >= 0; m = c.months.upTo(m - 1) {
			if time.Month(m+1) < month {
				month, day, hour, minute = time.Month(m+1), 31, 23, 59
			}
			for days := c.monthDays(year, month) & (1<<(day+1) - 1); days != 0; {
				d := 63 - bits.LeadingZeros64(days)
				days &^= 1 << d
				if d < day {
					day, hour, minute = d, 23, 59
				}
				for h := c.hours.upTo(hour); h >= 0; h = c.hours.upTo(h - 1) {
					if h < hour {
						hour, minute = h, 59
					}
					if mi := c.minutes.upTo(minute); mi >= 0 {
						return time.Date(year, month, day, h, mi, 0, 0, time.UTC), true
					}
				}
			}
		}
	}
	return time.Time{}, false
}

func (c *cron) next(t time.Time, zone *time.Location) (time.Time, bool) {
	w, ok := c.wallFrom(wall(t.In(zone)))
	for ok {
		if at := instant(w, zone); at.After(t) {
			return at, true
		}
		w, ok = c.wallFrom(w.Add(time.Minute)) // in the second pass of a repeated hour, or right after a gap
	}
	return time.Time{}, false
}

func (c *cron) prev(t time.Time, zone *time.Location) (time.Time, bool) {
	local := t.In(zone)
	from := wall(local)
	// After a clock was set back, wall times later than the present one have been already.
	if start, _ := local.ZoneBounds(); !start.IsZero() && t.Sub(start) < farthest {
		if before := wall(start.Add(-time.Nanosecond).In(zone)); before.After(from) {
			from = before
		}
	}
	w, ok := c.wallUpTo(from)
	for ok {
		if at := instant(w, zone); at.Before(t) {
			return at, true
		}
		w, ok = c.wallUpTo(w.Add(-time.Minute))
	}
	return time.Time{}, false
}

// farthest is more than any time zone is away from UTC or any clock change moves.
const farthest = 26 * time.Hour

// wall returns what a clock on the wall of t's zone shows, as a time in UTC.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instant returns when a clock on the wall of zone first shows w; if it never does, because it is set forward past w, the
// moment it is. It rises with w, so runs keep their order. time.Date leaves both cases open.
func instant(w time.Time, zone *time.Location) time.Time {
	for probe := w.Add(-farthest); ; {
		local := probe.In(zone)
		_, offset := local.Zone()
		start, end := local.ZoneBounds()
		at := w.Add(-time.Duration(offset) * time.Second)
		switch {
		case !start.IsZero() && at.Before(start):
			return start.UTC()
		case end.IsZero() || at.Before(end):
			return at.UTC()
		}
		probe = end
	}
}
