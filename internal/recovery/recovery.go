// Package recovery wraps the keys of a vault for people instead of for a service: for the holder of an age identity, or for
// whoever knows a passphrase. What it makes opens a vault with nothing but the vault's directory.
//
// It is not key management: it keeps no state, and cannot take back what it has wrapped. The stock age tool opens its
// wraps too (docs/decisions/0010-vaults-without-a-server.md).
//
// A wrap proves nothing about who made the vault: anybody can encrypt for a public recipient. repo.Open proves that the
// keys belong to the vault that they were found in.
package recovery

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"filippo.io/age"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
)

// Kinds of envelopes. Part of the format.
const (
	Recipient  = "recipient"  // wrapped for an age recipient, which KeyID names
	Passphrase = "passphrase" // wrapped by a passphrase (age, scrypt)
)

// Work is the scrypt work factor of new passphrase envelopes, as a power of two: about 0.3 s and 64 MiB. Every command on a
// vault pays it; more would be the largest part of a backup that finds nothing changed.
const Work = 16

// maxWork bounds what a hostile envelope can make the reader spend.
const maxWork = 20

// magic begins the plaintext of a wrap: magic ‖ vault (36) ‖ root key (32) ‖ maintenance key (32).
const magic = "SRRECOV\x01"

const idSize = 36

// Keys is everything that opens a vault.
type Keys struct {
	Vault       string // UUID
	Root, Maint []byte
}

// CheckRecipient refuses what is not one age recipient. A secret key in its place is named as such, not repeated.
func CheckRecipient(s string) error {
	_, err := parse(s)
	return err
}

func parse(s string) (age.Recipient, error) {
	if strings.HasPrefix(strings.ToUpper(strings.TrimSpace(s)), "AGE-SECRET-KEY-") {
		return nil, fault.New(fault.Invalid, "this is a secret key: give the public one that belongs to it (age1...), and keep the secret off this machine")
	}
	rs, err := age.ParseRecipients(strings.NewReader(s))
	if err != nil || len(rs) != 1 || strings.ContainsAny(s, "\r\n") {
		return nil, fault.New(fault.Invalid, "%.80q is not an age recipient (age1...)", s)
	}
	return rs[0], nil
}

// ForRecipient wraps keys for an age recipient ("age1...").
func ForRecipient(k Keys, recipient string) (repo.Envelope, error) {
	to, err := parse(recipient)
	if err != nil {
		return repo.Envelope{}, err
	}
	blob, err := seal(k, to)
	return repo.Envelope{Kind: Recipient, KeyID: recipient, Blob: blob}, err
}

// ForPassphrase wraps keys under a passphrase. work is Work, but for tests.
func ForPassphrase(k Keys, passphrase string, work int) (repo.Envelope, error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return repo.Envelope{}, fault.New(fault.Invalid, "the passphrase is empty")
	}
	to.SetWorkFactor(work)
	blob, err := seal(k, to)
	return repo.Envelope{Kind: Passphrase, KeyID: "scrypt", Blob: blob}, err
}

func seal(k Keys, to age.Recipient) ([]byte, error) {
	if len(k.Vault) != idSize || len(k.Root) != repo.KeySize || len(k.Maint) != repo.KeySize {
		return nil, fault.New(fault.Invalid, "these are not the keys of a vault")
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, err
	}
	plain := append(append(append([]byte(magic), k.Vault...), k.Root...), k.Maint...)
	defer clear(plain)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Secret is what opens envelopes.
type Secret struct {
	kind string
	ids  []age.Identity
}

// Identities reads an age identity file, as age-keygen writes it.
func Identities(text []byte) (Secret, error) {
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil { // the parser's message may quote the line
		return Secret{}, fault.New(fault.Invalid, "this is not an age identity file (lines of AGE-SECRET-KEY-...)")
	}
	return Secret{Recipient, ids}, nil
}

// Phrase makes a passphrase usable.
func Phrase(passphrase string) (Secret, error) {
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return Secret{}, fault.New(fault.Invalid, "the passphrase is empty")
	}
	id.SetMaxWorkFactor(maxWork)
	return Secret{Passphrase, []age.Identity{id}}, nil
}

// Kind is the kind of the envelopes that the secret opens.
func (s Secret) Kind() string { return s.kind }

// Open returns the keys of a vault from its envelopes. fault.NotFound: none of them is of the secret's kind. fault.Denied:
// none of those opens with it. fault.Corrupt: one that could have opened is damaged, or holds something else.
func (s Secret) Open(vault string, envelopes []repo.Envelope) (Keys, error) {
	k, _, err := s.Find(vault, envelopes)
	return k, err
}

// Find is Open, and returns which envelope it was.
func (s Secret) Find(vault string, envelopes []repo.Envelope) (Keys, repo.Envelope, error) {
	seen := false
	var damage error
	for _, e := range envelopes {
		if e.Kind != s.kind {
			continue
		}
		seen = true
		in, err := age.Decrypt(bytes.NewReader(e.Blob), s.ids...)
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			continue
		}
		var plain []byte
		if err == nil {
			plain, err = io.ReadAll(io.LimitReader(in, 1<<10))
		}
		var k Keys
		if err != nil {
			err = fault.New(fault.Corrupt, "the %s envelope of vault %s is damaged", e.Kind, vault).WithCause(err)
		} else if k, err = decode(plain, vault); err == nil {
			return k, e, nil
		}
		if damage == nil { // another one may be whole
			damage = err
		}
	}
	if damage != nil {
		return Keys{}, repo.Envelope{}, damage
	}
	return Keys{}, repo.Envelope{}, s.refused(vault, envelopes, seen)
}

// refused says why no envelope opens.
func (s Secret) refused(vault string, envelopes []repo.Envelope, seen bool) error {
	switch {
	case !seen && s.kind == Recipient:
		return fault.New(fault.NotFound, "vault %s has no recovery key", vault)
	case !seen:
		return fault.New(fault.NotFound, "vault %s has no passphrase: a node made it, and only its recovery key, if it has one, opens it here (strongroom rescue)", vault)
	case s.kind == Recipient:
		return fault.New(fault.Denied, "this recovery key does not open vault %s: it is wrapped for %s", vault, strings.Join(Recipients(envelopes), ", "))
	}
	return fault.New(fault.Denied, "the passphrase does not open vault %s", vault)
}

func decode(plain []byte, vault string) (Keys, error) {
	rest, ok := bytes.CutPrefix(plain, []byte(magic))
	if !ok || len(rest) != idSize+2*repo.KeySize {
		return Keys{}, fault.New(fault.Corrupt, "an envelope of vault %s holds no keys", vault)
	}
	k := Keys{Vault: string(rest[:idSize]), Root: rest[idSize : idSize+repo.KeySize], Maint: rest[idSize+repo.KeySize:]}
	if k.Vault != vault {
		return Keys{}, fault.New(fault.Corrupt, "an envelope of vault %s holds the keys of vault %.36q", vault, k.Vault)
	}
	return k, nil
}

// Recipients lists whom the envelopes are wrapped for.
func Recipients(envelopes []repo.Envelope) []string {
	var out []string
	for _, e := range envelopes {
		if e.Kind == Recipient {
			out = append(out, e.KeyID)
		}
	}
	return out
}
