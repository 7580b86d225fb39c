package org

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

const (
	maxDepth = 5 // units below the root
	maxUnits = 2000
)

// Unit is an organizational unit.
type Unit struct {
	ID, Name, ParentID string
	Path               string // o-.../r-.../<id>/
}

func validUnitName(name string) error {
	if l := utf8.RuneCountInString(name); l < 1 || l > 128 {
		return errInput("INVALID_PATTERN", "The name of an organizational unit has 1 to 128 characters.")
	}
	return nil
}

func errUnitExists(name string) *fault.Error {
	return fault.New(fault.Exists, "An OU with the same name already exists.").WithCode("DuplicateOrganizationalUnit").WithResource(name)
}

// CreateUnit makes a unit under the root or another unit.
func (s *Service) CreateUnit(ctx context.Context, callerID, parent, name string, tags map[string]string) (u Unit, err error) {
	if err := validUnitName(name); err != nil {
		return Unit{}, err
	}
	if err := validTags(tags, 0); err != nil {
		return Unit{}, err
	}
	err = s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		line, err := lineage(ctx, tx, o, parent)
		if err != nil {
			return err
		}
		if line == nil || o.typeOf(parent) == TypeAccount {
			return errNoParent(parent)
		}
		if len(line) > maxDepth {
			return errConstraint("OU_DEPTH_LIMIT_EXCEEDED", "Organizational units can be nested %d levels deep.", maxDepth)
		}
		var n int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_unit WHERE org = ?", o.ID).Scan(&n); err != nil {
			return err
		}
		if n >= maxUnits {
			return errConstraint("OU_NUMBER_LIMIT_EXCEEDED", "An organization can have %d organizational units.", maxUnits)
		}
		u = Unit{ID: "ou-" + strings.TrimPrefix(o.RootID, "r-") + "-" + ident.Random(ident.LowerAlnum, 8), Name: name, ParentID: parent}
		if taken, err := siblingNamed(ctx, tx, parent, name, ""); err != nil || taken {
			return first(err, errUnitExists(name))
		}
		if _, err := tx.Exec(ctx, "INSERT INTO org_unit (id, org, parent, name, created) VALUES (?, ?, ?, ?, ?)", u.ID, o.ID, parent, name, db.Micros(tx.Now)); err != nil {
			return fmt.Errorf("insert unit: %w", err)
		}
		if err := putTags(ctx, tx, o.ID, u.ID, tags); err != nil {
			return err
		}
		u.Path = o.ID + "/" + strings.Join(line, "/") + "/" + u.ID + "/"
		return attachDefaults(ctx, tx, o, u.ID)
	})
	return u, err
}

// first returns err, or otherwise if err is nil.
func first(err error, otherwise *fault.Error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func siblingNamed(ctx context.Context, tx *db.Tx, parent, name, but string) (bool, error) {
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_unit WHERE parent = ? AND name = ? AND id <> ?", parent, name, but).Scan(&n)
	return n > 0, err
}

// RenameUnit gives a unit another name; nil keeps the one it has.
func (s *Service) RenameUnit(ctx context.Context, callerID, id string, to *string) (u Unit, err error) {
	if to != nil {
		if err := validUnitName(*to); err != nil {
			return Unit{}, err
		}
	}
	err = s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if u, err = existingUnit(ctx, tx, o, id); err != nil {
			return err
		}
		if to == nil {
			return nil
		}
		if taken, err := siblingNamed(ctx, tx, u.ParentID, *to, id); err != nil || taken {
			return first(err, errUnitExists(*to))
		}
		u.Name = *to
		_, err := tx.Exec(ctx, "UPDATE org_unit SET name = ? WHERE id = ?", *to, id)
		return err
	})
	return u, err
}

// DeleteUnit removes a unit that has neither accounts nor units.
func (s *Service) DeleteUnit(ctx context.Context, callerID, id string) error {
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if _, err := existingUnit(ctx, tx, o, id); err != nil {
			return err
		}
		var n int64
		if err := tx.QueryRow(ctx, "SELECT (SELECT COUNT(*) FROM org_unit WHERE parent = ?) + (SELECT COUNT(*) FROM org_account WHERE org = ? AND parent = ?)", id, o.ID, id).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.State, "You can't delete an organizational unit that contains accounts or other organizational units.").WithCode("OrganizationalUnitNotEmpty").WithResource(id)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM org_unit WHERE id = ?", id); err != nil {
			return fmt.Errorf("delete unit: %w", err)
		}
		return forget(ctx, tx, o, id)
	})
}

// Unit returns a unit with its path.
func (s *Service) Unit(ctx context.Context, callerID, id string) (u Unit, err error) {
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		u, err = existingUnit(ctx, tx, o, id)
		return err
	})
	return u, err
}

// Units lists the units directly under a parent by id.
func (s *Service) Units(ctx context.Context, callerID, parent string, p Page) (out []Unit, next string, err error) {
	scope := "units " + callerID + " " + parent
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if err := parentExists(ctx, tx, o, parent); err != nil {
			return err
		}
		ids, err := scanStrings(tx.Query(ctx, "SELECT id FROM org_unit WHERE org = ? AND parent = ? AND id > ? ORDER BY id LIMIT ?", o.ID, parent, after, limit+1))
		if err != nil {
			return fmt.Errorf("list units: %w", err)
		}
		ids, next = finish(s, ids, limit, scope, func(id string) string { return id })
		out = nil
		for _, id := range ids {
			u, err := existingUnit(ctx, tx, o, id)
			if err != nil {
				return err
			}
			out = append(out, u)
		}
		return nil
	})
	return out, next, err
}

// existingUnit returns the unit with its path, or the error that there is none.
func existingUnit(ctx context.Context, tx *db.Tx, o Organization, id string) (Unit, error) {
	u, err := unitByID(ctx, tx, o, id)
	if err != nil {
		return Unit{}, err
	}
	if u.ID == "" {
		return Unit{}, errNoUnit(id)
	}
	u.Path, err = pathOf(ctx, tx, o, id)
	return u, err
}

// unitByID returns the zero Unit when there is none in the organization.
func unitByID(ctx context.Context, tx *db.Tx, o Organization, id string) (Unit, error) {
	var u Unit
	err := tx.QueryRow(ctx, "SELECT id, name, parent FROM org_unit WHERE org = ? AND id = ?", o.ID, id).Scan(&u.ID, &u.Name, &u.ParentID)
	if err != nil && !db.NoRows(err) {
		return Unit{}, fmt.Errorf("read unit: %w", err)
	}
	return u, nil
}
