package runner

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/backup"
	"strongroom/internal/blob"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/preflight"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
)

// Vaults finds and opens the repositories of vaults. One per process. Safe for concurrent use.
type Vaults struct {
	// Store returns the place of a vault's bytes. It must return the same place for the same vault for ever.
	Store func(region, vaultID string) (blob.Store, error)
	// Maint derives the maintenance key of a vault from the node's root key: expiry and prune work with it alone.
	Maint func(vaultID string) []byte
	// Recipient is an age recipient that the keys of every vault are wrapped for as well, so that its holder can read the
	// vault when the node is gone. "" for none.
	Recipient string
	Registry  *repo.Registry
	Clock     clock.Clock
	Log       *slog.Logger

	mu     sync.Mutex
	create map[string]*sync.Mutex // by vault id: only one job makes a repository
}

func (v *Vaults) config(s blob.Store, vaultID string, root []byte) repo.Config {
	return repo.Config{Store: s, Vault: vaultID, Root: root, Maint: v.Maint(vaultID), Clock: v.Clock, Registry: v.Registry, Log: v.Log}
}

// lock serialises the making of one vault's repository.
func (v *Vaults) lock(vaultID string) func() {
	v.mu.Lock()
	if v.create == nil {
		v.create = map[string]*sync.Mutex{}
	}
	m := v.create[vaultID]
	if m == nil {
		m = &sync.Mutex{}
		v.create[vaultID] = m
	}
	v.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// Maintain opens a vault's repository without its root key. nil, nil when the vault has no repository yet.
func (v *Vaults) Maintain(ctx context.Context, region, vaultID string) (*repo.Repository, error) {
	s, err := v.Store(region, vaultID)
	if err != nil {
		return nil, err
	}
	if made, err := repo.Made(ctx, s); !made {
		return nil, err
	}
	return repo.Open(ctx, v.config(s, vaultID, nil))
}

// kmsEnvelope is the kind of a root key that is wrapped by the vault's KMS key.
const kmsEnvelope = "kms"

// openVault opens a vault's repository with its root key, which p must be allowed to unwrap (normally the backup service
// under the vault's grant). With make set, a vault that has no repository yet gets one.
func (r *Runner) openVault(ctx context.Context, p access.Principal, env access.Env, v backup.WorkVault, make bool) (*repo.Repository, error) {
	s, err := r.Vaults.Store(v.Region, v.ID)
	if err != nil {
		return nil, err
	}
	if make {
		defer r.Vaults.lock(v.ID)()
	}
	made, err := repo.Made(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("vault %s: %w", v.ARN, err)
	}
	if !made {
		if !make {
			return nil, fault.New(fault.NotFound, "backup vault %s holds no data", v.ARN)
		}
		return r.makeRepository(ctx, p, env, v, s)
	}
	envelopes, err := repo.Envelopes(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("vault %s: %w", v.ARN, err)
	}
	for _, e := range keyEnvelopes(envelopes, v.KeyARN) {
		if err := r.useKey(ctx, p, env, v, "kms:Decrypt"); err != nil {
			return nil, err
		}
		root, _, err := r.KMS.Decrypt(ctx, e.Blob, preflight.EncryptionContext(v.ARN))
		if err != nil {
			return nil, keyFault(v.KeyARN, err)
		}
		opened, err := repo.Open(ctx, r.Vaults.config(s, v.ID, root))
		if err == nil && make {
			// The repository has just proved that the key is its own.
			if err := r.Vaults.addRecipient(ctx, s, v.ID, root, envelopes); err != nil {
				opened.Close()
				return nil, err
			}
		}
		return opened, err
	}
	return nil, fault.New(fault.Corrupt, "backup vault %s has no root key wrapped by KMS", v.ARN)
}

// keyEnvelopes lists the envelopes of KMS keys, those of the vault's present key first, and of these the newest: a vault that
// another catalog made has older ones, of keys that are gone.
func keyEnvelopes(all []repo.Envelope, keyARN string) (out []repo.Envelope) {
	var others []repo.Envelope
	for _, e := range slices.Backward(all) {
		switch {
		case e.Kind != kmsEnvelope:
		case e.KeyID == keyARN:
			out = append(out, e)
		default:
			others = append(others, e)
		}
	}
	return append(out, others...)
}

// Retain tells a vault's repository when a recovery point ends, before the catalog is told: of the two dates the later counts.
func (v *Vaults) Retain(ctx context.Context, vault backup.WorkVault, id string, until time.Time) error {
	r, err := v.Maintain(ctx, vault.Region, vault.ID)
	if err != nil || r == nil {
		return err
	}
	defer r.Close()
	_, locked, err := r.Retention(ctx, id)
	if err == nil {
		err = r.SetRetention(ctx, id, until, locked)
	}
	if fault.Is(err, fault.NotFound) { // then nothing is kept that could be kept for too short
		return nil
	}
	return err
}

func (r *Runner) makeRepository(ctx context.Context, p access.Principal, env access.Env, v backup.WorkVault, s blob.Store) (*repo.Repository, error) {
	kept, err := r.Backup.KeptUntil(ctx, v)
	if err != nil {
		return nil, err
	}
	if len(kept) > 0 {
		return nil, missing(v.ARN)
	}
	if err := r.useKey(ctx, p, env, v, "kms:GenerateDataKey"); err != nil {
		return nil, err
	}
	root, wrapped, err := r.KMS.GenerateDataKey(ctx, v.KeyARN, preflight.EncryptionContext(v.ARN), repo.KeySize)
	if err != nil {
		return nil, keyFault(v.KeyARN, err)
	}
	envelopes := []repo.Envelope{{Kind: kmsEnvelope, KeyID: v.KeyARN, Blob: wrapped}}
	if to := r.Vaults.Recipient; to == "" {
		r.Log.Warn("a vault is made without a recovery key: only this node can ever read it (recovery_recipient)", "vault", v.ARN)
	} else {
		e, err := recovery.ForRecipient(recovery.Keys{Vault: v.ID, Root: root, Maint: r.Vaults.Maint(v.ID)}, to)
		if err != nil {
			return nil, err
		}
		envelopes = append(envelopes, e)
	}
	return repo.Create(ctx, r.Vaults.config(s, v.ID, root),
		repo.Descriptor{Vault: v.ID, Owner: v.Account, Name: v.Name, VaultARN: v.ARN, Region: v.Region, Created: r.Clock.Now()}, envelopes)
}

// missing says that a vault which must have a repository has none. It may come back, so nothing is concluded from it.
func missing(vaultARN string) *fault.Error {
	return fault.New(fault.Unavailable, "backup vault %s has recovery points, but its storage is empty: is the file system of its Region mounted?", vaultARN)
}

// addRecipient gives a vault that was made before the recipient was configured its recovery key. Envelopes are never
// removed: a recipient that is configured no longer keeps what it has. The caller holds the vault's lock.
func (v *Vaults) addRecipient(ctx context.Context, s blob.Store, vaultID string, root []byte, have []repo.Envelope) error {
	if v.Recipient == "" || slices.Contains(recovery.Recipients(have), v.Recipient) {
		return nil
	}
	e, err := recovery.ForRecipient(recovery.Keys{Vault: vaultID, Root: root, Maint: v.Maint(vaultID)}, v.Recipient)
	if err != nil {
		return err
	}
	v.Log.Info("an older vault gets a recovery key", "vault", vaultID, "recipient", v.Recipient)
	return repo.AddEnvelope(ctx, s, e)
}

// useKey asks whether p may do action with the vault's key.
func (r *Runner) useKey(ctx context.Context, p access.Principal, env access.Env, v backup.WorkVault, action string) error {
	err := r.Authz.Authorize(ctx, p, env, preflight.KeyCheck(action, v.KeyARN, v.ARN, p, env))
	if f := fault.As(err); f != nil && f.Kind == fault.Denied {
		return refuse(preflight.KMSError, "%s %s", preflight.KeyDenied(v.KeyARN, action), f.Msg)
	}
	return err
}

// keyFault turns what KMS says about a key's state into a reason that ends the job.
func keyFault(keyARN string, err error) error {
	f := fault.As(err)
	if f == nil || f.Kind == fault.Unavailable {
		return err
	}
	return refuse(preflight.KMSError, "KMS key is either disabled or pending deletion or access to KMS key is denied: key %s: %s", keyARN, f.Msg)
}
