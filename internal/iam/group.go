package iam

import (
	"context"
	"strings"
	"time"

	"strongroom/internal/db"
)

// Group is a set of users that share policies.
type Group struct {
	ID, Name, Path, ARN string
	Created             time.Time
}

func (e entity) group() Group { return Group{e.id, e.name, e.path, e.arn(), e.created} }

func groups(list []entity) []Group {
	out := make([]Group, len(list))
	for i, e := range list {
		out[i] = e.group()
	}
	return out
}

// CreateGroup makes an empty group. Codes: Invalid, Exists, Limit.
func (s *Service) CreateGroup(ctx context.Context, account, name, path string) (Group, error) {
	path, err := s.checkNew(KindGroup, name, path, nil)
	if err != nil {
		return Group{}, err
	}
	e := entity{kind: KindGroup, id: newID(prefixGroup), account: account, name: name, path: path}
	err = s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e.created = tx.Now
		if err := s.checkFresh(ctx, tx, e, "GroupsPerAccount", s.limits.Groups); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO iam_groups (id, account, name_key, name, path, created) VALUES (?, ?, ?, ?, ?, ?)`,
			e.id, account, fold(name), name, path, db.Micros(e.created))
		return err
	})
	return e.group(), err
}

// Group returns a group and one page of its members, or NotFound.
func (s *Service) Group(ctx context.Context, account, name string, p Page) (g Group, members []User, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, GroupRef(name))
		if err != nil {
			return err
		}
		g = e.group()
		rows, err := tx.Query(ctx, `SELECT `+KindUser.columns()+` FROM iam_users WHERE id IN (SELECT user_id FROM iam_members WHERE group_id = ?)`, e.id)
		if err != nil {
			return err
		}
		list, err := scanEntities(rows, KindUser)
		if err != nil {
			return err
		}
		list, next, err = slice(s, account+"\x00members\x00"+e.id, p, list, func(e entity) string { return fold(e.name) })
		for _, e := range list {
			members = append(members, e.user(nil))
		}
		return err
	})
	return g, members, next, err
}

// Groups lists the account's groups under a path prefix.
func (s *Service) Groups(ctx context.Context, account, pathPrefix string, p Page) (list []Group, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		es, n, err := s.entities(ctx, tx, account, KindGroup, pathPrefix, p)
		list, next = groups(es), n
		return err
	})
	return list, next, err
}

// GroupsOf lists the groups that a user is in.
func (s *Service) GroupsOf(ctx context.Context, account, user string, p Page) (list []Group, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, UserRef(user))
		if err != nil {
			return err
		}
		es, err := groupsOf(ctx, tx, e.id)
		if err != nil {
			return err
		}
		es, next, err = slice(s, account+"\x00groups of\x00"+e.id, p, es, func(e entity) string { return fold(e.name) })
		list = groups(es)
		return err
	})
	return list, next, err
}

func groupsOf(ctx context.Context, tx *db.Tx, userID string) ([]entity, error) {
	rows, err := tx.Query(ctx, `SELECT `+KindGroup.columns()+` FROM iam_groups WHERE id IN (SELECT group_id FROM iam_members WHERE user_id = ?) ORDER BY name_key`, userID)
	if err != nil {
		return nil, err
	}
	return scanEntities(rows, KindGroup)
}

// UpdateGroup changes a group's name or path; "" keeps it.
func (s *Service) UpdateGroup(ctx context.Context, account, name, newName, newPath string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, GroupRef(name))
		if err != nil {
			return err
		}
		return rename(ctx, tx, e, newName, newPath)
	})
}

// DeleteGroup removes a group without members and policies, else Conflict/DeleteConflict.
func (s *Service) DeleteGroup(ctx context.Context, account, name string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, GroupRef(name))
		if err != nil {
			return err
		}
		if err := checkBare(ctx, tx, e, rule{`SELECT count(*) FROM iam_members WHERE group_id = ?`, "Cannot delete entity, must remove users from group first."}); err != nil {
			return err
		}
		return deleteEntity(ctx, tx, e)
	})
}

// AddUserToGroup and RemoveUserFromGroup change a membership; both are idempotent, except that removing a user who is not a
// member is NotFound.
func (s *Service) AddUserToGroup(ctx context.Context, account, group, user string) error {
	return s.withMember(ctx, account, group, user, func(ctx context.Context, tx *db.Tx, g, u entity) error {
		n, err := count(ctx, tx, `SELECT count(*) FROM iam_members WHERE group_id = ? AND user_id = ?`, g.id, u.id)
		if err != nil || n > 0 {
			return err
		}
		if err := checkRoom(ctx, tx, "GroupsPerUser", s.limits.GroupsPerUser, `SELECT count(*) FROM iam_members WHERE user_id = ?`, u.id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO iam_members (group_id, user_id) VALUES (?, ?)`, g.id, u.id)
		return err
	})
}

// RemoveUserFromGroup ends a membership.
func (s *Service) RemoveUserFromGroup(ctx context.Context, account, group, user string) error {
	return s.withMember(ctx, account, group, user, func(ctx context.Context, tx *db.Tx, g, u entity) error {
		n, err := tx.Exec(ctx, `DELETE FROM iam_members WHERE group_id = ? AND user_id = ?`, g.id, u.id)
		if err == nil && n == 0 {
			return noEntity(KindUser, strings.Join([]string{u.name, "in group", g.name}, " "))
		}
		return err
	})
}

func (s *Service) withMember(ctx context.Context, account, group, user string, fn func(context.Context, *db.Tx, entity, entity) error) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		g, err := find(ctx, tx, account, GroupRef(group))
		if err != nil {
			return err
		}
		u, err := find(ctx, tx, account, UserRef(user))
		if err != nil {
			return err
		}
		return fn(ctx, tx, g, u)
	})
}
