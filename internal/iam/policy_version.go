package iam

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// Version is one version of a managed policy.
type Version struct {
	ID       int // 1 for "v1"
	Default  bool
	Created  time.Time
	Document string
}

// VersionName writes a version as AWS does.
func VersionName(n int) string { return "v" + strconv.Itoa(n) }

func versionNumber(arn, name string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "v"))
	if err != nil || n < 1 || VersionName(n) != name {
		return 0, noVersion(arn, name)
	}
	return n, nil
}

func insertVersion(ctx context.Context, tx *db.Tx, policyID string, version int, document string) error {
	_, err := tx.Exec(ctx, `INSERT INTO iam_policy_versions (policy, version, document, created) VALUES (?, ?, ?, ?)`, policyID, version, document, db.Micros(tx.Now))
	return err
}

// CreatePolicyVersion adds a version, numbered one above every number ever used, and makes it the default if asked to.
func (s *Service) CreatePolicyVersion(ctx context.Context, account, arn, document string, makeDefault bool) (Version, error) {
	if err := s.checkManaged(document); err != nil {
		return Version{}, err
	}
	v := Version{Document: document, Default: makeDefault}
	err := s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		p, err := s.findOwnPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		n, err := count(ctx, tx, `SELECT count(*) FROM iam_policy_versions WHERE policy = ?`, p.ID)
		if err != nil {
			return err
		}
		if n >= s.limits.VersionsPerPolicy {
			return fault.New(fault.Limit, "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", s.limits.VersionsPerPolicy)
		}
		if err := tx.QueryRow(ctx, `UPDATE iam_policies SET last_version = last_version + 1, updated = ? WHERE id = ? RETURNING last_version`, db.Micros(tx.Now), p.ID).Scan(&v.ID); err != nil {
			return err
		}
		v.Created = tx.Now
		if err := insertVersion(ctx, tx, p.ID, v.ID, document); err != nil || !makeDefault {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE iam_policies SET default_version = ? WHERE id = ?`, v.ID, p.ID)
		return err
	})
	return v, err
}

// PolicyVersion returns one version with its document, or NotFound.
func (s *Service) PolicyVersion(ctx context.Context, account, arn, version string) (Version, error) {
	n, err := versionNumber(arn, version)
	if err != nil {
		return Version{}, err
	}
	if m, ok := s.aws.byARN[arn]; ok {
		if n != m.DefaultVersion {
			return Version{}, noVersion(arn, version)
		}
		return m.version(), nil
	}
	v := Version{ID: n}
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		p, err := s.findPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		v.Default = p.DefaultVersion == n
		err = tx.QueryRow(ctx, `SELECT document, created FROM iam_policy_versions WHERE policy = ? AND version = ?`, p.ID, n).Scan(&v.Document, micros{&v.Created})
		if db.NoRows(err) {
			return noVersion(arn, version)
		}
		return err
	})
	return v, err
}

func (m *managedPolicy) version() Version {
	return Version{ID: m.DefaultVersion, Default: true, Created: m.Updated, Document: m.document}
}

// PolicyVersions lists the versions, newest first, without their documents.
func (s *Service) PolicyVersions(ctx context.Context, account, arn string, page Page) (list []Version, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		p, err := s.findPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		if m, ok := s.aws.byARN[arn]; ok {
			list = []Version{m.version()}
		} else if list, err = versions(ctx, tx, p); err != nil {
			return err
		}
		list, next, err = slice(s, "versions\x00"+p.ID, page, list, func(v Version) string { return fmt.Sprintf("%012d", 1_000_000_000_000-1-v.ID) })
		return err
	})
	return list, next, err
}

func versions(ctx context.Context, tx *db.Tx, p Policy) ([]Version, error) {
	rows, err := tx.Query(ctx, `SELECT version, created FROM iam_policy_versions WHERE policy = ?`, p.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Version
	for rows.Next() {
		var v Version
		if err := rows.Scan(&v.ID, micros{&v.Created}); err != nil {
			return nil, err
		}
		v.Default = v.ID == p.DefaultVersion
		out = append(out, v)
	}
	return out, rows.Err()
}

// SetDefaultPolicyVersion makes an existing version the one that counts.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, account, arn, version string) error {
	return s.withVersion(ctx, account, arn, version, func(ctx context.Context, tx *db.Tx, p Policy, n int) error {
		_, err := tx.Exec(ctx, `UPDATE iam_policies SET default_version = ?, updated = ? WHERE id = ?`, n, db.Micros(tx.Now), p.ID)
		return err
	})
}

// DeletePolicyVersion removes a version that is not the default, else Conflict/DeleteConflict.
func (s *Service) DeletePolicyVersion(ctx context.Context, account, arn, version string) error {
	return s.withVersion(ctx, account, arn, version, func(ctx context.Context, tx *db.Tx, p Policy, n int) error {
		if n == p.DefaultVersion {
			return deleteConflict("Cannot delete the default version of a policy.")
		}
		_, err := tx.Exec(ctx, `DELETE FROM iam_policy_versions WHERE policy = ? AND version = ?`, p.ID, n)
		return err
	})
}

func (s *Service) withVersion(ctx context.Context, account, arn, version string, fn func(context.Context, *db.Tx, Policy, int) error) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		p, err := s.findOwnPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		n, err := versionNumber(arn, version)
		if err != nil {
			return err
		}
		have, err := count(ctx, tx, `SELECT count(*) FROM iam_policy_versions WHERE policy = ? AND version = ?`, p.ID, n)
		if err != nil {
			return err
		}
		if have == 0 {
			return noVersion(arn, version)
		}
		return fn(ctx, tx, p, n)
	})
}
