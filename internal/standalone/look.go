package standalone

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"strongroom/internal/blob/disk"
	"strongroom/internal/fault"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
)

// About is what a vault's directory says without a secret. Nothing of it is authenticated: Open does that.
type About struct {
	Dir     string    `json:"directory"`
	Vault   string    `json:"vault"`
	Name    string    `json:"name"`
	ARN     string    `json:"vault_arn,omitempty"` // a node's vault
	Created time.Time `json:"created"`
	// Recipients are the age recipients whose identities open the vault.
	Recipients []string `json:"recovery_recipients"`
	Passphrase bool     `json:"passphrase"` // a passphrase opens it

	envelopes []repo.Envelope
	damaged   []repo.Finding // envelopes that cannot be read
}

// Look reads who may open the vault in dir. fault.NotFound when there is none.
func Look(ctx context.Context, dir string) (About, error) {
	none := func(err error) error {
		return fault.New(fault.NotFound, "%s is not a vault", dir).WithCause(err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return About{}, err
	}
	store, err := disk.OpenReader(abs)
	if fault.Is(err, fault.NotFound) {
		return About{}, none(nil)
	}
	if err != nil {
		return About{}, err
	}
	d, err := repo.Describe(ctx, store)
	if fault.Is(err, fault.NotFound) {
		return About{}, none(nil)
	}
	if err != nil {
		return About{}, err
	}
	a := About{Dir: abs, Vault: d.Vault, Name: d.Name, ARN: d.VaultARN, Created: d.Created, Recipients: []string{}}
	if a.envelopes, a.damaged, err = repo.IntactEnvelopes(ctx, store); err != nil {
		return About{}, err
	}
	a.Recipients = append(a.Recipients, recovery.Recipients(a.envelopes)...)
	a.Passphrase = slices.ContainsFunc(a.envelopes, func(e repo.Envelope) bool { return e.Kind == recovery.Passphrase })
	return a, nil
}

// Find lists the vaults' directories in dir: dir itself, or those of a node's data directory, of a region, or of any
// directory of vaults.
func Find(dir string) ([]string, error) {
	for _, pattern := range []string{".", "*", "vaults/*", "regions/*/vaults/*"} {
		// The directory's own name may hold what Glob takes for a pattern.
		found, err := globBelow(dir, filepath.Join(pattern, "vault"))
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, fault.New(fault.NotFound, "%s is not a vault and holds none", dir)
}

// globBelow lists the directories of the regular files below dir that match.
func globBelow(dir, pattern string) (out []string, err error) {
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return nil, fault.New(fault.NotFound, "%s does not exist", dir)
	}
	below := os.DirFS(dir)
	names, err := fs.Glob(below, pattern)
	for _, n := range names {
		if info, err := fs.Stat(below, n); err == nil && info.Mode().IsRegular() {
			out = append(out, filepath.Join(dir, filepath.Dir(n)))
		}
	}
	return out, err
}
