package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/resource"
	"strongroom/internal/resource/files"
	"strongroom/internal/tree"
)

// Restoration is a restore in progress into one file system. It is the tree.Target to restore into. Close it in any case:
// without a successful Finish, everything that was made is removed.
type Restoration struct {
	resource.Restoration
	arn     string
	created bool
	log     *slog.Logger
}

// Target is where the tree goes: the Restoration itself.
func (r *Restoration) Target() tree.Target { return r.Restoration }

// ResourceARN is the file system restored into, new or existing.
func (r *Restoration) ResourceARN() string { return r.arn }

// Created is true when the file system is made by this restore.
func (r *Restoration) Created() bool { return r.created }

// Dir is the directory inside the file system that Finish makes visible: aws-backup-restore_<datetime>.
func (r *Restoration) Dir() string { return r.Location() }

// Close ends the restore. What could not be cleaned up is logged and returned.
func (r *Restoration) Close() error {
	err := r.Restoration.Close()
	if err != nil {
		r.log.Warn("a partial restore stays behind", "resource", r.arn, "err", err)
	}
	return err
}

// Restore begins a restore for an account. fault.Unsupported: no provider for the type; fault.Invalid: a wrong item or id;
// fault.NotFound: the account has no such file system; fault.State: the account's agents offer no place for restores;
// fault.Conflict: another attempt of the same restore is running.
func (h *Hub) Restore(ctx context.Context, account, region, resourceType string, q RestoreRequest) (*Restoration, error) {
	if resourceType != EFS {
		return nil, fault.New(fault.Unsupported, "resources of type %s cannot be restored by this version", resourceType)
	}
	for _, p := range q.Items {
		if p == "" || !tree.ValidPath(p) {
			return nil, fault.New(fault.Invalid, "ItemsToRestore: %q is not a path inside the file system", p)
		}
	}
	if q.CreatedAt.IsZero() {
		q.CreatedAt = h.clock.Now()
	}
	id, p, err := h.destination(account, region, q)
	if err != nil {
		return nil, err
	}
	req := resource.Request{ID: q.JobID, CreatedAt: q.CreatedAt, Create: q.NewFileSystem}
	if req.ID == "" {
		req.ID = ident.NamedUUID(account, region, id, q.CreationToken, q.CreatedAt.UTC().Format(time.RFC3339Nano))
	}
	in, err := p.Target(ctx, req)
	if err != nil {
		return nil, err
	}
	return &Restoration{Restoration: in, arn: fileSystemARN(account, region, id), created: q.NewFileSystem, log: h.log}, nil
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
		seed = "id\x00" + q.JobID
		if q.JobID == "" {
			return "fs-" + ident.Random(ident.Hex, digits)
		}
	}
	sum := sha256.Sum256([]byte(account + "\x00" + region + "\x00" + seed))
	return "fs-" + hex.EncodeToString(sum[:])[:digits]
}
