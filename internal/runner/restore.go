package runner

import (
	"context"
	"fmt"
	"strings"

	"strongroom/internal/access"
	"strongroom/internal/agent"
	"strongroom/internal/arn"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/preflight"
	"strongroom/internal/repo"
)

// restore is the body of a restore job.
func (r *Runner) restore(ctx context.Context, l job.Lease) error {
	w, err := r.Backup.BeginRestore(ctx, l)
	if err != nil {
		return err
	}
	res, err := r.runRestore(ctx, l, w)
	if err == nil && context.Cause(ctx) == nil {
		err = r.Backup.FinishRestore(ctx, l, res)
	}
	return r.settle(ctx, l, err, r.endRestore)
}

func (r *Runner) runRestore(ctx context.Context, l job.Lease, w backup.RestoreWork) (backup.RestoreResult, error) {
	var none backup.RestoreResult
	env := r.env(w.Region, w.JobID)
	role, err := r.roleSession(ctx, w.RoleARN, preflight.SessionName(w.JobID), w.Account, w.Point.ARN)
	if err != nil {
		return none, err
	}
	req, err := agent.ParseRestore(w.Metadata)
	if err != nil {
		return none, err
	}
	into := restoreTarget(w, req)
	tags, err := r.resourceTags(ctx, w.Account, w.Region, into)
	if err != nil {
		return none, err
	}
	err = r.Authz.Authorize(ctx, role, env, access.Check{Action: writeAction(w.Point.ResourceType), Resource: into, Context: tags})
	if f := fault.As(err); f != nil && f.Kind == fault.Denied {
		return none, refuse(preflight.AccessDenied, "IAM Role %s does not have sufficient permissions to execute the restore. %s", w.RoleARN, f.Msg)
	} else if err != nil {
		return none, err
	}
	req.JobID, req.CreatedAt = w.JobID, w.Created
	vault, err := r.openVault(ctx, servicePrincipal(), env, w.Vault, false)
	if err != nil {
		return none, err
	}
	defer vault.Close()
	point, err := vault.Point(ctx, w.Point.ID)
	if fault.Is(err, fault.NotFound) {
		return none, refuse(preflight.InvalidParameters, "Cannot find recovery point %s: it was deleted before the restore began.", w.Point.ARN)
	}
	if err != nil {
		return none, err
	}
	target, err := r.Agents.Restore(ctx, w.Account, w.Region, w.Point.ResourceType, req)
	if err != nil {
		return none, err
	}
	defer func() {
		if err := target.Close(); err != nil {
			r.Log.Warn("restore left something behind", "job", w.JobID, "resource", target.ResourceARN(), "err", err)
		}
	}()
	report := r.Backup.Reporter(l)
	done, err := point.Restore(ctx, target, repo.RestoreOptions{
		Include: req.Items,
		Progress: func(p repo.Progress) {
			report.Progress(ctx, backup.Progress{Bytes: p.Bytes, Percent: percent(p)})
		},
	})
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound && len(req.Items) > 0 {
		return none, refuse(preflight.InvalidParameters, "ItemsToRestore: %s", f.Msg)
	}
	if err != nil {
		return none, err
	}
	// What the recovery point does not hold faithfully was not restored faithfully either; incomplete names it.
	res := backup.RestoreResult{CreatedResourceARN: target.ResourceARN(), SizeBytes: done.Bytes, Problems: done.RefusedCount + done.IncompleteCount}
	for i, x := range done.Refused {
		if i == 5 {
			break
		}
		res.FirstProblems = append(res.FirstProblems, fmt.Sprintf("%s: %s", x.Path, x.Reason))
	}
	if done.IncompleteCount > 0 {
		res.Message = incomplete(done)
	}
	return res, nil
}

// restoreTarget is what the role must be allowed to restore into: the file system that the metadata names, or any when a new one is
// made.
func restoreTarget(w backup.RestoreWork, req agent.RestoreRequest) string {
	id := req.FileSystemID
	switch {
	case req.NewFileSystem:
		id = "*"
	case strings.HasPrefix(id, "arn:"):
		return id
	}
	return arn.Make("elasticfilesystem", w.Region, w.Account, "file-system/"+id)
}

// incomplete says what the recovery point itself, which is PARTIAL, could not give back.
func incomplete(done repo.RestoreReport) string {
	var first []string
	for i, p := range done.Incomplete {
		if i == 5 {
			break
		}
		first = append(first, fmt.Sprintf("%q: %s", p.Path, p.Reason))
	}
	if done.DamagedCount > 0 {
		return fmt.Sprintf("The vault is damaged: %d objects of the recovery point were left out because of it, and %d were not read faithfully when it was made (%s).",
			done.DamagedCount, done.IncompleteCount-done.DamagedCount, strings.Join(first, "; "))
	}
	return fmt.Sprintf("The recovery point is PARTIAL: %d of its objects were not read faithfully when it was made (%s).", done.IncompleteCount, strings.Join(first, "; "))
}

// writeAction is the permission that a role needs to restore a resource of the type.
func writeAction(resourceType string) string {
	switch resourceType {
	case "EFS":
		return "elasticfilesystem:Restore"
	}
	return "backup:StartRestoreJob"
}
