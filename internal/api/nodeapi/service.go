// Package nodeapi is the one service of a node that is not AWS's: "strongroom", signed and authorized like the others. It
// answers the preflight.
//
// It is restJson1 over structures of its own, because there is no SDK for it; Client is its counterpart for the command
// line. Start at Service.
package nodeapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"strongroom/internal/access"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/preflight"
	"strongroom/internal/wire"
)

// Name is the signing name.
const Name = "strongroom"

// Service returns the wire service over the checker.
func Service(k *preflight.Checker) wire.Service {
	a := api{k}
	s := schemas()
	return wire.Service{
		Name: Name, Protocol: wire.RestJSON, Known: []*smithy.Schema{s.copyOp, s.planOp}, Exception: exception,
		Operations: []wire.Operation{
			wire.Op("PreflightCopy", s.copyOp, s.copyIn, s.out, a.mayCopy, a.copy),
			wire.Op("PreflightPlan", s.planOp, s.planIn, s.out, a.mayReadPlan, a.plan),
		},
	}
}

type api struct{ k *preflight.Checker }

// mayCopy asks for what starting the copy needs: who may not start it learns nothing about why it would fail.
func (a api) mayCopy(_ context.Context, _ wire.Caller, in *PreflightCopyInput) ([]access.Check, error) {
	if in.RecoveryPointArn == nil || in.DestinationBackupVaultArn == nil {
		return nil, fault.New(fault.Missing, "RecoveryPointArn and DestinationBackupVaultArn are required.")
	}
	checks := []access.Check{{Action: "backup:StartCopyJob", Resource: *in.RecoveryPointArn}}
	if in.IamRoleArn != nil {
		checks = append(checks, access.Check{Action: "iam:PassRole", Resource: *in.IamRoleArn, Context: access.Context{"iam:PassedToService": {preflight.Service}}})
	}
	return checks, nil
}

func (a api) copy(ctx context.Context, c wire.Caller, in *PreflightCopyInput) (*PreflightOutput, error) {
	ans, err := a.k.AskCopy(ctx, c.Account, c.Env.Region, *in.RecoveryPointArn, *in.DestinationBackupVaultArn, aws.ToString(in.IamRoleArn))
	if err != nil {
		return nil, err
	}
	return output([]preflight.Answer{ans}), nil
}

func (a api) mayReadPlan(_ context.Context, c wire.Caller, in *PreflightPlanInput) ([]access.Check, error) {
	id := aws.ToString(in.BackupPlanId)
	return []access.Check{{Action: "backup:GetBackupPlan", Resource: backup.PlanARN(c.Account, c.Env.Region, id)},
		{Action: "backup:ListBackupSelections", Resource: backup.PlanARN(c.Account, c.Env.Region, id)}}, nil
}

func (a api) plan(ctx context.Context, c wire.Caller, in *PreflightPlanInput) (*PreflightOutput, error) {
	list, err := a.k.AskPlan(ctx, c.Account, c.Env.Region, aws.ToString(in.BackupPlanId))
	if err != nil {
		return nil, err
	}
	return output(list), nil
}

func output(list []preflight.Answer) *PreflightOutput {
	out := &PreflightOutput{Allowed: true, Copies: []Copy{}}
	for _, a := range list {
		cp := Copy{Allowed: a.Allowed(), RuleName: text(a.Rule), RecoveryPointArn: text(a.PointARN), SourceBackupVaultArn: text(a.Source),
			DestinationBackupVaultArn: text(a.Destination), IamRoleArn: text(a.RoleARN)}
		out.Allowed = out.Allowed && cp.Allowed
		for _, c := range a.Conditions {
			x := Condition{Name: text(c.Name), Ok: c.OK, Message: text(c.Message)}
			for _, m := range c.Missing {
				x.Missing = append(x.Missing, Missing{AccountId: text(m.Account), Policy: text(m.Policy), Statement: text(m.Statement), Note: text(m.Note)})
			}
			cp.Conditions = append(cp.Conditions, x)
		}
		out.Copies = append(out.Copies, cp)
	}
	return out
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// exception is the table from domain errors to this service's exceptions.
func exception(err error) wire.Exception {
	f := fault.As(err)
	if f == nil {
		return wire.Exception{Name: "InternalFailure", Status: 500, Message: "An internal error occurred."}
	}
	switch f.Kind {
	case fault.Denied:
		return wire.Exception{Name: "AccessDeniedException", Status: 403, Message: f.Msg}
	case fault.NotFound:
		return wire.Exception{Name: "ResourceNotFoundException", Status: 400, Message: f.Msg}
	case fault.Missing:
		return wire.Exception{Name: "MissingParameterValueException", Status: 400, Message: f.Msg}
	case fault.Invalid, fault.State, fault.Conflict, fault.Exists, fault.Limit:
		return wire.Exception{Name: "InvalidParameterValueException", Status: 400, Message: f.Msg}
	case fault.Unavailable:
		return wire.Exception{Name: "ServiceUnavailableException", Status: 503, Message: f.Msg}
	}
	return wire.Exception{Name: "InternalFailure", Status: 500, Message: "An internal error occurred."}
}
