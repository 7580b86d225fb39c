package backup

import (
	"context"
	"encoding/json"
	"slices"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// Resource is something that an agent declares: it exists and can be backed up.
type Resource struct {
	ARN     string
	Type    string // "EFS"
	Name    string
	Account string
	Region  string
	Tags    map[string]string
	Agent   string // the agent that declares it; filled when read
}

// DeclareResources replaces everything that the agent declared before. An agent speaks only for resources whose ARN names the account
// and region they are declared in, where the ARN names them at all. Errors: Invalid, and then nothing is changed.
func (s *Service) DeclareResources(ctx context.Context, agent string, list []Resource) error {
	if agent == "" {
		return fault.New(fault.Invalid, "A declaration needs the id of its agent.")
	}
	seen := map[[3]string]bool{}
	for _, r := range list {
		if err := r.valid(); err != nil {
			return err
		}
		k := [3]string{r.Account, r.Region, r.ARN}
		if seen[k] {
			return fault.New(fault.Invalid, "Resource %s is declared twice by the same agent.", r.ARN).WithResource(r.ARN)
		}
		seen[k] = true
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM declared_resource WHERE agent = ?", agent); err != nil {
			return err
		}
		for _, r := range list {
			if r.Tags == nil {
				r.Tags = map[string]string{}
			}
			tags, err := json.Marshal(r.Tags)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO declared_resource (agent, account, region, arn, type, name, tags, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
				agent, r.Account, r.Region, r.ARN, r.Type, r.Name, string(tags), db.Micros(tx.Now)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r Resource) valid() error {
	a, err := arn.Parse(r.ARN)
	if err != nil {
		return fault.New(fault.Invalid, "Invalid resource ARN %q: %v.", r.ARN, err)
	}
	if !arn.ValidAccount(r.Account) || r.Region == "" {
		return fault.New(fault.Invalid, "Resource %s needs an account of 12 digits and a region.", r.ARN).WithResource(r.ARN)
	}
	if a.Account != "" && a.Account != r.Account || a.Region != "" && a.Region != r.Region {
		return fault.New(fault.Invalid, "Resource %s belongs to another account or region than the agent that declares it (%s, %s).", r.ARN, r.Account, r.Region).WithResource(r.ARN)
	}
	if !slices.Contains(resourceTypes, r.Type) {
		return fault.New(fault.Invalid, "Resource %s has the unknown type %q.", r.ARN, r.Type).WithResource(r.ARN)
	}
	return nil
}

// DeclaredResource finds a declared resource of an account and region. When several agents declare it, the one that
// declared last is named. Errors: NotFound.
func (s *Service) DeclaredResource(ctx context.Context, account, region, name string) (r Resource, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		r, err = declaredResource(ctx, tx, account, region, name)
		return err
	})
	return r, err
}

// DeclaredResources lists the declared resources of an account and region by ARN, each once.
func (s *Service) DeclaredResources(ctx context.Context, account, region string) (list []Resource, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, err = declaredResources(ctx, tx, account, region)
		return err
	})
	return list, err
}

// declaredResource is DeclaredResource within a transaction.
func declaredResource(ctx context.Context, tx *db.Tx, account, region, name string) (Resource, error) {
	list, err := queryDeclared(ctx, tx, account, region, " AND arn = ? ORDER BY seen DESC, agent LIMIT 1", name)
	if err != nil {
		return Resource{}, err
	}
	if len(list) == 0 {
		return Resource{}, fault.New(fault.NotFound, "Resource %s is not declared by any agent of account %s in Region %s.", name, account, region).WithResource(name)
	}
	return list[0], nil
}

// declaredResources is DeclaredResources within a transaction.
func declaredResources(ctx context.Context, tx *db.Tx, account, region string) ([]Resource, error) {
	list, err := queryDeclared(ctx, tx, account, region, " ORDER BY arn, seen DESC, agent")
	return slices.CompactFunc(list, func(a, b Resource) bool { return a.ARN == b.ARN }), err
}

func queryDeclared(ctx context.Context, tx *db.Tx, account, region, tail string, args ...any) ([]Resource, error) {
	rows, err := tx.Query(ctx, "SELECT arn, type, name, account, region, tags, agent FROM declared_resource WHERE account = ? AND region = ?"+tail, append([]any{account, region}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Resource
	for rows.Next() {
		var r Resource
		var tags string
		if err := rows.Scan(&r.ARN, &r.Type, &r.Name, &r.Account, &r.Region, &tags, &r.Agent); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(tags), &r.Tags); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
