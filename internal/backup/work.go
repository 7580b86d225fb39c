package backup

import (
	"time"

	"strongroom/internal/job"
	"strongroom/internal/schedule"
)

// The kinds of job that this service enqueues. The runner registers a handler for each.
const (
	BackupKind  job.Kind = "backup"
	CopyKind    job.Kind = "copy"
	RestoreKind job.Kind = "restore"
)

// How a handler of the runner uses this part of the service, for backups (copies and restores alike):
//
//	w, err := s.BeginBackup(ctx, lease)    // RUNNING and everything the body needs; err is job.ErrEnded when the job has
//	                                       // expired or was refused, *job.Later when the resource is busy: return it as it is
//	report := s.Reporter(lease)            // report.Progress(ctx, ...) as often as convenient
//	...                                    // do the work; it must be idempotent, a retry gets the same ids
//	err = s.FinishBackup(ctx, lease, res)  // COMPLETED or PARTIAL; fault.Conflict when the lease was lost: nothing recorded
//
// and on failure s.EndBackup(ctx, lease, StateFailed, message, category), in GiveUp too; on job.ErrCancelled
// s.EndBackup(ctx, lease, StateAborted, "", ""). Begin, Finish and End complete the lease when they end the job.

// WorkVault is a vault as the runner needs it.
type WorkVault struct {
	Account, Region, Name, ARN string
	ID                         string // of the vault row: names its repository, never reused
	KeyARN                     string
	// Sealed says that the vault's lock is immutable: what it holds is locked in its repository too, where the catalog alone
	// cannot release it.
	Sealed bool
}

// WorkPoint is a recovery point as the runner needs it.
type WorkPoint struct {
	ARN          string
	ID           string // names the recovery point in the vault's repository
	ResourceARN  string
	ResourceName string
	ResourceType string
	Created      time.Time
	SizeBytes    int64
	Lifecycle    schedule.Lifecycle
}

// BackupWork is everything the body of a backup job needs.
type BackupWork struct {
	JobID   string
	Account string
	Region  string
	Attempt int
	RoleARN string
	Vault   WorkVault
	// Point is what the job makes. Its ids derive from the job's, so a retry makes the same recovery point again.
	Point WorkPoint
	// BaseID is the repository id of the newest usable recovery point of the same resource in the same vault; "" for none.
	BaseID     string
	DeleteAt   time.Time // zero: never
	MoveAt     time.Time // zero: never
	Tags       map[string]string
	Detail     PointDetail // for the commit record; the body adds what it knows
	Options    map[string]string
	StartBy    time.Time
	CompleteBy time.Time // the body stops then: context.WithDeadline, EndBackup(StateExpired)
}

// BackupResult is what a finished backup reports. Problems decide between COMPLETED and PARTIAL.
type BackupResult struct {
	SizeBytes        int64 // logical size of the recovery point
	TransferredBytes int64 // new bytes that went into the vault
	ResourceName     string
	// Receipt is the repository's proof of commit, kept with the recovery point; opaque here.
	Receipt []byte
	// RestoreMetadata is what GetRecoveryPointRestoreMetadata answers.
	RestoreMetadata map[string]string
	// Problems counts the entries that are not a faithful copy; FirstProblems names some of them ("path: reason").
	Problems      int64
	FirstProblems []string
}

// CopyWork is everything the body of a copy job needs. Source and Destination may have different homes.
type CopyWork struct {
	JobID       string
	Account     string // of the job: the source's
	Region      string
	Attempt     int
	RoleARN     string
	Source      WorkVault
	SourcePoint WorkPoint
	Destination WorkVault
	// Point is what the job makes in the destination; its ids derive from the job's and its Created is the source's.
	Point    WorkPoint
	BaseID   string // newest usable recovery point of the same resource in the destination vault; "" for none
	DeleteAt time.Time
	MoveAt   time.Time
	Tags     map[string]string
	Detail   PointDetail // for the commit record
}

// CopyResult is what a finished copy reports.
type CopyResult struct {
	SizeBytes        int64
	TransferredBytes int64
	Receipt          []byte // of the destination
}

// RestoreWork is everything the body of a restore job needs.
type RestoreWork struct {
	JobID    string
	Account  string
	Region   string
	Attempt  int
	RoleARN  string
	Vault    WorkVault
	Point    WorkPoint
	Metadata map[string]string
	CopyTags bool // CopySourceTagsToRestoredResource
	Created  time.Time
}

// RestoreResult is what a finished restore reports. With Problems the job ends FAILED: what was restored stays, the
// message says what is missing, and CreatedResourceARN says where the rest is.
type RestoreResult struct {
	CreatedResourceARN string
	SizeBytes          int64
	Message            string
	Problems           int64
	FirstProblems      []string
}

// Progress is how far a job has come.
type Progress struct {
	Bytes   int64
	Percent float64 // 0 to 100
	Message string  // replaces StatusMessage while the job runs; "" leaves it
}

// ScheduleKind is woken when a plan has changed; no job has this kind. See Queue.Woken.
const ScheduleKind job.Kind = "schedule"
