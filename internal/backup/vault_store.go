package backup

import (
	"context"
	"encoding/json"

	"strongroom/internal/db"
)

const vaultColumns = `account, region, name, repository, key_arn, key_grant, service_key, creator_request_id, created, points,
	policy, locked, min_retention, max_retention, lock_date, immutable, topic_arn, events`

// vault reads one vault. Errors: NotFound.
func vault(ctx context.Context, tx *db.Tx, account, region, name string) (Vault, error) {
	v, err := scanVault(tx.QueryRow(ctx, "SELECT "+vaultColumns+" FROM vault WHERE account = ? AND region = ? AND name = ?", account, region, name))
	if db.NoRows(err) {
		return Vault{}, errVaultMissing(account, region, name)
	}
	return v, err
}

func queryVaults(ctx context.Context, tx *db.Tx, tail string, args ...any) ([]Vault, error) {
	rows, err := tx.Query(ctx, "SELECT "+vaultColumns+" FROM vault"+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Vault
	for rows.Next() {
		v, err := scanVault(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// scanner is a row or the current one of several.
type scanner interface{ Scan(dest ...any) error }

func scanVault(r scanner) (Vault, error) {
	var v Vault
	var created, lockDate, serviceKey, locked, immutable int64
	var events string
	err := r.Scan(&v.Account, &v.Region, &v.Name, &v.Repository, &v.KeyARN, &v.KeyGrant, &serviceKey, &v.CreatorRequestID, &created, &v.Points,
		&v.Policy, &locked, &v.Lock.MinRetentionDays, &v.Lock.MaxRetentionDays, &lockDate, &immutable, &v.Notifications.TopicARN, &events)
	if err != nil {
		return Vault{}, err
	}
	v.Created, v.ServiceKey = db.Time(created), serviceKey == 1
	v.Lock.Locked, v.Lock.Date, v.Lock.immutable = locked == 1, db.Time(lockDate), immutable == 1
	return v, json.Unmarshal([]byte(events), &v.Notifications.Events)
}

// insertVault adds a vault. A grant that a deleted vault of the same name left on the same key is the new vault's now, so
// nobody may give it back for the old one.
func insertVault(ctx context.Context, tx *db.Tx, v Vault) error {
	if _, err := tx.Exec(ctx, "UPDATE retired_repository SET key_grant = '' WHERE key_arn = ? AND key_grant = ?", v.KeyARN, v.KeyGrant); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO vault ("+vaultColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', 0, NULL, NULL, 0, 0, '', '[]')",
		v.Account, v.Region, v.Name, v.Repository, v.KeyARN, v.KeyGrant, number(v.ServiceKey), v.CreatorRequestID, db.Micros(v.Created))
	return err
}

// updateVault writes what can change of a vault: policy, lock and notifications.
func updateVault(ctx context.Context, tx *db.Tx, v Vault) error {
	events, err := json.Marshal(v.Notifications.Events)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE vault SET policy = ?, locked = ?, min_retention = ?, max_retention = ?, lock_date = ?, immutable = ?, topic_arn = ?, events = ?
		WHERE account = ? AND region = ? AND name = ?`,
		v.Policy, number(v.Lock.Locked), v.Lock.MinRetentionDays, v.Lock.MaxRetentionDays, db.Micros(v.Lock.Date), number(v.Lock.immutable), v.Notifications.TopicARN, string(events),
		v.Account, v.Region, v.Name)
	return err
}

// removeVault deletes the row and everything that goes with it, and remembers its repository for the pruner.
func removeVault(ctx context.Context, tx *db.Tx, v Vault) error {
	if _, err := tx.Exec(ctx, "DELETE FROM vault WHERE account = ? AND region = ? AND name = ?", v.Account, v.Region, v.Name); err != nil {
		return err
	}
	if err := deleteTags(ctx, tx, v.ARN()); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO retired_repository (repository, account, region, vault, key_arn, key_grant, retired) VALUES (?, ?, ?, ?, ?, ?, ?)",
		v.Repository, v.Account, v.Region, v.Name, v.KeyARN, v.KeyGrant, db.Micros(tx.Now))
	return err
}

// countPoints changes the number of recovery points that the vault shows.
func countPoints(ctx context.Context, tx *db.Tx, account, region, name string, by int) error {
	_, err := tx.Exec(ctx, "UPDATE vault SET points = points + ? WHERE account = ? AND region = ? AND name = ?", by, account, region, name)
	return err
}

func (s *Service) vaultExists(ctx context.Context, account, region, name string) (found bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM vault WHERE account = ? AND region = ? AND name = ?)", account, region, name).Scan(&found)
	})
	return found, err
}

// number stores a truth value: both databases know BIGINT.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
