package standalone

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"time"

	"strongroom/internal/ident"
	"strongroom/internal/repo"
	"strongroom/internal/resource/files"
	"strongroom/internal/tree"
)

// BackupOptions are the parameters of Backup.
type BackupOptions struct {
	Paths []string // directories
	// Host is the name of the machine that the recovery point is labelled with; "" means this machine's.
	Host string
	// CrossMounts goes into file systems mounted below the paths.
	CrossMounts bool
	// FixedBlocks declares files that are rewritten in place (tree.ParseBlocks), by their paths inside their directory.
	FixedBlocks []string
	Progress    func(done, total int64) // total 0: unknown
}

// BackedUp is the result of Backup.
type BackedUp struct {
	RecoveryPoint
	Base           string    `json:"base,omitempty"` // the recovery point that files were compared with
	ReadBytes      int64     `json:"read_bytes"`
	NewBytes       int64     `json:"new_bytes"`
	StoredBytes    int64     `json:"stored_bytes"`
	UnchangedFiles int64     `json:"unchanged_files"`
	Problems       []Problem `json:"problems"` // the first repo.MaxProblems
}

// Backup makes a recovery point of one or several directories: one tree with each directory at the top under its own name
// ("/" as "root"). Files that have not changed since the newest recovery point of the same directories and host are not read
// again. What cannot be read faithfully does not fail it, but is in Problems.
func (v *Vault) Backup(ctx context.Context, o BackupOptions) (BackedUp, error) {
	paths, err := resolve(v.dir, o.Paths)
	if err != nil {
		return BackedUp{}, err
	}
	if o.Host == "" {
		if o.Host, err = os.Hostname(); err != nil {
			return BackedUp{}, err
		}
	}
	rules := make([]tree.Blocks, len(o.FixedBlocks))
	for i, text := range o.FixedBlocks {
		if rules[i], err = tree.ParseBlocks(text); err != nil {
			return BackedUp{}, err
		}
	}
	base, expect, err := v.base(ctx, o.Host, paths)
	if err != nil {
		return BackedUp{}, err
	}
	src, err := gather(ctx, paths, files.Options{CrossMounts: o.CrossMounts, Blocks: rules})
	if err != nil {
		return BackedUp{}, err
	}
	defer src.Close()
	now := v.clock.Now().UTC().Truncate(time.Millisecond)
	label, err := json.Marshal(paths)
	if err != nil {
		return BackedUp{}, err
	}
	id := now.Format("20060102T150405Z") + "-" + ident.Random("0123456789abcdefghijkmnpqrstuvwxyz", 6)
	_, err = v.repo.Backup(ctx, src, repo.BackupOptions{
		ID: id, Base: base,
		Meta: repo.Meta{ResourceARN: resourceName(o.Host, string(label)), ResourceType: "EFS", Created: now, Labels: map[string]string{labelHost: o.Host, labelPaths: string(label), labelUser: effectiveUser()}},
		// How much there was the last time is the best guess at how much there is.
		Progress: adapt(o.Progress, func(p repo.Progress) (int64, int64) { return p.Bytes, expect }),
	})
	if err != nil {
		return BackedUp{}, err
	}
	p, err := v.repo.Point(ctx, id)
	if err != nil {
		return BackedUp{}, err
	}
	c := p.Commit()
	return BackedUp{
		RecoveryPoint: describe(&c), Base: base, ReadBytes: c.Stats.ReadBytes, NewBytes: c.Stats.NewBytes, StoredBytes: c.Stats.StoredBytes,
		UnchangedFiles: c.Stats.UnchangedFiles, Problems: problems(c.Problems),
	}, nil
}

// resourceName is what the engine knows the same directories of the same host by. It tells it which recovery points have much in
// common, so that a copy of the next one leaves out what the last one has.
func resourceName(host, paths string) string { return resourcePrefix + host + ":" + paths }

const resourcePrefix = "directories:" // no ARN begins so

func effectiveUser() string { return strconv.Itoa(os.Geteuid()) }

// base is the newest recovery point of the same directories of the same host that was made with the rights of this user, and
// its size. Another user may not have seen all attributes, and a file that has not changed keeps those of the base.
func (v *Vault) base(ctx context.Context, host string, paths []string) (id string, size int64, err error) {
	l, err := v.List(ctx)
	if err != nil {
		return "", 0, err
	}
	for _, p := range slices.Backward(l.Points) {
		if p.Host == host && p.user == effectiveUser() && slices.Equal(p.Paths, paths) {
			return p.ID, p.Bytes, nil
		}
	}
	return "", 0, nil
}

// adapt makes a callback of the engine's from one of ours, which may be nil.
func adapt(fn func(done, total int64), pick func(repo.Progress) (done, total int64)) func(repo.Progress) {
	if fn == nil {
		return nil
	}
	return func(p repo.Progress) { fn(pick(p)) }
}
