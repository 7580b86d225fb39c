package repo

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

// session is the writing of one recovery point, from any source: what Backup and Copy have in common.
type session struct {
	r       *Repository
	id      string
	pin     *pin
	sink    *sink
	release func()
	base    *record  // of the same resource, whose reference set this one's may build on; nil: none
	free    []func() // lets go of reference sets
	ended   sync.Once
}

// open begins a session. When the recovery point exists already, done is its record and there is no session: the work was
// finished by an earlier attempt whose caller did not hear of it.
func (r *Repository) open(ctx context.Context, id string) (s *session, done *record, err error) {
	if err := needRoot(r); err != nil {
		return nil, nil, err
	}
	if err := checkID(id); err != nil {
		return nil, nil, err
	}
	release, err := r.v.claim(id)
	if err != nil {
		return nil, nil, err
	}
	p, _, err := r.v.journal.state(ctx, id)
	if err == nil && p.forgotten {
		err = errForgotten(id)
	}
	if err == nil {
		done, err = r.record(ctx, id)
		if fault.Is(err, fault.NotFound) {
			err = nil
		}
	}
	if err != nil || done != nil {
		release()
		return nil, done, err
	}
	s = &session{r: r, id: id, pin: r.v.begin(), release: release}
	s.sink = r.newSink(s.pin)
	return s, nil, nil
}

// end ends the session, committed or not. It may be called twice.
func (s *session) end() {
	s.ended.Do(func() {
		s.sink.abort()
		s.pin.end()
		for _, free := range s.free {
			free()
		}
		s.release()
	})
}

// commit makes the recovery point. The order is what a crash cannot break: packs, index, reference set, record.
func (s *session) commit(ctx context.Context, meta Meta, root seal.Hash, stats Stats, problems []Problem, count int64) (*record, error) {
	refs, err := s.sink.finish(ctx)
	if err == nil {
		err = s.unsound(refs)
	}
	if err != nil {
		return nil, err
	}
	rec := &record{
		id: s.id, committed: s.r.clock.Now().UTC().Round(0), retain: meta.RetainUntil.UTC(), locked: meta.Locked, open: true,
		meta: meta, root: root, stats: stats, shown: problems, problem: count,
	}
	rec.meta.Created = meta.Created.UTC().Round(0)
	rec.stats.NewChunks, rec.stats.StoredBytes = s.sink.newChunks.Load(), s.sink.storedBytes.Load()
	rec.stats.Chunks = refs.total()
	rand.Read(rec.attempt[:])
	if err := s.putRefs(ctx, rec, refs); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The point of no return: with this object the recovery point exists. If the store reports a failure, it may exist all
	// the same; the caller's retry finds out.
	if err := s.r.store.Put(ctx, pointName(s.id), rec.encode(s.r.root, s.r.maint)); err != nil {
		return nil, fmt.Errorf("commit recovery point %s: %w", s.id, err)
	}
	s.r.v.records.put(rec)
	// What follows is bookkeeping that Prune repeats if it fails now; the caller must hear of the commit.
	after := context.WithoutCancel(ctx)
	if err := s.r.v.journal.committed(after, s.id, rec.committed); err != nil {
		s.r.log.Warn("journal does not know a new recovery point yet", "point", s.id, "err", err)
	}
	if s.pin.met.Load() {
		if err := s.r.healNow(after); err != nil {
			s.r.log.Warn("recovery points that were damaged do not name yet what came back", "point", s.id, "err", err)
		}
	}
	s.r.keepHealth(after)
	if err := s.r.v.index.Compact(after); err != nil {
		s.r.log.Warn("index segments were not merged", "err", err)
	}
	s.r.v.reserve(after)
	return rec, nil
}
