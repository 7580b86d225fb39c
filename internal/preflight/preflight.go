// Package preflight answers, before anything runs, whether a copy would be allowed, and if not, which statement is missing
// in which policy of which account.
//
// It holds the list of everything that a copy depends on outside its data: organization, role, policies, keys. A copy
// job walks the same list and fails with the first condition that does not hold, so the answer here and the job's message
// are one text from one evaluation. It changes nothing and reads no backup data.
//
// Start reading at Checker.Copy.
package preflight

import (
	"context"

	"strongroom/internal/access"
	"strongroom/internal/authz"
	"strongroom/internal/backup"
	"strongroom/internal/clock"
	"strongroom/internal/iam"
	"strongroom/internal/kms"
	"strongroom/internal/org"
)

// Service is the principal that jobs act as where no role is passed.
const Service = "backup.amazonaws.com"

// Checker evaluates conditions. All fields are required. Safe for concurrent use.
type Checker struct {
	Backup *backup.Service
	IAM    *iam.Service
	KMS    *kms.Service
	Org    *org.Service
	Authz  *authz.Authorizer
	Clock  clock.Clock
}

// Path is a copy that is about to happen, or that somebody asks about.
type Path struct {
	JobID       string // "" when nothing runs
	Account     string // of the copy job: the source's
	Region      string
	RoleARN     string
	Source      backup.WorkVault
	Point       backup.WorkPoint // of a plan's future recovery points only ARN and ResourceARN patterns are known
	Destination backup.WorkVault
}

func (c Path) crossAccount() bool { return c.Source.Account != c.Destination.Account }

// Condition is one thing a copy depends on, and whether it holds.
type Condition struct {
	Name string
	OK   bool
	// Message says what is wrong: AWS's text first, then principal, action, resource and the statement that decided.
	Message string
	// Category is the message category of a job that fails by it.
	Category string
	// Missing are the changes that would make it hold.
	Missing []Missing
	// Err is set when the question could not be answered: neither ok nor not.
	Err error
}

// Missing is one change that is needed.
type Missing struct {
	Account   string // that can make the change
	Policy    string // which policy of what
	Statement string // to add, as JSON; "" when a statement does not help
	Note      string
}

// Copy evaluates every condition of a copy, in the order in which AWS checks them.
func (k *Checker) Copy(ctx context.Context, p Path) []Condition {
	b := &list{asker: p.Account}
	if p.crossAccount() {
		k.organization(ctx, b, p)
	}
	env := k.Env(p.Region, p.JobID)
	role, err := k.IAM.AssumeForService(ctx, p.RoleARN, Service, SessionName(p.JobID), p.Account, p.Point.ARN)
	b.add(assumable(p.RoleARN, err))
	if err == nil {
		place, _, err := k.Org.Guardrails(ctx, p.Destination.Account)
		if err != nil {
			b.add(Condition{Name: "the destination's place in the organization is known", Err: err})
		}
		targets := access.Context{"backup:CopyTargets": {p.Destination.ARN}}
		if place.OrgPath != "" {
			targets["backup:CopyTargetOrgPaths"] = []string{place.OrgPath}
		}
		k.check(ctx, b, "the role may take the recovery point out of its vault", role, env, vaultDenied+".", AccessDenied,
			access.Check{Action: "backup:CopyFromBackupVault", Resource: p.Point.ARN, Account: p.Account, Context: targets})
		k.check(ctx, b, "the role may copy into the destination vault", role, env, vaultDenied+".", AccessDenied,
			access.Check{Action: "backup:CopyIntoBackupVault", Resource: p.Destination.ARN})
	}
	k.keys(ctx, b, p, env)
	return b.all
}

// Env is the environment of calls that the service makes for a job.
func (k *Checker) Env(region, jobID string) access.Env {
	return access.Env{RequestID: jobID, Region: region, UserAgent: Service, Secure: true, ViaService: Service, Now: k.Clock.Now()}
}

// SessionName is the role session name of a job.
func SessionName(jobID string) string {
	if jobID == "" {
		return "AWSBackup-preflight"
	}
	return "AWSBackup-" + jobID
}

// ServicePrincipal is backup.amazonaws.com acting as itself, under a vault's grant on its key.
func ServicePrincipal() access.Principal {
	return access.Principal{Kind: access.Service, ARN: Service, Name: Service}
}

// Message categories of denials, as AWS spells them where it does.
const (
	AccessDenied      = "AccessDenied"
	KMSError          = "KMS_ERROR"
	InvalidParameters = "INVALIDPARAMETERS"
	FeatureNotEnabled = "FEATURE_NOT_ENABLED"
)

// The texts of AWS Backup for copies that are refused.
const (
	notSameOrganization = "Copy job failed. Both source and destination account must be a member of the same organization."
	copyNotEnabled      = "Copy job failed. Cross-account copy feature is not enabled for the current organization."
	vaultDenied         = "Access Denied trying to call AWS Backup service"
	keyDenied           = "KMS key is either disabled or pending deletion or access to KMS key is denied"
)
