package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"strongroom/internal/ident"
)

// Seal protects ROOT, the key from which everything else the node keeps secret is derived. A catalog is worthless without
// one of its seals, so a Seal MUST NOT make a new secret unless Create is called: only the first start does that.
type Seal interface {
	// Kind and ID name the seal beside what it wrapped, so that a wrong one is recognised before anything is opened. ID
	// fails when the seal has no secret yet (fs.ErrNotExist) or cannot be read.
	Kind() string
	ID() (string, error)
	// Create makes the seal's secret if it has none. When it returns nil the secret survives power loss.
	Create() error
	// Wrap and Unwrap encrypt with authentication; aad says what is wrapped.
	Wrap(plain, aad []byte) ([]byte, error)
	Unwrap(wrapped, aad []byte) ([]byte, error)
}

const sealHeader = "strongroom-seal-1"

// OpenSeal returns the seal that is kept in the file at path. The file is neither read nor made before it is needed.
func OpenSeal(path string) *FileSeal { return &FileSeal{path: path} }

// FileSeal is a seal whose secret is 32 random bytes in a file of mode 0600. It opens unattended; whoever can read the
// file and the catalog can read everything, so back it up apart from the catalog.
type FileSeal struct{ path string }

// Kind is "file".
func (*FileSeal) Kind() string { return "file" }

// ID is a digest of the secret.
func (s *FileSeal) ID() (string, error) {
	key, err := s.load()
	if err != nil {
		return "", err
	}
	defer clear(key)
	id, err := hkdf.Expand(sha256.New, key, "strongroom/seal/id", 8)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(id), nil
}

// Create writes the file, its content and its name durably. An existing file is kept: the first start may have been cut off
// between the file and the catalog.
func (s *FileSeal) Create() error {
	key := ident.Bytes(32)
	defer clear(key)
	f, err := os.CreateTemp(filepath.Dir(s.path), ".seal-*") // mode 0600
	if err != nil {
		return fmt.Errorf("create seal: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "%s %s\n", sealHeader, base64.StdEncoding.EncodeToString(key))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	// Link instead of rename: it never replaces a seal that another process has just made.
	if err := os.Link(f.Name(), s.path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("publish seal: %w", err)
	}
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return fmt.Errorf("sync seal directory: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync seal directory: %w", err)
	}
	return nil
}

// Wrap encrypts with AES-256-GCM under a random nonce.
func (s *FileSeal) Wrap(plain, aad []byte) ([]byte, error) {
	a, err := s.aead()
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, plain, aad), nil
}

// Unwrap is the inverse of Wrap.
func (s *FileSeal) Unwrap(wrapped, aad []byte) ([]byte, error) {
	a, err := s.aead()
	if err != nil {
		return nil, err
	}
	return a.Open(nil, nil, wrapped, aad)
}

func (s *FileSeal) aead() (cipher.AEAD, error) {
	key, err := s.load()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	k, err := hkdf.Expand(sha256.New, key, "strongroom/seal/wrap", 32)
	if err != nil {
		return nil, err
	}
	defer clear(k)
	return gcm(k)
}

// load reads the secret. Errors never carry the file's content.
func (s *FileSeal) load() ([]byte, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("seal %s can be read by other users (mode %04o): chmod 600 it, and consider the key material known to them", s.path, info.Mode().Perm())
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	defer clear(text)
	body, ok := strings.CutPrefix(strings.TrimSpace(string(text)), sealHeader+" ")
	key, err := base64.StdEncoding.DecodeString(body)
	if !ok || err != nil || len(key) != 32 {
		return nil, fmt.Errorf("seal %s is damaged: want %q and 32 bytes in base64", s.path, sealHeader)
	}
	return key, nil
}

// gcm is AES-256-GCM that puts a random nonce before the ciphertext. Its keys are derived per purpose and wrap few values,
// far from the 2^32 messages after which random nonces may collide.
func gcm(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(b)
}
