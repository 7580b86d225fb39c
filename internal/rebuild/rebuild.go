// Package rebuild brings a node's catalog in line with what its vaults' repositories say of themselves.
//
// A repository is the truth about its recovery points: what they are of, since when, how long they are kept, whether they are
// locked. The catalog can be lost, an old copy, or edited. Reconcile finds every repository, authenticates it, enters the vaults
// and recovery points that the catalog does not know, puts right what it says wrongly, and marks what it claims and storage
// does not have.
//
// It is not a backup of the catalog: accounts' users, roles and policies, plans, vaults' policies and jobs are nowhere but
// there. It opens no vault by itself: keys come from the node's KMS, or from a recovery key.
//
// What always holds:
//   - Nothing is removed: no recovery point, no row of one, no vault.
//   - No recovery point ends earlier than before: of the catalog's date and the repository's the later counts.
//   - What is not authenticated changes nothing. Where nothing but a recovery key opens a repository, whose envelope anybody could
//     have made, it enters new rows, and takes none over from another repository.
//
// Start with Config and Reconcile.
package rebuild

import (
	"context"
	"log/slog"
	"time"

	"strongroom/internal/backup"
	"strongroom/internal/blob"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
)

// Place is where a repository may be.
type Place struct {
	Region string
	Vault  string // the directory's name, which is the vault's id
	Store  blob.Store
}

// Keys is what the node's own key services can do. The server provides it.
type Keys interface {
	// Maint returns the maintenance key that the node has for a vault: derived, or adopted before.
	Maint(vaultID string) []byte
	// Adopt keeps another one, for a vault that another catalog made.
	Adopt(ctx context.Context, vaultID string, maint []byte) error
	// Unwrap opens an envelope of a KMS key of this node.
	Unwrap(ctx context.Context, e repo.Envelope, vaultARN string) (root []byte, err error)
	// Bind gives a vault a KMS key: the one it had if the node still has it (was, maybe ""), else the account's own one for backups.
	Bind(ctx context.Context, account, region, vaultARN, was string) (keyARN, grant string, service bool, err error)
	// Wrap wraps a root key by a KMS key.
	Wrap(ctx context.Context, keyARN, vaultARN string, root []byte) (repo.Envelope, error)
	// Account makes sure that the node is home to an account; made tells that it was not.
	Account(ctx context.Context, account string) (made bool, err error)
}

// Config is what Reconcile needs; Secret and Log are optional.
type Config struct {
	Backup *backup.Service
	Keys   Keys
	Places []Place
	// Secret opens the envelopes of recovery recipients.
	Secret *recovery.Secret
	// Deep reads the sealed part of every commit record, with the vault's root key, and compares all that the catalog says. Without
	// it, as at each start of a node, ids, dates and locks are compared, and root keys used only for what the catalog lacks.
	Deep bool
	// Receipt makes what the catalog keeps as a recovery point's proof of commit.
	Receipt func(repo.Commit) []byte
	// Registry is the node's; nil when nothing else has the repositories open.
	Registry *repo.Registry
	Clock    clock.Clock
	Log      *slog.Logger
}

// Vault is what was found of one repository.
type Vault struct {
	ARN        string `json:"vault_arn"`
	Repository string `json:"repository"`
	// Changed says what was done to the vault itself, "" for nothing.
	Changed  string   `json:"changed,omitempty"`
	Points   int      `json:"recovery_points"` // that the repository holds
	Added    int      `json:"added"`
	Extended int      `json:"extended"` // whose date in the catalog was too early
	Missing  int      `json:"missing"`  // that the catalog claims and the repository does not hold
	Repaired []string `json:"repaired,omitempty"`
	// Kits is what is known of its recovery kits.
	Kits []recovery.KitState `json:"recovery_kits"`
	// Problems says what could not be done, and what would help.
	Problems []string `json:"problems,omitempty"`
}

// Report is the result of Reconcile.
type Report struct {
	Vaults   []Vault  `json:"vaults"`
	Accounts []string `json:"accounts"` // that the node was not home to
	Took     float64  `json:"seconds"`
}

// Whole reports whether everything could be read and is there.
func (r *Report) Whole() bool {
	for _, v := range r.Vaults {
		if len(v.Problems) > 0 || v.Missing > 0 {
			return false
		}
	}
	return true
}

// Sum adds the vaults' counts.
func (r *Report) Sum() (points, added, extended, missing, repaired int) {
	for _, v := range r.Vaults {
		points, added, extended, missing, repaired = points+v.Points, added+v.Added, extended+v.Extended, missing+v.Missing, repaired+len(v.Repaired)
	}
	return
}

// Reconcile does it. A vault that cannot be opened keeps none of the others from being read: it has problems in the report. The
// error is one of the catalog. Each step is a transaction of its own, and doing it again changes nothing more.
func Reconcile(ctx context.Context, c Config) (Report, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	begun := c.Clock.Now()
	report := Report{Vaults: []Vault{}, Accounts: []string{}}
	busy, err := c.Backup.JobsUnderWay(ctx)
	if err != nil {
		return report, err
	}
	run := &run{Config: c, report: &report, busy: busy, holders: map[string]string{}, claims: map[string]string{}}
	for _, p := range c.Places {
		if d, err := repo.Describe(ctx, p.Store); err == nil && d.Vault == p.Vault {
			run.claims[p.Vault] = d.VaultARN
		}
	}
	var left []Place
	// Those that the node's own keys authenticate come first: what they hold is theirs.
	for _, foreign := range []bool{false, true} {
		places := c.Places
		if foreign {
			places = left
		}
		for _, p := range places {
			later, err := run.place(ctx, p, foreign)
			if err != nil {
				return report, err
			}
			if later {
				left = append(left, p)
			}
		}
	}
	report.Took = c.Clock.Now().Sub(begun).Seconds()
	return report, nil
}

// run is one Reconcile.
type run struct {
	Config
	report  *Report
	busy    map[string]bool   // ids that jobs under way will enter
	holders map[string]string // repository by recovery point's ARN
	claims  map[string]string // vault's ARN by repository, as the descriptors say
}

// place reads one repository. later asks to come again when the others have been read.
func (r *run) place(ctx context.Context, p Place, foreign bool) (later bool, err error) {
	out := Vault{Repository: p.Vault, Kits: []recovery.KitState{}}
	problem := func(err error) (bool, error) {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		out.Problems = append(out.Problems, err.Error())
		r.report.Vaults = append(r.report.Vaults, out)
		r.Log.Error("a vault's storage cannot be compared with the catalog", "vault", out.ARN, "repository", p.Vault, "err", err)
		return false, nil
	}
	if made, err := repo.Made(ctx, p.Store); err != nil {
		return problem(err)
	} else if !made {
		return false, nil // what an interrupted making left, or a directory that is not mounted
	}
	d, err := repo.Describe(ctx, p.Store)
	if err != nil {
		return problem(err)
	}
	out.ARN = d.VaultARN
	if d.Vault != p.Vault || d.Region != p.Region {
		return problem(fault.New(fault.Conflict, "the directory %s in region %s holds vault %s of region %s: put it where it belongs (REGION-PATH/vaults/VAULT-ID)", p.Vault, p.Region, d.Vault, d.Region))
	}
	envelopes, _, err := repo.IntactEnvelopes(ctx, p.Store)
	if err != nil {
		return problem(err)
	}
	v := &vault{run: r, place: p, desc: d, envelopes: envelopes, out: &out, maint: r.Keys.Maint(p.Vault)}
	switch err := v.open(ctx, nil); {
	case fault.Is(err, fault.Denied) && !foreign:
		return true, nil
	case fault.Is(err, fault.Denied):
		if err := v.unlock(ctx); err != nil {
			return problem(err)
		}
	case err != nil:
		return problem(err)
	}
	defer v.close()
	out.Kits = recovery.States(p.Vault, v.maint, envelopes)
	if err := v.reconcile(ctx); err != nil {
		if fault.As(err) == nil { // the catalog itself
			return false, err
		}
		return problem(err)
	}
	r.report.Vaults = append(r.report.Vaults, out)
	if out.Changed != "" || out.Added+out.Extended+out.Missing+len(out.Repaired) > 0 {
		r.Log.Warn("the catalog did not say what the vault's storage says", "vault", out.ARN, "changed", out.Changed, "added", out.Added,
			"extended", out.Extended, "missing", out.Missing, "repaired", len(out.Repaired))
	}
	return false, nil
}

// later returns the later of two ends of a retention; zero is never. The catalog keeps microseconds.
func later(a, b time.Time) time.Time {
	a, b = a.Truncate(time.Microsecond), b.Truncate(time.Microsecond)
	switch {
	case a.IsZero() || b.IsZero():
		return time.Time{}
	case a.After(b):
		return a
	}
	return b
}
