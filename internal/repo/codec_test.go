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

func FuzzRefs(f *testing.F) {
	_, maint := testKeys(f)
	k := refsKey{id: "rp", attempt: attempt{1}, generation: 2}
	infos := []pack.Info{{ID: seal.PackID{1}, Frames: 9}, {ID: seal.PackID{2}, Frames: 8}}
	s := newRefSet()
	s.addAll(0, 9)
	s.add(1, 3, 8)
	base := &refsObject{key: refsKey{id: "base", attempt: attempt{2}, generation: 300}, depth: 3}
	for _, b := range []*refsObject{nil, base} {
		data := encodeRefs(k, b, s, func(n uint32) pack.Info { return infos[n] }, maint)
		f.Add(data[:len(data)-seal.TagSize])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := decodeRefs(k, maint.Wrap(k.name(), bytes.Clone(body)), maint)
		if err != nil {
			return
		}
		var packs []pack.Info
		s := newRefSet()
		err = o.each(func(p packRefs) error {
			if p.bits != nil && len(p.bits) != int(p.frames+7)/8 {
				t.Fatal("a bit map of the wrong size")
			}
			slot := uint32(len(packs))
			packs = append(packs, pack.Info{ID: p.pack, Frames: p.frames})
			if p.bits == nil {
				s.addAll(slot, p.frames)
			} else {
				s.addBits(slot, p.frames, p.bits)
			}
			return nil
		})
		if err != nil {
			return
		}
		var b *refsObject
		if o.depth > 0 {
			b = &refsObject{key: o.base, depth: o.depth - 1}
		}
		again := encodeRefs(k, b, s, func(n uint32) pack.Info { return packs[n] }, maint)
		if !bytes.Equal(again[:len(again)-seal.TagSize], body) {
			t.Fatal("two encodings")
		}
	})
}
