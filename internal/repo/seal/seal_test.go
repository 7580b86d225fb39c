package seal

import (
	"bytes"
	"math"
	"testing"

	"strongroom/internal/fault"
)

func roots(t *testing.T) (a, b, c *Root) {
	t.Helper()
	for _, x := range []struct {
		to    **Root
		key   byte
		vault VaultID
	}{{&a, 1, VaultID{1}}, {&b, 2, VaultID{1}}, {&c, 1, VaultID{2}}} {
		r, err := NewRoot(bytes.Repeat([]byte{x.key}, KeySize), x.vault)
		if err != nil {
			t.Fatal(err)
		}
		*x.to = r
	}
	return a, b, c
}

func TestNothingIsSharedBetweenKeysVaultsAndKinds(t *testing.T) {
	t.Parallel()
	a, b, c := roots(t)
	ids := map[CID]bool{}
	for _, r := range []*Root{a, b, c} {
		for kind := range byte(3) {
			ids[r.CID(kind, Hash{1})] = true
		}
	}
	if len(ids) != 9 {
		t.Errorf("%d different ids of 9", len(ids))
	}
	id, salt := PackID{1}, [32]byte{2}
	sealed := a.Pack(id, salt).Seal(nil, []byte("content"), []byte("aad"), Frame, 7)
	open := func(k *PackKey, aad string, p Part, n uint32) bool {
		_, ok := k.Open(nil, sealed, []byte(aad), p, n)
		return ok
	}
	if !open(a.Pack(id, salt), "aad", Frame, 7) {
		t.Fatal("what was sealed does not open")
	}
	for name, opened := range map[string]bool{
		"another root key": open(b.Pack(id, salt), "aad", Frame, 7),
		"another vault":    open(c.Pack(id, salt), "aad", Frame, 7),
		"another pack":     open(a.Pack(PackID{9}, salt), "aad", Frame, 7),
		"another salt":     open(a.Pack(id, [32]byte{}), "aad", Frame, 7),
		"another number":   open(a.Pack(id, salt), "aad", Frame, 8),
		"another part":     open(a.Pack(id, salt), "aad", Footer, 7),
		"another meaning":  open(a.Pack(id, salt), "aae", Frame, 7),
	} {
		if opened {
			t.Errorf("it opens under %s", name)
		}
	}
	if a.Pack(id, salt).Commit == a.Pack(PackID{2}, salt).Commit || a.Pack(id, salt).Commit == b.Pack(id, salt).Commit {
		t.Error("two keys have one commitment")
	}
}

func TestRecordsAndTagsAreBoundToTheirNames(t *testing.T) {
	t.Parallel()
	a, _, _ := roots(t)
	sealed := a.SealRecord("rps/1", [32]byte{1}, []byte("x"), []byte("public"))
	if p, err := a.OpenRecord("rps/1", [32]byte{1}, sealed, []byte("public")); err != nil || string(p) != "x" {
		t.Fatal(p, err)
	}
	for _, c := range []struct {
		name string
		salt byte
		aad  string
	}{{"rps/2", 1, "public"}, {"rps/1", 2, "public"}, {"rps/1", 1, "changed"}} {
		if _, err := a.OpenRecord(c.name, [32]byte{c.salt}, sealed, []byte(c.aad)); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%v: %v", c, err)
		}
	}
	m, err := NewMaint(make([]byte, KeySize), VaultID{1})
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewMaint(make([]byte, KeySize), VaultID{2})
	data := m.Wrap("a/b", []byte("body"))
	if body, err := m.Unwrap("a/b", data); err != nil || string(body) != "body" {
		t.Fatal(body, err)
	}
	for _, f := range []func() ([]byte, error){
		func() ([]byte, error) { return m.Unwrap("a/", append([]byte("b"), data...)) },
		func() ([]byte, error) { return m.Unwrap("a/c", data) },
		func() ([]byte, error) { return other.Unwrap("a/b", data) },
		func() ([]byte, error) { return m.Unwrap("a/b", data[:10]) },
	} {
		if _, err := f(); !fault.Is(err, fault.Corrupt) {
			t.Errorf("accepted: %v", err)
		}
	}
}

func TestVaultIDsHaveOneSpelling(t *testing.T) {
	t.Parallel()
	const good = "0a1b2c3d-0000-4000-8000-00000000000f"
	if v, err := ParseVaultID(good); err != nil || v.String() != good {
		t.Error(v, err)
	}
	for _, bad := range []string{"", good[:35], good + "0", "0A1B2C3D-0000-4000-8000-00000000000f", "0a1b2c3d00000-4000-8000-00000000000f", "zzzzzzzz-0000-4000-8000-00000000000f"} {
		if _, err := ParseVaultID(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestValuesHaveOneEncoding(t *testing.T) {
	t.Parallel()
	var e Encoder
	ints := []int64{0, 1, -1, 63, 64, -64, -65, 1 << 40, math.MinInt64, math.MaxInt64}
	for _, v := range ints {
		e.Int(v)
		e.Uint(uint64(v))
	}
	e.Bool(true)
	e.String("text")
	d := &Decoder{B: e.B}
	for _, v := range ints {
		if got, u := d.Int(), d.Uint(); got != v || u != uint64(v) {
			t.Errorf("%d became %d and %d", v, got, u)
		}
	}
	if !d.Bool() || d.String() != "text" || d.Done() != nil {
		t.Error(d.Err())
	}
	for name, b := range map[string][]byte{"not minimal": {0x80, 0}, "cut": {0x80}, "too large": bytes.Repeat([]byte{0xff}, 11), "nothing": {}} {
		d := &Decoder{B: b}
		if d.Uint(); !fault.Is(d.Err(), fault.Corrupt) {
			t.Errorf("%s was accepted", name)
		}
	}
	long := &Decoder{B: []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1}}
	if long.Bytes(); !fault.Is(long.Err(), fault.Corrupt) {
		t.Error("a length beyond the input was accepted")
	}
	if rest := (&Decoder{B: []byte{1}}); !fault.Is(rest.Done(), fault.Corrupt) {
		t.Error("bytes after the end were accepted")
	}
}
