package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/resource"
	"strongroom/internal/resource/files"
	"strongroom/internal/tree"
)

// RestoreRequest says what to restore, in the words of the restore job's metadata.
type RestoreRequest struct {
	// ID names the restore, so that a further attempt recognises what an interrupted one left: the job's id. Without it
	// CreationToken and CreatedAt stand in.
	ID string
	// NewFileSystem makes a file system for the restore (newFileSystem); FileSystemID is ignored then. Otherwise the
	// restore goes into the file system FileSystemID (file-system-id, an id or an ARN of the account).
	NewFileSystem bool
	FileSystemID  string
	// Items are the absolute paths to restore with what is below them (ItemsToRestore). Empty or containing "/": everything.
	Items     []string
	CreatedAt time.Time
	// CreationToken decides the id of a new file system: the same token of one account and region always gives the same
	// file system, so a repeated request does not make a second one.
	CreationToken string
}

// Restoration is a restore in progress into one file system. Close it in any case: without a successful
// Target().Finish, everything that was made is removed.
type Restoration struct {
	// ResourceARN is the file system restored into, new or existing.
	ResourceARN string
	// Created is true when the file system is made by this restore.
	Created bool
	// Dir is the directory inside the file system that Finish makes visible: aws-backup-restore_<datetime>.
	Dir string
	// Items are the paths of the tree to restore, in tree order; nil means everything.
	Items []string

	in resource.Restoration
}

// Target is where the tree goes.
func (r *Restoration) Target() tree.Target { return r.in }

// Close ends the restore. Its error says what could not be cleaned up and is for the log.
func (r *Restoration) Close() error { return r.in.Close() }

// Restore begins a restore for an account. fault.Unsupported: no provider for the type; fault.Invalid: a wrong item or id;
// fault.NotFound: the account has no such file system; fault.State: the account's agents offer no place for restores;
// fault.Conflict: another attempt of the same restore is running.
func (h *Hub) Restore(ctx context.Context, account, region, resourceType string, q RestoreRequest) (*Restoration, error) {
	if resourceType != EFS {
		return nil, fault.New(fault.Unsupported, "resources of type %s cannot be restored by this version", resourceType)
	}
	wanted, err := items(q.Items)
	if err != nil {
		return nil, err
	}
	id, p, err := h.destination(account, region, q)
	if err != nil {
		return nil, err
	}
	req := resource.Request{ID: q.ID, CreatedAt: q.CreatedAt, Create: q.NewFileSystem}
	if req.ID == "" {
		req.ID = ident.NamedUUID(account, region, id, q.CreationToken, q.CreatedAt.UTC().Format(time.RFC3339Nano))
	}
	in, err := p.Target(ctx, req)
	if err != nil {
		return nil, err
	}
	f := File{Account: account, Region: region}
	return &Restoration{ResourceARN: f.arn(id), Created: q.NewFileSystem, Dir: in.Location(), Items: wanted, in: in}, nil
}

// destination finds the file system to restore into, or the place for a new one.
func (h *Hub) destination(account, region string, q RestoreRequest) (id string, p *files.Provider, err error) {
	if q.NewFileSystem {
		f := h.restorer(account, region)
		if f == nil {
			return "", nil, noPlace(account, region)
		}
		id = newFileSystemID(account, region, q)
		if f.resource(id) != nil {
			return "", nil, fault.New(fault.Exists, "the file system %s exists already", id)
		}
		return id, files.New(files.Config{Root: f.Restore.Root, Dir: id, Options: f.options()}), nil
	}
	id = q.FileSystemID
	if len(id) > 4 && id[:4] == "arn:" {
		var r string
		if r, id, err = parseARN(account, id); err != nil {
			return "", nil, err
		}
		if r != region {
			return "", nil, fault.New(fault.Invalid, "the file system %s is in another region", q.FileSystemID)
		}
	}
	if !fileSystemID.MatchString(id) {
		return "", nil, fault.New(fault.Invalid, "file-system-id: %q is not the id of a file system", q.FileSystemID)
	}
	f, p := h.find(account, region, id)
	if p == nil {
		return "", nil, fault.New(fault.NotFound, "the file system %s does not exist", id).WithResource(id)
	}
	if f.Restore == nil {
		return "", nil, noPlace(account, region)
	}
	return id, p, nil
}

func noPlace(account, region string) error {
	return fault.New(fault.State, "no agent of account %s in %s allows restores of type %s (key restore of its agent file)", account, region, EFS)
}

// restorer is the first agent file of the account and region that offers a place for new file systems.
func (h *Hub) restorer(account, region string) *File {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for i := range h.files {
		if f := &h.files[i]; f.Account == account && f.Region == region && f.Restore != nil {
			return f
		}
	}
	return nil
}

// newFileSystemID is decided by the creation token, else by the restore's id, so that a retry finds what it made; a
// request with neither gets a random one.
func newFileSystemID(account, region string, q RestoreRequest) string {
	const digits = 17
	seed := "token\x00" + q.CreationToken
	if q.CreationToken == "" {
		seed = "id\x00" + q.ID
		if q.ID == "" {
			return "fs-" + ident.Random(ident.Hex, digits)
		}
	}
	sum := sha256.Sum256([]byte(account + "\x00" + region + "\x00" + seed))
	return "fs-" + hex.EncodeToString(sum[:])[:digits]
}
