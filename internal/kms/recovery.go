package kms

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"filippo.io/age"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// recoveryKind marks wraps of ROOT that only an age identity kept off the machine can open.
const recoveryKind = "age"

// AddRecoveryRecipient wraps every version of ROOT, present and future, for an age X25519 recipient ("age1...") too, so that
// the catalog can be opened when the seal is lost. Adding one again changes nothing. When it returns nil the wraps are durable.
func (r *Root) AddRecoveryRecipient(ctx context.Context, recipient string) error {
	if _, err := age.ParseX25519Recipient(recipient); err != nil {
		return fault.New(fault.Invalid, "not an age X25519 recipient (age1...)").WithResource(recipient)
	}
	return r.db.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, v := range r.Versions() {
			var have int64
			if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM kms_root WHERE version = ? AND seal_kind = ? AND seal_id = ?", v, recoveryKind, recipient).Scan(&have); err != nil {
				return err
			}
			if have > 0 {
				continue
			}
			r.mu.RLock()
			w, err := wrapForRecovery(recipient, v, r.keys[v])
			r.mu.RUnlock()
			if err != nil {
				return err
			}
			if err := insertRoot(ctx, tx, rootWrap{v, recoveryKind, recipient, w}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reseal wraps ROOT under seal, which is created if it has no secret yet, by means of the age identity ("AGE-SECRET-KEY-...")
// of a recovery recipient. It is the way back after the seal was lost; the old seal's wraps are removed.
func Reseal(ctx context.Context, d *db.DB, seal Seal, identity string) error {
	id, err := age.ParseX25519Identity(identity)
	if err != nil {
		return fault.New(fault.Invalid, "not an age identity (AGE-SECRET-KEY-...)")
	}
	if err := migrate(ctx, d); err != nil {
		return err
	}
	r := &Root{db: d, seal: seal}
	wraps, err := r.load(ctx)
	if err != nil {
		return err
	}
	found := map[uint32][]byte{}
	defer func() {
		for _, k := range found {
			clear(k)
		}
	}()
	all := map[uint32]bool{}
	for _, w := range wraps {
		all[w.version] = true
		if w.kind != recoveryKind || w.id != id.Recipient().String() {
			continue
		}
		key, err := openRecovery(id, w)
		if err != nil {
			return err
		}
		found[w.version] = key
	}
	if len(all) == 0 || len(found) != len(all) {
		return fault.New(fault.NotFound, "the catalog has no complete set of root keys wrapped for %s", id.Recipient())
	}
	if err := seal.Create(); err != nil {
		return err
	}
	sealID, err := seal.ID()
	if err != nil {
		return err
	}
	return d.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		for v, key := range found {
			w, err := seal.Wrap(key, rootAAD(v))
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "DELETE FROM kms_root WHERE version = ? AND seal_kind <> ?", v, recoveryKind); err != nil {
				return err
			}
			if err := insertRoot(ctx, tx, rootWrap{v, seal.Kind(), sealID, w}); err != nil {
				return err
			}
		}
		return nil
	})
}

func recoveryRecipients(ctx context.Context, tx *db.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT DISTINCT seal_id FROM kms_root WHERE seal_kind = ?", recoveryKind)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// wrapForRecovery puts the version inside, since age has no associated data.
func wrapForRecovery(recipient string, version uint32, root []byte) ([]byte, error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, fmt.Errorf("recovery recipient: %w", err)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("wrap root key for recovery: %w", err)
	}
	plain := append(binary.BigEndian.AppendUint32(nil, version), root...)
	defer clear(plain)
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("wrap root key for recovery: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("wrap root key for recovery: %w", err)
	}
	return out.Bytes(), nil
}

func openRecovery(id *age.X25519Identity, w rootWrap) ([]byte, error) {
	in, err := age.Decrypt(bytes.NewReader(w.wrapped), id)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "root key version %d does not open with this identity", w.version)
	}
	plain, err := io.ReadAll(in)
	if err != nil || len(plain) != 36 || binary.BigEndian.Uint32(plain) != w.version {
		return nil, fault.New(fault.Corrupt, "root key version %d is damaged", w.version)
	}
	return plain[4:], nil
}
