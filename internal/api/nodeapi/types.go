package nodeapi

import (
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/prelude"
	"github.com/aws/smithy-go/traits"
)

// PreflightCopyInput asks whether a recovery point of the caller's account could be copied into a vault.
type PreflightCopyInput struct {
	RecoveryPointArn          *string
	DestinationBackupVaultArn *string
	IamRoleArn                *string // default: the role that made the recovery point
}

// PreflightPlanInput asks about every copy action of a plan of the caller's account.
type PreflightPlanInput struct {
	BackupPlanId *string
}

// PreflightOutput answers both.
type PreflightOutput struct {
	Allowed bool
	Copies  []Copy
}

// Copy is the answer for one copy.
type Copy struct {
	Allowed                   bool
	RuleName                  *string
	RecoveryPointArn          *string
	SourceBackupVaultArn      *string
	DestinationBackupVaultArn *string
	IamRoleArn                *string
	Conditions                []Condition
}

// Condition is one thing that the copy depends on.
type Condition struct {
	Name    *string
	Ok      bool
	Message *string
	Missing []Missing
}

// Missing is one change that would help.
type Missing struct {
	AccountId *string
	Policy    *string
	Statement *string
	Note      *string
}

// namespace is that of this service's shapes.
const namespace = "strongroom.node"

// schemaSet is built once per Service: the shapes of the operations, in the form in which the SDK describes its own.
type schemaSet struct {
	copyOp, copyIn, planOp, planIn, out *smithy.Schema
}

func schemas() schemaSet {
	shape := func(name string, t smithy.ShapeType, members int, tr ...smithy.Trait) *smithy.Schema {
		return smithy.NewSchema(smithy.ShapeID{Namespace: namespace, Name: name}, t, members, tr...)
	}
	s := schemaSet{
		copyOp: shape("PreflightCopy", smithy.ShapeTypeOperation, 0, &traits.HTTP{Method: "POST", URI: "/preflight/copy", Code: 200}),
		planOp: shape("PreflightPlan", smithy.ShapeTypeOperation, 0, &traits.HTTP{Method: "POST", URI: "/preflight/plan/{BackupPlanId}", Code: 200}),
		copyIn: shape("PreflightCopyInput", smithy.ShapeTypeStructure, 3),
		planIn: shape("PreflightPlanInput", smithy.ShapeTypeStructure, 1),
		out:    shape("PreflightOutput", smithy.ShapeTypeStructure, 2),
	}
	for _, m := range []string{"RecoveryPointArn", "DestinationBackupVaultArn", "IamRoleArn"} {
		s.copyIn.AddMember(m, prelude.String)
	}
	s.planIn.AddMember("BackupPlanId", prelude.String, &traits.HTTPLabel{})
	s.out.AddMember("Allowed", prelude.Boolean)
	s.out.AddMember("Copies", shape("Copies", smithy.ShapeTypeList, 0))
	return s
}
