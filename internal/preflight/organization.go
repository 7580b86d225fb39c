package preflight

import (
	"context"
	"fmt"

	"strongroom/internal/backup"
)

// SameOrganization is the condition that comes before all others between two accounts: beyond the organization nobody learns
// anything about a vault, not even whether it exists.
func (k *Checker) SameOrganization(ctx context.Context, source, destination string) Condition {
	same := Condition{Name: "both accounts are in one organization", Category: AccessDenied}
	from, err := k.Org.Membership(ctx, source)
	if err != nil {
		same.Err = err
		return same
	}
	to, err := k.Org.Membership(ctx, destination)
	if err != nil {
		same.Err = err
		return same
	}
	if same.OK = from.OrgID != "" && from.OrgID == to.OrgID; !same.OK {
		same.Message = fmt.Sprintf("%s Account %s is in %s, account %s is not in the same one.", notSameOrganization, source, orNone(from.OrgID), destination)
		same.Missing = []Missing{{Account: destination, Policy: "membership in an organization", Note: "create both accounts in one organization"}}
	}
	return same
}

// organization: both accounts in one, and its management account has switched copies between accounts on.
func (k *Checker) organization(ctx context.Context, b *list, p Path) {
	const enabledName = "cross-account backup is enabled in the organization"
	same := k.SameOrganization(ctx, p.Source.Account, p.Destination.Account)
	b.add(same)
	if same.Err != nil {
		return
	}
	from, err := k.Org.Membership(ctx, p.Source.Account)
	if err != nil {
		b.add(Condition{Name: enabledName, Err: err})
		return
	}
	if from.OrgID == "" {
		return
	}
	settings, _, err := k.Backup.GlobalSettings(ctx, p.Source.Account)
	if err != nil {
		b.add(Condition{Name: enabledName, Err: err})
		return
	}
	on := Condition{Name: enabledName, OK: settings[backup.CrossAccountBackup] == "true", Category: FeatureNotEnabled}
	if !on.OK {
		on.Message = fmt.Sprintf("%s Management account %s can switch it on.", copyNotEnabled, from.Management)
		on.Missing = []Missing{{Account: from.Management, Policy: "global settings of AWS Backup", Note: "aws backup update-global-settings --global-settings isCrossAccountBackupEnabled=true"}}
	}
	b.add(on)
}

func orNone(org string) string {
	if org == "" {
		return "no organization"
	}
	return "organization " + org
}
