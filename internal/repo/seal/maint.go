package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"strongroom/internal/fault"
)

// Maint is the maintenance key with the keys derived from it. Safe for concurrent use.
type Maint struct {
	vault  VaultID
	object []byte
	block  []byte
	pack   []byte
}

// NewMaint derives the maintenance keys of a vault.
func NewMaint(key []byte, vault VaultID) (*Maint, error) {
	if len(key) != KeySize {
		return nil, fault.New(fault.Invalid, "a maintenance key has %d bytes, not %d", KeySize, len(key))
	}
	return &Maint{
		vault:  vault,
		object: derive(key, nil, "objects", vault),
		block:  derive(key, nil, "index blocks", vault),
		pack:   derive(key, nil, "pack digests", vault),
	}, nil
}

// Vault returns the vault these keys are for.
func (m *Maint) Vault() VaultID { return m.vault }

// TagSize is the size of an object's tag.
const TagSize = 32

// Tag authenticates an object's content together with its name.
func (m *Maint) Tag(name string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, m.object)
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(name)))
	h.Write(n[:])
	h.Write([]byte(name))
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// Wrap appends the tag to an object's body.
func (m *Maint) Wrap(name string, body []byte) []byte {
	return append(body, m.Tag(name, body)...)
}

// Unwrap checks and removes the tag. fault.Corrupt when it does not fit the name and the body.
func (m *Maint) Unwrap(name string, data []byte) ([]byte, error) {
	if len(data) >= TagSize {
		body := data[:len(data)-TagSize]
		if Equal(m.Tag(name, body), data[len(body):]) {
			return body, nil
		}
	}
	return nil, fault.New(fault.Corrupt, "object %s does not authenticate", name).WithResource(name)
}

// BlockTagSize is the size of the tag of one index block.
const BlockTagSize = 16

// BlockTag authenticates block n of an index segment.
func (m *Maint) BlockTag(segment [16]byte, n uint32, block []byte) (tag [BlockTagSize]byte) {
	h := hmac.New(sha256.New, m.block)
	h.Write(segment[:])
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], n)
	h.Write(b[:])
	h.Write(block)
	copy(tag[:], h.Sum(nil))
	return tag
}

// PackTag authenticates what the plain end of a pack says.
func (m *Maint) PackTag(id PackID, fields []byte) []byte {
	h := hmac.New(sha256.New, m.pack)
	h.Write(id[:])
	h.Write(fields)
	return h.Sum(nil)
}
