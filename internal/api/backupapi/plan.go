package backupapi

import (
	"context"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/schemas"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/access"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/schedule"
	"strongroom/internal/wire"
)

func (a *API) planOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateBackupPlan", schemas.CreateBackupPlan, schemas.CreateBackupPlanInput, schemas.CreateBackupPlanOutput, createPlanChecks, a.createPlan),
		wire.Op("GetBackupPlan", schemas.GetBackupPlan, schemas.GetBackupPlanInput, schemas.GetBackupPlanOutput,
			onPlan("GetBackupPlan", func(in *awsbackup.GetBackupPlanInput) *string { return in.BackupPlanId }), a.getPlan),
		wire.Op("UpdateBackupPlan", schemas.UpdateBackupPlan, schemas.UpdateBackupPlanInput, schemas.UpdateBackupPlanOutput,
			onPlan("UpdateBackupPlan", func(in *awsbackup.UpdateBackupPlanInput) *string { return in.BackupPlanId }), a.updatePlan),
		wire.Op("DeleteBackupPlan", schemas.DeleteBackupPlan, schemas.DeleteBackupPlanInput, schemas.DeleteBackupPlanOutput,
			onPlan("DeleteBackupPlan", func(in *awsbackup.DeleteBackupPlanInput) *string { return in.BackupPlanId }), a.deletePlan),
		wire.Op("ListBackupPlans", schemas.ListBackupPlans, schemas.ListBackupPlansInput, schemas.ListBackupPlansOutput,
			onAll[awsbackup.ListBackupPlansInput]("ListBackupPlans"), a.listPlans),
		wire.Op("ListBackupPlanVersions", schemas.ListBackupPlanVersions, schemas.ListBackupPlanVersionsInput, schemas.ListBackupPlanVersionsOutput,
			onPlan("ListBackupPlanVersions", func(in *awsbackup.ListBackupPlanVersionsInput) *string { return in.BackupPlanId }), a.listPlanVersions),
	}
}

// onPlan is the row of calls about a plan of the caller's account, which the input names.
func onPlan[In any](action string, id func(*In) *string) wire.Checks[In] {
	return func(_ context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		return []access.Check{{Action: "backup:" + action, Resource: backup.PlanARN(c.Account, c.Env.Region, aws.ToString(id(in)))}}, nil
	}
}

func createPlanChecks(_ context.Context, c wire.Caller, in *awsbackup.CreateBackupPlanInput) ([]access.Check, error) {
	return []access.Check{{Action: "backup:CreateBackupPlan", Resource: backup.PlanARN(c.Account, c.Env.Region, "*"), Context: requestTags(in.BackupPlanTags)}}, nil
}

func (a *API) createPlan(ctx context.Context, c wire.Caller, in *awsbackup.CreateBackupPlanInput) (*awsbackup.CreateBackupPlanOutput, error) {
	doc, err := fromPlan(in.BackupPlan)
	if err != nil {
		return nil, err
	}
	p, err := a.s.CreatePlan(ctx, c.Account, c.Env.Region, doc, in.BackupPlanTags, aws.ToString(in.CreatorRequestId))
	if err != nil {
		return nil, err
	}
	return &awsbackup.CreateBackupPlanOutput{
		BackupPlanId: &p.ID, BackupPlanArn: text(p.ARN()), VersionId: &p.VersionID, CreationDate: when(p.Created), AdvancedBackupSettings: toAdvanced(p.Advanced),
	}, nil
}

func (a *API) updatePlan(ctx context.Context, c wire.Caller, in *awsbackup.UpdateBackupPlanInput) (*awsbackup.UpdateBackupPlanOutput, error) {
	doc, err := fromPlan(in.BackupPlan)
	if err != nil {
		return nil, err
	}
	p, err := a.s.UpdatePlan(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId), doc)
	if err != nil {
		return nil, err
	}
	return &awsbackup.UpdateBackupPlanOutput{
		BackupPlanId: &p.ID, BackupPlanArn: text(p.ARN()), VersionId: &p.VersionID, CreationDate: when(p.Created), AdvancedBackupSettings: toAdvanced(p.Advanced),
	}, nil
}

func (a *API) getPlan(ctx context.Context, c wire.Caller, in *awsbackup.GetBackupPlanInput) (*awsbackup.GetBackupPlanOutput, error) {
	p, err := a.s.Plan(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId), aws.ToString(in.VersionId), int(in.MaxScheduledRunsPreview))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.GetBackupPlanOutput{
		BackupPlan: toPlan(p.Plan), BackupPlanId: &p.ID, BackupPlanArn: text(p.ARN()), VersionId: &p.VersionID, CreationDate: when(p.Created),
		DeletionDate: when(p.Deleted), LastExecutionDate: when(p.LastRun), CreatorRequestId: text(p.CreatorRequestID), AdvancedBackupSettings: toAdvanced(p.Advanced),
	}
	for _, u := range p.Upcoming {
		out.ScheduledRunsPreview = append(out.ScheduledRunsPreview, backuptypes.ScheduledPlanExecutionMember{
			ExecutionTime: when(u.At), RuleId: text(p.Rules[u.Rule].ID), RuleExecutionType: backuptypes.RuleExecutionTypeSnapshots,
		})
	}
	return out, nil
}

func (a *API) deletePlan(ctx context.Context, c wire.Caller, in *awsbackup.DeleteBackupPlanInput) (*awsbackup.DeleteBackupPlanOutput, error) {
	p, err := a.s.DeletePlan(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId))
	if err != nil {
		return nil, err
	}
	return &awsbackup.DeleteBackupPlanOutput{BackupPlanId: &p.ID, BackupPlanArn: text(p.ARN()), VersionId: &p.VersionID, DeletionDate: when(p.Deleted)}, nil
}

func (a *API) listPlans(ctx context.Context, c wire.Caller, in *awsbackup.ListBackupPlansInput) (*awsbackup.ListBackupPlansOutput, error) {
	list, next, err := a.s.Plans(ctx, c.Account, c.Env.Region, aws.ToBool(in.IncludeDeleted), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	return &awsbackup.ListBackupPlansOutput{BackupPlansList: toPlanMembers(list), NextToken: text(next)}, nil
}

func (a *API) listPlanVersions(ctx context.Context, c wire.Caller, in *awsbackup.ListBackupPlanVersionsInput) (*awsbackup.ListBackupPlanVersionsOutput, error) {
	list, next, err := a.s.PlanVersions(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	return &awsbackup.ListBackupPlanVersionsOutput{BackupPlanVersionsList: toPlanMembers(list), NextToken: text(next)}, nil
}

func toPlanMembers(list []backup.PlanRecord) []backuptypes.BackupPlansListMember {
	members := []backuptypes.BackupPlansListMember{}
	for _, p := range list {
		members = append(members, backuptypes.BackupPlansListMember{
			BackupPlanId: &p.ID, BackupPlanArn: text(p.ARN()), BackupPlanName: &p.Name, VersionId: &p.VersionID, CreationDate: when(p.Created),
			DeletionDate: when(p.Deleted), LastExecutionDate: when(p.LastRun), CreatorRequestId: text(p.CreatorRequestID), AdvancedBackupSettings: toAdvanced(p.Advanced),
		})
	}
	return members
}

// fromPlan reads a plan document. What would not be done is refused, not ignored: a plan must not promise more protection
// than it gives.
func fromPlan(in *backuptypes.BackupPlanInput) (backup.Plan, error) {
	if in == nil {
		return backup.Plan{}, fault.New(fault.Missing, "BackupPlan is required.")
	}
	if len(in.ScanSettings) > 0 {
		return backup.Plan{}, unsupported("ScanSettings")
	}
	p := backup.Plan{Name: aws.ToString(in.BackupPlanName)}
	for _, s := range in.AdvancedBackupSettings {
		p.Advanced = append(p.Advanced, backup.AdvancedSetting{ResourceType: aws.ToString(s.ResourceType), Options: s.BackupOptions})
	}
	for _, r := range in.Rules {
		rule, err := fromRule(r)
		if err != nil {
			return backup.Plan{}, err
		}
		p.Rules = append(p.Rules, rule)
	}
	return p, nil
}

func fromRule(in backuptypes.BackupRuleInput) (r backup.Rule, err error) {
	switch {
	case aws.ToBool(in.EnableContinuousBackup):
		return r, unsupported("EnableContinuousBackup")
	case aws.ToString(in.TargetLogicallyAirGappedBackupVaultArn) != "":
		return r, unsupported("TargetLogicallyAirGappedBackupVaultArn")
	case len(in.IndexActions) > 0:
		return r, unsupported("IndexActions")
	case len(in.ScanActions) > 0:
		return r, unsupported("ScanActions")
	}
	r = backup.Rule{
		Name: aws.ToString(in.RuleName), Vault: aws.ToString(in.TargetBackupVaultName),
		Schedule: aws.ToString(in.ScheduleExpression), Timezone: aws.ToString(in.ScheduleExpressionTimezone), Tags: in.RecoveryPointTags,
	}
	if r.StartMinutes, err = minutes("StartWindowMinutes", in.StartWindowMinutes); err != nil {
		return r, err
	}
	if r.CompleteMinutes, err = minutes("CompletionWindowMinutes", in.CompletionWindowMinutes); err != nil {
		return r, err
	}
	if r.Lifecycle, err = optionalLifecycle(in.Lifecycle); err != nil {
		return r, err
	}
	for _, c := range in.CopyActions {
		l, err := optionalLifecycle(c.Lifecycle)
		if err != nil {
			return r, err
		}
		r.Copies = append(r.Copies, backup.CopyAction{VaultARN: aws.ToString(c.DestinationBackupVaultArn), Lifecycle: l})
	}
	return r, nil
}

func unsupported(member string) error {
	return fault.New(fault.Invalid, "%s is not supported.", member).WithContext(member)
}

// minutes reads a window; 0 is only what is left out, never what is given.
func minutes(name string, m *int64) (int64, error) {
	if m == nil {
		return 0, nil
	}
	if *m < 1 {
		return 0, fault.New(fault.Invalid, "Invalid %s %d: it must be at least %d.", name, *m, schedule.MinStartMinutes)
	}
	return *m, nil
}

// optionalLifecycle keeps the difference between no lifecycle and one that never ends: for copies it matters.
func optionalLifecycle(in *backuptypes.Lifecycle) (*schedule.Lifecycle, error) {
	if in == nil {
		return nil, nil
	}
	if in.DeleteAfterEvent != "" {
		return nil, unsupported("Lifecycle.DeleteAfterEvent")
	}
	l := fromLifecycle(in)
	return &l, nil
}

func toOptionalLifecycle(l *schedule.Lifecycle) *backuptypes.Lifecycle {
	if l == nil {
		return nil
	}
	return toLifecycle(*l)
}

// toPlan writes a plan document. AdvancedBackupSettings stand beside it in replies, not in it.
func toPlan(p backup.Plan) *backuptypes.BackupPlan {
	out := &backuptypes.BackupPlan{BackupPlanName: &p.Name, Rules: []backuptypes.BackupRule{}}
	for _, r := range p.Rules {
		rule := backuptypes.BackupRule{
			RuleId: text(r.ID), RuleName: text(r.Name), TargetBackupVaultName: text(r.Vault), ScheduleExpression: text(r.Schedule), ScheduleExpressionTimezone: text(r.Timezone),
			StartWindowMinutes: &r.StartMinutes, CompletionWindowMinutes: &r.CompleteMinutes, Lifecycle: toOptionalLifecycle(r.Lifecycle), RecoveryPointTags: r.Tags,
			EnableContinuousBackup: aws.Bool(false),
		}
		for _, c := range r.Copies {
			rule.CopyActions = append(rule.CopyActions, backuptypes.CopyAction{DestinationBackupVaultArn: text(c.VaultARN), Lifecycle: toOptionalLifecycle(c.Lifecycle)})
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

func toAdvanced(settings []backup.AdvancedSetting) (out []backuptypes.AdvancedBackupSetting) {
	for _, s := range settings {
		out = append(out, backuptypes.AdvancedBackupSetting{ResourceType: text(s.ResourceType), BackupOptions: s.Options})
	}
	return out
}

// passRole is the check that lets a caller hand a role to the backup service; there is none when no role is named.
func passRole(role *string) []access.Check {
	if aws.ToString(role) == "" {
		return nil
	}
	c := access.Context{}
	c.Set("iam:PassedToService", "backup.amazonaws.com")
	return []access.Check{{Action: "iam:PassRole", Resource: *role, Context: c}}
}

// percent writes how much of a job is done, as AWS does: a string with one decimal.
func percent(p float64) *string { return aws.String(strconv.FormatFloat(p, 'f', 1, 64)) }
