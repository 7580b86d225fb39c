package kms

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// Alias is another name of a key, unique in its account and region.
type Alias struct {
	Name             string // "alias/..."
	ARN              string
	KeyID            string
	Created, Updated time.Time
}

var aliasForm = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)

const maxAliases = 50 // of one key, as in AWS

func validAlias(name string) error {
	switch {
	case !strings.HasPrefix(name, "alias/"):
		return errInvalid("Alias must start with the prefix \"alias/\". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html").WithCode(CodeInvalidAliasName)
	case strings.HasPrefix(name, "alias/aws/"):
		return errInvalid("%s is reserved: aliases that begin with alias/aws/ belong to services", name).WithCode(CodeInvalidAliasName)
	case !aliasForm.MatchString(name):
		return errInvalid("%s contains invalid characters for an alias", name).WithCode(CodeInvalidAliasName)
	}
	return nil
}

// CreateAlias gives the key, which must be in the account that the alias will be in, another name.
func (s *Service) CreateAlias(ctx context.Context, name, keyARN string) error {
	if err := validAlias(name); err != nil {
		return err
	}
	return s.change(ctx, keyARN, toManage, func(ctx context.Context, tx *db.Tx, k *Key) error {
		if err := roomForAlias(ctx, tx, *k); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO kms_alias (account, region, name, key, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
			k.Account, k.Region, name, k.ID, db.Micros(tx.Now), db.Micros(tx.Now))
		if db.Duplicate(err) {
			return fault.New(fault.Exists, "An alias with the name %s already exists", arn.Make("kms", k.Region, k.Account, name)).WithResource(name)
		}
		if err != nil {
			return fmt.Errorf("insert alias: %w", err)
		}
		return nil
	})
}

// UpdateAlias points an existing alias to another key of the same account and region.
func (s *Service) UpdateAlias(ctx context.Context, name, keyARN string) error {
	if err := validAlias(name); err != nil {
		return err
	}
	return s.change(ctx, keyARN, toManage, func(ctx context.Context, tx *db.Tx, k *Key) error {
		if err := roomForAlias(ctx, tx, *k); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "UPDATE kms_alias SET key = ?, updated = ? WHERE account = ? AND region = ? AND name = ?", k.ID, db.Micros(tx.Now), k.Account, k.Region, name)
		if err != nil {
			return fmt.Errorf("update alias: %w", err)
		}
		if n == 0 {
			return errNoAlias(arn.Make("kms", k.Region, k.Account, name))
		}
		return nil
	})
}

func roomForAlias(ctx context.Context, tx *db.Tx, k Key) error {
	var n int
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM kms_alias WHERE key = ?", k.ID).Scan(&n); err != nil {
		return fmt.Errorf("count aliases: %w", err)
	}
	if n >= maxAliases {
		return fault.New(fault.Limit, "%s has %d aliases, the most a key can have", k.ARN(), n).WithResource(k.ARN())
	}
	return nil
}

// DeleteAlias removes an alias; the key stays as it is.
func (s *Service) DeleteAlias(ctx context.Context, account, region, name string) error {
	if err := validAlias(name); err != nil {
		return err
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM kms_alias WHERE account = ? AND region = ? AND name = ?", account, region, name)
		if err != nil {
			return fmt.Errorf("delete alias: %w", err)
		}
		if n == 0 {
			return errNoAlias(arn.Make("kms", region, account, name))
		}
		return nil
	})
}

// Aliases lists the account's aliases in the region by name: at most limit after the name `after`, of one key if keyID is not "".
func (s *Service) Aliases(ctx context.Context, account, region, keyID, after string, limit int) (out []Alias, more bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		out = nil
		rows, err := tx.Query(ctx, "SELECT name, key, created, updated FROM kms_alias WHERE account = ? AND region = ? AND name > ? AND (? = '' OR key = ?) ORDER BY name LIMIT ?",
			account, region, after, keyID, keyID, limit+1)
		if err != nil {
			return fmt.Errorf("list aliases: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var a Alias
			var created, updated int64
			if err := rows.Scan(&a.Name, &a.KeyID, &created, &updated); err != nil {
				return err
			}
			a.ARN, a.Created, a.Updated = arn.Make("kms", region, account, a.Name), db.Time(created), db.Time(updated)
			out = append(out, a)
		}
		return rows.Err()
	})
	if len(out) > limit {
		return out[:limit], true, err
	}
	return out, false, err
}
