package preflight

import (
	"context"
	"fmt"

	"strongroom/internal/backup"
)

// organization: both accounts in one, and its management account has switched copies between accounts on.
func (k *Checker) organization(ctx context.Context, b *list, p Path) {
	const sameName, enabledName = "both accounts are in one organization", "cross-account backup is enabled in the organization"
	from, err := k.Org.Membership(ctx, p.Source.Account)
	if err != nil {
		b.add(Condition{Name: sameName, Err: err})
		return
	}
	to, err := k.Org.Membership(ctx, p.Destination.Account)
	if err != nil {
		b.add(Condition{Name: sameName, Err: err})
		return
	}
	same := Condition{Name: sameName, OK: from.OrgID != "" && from.OrgID == to.OrgID, Category: AccessDenied}
	if !same.OK {
		same.Message = fmt.Sprintf("%s Account %s is in %s, account %s is in %s.", notSameOrganization,
			p.Source.Account, orNone(from.OrgID), p.Destination.Account, orNone(to.OrgID))
		same.Missing = []Missing{{Account: p.Destination.Account, Policy: "membership in an organization", Note: "create both accounts in one organization"}}
	}
	b.add(same)
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
