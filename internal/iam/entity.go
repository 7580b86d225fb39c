package iam

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"strongroom/internal/db"
)

// entity is what users, groups and roles have in common.
type entity struct {
	kind     Kind
	id       string
	account  string
	name     string
	path     string
	boundary string // policy ARN or ""
	service  string // the linked service of a service-linked role
	created  time.Time
}

func (e entity) arn() string { return entityARN(e.account, string(e.kind), e.path, e.name) }

func (k Kind) table() string { return "iam_" + string(k) + "s" }

// columns are the entity columns of the kind's table, in scanning order.
func (k Kind) columns() string {
	switch k {
	case KindUser:
		return "id, account, name, path, created, boundary, ''"
	case KindGroup:
		return "id, account, name, path, created, '', ''"
	default:
		return "id, account, name, path, created, boundary, service"
	}
}

func (e *entity) scan() []any {
	return []any{&e.id, &e.account, &e.name, &e.path, micros{&e.created}, &e.boundary, &e.service}
}

// micros scans a stored time.
type micros struct{ t *time.Time }

// Scan implements sql.Scanner.
func (m micros) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time stored as %T", v)
	}
	*m.t = db.Time(n)
	return nil
}

// find returns a named entity of the account or NotFound.
func find(ctx context.Context, tx *db.Tx, account string, r Ref) (entity, error) {
	e := entity{kind: r.Kind}
	err := tx.QueryRow(ctx, `SELECT `+r.Kind.columns()+` FROM `+r.Kind.table()+` WHERE account = ? AND name_key = ?`, account, fold(r.Name)).Scan(e.scan()...)
	if db.NoRows(err) {
		return e, noEntity(r.Kind, r.Name)
	}
	return e, err
}

// findToChange is find for a change by a caller of IAM's API: service-linked roles refuse it.
func findToChange(ctx context.Context, tx *db.Tx, account string, r Ref) (entity, error) {
	e, err := find(ctx, tx, account, r)
	if err == nil && e.service != "" {
		return e, protected(e.name)
	}
	return e, err
}

// entities lists the account's entities of a kind in the order of their names, at most one more than a page.
func (s *Service) entities(ctx context.Context, tx *db.Tx, account string, kind Kind, pathPrefix string, p Page) ([]entity, string, error) {
	list := strings.Join([]string{account, string(kind), pathPrefix}, "\x00")
	after, err := s.after(list, p)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, `SELECT `+kind.columns()+` FROM `+kind.table()+`
		WHERE account = ? AND name_key > ? AND substr(path, 1, ?) = ? ORDER BY name_key LIMIT ?`,
		account, after, len(pathPrefix), pathPrefix, p.size()+1)
	if err != nil {
		return nil, "", err
	}
	out, err := scanEntities(rows, kind)
	if err != nil {
		return nil, "", err
	}
	return cut(s, list, p, out, func(e entity) string { return fold(e.name) })
}

func scanEntities(rows *sql.Rows, kind Kind) ([]entity, error) {
	defer rows.Close()
	var out []entity
	for rows.Next() {
		e := entity{kind: kind}
		if err := rows.Scan(e.scan()...); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// count returns the number of rows of a query that selects count(*).
func count(ctx context.Context, tx *db.Tx, query string, args ...any) (int, error) {
	var n int
	err := tx.QueryRow(ctx, query, args...).Scan(&n)
	return n, err
}

// checkRoom refuses one more row than a quota allows.
func checkRoom(ctx context.Context, tx *db.Tx, quota string, most int, query string, args ...any) error {
	n, err := count(ctx, tx, query, args...)
	if err == nil && n >= most {
		return overQuota(quota, most)
	}
	return err
}

// texts returns the first column of a query's rows.
func texts(ctx context.Context, tx *db.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// renamed stores a new name or path; "" keeps the old one.
func rename(ctx context.Context, tx *db.Tx, e entity, newName, newPath string) error {
	if newName == "" {
		newName = e.name
	} else if err := checkName("new"+strings.ToUpper(e.kind.field()[:1])+e.kind.field()[1:], newName, longestName[e.kind]); err != nil {
		return err
	}
	path := e.path
	if newPath != "" {
		var err error
		if path, err = checkPath(newPath); err != nil {
			return err
		}
	}
	if fold(newName) != fold(e.name) {
		if _, err := find(ctx, tx, e.account, Ref{e.kind, newName}); err == nil {
			return alreadyExists(e.kind, newName)
		}
	}
	_, err := tx.Exec(ctx, `UPDATE `+e.kind.table()+` SET name = ?, name_key = ?, path = ? WHERE id = ?`, newName, fold(newName), path, e.id)
	return err
}
