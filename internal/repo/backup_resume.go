package repo

import "context"

// keepLeast is how much a session that is cut off must have in unfinished packs to have them finished, so that it can go on
// from there. Less is not worth a small pack.
const keepLeast = 4 << 20

// suspend ends a session that did not commit and keeps what it has stored for the next attempt, as far as the store lets it.
// Nothing else uses the session any more. It takes as long as finishing the packs that are being filled.
func (s *session) suspend(ctx context.Context) {
	defer s.end()
	ctx = context.WithoutCancel(ctx)
	k := s.sink
	if k.closeAll(ctx, min(keepLeast, k.unit)) != nil || k.failed() != nil {
		return
	}
	if err := k.publishNow(ctx); err != nil {
		s.r.log.Warn("what a backup has stored is not kept for its next attempt", "point", s.id, "err", err)
	}
}

// publishNow has all finished packs made known and recorded.
func (s *sink) publishNow(ctx context.Context) error {
	s.publisher.Lock()
	defer s.publisher.Unlock()
	if err := s.publish(ctx, s.take()); err != nil {
		return err
	}
	s.keep.record(ctx, nil)
	return nil
}
