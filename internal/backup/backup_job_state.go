package backup

import (
	"fmt"
	"slices"
)

// State is the state of a backup, copy or restore job, equal to AWS's enums.
type State string

// The states of jobs.
const (
	StateCreated   State = "CREATED"
	StatePending   State = "PENDING"
	StateRunning   State = "RUNNING"
	StateAborting  State = "ABORTING"
	StateAborted   State = "ABORTED"
	StateCompleted State = "COMPLETED"
	StateFailed    State = "FAILED"
	StateExpired   State = "EXPIRED"
	StatePartial   State = "PARTIAL"
)

// machine says which states may follow which. A state that nothing follows is final.
type machine map[State][]State

// The three state machines. docs/STATES.md draws them.
var (
	// A backup that cannot begin in its start window, or is not done by the end of its completion window, is EXPIRED. A stop
	// that comes after the recovery point was committed does not undo it: ABORTING may still become COMPLETED or PARTIAL. The
	// scheduler records runs that nobody could begin as EXPIRED from the first, and those of resources that no agent declares
	// as FAILED.
	backupStates = machine{
		"":            {StateCreated, StateExpired, StateFailed},
		StateCreated:  {StateRunning, StateAborted, StateFailed, StateExpired},
		StateRunning:  {StateAborting, StateCompleted, StatePartial, StateFailed, StateExpired, StateAborted},
		StateAborting: {StateAborted, StateCompleted, StatePartial, StateFailed, StateExpired},
	}
	copyStates = machine{
		"":           {StateCreated},
		StateCreated: {StateRunning, StateFailed},
		StateRunning: {StateCompleted, StatePartial, StateFailed},
	}
	restoreStates = machine{
		"":           {StatePending},
		StatePending: {StateRunning, StateFailed},
		StateRunning: {StateCompleted, StateFailed, StateAborted},
	}
)

// final reports whether a job in this state has ended.
func (m machine) final(s State) bool { return len(m[s]) == 0 }

// step checks a transition. An error is a bug, never a caller's mistake.
func (m machine) step(from, to State) error {
	if !slices.Contains(m[from], to) {
		return fmt.Errorf("a job cannot go from %q to %q", from, to)
	}
	return nil
}

// The message categories that this service gives.
const (
	CategorySuccess = "SUCCESS"
	CategoryExpired = "JOB_EXPIRED"
	CategoryBusy    = "CONCURRENT_JOB"
	CategoryRange   = "RETENTION_OUT_OF_RANGE"
	CategoryMissing = "NOT_FOUND"
	CategoryState   = "INVALID_STATE"
	CategoryOther   = "MISCELLANEOUS"
)

// AWS's texts.
const (
	messageStopped = "Backup job was stopped by user."
	messageExpired = "Backup job expired before completion."
	messageBusy    = "Backup job failed because there was a running job for the same resource."
	messageRange   = "The retention specified in the job is not within the range specified for the target Backup Vault."
)
