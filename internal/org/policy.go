package org

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/policy"
)

// SCP is the policy type of service control policies, the one that this package implements.
const SCP = "SERVICE_CONTROL_POLICY"

// FullAccessID is the service control policy of AWS that allows everything. It is attached to every new root, unit and account.
const FullAccessID = "p-FullAWSAccess"

const fullAccess = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "*",
      "Resource": "*"
    }
  ]
}`

const (
	maxPolicies      = 10000
	maxPolicyContent = 5120 // characters
)

// otherTypes are the policy types of AWS that are not implemented here.
func otherTypes() []string {
	return []string{"RESOURCE_CONTROL_POLICY", "TAG_POLICY", "BACKUP_POLICY", "AISERVICES_OPT_OUT_POLICY", "CHATBOT_POLICY", "DECLARATIVE_POLICY_EC2",
		"SECURITYHUB_POLICY", "INSPECTOR_POLICY", "UPGRADE_ROLLOUT_POLICY", "BEDROCK_POLICY", "S3_POLICY", "NETWORK_SECURITY_DIRECTOR_POLICY"}
}

// Policy is a policy of an organization, or the one of AWS.
type Policy struct {
	ID, Type, Name, Description string
	Content                     string // exactly as it was put
	AWSManaged                  bool
}

func fullAccessPolicy() Policy {
	return Policy{ID: FullAccessID, Type: SCP, Name: "FullAWSAccess", Description: "Allows access to every operation", Content: fullAccess, AWSManaged: true}
}

func validType(t, parameter string) error {
	switch {
	case t == SCP:
		return nil
	case slices.Contains(otherTypes(), t):
		return unsupportedType(t)
	}
	return errInput("INVALID_ENUM:"+parameter, "%q is not a policy type.", t)
}

func validPolicy(name, description, content string) error {
	if l := utf8.RuneCountInString(name); l < 1 || l > 128 {
		return errInput("INVALID_PATTERN", "The name of a policy has 1 to 128 characters.")
	}
	if utf8.RuneCountInString(description) > 512 {
		return errInput("MAX_LENGTH_EXCEEDED", "The description of a policy has at most 512 characters.")
	}
	if n := utf8.RuneCountInString(content); n > maxPolicyContent {
		return errConstraint("POLICY_CONTENT_LIMIT_EXCEEDED", "A service control policy has at most %d characters, this one has %d.", maxPolicyContent, n)
	}
	_, err := policy.Parse(policy.SCP, content)
	if f := fault.As(err); f != nil {
		return fault.New(fault.Invalid, "The provided policy document does not meet the requirements of the specified policy type. %s", f.Msg).WithCode("MalformedPolicyDocument")
	}
	return err
}

func errPolicyExists(name string) *fault.Error {
	return fault.New(fault.Exists, "A policy with the same name already exists.").WithCode("DuplicatePolicy").WithResource(name)
}

// CreatePolicy stores a policy, attached to nothing. Its type need not be enabled.
func (s *Service) CreatePolicy(ctx context.Context, callerID string, p Policy, tags map[string]string) (Policy, error) {
	if err := validType(p.Type, "POLICY_TYPE"); err != nil {
		return Policy{}, err
	}
	if err := validPolicy(p.Name, p.Description, p.Content); err != nil {
		return Policy{}, err
	}
	if err := validTags(tags, 0); err != nil {
		return Policy{}, err
	}
	p.ID, p.AWSManaged = "p-"+ident.Random(ident.LowerAlnum, 10), false
	err := s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if o.FeatureSet != AllFeatures {
			return errConstraint("ORGANIZATION_NOT_IN_ALL_FEATURES_MODE", "Policies need an organization with all features enabled.")
		}
		var n int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_policy WHERE org = ? AND type = ?", o.ID, p.Type).Scan(&n); err != nil {
			return err
		}
		if n >= maxPolicies {
			return errConstraint("POLICY_NUMBER_LIMIT_EXCEEDED", "An organization can have %d policies of a type.", maxPolicies)
		}
		if taken, err := policyNamed(ctx, tx, o, p); err != nil || taken {
			return first(err, errPolicyExists(p.Name))
		}
		if _, err := tx.Exec(ctx, "INSERT INTO org_policy (id, org, type, name, description, content, created) VALUES (?, ?, ?, ?, ?, ?, ?)", p.ID, o.ID, p.Type, p.Name, p.Description, p.Content, db.Micros(tx.Now)); err != nil {
			return fmt.Errorf("insert policy: %w", err)
		}
		return putTags(ctx, tx, o.ID, p.ID, tags)
	})
	return p, err
}

func policyNamed(ctx context.Context, tx *db.Tx, o Organization, p Policy) (bool, error) {
	if p.Name == fullAccessPolicy().Name {
		return true, nil
	}
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_policy WHERE org = ? AND type = ? AND name = ? AND id <> ?", o.ID, p.Type, p.Name, p.ID).Scan(&n)
	return n > 0, err
}

// UpdatePolicy changes what is not nil. The new content is in force at once wherever the policy is attached.
func (s *Service) UpdatePolicy(ctx context.Context, callerID, id string, name, description, content *string) (p Policy, err error) {
	err = s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if p, err = ownPolicy(ctx, tx, o, id); err != nil {
			return err
		}
		for _, f := range []struct{ to, from *string }{{&p.Name, name}, {&p.Description, description}, {&p.Content, content}} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		if err := validPolicy(p.Name, p.Description, p.Content); err != nil {
			return err
		}
		if taken, err := policyNamed(ctx, tx, o, p); err != nil || taken {
			return first(err, errPolicyExists(p.Name))
		}
		_, err = tx.Exec(ctx, "UPDATE org_policy SET name = ?, description = ?, content = ? WHERE id = ?", p.Name, p.Description, p.Content, id)
		return err
	})
	return p, err
}

// DeletePolicy removes a policy that is attached to nothing.
func (s *Service) DeletePolicy(ctx context.Context, callerID, id string) error {
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if _, err := ownPolicy(ctx, tx, o, id); err != nil {
			return err
		}
		var n int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_attachment WHERE org = ? AND policy = ?", o.ID, id).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.State, "The policy is attached to one or more entities. You must detach it from all roots, organizational units, and accounts before performing this operation.").WithCode("PolicyInUse").WithResource(id)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM org_policy WHERE id = ?", id); err != nil {
			return fmt.Errorf("delete policy: %w", err)
		}
		return forget(ctx, tx, o, id)
	})
}

// Policy returns a policy with its content.
func (s *Service) Policy(ctx context.Context, callerID, id string) (p Policy, err error) {
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		p, err = policyByID(ctx, tx, o, id)
		return err
	})
	return p, err
}

// Policies lists the policies of a type by id, without their content.
func (s *Service) Policies(ctx context.Context, callerID, policyType string, p Page) (out []Policy, next string, err error) {
	if err := validType(policyType, "POLICY_TYPE"); err != nil {
		return nil, "", err
	}
	scope := "policies " + callerID + " " + policyType
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		list, err := policiesWhere(ctx, tx, "org = ? AND type = ? AND id > ? ORDER BY id LIMIT ?", o.ID, policyType, after, limit+1)
		if err != nil {
			return err
		}
		if FullAccessID > after {
			list = append(list, fullAccessPolicy())
			slices.SortFunc(list, func(a, b Policy) int { return strings.Compare(a.ID, b.ID) })
		}
		out, next = finish(s, list, limit, scope, func(p Policy) string { return p.ID })
		return nil
	})
	return out, next, err
}

func policiesWhere(ctx context.Context, tx *db.Tx, where string, args ...any) ([]Policy, error) {
	rows, err := tx.Query(ctx, "SELECT id, type, name, description, content FROM org_policy WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	defer rows.Close()
	var out []Policy
	for rows.Next() {
		var p Policy
		if err := rows.Scan(&p.ID, &p.Type, &p.Name, &p.Description, &p.Content); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

func policyByID(ctx context.Context, tx *db.Tx, o Organization, id string) (Policy, error) {
	if id == FullAccessID {
		return fullAccessPolicy(), nil
	}
	list, err := policiesWhere(ctx, tx, "org = ? AND id = ?", o.ID, id)
	if err == nil && len(list) == 0 {
		err = errNoPolicy(id)
	}
	if err != nil {
		return Policy{}, err
	}
	return list[0], nil
}

// ownPolicy is policyByID for changing: those of AWS are refused.
func ownPolicy(ctx context.Context, tx *db.Tx, o Organization, id string) (Policy, error) {
	p, err := policyByID(ctx, tx, o, id)
	if err == nil && p.AWSManaged {
		err = errInput("IMMUTABLE_POLICY", "You can't change or delete a policy that AWS manages.")
	}
	return p, err
}
