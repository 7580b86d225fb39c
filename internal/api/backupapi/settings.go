package backupapi

import (
	"context"

	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/schemas"

	"strongroom/internal/backup"
	"strongroom/internal/wire"
)

func (a *API) settingOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("DescribeRegionSettings", schemas.DescribeRegionSettings, schemas.DescribeRegionSettingsInput, schemas.DescribeRegionSettingsOutput,
			onAll[awsbackup.DescribeRegionSettingsInput]("DescribeRegionSettings"), a.describeRegionSettings),
		wire.Op("UpdateRegionSettings", schemas.UpdateRegionSettings, schemas.UpdateRegionSettingsInput, nil,
			onAll[awsbackup.UpdateRegionSettingsInput]("UpdateRegionSettings"), a.updateRegionSettings),
		wire.Op("DescribeGlobalSettings", schemas.DescribeGlobalSettings, schemas.DescribeGlobalSettingsInput, schemas.DescribeGlobalSettingsOutput,
			onAll[awsbackup.DescribeGlobalSettingsInput]("DescribeGlobalSettings"), a.describeGlobalSettings),
		wire.Op("UpdateGlobalSettings", schemas.UpdateGlobalSettings, schemas.UpdateGlobalSettingsInput, nil,
			onAll[awsbackup.UpdateGlobalSettingsInput]("UpdateGlobalSettings"), a.updateGlobalSettings),
	}
}

func (a *API) describeRegionSettings(ctx context.Context, c wire.Caller, _ *awsbackup.DescribeRegionSettingsInput) (*awsbackup.DescribeRegionSettingsOutput, error) {
	r, err := a.s.RegionSettings(ctx, c.Account, c.Env.Region)
	return &awsbackup.DescribeRegionSettingsOutput{ResourceTypeOptInPreference: r.OptIn, ResourceTypeManagementPreference: r.Manage}, err
}

func (a *API) updateRegionSettings(ctx context.Context, c wire.Caller, in *awsbackup.UpdateRegionSettingsInput) (*awsbackup.UpdateRegionSettingsOutput, error) {
	return &awsbackup.UpdateRegionSettingsOutput{}, a.s.UpdateRegionSettings(ctx, c.Account, c.Env.Region,
		backup.RegionSettings{OptIn: in.ResourceTypeOptInPreference, Manage: in.ResourceTypeManagementPreference})
}

func (a *API) describeGlobalSettings(ctx context.Context, c wire.Caller, _ *awsbackup.DescribeGlobalSettingsInput) (*awsbackup.DescribeGlobalSettingsOutput, error) {
	settings, updated, err := a.s.GlobalSettings(ctx, c.Account)
	return &awsbackup.DescribeGlobalSettingsOutput{GlobalSettings: settings, LastUpdateTime: when(updated)}, err
}

func (a *API) updateGlobalSettings(ctx context.Context, c wire.Caller, in *awsbackup.UpdateGlobalSettingsInput) (*awsbackup.UpdateGlobalSettingsOutput, error) {
	return &awsbackup.UpdateGlobalSettingsOutput{}, a.s.UpdateGlobalSettings(ctx, c.Account, in.GlobalSettings)
}
