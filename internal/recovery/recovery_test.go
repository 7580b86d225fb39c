package recovery

import (
	"bytes"
	"strings"
	"testing"

	"filippo.io/age"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
)

const vault = "00000000-0000-4000-8000-000000000001"

func keys() Keys {
	return Keys{Vault: vault, Root: bytes.Repeat([]byte{1}, repo.KeySize), Maint: bytes.Repeat([]byte{2}, repo.KeySize)}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestEachSecretOpensItsOwnEnvelopeAndNoOther(t *testing.T) {
	t.Parallel()
	id, other := must(age.GenerateX25519Identity()), must(age.GenerateHybridIdentity())
	es := []repo.Envelope{
		{Kind: "kms", KeyID: "arn", Blob: []byte("x")},
		must(ForPassphrase(keys(), "correct horse", 10)),
		must(ForRecipient(keys(), other.Recipient().String())),
		must(ForRecipient(keys(), id.Recipient().String())),
	}
	for name, s := range map[string]Secret{
		"passphrase": must(Phrase("correct horse")),
		"identity":   must(Identities([]byte("# comment\n" + id.String() + "\n"))),
		"hybrid":     must(Identities([]byte(other.String()))),
		"one of two": must(Identities([]byte(must(age.GenerateX25519Identity()).String() + "\n" + id.String()))),
	} {
		k, err := s.Open(vault, es)
		if err != nil || k.Vault != vault || !bytes.Equal(k.Root, keys().Root) || !bytes.Equal(k.Maint, keys().Maint) {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
	for name, c := range map[string]struct {
		s    Secret
		es   []repo.Envelope
		kind fault.Kind
		say  string
	}{
		"wrong passphrase":    {must(Phrase("wrong")), es, fault.Denied, "the passphrase does not open vault"},
		"wrong identity":      {must(Identities([]byte(must(age.GenerateX25519Identity()).String()))), es, fault.Denied, id.Recipient().String()},
		"no recovery key":     {must(Identities([]byte(id.String()))), es[:2], fault.NotFound, "has no recovery key"},
		"no passphrase":       {must(Phrase("x")), es[:1], fault.NotFound, "has no passphrase"},
		"of another vault":    {must(Identities([]byte(id.String()))), []repo.Envelope{must(ForRecipient(Keys{strings.Repeat("f", idSize), keys().Root, keys().Maint}, id.Recipient().String()))}, fault.Corrupt, "holds the keys of vault"},
		"damaged":             {must(Identities([]byte(id.String()))), []repo.Envelope{{Kind: Recipient, Blob: es[3].Blob[:len(es[3].Blob)-1]}}, fault.Corrupt, "damaged"},
		"too much work asked": {must(Phrase("correct horse")), []repo.Envelope{{Kind: Passphrase, Blob: bytes.Replace(es[1].Blob, []byte(" 10\n"), []byte(" 30\n"), 1)}}, fault.Corrupt, "damaged"},
	} {
		_, err := c.s.Open(vault, c.es)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.kind, c.say)
		}
	}
}

func TestRecipientsAreCheckedAndSecretsNotRepeated(t *testing.T) {
	t.Parallel()
	id := must(age.GenerateX25519Identity())
	if err := CheckRecipient(id.Recipient().String()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "age1", "ssh-ed25519 AAAA", id.Recipient().String() + "\n" + id.Recipient().String(), id.String()} {
		err := CheckRecipient(bad)
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), id.String()) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := Identities([]byte("AGE-SECRET-KEY-1BROKEN")); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "BROKEN") {
		t.Errorf("a broken identity: %v", err)
	}
}

func FuzzDecodeTakesOnlyWholeWraps(f *testing.F) {
	f.Add([]byte(magic + vault + strings.Repeat("r", 64)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, plain []byte) {
		k, err := decode(plain, vault)
		if err == nil && !bytes.Equal(plain, append(append([]byte(magic+vault), k.Root...), k.Maint...)) {
			t.Errorf("%q was taken", plain)
		}
	})
}
