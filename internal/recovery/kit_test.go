package recovery

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
)

func TestPrintedKitOpensWhatItWasPrintedFor(t *testing.T) {
	t.Parallel()
	id := must(age.GenerateX25519Identity())
	es := []repo.Envelope{{Kind: "kms", Blob: []byte("x")}, must(ForPassphrase(keys(), "correct horse", 10)), must(ForRecipient(keys(), id.Recipient().String()))}
	kits := Kits(vault, "na\nme", "arn:x", es)
	if len(kits) != 2 {
		t.Fatalf("%+v", kits)
	}
	all := must(kits[0].Text()) + must(kits[1].Text())
	if strings.Contains(all, "na\nme") {
		t.Error("a name breaks the form")
	}
	for name, c := range map[string]struct {
		text string
		s    Secret
	}{
		"passphrase":      {must(kits[0].Text()), must(Phrase("correct horse"))},
		"identity":        {must(kits[1].Text()), must(Identities([]byte(id.String())))},
		"one of two":      {all, must(Identities([]byte(id.String())))},
		"typed elsewhere": {strings.ReplaceAll(all, "\n", "\r\n"), must(Phrase("correct horse"))},
		"the block alone": {all[strings.Index(all, "-----BEGIN"):], must(Phrase("correct horse"))},
	} {
		parsed, err := ParseKits([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []repo.Envelope
		for _, k := range parsed {
			k.Envelope.Kind = c.s.Kind()
			got = append(got, k.Envelope)
		}
		k, err := c.s.Open(vault, got)
		if err != nil || !bytes.Equal(k.Root, keys().Root) || !bytes.Equal(k.Maint, keys().Maint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k := must(ParseKits([]byte(all))); k[0].Vault != vault || k[1].Vault != vault {
		t.Errorf("vaults %q, %q", k[0].Vault, k[1].Vault)
	}
}

func TestKitThatWasCopiedWronglyIsRefused(t *testing.T) {
	t.Parallel()
	text := must(Kits(vault, "", "", []repo.Envelope{must(ForPassphrase(keys(), "x", 10))})[0].Text())
	begin := strings.Index(text, "-----BEGIN")
	at := begin + strings.Index(text[begin:], "\n") + 20
	swapped := []byte(text)
	if swapped[at] == 'A' {
		swapped[at] = 'B'
	} else {
		swapped[at] = 'A'
	}
	for name, bad := range map[string]string{"a letter": string(swapped), "cut": text[:at], "nothing": "", "a short block": strings.Replace(text, text[at:at+4], "", 1)} {
		_, err := ParseKits([]byte(bad))
		if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKitCountsAsTestedOnlyByTheVaultsOwnKey(t *testing.T) {
	t.Parallel()
	e, other := must(ForPassphrase(keys(), "x", 10)), must(ForPassphrase(keys(), "y", 10))
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	stranger := keys()
	stranger.Maint = bytes.Repeat([]byte{9}, repo.KeySize)
	elsewhere := keys()
	elsewhere.Vault = strings.Replace(vault, "1", "2", 1)
	own, forged, moved := must(MarkTested(keys(), e, at)), must(MarkTested(stranger, e, at)), must(MarkTested(elsewhere, e, at))
	later := must(MarkTested(keys(), e, at.Add(time.Hour)))
	dated := own
	dated.Blob = bytes.Clone(own.Blob)
	dated.Blob[0]++
	for name, c := range map[string]struct {
		es   []repo.Envelope
		want time.Time
	}{
		"never":                  {[]repo.Envelope{e}, time.Time{}},
		"tested":                 {[]repo.Envelope{e, own}, at},
		"tested twice":           {[]repo.Envelope{e, later, own}, at.Add(time.Hour)},
		"forged":                 {[]repo.Envelope{e, forged}, time.Time{}},
		"another vault's":        {[]repo.Envelope{e, moved}, time.Time{}},
		"with another date":      {[]repo.Envelope{e, dated}, time.Time{}},
		"of another envelope":    {[]repo.Envelope{other, own}, time.Time{}},
		"a note of a known kind": {[]repo.Envelope{{Kind: "kms"}, e, own}, at},
	} {
		if got := States(vault, keys().Maint, c.es); len(got) != 1 || !got[0].TestedAt.Equal(c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := States(vault, nil, []repo.Envelope{e, own}); !got[0].TestedAt.IsZero() {
		t.Error("a claim counts that nobody can check")
	}
	if !strings.Contains(KitState{Kind: Passphrase}.String(), "UNTESTED") {
		t.Error("an untested kit does not say so")
	}
}

func TestDamagedEnvelopeDoesNotHideAWholeOne(t *testing.T) {
	t.Parallel()
	id := must(age.GenerateX25519Identity())
	good := must(ForRecipient(keys(), id.Recipient().String()))
	bad := good
	bad.Blob = bytes.Clone(good.Blob)
	bad.Blob[len(bad.Blob)-1] ^= 1
	s := must(Identities([]byte(id.String())))
	if _, used, err := s.Find(vault, []repo.Envelope{bad, good}); err != nil || Fingerprint(used) != Fingerprint(good) {
		t.Error(err)
	}
	if _, err := s.Open(vault, []repo.Envelope{bad}); !fault.Is(err, fault.Corrupt) {
		t.Error(err)
	}
}

func FuzzParseKitsTakesNoNonsense(f *testing.F) {
	text, err := Kits(vault, "v", "", []repo.Envelope{{Kind: Recipient, KeyID: "age1", Blob: []byte("blob")}})[0].Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text))
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		kits, err := ParseKits(text)
		if err == nil && len(kits) == 0 {
			t.Error("no kit and no error")
		}
	})
}
