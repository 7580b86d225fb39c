package kms

import (
	"context"
	"fmt"

	"strongroom/internal/db"
)

// Rotate makes a new version of ROOT, under which everything is sealed from now on. Other nodes on the same catalog cannot open
// that until they have been started again, so run it with one node up. Service.Rewrap then moves the key material.
func (r *Root) Rotate(ctx context.Context) error {
	if err := r.add(ctx, r.current()+1); err != nil {
		return err
	}
	wraps, err := r.load(ctx)
	if err != nil {
		return err
	}
	return r.unwrap(wraps)
}

// Rewrap seals all key material that is under an older version of ROOT under the newest one and returns how much there was. It goes
// key by key, so it can be cut off and run again.
func (s *Service) Rewrap(ctx context.Context) (int, error) {
	version, n := s.Root.current(), 0
	for {
		moved := 0
		err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
			moved = 0
			var keyID string
			err := tx.QueryRow(ctx, "SELECT key FROM kms_material WHERE root < ? ORDER BY key LIMIT 1", version).Scan(&keyID)
			if db.NoRows(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("find old key material: %w", err)
			}
			moved, err = s.rewrapKey(ctx, tx, keyID, version)
			return err
		})
		if err != nil || moved == 0 {
			return n, err
		}
		n += moved
	}
}

func (s *Service) rewrapKey(ctx context.Context, tx *db.Tx, keyID string, version uint32) (int, error) {
	k, err := keyByID(ctx, tx, keyID)
	if err != nil {
		return 0, err
	}
	list, err := oldMaterials(ctx, tx, keyID, version)
	if err != nil {
		return 0, err
	}
	for _, m := range list {
		secret, err := s.unwrap(k, m)
		if err != nil {
			return 0, err
		}
		wrapped, err := s.Root.sealUnder(version, materialPurpose(k), secret, materialAAD(k, m))
		clear(secret)
		if err != nil {
			return 0, err
		}
		if _, err := tx.Exec(ctx, "UPDATE kms_material SET wrapped = ?, root = ? WHERE key = ? AND ordinal = ?", wrapped, version, keyID, m.ordinal); err != nil {
			return 0, fmt.Errorf("rewrap key material: %w", err)
		}
	}
	return len(list), nil
}

func oldMaterials(ctx context.Context, tx *db.Tx, keyID string, version uint32) ([]material, error) {
	rows, err := tx.Query(ctx, "SELECT id, ordinal, root, wrapped FROM kms_material WHERE key = ? AND root < ?", keyID, version)
	if err != nil {
		return nil, fmt.Errorf("read key material: %w", err)
	}
	defer rows.Close()
	var out []material
	for rows.Next() {
		var m material
		if err := rows.Scan(&m.id, &m.ordinal, &m.root, &m.wrapped); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}
