package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo/repotest"
)

// seedOf is the seed of a random test, or the one to be replayed.
func seedOf(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("STRONGROOM_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		must(t, err)
		seed = n
	}
	t.Logf("STRONGROOM_SEED=%d", seed)
	return seed
}

// hasty is a clock on which nothing takes time, for sources that wait before they repeat a message.
type hasty struct{ *clock.Fake }

func (h hasty) After(time.Duration) <-chan time.Time {
	ch := make(chan time.Time, 1)
	ch <- h.Now()
	return ch
}

var errLost = fmt.Errorf("%w: the connection broke", ErrRepeat)

// lossy carries messages as a bad network would: requests and replies get lost, arrive twice at once, and again much later.
type lossy struct {
	s *Session

	mu     sync.Mutex
	rng    *rand.Rand
	late   []func() // messages that are still on their way although they were answered
	counts [5]int   // lost requests, lost replies, doubles, late ones, all
}

func (l *lossy) dice() (lost, mute, twice, later bool, stale func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, mute, twice, later = l.rng.IntN(8) == 0, l.rng.IntN(8) == 0, l.rng.IntN(8) == 0, l.rng.IntN(8) == 0
	if len(l.late) > 0 && l.rng.IntN(3) == 0 {
		i := l.rng.IntN(len(l.late))
		stale = l.late[i]
		l.late = append(l.late[:i], l.late[i+1:]...)
		l.counts[3]++
	}
	l.counts[4]++
	if lost {
		l.counts[0]++
	} else if mute {
		l.counts[1]++
	}
	if twice {
		l.counts[2]++
	}
	return lost, mute, twice, later, stale
}

// carry delivers one message. do works on a message of its own, as it may run after the sender reused its memory.
func carry[T any](l *lossy, do func() (T, error)) (T, error) {
	lost, mute, twice, later, stale := l.dice()
	if stale != nil {
		stale()
	}
	var none T
	if lost {
		return none, errLost
	}
	var second sync.WaitGroup
	if twice {
		second.Go(func() { do() })
	}
	v, err := do()
	second.Wait()
	if later {
		l.mu.Lock()
		l.late = append(l.late, func() { do() })
		l.mu.Unlock()
	}
	if mute {
		return none, errLost
	}
	return v, err
}

func copyFrames(frames []Frame) []Frame {
	out := make([]Frame, len(frames))
	for i, f := range frames {
		f.Stored = bytes.Clone(f.Stored)
		out[i] = f
	}
	return out
}

func (l *lossy) Credit() int64 { return l.s.Credit() }

func (l *lossy) Compare(ctx context.Context, m Compare) (Need, error) {
	m.Pages = append([]OfferedPage(nil), m.Pages...)
	return carry(l, func() (Need, error) { return l.s.Compare(ctx, m) })
}

func (l *lossy) Offer(ctx context.Context, m Offer) (Need, error) {
	m.Chunks = append([]OfferedChunk(nil), m.Chunks...)
	return carry(l, func() (Need, error) { return l.s.Offer(ctx, m) })
}

func (l *lossy) Data(ctx context.Context, m Data) error {
	m.Frames = copyFrames(m.Frames)
	_, err := carry(l, func() (struct{}, error) { return struct{}{}, l.s.Data(ctx, m) })
	return err
}

func (l *lossy) Pages(ctx context.Context, m Pages) error {
	m.Frames = copyFrames(m.Frames)
	_, err := carry(l, func() (struct{}, error) { return struct{}{}, l.s.Pages(ctx, m) })
	return err
}

func (l *lossy) Seal(ctx context.Context, m Seal) (Receipt, error) {
	return carry(l, func() (Receipt, error) { return l.s.Seal(ctx, m) })
}

func TestACopyOverABadConnectionIsTheSameAndStoresNothingTwice(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	c := hasty{clock.NewFake(testStart)}
	src := vaultAt(t, mem.New(), 1, c)
	good, bad := vaultAt(t, mem.New(), 2, c), vaultAt(t, mem.New(), 3, c)
	tr := repotest.Random(seed, 500)
	for i, id := range []string{"one", "two", "three"} {
		if i > 0 {
			tr = tr.Clone()
			repotest.Mutate(tr, seed+uint64(i), 20)
		}
		_, err := src.Backup(t.Context(), tr, BackupOptions{ID: id, Base: "one"})
		must(t, err)
		want, _, err := copyThrough(t, src, good, id, victim, func(s *Session) conversation { return s })
		must(t, err)
		var l *lossy
		got, _, err := copyThrough(t, src, bad, id, victim, func(s *Session) conversation {
			l = &lossy{s: s, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
			return l
		})
		must(t, err)
		for _, stale := range l.late {
			stale() // long after the end
		}
		t.Logf("%d messages, %d lost, %d replies lost, %d twice, %d late", l.counts[4], l.counts[0], l.counts[1], l.counts[2], l.counts[3])
		if got.Root != want.Root || got.Stats.NewChunks != want.Stats.NewChunks || got.Stats.Entries != want.Stats.Entries || got.Stats.NewBytes != want.Stats.NewBytes {
			t.Errorf("over a good connection %+v, over a bad one %+v", want.Stats, got.Stats)
		}
		restored(t, bad, id, tr)
	}
	intact(t, bad)
}

func TestMessagesOutOfTurnAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newDestination(t)
	s, _, err := r.Ingest(ctx, "rp", victim)
	must(t, err)
	defer s.Abort()
	one, two := []byte("the first chunk"), []byte("the second chunk")
	send := func(stream uint8, number uint32, p []byte) error {
		return s.Data(ctx, Data{Batch: Batch{stream, number}, Frames: []Frame{frameOf(p)}})
	}
	wantFault(t, send(0, 1, one), fault.Conflict) // one is missing
	must(t, send(0, 0, one))
	must(t, send(0, 0, one)) // again: the reply was lost
	must(t, send(0, 1, two))
	wantFault(t, send(0, 0, one), fault.Conflict) // a delayed one
	wantFault(t, send(0, 5, two), fault.Conflict)
	must(t, send(63, 0, two)) // another stream
	offer := Offer{Batch: Batch{0, 2}, Chunks: []OfferedChunk{{Hash: frameOf(one).Hash}, {Hash: [32]byte{1}}}}
	first, err := s.Offer(ctx, offer)
	must(t, err)
	must(t, send(1, 0, []byte("what the offer did not know")))
	again, err := s.Offer(ctx, offer)
	must(t, err)
	if fmt.Sprint(first) != fmt.Sprint(again) || first.Send[0] || !first.Send[1] {
		t.Errorf("%v, then %v", first, again)
	}
	pages, root := manifestOf(t, one, two)
	must(t, s.Pages(ctx, Pages{Batch: Batch{0, 3}, Frames: pages}))
	must(t, s.Pages(ctx, Pages{Batch: Batch{0, 3}, Frames: pages}))
	rc, err := s.Seal(ctx, Seal{Root: root})
	must(t, err)
	twice, err := s.Seal(ctx, Seal{Root: root})
	must(t, err)
	if rc.ID != twice.ID || !rc.Committed.Equal(twice.Committed) || rc.Stats != twice.Stats {
		t.Errorf("%+v, then %+v", rc, twice)
	}
	if rc.Stats.NewChunks != 3+int64(len(pages)) {
		t.Errorf("%d new chunks", rc.Stats.NewChunks)
	}
	wantFault(t, send(0, 4, one), fault.State)

	s, _, err = r.Ingest(ctx, "other", victim)
	must(t, err)
	defer s.Abort()
	must(t, send(0, 0, one))
	wantFault(t, send(0, 0, two), fault.Invalid) // other content under the same number: the source is broken or hostile
	wantFault(t, send(0, 1, two), fault.Invalid)
}

func TestASourceBeyondItsCreditIsRefusedAndMayTryAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newDestination(t)
	s := ingest(t, r, "rp", "r")
	defer s.Abort()
	free, err := s.share.admit(ctx, s.Credit(), 0) // as much is on its way
	must(t, err)
	p := []byte("one byte too much")
	d := Data{Batch: Batch{3, 0}, Frames: []Frame{frameOf(p)}}
	if err := s.Session.Data(ctx, d); !errors.Is(err, ErrRepeat) || !fault.Is(err, fault.Unavailable) {
		t.Fatalf("got %v", err)
	}
	free()
	must(t, s.Session.Data(ctx, d))
}

func TestManySessionsShareALittleMemory(t *testing.T) {
	t.Parallel()
	const sessions, budget = 32, messageMemory
	registry := NewRegistry()
	must(t, registry.LimitIngest(budget))
	if err := registry.LimitIngest(budget - 1); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
	r, err := Create(t.Context(), Config{
		Store: mem.New(), Vault: "00000000-0000-4000-8000-00000000000d", Root: make([]byte, 32), Maint: make([]byte, 32),
		Clock: clock.NewFake(testStart), Workers: 2, Registry: registry,
	}, Descriptor{}, nil)
	must(t, err)
	defer r.Close()
	common := random(9, 999, 500_000)
	var g errgroup.Group
	var open []*Session
	for i := range sessions {
		s := ingest(t, r, fmt.Sprintf("rp%d", i), fmt.Sprintf("r%d", i))
		own := random(9, i, 700_000)
		pages, root := manifestOf(t, common, own)
		s.going.Lock() // the first messages of all come at the same moment, and none is answered yet
		open = append(open, s.Session)
		g.Go(func() error {
			defer s.Close()
			if err := s.Data(t.Context(), Data{Frames: []Frame{frameOf(common), frameOf(own)}}); err != nil {
				return err
			}
			if err := s.Pages(t.Context(), Pages{Frames: pages}); err != nil {
				return err
			}
			_, err := s.Seal(t.Context(), Seal{Root: root})
			return err
		})
	}
	in := registry.intake
	for full := false; !full; runtime.Gosched() {
		in.mu.Lock()
		full = in.used+1_200_000+700_000 > budget
		in.mu.Unlock()
	}
	for _, s := range open {
		s.going.Unlock()
	}
	must(t, g.Wait())
	if in.peak > budget || in.used != 0 {
		t.Errorf("%d bytes at most, %d in the end, of %d", in.peak, in.used, budget)
	}
	list, err := r.List(t.Context())
	must(t, err)
	var chunks int64
	for _, c := range list {
		chunks += c.Stats.NewChunks
	}
	// What several sessions bring at the same moment may be stored several times: no session waits for another one.
	if len(list) != sessions || chunks > 3*sessions {
		t.Errorf("%d recovery points, %d chunks", len(list), chunks)
	}
	t.Logf("peak %d of %d bytes; %d chunks stored of %d different ones", in.peak, int64(budget), chunks, 2*sessions+1)
	intact(t, r)
}
