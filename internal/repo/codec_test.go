package repo

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

func testKeys(t testing.TB) (*seal.Root, *seal.Maint) {
	t.Helper()
	root, err := seal.NewRoot(bytes.Repeat([]byte{1}, 32), seal.VaultID{1})
	if err != nil {
		t.Fatal(err)
	}
	maint, err := seal.NewMaint(bytes.Repeat([]byte{2}, 32), seal.VaultID{1})
	if err != nil {
		t.Fatal(err)
	}
	return root, maint
}

func fullRecord() *record {
	return &record{
		id: "rp", committed: time.Unix(5, 6).UTC(), retain: time.Date(9999, 1, 2, 3, 4, 5, 6, time.UTC), locked: true, attempt: attempt{9}, open: true,
		meta: Meta{Owner: "o", ResourceARN: "arn:r", RecoveryPointARN: "arn:p", ResourceType: "EFS", Created: time.Unix(1, 2).UTC(),
			RetainUntil: time.Date(9999, 1, 2, 3, 4, 5, 6, time.UTC), Locked: true, Labels: map[string]string{"a": "1", "b": ""}},
		root: seal.Hash{7}, stats: Stats{1, 2, 3, 4, 5, 6, 7, 8, 9}, shown: []Problem{{"p", "r"}}, problem: 12,
	}
}

func TestACommitRecordKeepsEveryField(t *testing.T) {
	t.Parallel()
	root, maint := testKeys(t)
	for _, r := range []*record{fullRecord(), {id: "x", open: true}} {
		r.meta.Created, r.committed, r.retain = r.meta.Created.UTC(), r.committed.UTC(), r.retain.UTC()
		r.meta.RetainUntil = r.retain
		data := r.encode(root, maint)
		got, err := decodeRecord(r.id, data, root, maint)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("%+v became %+v", r, got)
		}
		public, err := decodeRecord(r.id, data, nil, maint)
		if err != nil || public.open || !public.retain.Equal(r.retain) || public.meta.Owner != "" {
			t.Errorf("without the root key: %+v, %v", public, err)
		}
		if _, err := decodeRecord("other", data, root, maint); !fault.Is(err, fault.Corrupt) {
			t.Errorf("under another id: %v", err)
		}
		for _, secret := range []string{"arn:", "EFS"} {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%q shows", secret)
			}
		}
		// Whoever has the maintenance key alone cannot change the retention unnoticed.
		body := bytes.Clone(data[:len(data)-seal.TagSize])
		body[len(recordMagic)+1+len(r.id)+1] ^= 1
		if _, err := decodeRecord(r.id, maint.Wrap(pointName(r.id), body), root, maint); !fault.Is(err, fault.Corrupt) {
			t.Errorf("a forged public part: %v", err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(fullRecord().encodePrivate())
	f.Add((&record{}).encodePrivate())
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record
		if r.decodePrivate(b) == nil && !bytes.Equal(r.encodePrivate(), b) {
			t.Fatal("two encodings")
		}
	})
}

func FuzzRefs(f *testing.F) {
	_, maint := testKeys(f)
	k := refsKey{id: "rp", attempt: attempt{1}, generation: 2}
	infos := []pack.Info{{ID: seal.PackID{1}, Frames: 9}, {ID: seal.PackID{2}, Frames: 8}}
	s := newRefSet()
	s.addAll(0, 9)
	s.add(1, 3, 8)
	data := encodeRefs(k, s, func(n uint32) pack.Info { return infos[n] }, maint)
	f.Add(data[:len(data)-seal.TagSize])
	f.Fuzz(func(t *testing.T, body []byte) {
		lines, err := decodeRefs(k, maint.Wrap(k.name(), bytes.Clone(body)), maint)
		if err != nil {
			return
		}
		for _, p := range lines {
			if p.bits != nil && len(p.bits) != int(p.frames+7)/8 {
				t.Fatal("a bit map of the wrong size")
			}
		}
	})
}

func FuzzJournal(f *testing.F) {
	_, maint := testKeys(f)
	var e seal.Encoder
	e.Raw([]byte(journalMagic))
	e.Uint(0)
	e.Raw(make([]byte, 32))
	e.Uint(jRetention)
	encodeTime(&e, time.Unix(1, 1))
	e.String("rp")
	encodeTime(&e, time.Unix(1, 1))
	e.Bool(true)
	f.Add(e.B, false)
	f.Fuzz(func(t *testing.T, body []byte, checkpoint bool) {
		j := &journal{maint: maint, points: map[string]journaled{}, trash: map[seal.PackID]trashed{}}
		name := journalName(0, checkpoint)
		if err := j.apply(name, 0, checkpoint, maint.Wrap(name, bytes.Clone(body)), true); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzDescriptor(f *testing.F) {
	d := Descriptor{Owner: "o", Name: "n", VaultARN: "a", Region: "r"}
	f.Add(append(d.encode(seal.VaultID{1}), make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, vault, body, _, err := parseDescriptor(b)
		if err == nil && !bytes.Equal(d.encode(vault), body) {
			t.Fatal("two encodings")
		}
	})
}
