package schedule

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones must not depend on what the host has installed
)

// DefaultZone is the time zone of an expression for which none is given, as AWS names it.
const DefaultZone = "Etc/UTC"

// Expression is a parsed schedule expression in its time zone. It is immutable and safe for concurrent use.
type Expression struct {
	text string
	zone *time.Location
	// Exactly one of the two is used.
	cron   *cron
	period time.Duration
	anchor time.Time // of a rate: some run
}

// Parse reads `cron(<six fields>)`, the six fields alone, or `rate(<n> <unit>)`, for a time zone of the IANA database ("":
// DefaultZone). The error says which field is wrong and why.
func Parse(text, zone string) (*Expression, error) {
	loc, err := Zone(zone)
	if err != nil {
		return nil, err
	}
	e := &Expression{text: text, zone: loc}
	body, kind := strings.TrimSpace(text), "cron"
	if open := strings.IndexByte(body, '('); open >= 0 {
		kind = body[:open]
		if !strings.HasSuffix(body, ")") {
			return nil, errors.New("the closing parenthesis is missing")
		}
		body = body[open+1 : len(body)-1]
	}
	switch kind {
	case "cron":
		e.cron, err = parseCron(body)
	case "rate":
		e.period, err = parseRate(body)
		e.anchor = time.Unix(0, 0)
	default:
		return nil, fmt.Errorf("%q is neither cron(...) nor rate(...)", kind)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Zone loads a time zone by its IANA name; "" is DefaultZone. The host's own zone ("Local") is refused: it would make the
// meaning of a plan depend on the machine.
func Zone(name string) (*time.Location, error) {
	if name == "" {
		name = DefaultZone
	}
	if name == "Local" {
		return nil, errors.New(`"Local" is not a time zone of the IANA database`)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone of the IANA database", name)
	}
	return loc, nil
}

var rateUnits = map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

func parseRate(text string) (time.Duration, error) {
	parts := strings.Fields(text)
	if len(parts) != 2 {
		return 0, errors.New("rate wants a number and a unit: rate(12 hours)")
	}
	n, err := strconv.ParseUint(parts[0], 10, 31)
	if err != nil || n == 0 || parts[0][0] == '+' {
		return 0, fmt.Errorf("rate: %q is not a positive number", parts[0])
	}
	unit, plural := strings.CutSuffix(parts[1], "s")
	d, ok := rateUnits[unit]
	if !ok {
		return 0, fmt.Errorf("rate: unknown unit %q: minute(s), hour(s) or day(s)", parts[1])
	}
	if plural != (n > 1) {
		return 0, fmt.Errorf("rate: %q: the unit is singular for 1 and plural for more", text)
	}
	const longest = 100 * 366 * 24 * time.Hour
	if n > uint64(longest/d) {
		return 0, fmt.Errorf("rate: %d %s is longer than 100 years", n, parts[1])
	}
	return time.Duration(n) * d, nil
}

// String returns the expression as it was written.
func (e *Expression) String() string { return e.text }

// Location returns the time zone of the expression.
func (e *Expression) Location() *time.Location { return e.zone }

// Anchored returns the expression with the runs of a rate counted from at, where the rule came into force. It makes no
// difference to a cron expression.
func (e *Expression) Anchored(at time.Time) *Expression {
	c := *e
	c.anchor = at.Truncate(time.Second)
	return &c
}

// Next returns the first run after t in UTC; ok is false when there is none any more.
func (e *Expression) Next(t time.Time) (next time.Time, ok bool) {
	if e.cron != nil {
		return e.cron.next(t, e.zone)
	}
	n := t.Sub(e.anchor) / e.period
	if t.Before(e.anchor) && e.anchor.Add(n*e.period).After(t) {
		n--
	}
	next = e.anchor.Add((n + 1) * e.period).UTC()
	return next, next.Year() <= MaxYear
}

// Prev returns the last run before t in UTC; ok is false when there is none.
func (e *Expression) Prev(t time.Time) (prev time.Time, ok bool) {
	if e.cron != nil {
		return e.cron.prev(t, e.zone)
	}
	n := t.Sub(e.anchor) / e.period
	prev = e.anchor.Add(n * e.period)
	if !prev.Before(t) {
		prev = prev.Add(-e.period)
	}
	return prev.UTC(), prev.Year() >= MinYear
}

// Between yields the runs after a up to and including b, in ascending order.
func (e *Expression) Between(a, b time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for t, ok := e.Next(a); ok && !t.After(b) && yield(t); t, ok = e.Next(t) {
		}
	}
}

// FinerThanHour reports whether two runs can come less than an hour apart, which backup plans do not allow.
func (e *Expression) FinerThanHour() bool {
	if e.cron != nil {
		return e.cron.minutes.len() > 1
	}
	return e.period < time.Hour
}
