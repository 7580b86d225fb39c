package kms

import (
	"bytes"
	"encoding/hex"
	"testing"

	"strongroom/internal/fault"
)

const testKeyID = "00112233-4455-6677-8899-aabbccddeeff"

func testSecret(t testing.TB) (secret []byte, id string) {
	t.Helper()
	secret = bytes.Repeat([]byte{7}, 32)
	id, err := materialID(secret)
	if err != nil {
		t.Fatal(err)
	}
	return secret, id
}

// The bytes are the format: a change that breaks this test makes every stored ciphertext unreadable.
func TestBlobFormatIsFixed(t *testing.T) {
	t.Parallel()
	secret, id := testSecret(t)
	blob, err := sealBlobNonce(testKeyID, id, secret, []byte("hello"), map[string]string{"b": "2", "a": "1"}, bytes.Repeat([]byte{9}, 16))
	if err != nil {
		t.Fatal(err)
	}
	const want = "b56b0101" + "00112233445566778899aabbccddeeff" +
		"2e852e79089f4680fcde4d03b7a42e9acc77205c76b075cf8df725fb95f87ece" + "09090909090909090909090909090909" +
		"82f06e34915bae0ff0f64ebd3e8f0a51f8bfa7aa05" // also computed outside Go: HMAC-SHA256 expansion, AES-256-GCM, zero nonce
	if got := hex.EncodeToString(blob); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	ref, err := parseBlob(blob)
	if err != nil || ref.key != testKeyID || ref.material != id {
		t.Fatalf("%+v %v", ref, err)
	}
}

func TestContextsNeverLookAlike(t *testing.T) {
	t.Parallel()
	contexts := []map[string]string{nil, {"": ""}, {"a": "b"}, {"ab": ""}, {"": "ab"}, {"a": "b", "c": ""}, {"a": "", "b": "c"}, {"a\x00\x00\x00\x01b": ""}, {"a": "bc"}, {"ab": "c"}}
	seen := map[string]int{}
	for i, c := range contexts {
		k := string(canonicalContext(c))
		if j, twice := seen[k]; twice {
			t.Errorf("contexts %d and %d look alike", i, j)
		}
		seen[k] = i
	}
}

// FuzzOpenBlob: no input opens but the one that was sealed, and none panics.
func FuzzOpenBlob(f *testing.F) {
	secret, id := testSecret(f)
	// The nonce is fixed: fuzzing runs in several processes, which must agree on what is good.
	good, err := sealBlobNonce(testKeyID, id, secret, []byte("hello"), nil, make([]byte, 16))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:blobHead])
	f.Add([]byte{})
	f.Add(append(bytes.Clone(good), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseBlob(b); err != nil {
			if fault.As(err) == nil {
				t.Fatal(err)
			}
			return
		}
		plain, err := openBlob(secret, b, nil)
		if (err == nil) != bytes.Equal(b, good) {
			t.Fatalf("opened %x: %v", b, err)
		}
		if err == nil && string(plain) != "hello" {
			t.Fatal("wrong content")
		}
	})
}
