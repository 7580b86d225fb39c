package schedule

import (
	"time"

	"strongroom/internal/fault"
)

// The limits of a retention in days.
const (
	MinDeleteAfterDays = 1
	MaxDeleteAfterDays = 36500
	// KeepSourceExpiry as a copy's DeleteAfterDays keeps the expiry date of the recovery point that is copied.
	KeepSourceExpiry = -1
)

// Lifecycle says when a recovery point moves to cold storage and when it expires, in days from its creation. A nil member
// means never. The zero value keeps for ever.
type Lifecycle struct {
	MoveToColdAfterDays *int64 `json:",omitempty"`
	DeleteAfterDays     *int64 `json:",omitempty"`
	OptInToArchive      *bool  `json:",omitempty"`
}

// Days returns a pointer to n, for the optional members of Lifecycle.
func Days(n int64) *int64 { return &n }

// Validate checks a lifecycle for a new recovery point. coldMinimum is how many days a recovery point must at least stay
// in cold storage (AWS: 90); with 0 it is enough that deletion comes after the move. Errors are fault.Invalid with AWS's
// text.
func (l Lifecycle) Validate(coldMinimum int) error { return l.validate(coldMinimum, false) }

// ValidateCopy is Validate for the lifecycle of a copy, which may also be KeepSourceExpiry.
func (l Lifecycle) ValidateCopy(coldMinimum int) error { return l.validate(coldMinimum, true) }

func (l Lifecycle) validate(coldMinimum int, isCopy bool) error {
	keeps := isCopy && l.DeleteAfterDays != nil && *l.DeleteAfterDays == KeepSourceExpiry
	if d := l.DeleteAfterDays; d != nil && !keeps && (*d < MinDeleteAfterDays || *d > MaxDeleteAfterDays) {
		return fault.New(fault.Invalid, "Invalid lifecycle. DeleteAfterDays cannot be less than %d or more than %d days", MinDeleteAfterDays, MaxDeleteAfterDays)
	}
	m := l.MoveToColdAfterDays
	if m == nil {
		return nil
	}
	if *m < 0 || *m > MaxDeleteAfterDays {
		return fault.New(fault.Invalid, "Invalid lifecycle. MoveToColdStorageAfterDays cannot be less than 0 or more than %d days", MaxDeleteAfterDays)
	}
	if l.DeleteAfterDays == nil || keeps {
		return nil
	}
	if coldMinimum > 0 && *l.DeleteAfterDays < *m+int64(coldMinimum) {
		return fault.New(fault.Invalid, "Invalid lifecycle. DeleteAfterDays cannot be less than %d days apart from MoveToColdStorageAfterDays", coldMinimum)
	}
	if *l.DeleteAfterDays <= *m {
		return fault.New(fault.Invalid, "Invalid lifecycle. DeleteAfterDays must be greater than MoveToColdStorageAfterDays")
	}
	return nil
}

// DeleteAt is when a recovery point created at created expires; the zero time means never.
func (l Lifecycle) DeleteAt(created time.Time) time.Time { return addDays(created, l.DeleteAfterDays) }

// MoveAt is when a recovery point created at created moves to cold storage; the zero time means never.
func (l Lifecycle) MoveAt(created time.Time) time.Time {
	return addDays(created, l.MoveToColdAfterDays)
}

// addDays counts days of 24 hours in UTC, so that a retention does not depend on anybody's clock changes.
func addDays(t time.Time, days *int64) time.Time {
	if days == nil || *days < 0 {
		return time.Time{}
	}
	return t.UTC().Add(time.Duration(*days) * 24 * time.Hour)
}

// ForCopy resolves the lifecycle of a copy: nil inherits the source's; KeepSourceExpiry takes over the source's
// DeleteAfterDays, which yields the same date because a copy keeps the creation date of its source.
func ForCopy(own *Lifecycle, source Lifecycle) Lifecycle {
	if own == nil {
		return source
	}
	l := *own
	if l.DeleteAfterDays != nil && *l.DeleteAfterDays == KeepSourceExpiry {
		l.DeleteAfterDays = source.DeleteAfterDays
	}
	return l
}

// WithinLock reports whether the retention lies in a vault lock's range; 0 means no bound. Keeping for ever satisfies
// every minimum and violates every maximum.
func (l Lifecycle) WithinLock(minDays, maxDays int64) bool {
	if l.DeleteAfterDays == nil {
		return maxDays == 0
	}
	d := *l.DeleteAfterDays
	return d >= minDays && (maxDays == 0 || d <= maxDays)
}

// Longer reports whether l keeps a recovery point longer than m does.
func (l Lifecycle) Longer(m Lifecycle) bool {
	switch {
	case m.DeleteAfterDays == nil:
		return false
	case l.DeleteAfterDays == nil:
		return true
	}
	return *l.DeleteAfterDays > *m.DeleteAfterDays
}
