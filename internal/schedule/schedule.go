// Package schedule holds the pure rules of time: AWS schedule expressions, the windows of a job, and the dates that a
// lifecycle sets.
//
// It knows no database, no clock and no service: times are arguments. The grammar is AWS's six-field cron (minutes, hours,
// day of month, month, day of week with 1 = Sunday, year) and rate expressions, parsed strictly: an expression that AWS
// would refuse is an error that names the field, never a guess.
//
// Invariants:
//   - Next(t) is strictly after t and Prev(t) strictly before it; both agree with a walk over every minute (tests do it).
//   - A local time that a clock change skips runs at the first valid instant after the gap; one that a clock change
//     repeats runs once, at its first occurrence. So each local time of the expression has exactly one run.
//
// Start reading at Parse and Expression.Next (cron.go), then Lifecycle (lifecycle.go) and Window (window.go).
package schedule
