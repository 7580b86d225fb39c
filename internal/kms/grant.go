package kms

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// Grant allows its grantee a list of operations on one key, until it is retired or revoked.
type Grant struct {
	ID       string // 64 hex digits
	KeyARN   string
	Name     string
	Grantee  string // ARN, or a service's name, e.g. "backup.amazonaws.com"
	Retiring string // who may retire it besides issuer and grantee; may be ""
	Issuer   string // ARN of the account root of whoever created it
	Ops      []string
	Equals   map[string]string // the request's encryption context must be this
	Subset   map[string]string // the request's encryption context must contain this
	Created  time.Time
}

// NewGrant says what grant to make.
type NewGrant struct {
	// Issuer is the 12-digit account of whoever creates it.
	Issuer            string
	Name              string
	Grantee, Retiring string
	Operations        []string
	// Equals and Subset are the constraint; at most one of them is not nil.
	Equals, Subset map[string]string
	// Service allows service names as grantee and retiring principal. Only the node's own services set it.
	Service bool
}

// GrantOperations are the operations that a grant on a symmetric key can allow.
func GrantOperations() []string {
	return []string{"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "CreateGrant", "RetireGrant", "DescribeKey"}
}

const maxGrants = 50000 // of one key, as in AWS

// CreateGrant makes a grant and returns it with a token that names it. When name is given and the key has a grant equal in every
// property, that one is returned instead, with a new token.
func (s *Service) CreateGrant(ctx context.Context, keyARN string, n NewGrant) (g Grant, token string, err error) {
	if err := s.validGrant(ctx, n); err != nil {
		return Grant{}, "", err
	}
	g = Grant{
		ID: ident.Random(ident.Hex, 64), KeyARN: keyARN, Name: n.Name, Grantee: n.Grantee, Retiring: n.Retiring,
		Issuer: arn.Root(n.Issuer), Ops: slices.Compact(slices.Sorted(slices.Values(n.Operations))), Equals: n.Equals, Subset: n.Subset,
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		k, err := usable(ctx, tx, keyARN)
		if err != nil {
			return err
		}
		digest := g.digest()
		if g.Name != "" {
			same, err := grantsWhere(ctx, tx, "g.key = ? AND g.digest = ?", k.ID, digest)
			if err != nil {
				return err
			}
			if len(same) > 0 {
				g = same[0]
				return nil
			}
		}
		var have int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM kms_grant WHERE key = ?", k.ID).Scan(&have); err != nil {
			return fmt.Errorf("count grants: %w", err)
		}
		if have >= maxGrants {
			return fault.New(fault.Limit, "%s has %d grants, the most a key can have", keyARN, have).WithResource(keyARN)
		}
		kind, constraint := g.constraint()
		g.Created = tx.Now
		_, err = tx.Exec(ctx, "INSERT INTO kms_grant (id, key, name, grantee, retiring, issuer, operations, constraint_kind, constraint_context, digest, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			g.ID, k.ID, g.Name, g.Grantee, g.Retiring, g.Issuer, strings.Join(g.Ops, ","), kind, constraint, digest, db.Micros(tx.Now))
		if err != nil {
			return fmt.Errorf("insert grant: %w", err)
		}
		return nil
	})
	if err != nil {
		return Grant{}, "", err
	}
	return g, s.grantToken(g.ID), nil
}

// CheckGrant says whether CreateGrant would accept n, without making anything.
func (s *Service) CheckGrant(ctx context.Context, keyARN string, n NewGrant) error {
	if err := s.validGrant(ctx, n); err != nil {
		return err
	}
	return s.Usable(ctx, keyARN)
}

func (s *Service) validGrant(ctx context.Context, n NewGrant) error {
	if len(n.Operations) == 0 {
		return errInvalid("Operations must name at least one operation")
	}
	for _, o := range n.Operations {
		if !slices.Contains(GrantOperations(), o) {
			return errInvalid("Operation %s cannot be granted on a symmetric key; those that can are %s", o, strings.Join(GrantOperations(), ", "))
		}
	}
	if n.Equals != nil && n.Subset != nil {
		return errInvalid("A grant has one constraint: EncryptionContextEquals or EncryptionContextSubset")
	}
	for _, c := range []map[string]string{n.Equals, n.Subset} {
		if len(c) > 8 {
			return errInvalid("A grant constraint has at most 8 pairs")
		}
		for k, v := range c {
			if len(k) > 384 || len(v) > 384 {
				return errInvalid("The keys and values of a grant constraint have at most 384 characters")
			}
		}
	}
	if err := s.validGrantPrincipal(ctx, n.Grantee, n.Service); err != nil {
		return err
	}
	if n.Retiring != "" {
		return s.validGrantPrincipal(ctx, n.Retiring, n.Service)
	}
	return nil
}

func (s *Service) validGrantPrincipal(ctx context.Context, p string, service bool) error {
	if service && strings.HasSuffix(p, ".amazonaws.com") && !strings.Contains(p, ":") {
		return nil
	}
	a, err := arn.Parse(p)
	if err != nil || a.Service != "iam" && a.Service != "sts" || !arn.ValidAccount(a.Account) || s.PrincipalExists != nil && !s.PrincipalExists(ctx, p) {
		return errInvalid("ARN does not refer to a valid principal: %s", p).WithCode(CodeInvalidArn)
	}
	return nil
}

// constraint returns the constraint as it is stored.
func (g Grant) constraint() (kind, context string) {
	c := g.Equals
	switch {
	case g.Equals != nil:
		kind = "EncryptionContextEquals"
	case g.Subset != nil:
		kind, c = "EncryptionContextSubset", g.Subset
	default:
		return "", ""
	}
	b, err := json.Marshal(c) // map keys come out sorted
	if err != nil {
		panic("kms: a map of strings is always JSON: " + err.Error())
	}
	return kind, string(b)
}

// digest is equal for grants with equal properties.
func (g Grant) digest() string {
	kind, c := g.constraint()
	sum := sha256.Sum256(frame(g.Name, g.Grantee, g.Retiring, g.Issuer, strings.Join(g.Ops, ","), kind, c))
	return hex.EncodeToString(sum[:])
}

// GrantFilter narrows a list of grants; empty fields match everything.
type GrantFilter struct {
	ID, Grantee string
}

// Grants lists the key's grants by id: at most limit after the id `after`, and whether there are more.
func (s *Service) Grants(ctx context.Context, keyARN string, f GrantFilter, after string, limit int) (out []Grant, more bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		k, err := keyByARN(ctx, tx, keyARN)
		if err != nil {
			return err
		}
		out, err = grantsWhere(ctx, tx, "g.key = ? AND (? = '' OR g.id = ?) AND (? = '' OR g.grantee = ?) AND g.id > ? ORDER BY g.id LIMIT ?",
			k.ID, f.ID, f.ID, f.Grantee, f.Grantee, after, limit+1)
		return err
	})
	if len(out) > limit {
		return out[:limit], true, err
	}
	return out, false, err
}

// RetirableGrants lists the grants on the region's keys, of any account, that name principal as retiring principal.
func (s *Service) RetirableGrants(ctx context.Context, region, principal, after string, limit int) (out []Grant, more bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		out, err = grantsWhere(ctx, tx, "g.retiring = ? AND k.region = ? AND g.id > ? ORDER BY g.id LIMIT ?", principal, region, after, limit+1)
		return err
	})
	if len(out) > limit {
		return out[:limit], true, err
	}
	return out, false, err
}

// Grant returns one grant of a key; NotFound when it is not there.
func (s *Service) Grant(ctx context.Context, keyARN, id string) (Grant, error) {
	list, _, err := s.Grants(ctx, keyARN, GrantFilter{ID: id}, "", 1)
	if err != nil {
		return Grant{}, err
	}
	if len(list) == 0 {
		return Grant{}, fault.New(fault.NotFound, "Grant ID %s not found", id).WithResource(id)
	}
	return list[0], nil
}

// RevokeGrant ends a grant; whoever may is decided by policies.
func (s *Service) RevokeGrant(ctx context.Context, keyARN, id string) error {
	return s.endGrant(ctx, keyARN, id)
}

// RetireGrant ends a grant that is no longer needed; whoever may is decided by the grant (Grant.RetirableBy).
func (s *Service) RetireGrant(ctx context.Context, keyARN, id string) error {
	return s.endGrant(ctx, keyARN, id)
}

func (s *Service) endGrant(ctx context.Context, keyARN, id string) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		k, err := keyByARN(ctx, tx, keyARN)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "DELETE FROM kms_grant WHERE key = ? AND id = ?", k.ID, id)
		if err != nil {
			return fmt.Errorf("delete grant: %w", err)
		}
		if n == 0 {
			return fault.New(fault.NotFound, "Grant ID %s not found", id).WithResource(id)
		}
		return nil
	})
}

// grantsWhere reads grants by a condition over kms_grant g and kms_key k.
func grantsWhere(ctx context.Context, tx *db.Tx, where string, args ...any) ([]Grant, error) {
	rows, err := tx.Query(ctx, `SELECT g.id, k.account, k.region, k.id, g.name, g.grantee, g.retiring, g.issuer, g.operations, g.constraint_kind, g.constraint_context, g.created
		FROM kms_grant g JOIN kms_key k ON k.id = g.key WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	return scanGrants(rows)
}

func scanGrants(rows *sql.Rows) ([]Grant, error) {
	defer rows.Close()
	var out []Grant
	for rows.Next() {
		var g Grant
		var account, region, key, ops, kind, constraint string
		var created int64
		if err := rows.Scan(&g.ID, &account, &region, &key, &g.Name, &g.Grantee, &g.Retiring, &g.Issuer, &ops, &kind, &constraint, &created); err != nil {
			return nil, err
		}
		g.KeyARN, g.Ops, g.Created = keyARN(account, region, key), strings.Split(ops, ","), db.Time(created)
		c := map[string]string{}
		if constraint != "" {
			if err := json.Unmarshal([]byte(constraint), &c); err != nil {
				return nil, fault.New(fault.Corrupt, "the constraint of grant %s cannot be read", g.ID)
			}
		}
		switch kind {
		case "EncryptionContextEquals":
			g.Equals = c
		case "EncryptionContextSubset":
			g.Subset = c
		}
		out = append(out, g)
	}
	return out, rows.Err()
}
