package iam

import (
	"context"
	"strings"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

// identity is everything that requests need to know about a user or role. It is shared and must not be changed.
type identity struct {
	entity
	tags     map[string]string
	policies policy.Identities
	// Roles only.
	trust      policy.Source
	maxSession time.Duration
	validFrom  time.Time
}

// Policies returns the policies of the principal: identity policies (of users with those of their groups), boundary and session
// policies. A principal that does not exist any more has none, so nothing allows it anything.
func (s *Service) Policies(ctx context.Context, p access.Principal) (policy.Identities, error) {
	var kind Kind
	switch p.Kind {
	case access.User:
		kind = KindUser
	case access.Role:
		kind = KindRole
	default:
		return policy.Identities{}, nil
	}
	id, _, _ := strings.Cut(p.ID, ":")
	e, err := s.identity(ctx, p.Account, kind, id)
	if fault.Is(err, fault.NotFound) {
		return policy.Identities{}, nil
	}
	if err != nil {
		return policy.Identities{}, err
	}
	out := e.policies
	if p.SessionPolicies != nil {
		out.Session = make([]policy.Source, 0, len(p.SessionPolicies))
		for _, text := range p.SessionPolicies {
			doc, err := s.docs.Parse(policy.SessionPolicy, text)
			if err != nil {
				s.log.ErrorContext(ctx, "a session policy cannot be read; the session may do nothing", "principal", p.ARN, "error", err)
			}
			out.Session = append(out.Session, policy.Source{Type: policy.TypeSession, Name: p.ARN, Owner: p.Account, Doc: doc})
		}
	}
	return out, nil
}

// identity returns an entity of the account by its unique id, from memory if it can.
func (s *Service) identity(ctx context.Context, account string, kind Kind, id string) (*identity, error) {
	return cached(ctx, s, string(kind)+"\x00"+account+"\x00"+id, func(ctx context.Context, tx *db.Tx) (*identity, []string, error) {
		return s.loadIdentity(ctx, tx, kind, account, "id", id)
	})
}

// roleByName is identity for a role by its name, without regard to case.
func (s *Service) roleByName(ctx context.Context, account, name string) (*identity, error) {
	return cached(ctx, s, "role name\x00"+account+"\x00"+fold(name), func(ctx context.Context, tx *db.Tx) (*identity, []string, error) {
		return s.loadIdentity(ctx, tx, KindRole, account, "name_key", fold(name))
	})
}

func (s *Service) loadIdentity(ctx context.Context, tx *db.Tx, kind Kind, account, column, value string) (*identity, []string, error) {
	r := roleRow{entity: entity{kind: kind}}
	columns, dest := kind.columns(), r.entity.scan()
	if kind == KindRole {
		columns, dest = columns+roleColumns, r.scan()
	}
	err := tx.QueryRow(ctx, `SELECT `+columns+` FROM `+kind.table()+` WHERE account = ? AND `+column+` = ?`, account, value).Scan(dest...)
	if db.NoRows(err) {
		return nil, nil, noEntity(kind, value)
	}
	if err != nil {
		return nil, nil, err
	}
	e := &identity{entity: r.entity, maxSession: r.maxSession, validFrom: r.validFrom}
	if e.tags, err = tagsOf(ctx, tx, e.id); err != nil {
		return nil, nil, err
	}
	if err := s.loadPolicies(ctx, tx, e); err != nil {
		return nil, nil, err
	}
	accounts := []string{account}
	if kind == KindRole {
		text, others, err := s.currentTrust(ctx, tx, r)
		if err != nil {
			return nil, nil, err
		}
		e.trust = s.source(ctx, policy.TypeTrust, policy.TrustPolicy, r.arn(), account, text)
		accounts = append(accounts, others...)
	}
	return e, accounts, nil
}

func (s *Service) loadPolicies(ctx context.Context, tx *db.Tx, e *identity) error {
	owners := []entity{e.entity}
	if e.kind == KindUser {
		groups, err := groupsOf(ctx, tx, e.id)
		if err != nil {
			return err
		}
		owners = append(owners, groups...)
	}
	seen := map[string]bool{}
	for _, o := range owners {
		inline, err := s.inlineSources(ctx, tx, o)
		if err != nil {
			return err
		}
		e.policies.Identity = append(e.policies.Identity, inline...)
		arns, err := texts(ctx, tx, `SELECT policy_arn FROM iam_attachments WHERE owner = ? ORDER BY policy_arn`, o.id)
		if err != nil {
			return err
		}
		for _, a := range arns {
			if seen[a] {
				continue
			}
			seen[a] = true
			src, err := s.managedSource(ctx, tx, e.account, a, policy.TypeIdentity)
			if err != nil {
				return err
			}
			e.policies.Identity = append(e.policies.Identity, src)
		}
	}
	if e.boundary != "" {
		src, err := s.managedSource(ctx, tx, e.account, e.boundary, policy.TypeBoundary)
		if err != nil {
			return err
		}
		e.policies.Boundary = &src
	}
	return nil
}

func (s *Service) inlineSources(ctx context.Context, tx *db.Tx, o entity) ([]policy.Source, error) {
	rows, err := tx.Query(ctx, `SELECT name, document FROM iam_inline WHERE owner = ? ORDER BY name`, o.id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []policy.Source
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		out = append(out, s.source(ctx, policy.TypeIdentity, policy.Identity, name, o.account, text))
	}
	return out, rows.Err()
}

// managedSource returns the default version of a managed policy. One that is gone is a source without document: it denies.
func (s *Service) managedSource(ctx context.Context, tx *db.Tx, account, arn string, t policy.Type) (policy.Source, error) {
	if m, ok := s.aws.byARN[arn]; ok {
		doc, err := m.parse()
		if err != nil {
			s.log.ErrorContext(ctx, "a managed policy cannot be read; it denies", "policy", arn, "error", err)
		}
		return policy.Source{Type: t, Name: arn, Owner: awsAccount, Doc: doc}, nil
	}
	text, err := defaultDocument(ctx, tx, account, arn)
	if err != nil {
		return policy.Source{Type: t, Name: arn, Owner: account}, missingIsNone(err)
	}
	return s.source(ctx, t, policy.Identity, arn, account, text), nil
}

func defaultDocument(ctx context.Context, tx *db.Tx, account, arn string) (text string, err error) {
	err = tx.QueryRow(ctx, `SELECT v.document FROM iam_policies p JOIN iam_policy_versions v ON v.policy = p.id AND v.version = p.default_version WHERE p.account = ? AND p.arn = ?`, account, arn).Scan(&text)
	if db.NoRows(err) {
		return "", noPolicy(arn)
	}
	return text, err
}

// source parses a stored document. One that cannot be read stays without document, which denies.
func (s *Service) source(ctx context.Context, t policy.Type, kind policy.Kind, name, owner, text string) policy.Source {
	doc, err := s.docs.Parse(kind, text)
	if err != nil {
		s.log.ErrorContext(ctx, "a stored policy cannot be read; it denies", "policy", name, "error", err)
	}
	return policy.Source{Type: t, Name: name, Owner: owner, Doc: doc}
}

// Trust is what authorization of sts:AssumeRole and iam:PassRole needs to know about a role.
type Trust struct {
	Exists  bool
	ID      string
	Policy  policy.Source // the trust policy; of a role that does not exist, a zero Source
	Tags    map[string]string
	Service string // the service of a service-linked role
}

// TrustPolicy looks a role up by its ARN, path included. A role that does not exist is no error.
func (s *Service) TrustPolicy(ctx context.Context, roleARN string) (Trust, error) {
	e, err := s.roleByARN(ctx, roleARN)
	if fault.Is(err, fault.NotFound) {
		return Trust{}, nil
	}
	if err != nil {
		return Trust{}, err
	}
	return Trust{Exists: true, ID: e.id, Policy: e.trust, Tags: e.tags, Service: e.service}, nil
}

func (s *Service) roleByARN(ctx context.Context, roleARN string) (*identity, error) {
	account, kind, path, name, ok := SplitARN(roleARN)
	if !ok || kind != string(KindRole) || name == "" {
		return nil, noEntity(KindRole, roleARN)
	}
	e, err := s.roleByName(ctx, account, name)
	if err == nil && (e.name != name || e.path != path) {
		return nil, noEntity(KindRole, roleARN)
	}
	return e, err
}
