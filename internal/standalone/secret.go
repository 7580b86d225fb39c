package standalone

import (
	"io"
	"os"
	"strings"

	"strongroom/internal/fault"
	"strongroom/internal/recovery"
)

// Passphrase reads a passphrase file: one line, its end not counted.
func Passphrase(file string) (string, error) {
	raw, err := readSecret(file)
	if err != nil {
		return "", err
	}
	p := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	switch {
	case p == "":
		return "", fault.New(fault.Invalid, "%s holds no passphrase", file)
	case strings.ContainsAny(p, "\n\x00"):
		return "", fault.New(fault.Invalid, "%s holds more than one line: a passphrase file has one", file)
	}
	return p, nil
}

// PassphraseFile makes the passphrase of a file usable for Open.
func PassphraseFile(file string) (recovery.Secret, error) {
	p, err := Passphrase(file)
	if err != nil {
		return recovery.Secret{}, err
	}
	return recovery.Phrase(p)
}

// IdentityFile makes the age identities of a file usable for Open.
func IdentityFile(file string) (recovery.Secret, error) {
	raw, err := readSecret(file)
	if err != nil {
		return recovery.Secret{}, err
	}
	s, err := recovery.Identities(raw)
	if err != nil {
		return s, fault.New(fault.Invalid, "%s: %s", file, fault.As(err).Msg)
	}
	return s, nil
}

func readSecret(file string) ([]byte, error) {
	const most = 64 << 10
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%v", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > most {
		return nil, fault.New(fault.Invalid, "%s is too large for a secret", file)
	}
	return raw, nil
}
