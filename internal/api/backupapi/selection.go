package backupapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/schemas"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/access"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/wire"
)

func (a *API) selectionOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateBackupSelection", schemas.CreateBackupSelection, schemas.CreateBackupSelectionInput, schemas.CreateBackupSelectionOutput, createSelectionChecks, a.createSelection),
		wire.Op("GetBackupSelection", schemas.GetBackupSelection, schemas.GetBackupSelectionInput, schemas.GetBackupSelectionOutput,
			onPlan("GetBackupSelection", func(in *awsbackup.GetBackupSelectionInput) *string { return in.BackupPlanId }), a.getSelection),
		wire.Op("DeleteBackupSelection", schemas.DeleteBackupSelection, schemas.DeleteBackupSelectionInput, nil,
			onPlan("DeleteBackupSelection", func(in *awsbackup.DeleteBackupSelectionInput) *string { return in.BackupPlanId }), a.deleteSelection),
		wire.Op("ListBackupSelections", schemas.ListBackupSelections, schemas.ListBackupSelectionsInput, schemas.ListBackupSelectionsOutput,
			onPlan("ListBackupSelections", func(in *awsbackup.ListBackupSelectionsInput) *string { return in.BackupPlanId }), a.listSelections),
	}
}

func createSelectionChecks(_ context.Context, c wire.Caller, in *awsbackup.CreateBackupSelectionInput) ([]access.Check, error) {
	checks := []access.Check{{Action: "backup:CreateBackupSelection", Resource: backup.PlanARN(c.Account, c.Env.Region, aws.ToString(in.BackupPlanId))}}
	if in.BackupSelection != nil {
		checks = append(checks, passRole(in.BackupSelection.IamRoleArn)...)
	}
	return checks, nil
}

func (a *API) createSelection(ctx context.Context, c wire.Caller, in *awsbackup.CreateBackupSelectionInput) (*awsbackup.CreateBackupSelectionOutput, error) {
	sel, err := fromSelection(in.BackupSelection)
	if err != nil {
		return nil, err
	}
	r, err := a.s.CreateSelection(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId), sel, aws.ToString(in.CreatorRequestId))
	if err != nil {
		return nil, err
	}
	return &awsbackup.CreateBackupSelectionOutput{BackupPlanId: &r.PlanID, SelectionId: &r.ID, CreationDate: when(r.Created)}, nil
}

func (a *API) getSelection(ctx context.Context, c wire.Caller, in *awsbackup.GetBackupSelectionInput) (*awsbackup.GetBackupSelectionOutput, error) {
	r, err := a.s.Selection(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId), aws.ToString(in.SelectionId))
	if err != nil {
		return nil, err
	}
	return &awsbackup.GetBackupSelectionOutput{
		BackupPlanId: &r.PlanID, SelectionId: &r.ID, CreationDate: when(r.Created), CreatorRequestId: text(r.CreatorRequestID), BackupSelection: toSelection(r.Selection),
	}, nil
}

func (a *API) deleteSelection(ctx context.Context, c wire.Caller, in *awsbackup.DeleteBackupSelectionInput) (*awsbackup.DeleteBackupSelectionOutput, error) {
	return &awsbackup.DeleteBackupSelectionOutput{}, a.s.DeleteSelection(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId), aws.ToString(in.SelectionId))
}

func (a *API) listSelections(ctx context.Context, c wire.Caller, in *awsbackup.ListBackupSelectionsInput) (*awsbackup.ListBackupSelectionsOutput, error) {
	list, next, err := a.s.Selections(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId), page(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &awsbackup.ListBackupSelectionsOutput{BackupSelectionsList: []backuptypes.BackupSelectionsListMember{}, NextToken: text(next)}
	for _, r := range list {
		out.BackupSelectionsList = append(out.BackupSelectionsList, backuptypes.BackupSelectionsListMember{
			BackupPlanId: &r.PlanID, SelectionId: &r.ID, SelectionName: &r.Name, CreationDate: when(r.Created), CreatorRequestId: text(r.CreatorRequestID), IamRoleArn: &r.RoleARN,
		})
	}
	return out, nil
}

// fromSelection reads a selection. Absent and empty members are the same.
func fromSelection(in *backuptypes.BackupSelection) (s backup.Selection, err error) {
	if in == nil {
		return s, fault.New(fault.Missing, "BackupSelection is required.")
	}
	s = backup.Selection{Name: aws.ToString(in.SelectionName), RoleARN: aws.ToString(in.IamRoleArn), Resources: in.Resources, NotResources: in.NotResources}
	for _, t := range in.ListOfTags {
		if !backup.ValidConditionType(string(t.ConditionType)) {
			return s, fault.New(fault.Invalid, "Invalid backup selection. ConditionType %q of ListOfTags must be STRINGEQUALS.", t.ConditionType)
		}
		s.Tags = append(s.Tags, backup.KeyValue{Key: aws.ToString(t.ConditionKey), Value: aws.ToString(t.ConditionValue)})
	}
	if c := in.Conditions; c != nil {
		s.Conditions = backup.Conditions{
			Equals: fromConditions(c.StringEquals), NotEquals: fromConditions(c.StringNotEquals), Like: fromConditions(c.StringLike), NotLike: fromConditions(c.StringNotLike),
		}
	}
	return s, nil
}

func fromConditions(in []backuptypes.ConditionParameter) (out []backup.KeyValue) {
	for _, c := range in {
		out = append(out, backup.KeyValue{Key: aws.ToString(c.ConditionKey), Value: aws.ToString(c.ConditionValue)})
	}
	return out
}

// toSelection writes a selection. Conditions is an object and the lists are lists even when they are empty.
func toSelection(s backup.Selection) *backuptypes.BackupSelection {
	out := &backuptypes.BackupSelection{
		SelectionName: &s.Name, IamRoleArn: &s.RoleARN, ListOfTags: []backuptypes.Condition{},
		Resources: append([]string{}, s.Resources...), NotResources: append([]string{}, s.NotResources...),
		Conditions: &backuptypes.Conditions{
			StringEquals: toConditions(s.Conditions.Equals), StringNotEquals: toConditions(s.Conditions.NotEquals),
			StringLike: toConditions(s.Conditions.Like), StringNotLike: toConditions(s.Conditions.NotLike),
		},
	}
	for _, t := range s.Tags {
		out.ListOfTags = append(out.ListOfTags, backuptypes.Condition{ConditionType: backuptypes.ConditionTypeStringequals, ConditionKey: &t.Key, ConditionValue: &t.Value})
	}
	return out
}

func toConditions(in []backup.KeyValue) []backuptypes.ConditionParameter {
	out := []backuptypes.ConditionParameter{}
	for _, c := range in {
		out = append(out, backuptypes.ConditionParameter{ConditionKey: &c.Key, ConditionValue: &c.Value})
	}
	return out
}
