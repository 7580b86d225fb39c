package kms

import (
	"context"
	"fmt"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// ServiceKey returns the ARN of the account's own key for a service in a region, made on first use: alias is "aws/backup". Its
// policy lets the account's principals use it through that service only, and nobody change it.
func (s *Service) ServiceKey(ctx context.Context, account, region, alias string) (string, error) {
	if alias != "aws/backup" {
		return "", fault.New(fault.Unsupported, "there is no service key %s", alias)
	}
	find := func(ctx context.Context, tx *db.Tx) (id string, err error) {
		err = tx.QueryRow(ctx, "SELECT key FROM kms_alias WHERE account = ? AND region = ? AND name = ?", account, region, "alias/"+alias).Scan(&id)
		if db.NoRows(err) {
			return "", nil
		}
		return id, err
	}
	var id string
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		id, err = find(ctx, tx)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("find service key: %w", err)
	}
	if id != "" {
		return keyARN(account, region, id), nil
	}
	text, err := managedPolicy(account, "backup."+region+".amazonaws.com")
	if err != nil {
		return "", err
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if id, err = find(ctx, tx); err != nil || id != "" {
			return err
		}
		k := Key{
			ID: ident.UUID(), Account: account, Region: region, Manager: ManagerAWS, State: Enabled, Policy: text,
			Description:  "Default key that protects backup vaults when no other key is given",
			RotationDays: defaultRotationDays, NextRotation: tx.Now.Add(defaultRotationDays * day),
		}
		if err := s.insertKey(ctx, tx, &k, nil); err != nil {
			return err
		}
		id = k.ID
		_, err = tx.Exec(ctx, "INSERT INTO kms_alias (account, region, name, key, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
			account, region, "alias/"+alias, id, db.Micros(tx.Now), db.Micros(tx.Now))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("make service key: %w", err)
	}
	return keyARN(account, region, id), nil
}

// RenewServiceKey makes another service key in the place of one that is gone or cannot be opened, as when the catalog was damaged:
// the alias is the new one's from then on. Nothing that the old one encrypted is lost by it; nothing becomes readable either.
func (s *Service) RenewServiceKey(ctx context.Context, account, region, alias string) (string, error) {
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM kms_alias WHERE account = ? AND region = ? AND name = ?", account, region, "alias/"+alias)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("renew service key: %w", err)
	}
	return s.ServiceKey(ctx, account, region, alias)
}
