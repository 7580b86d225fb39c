package runner

import (
	"context"

	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/job"
)

// endBackup ends a backup job in a state other than success.
func (r *Runner) endBackup(ctx context.Context, l job.Lease, state backup.State, message, category string) error {
	if err := r.Backup.EndBackup(ctx, l, state, message, category); err != nil {
		return err
	}
	r.discardBackup(ctx, l)
	return nil
}

// discardBackup follows the end of a backup job. An attempt may have committed its recovery point before the job was
// stopped, came too late or failed to record it. No row of the catalog names that one then, so nothing would ever expire
// it: it is forgotten.
//
// The order matters. Only once the job has ended, fenced, can no other worker finish it with the same recovery point. A
// crash between the two leaves bytes behind and loses nothing.
func (r *Runner) discardBackup(ctx context.Context, l job.Lease) {
	j, err := r.Backup.BackupJob(ctx, l.Account, l.Region, l.ID)
	if err != nil || j.HasPoint() {
		return
	}
	if w, err := r.Backup.BackupWork(ctx, l); err == nil {
		r.discard(ctx, w.Vault, w.Point.ID)
	}
}

// endCopy ends a copy job, which knows FAILED only, and forgets what was copied like discardBackup.
func (r *Runner) endCopy(ctx context.Context, l job.Lease, _ backup.State, message, category string) error {
	w, unknown := r.Backup.CopyWork(ctx, l)
	if err := r.Backup.EndCopy(ctx, l, message, category); err != nil {
		return err
	}
	j, err := r.Backup.CopyJob(ctx, l.Account, l.Region, l.ID)
	if err == nil && unknown == nil && j.State == backup.StateFailed {
		r.discard(ctx, w.Destination, w.Point.ID)
	}
	return nil
}

// discard forgets what a job that has failed committed, if it did. It is not worth failing for: the job has ended.
func (r *Runner) discard(ctx context.Context, v backup.WorkVault, id string) {
	vault, err := r.Vaults.Maintain(ctx, v.Region, v.ID)
	if err == nil && vault != nil {
		defer vault.Close()
		err = vault.Forget(ctx, id, r.Time.Read().Now)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		r.Log.Warn("what a failed job stored stays in its vault", "vault", v.ARN, "id", id, "err", err)
	}
}
