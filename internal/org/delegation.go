package org

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const maxDelegates = 5 // per service

// ServiceAccess is a service that may work in the organization's accounts.
type ServiceAccess struct {
	Service string
	Enabled time.Time
}

// Delegate is an account that administers services for the organization.
type Delegate struct {
	Account
	Since time.Time // of the delegation asked for, or of the first one
}

// Any service may be trusted, since the node's accounts may also be administered by other tools; only the form is checked.
var serviceForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,100}\.amazonaws\.com$`)

func validService(name string) error {
	if !serviceForm.MatchString(name) {
		return errInput("UNRECOGNIZED_SERVICE_PRINCIPAL", "You specified an unrecognized service principal: %q", name)
	}
	return nil
}

// EnableServiceAccess lets a service work in the organization's accounts. Enabling it again changes nothing.
func (s *Service) EnableServiceAccess(ctx context.Context, callerID, service string) error {
	if err := validService(service); err != nil {
		return err
	}
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if o.FeatureSet != AllFeatures {
			return errConstraint("ORGANIZATION_NOT_IN_ALL_FEATURES_MODE", "Trusted services need an organization with all features enabled.")
		}
		_, err := tx.Exec(ctx, "INSERT INTO org_service_access (org, service, enabled) VALUES (?, ?, ?) ON CONFLICT (org, service) DO NOTHING", o.ID, service, db.Micros(tx.Now))
		return err
	})
}

// DisableServiceAccess takes it back; a service with delegated administrators keeps it until they are deregistered.
func (s *Service) DisableServiceAccess(ctx context.Context, callerID, service string) error {
	if err := validService(service); err != nil {
		return err
	}
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		var n int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_delegate WHERE org = ? AND service = ?", o.ID, service).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return errConstraint("DELEGATED_ADMINISTRATOR_EXISTS_FOR_THIS_SERVICE", "Deregister the delegated administrators of %s first.", service)
		}
		_, err := tx.Exec(ctx, "DELETE FROM org_service_access WHERE org = ? AND service = ?", o.ID, service)
		return err
	})
}

// ServiceAccesses lists the trusted services by name.
func (s *Service) ServiceAccesses(ctx context.Context, callerID string, p Page) (out []ServiceAccess, next string, err error) {
	scope := "services " + callerID
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		out, next, err = s.services(ctx, tx, p, scope, "FROM org_service_access WHERE org = ?", o.ID)
		return err
	})
	return out, next, err
}

// DelegatedServices lists the services that an account administers by name.
func (s *Service) DelegatedServices(ctx context.Context, callerID, account string, p Page) (out []ServiceAccess, next string, err error) {
	scope := "delegated " + callerID + " " + account
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if err := delegateExists(ctx, tx, o, account); err != nil {
			return err
		}
		out, next, err = s.services(ctx, tx, p, scope, "FROM org_delegate WHERE org = ? AND account = ?", o.ID, account)
		return err
	})
	return out, next, err
}

func (s *Service) services(ctx context.Context, tx *db.Tx, p Page, scope, from string, args ...any) ([]ServiceAccess, string, error) {
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT service, enabled "+from+" AND service > ? ORDER BY service LIMIT ?", append(args, after, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list services: %w", err)
	}
	defer rows.Close()
	var list []ServiceAccess
	for rows.Next() {
		var a ServiceAccess
		var at int64
		if err := rows.Scan(&a.Service, &at); err != nil {
			return nil, "", err
		}
		a.Enabled = db.Time(at)
		list = append(list, a)
	}
	out, next := finish(s, list, limit, scope, func(a ServiceAccess) string { return a.Service })
	return out, next, rows.Err()
}

func errNotDelegate(account string) *fault.Error {
	return fault.New(fault.NotFound, "The account specified is not registered as a delegated administrator.").WithCode("AccountNotRegistered").WithResource(account)
}

func delegateExists(ctx context.Context, tx *db.Tx, o Organization, account string) error {
	if _, err := memberOf(ctx, tx, o, account); err != nil {
		return err
	}
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM org_delegate WHERE org = ? AND account = ?", o.ID, account).Scan(&n)
	if err == nil && n == 0 {
		return errNotDelegate(account)
	}
	return err
}

// RegisterDelegate makes a member an administrator of a trusted service for the organization.
func (s *Service) RegisterDelegate(ctx context.Context, callerID, account, service string) error {
	if err := validService(service); err != nil {
		return err
	}
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if account == o.Management {
			return errConstraint("CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR", "You cannot register the management account of the organization as a delegated administrator.")
		}
		if _, err := memberOf(ctx, tx, o, account); err != nil {
			return err
		}
		var trusted, mine, all int
		err := tx.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM org_service_access WHERE org = ? AND service = ?),
			(SELECT COUNT(*) FROM org_delegate WHERE org = ? AND service = ? AND account = ?), (SELECT COUNT(*) FROM org_delegate WHERE org = ? AND service = ?)`,
			o.ID, service, o.ID, service, account, o.ID, service).Scan(&trusted, &mine, &all)
		switch {
		case err != nil:
			return err
		case trusted == 0:
			return errConstraint("SERVICE_ACCESS_NOT_ENABLED", "Enable service access for %s first.", service)
		case mine > 0:
			return fault.New(fault.Exists, "The provided account is already a delegated administrator for your organization.").WithCode("AccountAlreadyRegistered").WithResource(account)
		case all >= maxDelegates:
			return errConstraint("MAX_DELEGATED_ADMINISTRATORS_FOR_SERVICE_LIMIT_EXCEEDED", "A service can have %d delegated administrators.", maxDelegates)
		}
		_, err = tx.Exec(ctx, "INSERT INTO org_delegate (org, account, service, enabled) VALUES (?, ?, ?, ?)", o.ID, account, service, db.Micros(tx.Now))
		return err
	})
}

// DeregisterDelegate takes it back.
func (s *Service) DeregisterDelegate(ctx context.Context, callerID, account, service string) error {
	if err := validService(service); err != nil {
		return err
	}
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if _, err := memberOf(ctx, tx, o, account); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "DELETE FROM org_delegate WHERE org = ? AND account = ? AND service = ?", o.ID, account, service)
		if err == nil && n == 0 {
			return errNotDelegate(account)
		}
		return err
	})
}

// Delegates lists the delegated administrators by id, of one service if it is not "".
func (s *Service) Delegates(ctx context.Context, callerID, service string, p Page) (out []Delegate, next string, err error) {
	scope := "delegates " + callerID + " " + service
	after, limit, err := s.begin(p, scope)
	if err != nil {
		return nil, "", err
	}
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		rows, err := tx.Query(ctx, "SELECT account, MIN(enabled) FROM org_delegate WHERE org = ? AND (? = '' OR service = ?) AND account > ? GROUP BY account ORDER BY account LIMIT ?", o.ID, service, service, after, limit+1)
		if err != nil {
			return fmt.Errorf("list delegates: %w", err)
		}
		defer rows.Close()
		var list []Delegate
		for rows.Next() {
			var d Delegate
			var at int64
			if err := rows.Scan(&d.ID, &at); err != nil {
				return err
			}
			d.Since = db.Time(at)
			list = append(list, d)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		rows.Close() // before the next statement
		out, next = finish(s, list, limit, scope, func(d Delegate) string { return d.ID })
		for i := range out {
			if out[i].Account, err = accountByID(ctx, tx, out[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	return out, next, err
}
