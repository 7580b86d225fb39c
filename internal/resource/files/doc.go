// Package files is the provider for file trees, the EFS type: a directory of this host read as a tree.Source and written
// as a tree.Target. Linux only.
//
// What is kept: names as bytes, regular files with their holes, directories, symbolic links, hard links, fifos, sockets,
// devices; owner, group, permission bits, modification times to the nanosecond, every extended attribute as the kernel
// returns it (ACLs and capabilities are such). Not kept: access and creation times, inode flags, project ids, open locks.
//
// Consistency. The tree is read while it is in use; there is no snapshot here. Each file is compared before and after it is
// read and marked when it changed, so a recovery point never mixes two states of one file without saying so. Two limits
// remain, and a snapshot below the declared path removes both: writes through a shared memory mapping may leave no trace in
// the timestamps until they are flushed, and an object moved by rename from a directory that is still to be walked into one
// that was walked already is not seen. A name that vanishes between listing and looking is emitted with a problem, because
// it may have been such a move. Other file systems mounted inside the tree are not entered: the mount point is emitted with
// a problem, so that nobody believes it protected; Options.CrossMounts includes them.
//
// Privileges. Reading everything needs CAP_DAC_READ_SEARCH (root has it), restoring owners CAP_CHOWN and CAP_FOWNER,
// devices CAP_MKNOD. Without them what can be done is done and the rest is listed. /proc must be mounted. Kernel 5.8 or
// newer.
//
// Restores go into a new directory that is private to this process (mode 0700) until Finish, under a name that ends in
// ".partial" and begins with a dot; Finish makes everything durable and then gives it its final name. Every path is resolved
// from the open directory without following any symbolic link and without leaving it, existing objects are never opened for
// writing, and attributes are set through descriptors, never through names that somebody could have exchanged meanwhile.
// Devices, setuid and setgid files and privileged attributes are made only when Options allow it.
//
// Reading order: provider.go, then walk.go with load.go, list.go, stat.go, content.go for the source; target.go with
// create.go, writer.go, attributes.go, dirs.go for the target; open.go holds the path-safe primitives of both.
package files
