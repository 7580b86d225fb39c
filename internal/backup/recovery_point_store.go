package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const pointColumns = `r.arn, r.account, r.region, r.vault, v.repository, r.point, r.receipt, r.source_vault_arn, r.source_arn, r.source_account,
	r.resource_arn, r.resource_type, r.resource_name, r.created_by, r.role_arn, r.status, r.status_message, r.created, r.initiated, r.completed,
	r.size_bytes, r.key_arn, CASE WHEN r.key_arn = v.key_arn THEN v.service_key ELSE 0 END, r.lifecycle, r.cold_at, r.delete_at, r.storage_class,
	r.restore_metadata, r.last_restored, r.parent_arn, r.continuous`

const pointTables = ` FROM recovery_point r JOIN vault v ON v.account = r.account AND v.region = r.region AND v.name = r.vault`

// recoveryPoint reads a recovery point of a vault. Errors: NotFound, also when it is in another vault.
func recoveryPoint(ctx context.Context, tx *db.Tx, account, region, vaultName, name string) (RecoveryPoint, error) {
	r, err := scanPoint(tx.QueryRow(ctx, "SELECT "+pointColumns+pointTables+" WHERE r.arn = ? AND r.account = ? AND r.region = ? AND r.vault = ?", name, account, region, vaultName))
	if db.NoRows(err) {
		return RecoveryPoint{}, errNoPoint(name)
	}
	return r, err
}

// recoveryPointByARN reads a recovery point of an account and region, whatever vault it is in. Errors: NotFound.
func recoveryPointByARN(ctx context.Context, tx *db.Tx, account, region, name string) (RecoveryPoint, error) {
	r, err := scanPoint(tx.QueryRow(ctx, "SELECT "+pointColumns+pointTables+" WHERE r.arn = ? AND r.account = ? AND r.region = ?", name, account, region))
	if db.NoRows(err) {
		return RecoveryPoint{}, errNoPoint(name)
	}
	return r, err
}

// queryPoints reads recovery points; tail begins with the WHERE clause and names the columns with the alias r.
func queryPoints(ctx context.Context, tx *db.Tx, tail string, args ...any) ([]RecoveryPoint, error) {
	rows, err := tx.Query(ctx, "SELECT "+pointColumns+pointTables+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []RecoveryPoint
	for rows.Next() {
		r, err := scanPoint(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

func scanPoint(row scanner) (RecoveryPoint, error) {
	var r RecoveryPoint
	var created, initiated, completed, coldAt, deleteAt, lastRestored, serviceKey, continuous int64
	var createdBy, lifecycle, metadata string
	err := row.Scan(&r.ARN, &r.Account, &r.Region, &r.Vault, &r.Repository, &r.ID, &r.Receipt, &r.SourceVaultARN, &r.SourceARN, &r.SourceAccount,
		&r.ResourceARN, &r.ResourceType, &r.ResourceName, &createdBy, &r.RoleARN, &r.Status, &r.StatusMessage, &created, &initiated, &completed,
		&r.SizeBytes, &r.KeyARN, &serviceKey, &lifecycle, &coldAt, &deleteAt, &r.StorageClass, &metadata, &lastRestored, &r.ParentARN, &continuous)
	if err != nil {
		return RecoveryPoint{}, err
	}
	r.Created, r.Initiated, r.Completed = db.Time(created), db.Time(initiated), db.Time(completed)
	r.MoveToColdAt, r.DeleteAt, r.LastRestored = db.Time(coldAt), db.Time(deleteAt), db.Time(lastRestored)
	r.ServiceKey, r.Continuous = serviceKey == 1, continuous == 1
	for _, m := range []struct {
		text string
		into any
	}{{createdBy, &r.CreatedBy}, {lifecycle, &r.Lifecycle}, {metadata, &r.RestoreMetadata}} {
		if err := json.Unmarshal([]byte(m.text), m.into); err != nil {
			return RecoveryPoint{}, fmt.Errorf("read recovery point %s: %w", r.ARN, err)
		}
	}
	return r, nil
}

// insertRecoveryPoint adds a recovery point with its tags to its vault and computes MoveToColdAt and DeleteAt from its
// Lifecycle and Created, which is the time of tx when zero. It does not ask whether the vault's lock allows the retention
// (Lock.CheckRetention): by now the data is stored, and losing it would be worse. Repository, when it is given, must be
// the vault's: a vault that was deleted and made again under its name does not hold the data.
// Errors: NotFound when the vault does not exist (any more), Exists, Limit.
func insertRecoveryPoint(ctx context.Context, tx *db.Tx, r RecoveryPoint, tags map[string]string) (RecoveryPoint, error) {
	v, err := vault(ctx, tx, r.Account, r.Region, r.Vault)
	if err != nil {
		return RecoveryPoint{}, err
	}
	if r.Repository != "" && r.Repository != v.Repository {
		return RecoveryPoint{}, errVaultMissing(r.Account, r.Region, r.Vault)
	}
	if v.Points >= maxPoints {
		return RecoveryPoint{}, fault.New(fault.Limit, "The limit of %d recovery points in backup vault %s is reached.", maxPoints, r.Vault)
	}
	if r.Created.IsZero() {
		r.Created = tx.Now
	}
	if r.StorageClass == "" {
		r.StorageClass = Warm
	}
	if r.KeyARN == "" {
		r.KeyARN = v.KeyARN
	}
	if r.Receipt == nil {
		r.Receipt = []byte{}
	}
	r.Repository, r.ServiceKey = v.Repository, r.KeyARN == v.KeyARN && v.ServiceKey
	setDates(&r)
	createdBy, lifecycle, metadata, err := pointJSON(r)
	if err != nil {
		return RecoveryPoint{}, err
	}
	n, err := tx.Exec(ctx, `INSERT INTO recovery_point (arn, account, region, vault, point, receipt, source_vault_arn, source_arn, source_account,
		resource_arn, resource_type, resource_name, plan_id, created_by, role_arn, status, status_message, created, initiated, completed,
		size_bytes, key_arn, lifecycle, cold_at, delete_at, storage_class, restore_metadata, last_restored, parent_arn, continuous)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (arn) DO NOTHING`,
		r.ARN, r.Account, r.Region, r.Vault, r.ID, r.Receipt, r.SourceVaultARN, r.SourceARN, r.SourceAccount,
		r.ResourceARN, r.ResourceType, r.ResourceName, r.CreatedBy.PlanID, createdBy, r.RoleARN, string(r.Status), r.StatusMessage,
		db.Micros(r.Created), db.Micros(r.Initiated), db.Micros(r.Completed),
		r.SizeBytes, r.KeyARN, lifecycle, db.Micros(r.MoveToColdAt), db.Micros(r.DeleteAt), r.StorageClass, metadata, db.Micros(r.LastRestored), r.ParentARN, number(r.Continuous))
	if err != nil {
		return RecoveryPoint{}, err
	}
	if n == 0 {
		return RecoveryPoint{}, fault.New(fault.Exists, "Recovery point %s exists already.", r.ARN).WithResource(r.ARN)
	}
	if err := countPoints(ctx, tx, r.Account, r.Region, r.Vault, 1); err != nil {
		return RecoveryPoint{}, err
	}
	if err := protect(ctx, tx, r.Account, r.Region, r.Vault, r.ResourceARN); err != nil {
		return RecoveryPoint{}, err
	}
	return r, putTags(ctx, tx, r.ARN, tags)
}

// setDates computes the dates that follow from a recovery point's lifecycle. A type that has no cold storage ignores the move.
func setDates(r *RecoveryPoint) {
	r.DeleteAt, r.MoveToColdAt = r.Lifecycle.DeleteAt(r.Created), time.Time{}
	if slices.Contains(coldTypes, r.ResourceType) {
		r.MoveToColdAt = r.Lifecycle.MoveAt(r.Created)
	}
}

func pointJSON(r RecoveryPoint) (createdBy, lifecycle, metadata string, err error) {
	var out [3]string
	for i, v := range []any{r.CreatedBy, r.Lifecycle, r.RestoreMetadata} {
		text, err := json.Marshal(v)
		if err != nil {
			return "", "", "", err
		}
		out[i] = string(text)
	}
	return out[0], out[1], out[2], nil
}

// setPointStatus changes the status and its message.
func setPointStatus(ctx context.Context, tx *db.Tx, r RecoveryPoint, to PointStatus, message string) error {
	_, err := tx.Exec(ctx, "UPDATE recovery_point SET status = ?, status_message = ? WHERE arn = ?", string(to), message, r.ARN)
	return err
}

// removePoint deletes the row with its tags and counts.
func removePoint(ctx context.Context, tx *db.Tx, r RecoveryPoint) error {
	n, err := tx.Exec(ctx, "DELETE FROM recovery_point WHERE arn = ? AND account = ? AND region = ?", r.ARN, r.Account, r.Region)
	if err != nil || n == 0 {
		return err
	}
	if err := deleteTags(ctx, tx, r.ARN); err != nil {
		return err
	}
	if err := countPoints(ctx, tx, r.Account, r.Region, r.Vault, -1); err != nil {
		return err
	}
	return protect(ctx, tx, r.Account, r.Region, r.Vault, r.ResourceARN)
}
