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
	"strongroom/internal/schedule"
)

// CopyJob is one copy of a recovery point into another vault. It belongs to the account of the source.
type CopyJob struct {
	Account, Region, ID string
	State               State
	Message, Category   string
	ResourceARN         string
	ResourceType        string
	SourceVault         string // name
	SourcePointARN      string
	DestinationVaultARN string
	DestinationPointARN string // "" until the job has started; the recovery point exists once it is COMPLETED or PARTIAL
	BackupJob           string // whose copy action it is; "" when it was asked for
	Created             time.Time
	Started             time.Time
	Completed           time.Time // when it ended, however
	SizeBytes           int64
	TransferredBytes    int64
	copySpec
}

// copySpec is what a copy job was made with, and what its start found out about the destination.
type copySpec struct {
	ResourceName    string
	RoleARN         string
	Lifecycle       *schedule.Lifecycle `json:",omitempty"` // as asked for; nil inherits
	Resolved        *schedule.Lifecycle `json:",omitempty"` // what the copy gets, once the job has started
	DestinationKey  string
	DestinationLock string
	// DestinationRepository holds the copy: a vault made anew under the destination's name does not.
	DestinationRepository string `json:",omitempty"`
	CreatedBy             Creator
	// The source as it was when the job started: what is copied stays true when the source is deleted meanwhile.
	Source     *RecoveryPoint    `json:",omitempty"`
	SourceTags map[string]string `json:",omitempty"`
}

// SourceVaultARN is the ARN of the vault that is copied from.
func (j CopyJob) SourceVaultARN() string { return VaultARN(j.Account, j.Region, j.SourceVault) }

// Final reports whether the job has ended.
func (j CopyJob) Final() bool { return copyStates.final(j.State) }

// CopyRequest asks for a copy on demand.
type CopyRequest struct {
	PointARN, SourceVault, DestinationVaultARN, RoleARN string
	Token                                               string // idempotency; "" for none
	Lifecycle                                           *schedule.Lifecycle
}

// StartCopy starts a copy on demand. Whether the destination exists and lets the copy in is found out when the job runs.
// The same token with the same request returns the job that it started.
// Errors: Missing, Invalid; NotFound for the vault or the recovery point; State when the recovery point cannot be copied.
func (s *Service) StartCopy(ctx context.Context, account, region string, q CopyRequest) (j CopyJob, err error) {
	if err := s.validCopy(q); err != nil {
		return CopyJob{}, err
	}
	if err := s.Roles.Assumable(ctx, account, q.RoleARN); err != nil {
		return CopyJob{}, err
	}
	if a, r, name, _ := ParseVaultARN(q.DestinationVaultARN); a == account {
		if err := s.ensureDefaultVault(ctx, a, r, name); err != nil {
			return CopyJob{}, err
		}
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		id := ident.UpperUUID()
		started, err := useToken(ctx, tx, account, region, "StartCopyJob", q.Token, q, id)
		if err != nil {
			return err
		}
		if started != "" {
			j, err = copyJob(ctx, tx, account, region, started)
			return err
		}
		if _, err := vault(ctx, tx, account, region, q.SourceVault); err != nil {
			return err
		}
		r, err := recoveryPoint(ctx, tx, account, region, q.SourceVault, q.PointARN)
		if err != nil {
			return err
		}
		if why := uncopyable(r); why != "" {
			return fault.New(fault.State, "Recovery point %s cannot be copied: %s.", r.ARN, why).WithResource(r.ARN)
		}
		j = CopyJob{
			Account: account, Region: region, ID: id, State: StateCreated, ResourceARN: r.ResourceARN, ResourceType: r.ResourceType, SourceVault: q.SourceVault,
			SourcePointARN: r.ARN, DestinationVaultARN: q.DestinationVaultARN, Created: tx.Now, SizeBytes: r.SizeBytes,
			copySpec: copySpec{ResourceName: r.ResourceName, RoleARN: q.RoleARN, Lifecycle: q.Lifecycle, CreatedBy: r.CreatedBy},
		}
		_, err = s.addCopyJob(ctx, tx, j)
		return err
	})
	if err == nil {
		s.Jobs.Wake(CopyKind)
	}
	return j, err
}

func (s *Service) validCopy(q CopyRequest) error {
	for _, m := range []struct{ name, value string }{
		{"RecoveryPointArn", q.PointARN}, {"SourceBackupVaultName", q.SourceVault}, {"DestinationBackupVaultArn", q.DestinationVaultARN}, {"IamRoleArn", q.RoleARN},
	} {
		if m.value == "" {
			return fault.New(fault.Missing, "%s is required.", m.name)
		}
	}
	_, region, name, ok := ParseVaultARN(q.DestinationVaultARN)
	if !ok || !vaultName.MatchString(name) {
		return fault.New(fault.Invalid, "Invalid DestinationBackupVaultArn %q: it is not the ARN of a backup vault.", q.DestinationVaultARN)
	}
	if q.Lifecycle != nil {
		return q.Lifecycle.ValidateCopy(s.ColdMinimumDays[region])
	}
	return nil
}

// uncopyable says why a recovery point cannot be copied; "" when it can.
func uncopyable(r RecoveryPoint) string {
	switch {
	case !r.Usable():
		return "its status is " + string(r.Status)
	case r.StorageClass != Warm:
		return "it is in cold storage"
	case r.Continuous:
		return "it is continuous"
	}
	return ""
}

// addCopyJob inserts a job and puts it in the queue; added is false when it is there already.
func (s *Service) addCopyJob(ctx context.Context, tx *db.Tx, j CopyJob) (added bool, err error) {
	if added, err = insertCopyJob(ctx, tx, j); err != nil || !added {
		return added, err
	}
	return true, s.Jobs.Enqueue(ctx, tx, job.Job{Kind: CopyKind, Account: j.Account, Region: j.Region, ID: j.ID})
}

// addCopyActions starts the copies that the rule of a completed backup job asks for. Their ids derive from the job's and the
// destination, so they cannot be started twice.
func (s *Service) addCopyActions(ctx context.Context, tx *db.Tx, b BackupJob) error {
	for _, c := range b.Copies {
		j := CopyJob{
			Account: b.Account, Region: b.Region, ID: strings.ToUpper(ident.NamedUUID("copy action", b.Account, b.Region, b.ID, c.VaultARN)),
			State: StateCreated, ResourceARN: b.ResourceARN, ResourceType: b.ResourceType, SourceVault: b.Vault, SourcePointARN: b.PointARN,
			DestinationVaultARN: c.VaultARN, BackupJob: b.ID, Created: tx.Now, SizeBytes: b.SizeBytes,
			copySpec: copySpec{ResourceName: b.ResourceName, RoleARN: b.RoleARN, Lifecycle: c.Lifecycle, CreatedBy: b.CreatedBy},
		}
		if _, err := s.addCopyJob(ctx, tx, j); err != nil {
			return err
		}
	}
	return nil
}

// CopyJob returns a job. Errors: NotFound.
func (s *Service) CopyJob(ctx context.Context, account, region, id string) (j CopyJob, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err = copyJob(ctx, tx, account, region, id)
		return err
	})
	return j, err
}

// moveCopy changes the state of a job and writes it back.
func moveCopy(ctx context.Context, tx *db.Tx, j *CopyJob, to State) error {
	if err := copyStates.step(j.State, to); err != nil {
		return fmt.Errorf("copy job %s: %w", j.ID, err)
	}
	j.State = to
	return updateCopyJob(ctx, tx, *j)
}

// closeCopy ends a job; jobs that wait for the resource are due.
func (s *Service) closeCopy(ctx context.Context, tx *db.Tx, j *CopyJob, to State, message, category string) error {
	j.Message, j.Category, j.Completed = message, category, tx.Now
	if err := moveCopy(ctx, tx, j, to); err != nil {
		return err
	}
	return s.hurryWaiting(ctx, tx, j.Account, j.ResourceARN)
}
