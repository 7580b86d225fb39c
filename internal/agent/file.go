// Package agent knows the agent files: what an administrator declares, on the host where the data lives, that an account
// may protect there and where its restores may go. Hub is the registry of those files inside a node and opens what they
// declare through the providers (package resource).
//
// It is the border between names and places: callers of the API name ARNs and ids, only agent files name paths, and no
// path of the host appears in anything that is meant for a caller (fault messages, Declared, Restoration).
//
// Invariants: an id belongs to one agent file; restore roots of different files do not overlap, so a restored file system
// belongs to exactly one account; no resource lies in a restore root or around one, so a restore never becomes part of
// what it restores.
//
// Start with File (file.go), how it is read (parse.go, check.go), then Hub (hub.go, restore.go, items.go).
package agent

// EFS is the resource type of file trees.
const EFS = "EFS"

// File is a parsed agent file: one account, one region, one host.
type File struct {
	Name      string // where it was read from, for messages to the administrator
	Account   string
	Region    string
	Resources []Resource
	// Restore says where restores of a type go; nil means that nothing is restored through this agent.
	Restore *RestoreEFS
}

// Resource is one declared resource.
type Resource struct {
	Type string
	ID   string
	Path string // of the host
	Tags map[string]string
	// CrossMounts includes other file systems that are mounted inside the tree (key crossMounts, default false: a mount
	// point inside the tree is reported as not protected).
	CrossMounts bool

	line int
}

// RestoreEFS is the policy for restores of file trees. The defaults are those of a cautious administrator: what a restore
// could use to give somebody rights on this host must be asked for here, and is listed in the job's report otherwise.
type RestoreEFS struct {
	// Root is the directory below which restored file systems are made, each as a directory named by its id.
	Root string
	// Devices restores character and block devices (key devices, default false).
	Devices bool
	// SetUID restores setuid and setgid files, file capabilities and other privileged attributes (key setuid, default false).
	SetUID bool
	// Ownership restores owners, groups and ACLs (key ownership). The default is true where the agent runs as root, who
	// alone can do it.
	Ownership bool

	line int
}
