package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/repo"
)

// delete is the body of a deletion: the recovery point leaves its repository, then the catalog. It needs no key.
func (r *Runner) delete(ctx context.Context, l job.Lease) error {
	d, err := r.Backup.DeletionWork(ctx, l)
	if err != nil {
		return err
	}
	reading := r.Time.Read()
	if d.Expired && (reading.Frozen || reading.Now.Before(d.DeleteAt)) {
		why := reading.Reason
		if why == "" {
			why = "the compliance clock has not reached the end of its retention"
		}
		return r.Backup.FailDeletion(ctx, l, "The recovery point reached the end of its retention but was not deleted: "+why+".")
	}
	vault, err := r.Vaults.Maintain(ctx, d.Vault.Region, d.Vault.ID)
	if err != nil {
		return r.failDeletion(ctx, l, err)
	}
	if vault == nil {
		return r.Backup.FailDeletion(ctx, l, "The recovery point could not be deleted: "+missing(d.Vault.ARN).Msg)
	}
	defer vault.Close()
	if d.Expired {
		// The catalog may have been edited, or be an old copy: what the repository says of the date counts as well.
		until, locked, err := vault.Retention(ctx, d.Point.ID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return r.failDeletion(ctx, l, err)
		}
		if err == nil && !locked && (until.IsZero() || reading.Now.Before(until.Add(-time.Second))) {
			return r.Backup.FailDeletion(ctx, l, "The recovery point was not deleted: the catalog's date is earlier than that of the vault's storage, which counts. Run strongroom vault rebuild.")
		}
	}
	if err = vault.Forget(ctx, d.Point.ID, reading.Now); err != nil && !fault.Is(err, fault.NotFound) {
		return r.failDeletion(ctx, l, err)
	}
	return r.Backup.FinishDeletion(ctx, l)
}

// failDeletion records what keeps a recovery point from being deleted; it is tried again a day later. A passing failure is
// left to the queue.
func (r *Runner) failDeletion(ctx context.Context, l job.Lease, err error) error {
	f := fault.As(err)
	if f == nil || f.Kind == fault.Unavailable {
		return err
	}
	r.Log.Warn("recovery point cannot be deleted", "recovery_point", l.ID, "err", err)
	return r.Backup.FailDeletion(ctx, l, "The recovery point could not be deleted: "+f.Msg)
}

// Expire moves due recovery points to cold storage and begins the deletion of expired ones. While the clocks disagree
// nothing expires.
func (r *Runner) Expire(ctx context.Context) error {
	for {
		n, err := r.Backup.TransitionDue(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	reading := r.Time.Read()
	if reading.Frozen {
		r.Log.Warn("expiry is suspended", "reason", reading.Reason)
		return nil
	}
	for {
		n, err := r.Backup.ExpireDue(ctx, reading.Now)
		if err != nil || n == 0 {
			return err
		}
	}
}

// Prune frees the bytes that no recovery point needs any more, vault by vault, without any customer key. A vault that
// fails does not keep the others from being pruned.
func (r *Runner) Prune(ctx context.Context) error {
	var errs []error
	vaults, err := r.Backup.EveryVault(ctx)
	if err != nil {
		return err
	}
	for _, v := range vaults {
		if err := r.pruneVault(ctx, v); err != nil {
			errs = append(errs, fmt.Errorf("prune vault %s: %w", v.ARN, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (r *Runner) pruneVault(ctx context.Context, v backup.WorkVault) error {
	vault, err := r.Vaults.Maintain(ctx, v.Region, v.ID)
	if err != nil || vault == nil {
		return err
	}
	defer vault.Close()
	if v.Sealed {
		if err := r.seal(ctx, vault, v); err != nil {
			return err
		}
	}
	reading := r.Time.Read()
	options := repo.PruneOptions{Now: reading.Now, Grace: r.PruneGrace, RepackDead: -1} // repacking writes, and so needs the customer's key
	if reading.Frozen {
		options.Grace = repo.KeepTrash
	}
	report, err := vault.Prune(ctx, options)
	if fault.Is(err, fault.Limit) {
		if !slices.Contains(r.PruneApproved, report.Plan.Digest) {
			return fmt.Errorf("%w (if it is, name the digest under prune_approved in the node's configuration and start it again)", err)
		}
		options.Approved = report.Plan.Digest
		report, err = vault.Prune(ctx, options)
	}
	if err != nil {
		return err
	}
	if report.DeletedPacks > 0 || len(report.Plan.Packs) > 0 {
		r.Log.Info("pruned", "vault", v.ARN, "freed_bytes", report.FreedBytes, "packs", report.DeletedPacks, "trash_bytes", report.TrashedBytes)
	}
	return nil
}

// seal locks in the repository what a vault held when its lock became immutable; what comes later is locked as it is written.
func (r *Runner) seal(ctx context.Context, vault *repo.Repository, v backup.WorkVault) error {
	commits, err := vault.List(ctx)
	if err != nil {
		return err
	}
	var ends map[string]time.Time
	for _, c := range commits {
		if c.Locked {
			continue
		}
		if ends == nil {
			if ends, err = r.Backup.KeptUntil(ctx, v); err != nil {
				return err
			}
		}
		end, kept := ends[c.ID]
		if !kept { // a job is about to enter it in the catalog, or never will
			continue
		}
		if err := vault.SetRetention(ctx, c.ID, end, true); err != nil {
			return err
		}
	}
	return nil
}
