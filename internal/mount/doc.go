// Package mount shows recovery points as a read-only file system (FUSE): one file of a large recovery point can be looked at
// or copied with ordinary programs, and nothing is restored for it.
//
// It is not a restore: every read authenticates and decompresses whole chunks, of which a bounded number is kept, so that
// copying a whole tree out of a mount is slower than restoring it. It knows no vault and no key: it is handed browsers.
//
// What always holds:
//   - Nothing can be changed through it. The kernel is told so, and each operation that would change something is refused here as
//     well.
//   - A byte that cannot be proved to be the recovery point's is EIO, never another byte. So is what the backup could not read.
//   - Set-user-id bits and device nodes are shown and have no effect (nosuid, nodev).
//
// Start with New and Mount; node.go is one object, dir.go the directory of all recovery points of a vault.
package mount
