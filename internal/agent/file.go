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
// Start with File (file.go), how it is read (parse.go, check.go), then Hub (hub.go), then RestoreRequest (request.go) and
// what becomes of it (restore.go).
package agent

import (
	"maps"
	"os"
	"path/filepath"

	"strongroom/internal/arn"
	"strongroom/internal/resource/files"
	"strongroom/internal/tree"
)

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
	// Blocks declares disk images and database files, which are rewritten in place, so that only what has changed in them is
	// stored (key fixedBlocks: a list of PATTERN or PATTERN=SIZE for paths below path, as in '*.img' or 'pgdata/base/**=8K').
	Blocks []tree.Blocks

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

// ID tells agents apart, the same at every start: the file's name with its account and region. Moving the file to another
// directory does not change it.
func (f *File) ID() string { return f.Account + "/" + f.Region + "/" + filepath.Base(f.Name) }

// Declared lists what the file declares, and the file systems that restores have made below its restore root.
func (f *File) Declared() []Declared {
	var out []Declared
	for _, r := range f.Resources {
		d := f.describe(r.ID)
		d.Tags = maps.Clone(r.Tags)
		if n := d.Tags["Name"]; n != "" {
			d.Name = n
		}
		out = append(out, d)
	}
	for _, id := range f.restored() {
		out = append(out, f.describe(id))
	}
	return out
}

// Declared is a resource as callers of the API see it.
type Declared struct {
	ARN     string
	Account string
	Region  string
	Type    string // "EFS"
	Name    string // the tag Name, else the id
	Tags    map[string]string
}

func (f *File) describe(id string) Declared {
	return Declared{ARN: fileSystemARN(f.Account, f.Region, id), Account: f.Account, Region: f.Region, Type: EFS, Name: id}
}

func fileSystemARN(account, region, id string) string {
	return arn.Make("elasticfilesystem", region, account, "file-system/"+id)
}

// restored lists the file systems that restores have made: the directories below the restore root that are named like
// one. The directory is the record, so they outlive the process. An id that the file declares itself is the declared one.
func (f *File) restored() []string {
	if f.Restore == nil {
		return nil
	}
	entries, err := os.ReadDir(f.Restore.Root)
	if err != nil {
		return nil // the root is gone for now; Restore says so
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && fileSystemID.MatchString(e.Name()) && f.resource(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids
}

func (f *File) resource(id string) *Resource {
	for i := range f.Resources {
		if f.Resources[i].ID == id {
			return &f.Resources[i]
		}
	}
	return nil
}

// options is the policy for reading and restoring through this agent.
func (f *File) options() files.Options {
	if f.Restore == nil {
		return files.Options{}
	}
	return files.Options{Ownership: f.Restore.Ownership, SetID: f.Restore.SetUID, Devices: f.Restore.Devices}
}
