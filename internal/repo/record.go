package repo

import (
	"crypto/rand"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

const recordMagic = "SRPOINT\x01"

// record is a commit record: the object whose existence makes a recovery point. What the maintenance key may see stands in
// the clear; everything else is sealed under the root key, bound to the clear part.
type record struct {
	id        string
	committed time.Time
	retain    time.Time
	locked    bool
	attempt   attempt

	open    bool // the private part below was read
	meta    Meta
	root    seal.Hash
	stats   Stats
	shown   []Problem
	problem int64
}

// encode makes the object.
func (r *record) encode(root *seal.Root, maint *seal.Maint) []byte {
	name := pointName(r.id)
	var e seal.Encoder
	e.Raw([]byte(recordMagic))
	e.String(r.id)
	encodeTime(&e, r.committed)
	encodeTime(&e, r.retain)
	e.Bool(r.locked)
	e.Raw(r.attempt[:])
	var salt [32]byte
	rand.Read(salt[:])
	e.Raw(salt[:])
	e.Bytes(root.SealRecord(name, salt, r.encodePrivate(), e.B))
	return maint.Wrap(name, e.B)
}

func (r *record) encodePrivate() []byte {
	var e seal.Encoder
	m := &r.meta
	for _, s := range []string{m.Owner, m.ResourceARN, m.RecoveryPointARN, m.ResourceType} {
		e.String(s)
	}
	encodeTime(&e, m.Created)
	e.Uint(uint64(len(m.Labels)))
	for _, k := range sortedKeys(m.Labels) {
		e.String(k)
		e.String(m.Labels[k])
	}
	e.Raw(r.root[:])
	for _, n := range r.stats.fields() {
		e.Uint(uint64(*n))
	}
	e.Uint(uint64(r.problem))
	e.Uint(uint64(len(r.shown)))
	for _, p := range r.shown {
		e.String(p.Path)
		e.String(p.Reason)
	}
	return e.B
}

// fields lists the counters in the order of the format.
func (s *Stats) fields() []*int64 {
	return []*int64{&s.Entries, &s.Files, &s.LogicalBytes, &s.ReadBytes, &s.NewBytes, &s.StoredBytes, &s.UnchangedFiles, &s.NewChunks, &s.Chunks}
}

// decodeRecord authenticates and reads a commit record. root may be nil; then the private part stays closed.
func decodeRecord(id string, data []byte, root *seal.Root, maint *seal.Maint) (*record, error) {
	name := pointName(id)
	body, err := maint.Unwrap(name, data)
	if err != nil {
		return nil, err
	}
	if len(body) < len(recordMagic) || string(body[:len(recordMagic)]) != recordMagic {
		return nil, corrupt(name, "this is no commit record")
	}
	d := &seal.Decoder{B: body[len(recordMagic):]}
	r := &record{id: d.String(), committed: decodeTime(d), retain: decodeTime(d), locked: d.Bool()}
	copy(r.attempt[:], d.Raw(len(r.attempt)))
	var salt [32]byte
	copy(salt[:], d.Raw(len(salt)))
	aad := body[:len(body)-len(d.B)]
	sealed := d.Bytes()
	if err := d.Done(); err != nil || r.id != id {
		return nil, corrupt(name, "malformed commit record")
	}
	if root == nil {
		return r, nil
	}
	plain, err := root.OpenRecord(name, salt, sealed, aad)
	if err != nil {
		return nil, err
	}
	if err := r.decodePrivate(plain); err != nil {
		return nil, corrupt(name, "%v", err)
	}
	return r, nil
}

func (r *record) decodePrivate(plain []byte) error {
	d := &seal.Decoder{B: plain}
	r.meta = Meta{Owner: d.String(), ResourceARN: d.String(), RecoveryPointARN: d.String(), ResourceType: d.String(), Created: decodeTime(d)}
	r.meta.RetainUntil, r.meta.Locked = r.retain, r.locked
	if n := d.Count(2); n > 0 {
		r.meta.Labels = make(map[string]string, n)
		last := ""
		for i := range n {
			k := d.String()
			if i > 0 && k <= last {
				d.Fail("labels out of order")
			}
			r.meta.Labels[k], last = d.String(), k
		}
	}
	r.root = d.Hash()
	for _, n := range r.stats.fields() {
		*n = int64(d.Max(1<<63 - 1))
	}
	r.problem = int64(d.Max(1<<63 - 1))
	if n := d.Count(2); n > 0 {
		r.shown = make([]Problem, n)
		for i := range r.shown {
			r.shown[i] = Problem{Path: d.String(), Reason: d.String()}
		}
	}
	r.open = true
	return d.Done()
}

// receipt says what was committed.
func (r *record) receipt() Receipt {
	return Receipt{
		ID: r.id, Root: r.root, Committed: r.committed, RetainUntil: r.retain, Locked: r.locked,
		Stats: r.stats, Problems: r.shown, ProblemCount: r.problem,
	}
}

// public returns the part that the maintenance key may see.
func (r *record) public() *record {
	return &record{id: r.id, committed: r.committed, retain: r.retain, locked: r.locked, attempt: r.attempt}
}

// commit says what is known, with the journal's changes.
func (r *record) commit(retain time.Time, locked bool) Commit {
	c := Commit{ID: r.id, Committed: r.committed, RetainUntil: retain, Locked: locked}
	if r.open {
		c.Meta, c.Root, c.Stats, c.Problems, c.ProblemCount = r.meta, r.root, r.stats, r.shown, r.problem
		c.Meta.RetainUntil, c.Meta.Locked = retain, locked
	}
	return c
}

func needRoot(r *Repository) error {
	if r.root == nil {
		return fault.New(fault.State, "the repository is open for maintenance only: this needs the vault's root key")
	}
	return nil
}
