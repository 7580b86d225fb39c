package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// unreliable fails some commits, half of them after the object has become durable.
type unreliable struct {
	blob.Store
	mu  sync.Mutex
	rng *rand.Rand
	off bool
}

var errUnreliable = errors.New("the store answers with an error")

func (u *unreliable) fate() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.off {
		return 2
	}
	return u.rng.IntN(20)
}

func (u *unreliable) Create(ctx context.Context, name string) (blob.Writer, error) {
	w, err := u.Store.Create(ctx, name)
	return &unreliableWriter{w, u}, err
}

type unreliableWriter struct {
	blob.Writer
	u *unreliable
}

func (w *unreliableWriter) Commit(ctx context.Context) error {
	fate := w.u.fate()
	if fate == 0 {
		w.Writer.Abort()
		return errUnreliable
	}
	err := w.Writer.Commit(ctx)
	if fate == 1 {
		return errUnreliable
	}
	return err
}

// model is what the index must say about each pack.
type model struct {
	mu    sync.Mutex
	state map[int]string // "there", "gone", "either" (an operation failed or is under way)
	moves map[int]int    // how often it changed
}

func (m *model) set(p int, s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state[p] = s
	m.moves[p]++
}

func (m *model) get(p int) (state string, moves int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state[p], m.moves[p]
}

const schedFrames = 40

func schedPack(p int) ([]Entry, pack.Info) {
	var entries []Entry
	for f := range schedFrames {
		id := p*schedFrames + f
		if f >= 35 { // neighbouring packs have some chunks in common
			id -= schedFrames + 35
		}
		entries = append(entries, Entry{ID: shortID(uint64(id)), Frame: uint32(f)})
	}
	return entries, pack.Info{ID: seal.PackID{byte(p), byte(p >> 8), 9}, Class: pack.ClassData, Frames: schedFrames, Size: int64(p)}
}

// agrees compares the index with the model. A pack whose state changes during the look is left out.
func (m *model) agrees(t *testing.T, s *Set, p int) {
	before, moves := m.get(p)
	entries, info := schedPack(p)
	slot, known := s.Slot(info.ID)
	found := 0
	for _, e := range entries {
		_, ok, err := s.Lookup(context.Background(), e.ID, func(at, frame uint32) bool { return known && at == slot && frame == e.Frame })
		if err != nil {
			t.Errorf("pack %d: %v", p, err)
			return
		}
		if ok {
			found++
		}
	}
	if _, now := m.get(p); moves != now || before == "either" {
		return
	}
	if want := before == "there"; known != want || want && found != schedFrames || !want && found != 0 {
		t.Errorf("pack %d should be %q: known %v, %d frames found", p, before, known, found)
	}
}

func TestNoScheduleOfPublishingDroppingMergingAndFailuresConfusesTheIndex(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if s := os.Getenv("STRONGROOM_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	for n := range uint64(2) {
		t.Run(fmt.Sprint(seed+n), func(t *testing.T) {
			t.Parallel()
			indexSchedule(t, seed+n)
		})
	}
}

func indexSchedule(t *testing.T, seed uint64) {
	t.Logf("seed %d", seed)
	ctx := context.Background()
	disk := mem.New()
	store := &unreliable{Store: disk, rng: rand.New(rand.NewPCG(seed, 1))}
	m := key(t)
	const packs = 120
	mod := &model{state: map[int]string{}, moves: map[int]int{}}
	for p := range packs {
		mod.state[p] = "gone"
	}
	for life := range 3 {
		s, err := Load(ctx, store, m, []int{0, 300, 1 << 20}[life%3])
		if err != nil {
			t.Fatal(err)
		}
		for p := range packs { // what failed is settled by what the store says
			if state, _ := mod.get(p); state == "either" {
				_, info := schedPack(p)
				if _, ok := s.Slot(info.ID); ok {
					mod.set(p, "there")
				} else {
					mod.set(p, "gone")
				}
			}
			mod.agrees(t, s, p)
		}
		var wg sync.WaitGroup
		for w := range 3 { // each has packs of its own
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(10*life+w)))
				for range 60 {
					p := rng.IntN(packs/3)*3 + w
					entries, info := schedPack(p)
					slot, known := s.Slot(info.ID)
					was, _ := mod.get(p)
					mod.set(p, "either")
					var err error
					now := "there"
					if was != "there" && !known {
						err = s.Publish(ctx, entries, []pack.Info{info})
					} else if known {
						now = "gone"
						err = s.Drop(ctx, map[uint32]bool{slot: true})
					}
					if err == nil {
						mod.set(p, now)
					} else if !errors.Is(err, errUnreliable) {
						t.Error(err)
					}
					mod.agrees(t, s, rng.IntN(packs))
				}
			})
		}
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(100+life)))
			for range 80 {
				var err error
				switch rng.IntN(4) {
				case 0:
					err = s.Refresh(ctx)
				case 1:
					_, err = s.Clean(ctx)
				default:
					err = s.Compact(ctx)
				}
				if err != nil && !errors.Is(err, errUnreliable) {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		for p := range packs {
			mod.agrees(t, s, p)
		}
		if life == 2 {
			store.off = true
			for range 5 {
				if _, err := s.Clean(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Verify(ctx); err != nil {
				t.Fatal(err)
			}
			if n := len(disk.Names()); n > 40 {
				t.Errorf("%d segments are left", n)
			}
		}
		// The next life begins with what a crash at this moment leaves.
	}
}
