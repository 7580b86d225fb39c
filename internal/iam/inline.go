package iam

import (
	"context"
	"strings"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

func (s *Service) inlineLimit(k Kind) int {
	return map[Kind]int{KindUser: s.limits.UserInline, KindGroup: s.limits.GroupInline, KindRole: s.limits.RoleInline}[k]
}

// PutInline stores a policy in an entity, replacing one of the same name. Codes: NotFound, Invalid (also
// MalformedPolicyDocument), Limit, State/UnmodifiableEntity.
func (s *Service) PutInline(ctx context.Context, account string, r Ref, name, document string) error {
	if err := checkName("policyName", name, 128); err != nil {
		return err
	}
	if _, err := parseDocument(policy.Identity, document); err != nil {
		return err
	}
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, r)
		if err != nil {
			return err
		}
		others, err := texts(ctx, tx, `SELECT document FROM iam_inline WHERE owner = ? AND name <> ?`, e.id, name)
		if err != nil {
			return err
		}
		if most := s.inlineLimit(r.Kind); policy.Size(strings.Join(append(others, document), "")) > most {
			return fault.New(fault.Limit, "Maximum policy size of %d bytes exceeded for %s %s", most, r.Kind, e.name)
		}
		_, err = tx.Exec(ctx, `INSERT INTO iam_inline (owner, name, document) VALUES (?, ?, ?) ON CONFLICT (owner, name) DO UPDATE SET document = excluded.document`, e.id, name, document)
		return err
	})
}

// Inline returns the document of an inline policy, or NotFound.
func (s *Service) Inline(ctx context.Context, account string, r Ref, name string) (owner, document string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, r)
		if err != nil {
			return err
		}
		owner = e.name
		err = tx.QueryRow(ctx, `SELECT document FROM iam_inline WHERE owner = ? AND name = ?`, e.id, name).Scan(&document)
		if db.NoRows(err) {
			return noInline(r.Kind, name)
		}
		return err
	})
	return owner, document, err
}

// InlineNames lists the names of an entity's inline policies.
func (s *Service) InlineNames(ctx context.Context, account string, r Ref, p Page) (names []string, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, r)
		if err != nil {
			return err
		}
		if names, err = texts(ctx, tx, `SELECT name FROM iam_inline WHERE owner = ?`, e.id); err != nil {
			return err
		}
		names, next, err = slice(s, "inline\x00"+e.id, p, names, func(n string) string { return n })
		return err
	})
	return names, next, err
}

// DeleteInline removes an inline policy, or NotFound.
func (s *Service) DeleteInline(ctx context.Context, account string, r Ref, name string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, r)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `DELETE FROM iam_inline WHERE owner = ? AND name = ?`, e.id, name)
		if err == nil && n == 0 {
			return noInline(r.Kind, name)
		}
		return err
	})
}
