package backup

import (
	"context"
	"fmt"
	"strings"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/job"
)

// maxMetadataBytes bounds the metadata of one restore.
const maxMetadataBytes = 200 << 10

// RestoreJob is one restore of a recovery point into a new resource.
type RestoreJob struct {
	Account, Region, ID string
	State               State
	Message             string
	SourceARN           string // the resource that the recovery point is of
	ResourceType        string
	Vault               string // name
	PointARN            string
	PointCreated        time.Time
	CreatedARN          string // what the restore made; "" before
	Created             time.Time
	Started             time.Time
	Completed           time.Time // when it ended, however
	Percent             float64
	SizeBytes           int64
	restoreSpec
}

// restoreSpec is what a restore job was made with.
type restoreSpec struct {
	RoleARN  string
	Metadata map[string]string
	CopyTags bool `json:",omitempty"`
}

// VaultARN is the ARN of the vault that the job restores from.
func (j RestoreJob) VaultARN() string { return VaultARN(j.Account, j.Region, j.Vault) }

// Final reports whether the job has ended.
func (j RestoreJob) Final() bool { return restoreStates.final(j.State) }

// RestoreRequest asks for a restore.
type RestoreRequest struct {
	PointARN, RoleARN string
	Token             string // idempotency; "" for none
	ResourceType      string // "" or the recovery point's
	Metadata          map[string]string
	CopyTags          bool
}

// StartRestore starts a restore of a recovery point of the account. The same token with the same request returns the job
// that it started. What the metadata means is the provider's business and found out when the job runs.
// Errors: Missing, Invalid; NotFound for the recovery point; State when it cannot be restored.
func (s *Service) StartRestore(ctx context.Context, account, region string, q RestoreRequest) (j RestoreJob, err error) {
	if err := q.valid(); err != nil {
		return RestoreJob{}, err
	}
	if err := s.Roles.Assumable(ctx, account, q.RoleARN); err != nil {
		return RestoreJob{}, err
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		id := ident.UpperUUID()
		started, err := useToken(ctx, tx, account, region, "StartRestoreJob", q.Token, q, id)
		if err != nil {
			return err
		}
		if started != "" {
			j, err = restoreJob(ctx, tx, account, region, started)
			return err
		}
		r, err := recoveryPointByARN(ctx, tx, account, region, q.PointARN)
		if err != nil {
			return err
		}
		if !r.Usable() {
			return fault.New(fault.State, "Recovery point %s cannot be restored: its status is %s.", r.ARN, r.Status).WithResource(r.ARN)
		}
		if q.ResourceType != "" && q.ResourceType != r.ResourceType {
			return fault.New(fault.Invalid, "Invalid ResourceType %s: recovery point %s is of type %s.", q.ResourceType, r.ARN, r.ResourceType)
		}
		j = RestoreJob{
			Account: account, Region: region, ID: id, State: StatePending, SourceARN: r.ResourceARN, ResourceType: r.ResourceType, Vault: r.Vault,
			PointARN: r.ARN, PointCreated: r.Created, Created: tx.Now, SizeBytes: r.SizeBytes,
			restoreSpec: restoreSpec{RoleARN: q.RoleARN, Metadata: q.Metadata, CopyTags: q.CopyTags},
		}
		if err := insertRestoreJob(ctx, tx, j); err != nil {
			return err
		}
		return s.Jobs.Enqueue(ctx, tx, job.Job{Kind: RestoreKind, Account: account, Region: region, ID: id})
	})
	if err == nil {
		s.Jobs.Wake(RestoreKind)
	}
	return j, err
}

func (q RestoreRequest) valid() error {
	switch {
	case q.PointARN == "":
		return fault.New(fault.Missing, "RecoveryPointArn is required.")
	case q.RoleARN == "":
		return fault.New(fault.Missing, "IamRoleArn is required.")
	case q.Metadata == nil:
		return fault.New(fault.Missing, "Metadata is required.")
	}
	n := 0
	for k, v := range q.Metadata {
		n += len(k) + len(v)
	}
	if n > maxMetadataBytes {
		return fault.New(fault.Invalid, "The restore metadata has %d bytes; the limit is %d.", n, maxMetadataBytes)
	}
	return nil
}

// RestoreJob returns a job. Errors: NotFound.
func (s *Service) RestoreJob(ctx context.Context, account, region, id string) (j RestoreJob, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err = restoreJob(ctx, tx, account, region, id)
		return err
	})
	return j, err
}

// RestoreWork reads what the body of a restore job needs, changing nothing. Errors: NotFound; State when the recovery point
// cannot be restored any more.
func (s *Service) RestoreWork(ctx context.Context, l job.Lease) (w RestoreWork, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := restoreJob(ctx, tx, l.Account, l.Region, l.ID)
		if err != nil {
			return err
		}
		w, err = restoreWork(ctx, tx, j, l)
		return err
	})
	return w, err
}

// restoreWork collects what the body of a job needs. A *fault.Error says why the restore cannot be made.
func restoreWork(ctx context.Context, tx *db.Tx, j RestoreJob, l job.Lease) (RestoreWork, error) {
	r, err := recoveryPoint(ctx, tx, j.Account, j.Region, j.Vault, j.PointARN)
	if err != nil {
		return RestoreWork{}, err
	}
	if !r.Usable() {
		return RestoreWork{}, fault.New(fault.State, "Recovery point %s cannot be restored: its status is %s.", r.ARN, r.Status)
	}
	v, err := vault(ctx, tx, j.Account, j.Region, j.Vault)
	if err != nil {
		return RestoreWork{}, err
	}
	return RestoreWork{JobID: j.ID, Account: j.Account, Region: j.Region, Attempt: l.Attempt, RoleARN: j.RoleARN, Vault: workVault(v), Point: workPoint(r),
		Metadata: j.Metadata, CopyTags: j.CopyTags, Created: j.Created}, nil
}

// BeginRestore makes the job RUNNING and returns what the body needs; a job that is RUNNING already is taken up again.
// Outcomes besides success: job.ErrEnded when the recovery point is gone and the job has FAILED; fault.Conflict when the lease
// is lost.
func (s *Service) BeginRestore(ctx context.Context, l job.Lease) (w RestoreWork, err error) {
	var outcome error
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		outcome = nil
		j, err := leasedRestore(ctx, tx, l)
		if err != nil {
			return err
		}
		if j.Final() {
			outcome = job.ErrEnded
			return l.Complete(ctx, tx)
		}
		w, err = restoreWork(ctx, tx, j, l)
		if e := fault.As(err); e != nil {
			outcome = job.ErrEnded
			if err := closeRestore(ctx, tx, &j, StateFailed, "Restore job failed. "+e.Msg); err != nil {
				return err
			}
			return l.Complete(ctx, tx)
		}
		if err != nil || j.State == StateRunning {
			return err
		}
		j.Started = tx.Now
		return moveRestore(ctx, tx, &j, StateRunning)
	})
	if err == nil {
		err = outcome
	}
	return w, err
}

// FinishRestore ends the job: COMPLETED when everything was restored, FAILED when something was not. In both cases
// CreatedResourceARN says where what was restored is. Errors: Conflict when the lease is lost.
func (s *Service) FinishRestore(ctx context.Context, l job.Lease, res RestoreResult) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := leasedRestore(ctx, tx, l)
		if err != nil {
			return err
		}
		to, message := StateCompleted, res.Message
		if res.Problems > 0 {
			to = StateFailed
			message = strings.TrimSpace(problemText(res.Problems, res.FirstProblems, "could not be restored") + " Everything else was restored to " + res.CreatedResourceARN + ". " + res.Message)
		}
		j.CreatedARN, j.SizeBytes = res.CreatedResourceARN, res.SizeBytes
		if to == StateCompleted {
			j.Percent = 100
			r, err := recoveryPointByARN(ctx, tx, j.Account, j.Region, j.PointARN)
			if err == nil {
				err = recordRestore(ctx, tx, r, j.Created)
			}
			if err != nil && !fault.Is(err, fault.NotFound) { // it may have been deleted meanwhile
				return err
			}
		}
		if err := closeRestore(ctx, tx, &j, to, message); err != nil {
			return err
		}
		return l.Complete(ctx, tx)
	})
}

// EndRestore ends a job as StateFailed or, when it was interrupted on purpose, StateAborted. A job that has ended already
// stays as it is. Errors: Conflict when the lease is lost.
func (s *Service) EndRestore(ctx context.Context, l job.Lease, to State, message string) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := leasedRestore(ctx, tx, l)
		if err != nil {
			return err
		}
		if j.State == StatePending {
			to = StateFailed
		}
		if !j.Final() {
			if err := closeRestore(ctx, tx, &j, to, message); err != nil {
				return err
			}
		}
		return l.Complete(ctx, tx)
	})
}

func leasedRestore(ctx context.Context, tx *db.Tx, l job.Lease) (RestoreJob, error) {
	if err := l.Check(ctx, tx); err != nil {
		return RestoreJob{}, err
	}
	return restoreJob(ctx, tx, l.Account, l.Region, l.ID)
}

func moveRestore(ctx context.Context, tx *db.Tx, j *RestoreJob, to State) error {
	if err := restoreStates.step(j.State, to); err != nil {
		return fmt.Errorf("restore job %s: %w", j.ID, err)
	}
	j.State = to
	return updateRestoreJob(ctx, tx, *j)
}

func closeRestore(ctx context.Context, tx *db.Tx, j *RestoreJob, to State, message string) error {
	j.Message, j.Completed = message, tx.Now
	return moveRestore(ctx, tx, j, to)
}
