package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const backupJobColumns = `account, region, id, state, message, category, resource_arn, resource_type, vault, point_arn, plan_id, rule_id, scheduled,
	created, started, completed, start_by, complete_by, permille, size_bytes, transferred, spec`

// backupJob reads one job. Errors: NotFound.
func backupJob(ctx context.Context, tx *db.Tx, account, region, id string) (BackupJob, error) {
	j, err := scanBackupJob(tx.QueryRow(ctx, "SELECT "+backupJobColumns+" FROM backup_job WHERE account = ? AND region = ? AND id = ?", account, region, id))
	if db.NoRows(err) {
		return BackupJob{}, errNoJob("backup", id)
	}
	return j, err
}

func queryBackupJobs(ctx context.Context, tx *db.Tx, tail string, args ...any) (list []BackupJob, err error) {
	rows, err := tx.Query(ctx, "SELECT "+backupJobColumns+" FROM backup_job"+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		j, err := scanBackupJob(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, j)
	}
	return list, rows.Err()
}

func scanBackupJob(row scanner) (j BackupJob, err error) {
	var planID, ruleID, spec string
	var scheduled, created, started, completed, startBy, completeBy, permille int64
	err = row.Scan(&j.Account, &j.Region, &j.ID, &j.State, &j.Message, &j.Category, &j.ResourceARN, &j.ResourceType, &j.Vault, &j.PointARN, &planID, &ruleID, &scheduled,
		&created, &started, &completed, &startBy, &completeBy, &permille, &j.SizeBytes, &j.TransferredBytes, &spec)
	if err != nil {
		return BackupJob{}, err
	}
	j.Scheduled, j.Created, j.Started, j.Completed = db.Time(scheduled), db.Time(created), db.Time(started), db.Time(completed)
	j.StartBy, j.CompleteBy, j.Percent = db.Time(startBy), db.Time(completeBy), float64(permille)/10
	if err := json.Unmarshal([]byte(spec), &j.backupSpec); err != nil {
		return BackupJob{}, fmt.Errorf("read backup job %s: %w", j.ID, err)
	}
	return j, nil
}

// insertBackupJob adds a job; added is false when there is one for the same run of a rule and resource.
func insertBackupJob(ctx context.Context, tx *db.Tx, j BackupJob) (added bool, err error) {
	spec, err := json.Marshal(j.backupSpec)
	if err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, "INSERT INTO backup_job ("+backupJobColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		j.Account, j.Region, j.ID, string(j.State), j.Message, j.Category, j.ResourceARN, j.ResourceType, j.Vault, j.PointARN, j.CreatedBy.PlanID, j.CreatedBy.RuleID, db.Micros(j.Scheduled),
		db.Micros(j.Created), db.Micros(j.Started), db.Micros(j.Completed), db.Micros(j.StartBy), db.Micros(j.CompleteBy), permille(j.Percent), j.SizeBytes, j.TransferredBytes, string(spec))
	return n == 1, err
}

// updateBackupJob writes what can change of a job.
func updateBackupJob(ctx context.Context, tx *db.Tx, j BackupJob) error {
	spec, err := json.Marshal(j.backupSpec)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE backup_job SET state = ?, message = ?, category = ?, started = ?, completed = ?, permille = ?, size_bytes = ?, transferred = ?, spec = ?
		WHERE account = ? AND region = ? AND id = ?`,
		string(j.State), j.Message, j.Category, db.Micros(j.Started), db.Micros(j.Completed), permille(j.Percent), j.SizeBytes, j.TransferredBytes, string(spec),
		j.Account, j.Region, j.ID)
	return err
}

func permille(percent float64) int64 {
	return int64(math.Round(10 * min(max(percent, 0), 100)))
}

// busy names another backup or copy job that works on a resource of the account; "" when there is none. jobID is the one that asks.
func busy(ctx context.Context, tx *db.Tx, account, resourceARN, jobID string) (other string, err error) {
	err = tx.QueryRow(ctx, `SELECT id FROM (
		SELECT id FROM backup_job WHERE account = ? AND resource_arn = ? AND state IN ('RUNNING', 'ABORTING') AND id <> ?
		UNION ALL SELECT id FROM copy_job WHERE account = ? AND resource_arn = ? AND state = 'RUNNING' AND id <> ?) AS active LIMIT 1`,
		account, resourceARN, jobID, account, resourceARN, jobID).Scan(&other)
	if db.NoRows(err) {
		return "", nil
	}
	return other, err
}

// hurryWaiting makes the jobs that wait for a resource due, because the one that worked on it has ended.
func (s *Service) hurryWaiting(ctx context.Context, tx *db.Tx, account, resourceARN string) error {
	type waiting struct {
		table string
		id    string
	}
	var list []waiting
	rows, err := tx.Query(ctx, `SELECT 'b', id FROM backup_job WHERE account = ? AND resource_arn = ? AND state IN ('CREATED', 'PENDING')
		UNION ALL SELECT 'c', id FROM copy_job WHERE account = ? AND resource_arn = ? AND state = 'CREATED'`, account, resourceARN, account, resourceARN)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var w waiting
		if err := rows.Scan(&w.table, &w.id); err != nil {
			return err
		}
		list = append(list, w)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close()
	for _, w := range list {
		kind := BackupKind
		if w.table == "c" {
			kind = CopyKind
		}
		if err := s.Jobs.Hurry(ctx, tx, kind, account, w.id); err != nil {
			return err
		}
	}
	return nil
}

// useToken records that an idempotency token starts job id, or returns the job that it started before. The same token
// with another request is refused: answering with a job that does something else would be a lie.
func useToken(ctx context.Context, tx *db.Tx, account, region, operation, token string, request any, id string) (started string, err error) {
	if token == "" {
		return "", nil
	}
	text, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	n, err := tx.Exec(ctx, "INSERT INTO start_token (account, region, operation, token, digest, job_id, created) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		account, region, operation, token, digest, id, db.Micros(tx.Now))
	if err != nil || n == 1 {
		return "", err
	}
	var have string
	if err := tx.QueryRow(ctx, "SELECT digest, job_id FROM start_token WHERE account = ? AND region = ? AND operation = ? AND token = ?", account, region, operation, token).
		Scan(&have, &started); err != nil {
		return "", err
	}
	if have != digest {
		return "", fault.New(fault.Invalid, "IdempotencyToken %s was used before with other parameters.", token)
	}
	return started, nil
}
