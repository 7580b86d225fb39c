package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"strongroom/internal/ident"
)

// A ciphertext is self-describing:
//
//	magic 2 | version 1 | algorithm 1 | key id 16 | material id 32 | nonce 16 | ciphertext | tag 16
//
// Each message has its own AES-256-GCM key, derived from the material and the nonce, so the number of messages under one
// material is not limited by GCM's short nonce. The header and the encryption context are authenticated. The material id commits
// to the material, and so the whole ciphertext to one key.
const (
	blobHead    = 2 + 1 + 1 + 16 + 32 + 16
	blobTag     = 16
	maxPlain    = 4096
	maxBlob     = 6144
	blobMagic   = "\xb5\x6b"
	blobVersion = 1
	algGCM      = 1
)

// blobRef is what a ciphertext says about itself. It is not authenticated until the ciphertext has been opened.
type blobRef struct {
	key      string // UUID
	material string // 64 hex digits
}

// parseBlob reads the header; anything that cannot be a ciphertext of this service is Invalid with CodeInvalidCiphertext.
func parseBlob(blob []byte) (blobRef, error) {
	if len(blob) < blobHead+blobTag || len(blob) > maxBlob || string(blob[:2]) != blobMagic || blob[2] != blobVersion || blob[3] != algGCM {
		return blobRef{}, errCiphertext()
	}
	k := hex.EncodeToString(blob[4:20])
	return blobRef{
		key:      k[:8] + "-" + k[8:12] + "-" + k[12:16] + "-" + k[16:20] + "-" + k[20:],
		material: hex.EncodeToString(blob[20:52]),
	}, nil
}

// sealBlob encrypts plain under the material's secret.
func sealBlob(keyID, material string, secret, plain []byte, encCtx map[string]string) ([]byte, error) {
	return sealBlobNonce(keyID, material, secret, plain, encCtx, ident.Bytes(16))
}

func sealBlobNonce(keyID, material string, secret, plain []byte, encCtx map[string]string, nonce []byte) ([]byte, error) {
	blob := append([]byte(blobMagic), blobVersion, algGCM)
	blob, err := hex.AppendDecode(blob, []byte(strings.ReplaceAll(keyID, "-", "")))
	if err != nil {
		return nil, err
	}
	if blob, err = hex.AppendDecode(blob, []byte(material)); err != nil {
		return nil, err
	}
	blob = append(blob, nonce...)
	a, err := messageAEAD(secret, nonce)
	if err != nil {
		return nil, err
	}
	return a.Seal(blob, make([]byte, a.NonceSize()), plain, blobAAD(blob[:blobHead], encCtx)), nil
}

// openBlob decrypts a ciphertext that parseBlob accepted.
func openBlob(secret, blob []byte, encCtx map[string]string) ([]byte, error) {
	a, err := messageAEAD(secret, blob[blobHead-16:blobHead])
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(nil, make([]byte, a.NonceSize()), blob[blobHead:], blobAAD(blob[:blobHead], encCtx))
	if err != nil {
		return nil, errCiphertext()
	}
	return plain, nil
}

// messageAEAD derives the key of one message. GCM's own nonce can be zero because that key encrypts nothing else.
func messageAEAD(secret, nonce []byte) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, secret, "strongroom/kms/blob/1"+string(nonce), 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

func blobAAD(head []byte, encCtx map[string]string) []byte {
	return append(slices.Clone(head), canonicalContext(encCtx)...)
}

// canonicalContext writes an encryption context so that order does not matter and no two contexts look alike.
func canonicalContext(c map[string]string) []byte {
	var b []byte
	b = binary.BigEndian.AppendUint32(b, uint32(len(c)))
	for _, k := range slices.Sorted(maps.Keys(c)) {
		b = append(b, frame(k, c[k])...)
	}
	return b
}
