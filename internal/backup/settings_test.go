package backup

import (
	"testing"

	"strongroom/internal/fault"
)

func TestRegionSettingsMerge(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		r, err := f.RegionSettings(ctx, testAccount, testRegion)
		must(t, err)
		if len(r.OptIn) != len(resourceTypes) || !r.OptIn["EFS"] || !r.Manage["DynamoDB"] || len(r.Manage) != len(managedTypes) {
			t.Fatalf("%+v", r)
		}
		must(t, f.UpdateRegionSettings(ctx, testAccount, testRegion, RegionSettings{OptIn: map[string]bool{"EFS": false, "SAP HANA on Amazon EC2": false}}))
		must(t, f.UpdateRegionSettings(ctx, testAccount, testRegion, RegionSettings{OptIn: map[string]bool{"EFS": true}, Manage: map[string]bool{"DynamoDB": false, "S3": false}}))
		r, err = f.RegionSettings(ctx, testAccount, testRegion)
		must(t, err)
		if !r.OptIn["EFS"] || r.OptIn["SAP HANA on Amazon EC2"] || !r.OptIn["S3"] || r.Manage["DynamoDB"] || !r.Manage["EFS"] || len(r.Manage) != len(managedTypes) {
			t.Fatalf("%+v", r)
		}
		want(t, f.UpdateRegionSettings(ctx, testAccount, testRegion, RegionSettings{OptIn: map[string]bool{"Floppy": true}}), fault.Invalid, "")
		want(t, f.UpdateRegionSettings(ctx, testAccount, testRegion, RegionSettings{Manage: map[string]bool{"Floppy": true}}), fault.Invalid, "")
		for _, at := range [][2]string{{testOther, testRegion}, {testAccount, "eu-west-1"}} {
			if r, err = f.RegionSettings(ctx, at[0], at[1]); err != nil || !r.OptIn["SAP HANA on Amazon EC2"] {
				t.Fatalf("%v saw another's settings: %v %v", at, r, err)
			}
		}
	})
}

func TestGlobalSettingsBelongToTheOrganization(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		settings, updated, err := f.GlobalSettings(ctx, testAccount)
		must(t, err)
		if settings[CrossAccountBackup] != "false" || len(settings) != 3 || !updated.IsZero() {
			t.Fatal(settings, updated)
		}
		for _, account := range []string{testAccount, "333333333333"} {
			want(t, f.UpdateGlobalSettings(ctx, account, map[string]string{CrossAccountBackup: "true"}), fault.State, "Organization")
		}
		_, _, err = f.GlobalSettings(ctx, "333333333333")
		want(t, err, fault.State, "Organization")
		want(t, f.UpdateGlobalSettings(ctx, testManager, nil), fault.Missing, "")
		want(t, f.UpdateGlobalSettings(ctx, testManager, map[string]string{"isSunny": "true"}), fault.Invalid, "")
		want(t, f.UpdateGlobalSettings(ctx, testManager, map[string]string{CrossAccountBackup: "yes"}), fault.Invalid, "")
		must(t, f.UpdateGlobalSettings(ctx, testManager, map[string]string{CrossAccountBackup: "true"}))
		must(t, f.UpdateGlobalSettings(ctx, testManager, map[string]string{MultiPartyApproval: "false"}))
		settings, updated, err = f.GlobalSettings(ctx, testOther)
		must(t, err)
		if settings[CrossAccountBackup] != "true" || !updated.Equal(f.clock.Now()) {
			t.Fatal(settings, updated)
		}
	})
}
