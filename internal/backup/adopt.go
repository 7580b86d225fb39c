package backup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

// What package rebuild needs: to bring the catalog in line with what the repositories say of themselves. Nothing here removes
// a recovery point or shortens how long one is kept.

// StoredVault is a vault as its repository describes it.
type StoredVault struct {
	Repository, Account, Region, Name string
	Created                           time.Time
	KeyARN, KeyGrant                  string // used when the catalog does not know the vault
	ServiceKey                        bool
	Locked                            bool // it holds recovery points that are locked in the repository
}

// ARN is the vault's.
func (v StoredVault) ARN() string { return VaultARN(v.Account, v.Region, v.Name) }

// StoredPoint is a recovery point as its commit record, and the journal after it, describe it.
type StoredPoint struct {
	ID, ARN                   string
	ResourceARN, ResourceType string
	Created, Committed        time.Time
	RetainUntil               time.Time // zero: no date
	SizeBytes                 int64
	Problems                  int64
	FirstProblems             []string
	Receipt                   []byte
	Labels                    map[string]string
}

// KnownPoint is what the catalog says of a recovery point.
type KnownPoint struct {
	ARN      string
	Status   PointStatus
	Message  string
	DeleteAt time.Time
	// Busy says that a job is making or deleting it: it is left alone.
	Busy bool
}

// VaultOf returns the vault whose bytes are in a repository; ok is false when there is none.
func (s *Service) VaultOf(ctx context.Context, repository string) (v Vault, ok bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		v, err = scanVault(tx.QueryRow(ctx, "SELECT "+vaultColumns+" FROM vault WHERE repository = ?", repository))
		ok = err == nil
		if db.NoRows(err) {
			return nil
		}
		return err
	})
	return v, ok, err
}

// RepositoryRetired reports whether a repository is what a deleted vault left.
func (s *Service) RepositoryRetired(ctx context.Context, repository string) (ok bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM retired_repository WHERE repository = ?)", repository).Scan(&ok)
	})
	return ok, err
}

// NameTaken reports whether the catalog has a vault of that name.
func (s *Service) NameTaken(ctx context.Context, account, region, name string) (bool, error) {
	return s.vaultExists(ctx, account, region, name)
}

// AdoptVault enters a vault, or puts right what the catalog says of it: account, region, name, and a lock where recovery points
// are locked. changed tells what was done, "" for nothing. rightful tells whether another repository, which the catalog has under
// the vault's name, claims that name itself: then it is fault.Conflict.
func (s *Service) AdoptVault(ctx context.Context, v StoredVault, rightful func(repository string) bool) (changed string, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		changed = ""
		have, err := scanVault(tx.QueryRow(ctx, "SELECT "+vaultColumns+" FROM vault WHERE repository = ?", v.Repository))
		known := err == nil
		if err != nil && !db.NoRows(err) {
			return err
		}
		if known && have.Account == v.Account && have.Region == v.Region && have.Name == v.Name {
			return s.relock(ctx, tx, have, v, &changed)
		}
		taken, err := vault(ctx, tx, v.Account, v.Region, v.Name)
		if err == nil {
			if rightful(taken.Repository) {
				return fault.New(fault.Conflict, "both repository %s, which the catalog has for vault %s, and repository %s claim to be it: move the directory of the one that is not needed out of the region",
					taken.Repository, v.ARN(), v.Repository).WithResource(taken.Repository)
			}
			changed = fmt.Sprintf("put back: the catalog had it in repository %s", taken.Repository)
			if err := exchange(ctx, tx, taken.Repository, v.Repository); err != nil {
				return err
			}
			if v.KeyARN != "" {
				if _, err := tx.Exec(ctx, "UPDATE vault SET key_arn = ?, key_grant = ?, service_key = ? WHERE repository = ?", v.KeyARN, v.KeyGrant, number(v.ServiceKey), v.Repository); err != nil {
					return err
				}
			}
			taken.Repository = v.Repository
			return s.relock(ctx, tx, taken, v, &changed)
		}
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		if !known {
			have = Vault{KeyARN: v.KeyARN, KeyGrant: v.KeyGrant, ServiceKey: v.ServiceKey, Created: v.Created}
		}
		was := have
		have.Repository, have.Account, have.Region, have.Name = v.Repository, v.Account, v.Region, v.Name
		if known { // the name must be free of the repository before it can be given again
			if _, err := tx.Exec(ctx, "UPDATE vault SET repository = ? WHERE repository = ?", "moving "+v.Repository, v.Repository); err != nil {
				return err
			}
		}
		if err := insertVault(ctx, tx, have); err != nil {
			return err
		}
		changed = "entered"
		if known {
			changed = fmt.Sprintf("renamed: the catalog called it %s", was.ARN())
			have.Points = was.Points
			if err := updateVault(ctx, tx, have); err != nil {
				return err
			}
			for _, statement := range []string{
				"UPDATE recovery_point SET account = ?, region = ?, vault = ? WHERE account = ? AND region = ? AND vault = ?",
				"UPDATE protected_resource SET account = ?, region = ?, vault = ? WHERE account = ? AND region = ? AND vault = ?",
			} {
				if _, err := tx.Exec(ctx, statement, v.Account, v.Region, v.Name, was.Account, was.Region, was.Name); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, "DELETE FROM vault WHERE repository = ?", "moving "+v.Repository); err != nil {
				return err
			}
		}
		if have, err = vault(ctx, tx, v.Account, v.Region, v.Name); err != nil {
			return err
		}
		return s.relock(ctx, tx, have, v, &changed)
	})
	return changed, err
}

// exchange gives the row of one repository the other, and a row of the other the one.
func exchange(ctx context.Context, tx *db.Tx, a, b string) error {
	const between = "moving"
	for _, step := range [][2]string{{b, between}, {a, b}, {between, a}} {
		if _, err := tx.Exec(ctx, "UPDATE vault SET repository = ? WHERE repository = ?", step[1], step[0]); err != nil {
			return err
		}
	}
	return nil
}

// relock makes the lock of a vault immutable that holds recovery points which its repository has locked: only an immutable lock
// does that. What the lock demanded of new recovery points is not known.
func (s *Service) relock(ctx context.Context, tx *db.Tx, have Vault, v StoredVault, changed *string) error {
	if !v.Locked || have.Lock.Locked && have.Lock.immutable {
		return nil
	}
	have.Lock.Locked, have.Lock.immutable = true, true
	if have.Lock.Date.IsZero() {
		have.Lock.Date = tx.Now
	}
	*changed = strings.TrimPrefix(*changed+", locked: it holds locked recovery points", ", ")
	return updateVault(ctx, tx, have)
}

// KnownPoints lists what the catalog says of the recovery points of a repository's vault, by their ids in it. A recovery point
// that two rows claim has the first one's.
func (s *Service) KnownPoints(ctx context.Context, repository string) (out map[string]KnownPoint, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		out = map[string]KnownPoint{}
		rows, err := tx.Query(ctx, `SELECT r.point, r.arn, r.status, r.status_message, r.delete_at FROM recovery_point r
			JOIN vault v ON v.account = r.account AND v.region = r.region AND v.name = r.vault WHERE v.repository = ?`, repository)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var k KnownPoint
			var end int64
			if err := rows.Scan(&id, &k.ARN, &k.Status, &k.Message, &end); err != nil {
				return err
			}
			k.DeleteAt, k.Busy = db.Time(end), k.Status == PointCreating || k.Status == PointDeleting
			out[id] = k
		}
		return rows.Err()
	})
	return out, err
}

// JobsUnderWay lists the repository ids of the recovery points that unfinished backup and copy jobs are going to enter.
func (s *Service) JobsUnderWay(ctx context.Context) (ids map[string]bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		ids = map[string]bool{}
		for _, q := range []struct {
			query string
			id    func(account, region, job string) string
		}{
			{"SELECT account, region, id FROM backup_job WHERE state IN ('CREATED', 'PENDING', 'RUNNING', 'ABORTING')", pointID},
			{"SELECT account, region, id FROM copy_job WHERE state IN ('CREATED', 'RUNNING')", copyPointID},
		} {
			rows, err := tx.Query(ctx, q.query)
			if err != nil {
				return err
			}
			for rows.Next() {
				var account, region, id string
				if err = rows.Scan(&account, &region, &id); err != nil {
					break
				}
				ids[q.id(account, region, id)] = true
			}
			if rows.Close(); err != nil {
				return err
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	return ids, err
}

// Adopted counts what AdoptPoints did.
type Adopted struct {
	Added    int
	Repaired []string // what was put right, with the recovery point's ARN
	Refused  []string // ARNs that the catalog has in another vault
}

// AdoptPoints enters recovery points of a vault that the catalog knows, or puts right what it says of them: where they are, what
// they are of, and never a date before the repository's. Recovery points that a job is making or deleting are left alone. Call it
// with some hundreds at once. takeOver: rows that the catalog has in another vault are moved; otherwise they are refused.
func (s *Service) AdoptPoints(ctx context.Context, repository string, list []StoredPoint, takeOver bool) (out Adopted, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		out = Adopted{}
		v, err := scanVault(tx.QueryRow(ctx, "SELECT "+vaultColumns+" FROM vault WHERE repository = ?", repository))
		if err != nil {
			return fmt.Errorf("vault of repository %s: %w", repository, err)
		}
		touched := map[string]bool{}
		for _, p := range list {
			r, tags := s.fromStorage(v, p)
			added, repaired, err := adoptPoint(ctx, tx, r, tags, takeOver)
			if err == errElsewhere {
				out.Refused = append(out.Refused, r.ARN)
				continue
			}
			if err != nil {
				return err
			}
			if added {
				out.Added++
			}
			for _, what := range repaired {
				out.Repaired = append(out.Repaired, r.ARN+": "+what)
			}
			if added || len(repaired) > 0 {
				touched[r.ResourceARN] = true
			}
		}
		for name := range touched {
			if err := protect(ctx, tx, v.Account, v.Region, v.Name, name); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `UPDATE vault SET points = (SELECT count(*) FROM recovery_point r WHERE r.account = vault.account AND r.region = vault.region AND r.vault = vault.name)
			WHERE repository = ?`, repository)
		return err
	})
	return out, err
}

// fromStorage makes the catalog's row of a recovery point.
func (s *Service) fromStorage(v Vault, p StoredPoint) (RecoveryPoint, map[string]string) {
	d, tags := splitLabels(p.Labels)
	r := RecoveryPoint{
		ARN: p.ARN, Account: v.Account, Region: v.Region, Vault: v.Name, Repository: v.Repository, ID: p.ID, Receipt: p.Receipt,
		SourceVaultARN: d.SourceVaultARN, SourceARN: d.SourceARN, SourceAccount: d.SourceAccount,
		ResourceARN: p.ResourceARN, ResourceType: p.ResourceType, ResourceName: d.ResourceName, CreatedBy: d.CreatedBy, RoleARN: d.RoleARN,
		Status: PointCompleted, StatusMessage: d.StatusMessage, Created: p.Created, Initiated: d.Initiated, Completed: p.Committed,
		SizeBytes: p.SizeBytes, KeyARN: v.KeyARN, Lifecycle: d.Lifecycle, StorageClass: Warm, RestoreMetadata: d.RestoreMetadata,
	}
	if r.ARN == "" {
		r.ARN = PointARN(v.Account, v.Region, p.ID)
	}
	if r.Initiated.IsZero() {
		r.Initiated = p.Created
	}
	if d.Partial || p.Problems > 0 {
		r.Status = PointPartial
		if r.StatusMessage == "" {
			r.StatusMessage = problemText(p.Problems, p.FirstProblems, "could not be backed up faithfully")
		}
	}
	setDates(&r)
	setEnd(&r, p.RetainUntil.Truncate(time.Microsecond))
	return r, tags
}

// setEnd gives a recovery point the date of its repository, and a lifecycle that says the same.
func setEnd(r *RecoveryPoint, end time.Time) {
	r.DeleteAt = end
	if end.IsZero() {
		r.Lifecycle.DeleteAfterDays = nil
	} else if days := int64(math.Ceil(end.Sub(r.Created).Hours() / 24)); r.Lifecycle.DeleteAfterDays == nil || !r.Lifecycle.DeleteAt(r.Created).Equal(end) {
		r.Lifecycle.DeleteAfterDays = schedule.Days(max(days, 1))
	}
}

// laterEnd returns the later end of a retention; zero is never.
func laterEnd(a, b time.Time) time.Time {
	switch {
	case a.IsZero() || b.IsZero():
		return time.Time{}
	case a.After(b):
		return a
	}
	return b
}

var errElsewhere = errors.New("the catalog has it in another vault")

// adoptPoint inserts a row, or repairs the one that has the ARN.
func adoptPoint(ctx context.Context, tx *db.Tx, r RecoveryPoint, tags map[string]string, takeOver bool) (added bool, repaired []string, err error) {
	var have RecoveryPoint
	var created, deleteAt int64
	err = tx.QueryRow(ctx, "SELECT account, region, vault, point, resource_arn, resource_type, status, status_message, created, delete_at FROM recovery_point WHERE arn = ?", r.ARN).
		Scan(&have.Account, &have.Region, &have.Vault, &have.ID, &have.ResourceARN, &have.ResourceType, &have.Status, &have.StatusMessage, &created, &deleteAt)
	if db.NoRows(err) {
		return true, nil, adoptNew(ctx, tx, r, tags)
	}
	if err != nil {
		return false, nil, err
	}
	have.Created, have.DeleteAt = db.Time(created), db.Time(deleteAt)
	if have.Status == PointCreating || have.Status == PointDeleting {
		return false, nil, nil
	}
	if !takeOver && (have.Account != r.Account || have.Region != r.Region || have.Vault != r.Vault) {
		return false, nil, errElsewhere
	}
	note := func(bad bool, format string, args ...any) {
		if bad {
			repaired = append(repaired, fmt.Sprintf(format, args...))
		}
	}
	note(have.Account != r.Account || have.Region != r.Region || have.Vault != r.Vault, "the catalog had it in vault %s", VaultARN(have.Account, have.Region, have.Vault))
	note(have.ID != r.ID, "the catalog gave it the id %.100q", have.ID)
	note(have.ResourceARN != r.ResourceARN || have.ResourceType != r.ResourceType, "the catalog had it as of %.200q", have.ResourceARN)
	note(!have.Created.Equal(r.Created.Truncate(time.Microsecond)), "the catalog had it as created at %s", have.Created.UTC().Format(time.RFC3339))
	end := laterEnd(have.DeleteAt, r.DeleteAt)
	short := !end.Equal(have.DeleteAt)
	note(short, "the catalog had it end at %s", have.DeleteAt.UTC().Format(time.RFC3339))
	back := have.Status == PointStopped && strings.HasPrefix(have.StatusMessage, missingMessage)
	note(back, "the catalog had it as missing")
	note(!have.Usable() && !back && have.Status != PointStopped && have.Status != PointExpired, "the catalog had the status %.20q", have.Status)
	if len(repaired) == 0 {
		return false, nil, nil
	}
	if !short {
		end = have.DeleteAt
	}
	setEnd(&r, end)
	_, lifecycle, _, err := pointJSON(r)
	if err != nil {
		return false, nil, err
	}
	status, message := have.Status, have.StatusMessage
	if back || !have.Usable() && have.Status != PointStopped && have.Status != PointExpired {
		status, message = r.Status, r.StatusMessage
	}
	_, err = tx.Exec(ctx, `UPDATE recovery_point SET account = ?, region = ?, vault = ?, point = ?, resource_arn = ?, resource_type = ?, created = ?,
		lifecycle = ?, delete_at = ?, status = ?, status_message = ? WHERE arn = ?`,
		r.Account, r.Region, r.Vault, r.ID, r.ResourceARN, r.ResourceType, db.Micros(r.Created), lifecycle, db.Micros(end), string(status), message, r.ARN)
	return false, repaired, err
}

func adoptNew(ctx context.Context, tx *db.Tx, r RecoveryPoint, tags map[string]string) error {
	createdBy, lifecycle, metadata, err := pointJSON(r)
	if err != nil {
		return err
	}
	if r.Receipt == nil {
		r.Receipt = []byte{}
	}
	_, err = tx.Exec(ctx, `INSERT INTO recovery_point (arn, account, region, vault, point, receipt, source_vault_arn, source_arn, source_account,
		resource_arn, resource_type, resource_name, plan_id, created_by, role_arn, status, status_message, created, initiated, completed,
		size_bytes, key_arn, lifecycle, cold_at, delete_at, storage_class, restore_metadata, last_restored, parent_arn, continuous)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', 0)`,
		r.ARN, r.Account, r.Region, r.Vault, r.ID, r.Receipt, r.SourceVaultARN, r.SourceARN, r.SourceAccount,
		r.ResourceARN, r.ResourceType, r.ResourceName, r.CreatedBy.PlanID, createdBy, r.RoleARN, string(r.Status), r.StatusMessage,
		db.Micros(r.Created), db.Micros(r.Initiated), db.Micros(r.Completed),
		r.SizeBytes, r.KeyARN, lifecycle, db.Micros(r.MoveToColdAt), db.Micros(r.DeleteAt), r.StorageClass, metadata)
	if err != nil || len(tags) == 0 {
		return err
	}
	return putTags(ctx, tx, r.ARN, tags)
}

// missingMessage begins the message of a recovery point that the catalog knows and its repository does not hold.
const missingMessage = "The vault's storage does not hold this recovery point: "

// KeepUntil sets when recovery points end, by their ARNs, to dates that are later than those of the catalog; zero is never.
func (s *Service) KeepUntil(ctx context.Context, ends map[string]time.Time) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		for arn, end := range ends {
			r, err := scanPoint(tx.QueryRow(ctx, "SELECT "+pointColumns+pointTables+" WHERE r.arn = ?", arn))
			if db.NoRows(err) {
				continue
			}
			if err != nil {
				return err
			}
			setEnd(&r, laterEnd(r.DeleteAt, end))
			_, lifecycle, _, err := pointJSON(r)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "UPDATE recovery_point SET lifecycle = ?, delete_at = ? WHERE arn = ?", lifecycle, db.Micros(r.DeleteAt), arn); err != nil {
				return err
			}
		}
		return nil
	})
}

// MarkMissing marks recovery points, by their ARNs, that their repository does not hold: they are STOPPED and say why. They stay in
// the catalog until somebody deletes them or their time ends.
func (s *Service) MarkMissing(ctx context.Context, why map[string]string) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		for arn, reason := range why {
			if _, err := tx.Exec(ctx, "UPDATE recovery_point SET status = ?, status_message = ? WHERE arn = ? AND status NOT IN ('CREATING', 'DELETING')",
				string(PointStopped), missingMessage+reason, arn); err != nil {
				return err
			}
		}
		return nil
	})
}

// Missing reports whether a recovery point was marked as missing.
func (k KnownPoint) Missing() bool {
	return k.Status == PointStopped && strings.HasPrefix(k.Message, missingMessage)
}

// AdoptKey keeps the sealed maintenance key of a vault that another catalog made.
func (s *Service) AdoptKey(ctx context.Context, repository string, sealed []byte) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO adopted_key (repository, sealed) VALUES (?, ?) ON CONFLICT (repository) DO UPDATE SET sealed = excluded.sealed", repository, sealed)
		return err
	})
}

// AdoptedKeys returns the sealed maintenance keys that AdoptKey keeps, by repository.
func (s *Service) AdoptedKeys(ctx context.Context) (keys map[string][]byte, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, "SELECT repository, sealed FROM adopted_key")
		if err != nil {
			return err
		}
		defer rows.Close()
		keys = map[string][]byte{}
		for rows.Next() {
			var id string
			var sealed []byte
			if err := rows.Scan(&id, &sealed); err != nil {
				return err
			}
			keys[id] = sealed
		}
		return rows.Err()
	})
	return keys, err
}

// GiveKey puts a vault under another KMS key, because the one that it had is gone with another catalog.
func (s *Service) GiveKey(ctx context.Context, repository, keyARN, grant string, serviceKey bool) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE vault SET key_arn = ?, key_grant = ?, service_key = ? WHERE repository = ?", keyARN, grant, number(serviceKey), repository)
		return err
	})
}
