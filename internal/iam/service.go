// Package iam keeps the principals of every account (root user, users, groups, roles), their policies and their
// credentials, and issues the sessions of STS.
//
// It is not the evaluator: it hands policies to authz and never decides whether a request is allowed, with one exception,
// AssumeForService, where a role's trust policy is the only policy there is. It follows IAM 2010-05-08 and STS 2011-06-15.
//
// Invariants:
//   - Everything that belongs to an entity hangs on its unique id, so that a user or role made anew under an old name has
//     none of the old one's policies, keys or sessions, and other roles' trust does not reach it.
//   - Secrets are stored only sealed, with the access key's id as associated data, and are never logged. A session token
//     carries its session sealed and bound to its own access key id; verifying one writes nothing.
//   - A change is visible to the next request of this process when the call that made it returns, and to other processes on
//     the same database within staleAfter.
//
// Start at Service; then identity.go (what authz reads on every request), credential.go and session.go.
package iam

import (
	"context"
	"embed"
	"errors"
	"log/slog"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Sealer encrypts small secrets under the node's root key. aad binds the result to its meaning; Open fails for another.
type Sealer interface {
	Seal(purpose string, plain []byte, aad string) ([]byte, error)
	Open(purpose string, sealed []byte, aad string) ([]byte, error)
}

// What is sealed; each purpose has its own key.
const (
	purposeAccessKey = "iam access key"
	purposeSession   = "iam session"
	purposeMarker    = "iam page marker"
)

// Config is what a Service needs; all but Log and Limits are required.
type Config struct {
	DB      *db.DB
	Clock   clock.Clock
	Secrets Sealer
	Log     *slog.Logger
	// Limits are the quotas; nil means DefaultLimits.
	Limits *Limits
}

// Limits are the quotas of one account.
type Limits struct {
	Users, Groups, Roles, Policies       int
	KeysPerUser, GroupsPerUser           int
	AttachedPerEntity, VersionsPerPolicy int
	TagsPerEntity                        int
	ManagedPolicySize                    int // characters without white space
	UserInline, RoleInline, GroupInline  int // sum over an entity's inline policies, characters without white space
	TrustPolicySize, SessionPolicySize   int
	SessionPolicies, SessionTags         int
	PackedPolicySize                     int // bytes of a session's policies and tags after compression
}

// DefaultLimits are AWS's quotas.
func DefaultLimits() *Limits {
	return &Limits{
		Users: 5000, Groups: 300, Roles: 1000, Policies: 1500,
		KeysPerUser: 2, GroupsPerUser: 10,
		AttachedPerEntity: 10, VersionsPerPolicy: 5,
		TagsPerEntity:     50,
		ManagedPolicySize: 6144,
		UserInline:        2048, RoleInline: 10240, GroupInline: 5120,
		TrustPolicySize: 2048, SessionPolicySize: 2048,
		SessionPolicies: 10, SessionTags: 50,
		PackedPolicySize: 4096,
	}
}

// Service implements IAM and STS over its own tables. Safe for concurrent use.
type Service struct {
	db      *db.DB
	clock   clock.Clock
	secrets Sealer
	log     *slog.Logger
	limits  Limits
	aws     *catalog
	docs    *policy.Cache
	cache   *cache
	tokens  *openTokens
	usage   *usage
}

// New brings the tables up to date and returns the service.
func New(ctx context.Context, c Config) (*Service, error) {
	if c.DB == nil || c.Clock == nil || c.Secrets == nil {
		return nil, errors.New("iam: Config needs DB, Clock and Secrets")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Limits == nil {
		c.Limits = DefaultLimits()
	}
	if err := c.DB.Migrate(ctx, "iam", migrations); err != nil {
		return nil, err
	}
	aws, err := loadCatalog()
	if err != nil {
		return nil, err
	}
	return &Service{db: c.DB, clock: c.Clock, secrets: c.Secrets, log: c.Log, limits: *c.Limits, aws: aws, docs: policy.NewCache(4096), cache: newCache(), tokens: newOpenTokens(), usage: newUsage()}, nil
}

// update runs a change of one account's tables and makes what this process remembers of the account invalid, also when the
// outcome of the commit is not known. Changes look before they insert; one that finds a name taken all the same has met
// another one doing the same, and looks again.
func (s *Service) update(ctx context.Context, account string, fn func(ctx context.Context, tx *db.Tx) error) error {
	defer s.cache.invalidate(account)
	for range 3 {
		err := s.db.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
			if err := fn(ctx, tx); err != nil {
				return err
			}
			n, err := tx.Exec(ctx, `UPDATE iam_accounts SET changes = changes + 1 WHERE account = ?`, account)
			if err == nil && n != 1 {
				return noAccount(account)
			}
			return err
		})
		if !db.Duplicate(err) {
			return err
		}
	}
	return fault.New(fault.Conflict, "The request was rejected because multiple requests to change this object were submitted simultaneously.")
}
