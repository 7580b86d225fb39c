package preflight

import (
	"context"
	"fmt"

	"strongroom/internal/arn"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

// Answer is what the preflight says about one copy.
type Answer struct {
	Rule        string // of a plan; "" for a single copy
	PointARN    string
	Source      string // vault ARN
	Destination string // vault ARN
	RoleARN     string
	Conditions  []Condition
}

// Allowed reports whether every condition holds.
func (a Answer) Allowed() bool {
	for _, c := range a.Conditions {
		if !c.OK {
			return false
		}
	}
	return true
}

// AskCopy answers for one recovery point of an account. roleARN "" takes the role that made the recovery point.
// Errors: Invalid for ARNs of another form, NotFound when the recovery point does not exist in the account and region.
func (k *Checker) AskCopy(ctx context.Context, account, region, pointARN, destination, roleARN string) (Answer, error) {
	g, err := k.Backup.Guard(ctx, pointARN)
	if err != nil {
		return Answer{}, err
	}
	if !g.Exists || g.VaultARN == "" || g.Account != account {
		return Answer{}, fault.New(fault.NotFound, "Cannot find recovery point %s in account %s.", pointARN, account).WithResource(pointARN)
	}
	_, vaultRegion, vaultName, _ := backup.ParseVaultARN(g.VaultARN)
	if vaultRegion != region {
		return Answer{}, fault.New(fault.NotFound, "Cannot find recovery point %s in region %s.", pointARN, region).WithResource(pointARN)
	}
	rp, err := k.Backup.RecoveryPoint(ctx, account, region, vaultName, pointARN)
	if err != nil {
		return Answer{}, err
	}
	if roleARN == "" {
		roleARN = rp.RoleARN
	}
	source, err := k.vault(ctx, g.VaultARN)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{PointARN: pointARN, Source: g.VaultARN, Destination: destination, RoleARN: roleARN}
	usable := Condition{Name: "the recovery point can be copied", OK: rp.Usable() && rp.StorageClass != backup.Cold && !rp.Continuous, Category: InvalidParameters}
	if !usable.OK {
		usable.Message = fmt.Sprintf("Recovery point %s has status %s and storage class %s; only finished ones in warm storage can be copied.", pointARN, rp.Status, rp.StorageClass)
	}
	a.Conditions = append(a.Conditions, usable)
	p := Path{Account: account, Region: region, RoleARN: roleARN, Source: source,
		Point: backup.WorkPoint{ARN: pointARN, ResourceARN: rp.ResourceARN, ResourceType: rp.ResourceType, Created: rp.Created}}
	err = k.ask(ctx, &a, p, &rp.Lifecycle)
	return a, err
}

// AskPlan answers for every rule and destination of a plan, for each role that its selections pass.
// Errors: those of reading the plan.
func (k *Checker) AskPlan(ctx context.Context, account, region, planID string) ([]Answer, error) {
	plan, err := k.Backup.Plan(ctx, account, region, planID, "", 0)
	if err != nil {
		return nil, err
	}
	roles, err := k.planRoles(ctx, account, region, planID)
	if err != nil {
		return nil, err
	}
	var out []Answer
	for _, rule := range plan.Rules {
		for _, cp := range rule.Copies {
			for _, role := range roles {
				a := Answer{Rule: rule.Name, PointARN: arn.Make("backup", region, account, "recovery-point:*"),
					Source: backup.VaultARN(account, region, rule.Vault), Destination: cp.VaultARN, RoleARN: role}
				source, err := k.vault(ctx, a.Source)
				if err != nil {
					a.Conditions = append(a.Conditions, missingVault("the rule's vault exists", a.Source, err))
					out = append(out, a)
					continue
				}
				lifecycle := cp.Lifecycle
				if lifecycle == nil {
					lifecycle = rule.Lifecycle
				}
				p := Path{Account: account, Region: region, RoleARN: role, Source: source, Point: backup.WorkPoint{ARN: a.PointARN}}
				if err := k.ask(ctx, &a, p, lifecycle); err != nil {
					return nil, err
				}
				out = append(out, a)
			}
		}
	}
	return out, nil
}

func (k *Checker) planRoles(ctx context.Context, account, region, planID string) ([]string, error) {
	var roles []string
	seen := map[string]bool{}
	page := backup.Page{Limit: 100}
	for {
		list, next, err := k.Backup.Selections(ctx, account, region, planID, page)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			if !seen[s.RoleARN] {
				seen[s.RoleARN] = true
				roles = append(roles, s.RoleARN)
			}
		}
		if next == "" {
			break
		}
		page.Token = next
	}
	if len(roles) == 0 {
		return nil, fault.New(fault.State, "Backup plan %s has no selection, so it copies nothing: add one with create-backup-selection.", planID)
	}
	return roles, nil
}

// ask adds what depends on the destination, then everything else.
func (k *Checker) ask(ctx context.Context, a *Answer, p Path, lifecycle *schedule.Lifecycle) error {
	destAccount, destRegion, destName, ok := backup.ParseVaultARN(a.Destination)
	if !ok {
		return fault.New(fault.Invalid, "%q is not the ARN of a backup vault.", a.Destination)
	}
	if destAccount != p.Account {
		same := k.SameOrganization(ctx, p.Account, destAccount)
		if !same.OK {
			a.Conditions = append(a.Conditions, same)
			return same.Err
		}
		// Vault would make a vault Default; asking must not make anything in another account.
		if g, err := k.Backup.Guard(ctx, a.Destination); err != nil {
			return err
		} else if !g.Exists {
			a.Conditions = append(a.Conditions, missingVault("the destination vault exists", a.Destination, fault.New(fault.NotFound, "no such vault")))
			return nil
		}
	}
	v, err := k.Backup.Vault(ctx, destAccount, destRegion, destName)
	if err != nil {
		a.Conditions = append(a.Conditions, missingVault("the destination vault exists", a.Destination, err))
		return nil
	}
	p.Destination = work(v)
	a.Conditions = append(a.Conditions, Condition{Name: "the destination vault exists", OK: true})
	if lifecycle == nil {
		lifecycle = &schedule.Lifecycle{}
	}
	c := condition("the retention is within the range of the destination's vault lock", v.Lock.CheckRetention(*lifecycle), "Copy job failed.", "RETENTION_OUT_OF_RANGE")
	if !c.OK {
		c.Missing = []Missing{{Account: destAccount, Policy: "lifecycle of the copy", Note: "choose a DeleteAfterDays within the vault lock's minimum and maximum"}}
	}
	a.Conditions = append(a.Conditions, c)
	a.Conditions = append(a.Conditions, k.Copy(ctx, p)...)
	for _, c := range a.Conditions {
		if c.Err != nil {
			return c.Err
		}
	}
	return nil
}

func missingVault(name, vaultARN string, err error) Condition {
	if f := fault.As(err); f == nil || f.Kind != fault.Denied && f.Kind != fault.NotFound {
		return Condition{Name: name, Err: err}
	}
	return Condition{Name: name, Category: InvalidParameters, Message: "Backup job failed because backup vault " + vaultARN + " does not exist.",
		Missing: []Missing{{Account: arn.AccountOf(vaultARN), Policy: "backup vaults", Note: "create the vault, or correct its ARN"}}}
}

func (k *Checker) vault(ctx context.Context, vaultARN string) (backup.WorkVault, error) {
	account, region, name, ok := backup.ParseVaultARN(vaultARN)
	if !ok {
		return backup.WorkVault{}, fault.New(fault.Invalid, "%q is not the ARN of a backup vault.", vaultARN)
	}
	v, err := k.Backup.Vault(ctx, account, region, name)
	if err != nil {
		return backup.WorkVault{}, err
	}
	return work(v), nil
}

func work(v backup.Vault) backup.WorkVault {
	return backup.WorkVault{Account: v.Account, Region: v.Region, Name: v.Name, ARN: v.ARN(), ID: v.Repository, KeyARN: v.KeyARN}
}
