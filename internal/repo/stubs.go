package repo

import (
	"context"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/tree"
)

// Registry coordinates the open repositories of one process.
type Registry struct{}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{} }

// Descriptor names the vault that a repository belongs to.
type Descriptor struct {
	Vault    string // UUID
	Owner    string // account
	Name     string
	VaultARN string
	Region   string
	Created  time.Time
}

// Envelope is the root key of a vault, wrapped by somebody who can unwrap it. Kind is "kms", "maint" or "recipient".
type Envelope struct {
	Kind  string
	KeyID string
	Blob  []byte
}

// Repository holds the recovery points of one vault.
type Repository struct{}

// Point is one recovery point.
type Point struct{}

func todo() error { return fault.New(fault.Unsupported, "not implemented") }

// Create makes a repository in an empty store.
func Create(ctx context.Context, c Config, d Descriptor, envelopes []Envelope) (*Repository, error) {
	return nil, todo()
}

// Envelopes lists the wrapped root keys.
func Envelopes(ctx context.Context, s blob.Store) ([]Envelope, error) { return nil, todo() }

// Describe reads the descriptor without authenticating it.
func Describe(ctx context.Context, s blob.Store) (Descriptor, error) { return Descriptor{}, todo() }

// AddEnvelope stores one more wrapped root key.
func AddEnvelope(ctx context.Context, s blob.Store, e Envelope) error { return todo() }

// Open opens a repository.
func Open(ctx context.Context, c Config) (*Repository, error) { return nil, todo() }

// Close ends the use of the repository.
func (r *Repository) Close() error { return nil }

// Descriptor returns the authenticated descriptor.
func (r *Repository) Descriptor() Descriptor { return Descriptor{} }

// Backup stores a tree as a new recovery point.
func (r *Repository) Backup(ctx context.Context, src tree.Source, o BackupOptions) (Receipt, error) {
	return Receipt{}, todo()
}

// Point returns a recovery point.
func (r *Repository) Point(ctx context.Context, id string) (*Point, error) { return nil, todo() }

// List returns the recovery points.
func (r *Repository) List(ctx context.Context) ([]Commit, error) { return nil, todo() }

// Forget drops a recovery point. now comes from the trusted clock.
func (r *Repository) Forget(ctx context.Context, id string, now time.Time) error { return todo() }

// SetRetention changes the retention of a recovery point.
func (r *Repository) SetRetention(ctx context.Context, id string, until time.Time, locked bool) error {
	return todo()
}

// Prune frees what no recovery point needs.
func (r *Repository) Prune(ctx context.Context, o PruneOptions) (PruneReport, error) {
	return PruneReport{}, todo()
}

// Check verifies the structure.
func (r *Repository) Check(ctx context.Context) (CheckReport, error) { return CheckReport{}, todo() }

// Scrub verifies the ciphertext of every pack without the root key.
func (r *Repository) Scrub(ctx context.Context) (CheckReport, error) { return CheckReport{}, todo() }

// VerifyAll reads everything.
func (r *Repository) VerifyAll(ctx context.Context, progress func(Progress)) (CheckReport, error) {
	return CheckReport{}, todo()
}

// Commit returns what the repository knows about the recovery point.
func (p *Point) Commit() Commit { return Commit{} }

// Walk calls fn for the entries at and below prefix in tree order.
func (p *Point) Walk(ctx context.Context, prefix string, fn func(*tree.Entry) error) error {
	return todo()
}

// Lookup returns one entry.
func (p *Point) Lookup(ctx context.Context, path string) (tree.Entry, error) {
	return tree.Entry{}, todo()
}

// Restore writes the recovery point into a target.
func (p *Point) Restore(ctx context.Context, t tree.Target, o RestoreOptions) (RestoreReport, error) {
	return RestoreReport{}, todo()
}

// Verify reads every byte of the recovery point.
func (p *Point) Verify(ctx context.Context, progress func(Progress)) (CheckReport, error) {
	return CheckReport{}, todo()
}

// Copy stores src as a new recovery point of dst.
func Copy(ctx context.Context, src *Point, dst *Repository, o CopyOptions) (Receipt, error) {
	return Receipt{}, todo()
}
