// Package orgapi speaks the wire protocol of AWS Organizations: it translates between the SDK's structures and package org, and
// holds each operation's authorization row and the table from domain errors to exceptions.
//
// It decides nothing and stores nothing. Every operation is a line of a table in the file of its noun that pairs a row of checks
// with a handler; service.go joins the tables. Operations of the model without a line are answered as unsupported by the
// wire layer.
//
// Everything in an organization is named after its management account, but it is no foreign resource to a member: rows decide by the
// caller's own policies, and package org decides by the caller's standing in the organization.
//
// Start at Service, then check.go.
package orgapi

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/organizations/schemas"
	"github.com/aws/smithy-go"

	"strongroom/internal/org"
	"strongroom/internal/wire"
)

// API holds the handlers.
type API struct {
	s *org.Service
}

// Service returns the wire service over s.
func Service(s *org.Service) wire.Service {
	a := &API{s}
	return wire.Service{
		Name:            "organizations",
		Protocol:        wire.JSON11,
		Target:          "AWSOrganizationsV20161128",
		Operations:      slices.Concat(a.organizationOperations(), a.accountOperations(), a.treeOperations(), a.policyOperations(), a.delegationOperations(), a.tagOperations()),
		Known:           known(),
		Exception:       exception,
		Constraints:     constraints(),
		ConstraintError: constraintError,
	}
}

// known lists every operation of the model.
func known() []*smithy.Schema {
	return []*smithy.Schema{
		schemas.AcceptHandshake, schemas.AttachPolicy, schemas.CancelHandshake,
		schemas.CloseAccount, schemas.CreateAccount, schemas.CreateGovCloudAccount,
		schemas.CreateOrganization, schemas.CreateOrganizationalUnit, schemas.CreatePolicy,
		schemas.DeclineHandshake, schemas.DeleteOrganization, schemas.DeleteOrganizationalUnit,
		schemas.DeletePolicy, schemas.DeleteResourcePolicy, schemas.DeregisterDelegatedAdministrator,
		schemas.DescribeAccount, schemas.DescribeCreateAccountStatus, schemas.DescribeEffectivePolicy,
		schemas.DescribeHandshake, schemas.DescribeOrganization, schemas.DescribeOrganizationalUnit,
		schemas.DescribePolicy, schemas.DescribeResourcePolicy, schemas.DescribeResponsibilityTransfer,
		schemas.DetachPolicy, schemas.DisableAWSServiceAccess, schemas.DisablePolicyType,
		schemas.EnableAllFeatures, schemas.EnableAWSServiceAccess, schemas.EnablePolicyType,
		schemas.InviteAccountToOrganization, schemas.InviteOrganizationToTransferResponsibility, schemas.LeaveOrganization,
		schemas.ListAccounts, schemas.ListAccountsForParent, schemas.ListAccountsWithInvalidEffectivePolicy,
		schemas.ListAWSServiceAccessForOrganization, schemas.ListChildren, schemas.ListCreateAccountStatus,
		schemas.ListDelegatedAdministrators, schemas.ListDelegatedServicesForAccount, schemas.ListEffectivePolicyValidationErrors,
		schemas.ListHandshakesForAccount, schemas.ListHandshakesForOrganization, schemas.ListInboundResponsibilityTransfers,
		schemas.ListOrganizationalUnitsForParent, schemas.ListOutboundResponsibilityTransfers, schemas.ListParents,
		schemas.ListPolicies, schemas.ListPoliciesForTarget, schemas.ListRoots,
		schemas.ListTagsForResource, schemas.ListTargetsForPolicy, schemas.MoveAccount,
		schemas.PutResourcePolicy, schemas.RegisterDelegatedAdministrator, schemas.RemoveAccountFromOrganization,
		schemas.TagResource, schemas.TerminateResponsibilityTransfer, schemas.UntagResource,
		schemas.UpdateOrganizationalUnit, schemas.UpdatePolicy, schemas.UpdateResponsibilityTransfer,
	}
}
