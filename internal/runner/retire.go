package runner

import (
	"context"
	"errors"
	"fmt"

	"strongroom/internal/backup"
	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// Retire removes what deleted vaults left: their grants on keys and their bytes. A vault can only be deleted when it holds
// no recovery point, so nothing that anybody needs is in its repository.
func (r *Runner) Retire(ctx context.Context) error {
	list, err := r.Backup.RetiredRepositories(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range list {
		if err := r.retire(ctx, v); err != nil {
			errs = append(errs, fmt.Errorf("retire repository %s of vault %s: %w", v.Repository, v.Vault, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Runner) retire(ctx context.Context, v backup.Retired) error {
	if v.KeyGrant != "" {
		if err := r.KMS.RetireGrant(ctx, v.KeyARN, v.KeyGrant); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	vault, err := r.Vaults.Maintain(ctx, v.Region, v.Repository)
	if err != nil {
		return err
	}
	if vault != nil {
		// The repository has its own word: what it still keeps is not removed, whatever the catalog says.
		points, err := vault.List(ctx)
		if err = errors.Join(err, vault.Close()); err != nil {
			return err
		}
		if len(points) > 0 {
			return fault.New(fault.State, "the repository still holds %d recovery points", len(points))
		}
	}
	s, err := r.Vaults.Store(v.Region, v.Repository)
	if err != nil {
		return err
	}
	var names []string
	if err := s.List(ctx, "", func(i blob.Info) error { names = append(names, i.Name); return nil }); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.Delete(ctx, name); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return r.Backup.ForgetRepository(ctx, v.Repository)
}
