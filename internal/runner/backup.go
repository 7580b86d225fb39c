package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/job"
	"strongroom/internal/preflight"
	"strongroom/internal/repo"
)

// backup is the body of a backup job.
func (r *Runner) backup(ctx context.Context, l job.Lease) error {
	w, err := r.Backup.BeginBackup(ctx, l)
	if errors.Is(err, job.ErrEnded) { // perhaps after an attempt that got as far as to commit
		r.discardBackup(ctx, l)
	}
	if err != nil {
		return err
	}
	ctx, cancel := r.until(ctx, w.CompleteBy)
	defer cancel()
	res, err := r.runBackup(ctx, l, w)
	if err == nil && context.Cause(ctx) == nil {
		err = r.Backup.FinishBackup(ctx, l, res)
	}
	return r.settle(ctx, l, err, r.endBackup)
}

func (r *Runner) runBackup(ctx context.Context, l job.Lease, w backup.BackupWork) (backup.BackupResult, error) {
	var none backup.BackupResult
	env := r.env(w.Region, w.JobID)
	role, err := r.roleSession(ctx, w.RoleARN, preflight.SessionName(w.JobID), w.Account, w.Point.ResourceARN)
	if err != nil {
		return none, err
	}
	tags, err := r.resourceTags(ctx, w.Account, w.Region, w.Point.ResourceARN)
	if err != nil {
		return none, err
	}
	err = r.Authz.Authorize(ctx, role, env, access.Check{Action: readAction(w.Point.ResourceType), Resource: w.Point.ResourceARN, Context: tags})
	if f := fault.As(err); f != nil && f.Kind == fault.Denied {
		return none, refuse(preflight.AccessDenied, "IAM Role %s does not have sufficient permissions to execute the backup. %s", w.RoleARN, f.Msg)
	} else if err != nil {
		return none, err
	}
	src, err := r.Agents.Source(ctx, w.Account, w.Point.ResourceARN)
	if err != nil {
		return none, err
	}
	defer src.Close()
	vault, err := r.openVault(ctx, servicePrincipal(), env, w.Vault, true)
	if err != nil {
		return none, err
	}
	defer vault.Close()
	detail := w.Detail
	detail.RestoreMetadata = restoreMetadata(w)
	report := r.Backup.Reporter(l)
	rc, err := vault.Backup(ctx, src, repo.BackupOptions{
		ID:   w.Point.ID,
		Base: w.BaseID,
		Meta: repo.Meta{
			Owner: w.Vault.Account, ResourceARN: w.Point.ResourceARN, RecoveryPointARN: w.Point.ARN,
			ResourceType: w.Point.ResourceType, Created: w.Point.Created, RetainUntil: w.DeleteAt, Locked: w.Vault.Sealed, Labels: detail.Labels(w.Tags),
		},
		Progress: func(p repo.Progress) {
			report.Progress(ctx, backup.Progress{Bytes: p.Bytes, Percent: percent(p)})
		},
	})
	if err != nil {
		return none, err
	}
	return backup.BackupResult{
		SizeBytes:        rc.Stats.LogicalBytes,
		TransferredBytes: rc.Stats.NewBytes,
		ResourceName:     w.Point.ResourceName,
		Receipt:          encodeReceipt(rc),
		RestoreMetadata:  detail.RestoreMetadata,
		Problems:         rc.ProblemCount,
		FirstProblems:    firstProblems(rc.Problems),
	}, nil
}

// restoreMetadata is what a client can hand back to StartRestoreJob.
func restoreMetadata(w backup.BackupWork) map[string]string {
	_, id, _ := lastCut(w.Point.ResourceARN, "/")
	return map[string]string{
		"file-system-id": id, "Encrypted": "true", "KmsKeyId": w.Vault.KeyARN, "PerformanceMode": "generalPurpose", "newFileSystem": "false",
	}
}

// readAction is the permission that a role needs on a resource of the type to back it up.
func readAction(resourceType string) string {
	switch resourceType {
	case "EFS":
		return "elasticfilesystem:Backup"
	}
	return "backup:StartBackupJob"
}

// resourceTags are the tags that an agent declares for a resource, as condition keys.
func (r *Runner) resourceTags(ctx context.Context, account, region, name string) (access.Context, error) {
	c := access.Context{}
	declared, err := r.Backup.DeclaredResource(ctx, account, region, name)
	if err != nil && !fault.Is(err, fault.NotFound) { // without its tags, what a policy denies would be allowed
		return nil, err
	}
	for k, v := range declared.Tags {
		c["aws:ResourceTag/"+k] = []string{v}
	}
	return c, nil
}

func percent(p repo.Progress) float64 {
	if p.Total <= 0 {
		return 0
	}
	return min(99.9, float64(p.Bytes)/float64(p.Total)*100)
}

// receipt is what the catalog keeps of the engine's proof of commit.
type receipt struct {
	ID        string `json:"id"`
	Root      []byte `json:"root"`
	Committed int64  `json:"committed_us"`
	Stored    int64  `json:"stored_bytes"`
	Chunks    int64  `json:"chunks"`
}

func encodeReceipt(rc repo.Receipt) []byte {
	return Receipt(rc.ID, rc.Root, rc.Committed, rc.Stats)
}

// Receipt is what the catalog keeps of a committed recovery point.
func Receipt(id string, root [32]byte, committed time.Time, stats repo.Stats) []byte {
	raw, _ := json.Marshal(receipt{id, root[:], committed.UnixMicro(), stats.StoredBytes, stats.Chunks})
	return raw
}

// firstProblems words the first few problems for a status message, where each one is quoted as a whole.
func firstProblems(ps []repo.Problem) []string {
	const most = 5
	var out []string
	for i, p := range ps {
		if i == most {
			break
		}
		out = append(out, fmt.Sprintf("%s: %s", p.Path, p.Reason))
	}
	return out
}
