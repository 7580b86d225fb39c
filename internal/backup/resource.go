package backup

import (
	"context"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// resourceTypes are all types that AWS Backup knows, spelled as in its settings.
var resourceTypes = []string{
	"Aurora", "CloudFormation", "DSQL", "DocumentDB", "DynamoDB", "EBS", "EC2", "EFS", "EKS", "FSx", "Neptune", "RDS", "Redshift",
	"Redshift Serverless", "S3", "SAP HANA on Amazon EC2", "Storage Gateway", "Timestream", "VirtualMachine",
}

// coldTypes can move to cold storage; a lifecycle's move is ignored for the others.
var coldTypes = []string{"CloudFormation", "DynamoDB", "EBS", "EFS", "SAP HANA on Amazon EC2", "Timestream", "VirtualMachine"}

// SupportedResourceTypes are the types that this node can back up.
func (s *Service) SupportedResourceTypes() []string { return s.ResourceTypes }

// ProtectedResource is a resource of which recovery points exist.
type ProtectedResource struct {
	ARN, Type, Name string
	LastBackup      time.Time // creation date of the newest recovery point
	LastVaultARN    string
	LastPointARN    string
	// The latest completed restore; zero when there was none.
	RestoreJobCreated   time.Time
	RestorePointCreated time.Time
	RestoreMinutes      int64
}

// protect brings the row of a resource in a vault up to date after its recovery points there have changed. One that is
// still being made protects nothing.
func protect(ctx context.Context, tx *db.Tx, account, region, vaultName, resourceARN string) error {
	key := []any{account, region, resourceARN, vaultName}
	var kind, name, newest string
	var created int64
	err := tx.QueryRow(ctx, `SELECT resource_type, resource_name, created, arn FROM recovery_point
		WHERE account = ? AND region = ? AND resource_arn = ? AND vault = ? AND status <> 'CREATING' ORDER BY created DESC, arn DESC LIMIT 1`, key...).
		Scan(&kind, &name, &created, &newest)
	if db.NoRows(err) {
		_, err = tx.Exec(ctx, "DELETE FROM protected_resource WHERE account = ? AND region = ? AND resource_arn = ? AND vault = ?", key...)
		return err
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO protected_resource (account, region, resource_arn, vault, type, name, last_created, last_arn) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (account, region, resource_arn, vault) DO UPDATE SET type = excluded.type, name = excluded.name,
			last_created = excluded.last_created, last_arn = excluded.last_arn`, append(key, kind, name, created, newest)...)
	return err
}

// recordRestore notes a completed restore: on the recovery point and as the resource's latest.
func recordRestore(ctx context.Context, tx *db.Tx, r RecoveryPoint, jobCreated time.Time) error {
	if _, err := tx.Exec(ctx, "UPDATE recovery_point SET last_restored = ? WHERE arn = ?", db.Micros(tx.Now), r.ARN); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO restored_resource (account, region, resource_arn, job_created, point_created, minutes) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (account, region, resource_arn) DO UPDATE SET job_created = excluded.job_created, point_created = excluded.point_created, minutes = excluded.minutes`,
		r.Account, r.Region, r.ResourceARN, db.Micros(jobCreated), db.Micros(r.Created), int64(tx.Now.Sub(jobCreated).Round(time.Minute)/time.Minute))
	return err
}

// ProtectedResource describes one resource that has recovery points in the account and region. Errors: NotFound.
func (s *Service) ProtectedResource(ctx context.Context, account, region, name string) (p ProtectedResource, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, err := queryProtected(ctx, tx, account, region, "", name, "", 1)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fault.New(fault.NotFound, "Resource %s has no recovery points in this account and Region.", name).WithResource(name)
		}
		p = list[0]
		var job, point int64
		err = tx.QueryRow(ctx, "SELECT job_created, point_created, minutes FROM restored_resource WHERE account = ? AND region = ? AND resource_arn = ?", account, region, name).
			Scan(&job, &point, &p.RestoreMinutes)
		if db.NoRows(err) {
			return nil
		}
		p.RestoreJobCreated, p.RestorePointCreated = db.Time(job), db.Time(point)
		return err
	})
	return p, err
}

// ProtectedResources lists the resources with recovery points in an account and region, by ARN.
func (s *Service) ProtectedResources(ctx context.Context, account, region string, p Page) ([]ProtectedResource, string, error) {
	return s.protected(ctx, account, region, "", p)
}

// ProtectedResourcesByVault is ProtectedResources for one vault; what a resource shows is what that vault holds of it.
// Errors: Denied when there is no such vault.
func (s *Service) ProtectedResourcesByVault(ctx context.Context, account, region, vaultName string, p Page) ([]ProtectedResource, string, error) {
	if _, err := s.Vault(ctx, account, region, vaultName); err != nil {
		return nil, "", err
	}
	return s.protected(ctx, account, region, vaultName, p)
}

func (s *Service) protected(ctx context.Context, account, region, vaultName string, p Page) (list []ProtectedResource, next string, err error) {
	at := []string{"protected", account, region, vaultName}
	c, _, err := s.start(p, at...)
	if err != nil {
		return nil, "", err
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, err = queryProtected(ctx, tx, account, region, vaultName, "", c.ID, p.size()+1)
		return err
	})
	if len(list) > p.size() {
		list = list[:p.size()]
		next = s.token(cursor{ID: list[len(list)-1].ARN}, at...)
	}
	return list, next, err
}

// queryProtected reads resources after an ARN, at most limit; vaultName and only are filters when not "". Of a resource
// in several vaults it takes the row with the newest recovery point.
func queryProtected(ctx context.Context, tx *db.Tx, account, region, vaultName, only, after string, limit int) ([]ProtectedResource, error) {
	var w where
	w.add("p.account = ? AND p.region = ?", account, region)
	if vaultName != "" {
		w.add("p.vault = ?", vaultName)
	} else {
		w.add(`NOT EXISTS (SELECT 1 FROM protected_resource q WHERE q.account = p.account AND q.region = p.region AND q.resource_arn = p.resource_arn
			AND (q.last_created > p.last_created OR q.last_created = p.last_created AND q.vault > p.vault))`)
	}
	if only != "" {
		w.add("p.resource_arn = ?", only)
	}
	if after != "" {
		w.add("p.resource_arn > ?", after)
	}
	rows, err := tx.Query(ctx, "SELECT p.resource_arn, p.type, p.name, p.last_created, p.vault, p.last_arn FROM protected_resource p"+w.String()+" ORDER BY p.resource_arn LIMIT ?", append(w.args, limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ProtectedResource
	for rows.Next() {
		var p ProtectedResource
		var last int64
		var in string
		if err := rows.Scan(&p.ARN, &p.Type, &p.Name, &last, &in, &p.LastPointARN); err != nil {
			return nil, err
		}
		p.LastBackup, p.LastVaultARN = db.Time(last), VaultARN(account, region, in)
		list = append(list, p)
	}
	return list, rows.Err()
}
