package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/job"
)

// busyRetry is how long a job that waits for its resource sleeps at most; it is woken earlier when the resource is free.
const busyRetry = 10 * time.Minute

// BackupWork reads what the body of a backup job needs, changing nothing.
// Errors: NotFound, also when the vault is gone.
func (s *Service) BackupWork(ctx context.Context, l job.Lease) (w BackupWork, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := backupJob(ctx, tx, l.Account, l.Region, l.ID)
		if err != nil {
			return err
		}
		v, err := vault(ctx, tx, j.Account, j.Region, j.Vault)
		if err != nil {
			return err
		}
		w, err = backupWork(ctx, tx, j, v, l)
		return err
	})
	return w, err
}

// BeginBackup makes the job RUNNING, with its recovery point CREATING in the vault, and returns what the body needs. A job
// that is RUNNING already, after a crash, is taken up again with the same recovery point. Outcomes besides success:
//  1. job.ErrEnded: the job was stopped, has EXPIRED, or was refused and FAILED; the lease is complete.
//  2. *job.Later: another job works on the resource.
//  3. fault.Conflict: the lease is lost.
func (s *Service) BeginBackup(ctx context.Context, l job.Lease) (w BackupWork, err error) {
	var outcome error
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		outcome = nil
		j, err := s.leasedBackup(ctx, tx, l)
		if err != nil {
			return err
		}
		end := func(to State, message, category string) error {
			outcome = job.ErrEnded
			return errors.Join(s.closeBackup(ctx, tx, &j, to, message, category), l.Complete(ctx, tx))
		}
		switch {
		case j.Final():
			outcome = job.ErrEnded
			return l.Complete(ctx, tx)
		case j.State == StateAborting:
			return end(StateAborted, messageStopped, CategoryOther)
		case !tx.Now.Before(j.CompleteBy):
			return end(StateExpired, messageExpired, CategoryExpired)
		}
		v, err := vault(ctx, tx, j.Account, j.Region, j.Vault)
		if fault.Is(err, fault.NotFound) {
			return end(StateFailed, "Backup job failed because backup vault "+j.VaultARN()+" does not exist.", CategoryMissing)
		}
		if err != nil {
			return err
		}
		if j.State == StateCreated || j.State == StatePending {
			if outcome, err = s.admitBackup(ctx, tx, &j, v, end); outcome != nil || err != nil {
				return err
			}
		}
		w, err = backupWork(ctx, tx, j, v, l)
		return err
	})
	if err == nil {
		err = outcome
	}
	return w, err
}

// leasedBackup checks the lease and reads its job.
func (s *Service) leasedBackup(ctx context.Context, tx *db.Tx, l job.Lease) (BackupJob, error) {
	if err := l.Check(ctx, tx); err != nil {
		return BackupJob{}, err
	}
	return backupJob(ctx, tx, l.Account, l.Region, l.ID)
}

// admitBackup decides whether a waiting job begins now, and begins it.
func (s *Service) admitBackup(ctx context.Context, tx *db.Tx, j *BackupJob, v Vault, end func(State, string, string) error) (outcome, err error) {
	other, err := busy(ctx, tx, j.Account, j.ResourceARN, j.ID)
	if err != nil {
		return nil, err
	}
	if !tx.Now.Before(j.StartBy) {
		message, category := messageExpired, CategoryExpired
		if other != "" {
			message, category = messageBusy, CategoryBusy
		}
		return job.ErrEnded, end(StateExpired, message, category)
	}
	if other != "" {
		j.Message = "The job waits for job " + other + ", which works on the same resource."
		at := tx.Now.Add(busyRetry)
		if j.StartBy.Before(at) {
			at = j.StartBy
		}
		return &job.Later{At: at, Reason: j.Message}, updateBackupJob(ctx, tx, *j)
	}
	if err := v.Lock.CheckRetention(j.Lifecycle); err != nil {
		return job.ErrEnded, end(StateFailed, "Backup job failed. "+messageRange+" ("+v.Lock.rangeText()+")", CategoryRange)
	}
	r, err := declaredResource(ctx, tx, j.Account, j.Region, j.ResourceARN)
	if fault.Is(err, fault.NotFound) {
		return job.ErrEnded, end(StateFailed, "Backup job failed because "+undeclaredText(j.ResourceARN, j.Account, j.Region), CategoryMissing)
	}
	if err != nil {
		return nil, err
	}
	j.Message, j.Started, j.ResourceName, j.ResourceType = "", tx.Now, r.Name, r.Type
	j.KeyARN, j.VaultLock = v.KeyARN, v.Lock.State()
	if err := s.moveBackup(ctx, tx, j, StateRunning); err != nil {
		return nil, err
	}
	_, err = insertRecoveryPoint(ctx, tx, RecoveryPoint{
		ARN: j.PointARN, Account: j.Account, Region: j.Region, Vault: j.Vault, ID: pointID(j.Account, j.Region, j.ID),
		ResourceARN: j.ResourceARN, ResourceType: j.ResourceType, ResourceName: j.ResourceName, CreatedBy: j.CreatedBy, RoleARN: j.RoleARN,
		Status: PointCreating, Created: j.Started, Initiated: j.Started, Lifecycle: j.Lifecycle,
	}, mergeTags(r.Tags, j.Tags))
	if fault.Is(err, fault.Limit) {
		return job.ErrEnded, end(StateFailed, "Backup job failed. "+fault.As(err).Msg, "LIMIT_EXCEEDED")
	}
	return nil, err
}

func undeclaredText(resourceARN, account, region string) string {
	return fmt.Sprintf("resource %s is not declared by any agent of account %s in Region %s.", resourceARN, account, region)
}

// mergeTags lays a rule's tags over those of the resource, without the ones that only AWS may set.
func mergeTags(resource, rule map[string]string) map[string]string {
	tags := map[string]string{}
	for _, m := range []map[string]string{resource, rule} {
		for k, v := range m {
			if validTag(k, v) == nil {
				tags[k] = v
			}
		}
	}
	return tags
}

// backupWork collects what the body of a job needs. For a job that has not begun, the recovery point's dates count from now.
func backupWork(ctx context.Context, tx *db.Tx, j BackupJob, v Vault, l job.Lease) (BackupWork, error) {
	created := j.Started
	if created.IsZero() {
		created = tx.Now
	}
	id := pointID(j.Account, j.Region, j.ID)
	base, err := newestPoint(ctx, tx, v, j.ResourceARN, id)
	if err != nil {
		return BackupWork{}, err
	}
	tags, err := tagsOf(ctx, tx, j.PointARN)
	if err != nil {
		return BackupWork{}, err
	}
	return BackupWork{
		JobID: j.ID, Account: j.Account, Region: j.Region, Attempt: l.Attempt, RoleARN: j.RoleARN, Vault: workVault(v),
		Point: WorkPoint{ARN: j.PointARN, ID: id, ResourceARN: j.ResourceARN, ResourceName: j.ResourceName, ResourceType: j.ResourceType,
			Created: created, Lifecycle: j.Lifecycle},
		BaseID: base, DeleteAt: j.Lifecycle.DeleteAt(created), MoveAt: j.Lifecycle.MoveAt(created),
		Tags: tags, Detail: PointDetail{ResourceName: j.ResourceName, RoleARN: j.RoleARN, JobID: j.ID, CreatedBy: j.CreatedBy, Lifecycle: j.Lifecycle, Initiated: created}, Options: j.Options, StartBy: j.StartBy, CompleteBy: j.CompleteBy,
	}, nil
}

func workVault(v Vault) WorkVault {
	return WorkVault{Account: v.Account, Region: v.Region, Name: v.Name, ARN: v.ARN(), ID: v.Repository, KeyARN: v.KeyARN, Sealed: v.Lock.immutable}
}

// newestPoint returns the repository id of the newest usable recovery point of a resource in a vault, other than id; "" for none.
func newestPoint(ctx context.Context, tx *db.Tx, v Vault, resourceARN, id string) (base string, err error) {
	err = tx.QueryRow(ctx, `SELECT point FROM recovery_point WHERE account = ? AND region = ? AND vault = ? AND resource_arn = ?
		AND status IN ('COMPLETED', 'AVAILABLE', 'PARTIAL') AND point <> ? ORDER BY created DESC, completed DESC LIMIT 1`,
		v.Account, v.Region, v.Name, resourceARN, id).Scan(&base)
	if db.NoRows(err) {
		return "", nil
	}
	return base, err
}

// FinishBackup records that the recovery point is committed in its repository: the job is COMPLETED, or PARTIAL when some
// entries are not faithful copies. In the same transaction the recovery point becomes usable, and after COMPLETED the
// rule's copy actions begin; a PARTIAL recovery point is not copied by the plan (StartCopyJob still can).
// Errors: Conflict when the lease is lost; nothing is recorded then and the retry will find the repository's commit.
func (s *Service) FinishBackup(ctx context.Context, l job.Lease, res BackupResult) error {
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := s.leasedBackup(ctx, tx, l)
		if err != nil {
			return err
		}
		to, status := StateCompleted, PointCompleted
		j.Message, j.Category = "", CategorySuccess
		if res.Problems > 0 {
			to, status = StatePartial, PointPartial
			j.Message, j.Category = problemText(res.Problems, res.FirstProblems, "could not be backed up faithfully"), CategoryOther
			if len(j.Copies) > 0 {
				j.Message += " The copy actions of the rule were not run."
			}
		}
		j.Completed, j.Percent, j.SizeBytes, j.TransferredBytes = tx.Now, 100, res.SizeBytes, res.TransferredBytes
		if res.ResourceName != "" {
			j.ResourceName = res.ResourceName
		}
		if err := s.moveBackup(ctx, tx, &j, to); err != nil {
			return err
		}
		if err := completePoint(ctx, tx, j, status, res); err != nil {
			return err
		}
		if to == StateCompleted {
			if err := s.addCopyActions(ctx, tx, j); err != nil {
				return err
			}
		}
		if err := l.Complete(ctx, tx); err != nil {
			return err
		}
		return s.hurryWaiting(ctx, tx, j.Account, j.ResourceARN)
	})
	if err == nil {
		s.Jobs.Wake(CopyKind)
		s.Jobs.Wake(BackupKind)
	}
	return err
}

// completePoint makes the recovery point of a job usable.
func completePoint(ctx context.Context, tx *db.Tx, j BackupJob, status PointStatus, res BackupResult) error {
	metadata, err := json.Marshal(res.RestoreMetadata)
	if err != nil {
		return err
	}
	receipt := res.Receipt
	if receipt == nil {
		receipt = []byte{}
	}
	n, err := tx.Exec(ctx, `UPDATE recovery_point SET status = ?, status_message = ?, completed = ?, size_bytes = ?, receipt = ?, restore_metadata = ?, resource_name = ?
		WHERE arn = ? AND account = ? AND region = ? AND status = ?`,
		string(status), j.Message, db.Micros(tx.Now), res.SizeBytes, receipt, string(metadata), j.ResourceName,
		j.PointARN, j.Account, j.Region, string(PointCreating))
	if err == nil && n != 1 {
		err = fmt.Errorf("recovery point %s of backup job %s is not being created", j.PointARN, j.ID)
	}
	if err != nil {
		return err
	}
	return protect(ctx, tx, j.Account, j.Region, j.Vault, j.ResourceARN)
}

// EndBackup ends a job without a recovery point: StateFailed with a message and its category, StateExpired when the
// completion window is over, StateAborted when it was stopped ("" gives the usual text of the last two). A job that has
// ended already stays as it is. Errors: Conflict when the lease is lost.
func (s *Service) EndBackup(ctx context.Context, l job.Lease, to State, message, category string) error {
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		j, err := s.leasedBackup(ctx, tx, l)
		if err != nil {
			return err
		}
		if j.Final() {
			return l.Complete(ctx, tx)
		}
		switch {
		case j.State == StateAborting && to == StateFailed:
			to, message, category = StateAborted, messageStopped, CategoryOther // it was stopped; how it took that is no news
		case to == StateAborted && message == "":
			message, category = messageStopped, CategoryOther
		case to == StateExpired && message == "":
			message, category = messageExpired, CategoryExpired
		case category == "":
			category = CategoryOther
		}
		if err := s.closeBackup(ctx, tx, &j, to, message, category); err != nil {
			return err
		}
		return l.Complete(ctx, tx)
	})
	if err == nil {
		s.Jobs.Wake(BackupKind)
		s.Jobs.Wake(CopyKind)
	}
	return err
}

// problemText says how many entries are affected and names the first ones.
func problemText(n int64, first []string, what string) string {
	const shown, longest = 5, 200
	noun := "entries"
	if n == 1 {
		noun = "entry"
	}
	var named []string
	for _, p := range first[:min(len(first), shown)] {
		if len(p) > longest {
			p = p[:longest] + "…"
		}
		named = append(named, strings.ToValidUTF8(fmt.Sprintf("%q", p), "?"))
	}
	text := fmt.Sprintf("%d %s %s", n, noun, what)
	if len(named) == 0 {
		return text + "."
	}
	text += ": " + strings.Join(named, ", ")
	if n > int64(len(named)) {
		text += fmt.Sprintf(" and %d more", n-int64(len(named)))
	}
	return text + "."
}
