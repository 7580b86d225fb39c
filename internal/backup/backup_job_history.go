package backup

import (
	"context"
	"time"

	"strongroom/internal/db"
)

// jobKept is how long ended jobs are kept. It is longer than they are listed, because the rows also keep a run from
// happening twice when the clock goes back.
const jobKept = 90 * 24 * time.Hour

// ForgetJobs deletes jobs that ended long ago and the idempotency tokens of that time, some at a time. Recovery points are not
// touched. It returns how many rows went; call it again while that is not zero, then after a while.
func (s *Service) ForgetJobs(ctx context.Context) (n int, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		n = 0
		before := db.Micros(tx.Now.Add(-jobKept))
		for _, table := range []string{"backup_job", "copy_job", "restore_job"} {
			gone, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE (account, region, id) IN (SELECT account, region, id FROM "+table+" WHERE completed > 0 AND completed < ? LIMIT ?)", before, jobBatch)
			if err != nil {
				return err
			}
			n += int(gone)
		}
		gone, err := tx.Exec(ctx, `DELETE FROM start_token WHERE (account, region, operation, token) IN
			(SELECT account, region, operation, token FROM start_token WHERE created < ? LIMIT ?)`, before, jobBatch)
		n += int(gone)
		return err
	})
	return n, err
}
