package backup

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// RegionSettings are an account's settings in one region.
type RegionSettings struct {
	OptIn  map[string]bool // by resource type: selections by tag and by service pattern take it in
	Manage map[string]bool // by resource type: the backup service manages its recovery points in full
}

// managedTypes are the types for which full management can be chosen.
var managedTypes = []string{"DynamoDB", "EFS"}

// RegionSettings returns the settings with every known type: what was never set is on.
func (s *Service) RegionSettings(ctx context.Context, account, region string) (r RegionSettings, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		r, err = regionSettings(ctx, tx, account, region)
		return err
	})
	return r, err
}

// regionSettings is RegionSettings within a transaction.
func regionSettings(ctx context.Context, tx *db.Tx, account, region string) (RegionSettings, error) {
	set, err := storedSettings(ctx, tx, account, region)
	if err != nil {
		return RegionSettings{}, err
	}
	r := RegionSettings{OptIn: map[string]bool{}, Manage: map[string]bool{}}
	for _, t := range resourceTypes {
		r.OptIn[t] = true
	}
	for _, t := range managedTypes {
		r.Manage[t] = true
	}
	maps.Copy(r.OptIn, set.OptIn)
	maps.Copy(r.Manage, set.Manage)
	return r, nil
}

func storedSettings(ctx context.Context, tx *db.Tx, account, region string) (RegionSettings, error) {
	r := RegionSettings{OptIn: map[string]bool{}, Manage: map[string]bool{}}
	var optIn, manage string
	err := tx.QueryRow(ctx, "SELECT opt_in, manage FROM region_setting WHERE account = ? AND region = ?", account, region).Scan(&optIn, &manage)
	if db.NoRows(err) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(optIn), &r.OptIn)
	}
	if err == nil {
		err = json.Unmarshal([]byte(manage), &r.Manage)
	}
	return r, err
}

// UpdateRegionSettings merges the given types into the settings. Management preferences of types that have no choice are
// ignored, as AWS does. Errors: Invalid for an unknown type.
func (s *Service) UpdateRegionSettings(ctx context.Context, account, region string, change RegionSettings) error {
	for _, m := range []map[string]bool{change.OptIn, change.Manage} {
		for t := range m {
			if !slices.Contains(resourceTypes, t) {
				return fault.New(fault.Invalid, "Invalid resource type %q.", t).WithContext(t)
			}
		}
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		set, err := storedSettings(ctx, tx, account, region)
		if err != nil {
			return err
		}
		maps.Copy(set.OptIn, change.OptIn)
		for t, on := range change.Manage {
			if slices.Contains(managedTypes, t) {
				set.Manage[t] = on
			}
		}
		optIn, err := json.Marshal(set.OptIn)
		if err != nil {
			return err
		}
		manage, err := json.Marshal(set.Manage)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO region_setting (account, region, opt_in, manage) VALUES (?, ?, ?, ?)
			ON CONFLICT (account, region) DO UPDATE SET opt_in = excluded.opt_in, manage = excluded.manage`, account, region, string(optIn), string(manage))
		return err
	})
}
