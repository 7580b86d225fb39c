package iam

import (
	"context"
	"encoding/json"
	"strings"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

// A trust policy names users and roles by ARN, but means those that exist when it is saved: their unique ids are kept beside
// the document. Where an ARN has come to mean another entity, or none, the document is read with the ARN that the entity has now,
// or, when the entity is gone, with its id, which matches nobody.

// checkTrust validates a trust policy and returns the ids of the principals it names, as stored.
func (s *Service) checkTrust(ctx context.Context, tx *db.Tx, text string) (string, error) {
	doc, err := parseDocument(policy.TrustPolicy, text)
	if err != nil {
		return "", err
	}
	if policy.Size(text) > s.limits.TrustPolicySize {
		return "", overQuota("ACLSizePerRole", s.limits.TrustPolicySize)
	}
	ids := map[string]string{}
	for _, p := range doc.Principals() {
		id, err := principalID(ctx, tx, p)
		if err != nil {
			return "", err
		}
		if id == "" {
			return "", malformed(`Invalid principal in policy: "AWS":"%s"`, p)
		}
		if id != arn.AccountOf(p) && id != p { // accounts need no id: they are never made anew
			ids[p] = id
		}
	}
	b, err := json.Marshal(ids)
	return string(b), err
}

// currentTrust returns a role's trust policy with the principals that are gone replaced by their ids, and the other
// accounts whose entities it depends on.
func (s *Service) currentTrust(ctx context.Context, tx *db.Tx, r roleRow) (text string, accounts []string, err error) {
	var ids map[string]string
	if err := json.Unmarshal([]byte(r.trustIDs), &ids); err != nil {
		return "", nil, fault.New(fault.Corrupt, "the trust policy of role %s cannot be read", r.name).WithCause(err)
	}
	gone := map[string]string{}
	for p, id := range ids {
		if a := arn.AccountOf(p); a != r.account {
			accounts = append(accounts, a)
		}
		now, err := principalID(ctx, tx, p)
		if err != nil {
			return "", nil, err
		}
		if now != id {
			if gone[p], err = currentName(ctx, tx, id); err != nil {
				return "", nil, err
			}
		}
	}
	if len(gone) == 0 {
		return r.trust, accounts, nil
	}
	doc, err := s.docs.Parse(policy.TrustPolicy, r.trust)
	if err != nil {
		return "", nil, fault.New(fault.Corrupt, "the trust policy of role %s cannot be read", r.name).WithCause(err)
	}
	return doc.MapPrincipals(func(p string) string {
		if id, ok := gone[p]; ok {
			return id
		}
		return p
	}), accounts, nil
}

// currentName returns the ARN that the user or role with an id has now, or the id when there is none: users can be renamed.
func currentName(ctx context.Context, tx *db.Tx, id string) (string, error) {
	if role, _, session := strings.Cut(id, ":"); session { // the role is gone, and so are its sessions
		return role, nil
	}
	kind := KindRole
	if strings.HasPrefix(id, prefixUser) {
		kind = KindUser
	}
	e := entity{kind: kind}
	err := tx.QueryRow(ctx, `SELECT `+kind.columns()+` FROM `+kind.table()+` WHERE id = ?`, id).Scan(e.scan()...)
	if db.NoRows(err) {
		return id, nil
	}
	return e.arn(), err
}

// principalID resolves what may stand as an AWS principal in a policy: an account (its own id), a user, a role, a session
// of a role (id:session). "" means that there is no such principal.
func principalID(ctx context.Context, tx *db.Tx, principal string) (string, error) {
	if arn.ValidAccount(principal) {
		n, err := count(ctx, tx, `SELECT count(*) FROM iam_accounts WHERE account = ?`, principal)
		if err != nil || n == 0 {
			return "", err
		}
		return principal, nil
	}
	if a, err := arn.Parse(principal); err == nil && a.Partition == "aws" && a.Service == "sts" {
		kind, rest, _ := strings.Cut(a.Resource, "/")
		role, session, ok := strings.Cut(rest, "/")
		if kind != "assumed-role" || !ok || session == "" {
			return "", nil
		}
		e, err := find(ctx, tx, a.Account, RoleRef(role))
		if err != nil || e.name != role {
			return "", missingIsNone(err)
		}
		return e.id + ":" + session, nil
	}
	account, kind, path, name, ok := SplitARN(principal)
	switch {
	case !ok:
		return "", nil
	case kind == "root" && name == "":
		if !arn.ValidAccount(account) {
			return "", nil
		}
		return principalID(ctx, tx, account)
	case kind == "user" || kind == "role":
		e, err := find(ctx, tx, account, Ref{Kind(kind), name})
		if err != nil || e.name != name || e.path != path {
			return "", missingIsNone(err)
		}
		return e.id, nil
	}
	return "", nil
}

func missingIsNone(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// PrincipalID resolves a principal of a policy to its unique id: the account id for an account or its root ARN, AIDA... and
// AROA... for users and roles. "" means that there is none of that name now; policies that store ids beside ARNs use it.
func (s *Service) PrincipalID(ctx context.Context, principal string) (id string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		id, err = principalID(ctx, tx, principal)
		return err
	})
	return id, err
}

// Exists reports whether principal, an account id or the ARN of an account's root, user, role or role session, exists.
func (s *Service) Exists(ctx context.Context, principal string) (bool, error) {
	id, err := s.PrincipalID(ctx, principal)
	return id != "", err
}

// parseDocument validates a document that a caller wants to store.
func parseDocument(kind policy.Kind, text string) (*policy.Document, error) {
	if text == "" {
		return nil, malformed("The policy is empty.")
	}
	doc, err := policy.Parse(kind, text)
	if err != nil {
		if e := fault.As(err); e != nil {
			return nil, malformed("%s", e.Msg)
		}
		return nil, err
	}
	return doc, nil
}
