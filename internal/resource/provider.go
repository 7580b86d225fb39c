// Package resource is the vocabulary of providers: the code that reads a real resource for a backup and writes one for a
// restore. Each type has a folder of its own below this one.
//
// A Provider is bound to one place when it is made: a directory, a database cluster, a bucket, a table, a device. What is
// read from it and written into it is a tree of named parts (package tree), whatever the resource is: a file system's
// files, a database's dump members and log segments, a bucket's object versions, a table's partitions, a volume's one
// image. So the vault engine needs to know one shape only.
//
// Providers know nothing of accounts, ARNs, vaults or chunks; which place belongs to which account is the agent's business
// (package agent). A provider never changes what it reads, and a restore never overwrites: it makes something new in its
// place. Texts that a caller of the API may see (problems, refusals, fault messages) name paths inside the resource only,
// never paths of the host; those go into the cause of an error, for the log.
package resource

import (
	"context"
	"io"
	"time"

	"strongroom/internal/tree"
)

// Features says what a provider can do. The contract suite (resourcetest) skips by it, and the agent refuses early what
// is not there.
type Features struct {
	// Type is the resource type as the backup API spells it: "EFS", "RDS", "S3", "DynamoDB", "EBS".
	Type string
	// Items: single parts can be restored, by path.
	Items bool
	// PointInTime: a Source shows one moment. Without it, parts that change while they are read are marked.
	PointInTime bool
	// HardLinks, Sparse, Metadata: kinds of fidelity that a type either has or lacks.
	HardLinks, Sparse, Metadata bool
}

// Provider reads and writes the resource at one place. Safe for concurrent use.
type Provider interface {
	// Features is constant.
	Features() Features
	// Source opens the resource for reading. fault.NotFound when the place does not exist, fault.Unavailable when it cannot
	// be reached now. The caller closes it after the last Content is closed.
	Source(ctx context.Context) (Source, error)
	// Target prepares a restore into the place. Nothing a user can take for a finished restore is visible before Finish.
	Target(ctx context.Context, r Request) (Restoration, error)
}

// Source is a tree to be read that holds something open.
type Source interface {
	tree.Source
	io.Closer
}

// Request describes one restore.
type Request struct {
	// ID names the restore. Target with the ID of an earlier, unfinished attempt discards what that attempt left and begins
	// anew; while the other attempt is still running it is refused with fault.Conflict. Required.
	ID string
	// CreatedAt is when the restore was asked for; providers put it into the names of what they make.
	CreatedAt time.Time
	// Create makes the place first if it does not exist.
	Create bool
}

// Restoration is a restore in progress. After Finish the result is complete, durable and visible under Location. Close
// MUST be called in any case: without a successful Finish it removes everything that was made.
type Restoration interface {
	tree.Target
	io.Closer
	// Location says where inside the resource the restored content is, for messages: "aws-backup-restore_…".
	Location() string
}
