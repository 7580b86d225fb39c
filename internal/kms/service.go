// Package kms is the key management service: symmetric keys with policies, grants, aliases, rotation and deletion, and the
// node's ROOT from which its other secrets are protected.
//
// It decides what a key's state allows, never who may use it: callers are authorized before they come here (the API by the
// dispatcher, jobs by the runner). Lookup hands the evaluator what a key adds to that decision. It is not a store for data:
// what it encrypts is at most 4096 bytes, normally another key.
//
// Invariants:
//   - Key material exists in plain only while it is used. At rest it is sealed under ROOT with the account, region, key and
//     material it belongs to as associated data; ROOT is sealed by a Seal outside the catalog.
//   - A ciphertext names its key and material and decrypts after any number of rotations, until the key is destroyed.
//   - A key is destroyed only after its waiting period, only if nothing depends on it (Config.InUse), and never by a request.
//   - No error, log line or ciphertext carries a secret; an encryption context is not a secret.
//
// Start at Service; then key.go and state.go (what a key is), blob.go and crypto.go (what is done with it), root.go and seal.go
// (how it is kept). The behaviour follows the AWS KMS API reference and developer guide as of September 2026.
package kms

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"

	"strongroom/internal/clock"
	"strongroom/internal/db"
)

//go:embed migrations/*.sql
var files embed.FS

func migrate(ctx context.Context, d *db.DB) error {
	dir, err := fs.Sub(files, "migrations")
	if err != nil {
		return err
	}
	return d.Migrate(ctx, "kms", dir)
}

// Config is what a Service needs. DB, Clock and one of Root and Seal are required.
type Config struct {
	DB    *db.DB
	Clock clock.Clock
	// Root is the opened ROOT; nil opens it with Seal.
	Root *Root
	Seal Seal
	// InUse lists unexpired recovery points in locked vaults that cannot be read without the key. A key with any of them
	// is neither scheduled for deletion nor destroyed. An error counts as a yes. nil: nothing depends on keys.
	InUse func(ctx context.Context, keyARN string) ([]string, error)
	// PrincipalExists says whether an account id or the ARN of a root, user, role or session names something. Key policies and
	// grants that name nothing are refused. nil: everything exists.
	PrincipalExists func(ctx context.Context, principal string) bool
	// Trusted reads the compliance clock: keys are destroyed only when it and the wall clock agree that the date has passed.
	// nil: the wall clock alone, for tests.
	Trusted func() clock.Reading
	Log     *slog.Logger
}

// Service implements KMS over its own tables. Safe for concurrent use.
type Service struct {
	Config
}

// New brings the tables up to date, opens ROOT if that was not done, and returns the service.
func New(ctx context.Context, c Config) (*Service, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Root == nil {
		root, err := OpenRoot(ctx, c.DB, c.Seal)
		if err != nil {
			return nil, err
		}
		c.Root = root
	}
	return &Service{Config: c}, nil
}
