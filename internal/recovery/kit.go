package recovery

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age/armor"

	"strongroom/internal/fault"
	"strongroom/internal/repo"
)

// Tested is the kind of an envelope that holds no key: it records that another envelope's secret has opened the vault and that
// something was restored with it. Part of the format.
const Tested = "tested"

// Kit is what a person keeps of a vault, on paper or on a medium in a safe: one envelope, and what to do with it. It is worth
// nothing without the identity or the passphrase that opens the envelope, and replaces the vault's own copy of it.
type Kit struct {
	Vault    string
	Name     string // of the vault, informative
	ARN      string // of a node's vault, informative
	Envelope repo.Envelope
}

// Fingerprint names an envelope: the SHA-256 of its age file.
func Fingerprint(e repo.Envelope) string {
	sum := sha256.Sum256(e.Blob)
	return hex.EncodeToString(sum[:])
}

// Kits lists the kits that envelopes allow, oldest first.
func Kits(vault, name, arn string, envelopes []repo.Envelope) []Kit {
	var out []Kit
	for _, e := range envelopes {
		if e.Kind == Recipient || e.Kind == Passphrase {
			out = append(out, Kit{vault, name, arn, e})
		}
	}
	return out
}

const (
	kitTitle       = "STRONGROOM RECOVERY KIT"
	kitVault       = "Vault:       "
	kitFingerprint = "Fingerprint: "
	kitEnvelope    = "Opens with:  "
	perGroup       = 8
)

// Text is the printable kit.
func (k Kit) Text() (string, error) {
	var armored bytes.Buffer
	w := armor.NewWriter(&armored)
	_, err := w.Write(k.Envelope.Blob)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return "", err
	}
	with, flag := "the passphrase of the vault", "--passphrase-file FILE"
	if k.Envelope.Kind == Recipient {
		with, flag = "the secret half of "+k.Envelope.KeyID, "--recovery-key FILE"
	}
	var print strings.Builder
	for i, f := 0, Fingerprint(k.Envelope); i < len(f); i += perGroup {
		print.WriteString(" " + f[i:i+perGroup])
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s", kitTitle)
	line("")
	line("%s%s", kitVault, k.Vault)
	if k.Name != "" {
		line("Name:        %q", k.Name)
	}
	if k.ARN != "" {
		line("ARN:         %q", k.ARN)
	}
	line("%s%s", kitEnvelope, with)
	line("%s%s", kitFingerprint, print.String()[1:])
	line("")
	line("This sheet and %s open the vault's directory on any", with)
	line("machine, without the node that wrote it, its database or a network. Keep the two in different places.")
	line("Neither is of use without the directory (or a copy of it).")
	line("")
	line("Save the text from the first to the last dashed line, or all of it, as kit.txt. Then, with the program strongroom:")
	line("")
	line("  strongroom vault kit verify VAULT_DIR --kit kit.txt %s     does this kit work? (restores something)", flag)
	line("  strongroom rescue list VAULT_DIR --kit kit.txt %s", flag)
	line("  strongroom rescue verify VAULT_DIR --read-data --kit kit.txt %s", flag)
	line("  strongroom rescue restore VAULT_DIR ID --to DIR --kit kit.txt %s", flag)
	line("")
	line("Without the program: the block below is an age file (age-encryption.org). It holds the text SRRECOV, the byte 1, the")
	line("vault's id (36 characters), its root key and its maintenance key (32 bytes each); docs/FORMAT.md describes the rest.")
	line("")
	b.Write(armored.Bytes())
	if !strings.HasSuffix(b.String(), "\n") {
		line("")
	}
	return b.String(), nil
}

// ParseKits reads the kits in a text: those that Text made, or armored age files alone, whose Vault is then empty. One whose
// fingerprint is not that of its envelope is fault.Corrupt: it was copied wrongly.
func ParseKits(text []byte) ([]Kit, error) {
	var out []Kit
	for {
		begin := bytes.Index(text, []byte(armor.Header))
		end := bytes.Index(text, []byte(armor.Footer))
		if begin < 0 || end < begin {
			break
		}
		end += len(armor.Footer)
		k, err := parseKit(string(text[:begin]), text[begin:end])
		if err != nil {
			return nil, err
		}
		out, text = append(out, k), text[end:]
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "this is no recovery kit: it has no block from %q to %q", armor.Header, armor.Footer)
	}
	return out, nil
}

// parseKit reads one kit from the text before its block, and the block.
func parseKit(head string, block []byte) (Kit, error) {
	var k Kit
	want := ""
	for _, l := range strings.Split(head, "\n") {
		l = strings.TrimRight(l, "\r ")
		if v, ok := strings.CutPrefix(l, kitVault); ok {
			k.Vault = v
		}
		if v, ok := strings.CutPrefix(l, kitFingerprint); ok {
			want = strings.ReplaceAll(v, " ", "")
		}
	}
	blob, err := io.ReadAll(io.LimitReader(armor.NewReader(bytes.NewReader(block)), 64<<10))
	if err != nil {
		return Kit{}, fault.New(fault.Corrupt, "the block of the recovery kit cannot be read (%v): compare it with the paper", err)
	}
	k.Envelope = repo.Envelope{Blob: blob}
	if have := Fingerprint(k.Envelope); want != "" && have != want {
		return Kit{}, fault.New(fault.Corrupt, "the recovery kit is not what was printed: its block has the fingerprint %s, its text says %s", have, want)
	}
	return k, nil
}

// KitState says what is known of a kit.
type KitState struct {
	Kind        string    `json:"kind"`
	Key         string    `json:"key"` // the recipient
	Fingerprint string    `json:"fingerprint"`
	TestedAt    time.Time `json:"tested_at,omitzero"` // when something was last restored with it; zero: never
}

// String words a state for people.
func (s KitState) String() string {
	key := s.Key
	if s.Kind == Passphrase {
		key = "passphrase"
	}
	if s.TestedAt.IsZero() {
		return key + " (UNTESTED)"
	}
	return key + " (tested " + s.TestedAt.UTC().Format("2006-01-02") + ")"
}

// States tells which kits a vault has and which of them were tested. Notes of tests count only if they were made with the vault's
// maintenance key; maint nil: none counts.
func States(vault string, maint []byte, envelopes []repo.Envelope) []KitState {
	out := []KitState{}
	for _, e := range envelopes {
		if e.Kind != Recipient && e.Kind != Passphrase {
			continue
		}
		s := KitState{Kind: e.Kind, Key: e.KeyID, Fingerprint: Fingerprint(e)}
		for _, t := range envelopes {
			if at, ok := testedAt(vault, maint, t, s.Fingerprint); ok && at.After(s.TestedAt) {
				s.TestedAt = at
			}
		}
		out = append(out, s)
	}
	return out
}

// MarkTested returns the note that the kit with an envelope was tested.
func MarkTested(k Keys, e repo.Envelope, at time.Time) (repo.Envelope, error) {
	f := Fingerprint(e)
	body := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()))
	tag, err := testTag(k.Vault, k.Maint, f, body)
	return repo.Envelope{Kind: Tested, KeyID: f, Blob: append(body, tag...)}, err
}

func testedAt(vault string, maint []byte, note repo.Envelope, fingerprint string) (time.Time, bool) {
	if note.Kind != Tested || note.KeyID != fingerprint || len(note.Blob) != 8+sha256.Size || maint == nil {
		return time.Time{}, false
	}
	tag, err := testTag(vault, maint, fingerprint, note.Blob[:8])
	if err != nil || !hmac.Equal(tag, note.Blob[8:]) {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.LittleEndian.Uint64(note.Blob)), 0).UTC(), true
}

func testTag(vault string, maint []byte, fingerprint string, body []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, maint, nil, "strongroom/1 kit test "+vault, 32)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(fingerprint))
	h.Write(body)
	return h.Sum(nil), nil
}
