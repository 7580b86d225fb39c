package repo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// A session that is cut off (the process dies, the source goes away) leaves packs that no recovery point needs. So that the
// next attempt need not store them again, a session records on the way what it has so far, in objects of their own, and
// Prune leaves that alone for a while.
//
// What holds:
//   - A session record only ever keeps something from being freed early. Losing one costs work, never data: what runs is
//     protected by its pin, what is committed by its reference set, and neither asks a clock.
//   - Whoever goes on gets no more than what a source of the same owner and resource has shown, byte for byte. How much of
//     it is recorded depends on how much the source sent, not on what the vault had already: else the records would tell
//     a source which of its chunks the vault has from somebody else.

const (
	sessionsPrefix = "sessions/"
	sessionMagic   = "SRSESS\x00\x01"

	// sessionLease is how long what a cut session stored is kept: a day, in which the job is tried again or the machine
	// is repaired.
	sessionLease = 24 * time.Hour
)

// sourceTag names the owner and the resource of a session to those who hold the maintenance key, without telling them.
type sourceTag [32]byte

// tagOf returns the tag of a source; zero stands for none, which shares nothing with anybody.
func tagOf(m *seal.Maint, meta Meta) (t sourceTag) {
	if meta.ResourceARN == "" {
		return t
	}
	var e seal.Encoder
	e.String(meta.Owner)
	e.String(meta.ResourceARN)
	copy(t[:], m.Tag("session source", e.B)) // no object has a name with a space
	return t
}

// sessionRecord is one object: a part of what one session has.
type sessionRecord struct {
	id     string // of the recovery point that it writes
	number uint64
	source sourceTag
	until  time.Time // end of the lease
	refs   []packRefs
}

func sessionName(id string, number uint64) string {
	return fmt.Sprintf("%s%s/%08x", sessionsPrefix, id, number)
}

func parseSessionName(name string) (id string, number uint64, ok bool) {
	id, rest, ok := strings.Cut(strings.TrimPrefix(name, sessionsPrefix), "/")
	if !ok || len(rest) != 8 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(rest, 16, 32)
	return id, number, err == nil && sessionName(id, number) == name && checkID(id) == nil
}

func (x *sessionRecord) encode(m *seal.Maint) []byte {
	var e seal.Encoder
	e.Raw([]byte(sessionMagic))
	e.String(x.id)
	e.Uint(x.number)
	e.Raw(x.source[:])
	encodeTime(&e, x.until)
	e.Uint(uint64(len(x.refs)))
	for _, p := range x.refs {
		e.Raw(p.pack[:])
		e.Uint(uint64(p.frames))
		e.Bool(p.bits != nil)
		e.Raw(p.bits)
	}
	return m.Wrap(sessionName(x.id, x.number), e.B)
}

// decodeSession authenticates and reads a session record.
func decodeSession(id string, number uint64, data []byte, m *seal.Maint) (*sessionRecord, error) {
	name := sessionName(id, number)
	body, err := m.Unwrap(name, data)
	if err != nil {
		return nil, err
	}
	if len(body) < len(sessionMagic) || string(body[:len(sessionMagic)]) != sessionMagic {
		return nil, corrupt(name, "this is no session record")
	}
	d := &seal.Decoder{B: body[len(sessionMagic):]}
	x := &sessionRecord{id: d.String(), number: d.Uint()}
	if x.id != id || x.number != number {
		d.Fail("it belongs elsewhere")
	}
	copy(x.source[:], d.Raw(len(x.source)))
	x.until = decodeTime(d)
	x.refs = make([]packRefs, d.Count(18))
	for i := range x.refs {
		p := &x.refs[i]
		copy(p.pack[:], d.Raw(len(p.pack)))
		p.frames = uint32(d.Max(pack.MaxFrames))
		if d.Bool() {
			p.bits = d.Raw(bitMapSize(p.frames))
			if r := p.frames % 8; r != 0 && len(p.bits) > 0 && p.bits[len(p.bits)-1]>>r != 0 {
				d.Fail("a frame that does not exist")
			}
		}
		if i > 0 && slices.Compare(x.refs[i-1].pack[:], p.pack[:]) >= 0 {
			d.Fail("packs out of order")
		}
	}
	if err := d.Done(); err != nil {
		return nil, corrupt(name, "%v", err)
	}
	return x, nil
}

// leased reports whether a lease still runs. One that ends later than any could have been given is a wrong clock's.
func leased(until, now time.Time) bool {
	return now.Before(until) && until.Before(now.Add(2*sessionLease))
}

// keeper writes the records of one session. A nil keeper does nothing. Its methods are for one goroutine at a time, eager
// and proves excepted.
type keeper struct {
	r      *Repository
	id     string
	pin    *pin
	source sourceTag
	// ingest: the source is not trusted. Everything is recorded at checkpoints, what the vault had already included.
	// Otherwise packs are recorded as they are published, and help the repository itself only, by deduplication.
	ingest bool

	next  uint64 // number of the next record
	asked bool   // next is known
	own   *refSet
	news  *refSet // of own: not recorded yet
}

// newKeeper returns the keeper of a session that the local worker feeds, or with ingest one of somebody who is not trusted.
func (s *session) newKeeper(meta Meta, ingest bool) *keeper {
	k := &keeper{r: s.r, id: s.id, pin: s.pin, ingest: ingest, own: newRefSet(), news: newRefSet()}
	if ingest {
		k.source = tagOf(s.r.maint, meta)
	}
	return k
}

// eager reports whether packs should be published and recorded as they come.
func (k *keeper) eager() bool { return k != nil && !k.ingest }

// proves reports whether the keeper records what the session has proved to have, beside what it stored.
func (k *keeper) proves() bool { return k != nil && k.ingest }

// published takes note of packs that the index has now. They stay until the session ends, and then for the lease, if they
// are recorded by then.
func (k *keeper) published(slots []uint32, packs []pack.Info) error {
	if k == nil {
		return nil
	}
	own := newRefSet() // the old one belongs to the pin
	own.union(k.own)
	for i, p := range packs {
		own.addAll(slots[i], p.Frames)
		k.news.addAll(slots[i], p.Frames)
	}
	k.own = own
	// A Prune that looked around between the two may have condemned them; until the session ends it cannot delete them.
	return k.pin.keep(own)
}

// record writes what is new, and proven. It is not worth failing for.
func (k *keeper) record(ctx context.Context, proven *refSet) {
	if k == nil {
		return
	}
	k.news.union(proven)
	if k.news.packs() == 0 {
		return
	}
	if err := k.write(ctx); err != nil {
		k.r.log.Warn("what a session has stored so far is not recorded: if it is cut off now, it is stored again", "point", k.id, "err", err)
		return
	}
	k.news = newRefSet()
}

func (k *keeper) write(ctx context.Context) error {
	if !k.asked { // an earlier attempt may have written some
		err := k.r.store.List(ctx, sessionsPrefix+k.id+"/", func(i blob.Info) error {
			if _, n, ok := parseSessionName(i.Name); ok {
				k.next = max(k.next, n+1)
			}
			return nil
		})
		if err != nil {
			return err
		}
		k.asked = true
	}
	own := newRefSet()
	own.union(k.own)
	own.union(k.news)
	if err := k.pin.keep(own); err != nil {
		return err
	}
	k.own = own
	x := &sessionRecord{id: k.id, number: k.next, source: k.source, until: k.r.clock.Now().Add(sessionLease)}
	for slot, bits := range k.news.all() {
		i := k.r.v.index.Pack(slot)
		line := packRefs{pack: i.ID, frames: i.Frames}
		if countBits(bits) != int(i.Frames) {
			line.bits = bits
		}
		x.refs = append(x.refs, line)
	}
	slices.SortFunc(x.refs, func(a, b packRefs) int { return slices.Compare(a.pack[:], b.pack[:]) })
	k.next++ // whatever comes of it, the name is used
	return k.r.store.Put(ctx, sessionName(x.id, x.number), x.encode(k.r.maint))
}

// drop removes the records, after the commit or when the session is given up. What it leaves, Prune removes.
func (k *keeper) drop(ctx context.Context) {
	if k == nil {
		return
	}
	var names []string
	err := k.r.store.List(ctx, sessionsPrefix+k.id+"/", func(i blob.Info) error { names = append(names, i.Name); return nil })
	for _, name := range names {
		if e := k.r.store.Delete(ctx, name); e != nil && !fault.Is(e, fault.NotFound) {
			err = e
		}
	}
	if err != nil {
		k.r.log.Warn("the records of a session that has ended stay until the next Prune", "point", k.id, "err", err)
	}
}

// cutSession is what the records of one session say together.
type cutSession struct {
	id      string
	names   []string
	until   time.Time // the latest
	records []*sessionRecord
}

// eachSession calls fn for each session that has records. Damaged ones are left out of what it says.
func (r *Repository) eachSession(ctx context.Context, fn func(*cutSession) error) error {
	var all []*cutSession
	err := r.store.List(ctx, sessionsPrefix, func(i blob.Info) error {
		id, _, ok := parseSessionName(i.Name)
		if !ok {
			return nil
		}
		if n := len(all); n == 0 || all[n-1].id != id {
			all = append(all, &cutSession{id: id})
		}
		c := all[len(all)-1]
		c.names = append(c.names, i.Name)
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range all {
		for _, name := range c.names {
			_, n, _ := parseSessionName(name)
			data, err := blob.Get(ctx, r.store, name, maxSmall)
			var x *sessionRecord
			if err == nil {
				x, err = decodeSession(c.id, n, data, r.maint)
			}
			switch {
			case fault.Is(err, fault.NotFound): // it has committed meanwhile
			case fault.Is(err, fault.Corrupt):
				r.log.Warn("a session record is damaged: what it names may be stored again", "object", name, "err", err)
			case err != nil:
				return err
			default:
				c.records = append(c.records, x)
				if x.until.After(c.until) {
					c.until = x.until
				}
			}
		}
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}

// addTo adds what the session has to a set, packs that are gone left out.
func (c *cutSession) addTo(s *refSet, v *vault, wanted func(*sessionRecord) bool) {
	for _, x := range c.records {
		if !wanted(x) {
			continue
		}
		for _, p := range x.refs {
			slot, ok := v.index.Slot(p.pack)
			if !ok || v.index.Pack(slot).Frames != p.frames {
				continue
			}
			if p.bits == nil {
				s.addAll(slot, p.frames)
			} else {
				s.addBits(slot, p.frames, p.bits)
			}
		}
	}
}

// earlier returns what sessions of the same source that were cut off have shown.
func (r *Repository) earlier(ctx context.Context, source sourceTag) (*refSet, error) {
	s := newRefSet()
	if source == (sourceTag{}) {
		return s, nil
	}
	now := r.clock.Now()
	err := r.eachSession(ctx, func(c *cutSession) error {
		if leased(c.until, now) {
			c.addTo(s, r.v, func(x *sessionRecord) bool { return x.source == source })
		}
		return nil
	})
	return s, err
}

// done tells which recovery points were committed or forgotten: there is nothing to go on with.
func (p *pruning) done() func(id string) bool {
	committed := map[string]bool{}
	for _, rec := range p.recs {
		committed[rec.id] = true
	}
	return func(id string) bool { return committed[id] || p.points[id].forgotten }
}

// markSessions marks what sessions have that were cut off and may go on (it is not moved either, as their records name its
// place), and accounts for what sessions had that will not go on.
func (p *pruning) markSessions(ctx context.Context) error {
	p.cut, p.ended = newRefSet(), newRefSet()
	now, done := p.r.clock.Now(), p.done()
	all := func(*sessionRecord) bool { return true }
	err := p.r.eachSession(ctx, func(c *cutSession) error {
		if !done(c.id) && leased(c.until, now) {
			c.addTo(p.cut, p.r.v, all)
		} else {
			c.addTo(p.ended, p.r.v, all)
		}
		return nil
	})
	p.live.union(p.cut)
	return err
}

// tidySessions removes records that nobody needs any more: of recovery points that are done, and of leases that have ended.
func (p *pruning) tidySessions(ctx context.Context) error {
	now, done := p.r.clock.Now(), p.done()
	return p.r.eachSession(ctx, func(c *cutSession) error {
		free, busy := p.r.v.claim(c.id)
		if busy != nil {
			return nil // being written: next time
		}
		defer free()
		if !done(c.id) && leased(c.until, now) {
			return nil
		}
		for _, name := range c.names {
			if err := p.remove(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
}
