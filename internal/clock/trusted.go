package clock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"strongroom/internal/durable"
)

// Trusted is the compliance clock: the time that retention is measured by. Deletion asks it and the wall clock, and needs
// both to agree that the date has passed, so a wall clock that is set forward deletes nothing early and one that is set
// back only delays.
//
//   - It never goes back, also not over restarts: its value is on disk (Persist).
//   - While the process runs it advances by the monotonic clock, not by the wall clock.
//   - Time that passed while the process was down can only be read off the wall clock, which may lie. It is credited from
//     an allowance that holds at most seven days and refills as fast as the process runs. Restarting in a loop with the
//     date moved on therefore gains seven days once, and then no more than real time.
//   - When the two clocks disagree by more than a day all the same, it is frozen: nothing is deleted until they agree
//     again or the operator of the host accepts the wall clock (`strongroom clock accept`).
//
// Its limit: whoever is root on the host can edit the file. Safe for concurrent use.
type Trusted struct {
	mu    sync.Mutex
	path  string
	wall  Clock
	start time.Time // wall clock reading with its monotonic part, of the last advance
	state trustedState
}

type trustedState struct {
	Time      time.Time     `json:"time"`      // the compliance time
	Wall      time.Time     `json:"wall"`      // what the wall clock said then
	Allowance time.Duration `json:"allowance"` // offline time that may still be credited
}

const (
	// maxAllowance bounds how much time a lying wall clock can add over restarts: seven days, the shortest retention that an
	// immutable vault may have.
	maxAllowance = 7 * 24 * time.Hour
	// maxDisagreement is how far the clocks may differ before deletion stops.
	maxDisagreement = 24 * time.Hour
)

// OpenTrusted reads the clock's file, or begins at the wall clock's time if there is none. A file that cannot be
// understood is an error: guessing would mean trusting the wall clock alone.
func OpenTrusted(path string, wall Clock) (*Trusted, error) {
	now := wall.Now()
	t := &Trusted{path: path, wall: wall, start: now}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.state = trustedState{Time: now.UTC().Round(0), Wall: now.UTC().Round(0), Allowance: maxAllowance}
		return t, t.Persist()
	}
	if err != nil {
		return nil, fmt.Errorf("compliance clock: %w", err)
	}
	if err := json.Unmarshal(raw, &t.state); err != nil || t.state.Time.IsZero() || t.state.Wall.IsZero() || t.state.Allowance < 0 || t.state.Allowance > maxAllowance {
		return nil, fmt.Errorf("compliance clock: %s is damaged; `strongroom clock accept` makes it anew from the system clock", path)
	}
	if gap := now.Sub(t.state.Wall); gap > 0 {
		credit := min(gap, t.state.Allowance)
		t.state.Time = t.state.Time.Add(credit)
		t.state.Allowance -= credit
	}
	t.state.Wall = now.UTC().Round(0)
	return t, t.Persist()
}

// AcceptWall makes the wall clock's time the compliance time. It is for the operator of the host, with the node stopped.
func AcceptWall(path string, wall Clock) error {
	now := wall.Now().UTC().Round(0)
	t := &Trusted{path: path, wall: wall, start: now, state: trustedState{Time: now, Wall: now, Allowance: maxAllowance}}
	return t.Persist()
}

// advance brings the state up to now; t.mu is held.
func (t *Trusted) advance() time.Time {
	now := t.wall.Now()
	// Sub uses the monotonic readings when both have one: setting the wall clock does not change it.
	if d := now.Sub(t.start); d > 0 {
		t.state.Time = t.state.Time.Add(d)
		t.state.Allowance = min(maxAllowance, t.state.Allowance+d)
		t.start = now
	} else if d < 0 { // no monotonic reading and set back: count from here on
		t.start = now
	}
	t.state.Wall = now.UTC().Round(0)
	return now
}

// Reading is what the clock says about deletion.
type Reading struct {
	// Now is the earlier of compliance and wall time: what lies before it is past by both clocks.
	Now time.Time
	// Frozen says that nothing may be deleted now, and Reason why and what to do.
	Frozen bool
	Reason string
}

// Read returns the time to compare retention with.
func (t *Trusted) Read() Reading {
	t.mu.Lock()
	defer t.mu.Unlock()
	wall := t.advance().UTC().Round(0)
	r := Reading{Now: t.state.Time}
	if wall.Before(r.Now) {
		r.Now = wall
	}
	if diff := wall.Sub(t.state.Time).Abs(); diff > maxDisagreement {
		r.Frozen = true
		r.Reason = fmt.Sprintf("the system clock (%s) and the compliance clock (%s) disagree by %s: deletion is suspended. Correct the system clock; if it is right, stop the node and run `strongroom clock accept`",
			wall.Format(time.RFC3339), t.state.Time.Format(time.RFC3339), diff.Round(time.Minute))
	}
	return r
}

// Persist writes the clock to disk; when it returns nil the reading survives power loss. Call it every minute or so: what
// passed since the last call is offline time after a crash.
func (t *Trusted) Persist() error {
	t.mu.Lock()
	t.advance()
	raw, err := json.Marshal(t.state)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(t.path, raw, 0o600); err != nil {
		return fmt.Errorf("compliance clock: %w", err)
	}
	return nil
}
