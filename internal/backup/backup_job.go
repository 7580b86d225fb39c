package backup

import (
	"context"
	"fmt"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/job"
	"strongroom/internal/schedule"
)

// BackupJob is one backup of one resource, asked for or scheduled.
type BackupJob struct {
	Account, Region, ID string
	State               State
	Message, Category   string
	ResourceARN         string
	ResourceType        string
	Vault               string // name
	// PointARN names the recovery point that the job makes. It exists from the start of the job, and not when the job ends in
	// ABORTED, FAILED or EXPIRED.
	PointARN            string
	Scheduled           time.Time // zero: on demand
	Created             time.Time
	Started             time.Time
	Completed           time.Time // when it ended, however
	StartBy, CompleteBy time.Time
	Percent             float64
	SizeBytes           int64
	TransferredBytes    int64
	backupSpec
}

// backupSpec is what a backup job was made with, and what its start found out about the vault.
type backupSpec struct {
	ResourceName string
	RoleARN      string
	VaultLock    string
	KeyARN       string
	Lifecycle    schedule.Lifecycle
	Tags         map[string]string `json:",omitempty"`
	Options      map[string]string `json:",omitempty"`
	CreatedBy    Creator
	Copies       []CopyAction `json:",omitempty"`
}

// VaultARN is the ARN of the vault that the job writes to.
func (j BackupJob) VaultARN() string { return VaultARN(j.Account, j.Region, j.Vault) }

// Final reports whether the job has ended.
func (j BackupJob) Final() bool { return backupStates.final(j.State) }

// BackupRequest asks for a backup on demand.
type BackupRequest struct {
	Vault, ResourceARN, RoleARN   string
	Token                         string // idempotency; "" for none
	StartMinutes, CompleteMinutes int64  // 0: default
	Lifecycle                     *schedule.Lifecycle
	Tags, Options                 map[string]string
}

// StartBackup starts a backup on demand. The same token with the same request returns the job that it started.
// Errors: Missing, Invalid; NotFound for the vault or a resource that no agent declares.
func (s *Service) StartBackup(ctx context.Context, account, region string, q BackupRequest) (j BackupJob, err error) {
	if err := s.validBackup(region, &q); err != nil {
		return BackupJob{}, err
	}
	if err := s.ensureDefaultVault(ctx, account, region, q.Vault); err != nil {
		return BackupJob{}, err
	}
	if err := s.Roles.Assumable(ctx, account, q.RoleARN); err != nil {
		return BackupJob{}, err
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		id := ident.UpperUUID()
		started, err := useToken(ctx, tx, account, region, "StartBackupJob", q.Token, q, id)
		if err != nil {
			return err
		}
		if started != "" {
			j, err = backupJob(ctx, tx, account, region, started)
			return err
		}
		if _, err := vault(ctx, tx, account, region, q.Vault); err != nil {
			return err
		}
		r, err := declaredResource(ctx, tx, account, region, q.ResourceARN)
		if err != nil {
			return err
		}
		if err := validOptions(r.Type, q.Options); err != nil {
			return err
		}
		settings, err := regionSettings(ctx, tx, account, region)
		if err != nil {
			return err
		}
		window := schedule.WindowOf(tx.Now, q.StartMinutes, q.CompleteMinutes)
		j = BackupJob{
			Account: account, Region: region, ID: id, State: StateCreated, ResourceARN: r.ARN, ResourceType: r.Type, Vault: q.Vault,
			Created: tx.Now, StartBy: window.StartBy, CompleteBy: window.CompleteBy,
			backupSpec: backupSpec{ResourceName: r.Name, RoleARN: q.RoleARN, Tags: q.Tags, Options: q.Options},
		}
		if q.Lifecycle != nil {
			j.Lifecycle = *q.Lifecycle
		}
		j.PointARN = pointARN(j.ResourceType, settings.Manage, account, region, j.ResourceARN, pointID(account, region, id), tx.Now)
		_, err = s.addBackupJob(ctx, tx, j)
		return err
	})
	if err == nil {
		s.Jobs.Wake(BackupKind)
	}
	return j, err
}

func (s *Service) validBackup(region string, q *BackupRequest) (err error) {
	switch {
	case q.Vault == "":
		return fault.New(fault.Missing, "BackupVaultName is required.")
	case q.ResourceARN == "":
		return fault.New(fault.Missing, "ResourceArn is required.")
	case q.RoleARN == "":
		return fault.New(fault.Missing, "IamRoleArn is required.")
	}
	if _, err := arn.Parse(q.ResourceARN); err != nil {
		return fault.New(fault.Invalid, "Invalid ResourceArn %q: %v.", q.ResourceARN, err)
	}
	if q.StartMinutes, q.CompleteMinutes, err = windows(q.StartMinutes, q.CompleteMinutes); err != nil {
		return err
	}
	if q.Lifecycle != nil {
		if err := q.Lifecycle.Validate(s.ColdMinimumDays[region]); err != nil {
			return err
		}
	}
	return validPointTags(q.Tags)
}

// addBackupJob inserts a job and puts it in the queue; added is false when the run of its rule has one already.
func (s *Service) addBackupJob(ctx context.Context, tx *db.Tx, j BackupJob) (added bool, err error) {
	if added, err = insertBackupJob(ctx, tx, j); err != nil || !added || j.Final() {
		return added, err
	}
	return true, s.Jobs.Enqueue(ctx, tx, job.Job{Kind: BackupKind, Account: j.Account, Region: j.Region, ID: j.ID})
}

// BackupJob returns a job. Errors: NotFound.
func (s *Service) BackupJob(ctx context.Context, account, region, id string) (j BackupJob, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err = backupJob(ctx, tx, account, region, id)
		return err
	})
	return j, err
}

func errNoJob(kind, id string) error {
	return fault.New(fault.NotFound, "Cannot find %s job %s.", kind, id).WithResource(id)
}

// StopBackup stops a job: one that waits is ABORTED at once, one that runs becomes ABORTING and is ABORTED when its worker
// has stopped. Asking again is not an error. Errors: NotFound; State when the job has ended.
func (s *Service) StopBackup(ctx context.Context, account, region, id string) error {
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := backupJob(ctx, tx, account, region, id)
		if err != nil {
			return err
		}
		switch {
		case j.State == StateAborting:
			return nil
		case j.State == StateRunning:
			if err := s.moveBackup(ctx, tx, &j, StateAborting); err != nil {
				return err
			}
			return s.Jobs.Cancel(ctx, tx, BackupKind, account, id)
		case j.Final():
			return fault.New(fault.State, "Backup job %s cannot be stopped: it has ended with state %s.", id, j.State).WithResource(id)
		}
		if err := s.Jobs.Drop(ctx, tx, BackupKind, account, id); err != nil {
			return err
		}
		return s.closeBackup(ctx, tx, &j, StateAborted, messageStopped, CategoryOther)
	})
	if err == nil {
		s.Jobs.Wake(BackupKind)
	}
	return err
}

// moveBackup changes the state of a job and writes it back.
func (s *Service) moveBackup(ctx context.Context, tx *db.Tx, j *BackupJob, to State) error {
	if err := backupStates.step(j.State, to); err != nil {
		return fmt.Errorf("backup job %s: %w", j.ID, err)
	}
	j.State = to
	return updateBackupJob(ctx, tx, *j)
}

// closeBackup ends a job without a recovery point: what it had begun vanishes from the vault, and jobs that wait for the
// resource are due.
func (s *Service) closeBackup(ctx context.Context, tx *db.Tx, j *BackupJob, to State, message, category string) error {
	r, err := recoveryPointByARN(ctx, tx, j.Account, j.Region, j.PointARN)
	if err == nil && r.Status == PointCreating {
		err = removePoint(ctx, tx, r)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	j.Message, j.Category, j.Completed = message, category, tx.Now
	if err := s.moveBackup(ctx, tx, j, to); err != nil {
		return err
	}
	return s.hurryWaiting(ctx, tx, j.Account, j.ResourceARN)
}

// HasPoint reports whether the job's recovery point exists or is still to come.
func (j BackupJob) HasPoint() bool {
	return !j.Final() || j.State == StateCompleted || j.State == StatePartial
}
