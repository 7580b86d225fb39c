package schedule

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// field describes one position of a cron expression.
type field struct {
	name     string
	min, max int
	names    []string // of min, min+1, ...
}

var (
	minuteField = field{name: "minutes", min: 0, max: 59}
	hourField   = field{name: "hours", min: 0, max: 23}
	domField    = field{name: "day-of-month", min: 1, max: 31}
	monthField  = field{name: "month", min: 1, max: 12, names: []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}}
	dowField    = field{name: "day-of-week", min: 1, max: 7, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}}
	yearField   = field{name: "year", min: MinYear, max: MaxYear}
)

// The years that an expression may name.
const (
	MinYear = 1970
	MaxYear = 2199
)

// set holds the values of a field as bits, value - min at its own bit. 230 years need four words.
type set [4]uint64

func (s *set) add(i int)     { s[i>>6] |= 1 << (i & 63) }
func (s set) has(i int) bool { return i >= 0 && i < 256 && s[i>>6]&(1<<(i&63)) != 0 }

func (s set) len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// from returns the smallest member >= i, or -1.
func (s set) from(i int) int {
	for i = max(i, 0); i < 256; i = (i | 63) + 1 {
		if w := s[i>>6] >> (i & 63); w != 0 {
			return i + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// upTo returns the largest member <= i, or -1.
func (s set) upTo(i int) int {
	for i = min(i, 255); i >= 0; i = i&^63 - 1 {
		if w := s[i>>6] << (63 - i&63); w != 0 {
			return i - bits.LeadingZeros64(w)
		}
	}
	return -1
}

// list returns the members, min added.
func (f field) list(s set) (values []int) {
	for i := s.from(0); i >= 0; i = s.from(i + 1) {
		values = append(values, i+f.min)
	}
	return values
}

func (f field) errorf(format string, args ...any) error {
	return fmt.Errorf("%s field: %s", f.name, fmt.Sprintf(format, args...))
}

// parse reads a list of values, ranges and steps: the part of the grammar that all fields share.
func (f field) parse(text string) (s set, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if err := f.term(part, &s); err != nil {
			return set{}, err
		}
	}
	return s, nil
}

func (f field) term(text string, s *set) error {
	base, step, stepped := strings.Cut(text, "/")
	n := 1
	if stepped {
		var ok bool
		if n, ok = number(step); !ok || n < 1 || n > f.max-f.min+1 {
			return f.errorf("%q: the step must be a number from 1 to %d", text, f.max-f.min+1)
		}
	}
	first, last := f.min, f.max
	if base != "*" {
		a, b, ranged := strings.Cut(base, "-")
		var err error
		if first, err = f.value(a); err != nil {
			return err
		}
		switch {
		case ranged:
			if last, err = f.value(b); err != nil {
				return err
			}
			if last < first {
				return f.errorf("%q: the range ends before it begins", base)
			}
		case !stepped: // a lone number; with a step it means "from here on"
			last = first
		}
	}
	for v := first; v <= last; v += n {
		s.add(v - f.min)
	}
	return nil
}

// value reads a number or a name.
func (f field) value(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(name, text) {
			return f.min + i, nil
		}
	}
	n, ok := number(text)
	if !ok {
		return 0, f.errorf("%q is not a value", text)
	}
	if n < f.min || n > f.max {
		return 0, f.errorf("%d is out of range %d-%d", n, f.min, f.max)
	}
	return n, nil
}

// number reads 1 to 4 decimal digits and nothing else.
func number(text string) (int, bool) {
	if len(text) < 1 || len(text) > 4 {
		return 0, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}
