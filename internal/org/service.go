// Package org is the organization: accounts, their tree of organizational units, the policies attached to it, trusted services and
// delegated administrators.
//
// It keeps the tree and says who may see and change it by being its management account, a delegated administrator or a member
// (caller.go); permission policies are evaluated before a call arrives here. It hands service control policies to the evaluator
// (Guardrails) and never evaluates them. It makes accounts, but knows nothing of what is in them.
//
// Invariants:
//   - An account is in at most one organization and has exactly one parent there.
//   - While service control policies are enabled, every root, unit and account has at least one attached.
//   - A change of membership, tree or attachment is seen by the next Guardrails on any node: each one counts up a generation in
//     its own transaction, see cache.go.
//   - A new account is in its place, with its policies, before any credential for it can exist.
//
// Start at Service, then organization.go, account.go and tree.go; policy.go and attachment.go for policies. The behaviour follows the
// AWS Organizations API reference as of September 2026.
package org

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/ident"
	"strongroom/internal/policy"
)

//go:embed migrations/*.sql
var files embed.FS

// Accounts makes what a new account starts with.
type Accounts interface {
	// CreateAccessRole makes a role in account that trusts the account `trusted` and may do everything. It MUST be safe to
	// repeat: a fault of kind Exists counts as done.
	CreateAccessRole(ctx context.Context, account, roleName, trusted string) error
}

// Config is what a Service needs. DB, Clock and Accounts are required.
type Config struct {
	DB       *db.DB
	Clock    clock.Clock
	Accounts Accounts
	// MaxAccounts bounds an organization; 0: 10,000. (AWS starts at 10 to bound a bill; there is none here.)
	MaxAccounts int
	// TokenKey authenticates page tokens, at least 16 bytes; nil: tokens are good until the node restarts.
	TokenKey []byte
	Log      *slog.Logger
}

// Service implements Organizations over its own tables. Safe for concurrent use.
type Service struct {
	Config
	docs  *policy.Cache
	cache guardrailCache
}

// New brings the tables up to date and returns the service.
func New(ctx context.Context, c Config) (*Service, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxAccounts == 0 {
		c.MaxAccounts = 10000
	}
	if c.TokenKey == nil {
		c.TokenKey = ident.Bytes(32)
	}
	dir, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, err
	}
	if err := c.DB.Migrate(ctx, "org", dir); err != nil {
		return nil, err
	}
	return &Service{Config: c, docs: policy.NewCache(1000)}, nil
}
