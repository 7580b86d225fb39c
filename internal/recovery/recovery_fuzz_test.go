package recovery

import (
	"strings"
	"testing"

	"filippo.io/age"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
	"strongroom/test/bound"
)

// FuzzAgeEnvelope opens what claims to be an age file. Passphrases are left out: what scrypt costs is bounded by maxWork, not small.
func FuzzAgeEnvelope(f *testing.F) {
	id := must(age.GenerateX25519Identity())
	s := must(Identities([]byte(id.String())))
	f.Add(must(ForRecipient(keys(), id.Recipient().String())).Blob)
	f.Add(must(ForRecipient(keys(), must(age.GenerateX25519Identity()).Recipient().String())).Blob)
	f.Fuzz(func(t *testing.T, blob []byte) {
		bound.Allocation(t, func() {
			k, err := s.Open(vault, []repo.Envelope{{Kind: Recipient, Blob: blob}})
			if err == nil && (k.Vault != vault || len(k.Root) != repo.KeySize || len(k.Maint) != repo.KeySize) ||
				err != nil && !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.Denied) {
				t.Fatalf("%v, %v", k.Vault, err)
			}
		})
	})
}

// FuzzIdentities reads what claims to be an identity file and never repeats what is in it.
func FuzzIdentities(f *testing.F) {
	id := must(age.GenerateX25519Identity()).String()
	f.Add("# comment\n" + id + "\n")
	f.Add(id[:20])
	f.Fuzz(func(t *testing.T, text string) {
		bound.Allocation(t, func() {
			_, err := Identities([]byte(text))
			if err != nil && (!fault.Is(err, fault.Invalid) || len(text) > len("AGE-SECRET-KEY-1") && strings.Contains(err.Error(), text)) {
				t.Fatal(err)
			}
		})
	})
}
