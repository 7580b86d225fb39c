package kms

import (
	"context"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// Sealed is a ciphertext and what made it.
type Sealed struct {
	Blob       []byte
	KeyARN     string
	MaterialID string
}

// Opened is a plaintext and what it was encrypted with. The caller clears Plain.
type Opened struct {
	Plain      []byte
	KeyARN     string
	MaterialID string
}

// Encrypt encrypts 1 to 4096 bytes under the key. Only the same encryption context will open the ciphertext.
func (s *Service) Encrypt(ctx context.Context, keyARN string, plain []byte, encCtx map[string]string) (Sealed, error) {
	if len(plain) == 0 || len(plain) > maxPlain {
		return Sealed{}, errInvalid("Plaintext must have 1 to %d bytes", maxPlain)
	}
	var out Sealed
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		out, err = s.encrypt(ctx, tx, keyARN, plain, encCtx)
		return err
	})
	return out, err
}

func (s *Service) encrypt(ctx context.Context, tx *db.Tx, keyARN string, plain []byte, encCtx map[string]string) (Sealed, error) {
	k, err := usable(ctx, tx, keyARN)
	if err != nil {
		return Sealed{}, err
	}
	secret, err := s.secret(ctx, tx, k, k.MaterialID)
	if err != nil {
		return Sealed{}, err
	}
	defer clear(secret)
	blob, err := sealBlob(k.ID, k.MaterialID, secret, plain, encCtx)
	return Sealed{blob, k.ARN(), k.MaterialID}, err
}

func usable(ctx context.Context, tx *db.Tx, keyARN string) (Key, error) {
	k, err := keyByARN(ctx, tx, keyARN)
	if err != nil {
		return Key{}, err
	}
	return k, k.allows(toUse)
}

// BlobKey returns the ARN of the key that a ciphertext names. A ciphertext that is not one is CodeInvalidCiphertext; one of a
// key that is not here is NotFound.
func (s *Service) BlobKey(ctx context.Context, blob []byte) (string, error) {
	ref, err := parseBlob(blob)
	if err != nil {
		return "", err
	}
	var k Key
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		k, err = keyByID(ctx, tx, ref.key)
		return err
	})
	if err != nil {
		return "", err
	}
	if k.ID == "" {
		return "", fault.New(fault.NotFound, "The key of the ciphertext, %s, does not exist", ref.key)
	}
	return k.ARN(), nil
}

// Open decrypts. A ciphertext that was changed, or whose context differs, is CodeInvalidCiphertext without further reason.
func (s *Service) Open(ctx context.Context, blob []byte, encCtx map[string]string) (Opened, error) {
	var out Opened
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		out, err = s.open(ctx, tx, blob, encCtx)
		return err
	})
	if err != nil {
		clear(out.Plain)
		return Opened{}, err
	}
	return out, nil
}

func (s *Service) open(ctx context.Context, tx *db.Tx, blob []byte, encCtx map[string]string) (Opened, error) {
	ref, err := parseBlob(blob)
	if err != nil {
		return Opened{}, err
	}
	k, err := keyByID(ctx, tx, ref.key)
	if err != nil {
		return Opened{}, err
	}
	if k.ID == "" {
		return Opened{}, fault.New(fault.NotFound, "The key of the ciphertext, %s, does not exist", ref.key)
	}
	if err := k.allows(toUse); err != nil {
		return Opened{}, err
	}
	secret, err := s.secret(ctx, tx, k, ref.material)
	if err != nil {
		return Opened{}, err
	}
	defer clear(secret)
	plain, err := openBlob(secret, blob, encCtx)
	return Opened{plain, k.ARN(), ref.material}, err
}

// Decrypt is Open with the values that jobs need.
func (s *Service) Decrypt(ctx context.Context, blob []byte, encCtx map[string]string) (plain []byte, keyARN string, err error) {
	o, err := s.Open(ctx, blob, encCtx)
	return o.Plain, o.KeyARN, err
}

// ReEncrypt opens a ciphertext and encrypts its content under another key and context, without showing it. from has no Plain.
func (s *Service) ReEncrypt(ctx context.Context, blob []byte, sourceCtx map[string]string, keyARN string, encCtx map[string]string) (to Sealed, from Opened, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		from, err = s.open(ctx, tx, blob, sourceCtx)
		if err != nil {
			return err
		}
		defer func() {
			clear(from.Plain)
			from.Plain = nil
		}()
		to, err = s.encrypt(ctx, tx, keyARN, from.Plain, encCtx)
		return err
	})
	return to, from, err
}

// NewDataKey makes n random bytes (1 to 1024) and encrypts them under the key. The caller clears plain.
func (s *Service) NewDataKey(ctx context.Context, keyARN string, encCtx map[string]string, n int) (plain []byte, sealed Sealed, err error) {
	if n < 1 || n > 1024 {
		return nil, Sealed{}, errInvalid("NumberOfBytes must be between 1 and 1024")
	}
	plain = ident.Bytes(n)
	if sealed, err = s.Encrypt(ctx, keyARN, plain, encCtx); err != nil {
		clear(plain)
		return nil, Sealed{}, err
	}
	return plain, sealed, nil
}

// GenerateDataKey is NewDataKey with the values that jobs need.
func (s *Service) GenerateDataKey(ctx context.Context, keyARN string, encCtx map[string]string, n int) (plain, blob []byte, err error) {
	plain, sealed, err := s.NewDataKey(ctx, keyARN, encCtx, n)
	return plain, sealed.Blob, err
}

// Usable returns nil when the key's state allows cryptography, else the fault that it would end with.
func (s *Service) Usable(ctx context.Context, keyARN string) error {
	return s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := usable(ctx, tx, keyARN)
		return err
	})
}
