package runner

import (
	"context"
	"strings"

	"strongroom/internal/arn"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/preflight"
	"strongroom/internal/repo"
)

// copy is the body of a copy job.
func (r *Runner) copy(ctx context.Context, l job.Lease) error {
	if err := r.reachable(ctx, l); err != nil {
		return r.settle(ctx, l, err, r.endCopy)
	}
	w, err := r.Backup.BeginCopy(ctx, l)
	if err != nil {
		return err
	}
	res, err := r.runCopy(ctx, l, w)
	if err == nil && context.Cause(ctx) == nil {
		err = r.Backup.FinishCopy(ctx, l, res)
	}
	return r.settle(ctx, l, err, r.endCopy)
}

// reachable refuses a copy out of the organization before the destination is looked at: how it would fail there is nobody's
// business in the source account.
func (r *Runner) reachable(ctx context.Context, l job.Lease) error {
	j, err := r.Backup.CopyJob(ctx, l.Account, l.Region, l.ID)
	if fault.Is(err, fault.NotFound) {
		return nil // BeginCopy deals with it
	}
	destination := arn.AccountOf(j.DestinationVaultARN)
	if err != nil || destination == j.Account {
		return err
	}
	c := r.Preflight.SameOrganization(ctx, j.Account, destination)
	if c.Err != nil || c.OK {
		return c.Err
	}
	return refuse(c.Category, "%s", c.Message)
}

func (r *Runner) runCopy(ctx context.Context, l job.Lease, w backup.CopyWork) (backup.CopyResult, error) {
	var none backup.CopyResult
	path := preflight.Path{Account: w.Account, Region: w.Region, RoleARN: w.RoleARN, Source: w.Source, Point: w.SourcePoint, Destination: w.Destination, JobID: w.JobID}
	for _, c := range r.Preflight.Copy(ctx, path) {
		if c.Err != nil {
			return none, c.Err
		}
		if !c.OK {
			return none, refuse(c.Category, "%s", c.Message)
		}
	}
	env := r.env(w.Region, w.JobID)
	source, err := r.openVault(ctx, servicePrincipal(), env, w.Source, false)
	if err != nil {
		return none, err
	}
	defer source.Close()
	point, err := source.Point(ctx, w.SourcePoint.ID)
	if fault.Is(err, fault.NotFound) {
		return none, refuse(preflight.InvalidParameters, "Cannot find recovery point %s in backup vault %s: it was deleted before the copy began. Copy another recovery point.", w.SourcePoint.ARN, w.Source.ARN)
	}
	if err != nil {
		return none, err
	}
	destEnv := r.env(w.Destination.Region, w.JobID)
	dest, err := r.openVault(ctx, servicePrincipal(), destEnv, w.Destination, true)
	if err != nil {
		return none, err
	}
	defer dest.Close()
	report := r.Backup.Reporter(l)
	rc, err := repo.Copy(ctx, point, dest, repo.CopyOptions{
		ID: w.Point.ID,
		Meta: repo.Meta{
			Owner: w.Destination.Account, ResourceARN: w.Point.ResourceARN, RecoveryPointARN: w.Point.ARN,
			ResourceType: w.Point.ResourceType, Created: w.Point.Created, RetainUntil: w.DeleteAt, Locked: w.Destination.Sealed, Labels: w.Detail.Labels(w.Tags),
		},
		Progress: func(p repo.Progress) {
			report.Progress(ctx, backup.Progress{Bytes: p.Bytes, Percent: percent(p)})
		},
	})
	if err != nil {
		return none, err
	}
	return backup.CopyResult{SizeBytes: rc.Stats.LogicalBytes, TransferredBytes: rc.Stats.NewBytes, Receipt: encodeReceipt(rc)}, nil
}

// lastCut splits s around the last sep.
func lastCut(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}
