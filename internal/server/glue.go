package server

import (
	"context"
	"strings"

	"strongroom/internal/access"
	"strongroom/internal/authz"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/kms"
	"strongroom/internal/org"
)

// backupService is the principal that vaults' grants are given to.
const backupService = "backup.amazonaws.com"

// vaultOperations are what a vault's grant lets the backup service do with its key.
var vaultOperations = []string{"Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "DescribeKey", "RetireGrant"}

// vaultKeys gives package backup what it needs of KMS.
type vaultKeys struct{ s *Server }

func (k vaultKeys) DefaultKey(ctx context.Context, account, region string) (string, error) {
	return k.s.kms.ServiceKey(ctx, account, region, "aws/backup")
}

// BindVault asks for the caller what AWS asks for: DescribeKey and CreateGrant on the key, made through AWS Backup.
func (k vaultKeys) BindVault(ctx context.Context, caller access.Principal, env access.Env, keyARN, vaultARN string) (string, error) {
	key, err := k.s.kms.Describe(ctx, keyARN)
	if fault.Is(err, fault.NotFound) {
		return "", fault.New(fault.Invalid, "Given key ID is not accessible").WithCause(err)
	}
	if err != nil {
		return "", err
	}
	// Keys serve vaults of their region, and service-managed ones, about which nobody is asked below, those of their account.
	account, region, _, _ := backup.ParseVaultARN(vaultARN)
	if key.Region != region || key.Manager == kms.ManagerAWS && key.Account != account {
		return "", fault.New(fault.Invalid, "Given key ID is not accessible")
	}
	issuer := caller.Account
	if issuer == "" { // the backup service itself, for a service-managed key
		issuer = key.Account
	}
	grant := kms.NewGrant{
		Issuer: issuer, Name: grantName(vaultARN), Grantee: backupService, Retiring: backupService, Operations: vaultOperations,
		Subset: map[string]string{"aws:backup:backup-vault": vaultARN}, Service: true,
	}
	if key.Manager != kms.ManagerAWS {
		env.ViaService = backupService
		if err := k.s.authz.Authorize(ctx, caller, env, kms.Check("kms:DescribeKey", keyARN, caller, env), kms.GrantCheck(keyARN, caller, env, grant)); err != nil {
			return "", err
		}
	}
	if key.State != kms.Enabled {
		return "", fault.New(fault.Invalid, "KMS key is either disabled or pending deletion or access to KMS key is denied: %s is %s", keyARN, key.State)
	}
	// The same name and properties give the same grant again.
	g, _, err := k.s.kms.CreateGrant(ctx, keyARN, grant)
	return g.ID, err
}

// grantName names a vault's grant in the characters that KMS allows.
func grantName(vaultARN string) string { return strings.ReplaceAll(vaultARN, ":", "/") }

func (k vaultKeys) ReleaseVault(ctx context.Context, keyARN, grant string) error {
	err := k.s.kms.RetireGrant(ctx, keyARN, grant)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// roles gives package backup what it needs of IAM.
type roles struct{ iam *iam.Service }

func (r roles) Assumable(ctx context.Context, account, roleARN string) error {
	return r.iam.Assumable(ctx, account, roleARN)
}

// organizations gives package backup what it needs of Organizations.
type organizations struct{ org *org.Service }

func (o organizations) Membership(ctx context.Context, account string) (backup.Membership, error) {
	m, err := o.org.Membership(ctx, account)
	if err != nil || m.OrgID == "" {
		return backup.Membership{}, err
	}
	out := backup.Membership{OrgID: m.OrgID, Management: m.Management, Path: m.Path}
	if out.Trusted, err = o.org.ServiceAccess(ctx, m.OrgID, backupService); err != nil {
		return out, err
	}
	out.Delegated, err = o.org.IsDelegated(ctx, account, backupService)
	return out, err
}

func (o organizations) Accounts(ctx context.Context, orgID string) ([]string, error) {
	return o.org.AccountIDs(ctx, orgID)
}

// principalExists answers whether a key policy names something real: an account of this node or one of its principals. When it
// cannot be found out, the policy is refused.
func (s *Server) principalExists(ctx context.Context, principal string) bool {
	ok, err := s.iam.Exists(ctx, principal)
	return err == nil && ok
}

// lookupKey is what authz learns of a KMS key.
func (s *Server) lookupKey(ctx context.Context, check access.Check, p access.Principal) (authz.Resource, error) {
	r, err := s.kms.Lookup(ctx, check, p)
	return authz.Resource(r), err
}
