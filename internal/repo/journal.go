package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

const journalMagic = "SRJRNL\x00\x01"

// Kinds of journal entries. Part of the format.
const (
	jCommit     = 1 // a recovery point was committed
	jForget     = 2 // it is dropped; its bytes are freed by Prune
	jRetention  = 3 // its retention changed
	jCheckpoint = 4 // the state after all entries so far
	jTrash      = 5 // packs that nobody needs wait in the trash
	jUntrash    = 6 // packs are not in the trash any more: deleted, or needed again
	jRecall     = 7 // a recovery point that was dropped is back
	jCommits    = 8 // several recovery points were committed at once
)

// journal is the hash-chained record of what happened to recovery points after (and including) their commit, and to packs
// that are not needed any more. Each entry is an object of its own whose number is one higher than the last; it contains the
// digest of the one before. It says which commit records must exist, so that a lost one is noticed instead of its bytes being
// freed, and since when which packs wait in the trash (trash.go).
type journal struct {
	store blob.Store
	maint *seal.Maint

	mu     sync.Mutex
	next   uint64
	head   [32]byte // digest of the last entry
	since  int      // entries since the checkpoint
	points map[string]journaled
	trash  map[seal.PackID]trashed
	bad    bool // the last write may or may not have happened: read again before the next

	queue   sync.Mutex // guards waiting; taken after mu
	waiting []*commitNote
}

// commitNote is a commit that waits for its entry. Whoever gets hold of the journal writes one entry for all that wait: many
// commits at once need few entries, and one alone waits for nobody.
type commitNote struct {
	id   string
	at   time.Time
	done bool // guarded by journal.mu
	err  error
}

// journaled is the journal's opinion of one recovery point.
type journaled struct {
	forgotten bool
	at        time.Time // when it was forgotten
	changed   bool      // retention differs from the commit record's
	retain    time.Time
	locked    bool
}

type journalEntry struct {
	kind   uint64
	id     string
	at     time.Time
	retain time.Time
	locked bool
	packs  []trashed // of jUntrash only the ids count
	ids    []string  // of jCommits
}

func journalName(seq uint64, checkpoint bool) string {
	if checkpoint {
		return fmt.Sprintf("%s%016d-checkpoint", journalPrefix, seq)
	}
	return fmt.Sprintf("%s%016d", journalPrefix, seq)
}

func parseJournalName(name string) (seq uint64, checkpoint, ok bool) {
	s, checkpoint := strings.CutSuffix(strings.TrimPrefix(name, journalPrefix), "-checkpoint")
	seq, err := strconv.ParseUint(s, 10, 64)
	return seq, checkpoint, err == nil && journalName(seq, checkpoint) == name
}

// load reads the journal from its last checkpoint on and verifies the chain. The caller holds mu or is alone.
func (j *journal) load(ctx context.Context) error {
	var names []string
	start := 0
	err := j.store.List(ctx, journalPrefix, func(i blob.Info) error {
		_, checkpoint, ok := parseJournalName(i.Name)
		if !ok {
			return corrupt(i.Name, "no journal entry has this name")
		}
		if checkpoint {
			start = len(names)
		}
		names = append(names, i.Name)
		return nil
	})
	if err != nil {
		return err
	}
	j.next, j.head, j.since, j.bad = 0, [32]byte{}, 0, false
	j.points, j.trash = map[string]journaled{}, map[seal.PackID]trashed{}
	for i, name := range names[start:] {
		seq, checkpoint, _ := parseJournalName(name)
		data, err := blob.Get(ctx, j.store, name, maxSmall)
		if err != nil {
			return err
		}
		if i > 0 && seq != j.next || i == 0 && !checkpoint && seq != 0 {
			return corrupt(name, "the journal has a gap before this entry")
		}
		if err := j.apply(name, seq, checkpoint, data, i == 0 && checkpoint); err != nil {
			return err
		}
	}
	return nil
}

// fresh reads the journal again if the last write left it unknown. The caller holds mu.
func (j *journal) fresh(ctx context.Context) error {
	if !j.bad {
		return nil
	}
	if err := j.load(ctx); err != nil {
		j.bad = true
		return err
	}
	return nil
}

// apply authenticates an entry and brings the state up to it.
func (j *journal) apply(name string, seq uint64, checkpoint bool, data []byte, first bool) error {
	body, err := j.maint.Unwrap(name, data)
	if err != nil {
		return err
	}
	if len(body) < len(journalMagic) || string(body[:len(journalMagic)]) != journalMagic {
		return corrupt(name, "this is no journal entry")
	}
	d := &seal.Decoder{B: body[len(journalMagic):]}
	if d.Uint() != seq {
		d.Fail("wrong number")
	}
	if prev := d.Hash(); !first && prev != j.head {
		d.Fail("it does not continue the entry before")
	}
	e := journalEntry{kind: d.Uint(), at: decodeTime(d)}
	if (e.kind == jCheckpoint) != checkpoint {
		d.Fail("wrong kind")
	}
	switch e.kind {
	case jCommit, jForget, jRecall:
		e.id = d.String()
	case jRetention:
		e.id, e.retain, e.locked = d.String(), decodeTime(d), d.Bool()
	case jCheckpoint:
		j.decodeState(d)
	case jTrash, jUntrash:
		e.packs = decodePacks(d, e.kind == jTrash, false)
	case jCommits:
		if e.ids = make([]string, d.Count(2)); len(e.ids) < 2 {
			d.Fail("too few recovery points")
		}
		for i := range e.ids {
			if e.ids[i] = d.String(); i > 0 && e.ids[i] <= e.ids[i-1] {
				d.Fail("recovery points out of order")
			}
		}
	default:
		d.Fail("unknown kind")
	}
	if err := d.Done(); err != nil {
		return corrupt(name, "%v", err)
	}
	j.note(e)
	j.next, j.head = seq+1, sha256.Sum256(data)
	return nil
}

func (j *journal) note(e journalEntry) {
	p := j.points[e.id]
	switch e.kind {
	case jCommit:
	case jForget:
		p.forgotten, p.at = true, e.at
	case jRecall:
		p.forgotten, p.at = false, time.Time{}
	case jRetention:
		p.changed, p.retain, p.locked = true, e.retain, e.locked
	case jCheckpoint:
		j.since = 0
		return
	case jTrash:
		j.since++
		for _, t := range e.packs {
			t.at = e.at
			j.trash[t.id] = t
		}
		return
	case jUntrash:
		j.since++
		for _, t := range e.packs {
			delete(j.trash, t.id)
		}
		return
	case jCommits:
		j.since++
		for _, id := range e.ids {
			j.points[id] = j.points[id]
		}
		return
	}
	j.since++
	j.points[e.id] = p
}

// append makes an entry durable and applies it. The caller holds mu.
func (j *journal) append(ctx context.Context, e journalEntry) error {
	if err := j.fresh(ctx); err != nil {
		return err
	}
	var b seal.Encoder
	b.Raw([]byte(journalMagic))
	b.Uint(j.next)
	b.Raw(j.head[:])
	b.Uint(e.kind)
	encodeTime(&b, e.at)
	switch e.kind {
	case jCommit, jForget, jRecall:
		b.String(e.id)
	case jRetention:
		b.String(e.id)
		encodeTime(&b, e.retain)
		b.Bool(e.locked)
	case jCheckpoint:
		j.encodeState(&b)
	case jTrash, jUntrash:
		encodePacks(&b, e.packs, e.kind == jTrash, false)
	case jCommits:
		b.Uint(uint64(len(e.ids)))
		for _, id := range e.ids {
			b.String(id)
		}
	}
	name := journalName(j.next, e.kind == jCheckpoint)
	data := j.maint.Wrap(name, b.B)
	if err := j.store.Put(ctx, name, data); err != nil {
		// It may exist all the same. What the store says decides before anything else is appended.
		j.bad = true
		return fmt.Errorf("journal: %w", err)
	}
	j.note(e)
	j.next, j.head = j.next+1, sha256.Sum256(data)
	return nil
}

// encodeState appends what a checkpoint holds.
func (j *journal) encodeState(b *seal.Encoder) {
	b.Uint(uint64(len(j.points)))
	for _, id := range slices.Sorted(maps.Keys(j.points)) {
		p := j.points[id]
		b.String(id)
		b.Bool(p.forgotten)
		if p.forgotten {
			encodeTime(b, p.at)
		}
		b.Bool(p.changed)
		encodeTime(b, p.retain)
		b.Bool(p.locked)
	}
	encodePacks(b, slices.Collect(maps.Values(j.trash)), true, true)
}

// decodeState is the inverse of encodeState. It accepts ascending ids only.
func (j *journal) decodeState(d *seal.Decoder) {
	j.points, j.trash = map[string]journaled{}, map[seal.PackID]trashed{}
	last := ""
	for i := range d.Count(6) {
		id := d.String()
		if i > 0 && id <= last {
			d.Fail("recovery points out of order")
		}
		p := journaled{forgotten: d.Bool()}
		if p.forgotten {
			p.at = decodeTime(d)
		}
		p.changed, p.retain, p.locked = d.Bool(), decodeTime(d), d.Bool()
		j.points[id], last = p, id
	}
	for _, t := range decodePacks(d, true, true) {
		j.trash[t.id] = t
	}
}

// encodePacks appends packs, which it sorts, with or without their class and the time since when they are in the trash.
func encodePacks(b *seal.Encoder, packs []trashed, class, at bool) {
	slices.SortFunc(packs, func(x, y trashed) int { return bytes.Compare(x.id[:], y.id[:]) })
	b.Uint(uint64(len(packs)))
	for _, t := range packs {
		b.Raw(t.id[:])
		if class {
			b.Raw([]byte{t.class})
		}
		if at {
			encodeTime(b, t.at)
		}
	}
}

// decodePacks is the inverse of encodePacks.
func decodePacks(d *seal.Decoder, class, at bool) []trashed {
	packs := make([]trashed, d.Count(16))
	for i := range packs {
		t := &packs[i]
		copy(t.id[:], d.Raw(16))
		if class {
			t.class = byte(d.Max(uint64(pack.ClassMeta)))
		}
		if at {
			t.at = decodeTime(d)
		}
		if class && t.class == 0 || i > 0 && bytes.Compare(packs[i-1].id[:], t.id[:]) >= 0 {
			d.Fail("packs out of order or without a class")
		}
	}
	return packs
}

// state returns the journal's opinion of a recovery point.
func (j *journal) state(ctx context.Context, id string) (journaled, bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.current(ctx, id)
}

// current is state for a caller who holds mu.
func (j *journal) current(ctx context.Context, id string) (journaled, bool, error) {
	if err := j.fresh(ctx); err != nil {
		return journaled{}, false, err
	}
	p, ok := j.points[id]
	return p, ok, nil
}

// snapshot returns the journal's opinion of all recovery points.
func (j *journal) snapshot(ctx context.Context) (map[string]journaled, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.fresh(ctx); err != nil {
		return nil, err
	}
	return maps.Clone(j.points), nil
}

// committed notes a commit that is already a fact. Noting it twice does nothing.
func (j *journal) committed(ctx context.Context, id string, at time.Time) error {
	n := &commitNote{id: id, at: at}
	j.queue.Lock()
	j.waiting = append(j.waiting, n)
	j.queue.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if n.done {
		return n.err
	}
	j.queue.Lock()
	all := j.waiting
	j.waiting = nil
	j.queue.Unlock()
	err := j.commits(ctx, all)
	for _, x := range all {
		x.done, x.err = true, err
	}
	return err
}

// commits writes one entry for all of some commits that have none. The caller holds mu.
func (j *journal) commits(ctx context.Context, all []*commitNote) error {
	if err := j.fresh(ctx); err != nil {
		return err
	}
	e := journalEntry{kind: jCommits}
	for _, n := range all {
		if _, ok := j.points[n.id]; !ok {
			e.ids, e.at = append(e.ids, n.id), n.at
		}
	}
	slices.Sort(e.ids)
	e.ids = slices.Compact(e.ids)
	switch len(e.ids) {
	case 0:
		return nil
	case 1:
		e.kind, e.id, e.ids = jCommit, e.ids[0], nil
	}
	return j.append(ctx, e)
}

// checkpoint writes the state without the ids in drop, and deletes the entries before it.
func (j *journal) checkpoint(ctx context.Context, drop map[string]bool, at time.Time) (deleted int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.fresh(ctx); err != nil {
		return 0, err
	}
	if len(drop) == 0 && j.since < 256 {
		return 0, nil
	}
	maps.DeleteFunc(j.points, func(id string, _ journaled) bool { return drop[id] })
	seq := j.next
	if err := j.append(ctx, journalEntry{kind: jCheckpoint, at: at}); err != nil {
		return 0, err
	}
	var old []string
	err = j.store.List(ctx, journalPrefix, func(i blob.Info) error {
		if n, _, ok := parseJournalName(i.Name); ok && n < seq {
			old = append(old, i.Name)
		}
		return nil
	})
	for _, name := range old {
		if err == nil {
			err = j.store.Delete(ctx, name)
			deleted++
		}
	}
	return deleted, err
}

func mergeRetention(r *record, p journaled) (retain time.Time, locked bool) {
	if !p.changed {
		return r.retain, r.locked
	}
	if r.locked {
		// A locked recovery point's retention only grows, whatever was written afterwards.
		return later(r.retain, p.retain), true
	}
	return p.retain, p.locked
}

// later returns the later end of retention; the zero time means without end where something is locked.
func later(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if a.After(b) {
		return a
	}
	return b
}

func errForgotten(id string) error {
	return fault.New(fault.Conflict, "recovery point %s was forgotten; its id cannot be used again", id).WithResource(id)
}
