package repo

import (
	"time"

	"strongroom/internal/tree"
)

// Meta is what the owner of a recovery point says about it. It is authenticated inside the commit record; everything but
// the retention is encrypted too.
type Meta struct {
	Owner            string // account
	ResourceARN      string
	RecoveryPointARN string
	ResourceType     string
	Created          time.Time // start of the backup, as shown to users; a copy keeps the original's
	RetainUntil      time.Time // zero: no date
	// Locked: Forget is refused before RetainUntil (for ever, if that is zero), and retention can only be extended.
	Locked bool
	Labels map[string]string
}

// Stats counts what one backup or copy did.
type Stats struct {
	Entries        int64 // objects in the tree
	Files          int64 // regular files among them, hard links counted once
	LogicalBytes   int64 // content of the files, holes left out
	ReadBytes      int64 // read from the source
	NewBytes       int64 // of ReadBytes: not known to the repository before
	StoredBytes    int64 // written to the store, everything counted
	UnchangedFiles int64 // recognised by their metadata and not read
	NewChunks      int64
	Chunks         int64 // referred to by the recovery point
}

// Problem names one object of a recovery point that is not a faithful copy, and why.
type Problem struct{ Path, Reason string }

// MaxProblems is how many problems a Receipt and a Commit list; ProblemCount counts all. The manifest marks every entry.
const MaxProblems = 1000

// Receipt is the proof of a committed recovery point.
type Receipt struct {
	ID           string
	Root         [32]byte // hash of the manifest's root page: what a copy must reproduce
	Committed    time.Time
	RetainUntil  time.Time
	Locked       bool
	Stats        Stats
	Problems     []Problem
	ProblemCount int64
}

// Commit is one recovery point as the repository knows it, the journal's changes applied.
type Commit struct {
	ID          string
	Committed   time.Time
	RetainUntil time.Time
	Locked      bool
	// The rest is zero when the repository was opened without its root key.
	Meta         Meta
	Root         [32]byte
	Stats        Stats
	Problems     []Problem
	ProblemCount int64
}

// Progress is what a running operation has done so far. Callbacks come from one goroutine at a time, at most about four a
// second, and must return quickly.
type Progress struct {
	Entries int64
	Bytes   int64 // content backed up, restored or copied so far, unchanged files included
	Read    int64 // bytes really read
	Stored  int64 // bytes written to the store
	Total   int64 // expected Bytes, 0 if unknown
	Path    string
}

// BackupOptions are the parameters of Backup.
type BackupOptions struct {
	ID string // of the new recovery point: 1–128 of [A-Za-z0-9._-], not beginning with '.'
	// Base is an earlier recovery point of the same resource, or "". Files that tree.Unchanged recognises in it are not
	// read again. A base that is gone or damaged is ignored: everything is read.
	Base     string
	Meta     Meta
	Progress func(Progress)
	// BlockSize chooses fixed blocks instead of content-defined chunks for a file, for disk images and database files that
	// are rewritten in place: a power of two from 4 KiB to 2 MiB, or 0. nil means 0 for every file.
	BlockSize func(*tree.Entry) int
}

// RestoreOptions are the parameters of Restore.
type RestoreOptions struct {
	// Include lists paths; each is restored with everything below it and the directories above it. Empty means all.
	Include  []string
	Progress func(Progress)
}

// RestoreReport says what Restore did.
type RestoreReport struct {
	Entries int64
	Bytes   int64
	// Refused lists what the target would not create, and Incomplete what the recovery point itself does not hold
	// faithfully (its entries' problems) or no more, because of damage; the first MaxProblems of each.
	Refused         []tree.Refused
	RefusedCount    int64
	Incomplete      []Problem
	IncompleteCount int64
	DamagedCount    int64 // of IncompleteCount: left out because of damage
}

// CopyOptions are the parameters of Copy.
type CopyOptions struct {
	ID       string // of the recovery point in the destination
	Meta     Meta
	Progress func(Progress)
}

// PruneOptions are the parameters of Prune.
type PruneOptions struct {
	DryRun bool
	// Now is the trusted time, by which the grace period is measured; zero: that of Config.Clock.
	Now time.Time
	// Grace is how long packs that nobody needs wait in the trash before they are deleted. 0: they, and all that wait
	// already, are deleted at once. KeepTrash: nothing is deleted.
	Grace time.Duration
	// MaxFraction is the part of the stored bytes that may go at once (fault.Limit) although no forgotten recovery point
	// accounts for it; 0 means 0.1, negative no limit. Up to MinBytes may always go; 0 means 1 GiB, negative nothing. More
	// than 1 TiB never goes without approval.
	MaxFraction float64
	MinBytes    int64
	// Approved is the digest of the plan that somebody looked at and approved: exactly that may go beyond the limit.
	Approved string
	// RepackDead rewrites packs of which at least this part is dead; 0 means 0.4, negative never. It needs the root key.
	RepackDead float64
}

// PruneReport says what Prune found and did (with DryRun: would do).
type PruneReport struct {
	Packs          int   // before
	StoredBytes    int64 // before
	DeletedPacks   int
	FreedBytes     int64
	TrashedPacks   int // in the trash afterwards
	TrashedBytes   int64
	RescuedPacks   int // taken out of the trash because a recovery point needs them: worth a question how that came
	RepackedPacks  int
	RepackedBytes  int64 // written anew
	DeferredPacks  int   // dead, but an operation that began before is still running: the next Prune takes them
	DeletedObjects int   // other objects: records of forgotten recovery points, superseded indexes
	TempFiles      int
	Plan           Plan
}

// Finding is something wrong in a repository. Damage to content is found twice: once where it lies (a pack; Point is ""), and
// once for every recovery point and path that it spoils. A finding without a recovery point spoils none by itself.
type Finding struct {
	Object string // name of the object that is damaged or missing
	Point  string // recovery point concerned, "" if it is none or not known which
	Path   string // the entry concerned, of the recovery point
	// Lost, if not 0, is how many entries of the manifest are lost with a part of it, from Path up to and without Until ("" for
	// the end).
	Lost   int64
	Until  string
	Reason string
}

// CheckReport is the result of Check, Scrub, Verify and VerifyAll. The operation itself succeeded; Findings is what it
// found, at most MaxProblems of them. Bytes counts content that was verified, or for Scrub what was compared with digests.
type CheckReport struct {
	Points, Packs, Chunks, Pages int64
	Bytes                        int64
	Findings                     []Finding
	FindingCount                 int64
}

// OK reports whether nothing was found.
func (c *CheckReport) OK() bool { return c.FindingCount == 0 }
