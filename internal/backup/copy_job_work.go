package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/schedule"
)

// CopyWork reads what the body of a copy job needs, changing nothing. Errors: NotFound, also for either vault or the
// recovery point; Invalid when the copy cannot be made as asked for.
func (s *Service) CopyWork(ctx context.Context, l job.Lease) (w CopyWork, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := copyJob(ctx, tx, l.Account, l.Region, l.ID)
		if err != nil {
			return err
		}
		w, err = s.copyWork(ctx, tx, j, l)
		return err
	})
	return w, err
}

// BeginCopy makes the job RUNNING and returns what the body needs; a job that is RUNNING already is taken up again. The
// destination vault's lock is asked here, its policy, the organization and the keys by the body. Outcomes besides success:
//  1. job.ErrEnded: the copy cannot be made, the job has FAILED; the lease is complete.
//  2. *job.Later: another job works on the resource.
//  3. fault.Conflict: the lease is lost.
func (s *Service) BeginCopy(ctx context.Context, l job.Lease) (w CopyWork, err error) {
	var outcome error
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		outcome = nil
		j, err := s.leasedCopy(ctx, tx, l)
		if err != nil {
			return err
		}
		if j.Final() {
			outcome = job.ErrEnded
			return l.Complete(ctx, tx)
		}
		other, err := busy(ctx, tx, j.Account, j.ResourceARN, j.ID)
		if err != nil {
			return err
		}
		if other != "" && j.State == StateCreated {
			j.Message = "The job waits for job " + other + ", which works on the same resource."
			outcome = &job.Later{At: tx.Now.Add(busyRetry), Reason: j.Message}
			return updateCopyJob(ctx, tx, j)
		}
		w, err = s.copyWork(ctx, tx, j, l)
		if e := fault.As(err); e != nil {
			outcome = job.ErrEnded
			return errors.Join(s.closeCopy(ctx, tx, &j, StateFailed, e.Msg, e.Code), l.Complete(ctx, tx))
		}
		if err != nil || j.State == StateRunning {
			return err
		}
		return s.runCopy(ctx, tx, &j, w)
	})
	if err == nil {
		err = outcome
	}
	return w, err
}

func (s *Service) runCopy(ctx context.Context, tx *db.Tx, j *CopyJob, w CopyWork) error {
	dest, err := vault(ctx, tx, w.Destination.Account, w.Destination.Region, w.Destination.Name)
	if err != nil {
		return err
	}
	j.Message, j.Started, j.DestinationPointARN, j.SizeBytes = "", tx.Now, w.Point.ARN, w.SourcePoint.SizeBytes
	j.Resolved, j.DestinationKey, j.DestinationLock, j.DestinationRepository = &w.Point.Lifecycle, dest.KeyARN, dest.Lock.State(), dest.Repository
	source, err := recoveryPoint(ctx, tx, j.Account, j.Region, j.SourceVault, j.SourcePointARN)
	if err != nil {
		return err
	}
	j.Source, j.SourceTags = &source, w.Tags
	return moveCopy(ctx, tx, j, StateRunning)
}

func (s *Service) leasedCopy(ctx context.Context, tx *db.Tx, l job.Lease) (CopyJob, error) {
	if err := l.Check(ctx, tx); err != nil {
		return CopyJob{}, err
	}
	return copyJob(ctx, tx, l.Account, l.Region, l.ID)
}

// copyWork collects what the body of a job needs. A *fault.Error says why the copy cannot be made; its Msg is the job's status
// message and its Code the category.
func (s *Service) copyWork(ctx context.Context, tx *db.Tx, j CopyJob, l job.Lease) (CopyWork, error) {
	v, err := vault(ctx, tx, j.Account, j.Region, j.SourceVault)
	if fault.Is(err, fault.NotFound) {
		return CopyWork{}, fault.New(fault.NotFound, "Copy job failed because the source Backup vault %s does not exist.", j.SourceVaultARN()).WithCode(CategoryMissing)
	}
	if err != nil {
		return CopyWork{}, err
	}
	r, err := recoveryPoint(ctx, tx, j.Account, j.Region, j.SourceVault, j.SourcePointARN)
	if fault.Is(err, fault.NotFound) {
		return CopyWork{}, fault.New(fault.NotFound, "Copy job failed. Cannot find recovery point %s.", j.SourcePointARN).WithCode(CategoryMissing)
	}
	if err != nil {
		return CopyWork{}, err
	}
	if why := uncopyable(r); why != "" {
		return CopyWork{}, fault.New(fault.State, "Copy job failed. Recovery point %s cannot be copied: %s.", r.ARN, why).WithCode(CategoryState)
	}
	tags, err := tagsOf(ctx, tx, r.ARN)
	if err != nil {
		return CopyWork{}, err
	}
	w := CopyWork{
		JobID: j.ID, Account: j.Account, Region: j.Region, Attempt: l.Attempt, RoleARN: j.RoleARN, Source: workVault(v), Tags: tags,
		SourcePoint: workPoint(r),
	}
	return w, s.copyDestination(ctx, tx, j, r, &w)
}

func workPoint(r RecoveryPoint) WorkPoint {
	return WorkPoint{ARN: r.ARN, ID: r.ID, ResourceARN: r.ResourceARN, ResourceName: r.ResourceName, ResourceType: r.ResourceType,
		Created: r.Created, SizeBytes: r.SizeBytes, Lifecycle: r.Lifecycle}
}

// copyDestination fills in what the destination's home knows and decides: its vault, lock, settings and recovery points.
func (s *Service) copyDestination(ctx context.Context, tx *db.Tx, j CopyJob, r RecoveryPoint, w *CopyWork) error {
	account, region, name, _ := ParseVaultARN(j.DestinationVaultARN)
	dest, err := vault(ctx, tx, account, region, name)
	if fault.Is(err, fault.NotFound) || err == nil && j.DestinationRepository != "" && j.DestinationRepository != dest.Repository {
		return fault.New(fault.NotFound, "Copy job failed because the destination Backup vault %s does not exist.", j.DestinationVaultARN).WithCode(CategoryMissing)
	}
	if err != nil {
		return err
	}
	life := schedule.ForCopy(j.Lifecycle, r.Lifecycle)
	if j.Resolved != nil { // let in with this one; the source's may have changed since
		life = *j.Resolved
	}
	if err := life.Validate(s.ColdMinimumDays[region]); err != nil {
		return fault.New(fault.Invalid, "Copy job failed. %s", fault.As(err).Msg).WithCode("INVALID_PARAMETERS")
	}
	if j.State != StateRunning { // a job that was let in stays in
		if err := dest.Lock.CheckRetention(life); err != nil {
			return fault.New(fault.Invalid, "Copy job failed. %s (%s)", messageRange, dest.Lock.rangeText()).WithCode(CategoryRange)
		}
		if at := life.DeleteAt(r.Created); !at.IsZero() && !tx.Now.Before(at) {
			return fault.New(fault.Invalid, "Copy job failed. The retention of the copy counts from the creation of the recovery point (%s) and has ended already (%s).",
				r.Created.Format(time.RFC3339), at.Format(time.RFC3339)).WithCode("INVALID_PARAMETERS")
		}
	}
	settings, err := regionSettings(ctx, tx, account, region)
	if err != nil {
		return err
	}
	id := copyPointID(j.Account, j.Region, j.ID)
	w.Destination = workVault(dest)
	w.Point = WorkPoint{ARN: pointARN(r.ResourceType, settings.Manage, account, region, r.ResourceARN, id, r.Created), ID: id,
		ResourceARN: r.ResourceARN, ResourceName: r.ResourceName, ResourceType: r.ResourceType, Created: r.Created, SizeBytes: r.SizeBytes, Lifecycle: life}
	w.DeleteAt, w.MoveAt = life.DeleteAt(r.Created), life.MoveAt(r.Created)
	w.Detail = PointDetail{
		ResourceName: r.ResourceName, RoleARN: j.RoleARN, JobID: j.ID, CreatedBy: r.CreatedBy, Lifecycle: life, Initiated: j.Started, RestoreMetadata: r.RestoreMetadata,
		SourceVaultARN: j.SourceVaultARN(), SourceARN: r.ARN, SourceAccount: j.Account, Partial: r.Status == PointPartial, StatusMessage: r.StatusMessage,
	}
	w.BaseID, err = newestPoint(ctx, tx, dest, r.ResourceARN, id)
	return err
}

// FinishCopy records that the copy is committed in the destination's repository: the recovery point exists in the
// destination's catalog and the job is COMPLETED, or PARTIAL when it copied a PARTIAL recovery point. With both accounts at
// home here, one transaction does both.
// Errors: Conflict when the lease is lost; a job.Permanent error when the destination vault is gone.
func (s *Service) FinishCopy(ctx context.Context, l job.Lease, res CopyResult) error {
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := s.leasedCopy(ctx, tx, l)
		if err != nil {
			return err
		}
		if j.Source == nil || j.Resolved == nil {
			return fmt.Errorf("copy job %s finished without having begun", j.ID)
		}
		if err := s.finishCopyAtDestination(ctx, tx, j, *j.Source, res); err != nil {
			return err
		}
		return s.finishCopyAtSource(ctx, tx, l, &j, *j.Source, res)
	})
	if err == nil {
		s.Jobs.Wake(CopyKind)
		s.Jobs.Wake(BackupKind)
	}
	return err
}

// finishCopyAtDestination adds the recovery point to the destination's catalog. Doing it again changes nothing.
func (s *Service) finishCopyAtDestination(ctx context.Context, tx *db.Tx, j CopyJob, source RecoveryPoint, res CopyResult) error {
	account, region, name, _ := ParseVaultARN(j.DestinationVaultARN)
	status := PointCompleted
	if source.Status == PointPartial {
		status = PointPartial
	}
	_, err := insertRecoveryPoint(ctx, tx, RecoveryPoint{
		ARN: j.DestinationPointARN, Account: account, Region: region, Vault: name, Repository: j.DestinationRepository, ID: copyPointID(j.Account, j.Region, j.ID), Receipt: res.Receipt,
		SourceVaultARN: j.SourceVaultARN(), SourceARN: source.ARN, SourceAccount: j.Account,
		ResourceARN: source.ResourceARN, ResourceType: source.ResourceType, ResourceName: source.ResourceName, CreatedBy: source.CreatedBy, RoleARN: j.RoleARN,
		Status: status, StatusMessage: source.StatusMessage, Created: source.Created, Initiated: j.Started, Completed: tx.Now, SizeBytes: res.SizeBytes,
		Lifecycle: *j.Resolved, RestoreMetadata: source.RestoreMetadata,
	}, j.SourceTags)
	switch {
	case fault.Is(err, fault.Exists):
		return nil
	case fault.Is(err, fault.NotFound):
		return job.Permanent(fault.New(fault.NotFound, "Copy job failed because the destination Backup vault %s does not exist.", j.DestinationVaultARN))
	case fault.Is(err, fault.Limit):
		return job.Permanent(err)
	}
	return err
}

// finishCopyAtSource ends the job in the source account.
func (s *Service) finishCopyAtSource(ctx context.Context, tx *db.Tx, l job.Lease, j *CopyJob, source RecoveryPoint, res CopyResult) error {
	to, message, category := StateCompleted, "", CategorySuccess
	if source.Status == PointPartial {
		to, message, category = StatePartial, "The source is PARTIAL: "+source.StatusMessage, CategoryOther
	}
	j.SizeBytes, j.TransferredBytes = res.SizeBytes, res.TransferredBytes
	if err := s.closeCopy(ctx, tx, j, to, message, category); err != nil {
		return err
	}
	return l.Complete(ctx, tx)
}

// EndCopy ends a job as FAILED with a message and its category. A job that has ended already stays as it is.
// Errors: Conflict when the lease is lost.
func (s *Service) EndCopy(ctx context.Context, l job.Lease, message, category string) error {
	if category == "" {
		category = CategoryOther
	}
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := s.leasedCopy(ctx, tx, l)
		if err != nil {
			return err
		}
		if !j.Final() {
			if err := s.closeCopy(ctx, tx, &j, StateFailed, message, category); err != nil {
				return err
			}
		}
		return l.Complete(ctx, tx)
	})
	if err == nil {
		s.Jobs.Wake(CopyKind)
		s.Jobs.Wake(BackupKind)
	}
	return err
}
