package org

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// The types of what stands in the tree.
const (
	TypeRoot    = "ROOT"
	TypeUnit    = "ORGANIZATIONAL_UNIT"
	TypeAccount = "ACCOUNT"
)

// Node names a parent, child or policy target by id and type.
type Node struct {
	ID, Type string
	Name     string // only in lists of policy targets
}

func (o Organization) typeOf(id string) string {
	switch {
	case id == o.RootID:
		return TypeRoot
	case strings.HasPrefix(id, "ou-"):
		return TypeUnit
	case arn.ValidAccount(id):
		return TypeAccount
	}
	return ""
}

// MoveAccount moves a member from one root or unit to another.
func (s *Service) MoveAccount(ctx context.Context, callerID, id, from, to string) error {
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		a, err := memberOf(ctx, tx, o, id)
		if err != nil {
			return err
		}
		if a.ParentID != from {
			return fault.New(fault.NotFound, "You specified a source root or organizational unit that doesn't contain the account.").WithCode("SourceParentNotFound").WithResource(from)
		}
		err = parentExists(ctx, tx, o, to)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.NotFound, "You specified a destination root or organizational unit that doesn't exist.").WithCode("DestinationParentNotFound").WithResource(to)
		}
		if err != nil {
			return err
		}
		if from == to {
			return fault.New(fault.Exists, "The account is already in the destination.").WithCode("DuplicateAccount").WithResource(to)
		}
		if _, err := tx.Exec(ctx, "UPDATE org_account SET parent = ? WHERE id = ?", to, id); err != nil {
			return fmt.Errorf("move account: %w", err)
		}
		return nil
	})
}

// Parent returns the one parent of an account or unit, for a list that therefore has one page.
func (s *Service) Parent(ctx context.Context, callerID, child string, p Page) (n Node, err error) {
	if _, _, err := s.begin(p, "parents "+callerID+" "+child); err != nil {
		return Node{}, err
	}
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		parent, err := parentOf(ctx, tx, o, child)
		if err == nil && parent == "" {
			return fault.New(fault.NotFound, "You specified a child that doesn't exist.").WithCode("ChildNotFound").WithResource(child)
		}
		n = Node{ID: parent, Type: o.typeOf(parent)}
		return err
	})
	return n, err
}

// Children lists the accounts or the units directly under a parent by id.
func (s *Service) Children(ctx context.Context, callerID, parent, childType string, p Page) (out []Node, next string, err error) {
	table := map[string]string{TypeAccount: "org_account", TypeUnit: "org_unit"}[childType]
	if table == "" {
		return nil, "", errInput("INVALID_ENUM:CHILD_TYPE", "ChildType must be ACCOUNT or ORGANIZATIONAL_UNIT.")
	}
	scope := "children " + callerID + " " + parent + " " + childType
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if err := parentExists(ctx, tx, o, parent); err != nil {
			return err
		}
		ids, err := scanStrings(tx.Query(ctx, "SELECT id FROM "+table+" WHERE org = ? AND parent = ? AND id > ? ORDER BY id LIMIT ?", o.ID, parent, after, limit+1))
		if err != nil {
			return fmt.Errorf("list children: %w", err)
		}
		ids, next = finish(s, ids, limit, scope, func(id string) string { return id })
		out = nil
		for _, id := range ids {
			out = append(out, Node{ID: id, Type: childType})
		}
		return nil
	})
	return out, next, err
}

// parentOf returns the parent of a unit or account of the organization; "" for the root and for what is not there.
func parentOf(ctx context.Context, tx *db.Tx, o Organization, child string) (string, error) {
	table := "org_account"
	if strings.HasPrefix(child, "ou-") {
		table = "org_unit"
	}
	var parent string
	err := tx.QueryRow(ctx, "SELECT parent FROM "+table+" WHERE org = ? AND id = ?", o.ID, child).Scan(&parent)
	if db.NoRows(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read parent of %s: %w", child, err)
	}
	return parent, nil
}

func parentExists(ctx context.Context, tx *db.Tx, o Organization, id string) error {
	if id == o.RootID {
		return nil
	}
	u, err := unitByID(ctx, tx, o, id)
	if err == nil && u.ID == "" {
		err = errNoParent(id)
	}
	return err
}

// lineage lists the ids from the root down to a unit or account, both included; nil when it is not there. The tree is at most seven
// levels high, so this ends even if a parent were wrong.
func lineage(ctx context.Context, tx *db.Tx, o Organization, id string) ([]string, error) {
	out := []string{id}
	for range maxDepth + 2 {
		if id == o.RootID {
			slices.Reverse(out)
			return out, nil
		}
		parent, err := parentOf(ctx, tx, o, id)
		if err != nil || parent == "" {
			return nil, err
		}
		out = append(out, parent)
		id = parent
	}
	return nil, fault.New(fault.Corrupt, "the organization's tree has a loop at %s", id)
}

// pathOf is o-.../r-.../ou-.../<id>/.
func pathOf(ctx context.Context, tx *db.Tx, o Organization, id string) (string, error) {
	line, err := lineage(ctx, tx, o, id)
	if err != nil || line == nil {
		return "", err
	}
	return o.ID + "/" + strings.Join(line, "/") + "/", nil
}
