package backup

import (
	"context"
	"embed"
	"log/slog"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/job"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is what a Service needs; all fields but Log are required.
type Config struct {
	DB    *db.DB
	Clock clock.Clock
	Keys  Keys
	Roles Roles
	Org   Org
	Jobs  *job.Queue
	Log   *slog.Logger
	// ColdMinimumDays is, by region, the shortest stay in cold storage that the region's cold store demands; none for local
	// disk. It switches on AWS's rule that DeleteAfterDays be that many days after MoveToColdStorageAfterDays.
	ColdMinimumDays map[string]int
	// Retain, if given, tells the repository of a vault when one of its recovery points ends (zero: never). It is called before
	// the catalog is changed, outside any transaction.
	Retain func(ctx context.Context, v WorkVault, id string, until time.Time) error
	// ResourceTypes are the types that the node's agents can back up; nil means EFS alone.
	ResourceTypes []string
}

// Keys is what the service needs of KMS. The server provides it, because services do not import each other.
type Keys interface {
	// DefaultKey returns the ARN of the account's service-managed key alias/aws/backup in the region, making it if needed.
	DefaultKey(ctx context.Context, account, region string) (string, error)
	// BindVault checks that key can encrypt a vault (it exists in the region, is enabled, symmetric, the caller may create a
	// grant on it) and creates the vault's grant for the backup service. It returns the grant's id; calling it again for the
	// same vault and key returns the same grant.
	BindVault(ctx context.Context, caller access.Principal, env access.Env, keyARN, vaultARN string) (grant string, err error)
	// ReleaseVault retires the grant of a deleted vault.
	ReleaseVault(ctx context.Context, keyARN, grant string) error
}

// Roles is what the service needs of IAM.
type Roles interface {
	// Assumable reports whether the backup service can assume the role: it exists, belongs to account and trusts
	// backup.amazonaws.com. The error is a *fault.Error with AWS's text "IAM Role <arn> cannot be assumed by AWS Backup".
	Assumable(ctx context.Context, account, roleARN string) error
}

// Membership is an account's place in its organization.
type Membership struct {
	OrgID      string // "" when the account is in no organization
	Management string // the management account's id
	Path       string // o-x/r-y/ou-z/
	// Delegated is true when the account is a delegated administrator for backup.amazonaws.com.
	Delegated bool
	// Trusted is true when the organization has enabled service access for backup.amazonaws.com.
	Trusted bool
}

// Org is what the service needs of Organizations.
type Org interface {
	Membership(ctx context.Context, account string) (Membership, error)
	// Accounts lists the ids of the organization's accounts, for a management account or delegated administrator.
	Accounts(ctx context.Context, orgID string) ([]string, error)
}

// Service implements AWS Backup's rules over its own tables. Safe for concurrent use.
type Service struct {
	Config
	pageKey []byte // authenticates page tokens; the same for all nodes of one catalog
}

// New brings the tables up to date and returns the service.
func New(ctx context.Context, c Config) (*Service, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.ResourceTypes == nil {
		c.ResourceTypes = []string{"EFS"}
	}
	if err := c.DB.Migrate(ctx, "backup", migrations); err != nil {
		return nil, err
	}
	key, err := pageKey(ctx, c.DB)
	if err != nil {
		return nil, err
	}
	return &Service{Config: c, pageKey: key}, nil
}
