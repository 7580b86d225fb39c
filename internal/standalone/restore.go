package standalone

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"strongroom/internal/durable"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/repo"
	"strongroom/internal/resource"
	"strongroom/internal/resource/files"
)

// RestoreOptions are the parameters of Restore.
type RestoreOptions struct {
	ID string // or a recovery point's ARN
	// To is the directory to make. It must not exist, or be empty.
	To string
	// Include are patterns (see Pattern); what matches is restored with everything below it. Empty means all.
	Include []string
	// SetID restores set-user-id and set-group-id files and privileged attributes, Devices device nodes. Both need root.
	SetID, Devices bool
	Progress       func(done, total int64)
}

// Restored is the result of Restore.
type Restored struct {
	ID      string `json:"recovery_point"`
	To      string `json:"directory"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
	// Refused is what could not be made as it was, Incomplete what was not read faithfully when the recovery point was made or
	// was left out because the vault is damaged there (DamagedCount); the first repo.MaxProblems of each.
	Refused         []Problem `json:"refused"`
	RefusedCount    int64     `json:"refused_count"`
	Incomplete      []Problem `json:"incomplete"`
	IncompleteCount int64     `json:"incomplete_count"`
	DamagedCount    int64     `json:"damaged_count"` // of IncompleteCount
}

// Whole reports whether everything asked for is there as it was.
func (r *Restored) Whole() bool { return r.RefusedCount == 0 && r.IncompleteCount == 0 }

// Restore makes the directory To of a recovery point or a part of it. It is made beside its place, and moved there when it is
// complete and durable. Owners are restored for root only.
func (v *Vault) Restore(ctx context.Context, o RestoreOptions) (Restored, error) {
	to, err := v.vacant(o.To)
	if err != nil {
		return Restored{}, err
	}
	p, err := v.point(ctx, o.ID)
	if err != nil {
		return Restored{}, err
	}
	include, err := matching(ctx, p, o.Include)
	if err != nil {
		return Restored{}, err
	}
	parent := filepath.Dir(to)
	t, err := files.New(files.Config{Root: parent, Options: files.Options{Ownership: os.Geteuid() == 0, SetID: o.SetID, Devices: o.Devices}}).
		Target(ctx, resource.Request{ID: ident.UUID(), CreatedAt: v.clock.Now()})
	if err != nil {
		return Restored{}, err
	}
	defer t.Close()
	rep, err := p.Restore(ctx, t, repo.RestoreOptions{
		Include:  include,
		Progress: adapt(o.Progress, func(p repo.Progress) (int64, int64) { return p.Bytes, p.Total }),
	})
	if err != nil {
		return Restored{}, err
	}
	made := filepath.Join(parent, t.Location())
	// An empty directory gives way; anything else that has appeared there meanwhile does not.
	if err := syscall.Rename(made, to); err != nil {
		return Restored{}, fault.New(fault.Conflict, "the restore is complete, but %s could not become %s (%v): take it from there", made, to, err)
	}
	if err := durable.SyncDir(parent); err != nil {
		return Restored{}, err
	}
	r := Restored{ID: p.Commit().ID, To: to, Entries: rep.Entries, Bytes: rep.Bytes, Refused: []Problem{}, RefusedCount: rep.RefusedCount, Incomplete: problems(rep.Incomplete), IncompleteCount: rep.IncompleteCount, DamagedCount: rep.DamagedCount}
	for _, x := range rep.Refused {
		r.Refused = append(r.Refused, Problem(x))
	}
	return r, nil
}

// vacant checks, before anything is read, that a restore can be moved to its place.
func (v *Vault) vacant(to string) (string, error) {
	if to == "" {
		return "", fault.New(fault.Missing, "say where to restore to")
	}
	abs, err := filepath.Abs(to)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if os.IsNotExist(err) {
		return "", fault.New(fault.NotFound, "the directory %s does not exist", filepath.Dir(abs))
	}
	if err != nil {
		return "", err
	}
	vault, err := filepath.EvalSymlinks(v.dir)
	if err != nil {
		return "", err
	}
	if within(filepath.Join(parent, filepath.Base(abs)), vault) {
		return "", fault.New(fault.Invalid, "%s is inside the vault", to)
	}
	info, err := os.Lstat(abs)
	if os.IsNotExist(err) {
		return abs, nil
	}
	if err != nil {
		return "", err
	}
	taken := fault.New(fault.Exists, "%s exists: a restore never writes over anything; name a new directory", to)
	if !info.IsDir() {
		return "", taken
	}
	held, err := os.ReadDir(abs)
	if err != nil {
		return "", err
	}
	if len(held) > 0 {
		return "", taken
	}
	around, err := os.Stat(parent)
	if err != nil {
		return "", err
	}
	if a, ok := info.Sys().(*syscall.Stat_t); ok {
		if b, ok := around.Sys().(*syscall.Stat_t); ok && a.Dev != b.Dev {
			return "", fault.New(fault.Invalid, "%s is a mount point: name a new directory in it", to)
		}
	}
	return abs, nil
}
