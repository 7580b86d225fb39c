// Package backup holds the rules and tables of the backup service: vaults, recovery points, protected and declared
// resources, settings and tags; plans, selections, jobs and the scheduler.
//
// It is the catalog, not the data: a vault row names a repository (a random id), and the bytes of the recovery points in
// that repository are read and written by the runner and the engine, never from here. It knows no wire format and decides
// no authorization; callers have been authorized before they call, and every method takes the account it acts for.
//
// Invariants:
//   - While a vault is locked, no call deletes a recovery point in it or changes its lifecycle. Expiry by the lifecycle
//     that the recovery point had before goes on.
//   - A compliance lock whose date has passed is never removed or changed, also when the clock is turned back afterwards
//     (column immutable).
//   - Times that decide retention (DeleteAt, MoveToColdAt) derive from the recovery point's creation date and its
//     lifecycle and are stored with it; nothing else writes them.
//   - Expiry asks two clocks: the wall clock and the trusted time given by the caller; the earlier one counts.
//   - A vault is deleted only when it holds no recovery point in any state.
//   - Keys and roles are reached through Config, outside of transactions: their services use the same database.
//
// It follows the AWS Backup API of 2018-11-15. Start at Service (service.go), then Vault (vault.go) and RecoveryPoint
// (recovery_point.go); each noun has its rules in noun.go and its SQL in noun_store.go where both are long.
package backup
