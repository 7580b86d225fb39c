package iam

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// AddAccount makes an account known, without any credentials; it does nothing when it is. Only accounts that are known can
// have entities and be named in trust policies.
func (s *Service) AddAccount(ctx context.Context, account string) error {
	if !arn.ValidAccount(account) {
		return invalid("An account id has 12 digits; %q has not.", account)
	}
	defer s.cache.invalidate(account)
	return s.db.Update(ctx, func(ctx context.Context, tx *db.Tx) error { return addAccount(ctx, tx, account) })
}

func addAccount(ctx context.Context, tx *db.Tx, account string) error {
	_, err := tx.Exec(ctx, `INSERT INTO iam_accounts (account, created, changes) VALUES (?, ?, 0) ON CONFLICT (account) DO NOTHING`, account, db.Micros(tx.Now))
	return err
}

func checkAccount(ctx context.Context, tx *db.Tx, account string) error {
	n, err := count(ctx, tx, `SELECT count(*) FROM iam_accounts WHERE account = ?`, account)
	if err == nil && n == 0 {
		return noAccount(account)
	}
	return err
}

// CreateAccountRoot makes an account and an access key of its root user: the way into an empty node. It may be repeated as
// long as nothing has come of it: a key that was never used, in an account without users and roles, may have been lost with
// the process that made it, and is replaced. After that it is a fault of kind Exists.
func (s *Service) CreateAccountRoot(ctx context.Context, account string) (accessKeyID, secret string, err error) {
	if err := s.AddAccount(ctx, account); err != nil {
		return "", "", err
	}
	k, err := s.newAccessKey(account)
	if err != nil {
		return "", "", err
	}
	err = s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM iam_access_keys WHERE owner = ? AND last_used = 0
			AND NOT EXISTS (SELECT 1 FROM iam_users WHERE account = ?) AND NOT EXISTS (SELECT 1 FROM iam_roles WHERE account = ?)`, account, account, account); err != nil {
			return err
		}
		n, err := count(ctx, tx, `SELECT count(*) FROM iam_access_keys WHERE owner = ?`, account)
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.Exists, "The root user of account %s has an access key.", account)
		}
		return k.insert(ctx, tx, account, account)
	})
	if err != nil {
		return "", "", err
	}
	return k.ID, k.Secret, nil
}

// CreateAccessRole makes an account with a role that the trusted account may assume and that may do everything: the way into
// a member account. Calling it again with the same role does nothing. It runs its own transaction, so it must not be called
// from within one.
func (s *Service) CreateAccessRole(ctx context.Context, account, roleName, trustedAccount string) error {
	if err := checkName("roleName", roleName, longestName[KindRole]); err != nil {
		return err
	}
	if err := s.AddAccount(ctx, account); err != nil {
		return err
	}
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		if _, err := findRole(ctx, tx, account, roleName); !fault.Is(err, fault.NotFound) {
			return err
		}
		r := roleRow{entity: entity{kind: KindRole, id: newID(prefixRole), account: account, name: roleName, path: "/", created: tx.Now}, maxSession: shortestMaxSession,
			trust:    fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"%s"},"Action":"sts:AssumeRole"}]}`, arn.Root(trustedAccount)),
			trustIDs: "{}"}
		if err := insertRole(ctx, tx, r); err != nil {
			return err
		}
		return insertAttachment(ctx, tx, r.entity, AdministratorAccess)
	})
}

// AdministratorAccess is the ARN of the AWS-managed policy that allows everything.
const AdministratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"

var aliasPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]$`)

// SetAlias names an account for people; "" removes the name. An alias is unique on the node.
func (s *Service) SetAlias(ctx context.Context, account, alias string) error {
	if alias != "" && !aliasPattern.MatchString(alias) {
		return invalid("1 validation error detected: Value at 'accountAlias' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$")
	}
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		if alias != "" {
			n, err := count(ctx, tx, `SELECT count(*) FROM iam_accounts WHERE alias = ? AND account <> ?`, alias, account)
			if err != nil {
				return err
			}
			if n > 0 {
				return fault.New(fault.Exists, "The account alias %s already exists.", alias)
			}
		}
		_, err := tx.Exec(ctx, `UPDATE iam_accounts SET alias = ? WHERE account = ?`, alias, account)
		return err
	})
}

// Alias returns the account's alias, "" for none.
func (s *Service) Alias(ctx context.Context, account string) (alias string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		err := tx.QueryRow(ctx, `SELECT alias FROM iam_accounts WHERE account = ?`, account).Scan(&alias)
		if db.NoRows(err) {
			return nil
		}
		return err
	})
	return alias, err
}

// Summary counts the account's entities and repeats its quotas, under the names of GetAccountSummary.
func (s *Service) Summary(ctx context.Context, account string) (map[string]int, error) {
	l := s.limits
	sum := map[string]int{
		"UsersQuota": l.Users, "GroupsQuota": l.Groups, "RolesQuota": l.Roles, "PoliciesQuota": l.Policies, "AccessKeysPerUserQuota": l.KeysPerUser,
		"GroupsPerUserQuota": l.GroupsPerUser, "AttachedPoliciesPerUserQuota": l.AttachedPerEntity, "AttachedPoliciesPerGroupQuota": l.AttachedPerEntity,
		"AttachedPoliciesPerRoleQuota": l.AttachedPerEntity, "VersionsPerPolicyQuota": l.VersionsPerPolicy, "PolicySizeQuota": l.ManagedPolicySize,
		"UserPolicySizeQuota": l.UserInline, "GroupPolicySizeQuota": l.GroupInline, "RolePolicySizeQuota": l.RoleInline, "AssumeRolePolicySizeQuota": l.TrustPolicySize,
	}
	err := s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		for name, q := range map[string]string{
			"Users":                    `SELECT count(*) FROM iam_users WHERE account = ?`,
			"Groups":                   `SELECT count(*) FROM iam_groups WHERE account = ?`,
			"Roles":                    `SELECT count(*) FROM iam_roles WHERE account = ?`,
			"Policies":                 `SELECT count(*) FROM iam_policies WHERE account = ?`,
			"AccountAccessKeysPresent": `SELECT count(*) FROM iam_access_keys WHERE owner = ?`,
		} {
			n, err := count(ctx, tx, q, account)
			if err != nil {
				return err
			}
			sum[name] = n
		}
		return nil
	})
	return sum, err
}

// AccountCreated tells when the account became known, or NotFound.
func (s *Service) AccountCreated(ctx context.Context, account string) (created time.Time, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		err := tx.QueryRow(ctx, `SELECT created FROM iam_accounts WHERE account = ?`, account).Scan(micros{&created})
		if db.NoRows(err) {
			return noAccount(account)
		}
		return err
	})
	return created, err
}
