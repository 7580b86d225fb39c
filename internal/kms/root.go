package kms

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// Root holds the node's ROOT keys, unwrapped, and derives a separate key for each purpose from them. It never gives a ROOT
// away. New secrets are sealed under the newest version; every older one stays to open what it sealed.
//
// Safe for concurrent use.
type Root struct {
	db   *db.DB
	seal Seal

	mu   sync.RWMutex
	keys map[uint32][]byte // by version
	last uint32
}

// OpenRoot unwraps ROOT with seal. On a catalog that has none (the first start) it creates the seal and a ROOT. A catalog that
// has one is never given another: a missing or different seal is an error that says so, because a new ROOT would leave
// everything that the old one protects unreadable while looking healthy.
func OpenRoot(ctx context.Context, d *db.DB, seal Seal) (*Root, error) {
	if err := migrate(ctx, d); err != nil {
		return nil, err
	}
	r := &Root{db: d, seal: seal, keys: map[uint32][]byte{}}
	wraps, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	if len(wraps) == 0 {
		if err := seal.Create(); err != nil {
			return nil, err
		}
		if err := r.add(ctx, 1); err != nil {
			return nil, err
		}
		if wraps, err = r.load(ctx); err != nil {
			return nil, err
		}
	}
	return r, r.unwrap(wraps)
}

type rootWrap struct {
	version  uint32
	kind, id string
	wrapped  []byte
}

func (r *Root) load(ctx context.Context) ([]rootWrap, error) {
	var out []rootWrap
	err := r.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		out = nil
		rows, err := tx.Query(ctx, "SELECT version, seal_kind, seal_id, wrapped FROM kms_root ORDER BY version")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var w rootWrap
			if err := rows.Scan(&w.version, &w.kind, &w.id, &w.wrapped); err != nil {
				return err
			}
			out = append(out, w)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read root keys: %w", err)
	}
	return out, nil
}

// add makes ROOT version n and stores it wrapped by the seal and for every recovery recipient. When another process has made
// that version first, its one stands.
func (r *Root) add(ctx context.Context, n uint32) error {
	root := ident.Bytes(32)
	defer clear(root)
	id, err := r.seal.ID()
	if err != nil {
		return err
	}
	wrapped, err := r.seal.Wrap(root, rootAAD(n))
	if err != nil {
		return fmt.Errorf("wrap root key: %w", err)
	}
	return r.db.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		var have int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM kms_root WHERE version = ?", n).Scan(&have); err != nil || have > 0 {
			return err
		}
		recipients, err := recoveryRecipients(ctx, tx)
		if err != nil {
			return err
		}
		if err := insertRoot(ctx, tx, rootWrap{n, r.seal.Kind(), id, wrapped}); err != nil {
			return err
		}
		for _, to := range recipients {
			w, err := wrapForRecovery(to, n, root)
			if err != nil {
				return err
			}
			if err := insertRoot(ctx, tx, rootWrap{n, recoveryKind, to, w}); err != nil {
				return err
			}
		}
		return nil
	})
}

func insertRoot(ctx context.Context, tx *db.Tx, w rootWrap) error {
	_, err := tx.Exec(ctx, "INSERT INTO kms_root (version, seal_kind, seal_id, wrapped, created) VALUES (?, ?, ?, ?, ?)", w.version, w.kind, w.id, w.wrapped, db.Micros(tx.Now))
	return err
}

func (r *Root) unwrap(wraps []rootWrap) error {
	id, err := r.seal.ID()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the catalog's keys are sealed, but the seal is missing (%w): put it back from its backup; a new one cannot open them", err)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var others []string
	missing := map[uint32]bool{}
	for _, w := range wraps {
		if _, ok := r.keys[w.version]; ok {
			continue
		}
		if w.kind != r.seal.Kind() || w.id != id {
			missing[w.version] = true
			others = append(others, w.kind+" "+w.id)
			continue
		}
		key, err := r.seal.Unwrap(w.wrapped, rootAAD(w.version))
		if err != nil || len(key) != 32 {
			return fault.New(fault.Corrupt, "root key version %d does not open with the seal %s %s that wrapped it: the catalog or the seal is damaged", w.version, w.kind, w.id)
		}
		r.keys[w.version] = key
		r.last = max(r.last, w.version)
	}
	for v := range missing {
		if _, ok := r.keys[v]; !ok {
			slices.Sort(others)
			return fmt.Errorf("root key version %d was sealed with another seal (%s) than the one present (%s %s): use the right one", v, strings.Join(slices.Compact(others), ", "), r.seal.Kind(), id)
		}
	}
	return nil
}

// derive returns the 32-byte key of a purpose under one version of ROOT. The caller clears it.
func (r *Root) derive(version uint32, purpose ...string) ([]byte, error) {
	r.mu.RLock()
	root, ok := r.keys[version]
	r.mu.RUnlock()
	if !ok {
		return nil, fault.New(fault.Corrupt, "no root key of version %d", version)
	}
	// ROOT is uniformly random, so extraction would add nothing.
	return hkdf.Expand(sha256.New, root, "strongroom/root/1"+string(frame(purpose...)), 32)
}

func (r *Root) current() uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.last
}

// Versions lists the versions of ROOT, oldest first.
func (r *Root) Versions() []uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.keys))
}

// Seal encrypts a secret of another service. purpose separates the services' keys; aad says what the secret belongs to, so
// that it cannot be moved to another row.
func (r *Root) Seal(purpose string, plain []byte, aad string) ([]byte, error) {
	v := r.current()
	return r.sealUnder(v, []string{"sealed", purpose}, plain, []byte(aad))
}

// Open is the inverse of Seal; anything that was not sealed with the same purpose and aad is fault.Corrupt.
func (r *Root) Open(purpose string, sealed []byte, aad string) ([]byte, error) {
	return r.openSealed([]string{"sealed", purpose}, sealed, []byte(aad))
}

// NodeKey returns the node's own 32-byte key for a purpose (page tokens, maintenance of one vault). It is derived from the
// first ROOT and therefore the same for ever, also after ROOT was rotated.
func (r *Root) NodeKey(purpose string) []byte {
	k, err := r.derive(1, "node", purpose)
	if err != nil {
		panic("kms: an open root has version 1: " + err.Error())
	}
	return k
}

const sealedVersion = 1

// sealUnder lays a sealed secret out as format byte, ROOT version (big endian), nonce, ciphertext, tag; the first five bytes
// are authenticated too.
func (r *Root) sealUnder(version uint32, purpose []string, plain, aad []byte) ([]byte, error) {
	key, err := r.derive(version, purpose...)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	a, err := gcm(key)
	if err != nil {
		return nil, err
	}
	head := binary.BigEndian.AppendUint32([]byte{sealedVersion}, version)
	return a.Seal(head, nil, plain, append(slices.Clone(head), aad...)), nil
}

func (r *Root) openSealed(purpose []string, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < 5 || sealed[0] != sealedVersion {
		return nil, fault.New(fault.Corrupt, "a sealed secret has an unknown format")
	}
	key, err := r.derive(binary.BigEndian.Uint32(sealed[1:5]), purpose...)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	a, err := gcm(key)
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(nil, nil, sealed[5:], append(slices.Clone(sealed[:5]), aad...))
	if err != nil {
		return nil, fault.New(fault.Corrupt, "a sealed secret failed authentication")
	}
	return plain, nil
}

func rootAAD(version uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte("strongroom/root/"), version)
}

// frame joins parts so that no two different lists give the same bytes.
func frame(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}
