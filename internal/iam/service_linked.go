package iam

import (
	"context"
	"fmt"

	"strongroom/internal/access"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// linkedService describes the service-linked role of one service.
type linkedService struct {
	service, role, description string
	policies                   []string // names under policy/aws-service-role/
}

// linkedServices are the services that have a service-linked role here. The list is fixed: a role of this kind may do only
// what its service needs, and nobody can change that.
var linkedServices = [...]linkedService{
	{"backup.amazonaws.com", "AWSServiceRoleForBackup", "Allows AWS Backup to create and copy recovery points on your behalf",
		[]string{"AWSBackupServiceLinkedRolePolicyForBackup", "StrongroomBackupServiceRolePolicy"}},
	{"restore-testing.backup.amazonaws.com", "AWSServiceRoleForBackupRestoreTesting", "Allows AWS Backup to run restore tests on your behalf",
		[]string{"AWSServiceRolePolicyForBackupRestoreTesting"}},
	{"reports.backup.amazonaws.com", "AWSServiceRoleForBackupReports", "Allows AWS Backup to monitor and report on compliance on your behalf",
		[]string{"AWSServiceRolePolicyForBackupReports"}},
}

func linked(service string) (linkedService, bool) {
	for _, l := range linkedServices {
		if l.service == service {
			return l, true
		}
	}
	return linkedService{}, false
}

func (l linkedService) trust() string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"%s"},"Action":"sts:AssumeRole"}]}`, l.service)
}

// LinkedRoleARN is the ARN that a service's service-linked role has or would have in an account, "" for a service without.
func LinkedRoleARN(account, service string) string {
	l, ok := linked(service)
	if !ok {
		return ""
	}
	return entityARN(account, string(KindRole), serviceLinkedPath+l.service+"/", l.role)
}

// CreateServiceLinkedRole makes a service's role in the account. Codes: Invalid/InvalidInput for a service without one, with
// a suffix, or when the role exists.
func (s *Service) CreateServiceLinkedRole(ctx context.Context, account, service, description, suffix string) (Role, error) {
	l, ok := linked(service)
	switch {
	case !ok:
		return Role{}, invalidInput("The provided service name %s is not supported for service-linked roles.", service)
	case suffix != "":
		return Role{}, invalidInput("Custom suffix is not allowed for %s", service)
	case len(description) > longestDescription:
		return Role{}, checkRoleLimits(description, shortestMaxSession)
	}
	var r roleRow
	err := s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		_, err := findRole(ctx, tx, account, l.role)
		if err == nil {
			return invalidInput("Service role name %s has been taken in this account, please try a different suffix.", l.role)
		}
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		r, err = insertLinked(ctx, tx, account, l, description)
		return err
	})
	return r.role(r.trust, nil), err
}

func insertLinked(ctx context.Context, tx *db.Tx, account string, l linkedService, description string) (roleRow, error) {
	if err := checkAccount(ctx, tx, account); err != nil {
		return roleRow{}, err
	}
	r := roleRow{entity: entity{kind: KindRole, id: newID(prefixRole), account: account, name: l.role, path: serviceLinkedPath + l.service + "/", service: l.service, created: tx.Now},
		description: description, maxSession: shortestMaxSession, trust: l.trust(), trustIDs: "{}"}
	if err := insertRole(ctx, tx, r); err != nil {
		return r, err
	}
	for _, p := range l.policies {
		if err := insertAttachment(ctx, tx, r.entity, entityARN(awsAccount, "policy", serviceLinkedPath, p)); err != nil {
			return r, err
		}
	}
	return r, nil
}

// ServiceLinkedRole returns a session of a service's own role in the account, making the role when it is not there. It must
// not be called within a transaction.
func (s *Service) ServiceLinkedRole(ctx context.Context, account, service string) (access.Principal, error) {
	l, ok := linked(service)
	if !ok {
		return access.Principal{}, invalidInput("The provided service name %s is not supported for service-linked roles.", service)
	}
	e, err := s.roleByName(ctx, account, l.role)
	if fault.Is(err, fault.NotFound) {
		err = s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
			if _, err := findRole(ctx, tx, account, l.role); !fault.Is(err, fault.NotFound) {
				return err // made meanwhile
			}
			_, err := insertLinked(ctx, tx, account, l, l.description)
			return err
		})
		if err == nil {
			e, err = s.roleByName(ctx, account, l.role)
		}
	}
	if err != nil {
		return access.Principal{}, err
	}
	if e.service != service { // a name that a customer's role took before the name was reserved
		return access.Principal{}, fault.New(fault.Conflict, "The role %s of account %s is not the service-linked role of %s.", l.role, account, service)
	}
	return s.session(e, "AWSBackup"), nil
}

// session is a principal for a session of a role that the node itself uses: it has no credentials.
func (s *Service) session(e *identity, name string) access.Principal {
	p := rolePrincipal(e, name)
	p.Issued = s.clock.Now().UTC()
	return p
}
