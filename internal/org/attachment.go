package org

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const maxAttached = 5 // service control policies per root, unit or account

// EnableType enables a policy type in the root. For service control policies, FullAWSAccess is attached everywhere.
func (s *Service) EnableType(ctx context.Context, callerID, root, policyType string) (o Organization, err error) {
	return s.changeType(ctx, callerID, root, policyType, func(ctx context.Context, tx *db.Tx, o *Organization) error {
		if o.FeatureSet != AllFeatures {
			return fault.New(fault.State, "The policy type isn't available in an organization without all features.").WithCode("PolicyTypeNotAvailableForOrganization")
		}
		if o.enabled(policyType) {
			return fault.New(fault.Exists, "The specified policy type is already enabled.").WithCode("PolicyTypeAlreadyEnabled")
		}
		o.PolicyTypes = append(o.PolicyTypes, policyType)
		slices.Sort(o.PolicyTypes)
		return enableType(ctx, tx, *o, policyType)
	})
}

// DisableType disables a policy type and detaches all policies of that type from everything.
func (s *Service) DisableType(ctx context.Context, callerID, root, policyType string) (o Organization, err error) {
	return s.changeType(ctx, callerID, root, policyType, func(ctx context.Context, tx *db.Tx, o *Organization) error {
		if !o.enabled(policyType) {
			return errTypeNotEnabled()
		}
		o.PolicyTypes = slices.DeleteFunc(o.PolicyTypes, func(t string) bool { return t == policyType })
		for _, table := range []string{"org_attachment", "org_policy_type"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE org = ? AND type = ?", o.ID, policyType); err != nil {
				return fmt.Errorf("disable policy type: %w", err)
			}
		}
		return nil
	})
}

func errTypeNotEnabled() *fault.Error {
	return fault.New(fault.State, "The specified policy type is not enabled.").WithCode("PolicyTypeNotEnabled")
}

func (s *Service) changeType(ctx context.Context, callerID, root, policyType string, fn func(context.Context, *db.Tx, *Organization) error) (o Organization, err error) {
	if err := validType(policyType, "POLICY_TYPE"); err != nil {
		return Organization{}, err
	}
	err = s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, found Organization) error {
		o = found
		if root != o.RootID {
			return fault.New(fault.NotFound, "You specified a root that doesn't exist.").WithCode("RootNotFound").WithResource(root)
		}
		return fn(ctx, tx, &o)
	})
	return o, err
}

// enableType stores that a type is enabled and gives everything its default policy.
func enableType(ctx context.Context, tx *db.Tx, o Organization, policyType string) error {
	if _, err := tx.Exec(ctx, "INSERT INTO org_policy_type (org, type) VALUES (?, ?)", o.ID, policyType); err != nil {
		return fmt.Errorf("enable policy type: %w", err)
	}
	_, err := tx.Exec(ctx, `INSERT INTO org_attachment (org, target, policy, type, ordinal)
		SELECT id, root, ?, ?, 1 FROM org_organization WHERE id = ?
		UNION ALL SELECT org, id, ?, ?, 1 FROM org_unit WHERE org = ?
		UNION ALL SELECT org, id, ?, ?, 1 FROM org_account WHERE org = ?`,
		FullAccessID, policyType, o.ID, FullAccessID, policyType, o.ID, FullAccessID, policyType, o.ID)
	if err != nil {
		return fmt.Errorf("attach default policies: %w", err)
	}
	return nil
}

// attachDefaults gives a new unit or account what everything has at first.
func attachDefaults(ctx context.Context, tx *db.Tx, o Organization, target string) error {
	if !o.enabled(SCP) {
		return nil
	}
	return attach(ctx, tx, o, target, fullAccessPolicy())
}

func attach(ctx context.Context, tx *db.Tx, o Organization, target string, p Policy) error {
	_, err := tx.Exec(ctx, `INSERT INTO org_attachment (org, target, policy, type, ordinal)
		SELECT ?, ?, ?, ?, COALESCE(MAX(ordinal), 0) + 1 FROM org_attachment WHERE org = ? AND target = ?`, o.ID, target, p.ID, p.Type, o.ID, target)
	if err != nil {
		return fmt.Errorf("attach policy: %w", err)
	}
	return nil
}

// targetExists checks that id is the root, a unit or a member of the organization.
func targetExists(ctx context.Context, tx *db.Tx, o Organization, id string) error {
	if id == o.RootID {
		return nil
	}
	if o.typeOf(id) == "" && !strings.HasPrefix(id, "r-") {
		return errInput("INVALID_PATTERN_TARGET_ID", "You specified a target id that doesn't match the pattern of a root, organizational unit or account: %q", id)
	}
	parent, err := parentOf(ctx, tx, o, id)
	if err == nil && parent == "" {
		err = errNoTarget(id)
	}
	return err
}

// attachment is the frame of Attach and Detach; n is how many policies of the type the target has.
func (s *Service) attachment(ctx context.Context, callerID, policyID, target string, fn func(ctx context.Context, tx *db.Tx, o Organization, p Policy, attached bool, n int) error) error {
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		p, err := policyByID(ctx, tx, o, policyID)
		if err != nil {
			return err
		}
		if err := targetExists(ctx, tx, o, target); err != nil {
			return err
		}
		var n, this int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*), COUNT(CASE WHEN policy = ? THEN 1 END) FROM org_attachment WHERE org = ? AND target = ? AND type = ?", p.ID, o.ID, target, p.Type).Scan(&n, &this); err != nil {
			return fmt.Errorf("count attachments: %w", err)
		}
		return fn(ctx, tx, o, p, this > 0, n)
	})
}

// Attach puts a policy on a root, unit or account, after those that are there. It is in force when Attach returns.
func (s *Service) Attach(ctx context.Context, callerID, policyID, target string) error {
	return s.attachment(ctx, callerID, policyID, target, func(ctx context.Context, tx *db.Tx, o Organization, p Policy, attached bool, n int) error {
		switch {
		case !o.enabled(p.Type):
			return errTypeNotEnabled()
		case attached:
			return fault.New(fault.Exists, "A policy with the specified name and type is already attached to the specified target.").WithCode("DuplicatePolicyAttachment")
		case n >= maxAttached:
			return errConstraint("MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED", "You can attach at most %d policies of this type to a target.", maxAttached)
		}
		return attach(ctx, tx, o, target, p)
	})
}

// Detach takes a policy off a target. The last service control policy stays: without one nothing would be allowed.
func (s *Service) Detach(ctx context.Context, callerID, policyID, target string) error {
	return s.attachment(ctx, callerID, policyID, target, func(ctx context.Context, tx *db.Tx, o Organization, p Policy, attached bool, n int) error {
		switch {
		case !attached:
			return fault.New(fault.NotFound, "The policy isn't attached to the specified target in the specified root.").WithCode("PolicyNotAttached")
		case n == 1:
			return errConstraint("MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED", "You cannot remove the last policy of this type attached to the specified target.")
		}
		_, err := tx.Exec(ctx, "DELETE FROM org_attachment WHERE org = ? AND target = ? AND policy = ?", o.ID, target, p.ID)
		return err
	})
}

// PoliciesFor lists the policies of a type that are attached to a target itself, by id, without content.
func (s *Service) PoliciesFor(ctx context.Context, callerID, target, policyType string, p Page) (out []Policy, next string, err error) {
	if err := validType(policyType, "POLICY_TYPE"); err != nil {
		return nil, "", err
	}
	scope := "policies for " + callerID + " " + target + " " + policyType
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if err := targetExists(ctx, tx, o, target); err != nil {
			return err
		}
		ids, err := scanStrings(tx.Query(ctx, "SELECT policy FROM org_attachment WHERE org = ? AND target = ? AND type = ? AND policy > ? ORDER BY policy LIMIT ?", o.ID, target, policyType, after, limit+1))
		if err != nil {
			return fmt.Errorf("list attachments: %w", err)
		}
		ids, next = finish(s, ids, limit, scope, func(id string) string { return id })
		out = nil
		for _, id := range ids {
			p, err := policyByID(ctx, tx, o, id)
			if err != nil {
				return err
			}
			out = append(out, p)
		}
		return nil
	})
	return out, next, err
}

// Targets lists what a policy is attached to, by id, with names.
func (s *Service) Targets(ctx context.Context, callerID, policyID string, p Page) (out []Node, next string, err error) {
	scope := "targets " + callerID + " " + policyID
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if _, err := policyByID(ctx, tx, o, policyID); err != nil {
			return err
		}
		ids, err := scanStrings(tx.Query(ctx, "SELECT target FROM org_attachment WHERE org = ? AND policy = ? AND target > ? ORDER BY target LIMIT ?", o.ID, policyID, after, limit+1))
		if err != nil {
			return fmt.Errorf("list targets: %w", err)
		}
		ids, next = finish(s, ids, limit, scope, func(id string) string { return id })
		out = nil
		for _, id := range ids {
			n := Node{ID: id, Type: o.typeOf(id), Name: "Root"}
			switch n.Type {
			case TypeUnit:
				u, err := unitByID(ctx, tx, o, id)
				if err != nil {
					return err
				}
				n.Name = u.Name
			case TypeAccount:
				a, err := accountByID(ctx, tx, id)
				if err != nil {
					return err
				}
				n.Name = a.Name
			}
			out = append(out, n)
		}
		return nil
	})
	return out, next, err
}
