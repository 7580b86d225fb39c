package server

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/backup"
	"strongroom/internal/job"
)

// How often the node's own work runs. Each loop also runs once at start.
const (
	persistEvery  = time.Minute      // compliance clock: what a crash may lose of it
	expireEvery   = 10 * time.Minute // expiry and cold transition of recovery points
	pruneEvery    = time.Hour        // freeing bytes
	declareEvery  = time.Minute      // file systems that restores have made become resources
	keysEvery     = 10 * time.Minute // key rotation and destruction
	accountsEvery = time.Second      // accounts being created
)

// work runs the job pool and the node's loops until ctx ends.
func (s *Server) work(ctx context.Context) error {
	// Before anything expires or is made: a catalog that is an old copy, or was edited, is put right first.
	s.compare(ctx)
	g, ctx := errgroup.WithContext(ctx)
	pool := &job.Pool{Queue: s.queue, Handlers: s.runner.Handlers(s.cfg.Jobs)}
	g.Go(func() error { return pool.Run(ctx) })
	g.Go(func() error { return s.backup.RunScheduler(ctx) })
	g.Go(func() error {
		return s.every(ctx, "compliance clock", persistEvery, func(context.Context) error { return s.trusted.Persist() })
	})
	g.Go(func() error { return s.every(ctx, "expiry", expireEvery, s.runner.Expire) })
	g.Go(func() error { return s.every(ctx, "prune", pruneEvery, s.runner.Prune) })
	g.Go(func() error { return s.every(ctx, "retire", pruneEvery, s.runner.Retire) })
	g.Go(func() error {
		return s.every(ctx, "vault locks", expireEvery, func(ctx context.Context) error { _, err := s.backup.SealLocks(ctx); return err })
	})
	g.Go(func() error {
		return s.every(ctx, "keys", keysEvery, func(ctx context.Context) error { _, err := s.kms.RunOnce(ctx); return err })
	})
	g.Go(func() error { return s.iam.Run(ctx) })
	g.Go(func() error { return s.every(ctx, "ended jobs", pruneEvery, s.forgetJobs) })
	g.Go(func() error {
		if err := s.agents.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("interrupted restores could not be cleaned up", "err", err)
		}
		return nil
	})
	g.Go(func() error { return s.every(ctx, "declared resources", declareEvery, s.declare) })
	g.Go(func() error {
		return s.every(ctx, "accounts", accountsEvery, func(ctx context.Context) error { _, err := s.org.RunOnce(ctx); return err })
	})
	return g.Wait()
}

// every runs step now and then at the interval. A failure is logged and the step tried again next time.
func (s *Server) every(ctx context.Context, name string, d time.Duration, step func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := step(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("periodic work", "what", name, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-s.cfg.Clock.After(d):
		}
	}
	return nil
}

func (s *Server) forgetJobs(ctx context.Context) error {
	for {
		n, err := s.backup.ForgetJobs(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

// declare tells the backup service which resources the embedded agents have. An agent's identity is its place: one per
// account and region, so that a removed agent file also removes what it declared.
func (s *Server) declare(ctx context.Context) error {
	type place struct{ account, region string }
	all := map[place][]backup.Resource{}
	for _, d := range s.agents.All() {
		p := place{d.Account, d.Region}
		all[p] = append(all[p], backup.Resource{ARN: d.ARN, Type: d.Type, Name: d.Name, Account: d.Account, Region: d.Region, Tags: d.Tags})
	}
	const prefix = "embedded/"
	known, err := s.backup.DeclaringAgents(ctx)
	if err != nil {
		return err
	}
	for _, id := range known {
		account, region, ok := strings.Cut(strings.TrimPrefix(id, prefix), "/")
		if p := (place{account, region}); ok && strings.HasPrefix(id, prefix) && all[p] == nil {
			all[p] = []backup.Resource{}
		}
	}
	for p, list := range all {
		if err := s.backup.DeclareResources(ctx, prefix+p.account+"/"+p.region, list); err != nil {
			return err
		}
	}
	return nil
}
