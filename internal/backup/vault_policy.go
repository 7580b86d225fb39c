package backup

import (
	"context"
	"strings"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

// PutVaultPolicy sets the vault's access policy, with effect for the next call. Errors: NotFound; Invalid, naming the place, when the
// text is not a vault policy (wildcards in actions included).
func (s *Service) PutVaultPolicy(ctx context.Context, account, region, name, text string) error {
	if text == "" {
		return fault.New(fault.Missing, "Policy is required.")
	}
	if _, err := policy.Parse(policy.ResourceVault, text); err != nil {
		return err
	}
	return s.setVaultPolicy(ctx, account, region, name, text)
}

// DeleteVaultPolicy removes the vault's access policy, if any. Errors: NotFound.
func (s *Service) DeleteVaultPolicy(ctx context.Context, account, region, name string) error {
	return s.setVaultPolicy(ctx, account, region, name, "")
}

func (s *Service) setVaultPolicy(ctx context.Context, account, region, name, text string) error {
	return s.changeVault(ctx, account, region, name, func(ctx context.Context, tx *db.Tx, v Vault) error {
		v.Policy = text
		return updateVault(ctx, tx, v)
	})
}

// VaultPolicy returns a vault with its access policy. Errors: Denied when there is no vault, NotFound when it has no policy.
func (s *Service) VaultPolicy(ctx context.Context, account, region, name string) (Vault, error) {
	v, err := s.Vault(ctx, account, region, name)
	if err == nil && v.Policy == "" {
		err = fault.New(fault.NotFound, "Backup vault %s has no access policy.", name).WithResource(v.ARN())
	}
	return v, err
}

// Guard is what stands before a vault, plan or recovery point when access to it is decided: its owner, its tags and, for
// vaults and recovery points, the policy of the vault.
type Guard struct {
	Exists   bool
	Account  string
	VaultARN string // "" for plans
	Policy   string // "" for none
	Tags     map[string]string
}

// Guard looks up an ARN of this service's resources. Everything else, and what does not exist, has a zero Guard. It makes
// nothing, not even the default vault.
func (s *Service) Guard(ctx context.Context, name string) (g Guard, err error) {
	const vaultOf = "SELECT v.account, v.region, v.name, v.policy, COALESCE(t.tags, '{}') FROM "
	query := vaultOf + `recovery_point r JOIN vault v ON v.account = r.account AND v.region = r.region AND v.name = r.vault
		LEFT JOIN backup_tag t ON t.arn = r.arn WHERE r.arn = ?`
	args := []any{name}
	if account, region, vaultName, ok := ParseVaultARN(name); ok {
		query, args = vaultOf+"vault v LEFT JOIN backup_tag t ON t.arn = ? WHERE v.account = ? AND v.region = ? AND v.name = ?", []any{name, account, region, vaultName}
	} else if account, region, id, ok := parsePlanARN(name); ok {
		return s.planGuard(ctx, account, region, id, name)
	}
	var region, vaultName, tags string
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&g.Account, &region, &vaultName, &g.Policy, &tags)
	})
	if db.NoRows(err) {
		return Guard{}, nil
	}
	if err != nil {
		return Guard{}, err
	}
	g.Exists, g.VaultARN = true, VaultARN(g.Account, region, vaultName)
	g.Tags, err = decodeTags(tags)
	return g, err
}

func (s *Service) planGuard(ctx context.Context, account, region, id, name string) (g Guard, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if g.Exists, err = planExists(ctx, tx, account, region, id); err != nil || !g.Exists {
			return err
		}
		g.Account = account
		g.Tags, err = tagsOf(ctx, tx, name)
		return err
	})
	return g, err
}

// parsePlanARN takes arn:aws:backup:<region>:<account>:backup-plan:<id> apart.
func parsePlanARN(text string) (account, region, id string, ok bool) {
	a, err := arn.Parse(text)
	id, plan := strings.CutPrefix(a.Resource, "backup-plan:")
	if err != nil || a.Partition != "aws" || a.Service != "backup" || !plan || id == "" {
		return "", "", "", false
	}
	return a.Account, a.Region, id, true
}
