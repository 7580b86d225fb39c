package standalone

import (
	"context"
	"os"
	"slices"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
)

// VerifyOptions are the parameters of Verify.
type VerifyOptions struct {
	ID string // "" means the whole vault
	// ReadData reads and authenticates all content. Without it, only that everything needed is there and in its place.
	ReadData bool
	// MaxAge leaves out what earlier passes over the whole vault have read so lately, as far as the vault was open for writing
	// then and has kept it; 0 leaves out nothing. Rate bounds how many bytes are read in a second; 0 is no bound. Both only with
	// ReadData and without ID.
	MaxAge   time.Duration
	Rate     int64
	Progress func(done, total int64)
}

// Verified is the result of Verify.
type Verified struct {
	Vault    string `json:"vault"`
	ID       string `json:"recovery_point,omitempty"`
	ReadData bool   `json:"read_data"`
	Points   int64  `json:"recovery_points"`
	Bytes    int64  `json:"bytes"` // content read
	// Findings names the damage: the first repo.MaxProblems.
	Findings     []Finding `json:"findings"`
	FindingCount int64     `json:"finding_count"`
	// Coverage is what passes over the whole vault have read until now, this one included.
	Coverage Coverage `json:"coverage"`
}

// Coverage says how much of the vault was read by passes that looked for damage, and when.
type Coverage struct {
	Packs        int64     `json:"packs"`
	Bytes        int64     `json:"bytes"` // as stored
	ReadPacks    int64     `json:"read_packs"`
	ReadBytes    int64     `json:"read_bytes"`
	DamagedPacks int64     `json:"damaged_packs"`
	Oldest       time.Time `json:"oldest,omitzero"` // reading of a pack
	Newest       time.Time `json:"newest,omitzero"`
}

// Verify looks for damage. A vault that is open for writing keeps what was read and what was found, for the next pass and so
// that the next backup brings back what is damaged; nothing else is changed.
func (v *Vault) Verify(ctx context.Context, o VerifyOptions) (Verified, error) {
	out := Verified{Vault: v.ID(), ID: o.ID, ReadData: o.ReadData}
	var rep repo.CheckReport
	var err error
	switch {
	case o.ID != "":
		var p *repo.Point
		if p, err = v.point(ctx, o.ID); err != nil {
			return out, err
		}
		out.ID = p.Commit().ID
		if o.ReadData {
			size := p.Commit().Stats.LogicalBytes
			rep, err = p.Verify(ctx, adapt(o.Progress, func(p repo.Progress) (int64, int64) { return p.Bytes, size }))
			break
		}
		if rep, err = v.repo.Check(ctx); err != nil {
			return out, err
		}
		rep.Points = 1
		rep.Findings = slices.DeleteFunc(rep.Findings, func(f repo.Finding) bool { return f.Point != "" && f.Point != out.ID })
		rep.FindingCount = int64(len(rep.Findings))
	case o.ReadData:
		var stored int64
		if stored, err = v.stored(ctx); err != nil {
			return out, err
		}
		pass := &repo.PassOptions{
			Rate:     o.Rate,
			Progress: adapt(o.Progress, func(p repo.Progress) (int64, int64) { return p.Read, stored }),
		}
		if o.MaxAge > 0 {
			pass.Since = v.clock.Now().Add(-o.MaxAge)
		}
		rep, err = v.repo.VerifyAll(ctx, pass)
	default:
		rep, err = v.repo.Check(ctx)
	}
	c := v.repo.Coverage()
	out.Coverage = Coverage{c.Packs, c.Bytes, c.ScrubbedPacks, c.ScrubbedAll, c.DamagedPacks, c.Oldest, c.Newest}
	out.Points, out.Bytes, out.Findings, out.FindingCount = rep.Points, rep.Bytes, findings(rep.Findings), rep.FindingCount
	return out, err
}

// stored is the size of the packs with content.
func (v *Vault) stored(ctx context.Context) (n int64, err error) {
	err = v.store.List(ctx, "packs/", func(i blob.Info) error { n += i.Size; return nil })
	return n, err
}

// Copied is the result of Copy.
type Copied struct {
	RecoveryPoint
	Vault       string `json:"vault"` // the destination
	NewBytes    int64  `json:"new_bytes"`
	StoredBytes int64  `json:"stored_bytes"`
}

// Copy copies a recovery point into another vault, under that vault's keys and with the same id. Every byte is verified on
// the way. Doing it again changes nothing.
func Copy(ctx context.Context, from, to *Vault, id string, progress func(done, total int64)) (Copied, error) {
	p, err := from.point(ctx, id)
	if err != nil {
		return Copied{}, err
	}
	c := p.Commit()
	meta := c.Meta
	// The destination keeps it until it is told to forget it, whatever was decided about the source.
	meta.RetainUntil, meta.Locked = time.Time{}, false
	if meta.ResourceARN == "" { // made by an earlier version
		meta.ResourceARN = resourceName(meta.Labels[labelHost], meta.Labels[labelPaths])
	}
	r, err := repo.Copy(ctx, p, to.repo, repo.CopyOptions{
		ID: c.ID, Meta: meta,
		Progress: adapt(progress, func(p repo.Progress) (int64, int64) { return p.Bytes, p.Total }),
	})
	if err != nil {
		return Copied{}, err
	}
	done, err := to.repo.Point(ctx, c.ID)
	if err != nil {
		return Copied{}, err
	}
	commit := done.Commit()
	return Copied{RecoveryPoint: describe(&commit), Vault: to.ID(), NewBytes: r.Stats.NewBytes, StoredBytes: r.Stats.StoredBytes}, nil
}

// SameDirectory reports whether two paths are one directory.
func SameDirectory(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// Forget drops a recovery point; the next Prune frees what only it needed. fault.State while it is locked.
func (v *Vault) Forget(ctx context.Context, id string) error {
	return v.repo.Forget(ctx, id, v.clock.Now())
}

// PruneOptions are the parameters of Prune.
type PruneOptions struct {
	DryRun bool
	// Grace is how long what nobody needs stays in the trash, by the system clock; 0: it, and what is there already, is freed
	// at once.
	Grace time.Duration
	// Approved is the digest of the plan that a dry run showed: needed when much would go that no forgotten recovery point
	// accounts for.
	Approved string
}

// Pruned is the result of Prune.
type Pruned struct {
	Vault         string `json:"vault"`
	DryRun        bool   `json:"dry_run"`
	StoredBytes   int64  `json:"stored_bytes"` // before
	Packs         int    `json:"packs"`        // before
	DeletedPacks  int    `json:"deleted_packs"`
	FreedBytes    int64  `json:"freed_bytes"`
	TrashedPacks  int    `json:"trashed_packs"` // in the trash afterwards
	TrashedBytes  int64  `json:"trashed_bytes"`
	RepackedPacks int    `json:"repacked_packs"`
	RepackedBytes int64  `json:"repacked_bytes"`
	// What would go, or went, although no forgotten recovery point accounts for it, how much of that may go without approval,
	// and the digest that approves it.
	UnaccountedBytes int64         `json:"unaccounted_bytes"`
	UnaccountedLimit int64         `json:"unaccounted_limit"`
	Digest           string        `json:"digest,omitempty"`
	Plan             []PlannedPack `json:"plan"`
}

// PlannedPack is one pack that would go, or went.
type PlannedPack struct {
	Object      string `json:"object"`
	Bytes       int64  `json:"bytes"`
	Repacked    bool   `json:"repacked"`
	Unaccounted bool   `json:"unaccounted"`
}

// NeedsApproval reports whether Prune refuses without the digest.
func (p *Pruned) NeedsApproval() bool { return p.UnaccountedBytes > p.UnaccountedLimit }

// Prune frees what no recovery point needs. A dry run only says what it would free or put into the trash by deleting.
// fault.Limit: it needs approval.
func (v *Vault) Prune(ctx context.Context, o PruneOptions) (Pruned, error) {
	r, err := v.repo.Prune(ctx, repo.PruneOptions{DryRun: o.DryRun, Now: v.clock.Now(), Grace: o.Grace, Approved: o.Approved})
	if fault.Is(err, fault.Corrupt) {
		return Pruned{}, fault.New(fault.Corrupt, "nothing was freed, as what is needed cannot be told: %v", err)
	}
	p := Pruned{
		Vault: v.ID(), DryRun: o.DryRun, StoredBytes: r.StoredBytes, Packs: r.Packs, DeletedPacks: r.DeletedPacks, FreedBytes: r.FreedBytes,
		TrashedPacks: r.TrashedPacks, TrashedBytes: r.TrashedBytes, RepackedPacks: r.RepackedPacks, RepackedBytes: r.RepackedBytes,
		UnaccountedBytes: r.Plan.Unaccounted, UnaccountedLimit: r.Plan.Limit, Digest: r.Plan.Digest, Plan: []PlannedPack{},
	}
	for _, k := range r.Plan.Packs {
		p.Plan = append(p.Plan, PlannedPack{Object: k.Name, Bytes: k.Bytes, Repacked: k.Repacked, Unaccounted: k.Unaccounted})
	}
	return p, err
}

// Unforget brings back a recovery point that was forgotten, as long as its bytes have not been freed. fault.NotFound and
// fault.Corrupt when they have, fault.State when it was not forgotten.
func (v *Vault) Unforget(ctx context.Context, id string) error { return v.repo.Unforget(ctx, id) }
