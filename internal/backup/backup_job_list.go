package backup

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"strongroom/internal/db"
)

// JobHistory is how long jobs are listed.
const JobHistory = 30 * 24 * time.Hour

// AllAccounts as JobFilter.Account asks for the jobs of the whole organization.
const AllAccounts = "*"

// JobFilter narrows a list of jobs; zero fields do not. What a kind of job does not have is ignored for it.
type JobFilter struct {
	Account         string // another account, or AllAccounts; "" is the caller's own
	State           State
	ResourceARN     string
	ResourceType    string
	Vault           string // name; backup jobs
	DestinationARN  string // vault; copy jobs
	SourcePointARN  string // copy jobs
	MessageCategory string
	ParentID        string // no job has a parent yet
	CreatedBefore   time.Time
	CreatedAfter    time.Time
	CompleteBefore  time.Time
	CompleteAfter   time.Time
}

// BackupJobs lists the backup jobs of the last 30 days, newest first. Jobs that come meanwhile do not disturb later pages.
func (s *Service) BackupJobs(ctx context.Context, account, region string, f JobFilter, p Page) (list []BackupJob, next string, err error) {
	q, err := s.jobList(ctx, "backup_job", account, region, f, p)
	if err != nil || q.none {
		return nil, "", err
	}
	if f.Vault != "" {
		q.where.add("vault = ?", f.Vault)
	}
	if f.MessageCategory != "" {
		q.where.add("category = ?", f.MessageCategory)
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, err = queryBackupJobs(ctx, tx, q.tail(), q.args()...)
		return err
	})
	return cut(s, q, list, func(j BackupJob) cursor { return cursor{db.Micros(j.Created), j.ID} }, err)
}

// CopyJobs is BackupJobs for copy jobs.
func (s *Service) CopyJobs(ctx context.Context, account, region string, f JobFilter, p Page) (list []CopyJob, next string, err error) {
	q, err := s.jobList(ctx, "copy_job", account, region, f, p)
	if err != nil || q.none {
		return nil, "", err
	}
	if f.DestinationARN != "" {
		q.where.add("destination_vault_arn = ?", f.DestinationARN)
	}
	if f.SourcePointARN != "" {
		q.where.add("source_point_arn = ?", f.SourcePointARN)
	}
	if f.MessageCategory != "" {
		q.where.add("category = ?", f.MessageCategory)
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, err = queryCopyJobs(ctx, tx, q.tail(), q.args()...)
		return err
	})
	return cut(s, q, list, func(j CopyJob) cursor { return cursor{db.Micros(j.Created), j.ID} }, err)
}

// RestoreJobs is BackupJobs for restore jobs. Its State is what the API calls Status.
func (s *Service) RestoreJobs(ctx context.Context, account, region string, f JobFilter, p Page) (list []RestoreJob, next string, err error) {
	q, err := s.jobList(ctx, "restore_job", account, region, f, p)
	if err != nil || q.none {
		return nil, "", err
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, err = queryRestoreJobs(ctx, tx, q.tail(), q.args()...)
		return err
	})
	return cut(s, q, list, func(j RestoreJob) cursor { return cursor{db.Micros(j.Created), j.ID} }, err)
}

// jobQuery is a list of jobs being asked for.
type jobQuery struct {
	where where
	at    []string
	size  int
	none  bool // nothing can match
}

func (q jobQuery) tail() string {
	return q.where.String() + " ORDER BY created DESC, id DESC LIMIT ?"
}

// args are those of tail: one row more than fits tells whether there is another page.
func (q jobQuery) args() []any { return append(slices.Clone(q.where.args), q.size+1) }

// jobList turns what all kinds of jobs have in common into a query.
func (s *Service) jobList(ctx context.Context, table, account, region string, f JobFilter, p Page) (*jobQuery, error) {
	filters, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	q := &jobQuery{at: []string{table, account, region, string(filters)}, size: p.size()}
	c, started, err := s.start(p, q.at...)
	if err != nil {
		return nil, err
	}
	accounts, err := s.visibleAccounts(ctx, account, f.Account)
	if err != nil || len(accounts) == 0 || f.ParentID != "" {
		q.none = true
		return q, err
	}
	q.where.add("region = ?", region)
	q.where.add("account IN (?"+strings.Repeat(", ?", len(accounts)-1)+")", accounts...)
	oldest := s.Clock.Now().Add(-JobHistory)
	if f.CreatedAfter.After(oldest) {
		oldest = f.CreatedAfter
	}
	q.where.add("created >= ?", db.Micros(oldest))
	for _, m := range []struct{ condition, value string }{
		{"state = ?", string(f.State)}, {"resource_arn = ?", f.ResourceARN}, {"resource_type = ?", f.ResourceType},
	} {
		if m.value != "" {
			q.where.add(m.condition, m.value)
		}
	}
	for _, m := range []struct {
		condition string
		at        time.Time
	}{
		{"created < ?", f.CreatedBefore}, {"completed > 0 AND completed < ?", f.CompleteBefore}, {"completed > ?", f.CompleteAfter},
	} {
		if !m.at.IsZero() {
			q.where.add(m.condition, db.Micros(m.at))
		}
	}
	if started {
		q.where.add("(created, id) < (?, ?)", c.At, c.ID)
	}
	return q, nil
}

// cut makes a page out of the rows read, one more than fit if there are more.
func cut[T any](s *Service, q *jobQuery, list []T, key func(T) cursor, err error) ([]T, string, error) {
	if err != nil || len(list) <= q.size {
		return list, "", err
	}
	list = list[:q.size]
	return list, s.token(key(list[len(list)-1]), q.at...), nil
}

// visibleAccounts says whose jobs the account sees when it asks for those of asked. The management account and, with service
// access enabled, a delegated administrator see the organization's; everybody else sees their own and nobody else's.
func (s *Service) visibleAccounts(ctx context.Context, account, asked string) ([]any, error) {
	if asked == "" || asked == account {
		return []any{account}, nil
	}
	own := []any{account}
	if asked != AllAccounts {
		own = nil
	}
	m, err := s.Org.Membership(ctx, account)
	if err != nil || m.OrgID == "" || !m.Trusted || m.Management != account && !m.Delegated {
		return own, err
	}
	members, err := s.Org.Accounts(ctx, m.OrgID)
	if err != nil {
		return nil, err
	}
	if asked != AllAccounts {
		if !slices.Contains(members, asked) {
			return nil, nil
		}
		members = []string{asked}
	}
	accounts := make([]any, len(members))
	for i, a := range members {
		accounts[i] = a
	}
	return accounts, nil
}

// RestoreJobsByResource lists the restore jobs of a resource's recovery points, those of the newest recovery points first.
func (s *Service) RestoreJobsByResource(ctx context.Context, account, region, resourceARN string, pointAfter, pointBefore time.Time, state State, p Page) (list []RestoreJob, next string, err error) {
	q := &jobQuery{at: []string{"restore_job by resource", account, region, resourceARN, pointAfter.String(), pointBefore.String(), string(state)}, size: p.size()}
	c, started, err := s.start(p, q.at...)
	if err != nil {
		return nil, "", err
	}
	q.where.add("account = ? AND region = ? AND resource_arn = ?", account, region, resourceARN)
	if !pointAfter.IsZero() {
		q.where.add("point_created >= ?", db.Micros(pointAfter))
	}
	if !pointBefore.IsZero() {
		q.where.add("point_created < ?", db.Micros(pointBefore))
	}
	if state != "" {
		q.where.add("state = ?", string(state))
	}
	if started {
		q.where.add("(point_created, id) < (?, ?)", c.At, c.ID)
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, err = queryRestoreJobs(ctx, tx, q.where.String()+" ORDER BY point_created DESC, id DESC LIMIT ?", append(q.where.args, q.size+1)...)
		return err
	})
	return cut(s, q, list, func(j RestoreJob) cursor { return cursor{db.Micros(j.PointCreated), j.ID} }, err)
}
