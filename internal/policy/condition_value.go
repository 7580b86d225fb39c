package policy

import (
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// decimal is a number of arbitrary size, compared exactly.
type decimal struct {
	negative bool
	whole    string // without leading zeros
	fraction string // without trailing zeros
}

// parseDecimal reads [+-]digits[.digits].
func parseDecimal(s string) (decimal, bool) {
	s = strings.TrimSpace(s)
	d := decimal{}
	if s != "" && (s[0] == '-' || s[0] == '+') {
		d.negative, s = s[0] == '-', s[1:]
	}
	whole, fraction, dot := strings.Cut(s, ".")
	if !digits(whole) || dot && !digits(fraction) || len(s) > 64 {
		return decimal{}, false
	}
	d.whole, d.fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if d.whole == "" && d.fraction == "" {
		d.negative = false
	}
	return d, true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// compare returns -1, 0 or +1.
func (d decimal) compare(e decimal) int {
	if d.negative != e.negative {
		if d.negative {
			return -1
		}
		return 1
	}
	c := len(d.whole) - len(e.whole)
	if c == 0 {
		c = strings.Compare(d.whole, e.whole)
	}
	if c == 0 {
		c = strings.Compare(d.fraction, e.fraction)
	}
	if d.negative {
		c = -c
	}
	return min(max(c, -1), 1)
}

// dateLayouts are the forms of ISO 8601 that the W3C note on dates admits; a time without zone is UTC.
var dateLayouts = [...]string{
	"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04",
	"20060102T150405Z", "2006-01-02", "2006-01", "2006",
}

// parseDate reads an ISO 8601 date or a count of seconds since 1970. Four digits are a year.
func parseDate(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	for _, l := range dateLayouts {
		if t, err := time.Parse(l, s); err == nil {
			return t, true
		}
	}
	secs, frac, dot := strings.Cut(s, ".")
	if dot && (!digits(frac) || len(frac) > 9) {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(secs, 10, 64)
	if err != nil || n < -1<<40 || n > 1<<40 {
		return time.Time{}, false
	}
	nanos, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	return time.Unix(n, nanos), true
}

// parsePrefix reads a CIDR block or a bare address.
func parsePrefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// parseBool reads true or false in any case.
func parseBool(s string) (v, ok bool) {
	switch fold(s) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

func parseBinary(s string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	return b, err == nil
}
