// Package standalone uses a vault with nothing but its directory and a secret: no server, no database, no network.
//
// It serves two purposes. A vault of one machine (strongroom vault) is made here, with a passphrase, and used for ordinary
// backups of directories. A vault of a node (strongroom rescue) can be read here when the node is gone, if its keys were
// wrapped for a recovery recipient.
//
// It is not a second backup service: nobody's permissions are evaluated, nothing expires by itself, and whoever has the
// directory and the secret may do everything. What a node has locked stays locked all the same, as a node's vault is only
// ever read here.
//
// What always holds:
//   - Only Init and a Vault opened with Write change anything in the vault's directory; everything else leaves it as it is,
//     to the last byte.
//   - A restore makes something new. It never writes over anything, and what is not complete is not at its place.
//   - Secrets come from files, never from arguments or the environment.
//
// Start with Open, then Backup (backup.go) and Restore (restore.go).
package standalone
