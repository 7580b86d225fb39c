// Package seal holds the keys of one vault and everything that is done with them.
//
// Two secrets exist. The root key belongs to the vault's owner (a KMS wraps it); whoever has it reads everything. The
// maintenance key belongs to the node: with it alone one can tell which packs are needed and whether objects are authentic,
// and free space, but read nothing. All other keys are derived from these two, for one vault and one purpose each.
//
// What always holds:
//   - A content hash appears inside ciphertext only; outside, a chunk is named by CID, a keyed function of its hash.
//   - A pack key is used for one pack, whose salt is random; nonces under it are counters. No (key, nonce) pair repeats.
//   - Every ciphertext and every MAC is bound to the vault and to the name or the role of what carries it.
//   - A pack key is committed to in the pack's header, so that no ciphertext opens under two keys.
//
// It is not a key store: wrapping the root key is the caller's business. Start with Root and Maint.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"

	"strongroom/internal/fault"
)

// Hash is the BLAKE3-256 hash of a chunk's plaintext.
type Hash [32]byte

// CID names a chunk outside ciphertext: a pseudo-random function of its kind and hash under the vault's identity key.
type CID [32]byte

// Short is the part of a CID that the index holds. 128 bits of a secret pseudo-random function do not collide by chance
// (about 2^-69 for 10^9 chunks), and nobody without the key can make them.
type Short [16]byte

// Short returns the index key of a CID.
func (c CID) Short() Short { return Short(c[:16]) }

// VaultID is the vault's UUID.
type VaultID [16]byte

// String returns the usual text form.
func (v VaultID) String() string {
	s := hex.EncodeToString(v[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// ParseVaultID reads the usual text form, in lower case only.
func ParseVaultID(s string) (v VaultID, err error) {
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		if _, err = hex.Decode(v[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err == nil && v.String() == s {
			return v, nil
		}
	}
	return v, fault.New(fault.Invalid, "%.60q is no vault id (a UUID in lower case)", s)
}

// KeySize is the size of every key.
const KeySize = 32

func derive(secret, salt []byte, purpose string, vault VaultID) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, "strongroom/1 "+purpose+" "+string(vault[:]), KeySize)
	if err != nil {
		panic(err) // only for an output longer than HKDF allows
	}
	return key
}

// Root is the vault's root key with the keys derived from it. Safe for concurrent use.
type Root struct {
	vault VaultID
	id    []byte
	gear  [32]byte
	data  []byte
	small []byte
	check []byte
}

// NewRoot derives the keys of a vault.
func NewRoot(key []byte, vault VaultID) (*Root, error) {
	if len(key) != KeySize {
		return nil, fault.New(fault.Invalid, "a root key has %d bytes, not %d", KeySize, len(key))
	}
	return &Root{
		vault: vault,
		id:    derive(key, nil, "chunk identity", vault),
		gear:  [32]byte(derive(key, nil, "chunk cutting", vault)),
		data:  derive(key, nil, "packs epoch 0", vault),
		small: derive(key, nil, "records", vault),
		check: derive(key, nil, "descriptor", vault),
	}, nil
}

// CID names the chunk of a kind with a hash.
func (r *Root) CID(kind byte, h Hash) (c CID) {
	m := hmac.New(sha256.New, r.id)
	m.Write([]byte{kind})
	m.Write(h[:])
	m.Sum(c[:0])
	return c
}

// Gear is the key of the chunker's table.
func (r *Root) Gear() [32]byte { return r.gear }

// Check returns a tag over the vault's descriptor that proves possession of the root key.
func (r *Root) Check(body []byte) []byte {
	m := hmac.New(sha256.New, r.check)
	m.Write(body)
	return m.Sum(nil)
}

// PackKey seals and opens the parts of one pack.
type PackKey struct {
	aead   cipher.AEAD
	Commit [32]byte // goes into the header
}

// PackID names a pack.
type PackID [16]byte

// String returns the hexadecimal form.
func (p PackID) String() string { return hex.EncodeToString(p[:]) }

// Pack derives the key of the pack with this id and salt.
func (r *Root) Pack(id PackID, salt [32]byte) *PackKey {
	psk := derive(r.data, append(append([]byte{}, salt[:]...), id[:]...), "pack", r.vault)
	return &PackKey{aead: newGCM(derive(psk, nil, "pack seal", r.vault)), Commit: [32]byte(derive(psk, nil, "pack commitment", r.vault))}
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has a fixed, valid size
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// Overhead is what sealing adds.
const Overhead = 16

// Part is the role of a sealed part of a pack; it is in the nonce.
type Part byte

// The parts of a pack.
const (
	Frame     Part = 1
	Directory Part = 2
	Trailer   Part = 3
	Footer    Part = 4
)

func nonce(p Part, n uint32) (b [12]byte) {
	b[0] = byte(p)
	binary.LittleEndian.PutUint32(b[8:], n)
	return b
}

// Seal appends the sealed part number n to dst. The caller never seals two things as the same part and number.
func (k *PackKey) Seal(dst, plain, aad []byte, p Part, n uint32) []byte {
	b := nonce(p, n)
	return k.aead.Seal(dst, b[:], plain, aad)
}

// Open appends the opened part number n to dst, or returns false when it is not what was sealed.
func (k *PackKey) Open(dst, sealed, aad []byte, p Part, n uint32) ([]byte, bool) {
	b := nonce(p, n)
	out, err := k.aead.Open(dst, b[:], sealed, aad)
	return out, err == nil
}

// SealRecord seals a small object for the name it will have. salt must be fresh randomness: it makes the key single-use.
func (r *Root) SealRecord(name string, salt [32]byte, plain, aad []byte) []byte {
	return newGCM(r.record(name, salt)).Seal(nil, make([]byte, 12), plain, aad)
}

// OpenRecord opens what SealRecord made.
func (r *Root) OpenRecord(name string, salt [32]byte, sealed, aad []byte) ([]byte, error) {
	plain, err := newGCM(r.record(name, salt)).Open(nil, make([]byte, 12), sealed, aad)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "object %s does not authenticate under the vault's key", name).WithResource(name)
	}
	return plain, nil
}

func (r *Root) record(name string, salt [32]byte) []byte {
	return derive(r.small, salt[:], "record "+name, r.vault)
}

// Equal compares tags in constant time.
func Equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
