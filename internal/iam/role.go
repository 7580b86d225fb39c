package iam

import (
	"context"
	"strings"
	"time"

	"strongroom/internal/db"
)

// Role is an IAM role.
type Role struct {
	ID, Name, Path, ARN string
	Created             time.Time
	Description         string
	Trust               string        // the trust policy; principals that are gone show as unique ids
	MaxSession          time.Duration // longest session
	Boundary            string        // ARN of the permissions boundary, "" for none
	Tags                map[string]string
	Service             string    // the service of a service-linked role, "" for others
	LastUsed            time.Time // when a session of it was last issued; zero for never
	LastRegion          string
}

// NewRole describes a role to create.
type NewRole struct {
	Name, Path, Description, Trust, Boundary string
	MaxSession                               time.Duration // 0 means an hour
	Tags                                     map[string]string
}

const (
	shortestMaxSession = time.Hour
	longestMaxSession  = 12 * time.Hour
	serviceLinkedPath  = "/aws-service-role/"
	longestDescription = 1000
)

// roleRow is a row of iam_roles.
type roleRow struct {
	entity
	description     string
	maxSession      time.Duration
	trust, trustIDs string
	validFrom       time.Time
	lastUsed        time.Time
	lastRegion      string
}

const roleColumns = ", description, max_session, trust, trust_ids, valid_from, last_used, last_region"

func (r *roleRow) scan() []any {
	return append(r.entity.scan(), &r.description, &r.maxSession, &r.trust, &r.trustIDs, micros{&r.validFrom}, micros{&r.lastUsed}, &r.lastRegion)
}

func findRole(ctx context.Context, tx *db.Tx, account, name string) (roleRow, error) {
	r := roleRow{entity: entity{kind: KindRole}}
	err := tx.QueryRow(ctx, `SELECT `+KindRole.columns()+roleColumns+` FROM iam_roles WHERE account = ? AND name_key = ?`, account, fold(name)).Scan(r.scan()...)
	if db.NoRows(err) {
		return r, noEntity(KindRole, name)
	}
	return r, err
}

func (r roleRow) role(trust string, tags map[string]string) Role {
	return Role{ID: r.id, Name: r.name, Path: r.path, ARN: r.arn(), Created: r.created, Description: r.description, Trust: trust,
		MaxSession: r.maxSession, Boundary: r.boundary, Tags: tags, Service: r.service, LastUsed: r.lastUsed, LastRegion: r.lastRegion}
}

// CreateRole makes a role. Codes: Invalid (also MalformedPolicyDocument), Exists, Limit, NotFound (the boundary policy).
func (s *Service) CreateRole(ctx context.Context, account string, in NewRole) (Role, error) {
	path, err := s.checkNew(KindRole, in.Name, in.Path, in.Tags)
	if err != nil {
		return Role{}, err
	}
	if strings.HasPrefix(path, serviceLinkedPath) || strings.HasPrefix(fold(in.Name), "awsservicerolefor") {
		return Role{}, invalidInput("The path %s and names beginning with AWSServiceRoleFor are reserved for service-linked roles.", serviceLinkedPath)
	}
	if in.MaxSession == 0 {
		in.MaxSession = shortestMaxSession
	}
	if err := checkRoleLimits(in.Description, in.MaxSession); err != nil {
		return Role{}, err
	}
	r := roleRow{entity: entity{kind: KindRole, id: newID(prefixRole), account: account, name: in.Name, path: path, boundary: in.Boundary},
		description: in.Description, maxSession: in.MaxSession, trust: in.Trust}
	err = s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		r.created = tx.Now
		if err := s.checkFresh(ctx, tx, r.entity, "RolesPerAccount", s.limits.Roles); err != nil {
			return err
		}
		if r.trustIDs, err = s.checkTrust(ctx, tx, in.Trust); err != nil {
			return err
		}
		if err := insertRole(ctx, tx, r); err != nil {
			return err
		}
		return s.putTags(ctx, tx, r.id, in.Tags)
	})
	return r.role(in.Trust, in.Tags), err
}

func checkRoleLimits(description string, maxSession time.Duration) error {
	if maxSession < shortestMaxSession || maxSession > longestMaxSession {
		return invalid("1 validation error detected: Value '%d' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200", maxSession/time.Second)
	}
	if len(description) > longestDescription {
		return invalid("1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to %d", longestDescription)
	}
	return nil
}

func insertRole(ctx context.Context, tx *db.Tx, r roleRow) error {
	_, err := tx.Exec(ctx, `INSERT INTO iam_roles (id, account, name_key, name, path, created, boundary, description, max_session, trust, trust_ids, service, valid_from, last_used, last_region)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, '')`,
		r.id, r.account, fold(r.name), r.name, r.path, db.Micros(r.created), r.boundary, r.description, int64(r.maxSession), r.trust, r.trustIDs, r.service)
	return err
}

// Role returns a role or NotFound.
func (s *Service) Role(ctx context.Context, account, name string) (Role, error) {
	var out Role
	err := s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		r, err := findRole(ctx, tx, account, name)
		if err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, r.id)
		if err != nil {
			return err
		}
		trust, _, err := s.currentTrust(ctx, tx, r)
		out = r.role(trust, tags)
		return err
	})
	return out, err
}

// Roles lists the account's roles under a path prefix, without their tags and boundaries, as in AWS.
func (s *Service) Roles(ctx context.Context, account, pathPrefix string, p Page) (roles []Role, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, n, err := s.entities(ctx, tx, account, KindRole, pathPrefix, p)
		if err != nil {
			return err
		}
		next = n
		roles = make([]Role, 0, len(list))
		for _, e := range list {
			r, err := findRole(ctx, tx, account, e.name)
			if err != nil {
				return err
			}
			trust, _, err := s.currentTrust(ctx, tx, r)
			if err != nil {
				return err
			}
			roles = append(roles, r.role(trust, nil))
		}
		return nil
	})
	return roles, next, err
}

// UpdateRole changes the description and the longest session; nil keeps them. Service-linked roles accept a description only.
func (s *Service) UpdateRole(ctx context.Context, account, name string, description *string, maxSession *time.Duration) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		r, err := findRole(ctx, tx, account, name)
		if err != nil {
			return err
		}
		if r.service != "" && maxSession != nil {
			return protected(r.name)
		}
		if description != nil {
			r.description = *description
		}
		if maxSession != nil {
			r.maxSession = *maxSession
		}
		if err := checkRoleLimits(r.description, r.maxSession); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE iam_roles SET description = ?, max_session = ? WHERE id = ?`, r.description, int64(r.maxSession), r.id)
		return err
	})
}

// UpdateTrust replaces a role's trust policy. Sessions that exist go on. Codes: NotFound, Invalid/MalformedPolicyDocument,
// Limit, State/UnmodifiableEntity.
func (s *Service) UpdateTrust(ctx context.Context, account, name, trust string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, RoleRef(name))
		if err != nil {
			return err
		}
		ids, err := s.checkTrust(ctx, tx, trust)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE iam_roles SET trust = ?, trust_ids = ? WHERE id = ?`, trust, ids, e.id)
		return err
	})
}

// DeleteRole removes a role without policies, else Conflict/DeleteConflict. Its sessions end at once.
func (s *Service) DeleteRole(ctx context.Context, account, name string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, RoleRef(name))
		if err != nil {
			return err
		}
		if err := checkBare(ctx, tx, e); err != nil {
			return err
		}
		return deleteEntity(ctx, tx, e)
	})
}

// RevokeSessions ends every session of a role that was issued until now.
func (s *Service) RevokeSessions(ctx context.Context, account, name string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, RoleRef(name))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE iam_roles SET valid_from = ? WHERE id = ?`, db.Micros(tx.Now), e.id)
		return err
	})
}
