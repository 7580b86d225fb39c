package backup

import (
	"context"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/job"
)

// DeleteKind is the queue's kind for deleting a recovery point from its repository; the job's id is the recovery point's ARN.
const DeleteKind job.Kind = "delete"

// A handler of the runner for DeleteKind:
//
//	w, err := s.DeletionWork(ctx, lease)        // job.ErrEnded when there is nothing to delete any more
//	...                                         // remove w.ID from the repository w.Repository; gone already is success
//	err = s.FinishDeletion(ctx, lease)          // the recovery point's row is gone
//
// and in GiveUp, or when the repository refuses (it keeps its own retention and lock), s.FailDeletion(ctx, lease, why):
// the recovery point becomes EXPIRED with the reason, and ExpireDue tries it again a day later.

// Deletion is what the runner needs to delete a recovery point.
type Deletion struct {
	Vault WorkVault
	Point WorkPoint
	// Expired says that the retention has ended by the catalog's clock; false when somebody deletes it earlier.
	Expired bool
	// DeleteAt is when the lifecycle allows the deletion; zero: never by itself.
	DeleteAt time.Time
}

// DeleteRecoveryPoint begins to delete a recovery point: it is DELETING from now on and gone once the runner has removed
// it. Asking again is not an error.
// Errors: NotFound, Denied (no vault); State with code Locked in a locked vault; State with code Status while it is being made or
// while other recovery points are its children.
func (s *Service) DeleteRecoveryPoint(ctx context.Context, account, region, vaultName, name string) error {
	err := s.changePoint(ctx, account, region, vaultName, name, func(ctx context.Context, tx *db.Tx, v Vault, r RecoveryPoint) error {
		if v.Lock.Locked {
			return errLocked(v, "its recovery points cannot be deleted")
		}
		switch r.Status {
		case PointDeleting:
			return nil
		case PointCreating:
			return fault.New(fault.State, "Recovery point %s cannot be deleted while its status is %s.", name, r.Status).WithCode("Status").WithResource(name)
		}
		return s.beginDeletion(ctx, tx, r, "")
	})
	if err == nil {
		s.Jobs.Wake(DeleteKind)
	}
	return err
}

// beginDeletion marks and enqueues; the caller has decided that it is allowed.
func (s *Service) beginDeletion(ctx context.Context, tx *db.Tx, r RecoveryPoint, message string) error {
	if err := setPointStatus(ctx, tx, r, PointDeleting, message); err != nil {
		return err
	}
	return s.Jobs.Enqueue(ctx, tx, job.Job{Kind: DeleteKind, Account: r.Account, Region: r.Region, ID: r.ARN})
}

// deletionRetry is how long an EXPIRED recovery point waits before its deletion is tried again.
const deletionRetry = 24 * time.Hour

const expiredMessage = "The recovery point reached the end of its retention."

// DeletionWork returns what to delete. It fails with job.ErrEnded when the recovery point is gone or no longer to be
// deleted, and completes the lease then.
func (s *Service) DeletionWork(ctx context.Context, l job.Lease) (d Deletion, err error) {
	ended := false
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		ended = false
		if err := l.Check(ctx, tx); err != nil {
			return err
		}
		r, err := recoveryPointByARN(ctx, tx, l.Account, l.Region, l.ID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err != nil || r.Status != PointDeleting {
			ended = true
			return l.Complete(ctx, tx)
		}
		v, err := vault(ctx, tx, r.Account, r.Region, r.Vault)
		if err != nil {
			return err
		}
		d = Deletion{
			Vault: workVault(v),
			Point: WorkPoint{ARN: r.ARN, ID: r.ID, ResourceARN: r.ResourceARN, ResourceName: r.ResourceName, ResourceType: r.ResourceType,
				Created: r.Created, SizeBytes: r.SizeBytes, Lifecycle: r.Lifecycle},
			Expired: !r.DeleteAt.IsZero() && !tx.Now.Before(r.DeleteAt), DeleteAt: r.DeleteAt,
		}
		return nil
	})
	if err == nil && ended {
		err = job.ErrEnded
	}
	return d, err
}

// FinishDeletion removes the recovery point from the catalog after it has left the repository, and ends the job.
// Errors: Conflict when the lease was lost; nothing is recorded then.
func (s *Service) FinishDeletion(ctx context.Context, l job.Lease) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		r, err := recoveryPointByARN(ctx, tx, l.Account, l.Region, l.ID)
		if err == nil && r.Status == PointDeleting {
			err = removePoint(ctx, tx, r)
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		return l.Complete(ctx, tx)
	})
}

// FailDeletion ends the job of a recovery point that could not be deleted: it is EXPIRED and says why.
// Errors: Conflict when the lease was lost; nothing is recorded then.
func (s *Service) FailDeletion(ctx context.Context, l job.Lease, why string) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		r, err := recoveryPointByARN(ctx, tx, l.Account, l.Region, l.ID)
		if err == nil && r.Status == PointDeleting {
			_, err = tx.Exec(ctx, "UPDATE recovery_point SET status = ?, status_message = ?, retry_at = ? WHERE arn = ?",
				string(PointExpired), why, db.Micros(tx.Now.Add(deletionRetry)), r.ARN)
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		return l.Complete(ctx, tx)
	})
}
