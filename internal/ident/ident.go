// Package ident makes identifiers: random UUIDs and alphabet strings for new objects, name-based UUIDs for ids that must
// come out the same again, and page tokens.
//
// All randomness is crypto/rand, which never fails on the supported platforms.
package ident

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// The alphabets of AWS's identifiers.
const (
	LowerAlnum = "0123456789abcdefghijklmnopqrstuvwxyz"
	UpperAlnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // IAM unique ids and access key ids (base32)
	Digits     = "0123456789"
	Hex        = "0123456789abcdef"
)

// UUID returns a random (version 4) UUID in lower case.
func UUID() string {
	var b [16]byte
	rand.Read(b[:])
	return format(b, 4)
}

// UpperUUID is UUID in upper case, as AWS Backup's job ids are.
func UpperUUID() string { return strings.ToUpper(UUID()) }

// NamedUUID derives a UUID from the parts; the same parts always give the same id, and parts are not confused by joining.
func NamedUUID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		for i, l := 0, len(p); i < 8; i++ {
			n[i] = byte(l >> (8 * i))
		}
		h.Write(n[:])
		h.Write([]byte(p))
	}
	var b [16]byte
	copy(b[:], h.Sum(nil))
	return format(b, 8)
}

func format(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Random returns n characters drawn uniformly from alphabet (at most 256 characters).
func Random(alphabet string, n int) string {
	out := make([]byte, 0, n)
	limit := 256 - 256%len(alphabet) // reject above it: no modulo bias
	var buf [64]byte
	for len(out) < n {
		rand.Read(buf[:])
		for _, c := range buf {
			if int(c) < limit && len(out) < n {
				out = append(out, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// Bytes returns n random bytes.
func Bytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
