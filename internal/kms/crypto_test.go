package kms_test

import (
	"bytes"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/kms"
)

func TestCiphertextOpensOnlyWithItsContext(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		plain, blob, err := w.GenerateDataKey(t.Context(), key, map[string]string{"aws:backup:backup-vault": "v", "b": ""}, 32)
		ok(t, err)
		got, by, err := w.Decrypt(t.Context(), blob, map[string]string{"b": "", "aws:backup:backup-vault": "v"})
		if err != nil || !bytes.Equal(got, plain) || by != key {
			t.Fatalf("decrypt: %v, by %s", err, by)
		}
		for _, wrong := range []map[string]string{nil, {}, {"aws:backup:backup-vault": "v"}, {"aws:backup:backup-vault": "v", "b": "x"}, {"aws:backup:backup-vault": "v", "B": ""}, {"aws:backup:backup-vault": "vb", "": ""}} {
			_, _, err := w.Decrypt(t.Context(), blob, wrong)
			wantFault(t, err, fault.Invalid, kms.CodeInvalidCiphertext)
		}
	})
}

func TestNoChangedByteOfACiphertextDecrypts(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		sealed, err := w.Encrypt(t.Context(), w.key(t), []byte("secret"), nil)
		ok(t, err)
		for i := range sealed.Blob {
			b := bytes.Clone(sealed.Blob)
			b[i] ^= 1 << (i % 8)
			if _, _, err := w.Decrypt(t.Context(), b, nil); fault.As(err) == nil {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
		for n := range sealed.Blob {
			_, _, err := w.Decrypt(t.Context(), sealed.Blob[:n], nil)
			wantFault(t, err, fault.Invalid, kms.CodeInvalidCiphertext)
		}
	})
}

func TestAnotherKeyCannotTakeACiphertextsPlace(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		a, err := w.Encrypt(t.Context(), w.key(t), []byte("of a"), nil)
		ok(t, err)
		b, err := w.Encrypt(t.Context(), w.key(t), []byte("of b"), nil)
		ok(t, err)
		for _, cut := range []int{20, 52, 68} { // key id, key and material id, the whole header
			_, _, err := w.Decrypt(t.Context(), append(bytes.Clone(b.Blob[:cut]), a.Blob[cut:]...), nil)
			wantFault(t, err, fault.Invalid, kms.CodeInvalidCiphertext)
		}
	})
}

func TestReEncryptMovesToAnotherKeyAndContext(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		from, to := w.key(t), w.key(t)
		a, err := w.Encrypt(t.Context(), from, []byte("data key"), map[string]string{"vault": "1"})
		ok(t, err)
		b, source, err := w.ReEncrypt(t.Context(), a.Blob, map[string]string{"vault": "1"}, to, map[string]string{"vault": "2"})
		ok(t, err)
		if source.KeyARN != from || b.KeyARN != to || source.Plain != nil {
			t.Fatalf("%+v %+v", source, b)
		}
		plain, by, err := w.Decrypt(t.Context(), b.Blob, map[string]string{"vault": "2"})
		if err != nil || by != to || string(plain) != "data key" {
			t.Fatal(err)
		}
		_, _, err = w.ReEncrypt(t.Context(), a.Blob, nil, to, nil)
		wantFault(t, err, fault.Invalid, kms.CodeInvalidCiphertext)
	})
}

func TestSizes(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		for n, good := range map[int]bool{0: false, 1: true, 4096: true, 4097: false} {
			s, err := w.Encrypt(t.Context(), key, make([]byte, n), nil)
			if (err == nil) != good || len(s.Blob) > 6144 {
				t.Errorf("encrypt %d bytes: %v", n, err)
			}
		}
		for n, good := range map[int]bool{0: false, 1: true, 1024: true, 1025: false} {
			if _, _, err := w.GenerateDataKey(t.Context(), key, nil, n); (err == nil) != good {
				t.Errorf("data key of %d bytes: %v", n, err)
			}
		}
	})
}

func TestEveryRotationKeepsOldCiphertexts(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		var blobs [][]byte
		for i := range 6 {
			s, err := w.Encrypt(t.Context(), key, []byte{byte(i)}, nil)
			ok(t, err)
			if s.MaterialID != w.describe(t, key).MaterialID {
				t.Fatal("not under the current material")
			}
			blobs = append(blobs, s.Blob)
			_, err = w.Rotate(t.Context(), key)
			ok(t, err)
		}
		for i, b := range blobs {
			plain, _, err := w.Decrypt(t.Context(), b, nil)
			if err != nil || plain[0] != byte(i) {
				t.Fatalf("blob %d: %v", i, err)
			}
		}
		list, more, err := w.Materials(t.Context(), key, 0, 4)
		if err != nil || !more || len(list) != 4 || list[0].Type != "" || list[1].Type != "ON_DEMAND" || list[3].Current {
			t.Fatalf("%+v %v %v", list, more, err)
		}
	})
}
