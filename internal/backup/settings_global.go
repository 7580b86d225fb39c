package backup

import (
	"context"
	"slices"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// The settings of an organization. Each is "true" or "false"; what was never set is "false".
const (
	CrossAccountBackup     = "isCrossAccountBackupEnabled"
	MultiPartyApproval     = "isMpaEnabled"
	DelegatedAdministrator = "isDelegatedAdministratorEnabled"
)

var globalSettings = []string{CrossAccountBackup, MultiPartyApproval, DelegatedAdministrator}

// GlobalSettings returns the settings of the account's organization and when they last changed (zero: never).
// Errors: State when the account is in no organization.
func (s *Service) GlobalSettings(ctx context.Context, account string) (settings map[string]string, updated time.Time, err error) {
	m, err := s.Org.Membership(ctx, account)
	if err != nil {
		return nil, time.Time{}, err
	}
	if m.OrgID == "" {
		return nil, time.Time{}, fault.New(fault.State, "Account %s is not a member of an organization.", account).WithCode("Organization")
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		settings, updated, err = organizationSettings(ctx, tx, m.OrgID)
		return err
	})
	return settings, updated, err
}

func organizationSettings(ctx context.Context, tx *db.Tx, orgID string) (map[string]string, time.Time, error) {
	settings := map[string]string{}
	for _, name := range globalSettings {
		settings[name] = "false"
	}
	rows, err := tx.Query(ctx, "SELECT name, value, updated FROM global_setting WHERE organization = ?", orgID)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer rows.Close()
	var latest int64
	for rows.Next() {
		var name, value string
		var updated int64
		if err := rows.Scan(&name, &value, &updated); err != nil {
			return nil, time.Time{}, err
		}
		settings[name], latest = value, max(latest, updated)
	}
	return settings, db.Time(latest), rows.Err()
}

// UpdateGlobalSettings changes settings of the organization that the account manages. Errors: State when it manages none;
// Invalid for an unknown setting or value; Missing when nothing is given.
func (s *Service) UpdateGlobalSettings(ctx context.Context, account string, change map[string]string) error {
	m, err := s.Org.Membership(ctx, account)
	if err != nil {
		return err
	}
	if m.OrgID == "" || m.Management != account {
		return fault.New(fault.State, "Only the management account of an organization can change its global settings.").WithCode("Organization")
	}
	if len(change) == 0 {
		return fault.New(fault.Missing, "GlobalSettings must name at least one setting.")
	}
	for name, value := range change {
		if !slices.Contains(globalSettings, name) {
			return fault.New(fault.Invalid, "Invalid global setting %q.", name).WithContext(name)
		}
		if value != "true" && value != "false" {
			return fault.New(fault.Invalid, "Invalid value %q of global setting %s: it must be true or false.", value, name).WithContext(name)
		}
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		for name, value := range change {
			if _, err := tx.Exec(ctx, `INSERT INTO global_setting (organization, name, value, updated) VALUES (?, ?, ?, ?)
				ON CONFLICT (organization, name) DO UPDATE SET value = excluded.value, updated = excluded.updated`, m.OrgID, name, value, db.Micros(tx.Now)); err != nil {
				return err
			}
		}
		return nil
	})
}
