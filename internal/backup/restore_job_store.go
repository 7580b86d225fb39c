package backup

import (
	"context"
	"encoding/json"
	"fmt"

	"strongroom/internal/db"
)

const restoreJobColumns = `account, region, id, state, message, resource_arn, resource_type, vault, point_arn, point_created, created_arn,
	created, started, completed, permille, size_bytes, spec`

// restoreJob reads one job. Errors: NotFound.
func restoreJob(ctx context.Context, tx *db.Tx, account, region, id string) (RestoreJob, error) {
	j, err := scanRestoreJob(tx.QueryRow(ctx, "SELECT "+restoreJobColumns+" FROM restore_job WHERE account = ? AND region = ? AND id = ?", account, region, id))
	if db.NoRows(err) {
		return RestoreJob{}, errNoJob("restore", id)
	}
	return j, err
}

func queryRestoreJobs(ctx context.Context, tx *db.Tx, tail string, args ...any) (list []RestoreJob, err error) {
	rows, err := tx.Query(ctx, "SELECT "+restoreJobColumns+" FROM restore_job"+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		j, err := scanRestoreJob(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, j)
	}
	return list, rows.Err()
}

func scanRestoreJob(row scanner) (j RestoreJob, err error) {
	var spec string
	var pointCreated, created, started, completed, permille int64
	err = row.Scan(&j.Account, &j.Region, &j.ID, &j.State, &j.Message, &j.SourceARN, &j.ResourceType, &j.Vault, &j.PointARN, &pointCreated, &j.CreatedARN,
		&created, &started, &completed, &permille, &j.SizeBytes, &spec)
	if err != nil {
		return RestoreJob{}, err
	}
	j.PointCreated, j.Created, j.Started, j.Completed = db.Time(pointCreated), db.Time(created), db.Time(started), db.Time(completed)
	j.Percent = float64(permille) / 10
	if err := json.Unmarshal([]byte(spec), &j.restoreSpec); err != nil {
		return RestoreJob{}, fmt.Errorf("read restore job %s: %w", j.ID, err)
	}
	return j, nil
}

func insertRestoreJob(ctx context.Context, tx *db.Tx, j RestoreJob) error {
	spec, err := json.Marshal(j.restoreSpec)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO restore_job ("+restoreJobColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		j.Account, j.Region, j.ID, string(j.State), j.Message, j.SourceARN, j.ResourceType, j.Vault, j.PointARN, db.Micros(j.PointCreated), j.CreatedARN,
		db.Micros(j.Created), db.Micros(j.Started), db.Micros(j.Completed), permille(j.Percent), j.SizeBytes, string(spec))
	return err
}

// updateRestoreJob writes what can change of a job.
func updateRestoreJob(ctx context.Context, tx *db.Tx, j RestoreJob) error {
	_, err := tx.Exec(ctx, `UPDATE restore_job SET state = ?, message = ?, created_arn = ?, started = ?, completed = ?, permille = ?, size_bytes = ?
		WHERE account = ? AND region = ? AND id = ?`,
		string(j.State), j.Message, j.CreatedARN, db.Micros(j.Started), db.Micros(j.Completed), permille(j.Percent), j.SizeBytes,
		j.Account, j.Region, j.ID)
	return err
}
