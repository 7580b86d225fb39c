package iam

import (
	"context"
	"time"

	"strongroom/internal/db"
)

// User is an IAM user.
type User struct {
	ID, Name, Path, ARN string
	Created             time.Time
	Boundary            string // ARN of the permissions boundary, "" for none
	Tags                map[string]string
}

// NewUser describes a user to create.
type NewUser struct {
	Name, Path, Boundary string
	Tags                 map[string]string
}

func (e entity) user(tags map[string]string) User {
	return User{e.id, e.name, e.path, e.arn(), e.created, e.boundary, tags}
}

// CreateUser makes a user. Codes: Invalid, Exists, Limit, NotFound (the boundary policy).
func (s *Service) CreateUser(ctx context.Context, account string, in NewUser) (User, error) {
	path, err := s.checkNew(KindUser, in.Name, in.Path, in.Tags)
	if err != nil {
		return User{}, err
	}
	e := entity{kind: KindUser, id: newID(prefixUser), account: account, name: in.Name, path: path, boundary: in.Boundary}
	err = s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e.created = tx.Now
		if err := s.checkFresh(ctx, tx, e, "UsersPerAccount", s.limits.Users); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO iam_users (id, account, name_key, name, path, created, boundary) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			e.id, account, fold(e.name), e.name, e.path, db.Micros(e.created), e.boundary); err != nil {
			return err
		}
		return s.putTags(ctx, tx, e.id, in.Tags)
	})
	return e.user(in.Tags), err
}

// checkNew validates what every new entity has and returns its path.
func (s *Service) checkNew(kind Kind, name, path string, tags map[string]string) (string, error) {
	if err := checkName(kind.field(), name, longestName[kind]); err != nil {
		return "", err
	}
	if err := checkTags(tags); err != nil {
		return "", err
	}
	return checkPath(path)
}

// checkFresh refuses a taken name, a full account and a boundary that is no policy.
func (s *Service) checkFresh(ctx context.Context, tx *db.Tx, e entity, quota string, most int) error {
	if err := checkAccount(ctx, tx, e.account); err != nil {
		return err
	}
	n, err := count(ctx, tx, `SELECT count(*) FROM `+e.kind.table()+` WHERE account = ? AND name_key = ?`, e.account, fold(e.name))
	if err != nil {
		return err
	}
	if n > 0 {
		return alreadyExists(e.kind, e.name)
	}
	if err := checkRoom(ctx, tx, quota, most, `SELECT count(*) FROM `+e.kind.table()+` WHERE account = ?`, e.account); err != nil {
		return err
	}
	if e.boundary == "" {
		return nil
	}
	return s.checkBoundary(ctx, tx, e.account, e.boundary)
}

// User returns a user or NotFound.
func (s *Service) User(ctx context.Context, account, name string) (User, error) {
	var u User
	err := s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, UserRef(name))
		if err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, e.id)
		u = e.user(tags)
		return err
	})
	return u, err
}

// Users lists the account's users under a path prefix ("" for all), without their tags.
func (s *Service) Users(ctx context.Context, account, pathPrefix string, p Page) (users []User, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, n, err := s.entities(ctx, tx, account, KindUser, pathPrefix, p)
		next = n
		users = make([]User, len(list))
		for i, e := range list {
			users[i] = e.user(nil)
		}
		return err
	})
	return users, next, err
}

// UpdateUser changes a user's name or path; "" keeps it. Keys, policies and memberships stay.
func (s *Service) UpdateUser(ctx context.Context, account, name, newName, newPath string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, UserRef(name))
		if err != nil {
			return err
		}
		return rename(ctx, tx, e, newName, newPath)
	})
}

// DeleteUser removes a user that has no keys, policies or memberships left, else Conflict/DeleteConflict.
func (s *Service) DeleteUser(ctx context.Context, account, name string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, UserRef(name))
		if err != nil {
			return err
		}
		if err := checkBare(ctx, tx, e,
			rule{`SELECT count(*) FROM iam_access_keys WHERE owner = ?`, "Cannot delete entity, must delete access keys first."},
			rule{`SELECT count(*) FROM iam_members WHERE user_id = ?`, "Cannot delete entity, must remove user from groups first."}); err != nil {
			return err
		}
		return deleteEntity(ctx, tx, e)
	})
}

// rule is a reason not to delete an entity: the count must be zero.
type rule struct{ query, why string }

var noPolicies = []rule{
	{`SELECT count(*) FROM iam_inline WHERE owner = ?`, "Cannot delete entity, must delete policies first."},
	{`SELECT count(*) FROM iam_attachments WHERE owner = ?`, "Cannot delete entity, must detach all policies first."},
}

func checkBare(ctx context.Context, tx *db.Tx, e entity, more ...rule) error {
	for _, r := range append(more, noPolicies...) {
		n, err := count(ctx, tx, r.query, e.id)
		if err != nil {
			return err
		}
		if n > 0 {
			return deleteConflict(r.why)
		}
	}
	return nil
}

func deleteEntity(ctx context.Context, tx *db.Tx, e entity) error {
	if _, err := tx.Exec(ctx, `DELETE FROM iam_tags WHERE owner = ?`, e.id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM `+e.kind.table()+` WHERE id = ?`, e.id)
	return err
}
