package repo

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
)

const (
	// IngestMemory is how many bytes the messages of all sessions of a Registry take at most, unless LimitIngest says otherwise.
	IngestMemory = 256 << 20
	// messageMemory is what one message may take: its frames, and one of them decompressed.
	messageMemory = MaxMessage + chunk.MaxSize
	// sessionCredit is what one session may have under way at most.
	sessionCredit = 4 * MaxMessage
)

// intake is the memory for messages of all sessions. A message is admitted in the order of arrival, and a session has no
// more than its credit waiting or admitted: so one that sends much delays another one by its credit at most.
type intake struct {
	room *semaphore.Weighted
	size int64

	mu         sync.Mutex
	used, peak int64
}

func newIntake(size int64) *intake { return &intake{room: semaphore.NewWeighted(size), size: size} }

// LimitIngest sets how many bytes the messages of all sessions may take together: what is sent and not yet answered, and what
// is decompressed of it. It is called before the first session begins. Less than one message (20 MiB) is fault.Invalid.
func (g *Registry) LimitIngest(bytes int64) error {
	if bytes < messageMemory {
		return fault.New(fault.Invalid, "the sessions need %d bytes at least: one message and a chunk", messageMemory)
	}
	g.intake = newIntake(bytes)
	return nil
}

// share is the part of one session.
type share struct {
	in     *intake
	credit int64

	mu   sync.Mutex
	used int64 // by messages that wait or were admitted
}

func (i *intake) share() *share {
	return &share{in: i, credit: max(MaxMessage, min(sessionCredit, i.size/4))}
}

// admit waits until there is memory for a message with so many bytes of frames, the largest of which takes so much when it is
// decompressed. A source that is beyond its credit is not let in: nothing is kept of its message.
func (s *share) admit(ctx context.Context, bytes, largest int64) (free func(), err error) {
	s.mu.Lock()
	if s.used+bytes > s.credit {
		used := s.used
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", ErrRepeat, fault.New(fault.Unavailable,
			"%d bytes came while %d are not answered, and the credit is %d: wait for answers", bytes, used, s.credit))
	}
	s.used += bytes
	s.mu.Unlock()
	n := bytes + largest
	if err := s.in.room.Acquire(ctx, n); err != nil {
		s.give(bytes)
		return nil, context.Cause(ctx)
	}
	s.in.mu.Lock()
	s.in.used += n
	s.in.peak = max(s.in.peak, s.in.used)
	s.in.mu.Unlock()
	return func() {
		s.in.mu.Lock()
		s.in.used -= n
		s.in.mu.Unlock()
		s.in.room.Release(n)
		s.give(bytes)
	}, nil
}

func (s *share) give(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= bytes
}
