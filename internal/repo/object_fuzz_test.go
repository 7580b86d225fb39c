package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/test/bound"
)

// Every decoder of an object either refuses an input as damage or takes it as the only encoding of what it decodes to. Tags are
// made right here: a decoder must be safe even from whoever has the maintenance key.

// refused fails the test unless an error is of a kind that decoders may answer with.
func refused(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.Unsupported) {
		t.Fatalf("%v is no kind of damage", err)
	}
}

func FuzzDescriptor(f *testing.F) {
	d := Descriptor{Owner: "o", Name: "n", VaultARN: "a", Region: "r", Created: time.Unix(1, 2)}
	f.Add(append(d.encode(seal.VaultID{1}), make([]byte, 64)...))
	d.needs = needs{write: []string{"w"}, prune: []string{"p", "q"}}
	f.Add(append(d.encode(seal.VaultID{1}), make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		bound.Allocation(t, func() {
			d, vault, body, check, err := parseDescriptor(b)
			switch {
			case err != nil:
				refused(t, err)
			case !bytes.Equal(append(d.encode(vault), check...), b[:len(body)+len(check)]):
				t.Fatal("two encodings")
			}
		})
	})
}

func FuzzFeature(f *testing.F) {
	f.Add((&feature{name: "new", read: true, parameters: []byte{1}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		bound.Allocation(t, func() {
			x, err := decodeFeature(featureName("new"), b)
			switch {
			case err != nil:
				refused(t, err)
			case !bytes.Equal(x.encode(), b):
				t.Fatal("two encodings")
			}
		})
	})
}

func FuzzEnvelope(f *testing.F) {
	for _, e := range []Envelope{{}, {"kms", "arn:key", []byte("wrapped")}} {
		s := mem.New()
		if err := AddEnvelope(f.Context(), s, e); err != nil {
			f.Fatal(err)
		}
		b := s.Bytes("keys/000000")
		f.Add(b[:len(b)-sha256.Size])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		data := slices.Concat(body, sum[:])
		s := mem.New()
		s.Damage("keys/000000", data)
		bound.Allocation(t, func() {
			es, err := Envelopes(t.Context(), s)
			if err != nil {
				refused(t, err)
				return
			}
			again := mem.New()
			if err := AddEnvelope(t.Context(), again, es[0]); err != nil || !bytes.Equal(again.Bytes("keys/000000"), data) {
				t.Fatalf("two encodings, or %v", err)
			}
		})
	})
}

// FuzzRecordObject is about the public part of a commit record; FuzzRecord about what is sealed in it.
func FuzzRecordObject(f *testing.F) {
	root, maint := testKeys(f)
	data := fullRecord().encode(root, maint)
	f.Add(data[:len(data)-seal.TagSize])
	f.Fuzz(func(t *testing.T, body []byte) {
		bound.Allocation(t, func() {
			data := maint.Wrap(pointName("rp"), bytes.Clone(body))
			r, err := decodeRecord("rp", data, nil, maint)
			if err != nil {
				refused(t, err)
				return
			}
			// The sealed part and its salt are kept as they are; what stands before them must be written the same way.
			var e seal.Encoder
			e.Raw([]byte(recordMagic))
			e.String(r.id)
			encodeTime(&e, r.committed)
			encodeTime(&e, r.retain)
			e.Bool(r.locked)
			e.Raw(r.attempt[:])
			d := &seal.Decoder{B: body[min(len(e.B)+32, len(body)):]}
			e.Raw(body[len(e.B) : len(e.B)+32])
			if e.Bytes(d.Bytes()); d.Done() != nil || !bytes.Equal(e.B, body) {
				t.Fatal("two encodings")
			}
			if _, err := decodeRecord("rp", data, root, maint); err != nil {
				refused(t, err)
			}
		})
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(fullRecord().encodePrivate())
	f.Add((&record{}).encodePrivate())
	f.Fuzz(func(t *testing.T, b []byte) {
		bound.Allocation(t, func() {
			var r record
			if r.decodePrivate(b) == nil && !bytes.Equal(r.encodePrivate(), b) {
				t.Fatal("two encodings")
			}
		})
	})
}

func FuzzSession(f *testing.F) {
	_, maint := testKeys(f)
	x := sessionRecord{id: "rp", number: 3, source: sourceTag{1}, until: time.Unix(7, 8), refs: []packRefs{
		{pack: seal.PackID{1}, frames: 9}, {pack: seal.PackID{2}, frames: 9, bits: []byte{3, 1}}}}
	data := x.encode(maint)
	f.Add(data[:len(data)-seal.TagSize])
	f.Fuzz(func(t *testing.T, body []byte) {
		bound.Allocation(t, func() {
			data := maint.Wrap(sessionName("rp", 3), bytes.Clone(body))
			x, err := decodeSession("rp", 3, data, maint)
			switch {
			case err != nil:
				refused(t, err)
			case !bytes.Equal(x.encode(maint), data):
				t.Fatal("two encodings")
			}
		})
	})
}

// FuzzJournal applies an entry to a journal and lets another one write it again.
func FuzzJournal(f *testing.F) {
	_, maint := testKeys(f)
	write := func(j *journal, e journalEntry) []byte {
		s := mem.New()
		j.store, j.maint = s, maint
		if err := j.append(context.Background(), e); err != nil {
			f.Fatal(err)
		}
		return s.Bytes(s.Names()[0])
	}
	empty := func() *journal {
		return &journal{maint: maint, points: map[string]journaled{}, trash: map[seal.PackID]trashed{}}
	}
	at := time.Unix(1, 2).UTC()
	packs := []trashed{{id: seal.PackID{1}, class: pack.ClassData, at: at}, {id: seal.PackID{2}, class: pack.ClassMeta, at: at}}
	for _, e := range []journalEntry{
		{kind: jCommit, id: "rp", at: at}, {kind: jForget, id: "rp", at: at}, {kind: jRecall, id: "rp", at: at},
		{kind: jRetention, id: "rp", at: at, retain: at, locked: true}, {kind: jTrash, at: at, packs: packs}, {kind: jUntrash, at: at, packs: packs},
		{kind: jCommits, ids: []string{"a", "b", "rp"}, at: at},
	} {
		data := write(empty(), e)
		f.Add(data[:len(data)-seal.TagSize], false)
	}
	j := empty()
	j.points = map[string]journaled{"a": {}, "b": {forgotten: true, at: at}, "c": {changed: true, retain: at, locked: true}}
	j.trash = map[seal.PackID]trashed{{1}: packs[0], {2}: packs[1]}
	data := write(j, journalEntry{kind: jCheckpoint, at: at})
	f.Add(data[:len(data)-seal.TagSize], true)
	f.Fuzz(func(t *testing.T, body []byte, checkpoint bool) {
		bound.Allocation(t, func() {
			j := empty()
			name := journalName(0, checkpoint)
			data := maint.Wrap(name, bytes.Clone(body))
			if err := j.apply(name, 0, checkpoint, data, true); err != nil {
				refused(t, err)
				return
			}
			d := &seal.Decoder{B: body[len(journalMagic):]}
			d.Uint()
			again := empty()
			again.head = d.Hash()
			e := journalEntry{kind: d.Uint(), at: decodeTime(d)}
			switch e.kind {
			case jCommit, jForget, jRecall:
				e.id = d.String()
			case jRetention:
				e.id = d.String()
				e.retain, e.locked = j.points[e.id].retain, j.points[e.id].locked
			case jCheckpoint:
				again.points, again.trash = j.points, j.trash
			case jCommits:
				for range d.Uint() {
					e.ids = append(e.ids, d.String())
				}
			default:
				e.packs = decodePacks(d, e.kind == jTrash, false)
			}
			if !bytes.Equal(write(again, e), data) {
				t.Fatal("two encodings")
			}
		})
	})
}

// FuzzHealth applies results of a scrub about packs that are in the index.
func FuzzHealth(f *testing.F) {
	_, maint := testKeys(f)
	ctx := f.Context()
	store := mem.New()
	set, err := index.Load(ctx, store, maint, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	newHealth := func() *health {
		h, _, err := loadHealth(ctx, mem.New(), maint, set, time.Now)
		if err != nil {
			f.Fatal(err)
		}
		return h
	}
	var e seal.Encoder
	e.Raw([]byte(healthMagic))
	e.Uint(2)
	for i := range byte(2) {
		e.Raw(bytes.Repeat([]byte{i}, 16))
		e.Uint(1)
		e.Int(5)
		if e.Bool(i == 1); i == 1 {
			e.Uint(9)
			e.Raw([]byte{1, 1})
		}
	}
	f.Add(e.B)
	h := newHealth()
	f.Fuzz(func(t *testing.T, body []byte) {
		bound.Allocation(t, func() {
			name := healthName(0)
			if err := h.apply(name, maint.Wrap(name, bytes.Clone(body))); err != nil {
				refused(t, err)
			}
		})
	})
}

// FuzzNames: what a name of an object is taken for has exactly that name.
func FuzzNames(f *testing.F) {
	for _, n := range []string{
		journalName(3, false), journalName(4, true), refsName("rp", attempt{1}, 2), refsName("rp", attempt{1}, 1<<40), sessionName("rp", 5),
		pack.Name(pack.ClassData, seal.PackID{1}), pack.Name(pack.ClassMeta, seal.PackID{2}), index.SegmentID{3}.Name(),
	} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if seq, checkpoint, ok := parseJournalName(name); ok && journalName(seq, checkpoint) != name {
			t.Error("journal")
		}
		if k, ok := parseRefsName(name); ok && k.name() != name {
			t.Error("reference set")
		}
		if id, n, ok := parseSessionName(name); ok && sessionName(id, n) != name {
			t.Error("session")
		}
		if class, id, ok := pack.ParseName(name); ok && pack.Name(class, id) != name {
			t.Error("pack")
		}
		if id, ok := index.ParseName(name); ok && id.Name() != name {
			t.Error("segment")
		}
	})
}
