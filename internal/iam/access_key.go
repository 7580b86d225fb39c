package iam

import (
	"context"
	"database/sql"
	"encoding/base32"
	"fmt"
	"strconv"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/ident"
)

// AccessKey is a long-term credential of a user or of an account's root user.
type AccessKey struct {
	ID      string
	User    string // user name; "" for the root user
	Active  bool
	Created time.Time
	Secret  string // only when just created
}

// Use says when and for what a key was last used. The zero value is never.
type Use struct {
	Time            time.Time
	Service, Region string
}

func (s *Service) newAccessKey(account string) (sealedKey, error) {
	id, err := newKeyID(prefixKey, account)
	if err != nil {
		return sealedKey{}, err
	}
	k := sealedKey{AccessKey: AccessKey{ID: id, Active: true, Secret: newSecret()}}
	k.sealed, err = s.secrets.Seal(purposeAccessKey, []byte(k.Secret), k.ID)
	return k, err
}

type sealedKey struct {
	AccessKey
	sealed []byte
}

func (k *sealedKey) insert(ctx context.Context, tx *db.Tx, account, owner string) error {
	k.Created = tx.Now
	_, err := tx.Exec(ctx, `INSERT INTO iam_access_keys (id, account, owner, active, secret, created, last_used, last_service, last_region) VALUES (?, ?, ?, 1, ?, ?, 0, '', '')`,
		k.ID, account, owner, k.sealed, db.Micros(k.Created))
	return err
}

// keyOwner resolves whose keys are meant: a user, or the root user for "".
func keyOwner(ctx context.Context, tx *db.Tx, account, user string) (id, name string, err error) {
	if user == "" {
		return account, "", checkAccount(ctx, tx, account)
	}
	e, err := find(ctx, tx, account, UserRef(user))
	return e.id, e.name, err
}

// CreateAccessKey makes a key of a user ("" is the root user). The reply is the only place where the secret is ever shown.
// Codes: NotFound, Limit.
func (s *Service) CreateAccessKey(ctx context.Context, account, user string) (AccessKey, error) {
	k, err := s.newAccessKey(account)
	if err != nil {
		return AccessKey{}, err
	}
	err = s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		owner, name, err := keyOwner(ctx, tx, account, user)
		if err != nil {
			return err
		}
		k.User = name
		if err := checkRoom(ctx, tx, "AccessKeysPerUser", s.limits.KeysPerUser, `SELECT count(*) FROM iam_access_keys WHERE owner = ?`, owner); err != nil {
			return err
		}
		return k.insert(ctx, tx, account, owner)
	})
	if err != nil {
		return AccessKey{}, err
	}
	return k.AccessKey, nil
}

// AccessKeys lists the keys of a user ("" is the root user).
func (s *Service) AccessKeys(ctx context.Context, account, user string, p Page) (list []AccessKey, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		owner, name, err := keyOwner(ctx, tx, account, user)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT id, active, created FROM iam_access_keys WHERE owner = ?`, owner)
		if err != nil {
			return err
		}
		if list, err = scanKeys(rows, name); err != nil {
			return err
		}
		list, next, err = slice(s, "keys\x00"+owner, p, list, func(k AccessKey) string { return k.ID })
		return err
	})
	return list, next, err
}

func scanKeys(rows *sql.Rows, user string) ([]AccessKey, error) {
	defer rows.Close()
	var out []AccessKey
	for rows.Next() {
		k := AccessKey{User: user}
		var active int64
		if err := rows.Scan(&k.ID, &active, micros{&k.Created}); err != nil {
			return nil, err
		}
		k.Active = active == 1
		out = append(out, k)
	}
	return out, rows.Err()
}

// UpdateAccessKey makes a key of the user active or inactive; an inactive one fails authentication from the next request on.
func (s *Service) UpdateAccessKey(ctx context.Context, account, user, id string, active bool) error {
	var a int64
	if active {
		a = 1
	}
	return s.changeKey(ctx, account, user, id, `UPDATE iam_access_keys SET active = ? WHERE owner = ? AND id = ?`, a)
}

// DeleteAccessKey removes a key of the user for good.
func (s *Service) DeleteAccessKey(ctx context.Context, account, user, id string) error {
	return s.changeKey(ctx, account, user, id, `DELETE FROM iam_access_keys WHERE owner = ? AND id = ?`)
}

func (s *Service) changeKey(ctx context.Context, account, user, id, statement string, args ...any) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		owner, _, err := keyOwner(ctx, tx, account, user)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, statement, append(args, owner, id)...)
		if err == nil && n == 0 {
			return noKey(id)
		}
		return err
	})
}

// LastUsed tells whose key of the account it is and when it was last used, or NotFound.
func (s *Service) LastUsed(ctx context.Context, account, id string) (user string, u Use, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		var owner string
		err := tx.QueryRow(ctx, `SELECT owner, last_used, last_service, last_region FROM iam_access_keys WHERE account = ? AND id = ?`, account, id).
			Scan(&owner, micros{&u.Time}, &u.Service, &u.Region)
		if db.NoRows(err) {
			return noKey(id)
		}
		if err != nil || owner == account {
			return err
		}
		return tx.QueryRow(ctx, `SELECT name FROM iam_users WHERE id = ?`, owner).Scan(&user)
	})
	if pending := s.usage.of(id); err == nil && pending.Time.After(u.Time) {
		u = pending
	}
	return user, u, err
}

// KeyUser returns the user that a key of the account belongs to, "" for the root user; for adapters whose callers may leave
// the user name out.
func (s *Service) KeyUser(ctx context.Context, account, id string) (string, error) {
	user, _, err := s.LastUsed(ctx, account, id)
	return user, err
}

// The account is part of an access key id, as in AWS: of the 80 bits behind the prefix the first is set, the next 40 are the
// account, the rest is random.

const accountShift = 7

// newKeyID returns an access key id of the account.
func newKeyID(prefix, account string) (string, error) {
	n, err := strconv.ParseUint(account, 10, 64)
	if err != nil || !arn.ValidAccount(account) {
		return "", invalid("An account id has 12 digits; %q has not.", account)
	}
	b := make([]byte, 10)
	copy(b[4:], ident.Bytes(6))
	head := 1<<47 | n<<accountShift | uint64(b[5]&(1<<accountShift-1))
	for i := range 6 {
		b[i] = byte(head >> (8 * (5 - i)))
	}
	return prefix + base32.StdEncoding.EncodeToString(b), nil
}

// KeyAccount returns the account that an access key id of either kind belongs to. It says nothing about whether the key exists.
func KeyAccount(id string) (string, error) {
	if len(id) == 20 && (id[:4] == prefixKey || id[:4] == prefixTemporary) {
		if b, err := base32.StdEncoding.DecodeString(id[4:]); err == nil && b[0]&0x80 != 0 {
			var head uint64
			for _, c := range b[:6] {
				head = head<<8 | uint64(c)
			}
			if account := fmt.Sprintf("%012d", head&^(1<<47)>>accountShift); arn.ValidAccount(account) {
				return account, nil
			}
		}
	}
	return "", invalid("Invalid access key id %s", id)
}
