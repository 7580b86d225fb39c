package org

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// The feature sets.
const (
	AllFeatures         = "ALL"
	ConsolidatedBilling = "CONSOLIDATED_BILLING"
)

// Organization is an organization of accounts.
type Organization struct {
	ID         string // o-...
	RootID     string // r-...
	Management string // the management account's id
	Email      string // of the management account
	FeatureSet string
	Created    time.Time
	// PolicyTypes are the enabled policy types, sorted.
	PolicyTypes []string
}

func (o Organization) name(kind, rest string) string {
	return arn.Make("organizations", "", o.Management, kind+"/"+o.ID+rest)
}

// ARN is the organization's own name. All names in an organization belong to the management account.
func (o Organization) ARN() string { return o.name("organization", "") }

// RootARN is the name of the root.
func (o Organization) RootARN() string { return o.name("root", "/"+o.RootID) }

// AccountARN is the name of a member.
func (o Organization) AccountARN(id string) string { return o.name("account", "/"+id) }

// UnitARN is the name of an organizational unit.
func (o Organization) UnitARN(id string) string { return o.name("ou", "/"+id) }

// PolicyARN is the name of a policy; those of AWS belong to no account.
func (o Organization) PolicyARN(id, policyType string) string {
	kind := strings.ToLower(policyType)
	if id == FullAccessID {
		return arn.Make("organizations", "", "aws", "policy/"+kind+"/"+id)
	}
	return o.name("policy", "/"+kind+"/"+id)
}

// TargetARN is the name of a root, unit, account or policy by the form of its id; "" for another form.
func (o Organization) TargetARN(id string) string {
	switch {
	case strings.HasPrefix(id, "r-"):
		return o.name("root", "/"+id)
	case strings.HasPrefix(id, "ou-"):
		return o.UnitARN(id)
	case arn.ValidAccount(id):
		return o.AccountARN(id)
	case strings.HasPrefix(id, "p-"):
		return o.PolicyARN(id, SCP)
	}
	return ""
}

func (o Organization) enabled(policyType string) bool {
	return slices.Contains(o.PolicyTypes, policyType)
}

// CreateOrganization makes the account, which must be in none, the management account of a new organization. featureSet "" is
// AllFeatures, which also enables service control policies.
func (s *Service) CreateOrganization(ctx context.Context, account, featureSet string) (Organization, error) {
	if featureSet == "" {
		featureSet = AllFeatures
	}
	if featureSet != AllFeatures && featureSet != ConsolidatedBilling {
		return Organization{}, errInput("INVALID_ENUM:FEATURE_SET", "FeatureSet must be ALL or CONSOLIDATED_BILLING.")
	}
	o := Organization{
		ID: "o-" + ident.Random(ident.LowerAlnum, 10), RootID: "r-" + ident.Random(ident.LowerAlnum, 4),
		Management: account, FeatureSet: featureSet,
	}
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		a, err := accountByID(ctx, tx, account)
		if err != nil {
			return err
		}
		if a.OrgID != "" {
			return fault.New(fault.Exists, "The AWS account is already a member of an organization.").WithCode("AlreadyInOrganization")
		}
		if a.ID == "" {
			return errNoAccount(account)
		}
		for { // four characters are the shortest root id that AWS has; two organizations must not get the same
			var n int64
			if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_organization WHERE root = ?", o.RootID).Scan(&n); err != nil {
				return err
			}
			if n == 0 {
				break
			}
			o.RootID = "r-" + ident.Random(ident.LowerAlnum, 4)
		}
		o.Email, o.Created = a.Email, tx.Now
		if _, err := tx.Exec(ctx, "INSERT INTO org_organization (id, root, management, feature_set, created) VALUES (?, ?, ?, ?, ?)", o.ID, o.RootID, account, featureSet, db.Micros(tx.Now)); err != nil {
			return fmt.Errorf("insert organization: %w", err)
		}
		if _, err := tx.Exec(ctx, "UPDATE org_account SET org = ?, parent = ?, method = ?, joined = ? WHERE id = ?", o.ID, o.RootID, MethodInvited, db.Micros(tx.Now), account); err != nil {
			return fmt.Errorf("join organization: %w", err)
		}
		o.PolicyTypes = nil
		if featureSet == AllFeatures {
			if err := enableType(ctx, tx, o, SCP); err != nil {
				return err
			}
			o.PolicyTypes = []string{SCP}
		}
		return touch(ctx, tx)
	})
	return o, err
}

// Organization returns the organization that the account is in.
func (s *Service) Organization(ctx context.Context, account string) (Organization, error) {
	var o Organization
	err := s.view(ctx, account, member, func(_ context.Context, _ *db.Tx, found Organization) error {
		o = found
		return nil
	})
	return o, err
}

// Root returns the organization for listing its root, the only one, to those who may.
func (s *Service) Root(ctx context.Context, account string, p Page) (Organization, error) {
	if _, _, err := s.begin(p, "roots "+account); err != nil {
		return Organization{}, err
	}
	var o Organization
	err := s.view(ctx, account, reader, func(_ context.Context, _ *db.Tx, found Organization) error {
		o = found
		return nil
	})
	return o, err
}

// DeleteOrganization dissolves an organization that has no members besides its management account, with its units and policies.
func (s *Service) DeleteOrganization(ctx context.Context, account string) error {
	return s.update(ctx, account, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		var n int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_account WHERE org = ? AND id <> ?", o.ID, o.Management).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.State, "To delete an organization you must first remove all member accounts except the management account.").WithCode("OrganizationNotEmpty")
		}
		if _, err := tx.Exec(ctx, "UPDATE org_account SET org = '', parent = '' WHERE org = ?", o.ID); err != nil {
			return fmt.Errorf("leave organization: %w", err)
		}
		for _, table := range []string{"org_unit", "org_account_request", "org_policy_type", "org_policy", "org_attachment", "org_tag", "org_service_access", "org_delegate"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE org = ?", o.ID); err != nil {
				return fmt.Errorf("delete organization: %w", err)
			}
		}
		_, err := tx.Exec(ctx, "DELETE FROM org_organization WHERE id = ?", o.ID)
		return err
	})
}

// organizationOf returns the zero Organization when the account is in none.
func organizationOf(ctx context.Context, tx *db.Tx, account string) (Organization, error) {
	var o Organization
	var created int64
	err := tx.QueryRow(ctx, `SELECT o.id, o.root, o.management, o.feature_set, o.created, m.email FROM org_account a
		JOIN org_organization o ON o.id = a.org JOIN org_account m ON m.id = o.management WHERE a.id = ?`, account).
		Scan(&o.ID, &o.RootID, &o.Management, &o.FeatureSet, &created, &o.Email)
	if db.NoRows(err) {
		return Organization{}, nil
	}
	if err != nil {
		return Organization{}, fmt.Errorf("read organization: %w", err)
	}
	o.Created = db.Time(created)
	rows, err := tx.Query(ctx, "SELECT type FROM org_policy_type WHERE org = ? ORDER BY type", o.ID)
	if err != nil {
		return Organization{}, fmt.Errorf("read policy types: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return Organization{}, err
		}
		o.PolicyTypes = append(o.PolicyTypes, t)
	}
	return o, rows.Err()
}
