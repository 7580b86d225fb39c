package backup

import (
	"context"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

// PointStatus is the state of a recovery point, equal to AWS's enum.
type PointStatus string

// The states of a recovery point. Completed, Available and Partial ones can be restored and copied.
const (
	PointCreating  PointStatus = "CREATING"
	PointCompleted PointStatus = "COMPLETED"
	PointAvailable PointStatus = "AVAILABLE"
	PointPartial   PointStatus = "PARTIAL"
	PointStopped   PointStatus = "STOPPED" // continuous, interrupted or disassociated
	PointDeleting  PointStatus = "DELETING"
	PointExpired   PointStatus = "EXPIRED" // should have been deleted and could not be
)

// The storage classes.
const (
	Warm = "WARM"
	Cold = "COLD"
)

// Creator names the plan and rule that made a recovery point or a job; zero for what was started on demand.
type Creator struct {
	PlanARN      string `json:",omitempty"`
	PlanID       string `json:",omitempty"`
	PlanName     string `json:",omitempty"`
	PlanVersion  string `json:",omitempty"`
	RuleID       string `json:",omitempty"`
	RuleName     string `json:",omitempty"`
	RuleCron     string `json:",omitempty"`
	RuleTimezone string `json:",omitempty"`
}

// RecoveryPoint is one backup of one resource at one time.
type RecoveryPoint struct {
	ARN                    string
	Account, Region, Vault string // of the vault that holds it
	Repository             string // of the vault; filled when read
	ID                     string // names it in the repository
	Receipt                []byte // the repository's proof of commit
	// Copies only: the vault, recovery point and account that it was copied from.
	SourceVaultARN, SourceARN, SourceAccount string
	ResourceARN, ResourceType, ResourceName  string // of the original resource, which for copies may be foreign
	CreatedBy                                Creator
	RoleARN                                  string
	Status                                   PointStatus
	StatusMessage                            string
	Created                                  time.Time // when the backup job started, for copies too: retention counts from here
	Initiated                                time.Time // when the data began to be read
	Completed                                time.Time
	SizeBytes                                int64
	KeyARN                                   string
	ServiceKey                               bool // KeyARN is a service-managed key; filled when read
	Lifecycle                                schedule.Lifecycle
	MoveToColdAt, DeleteAt                   time.Time // from Lifecycle; zero: never
	StorageClass                             string
	RestoreMetadata                          map[string]string
	LastRestored                             time.Time
	ParentARN                                string
	Continuous                               bool
}

// VaultARN is the ARN of the vault that holds the recovery point.
func (r RecoveryPoint) VaultARN() string { return VaultARN(r.Account, r.Region, r.Vault) }

// Usable reports whether it can be restored and copied.
func (r RecoveryPoint) Usable() bool {
	return r.Status == PointCompleted || r.Status == PointAvailable || r.Status == PointPartial
}

// PointARN builds the ARN of a recovery point that the service manages in full.
func PointARN(account, region, id string) string {
	return arn.Make("backup", region, account, "recovery-point:"+id)
}

func errNoPoint(name string) error {
	return fault.New(fault.NotFound, "Cannot find recovery point %s.", name).WithCode("Point").WithResource(name)
}

// RecoveryPoint returns a recovery point of a vault. Errors: NotFound; Denied when there is no such vault.
func (s *Service) RecoveryPoint(ctx context.Context, account, region, vaultName, name string) (r RecoveryPoint, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		r, err = recoveryPoint(ctx, tx, account, region, vaultName, name)
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		if _, verr := vault(ctx, tx, account, region, vaultName); fault.Is(verr, fault.NotFound) && vaultName != DefaultVault {
			return errNoVault(account, region, vaultName)
		}
		return err
	})
	if fault.Is(err, fault.NotFound) { // asked last, because most calls find their recovery point
		if err := s.ensureDefaultVault(ctx, account, region, vaultName); err != nil {
			return RecoveryPoint{}, err
		}
	}
	return r, err
}

// DisassociateRecoveryPoint ends a continuous recovery point's tie to its plan: it stays, STOPPED, until it expires. No
// provider makes continuous recovery points yet, so today every recovery point is refused.
// Errors: NotFound, Denied (no vault); State when it is not continuous; State with code Locked.
func (s *Service) DisassociateRecoveryPoint(ctx context.Context, account, region, vaultName, name string) error {
	return s.changePoint(ctx, account, region, vaultName, name, func(ctx context.Context, tx *db.Tx, v Vault, r RecoveryPoint) error {
		if !r.Continuous {
			return fault.New(fault.State, "Recovery point %s is not continuous: only continuous recovery points can be disassociated.", r.ARN).WithResource(r.ARN)
		}
		if v.Lock.Locked {
			return errLocked(v, "its recovery points cannot be disassociated")
		}
		return setPointStatus(ctx, tx, r, PointStopped, "The recovery point was disassociated from AWS Backup.")
	})
}

// changePoint runs fn over a recovery point and its vault in a read-write transaction.
func (s *Service) changePoint(ctx context.Context, account, region, vaultName, name string, fn func(context.Context, *db.Tx, Vault, RecoveryPoint) error) error {
	if err := s.ensureDefaultVault(ctx, account, region, vaultName); err != nil {
		return err
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		v, err := vault(ctx, tx, account, region, vaultName)
		if fault.Is(err, fault.NotFound) {
			return errNoVault(account, region, vaultName)
		}
		if err != nil {
			return err
		}
		r, err := recoveryPoint(ctx, tx, account, region, vaultName, name)
		if err != nil {
			return err
		}
		return fn(ctx, tx, v, r)
	})
}
