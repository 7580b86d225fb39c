package schedule

import (
	"slices"
	"time"
)

// Windows and their defaults, in minutes, as in AWS.
const (
	DefaultStartMinutes    = 480
	DefaultCompleteMinutes = 10080
	MinStartMinutes        = 60
	MaxStartMinutes        = 52_560_000 // 100 years
)

// Window is the time in which one run of a rule may begin and must be done. Both ends count from the scheduled time, so a
// late start has less time to complete.
type Window struct {
	StartBy    time.Time // a job that is not running by then expires
	CompleteBy time.Time // a job that runs longer is stopped
}

// WindowOf returns the window of a run scheduled for at.
func WindowOf(at time.Time, startMinutes, completeMinutes int64) Window {
	return Window{
		StartBy:    at.Add(time.Duration(startMinutes) * time.Minute),
		CompleteBy: at.Add(time.Duration(completeMinutes) * time.Minute),
	}
}

// Rule is what overlap needs to know of a rule of a plan.
type Rule struct {
	Expression   *Expression
	StartMinutes int64
	Lifecycle    Lifecycle
}

// Runs reports whether the run of rules[i] scheduled for at takes place. Where start windows of rules of one plan overlap, only
// the rule that keeps longest runs: a run yields to each overlapping one of a longer retention that itself takes place.
// Rules of equal retention do not displace each other.
//
// The answer for windows that overlap thousands of others is cut short in favour of running: one backup too many is better
// than one too few.
func Runs(rules []Rule, i int, at time.Time) bool {
	budget := 4096
	return runs(rules, i, at, &budget)
}

func runs(rules []Rule, i int, at time.Time, budget *int) bool {
	end := at.Add(rules[i].window())
	for j, other := range rules {
		if !other.Lifecycle.Longer(rules[i].Lifecycle) {
			continue
		}
		for t, ok := other.Expression.Next(at.Add(-other.window())); ok && t.Before(end); t, ok = other.Expression.Next(t) {
			if *budget--; *budget < 0 {
				return true
			}
			if runs(rules, j, t, budget) {
				return false
			}
		}
	}
	return true
}

func (r Rule) window() time.Duration { return time.Duration(r.StartMinutes) * time.Minute }

// Preview is a run to come of one of several rules.
type Preview struct {
	Rule int // index into rules
	At   time.Time
}

// Upcoming lists the next n runs of the rules after t in order of time, runs displaced by a longer retention left out.
func Upcoming(rules []Rule, t time.Time, n int) (list []Preview) {
	for i, r := range rules {
		found := 0
		for at, ok := r.Expression.Next(t); ok && found < n; at, ok = r.Expression.Next(at) {
			if !Runs(rules, i, at) {
				// A rule that is always displaced would be searched to the end of time.
				if at.Sub(t) > 366*24*time.Hour {
					break
				}
				continue
			}
			list = append(list, Preview{i, at})
			found++
		}
	}
	slices.SortStableFunc(list, func(a, b Preview) int { return a.At.Compare(b.At) })
	return list[:min(n, len(list))]
}
