package iam

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

// Policy is a managed policy of the account or of AWS.
type Policy struct {
	ID, Name, Path, ARN string
	Description         string
	Created, Updated    time.Time
	DefaultVersion      int // 1 for "v1"
	Attachable          bool
	Attachments         int // entities of the account that it is attached to
	Boundaries          int // entities of the account that it bounds
	Tags                map[string]string
}

// NewPolicy describes a managed policy to create.
type NewPolicy struct {
	Name, Path, Description, Document string
	Tags                              map[string]string
}

// PolicyFilter selects managed policies of a list.
type PolicyFilter struct {
	PathPrefix   string
	Local, AWS   bool // which scopes; neither means both
	OnlyAttached bool
	// Usage is "PermissionsPolicy", "PermissionsBoundary" or "" for any: with OnlyAttached, how it must be used.
	Usage string
}

const policyColumns = "id, name, path, arn, description, created, updated, default_version"

func (p *Policy) scan() []any {
	return []any{&p.ID, &p.Name, &p.Path, &p.ARN, &p.Description, micros{&p.Created}, micros{&p.Updated}, &p.DefaultVersion}
}

// CreatePolicy makes a managed policy with its first version. Codes: Invalid (also MalformedPolicyDocument), Exists, Limit.
func (s *Service) CreatePolicy(ctx context.Context, account string, in NewPolicy) (Policy, error) {
	if err := checkName("policyName", in.Name, 128); err != nil {
		return Policy{}, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return Policy{}, err
	}
	if len(in.Description) > longestDescription {
		return Policy{}, invalid("1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to %d", longestDescription)
	}
	if err := s.checkManaged(in.Document); err != nil {
		return Policy{}, err
	}
	p := Policy{ID: newID(prefixPolicy), Name: in.Name, Path: path, ARN: entityARN(account, "policy", path, in.Name), Description: in.Description, DefaultVersion: 1, Attachable: true, Tags: in.Tags}
	err = s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		p.Created, p.Updated = tx.Now, tx.Now
		if err := checkAccount(ctx, tx, account); err != nil {
			return err
		}
		n, err := count(ctx, tx, `SELECT count(*) FROM iam_policies WHERE account = ? AND name_key = ?`, account, fold(in.Name))
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.Exists, "A policy called %s already exists. Duplicate names are not allowed.", in.Name).WithResource(p.ARN)
		}
		if err := checkRoom(ctx, tx, "PoliciesPerAccount", s.limits.Policies, `SELECT count(*) FROM iam_policies WHERE account = ?`, account); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO iam_policies (id, account, name_key, name, path, created, updated, description, arn, default_version, last_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 1)`,
			p.ID, account, fold(p.Name), p.Name, p.Path, db.Micros(p.Created), db.Micros(p.Updated), p.Description, p.ARN); err != nil {
			return err
		}
		if err := insertVersion(ctx, tx, p.ID, 1, in.Document); err != nil {
			return err
		}
		return s.putTags(ctx, tx, p.ID, in.Tags)
	})
	return p, err
}

func (s *Service) checkManaged(document string) error {
	if _, err := parseDocument(policy.Identity, document); err != nil {
		return err
	}
	if policy.Size(document) > s.limits.ManagedPolicySize {
		return overQuota("PolicySize", s.limits.ManagedPolicySize)
	}
	return nil
}

// findPolicy returns a managed policy that the account can see: its own, or one of AWS's.
func (s *Service) findPolicy(ctx context.Context, tx *db.Tx, account, arn string) (Policy, error) {
	if m, ok := s.aws.byARN[arn]; ok {
		return m.Policy, nil
	}
	p := Policy{Attachable: true}
	err := tx.QueryRow(ctx, `SELECT `+policyColumns+` FROM iam_policies WHERE account = ? AND arn = ?`, account, arn).Scan(p.scan()...)
	if db.NoRows(err) {
		return p, noPolicy(arn)
	}
	return p, err
}

// findOwnPolicy is findPolicy for a change: AWS's policies refuse it.
func (s *Service) findOwnPolicy(ctx context.Context, tx *db.Tx, account, arn string) (Policy, error) {
	if _, ok := s.aws.byARN[arn]; ok {
		return Policy{}, fault.New(fault.Denied, "The policy %s is managed by AWS and cannot be changed.", arn).WithResource(arn)
	}
	return s.findPolicy(ctx, tx, account, arn)
}

func countUses(ctx context.Context, tx *db.Tx, account string, p *Policy) error {
	n, err := count(ctx, tx, `SELECT count(*) FROM iam_attachments WHERE account = ? AND policy_arn = ?`, account, p.ARN)
	if err != nil {
		return err
	}
	m, err := count(ctx, tx, `SELECT (SELECT count(*) FROM iam_users WHERE account = ? AND boundary = ?) + (SELECT count(*) FROM iam_roles WHERE account = ? AND boundary = ?)`, account, p.ARN, account, p.ARN)
	p.Attachments, p.Boundaries = n, m
	return err
}

// Policy returns a managed policy as the account sees it, or NotFound.
func (s *Service) Policy(ctx context.Context, account, arn string) (p Policy, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if p, err = s.findPolicy(ctx, tx, account, arn); err != nil {
			return err
		}
		if p.Tags, err = tagsOf(ctx, tx, p.ID); err != nil {
			return err
		}
		return countUses(ctx, tx, account, &p)
	})
	return p, err
}

// ListPolicies lists managed policies by name, the account's own before AWS's, without descriptions and tags, as in AWS.
func (s *Service) ListPolicies(ctx context.Context, account string, f PolicyFilter, page Page) (list []Policy, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		all, err := s.visible(ctx, tx, account, f)
		if err != nil {
			return err
		}
		kept := all[:0]
		for _, p := range all {
			if f.OnlyAttached || f.Usage != "" {
				if err := countUses(ctx, tx, account, &p); err != nil {
					return err
				}
				used := map[string]int{"PermissionsPolicy": p.Attachments, "PermissionsBoundary": p.Boundaries, "": p.Attachments + p.Boundaries}[f.Usage]
				if used == 0 {
					continue
				}
			}
			kept = append(kept, p)
		}
		name := strings.Join([]string{account, "policies", f.PathPrefix, f.Usage}, "\x00")
		list, next, err = slice(s, name, page, kept, func(p Policy) string {
			if strings.HasPrefix(p.ARN, "arn:aws:iam::aws:") {
				return "1" + fold(p.Name)
			}
			return "0" + fold(p.Name)
		})
		if err != nil {
			return err
		}
		for i := range list {
			list[i].Description = ""
			if err := countUses(ctx, tx, account, &list[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return list, next, err
}

func (s *Service) visible(ctx context.Context, tx *db.Tx, account string, f PolicyFilter) (all []Policy, err error) {
	if f.Local || !f.AWS {
		rows, err := tx.Query(ctx, `SELECT `+policyColumns+` FROM iam_policies WHERE account = ?`, account)
		if err != nil {
			return nil, err
		}
		if all, err = scanPolicies(rows); err != nil {
			return nil, err
		}
	}
	if f.AWS || !f.Local {
		for _, m := range s.aws.sorted {
			all = append(all, m.Policy)
		}
	}
	kept := all[:0]
	for _, p := range all {
		if strings.HasPrefix(p.Path, f.PathPrefix) {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

func scanPolicies(rows *sql.Rows) ([]Policy, error) {
	defer rows.Close()
	var out []Policy
	for rows.Next() {
		p := Policy{Attachable: true}
		if err := rows.Scan(p.scan()...); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// DeletePolicy removes a managed policy that is not in use and has no version but the default one, else Conflict/DeleteConflict.
func (s *Service) DeletePolicy(ctx context.Context, account, arn string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		p, err := s.findOwnPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		if err := countUses(ctx, tx, account, &p); err != nil {
			return err
		}
		if p.Attachments+p.Boundaries > 0 {
			return deleteConflict("Cannot delete a policy attached to entities.")
		}
		n, err := count(ctx, tx, `SELECT count(*) FROM iam_policy_versions WHERE policy = ?`, p.ID)
		if err != nil {
			return err
		}
		if n > 1 {
			return deleteConflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		for _, q := range []string{`DELETE FROM iam_tags WHERE owner = ?`, `DELETE FROM iam_policy_versions WHERE policy = ?`, `DELETE FROM iam_policies WHERE id = ?`} {
			if _, err := tx.Exec(ctx, q, p.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// TagPolicy adds or replaces tags of a managed policy of the account.
func (s *Service) TagPolicy(ctx context.Context, account, arn string, tags map[string]string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		p, err := s.findOwnPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		return s.putTags(ctx, tx, p.ID, tags)
	})
}

// UntagPolicy removes tags; keys that are not there are ignored.
func (s *Service) UntagPolicy(ctx context.Context, account, arn string, keys []string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		p, err := s.findOwnPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		return dropTags(ctx, tx, p.ID, keys)
	})
}

// PolicyTags lists the tags of a managed policy.
func (s *Service) PolicyTags(ctx context.Context, account, arn string, page Page) (list []Tag, next string, err error) {
	p, err := s.Policy(ctx, account, arn)
	if err != nil {
		return nil, "", err
	}
	return s.pageTags(p.ID, page, p.Tags)
}
