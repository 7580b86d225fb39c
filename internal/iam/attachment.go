package iam

import (
	"context"
	"strings"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// Attached is a managed policy as the entity it is attached to sees it.
type Attached struct{ Name, ARN string }

// PolicyUser says which entity uses a managed policy.
type PolicyUser struct {
	Ref
	ID string
}

func attachQuota(k Kind) string {
	return map[Kind]string{KindUser: "PoliciesPerUser", KindGroup: "PoliciesPerGroup", KindRole: "PoliciesPerRole"}[k]
}

// Attach attaches a managed policy of the account or of AWS; attaching it again changes nothing. Codes: NotFound, Limit,
// State/PolicyNotAttachable, State/UnmodifiableEntity.
func (s *Service) Attach(ctx context.Context, account string, r Ref, policyARN string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, r)
		if err != nil {
			return err
		}
		p, err := s.findPolicy(ctx, tx, account, policyARN)
		if fault.Is(err, fault.NotFound) {
			return noAttachablePolicy(policyARN)
		}
		if err != nil {
			return err
		}
		if !p.Attachable {
			return fault.New(fault.State, "Cannot attach a Service Role Policy to a Customer Role.").WithCode(CodeNotAttachable).WithResource(policyARN)
		}
		n, err := count(ctx, tx, `SELECT count(*) FROM iam_attachments WHERE owner = ? AND policy_arn = ?`, e.id, p.ARN)
		if err != nil || n > 0 {
			return err
		}
		if err := checkRoom(ctx, tx, attachQuota(r.Kind), s.limits.AttachedPerEntity, `SELECT count(*) FROM iam_attachments WHERE owner = ?`, e.id); err != nil {
			return err
		}
		return insertAttachment(ctx, tx, e, p.ARN)
	})
}

func insertAttachment(ctx context.Context, tx *db.Tx, e entity, policyARN string) error {
	_, err := tx.Exec(ctx, `INSERT INTO iam_attachments (owner, policy_arn, account) VALUES (?, ?, ?)`, e.id, policyARN, e.account)
	return err
}

// Detach undoes Attach; NotFound when the policy was not attached.
func (s *Service) Detach(ctx context.Context, account string, r Ref, policyARN string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, r)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `DELETE FROM iam_attachments WHERE owner = ? AND policy_arn = ?`, e.id, policyARN)
		if err == nil && n == 0 {
			return noPolicy(policyARN)
		}
		return err
	})
}

// AttachedPolicies lists what is attached to an entity, from policies under a path prefix.
func (s *Service) AttachedPolicies(ctx context.Context, account string, r Ref, pathPrefix string, page Page) (list []Attached, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, r)
		if err != nil {
			return err
		}
		arns, err := texts(ctx, tx, `SELECT policy_arn FROM iam_attachments WHERE owner = ?`, e.id)
		if err != nil {
			return err
		}
		for _, a := range arns {
			if _, _, path, name, ok := SplitARN(a); ok && strings.HasPrefix(path, pathPrefix) {
				list = append(list, Attached{name, a})
			}
		}
		list, next, err = slice(s, "attached\x00"+e.id+"\x00"+pathPrefix, page, list, func(a Attached) string { return fold(a.Name) + "\x00" + a.ARN })
		return err
	})
	return list, next, err
}

// UserFilter selects the entities that use a managed policy.
type UserFilter struct {
	Kind              Kind // "" for all
	PathPrefix        string
	Attached, Bounded bool // those it is attached to, those it is the boundary of
}

// PolicyUsers lists the account's entities that use a managed policy.
func (s *Service) PolicyUsers(ctx context.Context, account, policyARN string, f UserFilter, page Page) (list []PolicyUser, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := s.findPolicy(ctx, tx, account, policyARN); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, k := range []Kind{KindGroup, KindRole, KindUser} {
			if f.Kind != "" && f.Kind != k {
				continue
			}
			if f.Attached {
				if list, err = users(ctx, tx, k, f.PathPrefix, list, seen, `id IN (SELECT owner FROM iam_attachments WHERE account = ? AND policy_arn = ?)`, account, policyARN); err != nil {
					return err
				}
			}
			if f.Bounded && k != KindGroup {
				if list, err = users(ctx, tx, k, f.PathPrefix, list, seen, `account = ? AND boundary = ?`, account, policyARN); err != nil {
					return err
				}
			}
		}
		scope := strings.Join([]string{"users of", account, policyARN, string(f.Kind), f.PathPrefix}, "\x00")
		list, next, err = slice(s, scope, page, list, func(u PolicyUser) string { return string(u.Kind) + "\x00" + fold(u.Name) })
		return err
	})
	return list, next, err
}

func users(ctx context.Context, tx *db.Tx, k Kind, pathPrefix string, list []PolicyUser, seen map[string]bool, where string, args ...any) ([]PolicyUser, error) {
	rows, err := tx.Query(ctx, `SELECT `+k.columns()+` FROM `+k.table()+` WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	es, err := scanEntities(rows, k)
	for _, e := range es {
		if strings.HasPrefix(e.path, pathPrefix) && !seen[e.id] {
			seen[e.id] = true
			list = append(list, PolicyUser{Ref{k, e.name}, e.id})
		}
	}
	return list, err
}

func (s *Service) checkBoundary(ctx context.Context, tx *db.Tx, account, policyARN string) error {
	p, err := s.findPolicy(ctx, tx, account, policyARN)
	if err != nil {
		return err
	}
	if !p.Attachable {
		return fault.New(fault.State, "Policy %s cannot be used as a permissions boundary.", policyARN).WithCode(CodeNotAttachable).WithResource(policyARN)
	}
	return nil
}

// SetBoundary sets the permissions boundary of a user or role; "" removes it, NotFound when there was none.
func (s *Service) SetBoundary(ctx context.Context, account string, r Ref, policyARN string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, r)
		if err != nil {
			return err
		}
		if policyARN == "" && e.boundary == "" {
			return fault.New(fault.NotFound, "The %s with name %s does not have a permissions boundary.", r.Kind, e.name)
		}
		if policyARN != "" {
			if err := s.checkBoundary(ctx, tx, account, policyARN); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `UPDATE `+r.Kind.table()+` SET boundary = ? WHERE id = ?`, policyARN, e.id)
		return err
	})
}
