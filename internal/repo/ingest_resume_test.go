package repo

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/repotest"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// smallUnit is the size of packs in these tests, bulkFile that of files that are one or two chunks.
const (
	smallUnit = 1 << 20
	bulkFile  = 300_000
)

var testStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// vaultAt opens the vault in a store with small packs, or makes it.
func vaultAt(t testing.TB, store *mem.Store, n byte, c clock.Clock, units ...int64) *Repository {
	t.Helper()
	cfg := Config{
		Store: store, Vault: fmt.Sprintf("00000000-0000-4000-8000-0000000000%02x", n), Root: bytes.Repeat([]byte{n}, 32),
		Maint: bytes.Repeat([]byte{n + 1}, 32), Clock: c, Workers: 2,
	}
	r, err := Open(context.Background(), cfg)
	if fault.Is(err, fault.NotFound) {
		r, err = Create(context.Background(), cfg, Descriptor{}, nil)
	}
	must(t, err)
	r.unit = smallUnit
	if len(units) > 0 {
		r.unit = units[0]
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// random returns n bytes that do not compress, other ones for every i.
func random(seed byte, i, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed, byte(i), byte(i >> 8)}).Read(p)
	return p
}

// bulk is a tree of n files of one chunk each that do not compress.
func bulk(seed byte, n int) *repotest.Tree {
	t := repotest.New()
	for i := range n {
		t.Add(repotest.File{Entry: tree.Entry{Path: fmt.Sprintf("f%04d", i), Type: tree.File}, Data: random(seed, i, bulkFile)})
	}
	return t
}

func restored(t testing.TB, r *Repository, id string, want *repotest.Tree) {
	t.Helper()
	p, err := r.Point(context.Background(), id)
	must(t, err)
	target := repotest.NewTarget()
	_, err = p.Restore(context.Background(), target, RestoreOptions{})
	must(t, err)
	if d := want.Diff(target, nil); d != "" {
		t.Fatalf("recovery point %s: %s", id, d)
	}
}

func intact(t testing.TB, r *Repository) {
	t.Helper()
	report, err := r.VerifyAll(context.Background(), nil)
	must(t, err)
	if !report.OK() {
		t.Fatalf("%+v", report.Findings)
	}
}

// counted counts what a source sends.
type counted struct {
	conversation
	frames, bytes, pages, messages atomic.Int64
	onData                         func(bytes int64)
}

func (c *counted) Data(ctx context.Context, m Data) error {
	for _, f := range m.Frames {
		c.frames.Add(1)
		c.bytes.Add(int64(len(f.Stored)))
	}
	c.messages.Add(1)
	err := c.conversation.Data(ctx, m)
	if c.onData != nil {
		c.onData(c.bytes.Load())
	}
	return err
}

func (c *counted) Pages(ctx context.Context, m Pages) error {
	c.messages.Add(1)
	c.pages.Add(int64(len(m.Frames)))
	return c.conversation.Pages(ctx, m)
}

func (c *counted) Compare(ctx context.Context, m Compare) (Need, error) {
	c.messages.Add(1)
	return c.conversation.Compare(ctx, m)
}

func (c *counted) Offer(ctx context.Context, m Offer) (Need, error) {
	c.messages.Add(1)
	return c.conversation.Offer(ctx, m)
}

// copyThrough copies a recovery point through a conversation that the test wraps around the session.
func copyThrough(t testing.TB, src, dst *Repository, id string, meta Meta, wrap func(*Session) conversation) (Receipt, *copying, error) {
	t.Helper()
	ctx := context.Background()
	p, err := src.Point(ctx, id)
	must(t, err)
	pin, err := p.begin(ctx)
	must(t, err)
	defer pin.end()
	s, done, err := dst.Ingest(ctx, id, meta)
	must(t, err)
	if done != nil {
		t.Fatal("the recovery point exists already")
	}
	defer s.Close()
	c := newCopying(p, pin, wrap(s))
	if err := c.run(ctx); err != nil {
		return Receipt{}, c, err
	}
	r, err := c.seal(ctx)
	return r, c, err
}

var victim = Meta{Owner: "o", ResourceARN: "r"}

func TestACopyThatWasKilledSendsNoMoreThanATwentiethAgain(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(testStart)
	src := vaultAt(t, mem.New(), 1, fake)
	tr := bulk(1, 80)
	_, err := src.Backup(t.Context(), tr, BackupOptions{ID: "rp", Meta: victim})
	must(t, err)
	for _, part := range []float64{0.3, 0.9} {
		store := mem.New()
		dst := vaultAt(t, store, 2, fake)
		var first counted
		var killed *mem.Store
		at := int64(part * 80 * bulkFile)
		first.onData = func(n int64) {
			if n >= at && killed == nil {
				killed = store.Clone()
			}
		}
		_, _, err = copyThrough(t, src, dst, "rp", victim, func(s *Session) conversation { first.conversation = s; return oneAtATime(&first) })
		must(t, err)

		dst = vaultAt(t, killed, 2, fake)
		report, err := dst.Prune(t.Context(), PruneOptions{})
		must(t, err)
		var again counted
		_, _, err = copyThrough(t, src, dst, "rp", victim, func(s *Session) conversation { again.conversation = s; return &again })
		must(t, err)
		missing := first.bytes.Load() - at
		extra := again.bytes.Load() - missing
		if limit := at/20 + 3*smallUnit; extra > limit {
			t.Errorf("cut at %.0f %%, after a Prune (%+v): %d bytes are sent again, more than %d", 100*part, report, extra, limit)
		}
		t.Logf("cut at %.0f %%: %d of %d bytes sent again", 100*part, extra, at)
		restored(t, dst, "rp", tr)
		// The records of the session go with the commit, and nothing is left over.
		for _, name := range killed.Names() {
			if id, _, ok := parseSessionName(name); ok {
				t.Errorf("a record of session %s is left", id)
			}
		}
		intact(t, dst)
	}
}

// oneAtATime has one Data at a time delivered, so that a test can look at a moment.
func oneAtATime(c *counted) conversation { return &serial{c, make(chan struct{}, 1)} }

type serial struct {
	*counted
	turn chan struct{}
}

func (s *serial) Data(ctx context.Context, m Data) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.counted.Data(ctx, m)
}

func TestABackupThatWasKilledStoresNoMoreThanATwentiethAgain(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "cancelled"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			fake := clock.NewFake(testStart)
			store := mem.New()
			r := vaultAt(t, store, 1, fake)
			tr := bulk(2, 80)
			const at = 72 * bulkFile
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var killed *mem.Store
			var stored int64
			src := &watched{Tree: tr, after: 72, fn: func() {
				if how == "cancelled" {
					cancel()
					return
				}
				killed = store.Clone()
			}}
			rc, err := r.Backup(ctx, src, BackupOptions{ID: "rp", Meta: victim})
			if how == "killed" {
				must(t, err)
				stored = rc.Stats.StoredBytes
			} else {
				if err == nil {
					t.Fatal("the backup was not cancelled")
				}
				killed = store
				must(t, r.Close())
				killed = killed.Clone()
			}
			r = vaultAt(t, killed, 1, fake)
			_, err = r.Prune(t.Context(), PruneOptions{})
			must(t, err)
			rc, err = r.Backup(t.Context(), tr, BackupOptions{ID: "rp", Meta: victim})
			must(t, err)
			extra := rc.Stats.NewBytes - (80*bulkFile - at)
			// What was read, but not packed yet, is lost as well: two blocks and the queue of pieces.
			if limit := int64(at/20 + 3*smallUnit + 8<<20); extra > limit {
				t.Errorf("%d bytes are stored again (first %d), more than %d", extra, stored, limit)
			}
			t.Logf("%d of %d bytes stored again", extra, at)
			restored(t, r, "rp", tr)
			intact(t, r)
		})
	}
}

// watched calls fn when the walk has come to an entry.
type watched struct {
	*repotest.Tree
	after int
	fn    func()
}

func (w *watched) Walk(ctx context.Context, emit func(tree.Item) error) error {
	n := 0
	return w.Tree.Walk(ctx, func(it tree.Item) error {
		if n++; n == w.after {
			w.fn()
		}
		return emit(it)
	})
}

// cutSessionOf leaves a session behind that was cut after it had sent some chunks.
func cutSessionOf(t *testing.T, r *Repository, id, resource string, chunks ...[]byte) {
	t.Helper()
	s := ingest(t, r, id, resource)
	for _, c := range chunks {
		must(t, s.Data(t.Context(), Data{Frames: []Frame{frameOf(c)}}))
	}
	s.Close()
}

func wanted(t *testing.T, s talk, chunks ...[]byte) []bool {
	t.Helper()
	var o Offer
	for _, c := range chunks {
		o.Chunks = append(o.Chunks, OfferedChunk{Hash: chunk.Sum(c), Size: uint32(len(c))})
	}
	n, err := s.Offer(t.Context(), o)
	must(t, err)
	return n.Send
}

func TestACutSessionIsOpenToItsOwnSourceOnly(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(testStart)
	r := vaultAt(t, mem.New(), 1, fake, 64<<10)
	// The vault has foreign content of another resource; what a source learns must not depend on that.
	foreign, own := random(1, 1, 100_000), random(1, 2, 100_000)
	s := ingest(t, r, "other", "other")
	must(t, s.Data(t.Context(), Data{Frames: []Frame{frameOf(foreign)}}))
	pages, root := manifestOf(t, foreign)
	must(t, s.Pages(t.Context(), Pages{Frames: pages}))
	_, err := s.Seal(t.Context(), Seal{Root: root})
	must(t, err)

	cutSessionOf(t, r, "cut", "r", foreign, own)
	unseen := random(1, 3, 100_000)
	for _, c := range []struct {
		id, resource string
		want         []bool
	}{
		{"cut", "r", []bool{false, false, true}},         // goes on, and learns nothing of whose chunk it was
		{"another job", "r", []bool{false, false, true}}, // of the same resource
		{"thief", "stranger", []bool{true, true, true}},
		{"nobody", "", []bool{true, true, true}},
	} {
		id := c.id
		if id == "another job" {
			id = "another"
		}
		s := ingest(t, r, id, c.resource)
		if got := wanted(t, s, foreign, own, unseen); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.id, got, c.want)
		}
		if c.want[0] {
			s.Close()
			continue
		}
		// What it may leave out it may also refer to.
		pages, _ := manifestOf(t, foreign, own)
		must(t, s.Pages(t.Context(), Pages{Frames: pages}))
		s.Close()
	}
	// The thief cannot refer to it either.
	thief := ingest(t, r, "thief2", "stranger")
	defer thief.Abort()
	pages, _ = manifestOf(t, own)
	wantFault(t, thief.Pages(t.Context(), Pages{Frames: pages}), fault.Denied)
}

func TestWhatACutSessionRecordsDoesNotTellWhatTheVaultHas(t *testing.T) {
	t.Parallel()
	// Two vaults: one knows half of the chunks from somebody else, one does not. A source that is cut off anywhere and comes
	// back gets the same answers from both.
	fake := clock.NewFake(testStart)
	var chunks [][]byte
	for i := range 24 {
		chunks = append(chunks, random(7, i, 20_000+i))
	}
	for cut := 1; cut <= len(chunks); cut++ {
		var answers [2][]bool
		for k := range answers {
			store := mem.New()
			r := vaultAt(t, store, 1, fake, 64<<10)
			if k == 1 {
				s := ingest(t, r, "other", "other")
				for _, c := range chunks[:12] {
					must(t, s.Data(t.Context(), Data{Frames: []Frame{frameOf(c)}}))
				}
				pages, root := manifestOf(t, chunks[:12]...)
				must(t, s.Pages(t.Context(), Pages{Frames: pages}))
				_, err := s.Seal(t.Context(), Seal{Root: root})
				must(t, err)
			}
			s := ingest(t, r, "cut", "r")
			for _, c := range chunks[:cut] {
				must(t, s.Data(t.Context(), Data{Frames: []Frame{frameOf(c)}}))
			}
			s.s.sink.publisher.Lock() // a checkpoint under way ends
			killed := store.Clone()
			s.s.sink.publisher.Unlock()
			s.Abort()
			r = vaultAt(t, killed, 1, fake)
			again := ingest(t, r, "cut", "r")
			answers[k] = wanted(t, again, chunks...)
			again.Abort()
		}
		if !reflect.DeepEqual(answers[0], answers[1]) {
			t.Fatalf("cut after %d chunks:\n%v where nothing is known,\n%v where half is", cut, answers[0], answers[1])
		}
	}
}

func TestALeaseEndsAndThenNothingIsLeft(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(testStart)
	store := mem.New()
	r := vaultAt(t, store, 1, fake, 64<<10)
	before := len(store.Names())
	cutSessionOf(t, r, "cut", "r", random(3, 1, 200_000), random(3, 2, 200_000))
	packs := len(store.Names())
	if packs <= before+2 {
		t.Fatal("the session left nothing behind")
	}
	for _, c := range []struct {
		forward time.Duration
		freed   bool
	}{{0, false}, {23 * time.Hour, false}, {-24 * time.Hour, false}, {26 * time.Hour, true}} {
		fake.Advance(c.forward)
		report, err := r.Prune(t.Context(), PruneOptions{})
		must(t, err)
		if c.freed {
			// The records go in the first run, what they kept in the second.
			report, err = r.Prune(t.Context(), PruneOptions{})
			must(t, err)
		}
		if report.DeletedPacks > 0 && !c.freed {
			t.Errorf("%v later: %+v", c.forward, report)
		}
	}
	for _, name := range store.Names() {
		if _, _, ok := parseSessionName(name); ok {
			t.Errorf("%s is left", name)
		}
	}
	if got := r.v.index.Packs(); len(got) != 0 {
		t.Errorf("%d packs are left", len(got))
	}
}

func TestAbortGivesUpWhatCloseKeeps(t *testing.T) {
	t.Parallel()
	store := mem.New()
	r := vaultAt(t, store, 1, clock.NewFake(testStart), 64<<10)
	cutSessionOf(t, r, "cut", "r", random(4, 1, 200_000))
	s := ingest(t, r, "cut", "r")
	must(t, s.Data(t.Context(), Data{Frames: []Frame{frameOf(random(4, 2, 300_000))}}))
	s.Abort()
	s.Close()
	for _, name := range store.Names() {
		if _, _, ok := parseSessionName(name); ok {
			t.Errorf("%s is left", name)
		}
	}
}

func TestADamagedSessionRecordCostsWorkOnly(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(testStart)
	store := mem.New()
	r := vaultAt(t, store, 1, fake, 64<<10)
	c := random(5, 1, 200_000)
	cutSessionOf(t, r, "cut", "r", c)
	name := ""
	for _, n := range store.Names() {
		if _, _, ok := parseSessionName(n); ok {
			name = n
		}
	}
	data := bytes.Clone(store.Bytes(name))
	data[len(data)/2] ^= 1
	store.Damage(name, data)
	s := ingest(t, r, "cut", "r")
	if got := wanted(t, s, c); !got[0] {
		t.Error("a damaged record counts")
	}
	must(t, s.Data(t.Context(), Data{Frames: []Frame{frameOf(c)}}))
	pages, root := manifestOf(t, c)
	must(t, s.Pages(t.Context(), Pages{Frames: pages}))
	_, err := s.Seal(t.Context(), Seal{Root: root})
	must(t, err)
	_, err = r.Prune(t.Context(), PruneOptions{})
	must(t, err)
	intact(t, r)
}

func TestASessionRecordKeepsEveryField(t *testing.T) {
	t.Parallel()
	_, maint := testKeys(t)
	x := &sessionRecord{id: "rp", number: 7, source: sourceTag{1, 2}, until: testStart, refs: []packRefs{
		{pack: seal.PackID{1}, frames: 9, bits: []byte{5, 1}}, {pack: seal.PackID{2}, frames: 3},
	}}
	got, err := decodeSession("rp", 7, x.encode(maint), maint)
	if err != nil || !reflect.DeepEqual(got, x) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, other := range []*sessionRecord{{id: "other", number: 7}, {id: "rp", number: 8}} {
		if _, err := decodeSession(other.id, other.number, x.encode(maint), maint); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%v", err)
		}
	}
	for _, name := range []string{"sessions/rp", "sessions/rp/7", "sessions/rp/0000000G", "sessions/.x/00000007", "sessions//00000007"} {
		if _, _, ok := parseSessionName(name); ok {
			t.Errorf("%q is taken for a session record", name)
		}
	}
}

func FuzzDecodeSession(f *testing.F) {
	_, maint := testKeys(f)
	x := &sessionRecord{id: "rp", number: 7, until: testStart, refs: []packRefs{{pack: seal.PackID{1}, frames: 9, bits: []byte{5, 1}}}}
	body, err := maint.Unwrap(sessionName("rp", 7), x.encode(maint))
	must(f, err)
	f.Add(bytes.Clone(body))
	f.Fuzz(func(t *testing.T, body []byte) {
		data := maint.Wrap(sessionName("rp", 7), bytes.Clone(body))
		x, err := decodeSession("rp", 7, data, maint)
		if err == nil && !bytes.Equal(x.encode(maint), data) {
			t.Fatalf("%x decodes and encodes to something else", body)
		}
	})
}
