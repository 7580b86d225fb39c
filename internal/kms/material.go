package kms

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strconv"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// Why a material was made.
const (
	causeInitial   = "INITIAL"
	causeAutomatic = "AUTOMATIC"
	causeOnDemand  = "ON_DEMAND"
)

// material is one generation of a key's secret: 32 bytes, the id that commits to them, and how they are kept.
type material struct {
	id      string
	ordinal int64
	root    uint32
	wrapped []byte
}

// addMaterial makes the key's next material current and returns its id.
func (s *Service) addMaterial(ctx context.Context, tx *db.Tx, k Key, cause string) (string, error) {
	secret := ident.Bytes(32)
	defer clear(secret)
	m := material{root: s.Root.current()}
	var err error
	if m.id, err = materialID(secret); err != nil {
		return "", err
	}
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(ordinal), 0) + 1 FROM kms_material WHERE key = ?", k.ID).Scan(&m.ordinal); err != nil {
		return "", fmt.Errorf("number key material: %w", err)
	}
	if m.wrapped, err = s.Root.sealUnder(m.root, materialPurpose(k), secret, materialAAD(k, m)); err != nil {
		return "", err
	}
	_, err = tx.Exec(ctx, "INSERT INTO kms_material (key, ordinal, id, root, wrapped, cause, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
		k.ID, m.ordinal, m.id, m.root, m.wrapped, cause, db.Micros(tx.Now))
	if err != nil {
		return "", fmt.Errorf("insert key material: %w", err)
	}
	return m.id, nil
}

// secret unwraps one material of a key; the caller clears it. Material that does not match its id is Corrupt: the id commits
// to the secret, so a ciphertext that names it can have been made by no other.
func (s *Service) secret(ctx context.Context, tx *db.Tx, k Key, id string) ([]byte, error) {
	var m material
	err := tx.QueryRow(ctx, "SELECT id, ordinal, root, wrapped FROM kms_material WHERE key = ? AND id = ?", k.ID, id).Scan(&m.id, &m.ordinal, &m.root, &m.wrapped)
	if db.NoRows(err) {
		return nil, errCiphertext()
	}
	if err != nil {
		return nil, fmt.Errorf("read key material: %w", err)
	}
	return s.unwrap(k, m)
}

func (s *Service) unwrap(k Key, m material) ([]byte, error) {
	secret, err := s.Root.openSealed(materialPurpose(k), m.wrapped, materialAAD(k, m))
	if err != nil {
		return nil, fault.New(fault.Corrupt, "the material of %s cannot be opened", k.ARN()).WithResource(k.ARN()).WithCause(err)
	}
	id, err := materialID(secret)
	if err != nil || subtle.ConstantTimeCompare([]byte(id), []byte(m.id)) != 1 {
		clear(secret)
		return nil, fault.New(fault.Corrupt, "the material of %s is not the one its id names", k.ARN()).WithResource(k.ARN())
	}
	return secret, nil
}

func materialPurpose(k Key) []string { return []string{"material", k.Account, k.Region} }

func materialAAD(k Key, m material) []byte {
	return frame(k.Account, k.Region, k.ID, m.id, strconv.FormatInt(m.ordinal, 10))
}

// materialID is a commitment to the secret, 64 hex digits.
func materialID(secret []byte) (string, error) {
	id, err := hkdf.Expand(sha256.New, secret, "strongroom/kms/material/1", 32)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(id), nil
}
