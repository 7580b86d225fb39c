// Package repo is the vault engine: it keeps the bytes of recovery points.
//
// A Repository holds the recovery points of one vault as immutable objects in a blob.Store. It cuts what it is given into
// chunks, keeps each chunk once, compresses and seals it under keys of this vault alone, and can give back every recovery
// point bit for bit, copy it into a repository under unrelated keys, and free the bytes that no recovery point needs.
//
// It is not a catalog: who may do what, when a recovery point expires and which job made it are decided elsewhere. It
// knows no AWS type, no database and no KMS: it is handed the vault's root key and never stores it in the clear.
//
// What always holds:
//   - A recovery point exists when its commit record does, and then everything it refers to is durable.
//   - Nothing in the store is ever changed in place. What a crash leaves is garbage for Prune, never damage.
//   - Every byte that is read is authenticated and bound to its meaning before it is used. What fails is fault.Corrupt.
//   - Freeing never depends on the wall clock, and never races sessions of this process (sessions.go). One process at a
//     time opens a repository; the store keeps others away.
//
// Start with Config and Open, then Backup (backup.go), Point (point.go), Copy (copy.go), Prune (prune.go). The bytes are
// described in docs/FORMAT.md; chunk, pack, index, manifest and seal below this package each own one kind of them.
package repo

import (
	"log/slog"

	"strongroom/internal/blob"
	"strongroom/internal/clock"
)

// KeySize is the size of a vault's root key and of its maintenance key.
const KeySize = 32

// Config says which repository to open and with what.
type Config struct {
	Store blob.Store
	Vault string // UUID of the vault; refused when the store holds another vault's objects
	// Root is the vault's root key. Without it (nil) the repository is open for maintenance only: List, Forget,
	// SetRetention, Prune without repacking, Check without manifests, Scrub. Everything else is fault.State.
	Root []byte
	// Maint authenticates commit records, reference sets, journal and index. Required.
	Maint []byte
	Clock clock.Clock
	// Registry coordinates everything this process does with repositories. A server has exactly one and passes it to every
	// Open, so that any number of Repositories of one vault may be open at once. nil: this Repository is the only one of
	// its vault; a second Open fails with fault.Unavailable.
	Registry *Registry
	Workers  int          // parallel work per call; 0 = number of CPUs
	Log      *slog.Logger // nil = discard
	// TrustMemory leaves out that every new chunk is decompressed and compared with its hash before it is stored. That
	// check finds a wrong compressor and flipped bits in memory while the source is still there.
	TrustMemory bool
}
