package backup

import (
	"context"
	"encoding/json"
	"fmt"

	"strongroom/internal/db"
)

const copyJobColumns = `account, region, id, state, message, category, resource_arn, resource_type, source_vault, source_point_arn,
	destination_vault_arn, destination_point_arn, backup_job, created, started, completed, size_bytes, transferred, spec`

// copyJob reads one job. Errors: NotFound.
func copyJob(ctx context.Context, tx *db.Tx, account, region, id string) (CopyJob, error) {
	j, err := scanCopyJob(tx.QueryRow(ctx, "SELECT "+copyJobColumns+" FROM copy_job WHERE account = ? AND region = ? AND id = ?", account, region, id))
	if db.NoRows(err) {
		return CopyJob{}, errNoJob("copy", id)
	}
	return j, err
}

func queryCopyJobs(ctx context.Context, tx *db.Tx, tail string, args ...any) (list []CopyJob, err error) {
	rows, err := tx.Query(ctx, "SELECT "+copyJobColumns+" FROM copy_job"+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		j, err := scanCopyJob(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, j)
	}
	return list, rows.Err()
}

func scanCopyJob(row scanner) (j CopyJob, err error) {
	var spec string
	var created, started, completed int64
	err = row.Scan(&j.Account, &j.Region, &j.ID, &j.State, &j.Message, &j.Category, &j.ResourceARN, &j.ResourceType, &j.SourceVault, &j.SourcePointARN,
		&j.DestinationVaultARN, &j.DestinationPointARN, &j.BackupJob, &created, &started, &completed, &j.SizeBytes, &j.TransferredBytes, &spec)
	if err != nil {
		return CopyJob{}, err
	}
	j.Created, j.Started, j.Completed = db.Time(created), db.Time(started), db.Time(completed)
	if err := json.Unmarshal([]byte(spec), &j.copySpec); err != nil {
		return CopyJob{}, fmt.Errorf("read copy job %s: %w", j.ID, err)
	}
	return j, nil
}

func insertCopyJob(ctx context.Context, tx *db.Tx, j CopyJob) (added bool, err error) {
	spec, err := json.Marshal(j.copySpec)
	if err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, "INSERT INTO copy_job ("+copyJobColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		j.Account, j.Region, j.ID, string(j.State), j.Message, j.Category, j.ResourceARN, j.ResourceType, j.SourceVault, j.SourcePointARN,
		j.DestinationVaultARN, j.DestinationPointARN, j.BackupJob, db.Micros(j.Created), db.Micros(j.Started), db.Micros(j.Completed), j.SizeBytes, j.TransferredBytes, string(spec))
	return n == 1, err
}

// updateCopyJob writes what can change of a job.
func updateCopyJob(ctx context.Context, tx *db.Tx, j CopyJob) error {
	spec, err := json.Marshal(j.copySpec)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE copy_job SET state = ?, message = ?, category = ?, destination_point_arn = ?, started = ?, completed = ?, size_bytes = ?, transferred = ?, spec = ?
		WHERE account = ? AND region = ? AND id = ?`,
		string(j.State), j.Message, j.Category, j.DestinationPointARN, db.Micros(j.Started), db.Micros(j.Completed), j.SizeBytes, j.TransferredBytes, string(spec),
		j.Account, j.Region, j.ID)
	return err
}
