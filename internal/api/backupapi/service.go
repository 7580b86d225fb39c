// Package backupapi speaks the wire protocol of AWS Backup: it translates between the SDK's structures and package backup, and
// holds each operation's authorization row and the table from domain errors to exceptions.
//
// It decides nothing and stores nothing. Every operation is a line of a table in the file of its noun (vault.go,
// recovery_point.go, plan.go, ...) that pairs a row of checks with a handler; service.go joins the tables. Operations of
// the model without a line are answered as unsupported by the wire layer.
//
// Rows follow the Service Authorization Reference: calls about a vault are decided on the vault's ARN, calls about a
// recovery point on the recovery point's ARN together with the policy of the vault that holds it (Lookup). Across
// accounts a vault gives nothing but backup:CopyIntoBackupVault.
//
// Start at Service, then authorize.go.
package backupapi

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/backup/schemas"
	"github.com/aws/smithy-go"

	"strongroom/internal/backup"
	"strongroom/internal/wire"
)

// API holds the handlers.
type API struct {
	s *backup.Service
}

// Service returns the wire service over s.
func Service(s *backup.Service) wire.Service {
	a := &API{s}
	return wire.Service{
		Name:     "backup",
		Protocol: wire.RestJSON,
		Operations: slices.Concat(a.vaultOperations(), a.vaultConfigOperations(), a.pointOperations(), a.resourceOperations(), a.settingOperations(), a.tagOperations(),
			a.planOperations(), a.selectionOperations(), a.backupJobOperations(), a.copyJobOperations(), a.restoreJobOperations()),
		Known:       known(),
		Exception:   exception,
		Constraints: constraints(),
	}
}

// known lists every operation of the model.
func known() []*smithy.Schema {
	return []*smithy.Schema{
		schemas.AssociateBackupVaultMpaApprovalTeam, schemas.CancelLegalHold, schemas.CreateBackupAccessPoint,
		schemas.CreateBackupPlan, schemas.CreateBackupSelection, schemas.CreateBackupVault, schemas.CreateFramework,
		schemas.CreateLegalHold, schemas.CreateLogicallyAirGappedBackupVault, schemas.CreateReportPlan,
		schemas.CreateRestoreAccessBackupVault, schemas.CreateRestoreTestingPlan, schemas.CreateRestoreTestingSelection,
		schemas.CreateTieringConfiguration, schemas.DeleteBackupAccessPoint, schemas.DeleteBackupPlan,
		schemas.DeleteBackupSelection, schemas.DeleteBackupVault, schemas.DeleteBackupVaultAccessPolicy,
		schemas.DeleteBackupVaultLockConfiguration, schemas.DeleteBackupVaultNotifications, schemas.DeleteFramework,
		schemas.DeleteRecoveryPoint, schemas.DeleteReportPlan, schemas.DeleteRestoreTestingPlan,
		schemas.DeleteRestoreTestingSelection, schemas.DeleteTieringConfiguration, schemas.DescribeBackupAccessPoint,
		schemas.DescribeBackupJob, schemas.DescribeBackupVault, schemas.DescribeCopyJob, schemas.DescribeFramework,
		schemas.DescribeGlobalSettings, schemas.DescribeProtectedResource, schemas.DescribeRecoveryPoint,
		schemas.DescribeRegionSettings, schemas.DescribeReportJob, schemas.DescribeReportPlan, schemas.DescribeRestoreJob,
		schemas.DescribeScanJob, schemas.DisassociateBackupVaultMpaApprovalTeam, schemas.DisassociateRecoveryPoint,
		schemas.DisassociateRecoveryPointFromParent, schemas.ExportBackupPlanTemplate, schemas.GetBackupPlan,
		schemas.GetBackupPlanFromJSON, schemas.GetBackupPlanFromTemplate, schemas.GetBackupSelection,
		schemas.GetBackupVaultAccessPolicy, schemas.GetBackupVaultNotifications, schemas.GetLegalHold,
		schemas.GetPITRMalwareScanResults, schemas.GetRecoveryPointIndexDetails, schemas.GetRecoveryPointRestoreMetadata,
		schemas.GetRestoreJobMetadata, schemas.GetRestoreTestingInferredMetadata, schemas.GetRestoreTestingPlan,
		schemas.GetRestoreTestingSelection, schemas.GetSupportedResourceTypes, schemas.GetTieringConfiguration,
		schemas.ListBackupAccessPoints, schemas.ListBackupAccessPointsByRecoveryPoint, schemas.ListBackupAccessPointsByResource,
		schemas.ListBackupJobs, schemas.ListBackupJobSummaries, schemas.ListBackupPlans, schemas.ListBackupPlanTemplates,
		schemas.ListBackupPlanVersions, schemas.ListBackupSelections, schemas.ListBackupVaults, schemas.ListCopyJobs,
		schemas.ListCopyJobSummaries, schemas.ListFrameworks, schemas.ListIndexedRecoveryPoints, schemas.ListLegalHolds,
		schemas.ListProtectedResources, schemas.ListProtectedResourcesByBackupVault, schemas.ListRecoveryPointsByBackupVault,
		schemas.ListRecoveryPointsByLegalHold, schemas.ListRecoveryPointsByResource, schemas.ListReportJobs,
		schemas.ListReportPlans, schemas.ListRestoreAccessBackupVaults, schemas.ListRestoreJobs,
		schemas.ListRestoreJobsByProtectedResource, schemas.ListRestoreJobSummaries, schemas.ListRestoreTestingPlans,
		schemas.ListRestoreTestingSelections, schemas.ListScanJobs, schemas.ListScanJobSummaries, schemas.ListTags,
		schemas.ListTieringConfigurations, schemas.PutBackupVaultAccessPolicy, schemas.PutBackupVaultLockConfiguration,
		schemas.PutBackupVaultNotifications, schemas.PutRestoreValidationResult, schemas.RevokeRestoreAccessBackupVault,
		schemas.StartBackupJob, schemas.StartCopyJob, schemas.StartReportJob, schemas.StartRestoreJob, schemas.StartScanJob,
		schemas.StopBackupJob, schemas.TagResource, schemas.UntagResource, schemas.UpdateBackupPlan, schemas.UpdateFramework,
		schemas.UpdateGlobalSettings, schemas.UpdateRecoveryPointIndexSettings, schemas.UpdateRecoveryPointLifecycle,
		schemas.UpdateRegionSettings, schemas.UpdateReportPlan, schemas.UpdateRestoreTestingPlan,
		schemas.UpdateRestoreTestingSelection, schemas.UpdateTieringConfiguration,
	}
}
