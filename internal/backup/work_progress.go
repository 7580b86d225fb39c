package backup

import (
	"context"
	"sync"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/job"
)

// progressEvery is how often at most a job's progress is written: a body may report each chunk without loading the catalog.
const progressEvery = 2 * time.Second

// Reporter writes the progress of one attempt. Safe for concurrent use.
type Reporter struct {
	s *Service
	l job.Lease

	mu   sync.Mutex
	next time.Time // guarded by mu: earlier reports are dropped
}

// Reporter returns the reporter of an attempt.
func (s *Service) Reporter(l job.Lease) *Reporter { return &Reporter{s: s, l: l} }

// Progress records how far the job is. Most calls do nothing; the heartbeat is the pool's business and independent of it.
// Errors: Conflict when the lease is lost; others are harmless to the job.
func (r *Reporter) Progress(ctx context.Context, p Progress) error {
	now := r.s.Clock.Now()
	r.mu.Lock()
	wait := now.Before(r.next) && r.next.Sub(now) <= progressEvery // a clock that was set back does not silence it
	if !wait {
		r.next = now.Add(progressEvery)
	}
	r.mu.Unlock()
	if wait {
		return nil
	}
	return r.s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := r.l.Check(ctx, tx); err != nil {
			return err
		}
		set, args := "message = CASE WHEN ? = '' THEN message ELSE ? END", []any{p.Message, p.Message}
		table := "backup_job"
		switch r.l.Kind {
		case BackupKind:
			set, args = set+", transferred = ?, permille = ?", append(args, p.Bytes, permille(p.Percent))
		case CopyKind:
			table = "copy_job"
			set, args = set+", transferred = ?", append(args, p.Bytes)
		case RestoreKind:
			table = "restore_job"
			set, args = set+", permille = ?", append(args, permille(p.Percent))
		default:
			return nil
		}
		_, err := tx.Exec(ctx, "UPDATE "+table+" SET "+set+" WHERE account = ? AND region = ? AND id = ?", append(args, r.l.Account, r.l.Region, r.l.ID)...)
		return err
	})
}
