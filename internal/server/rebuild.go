package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"strongroom/internal/blob/disk"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
	"strongroom/internal/org"
	"strongroom/internal/preflight"
	"strongroom/internal/rebuild"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
	"strongroom/internal/runner"
)

// RebuildOptions are the parameters of RebuildCatalog.
type RebuildOptions struct {
	// Secret opens the vaults' recovery envelopes; nil for none. A catalog that is lost as a whole needs it: the keys of the node's
	// KMS were in it.
	Secret *recovery.Secret
	// NewCatalog begins with an empty catalog. One that is there is put aside under another name, not deleted.
	NewCatalog bool
}

// rebuilding is a RebuildCatalog under way.
type rebuilding struct {
	RebuildOptions
	made  bool   // the catalog is a new one
	aside string // where the old one is now
}

// Rebuilt is the result of RebuildCatalog.
type Rebuilt struct {
	rebuild.Report
	NewCatalog bool   `json:"new_catalog"`
	Aside      string `json:"old_catalog,omitempty"` // where the old one was put
}

// RebuildCatalog brings the catalog of a node that is not running in line with its vaults' storage, comparing everything, and makes
// it anew where it is missing. What is only in the catalog (users, roles, policies, plans, jobs) is not made again: the accounts that
// own vaults get a root access key, in the file credentials (the first account) and credentials-ACCOUNT.
func RebuildCatalog(ctx context.Context, c Config, o RebuildOptions) (Rebuilt, error) {
	if _, err := os.Stat(filepath.Join(c.Data, markerFile)); err != nil {
		return Rebuilt{}, &ConfigError{fmt.Errorf("%s is not a strongroom data directory (%w): restore its %s from a copy, or start a node on an empty directory and move the vaults into its regions/NAME/vaults", c.Data, err, markerFile)}
	}
	r := &rebuilding{RebuildOptions: o}
	c.rebuild, c.Agents = r, nil
	s, err := Open(ctx, c)
	if err != nil {
		if !r.made && !errors.As(err, new(*ConfigError)) {
			err = fmt.Errorf("%w (if the catalog cannot be mended: strongroom vault rebuild --new-catalog --recovery-key FILE)", err)
		}
		return Rebuilt{Aside: r.aside}, err
	}
	defer s.Close()
	if err := s.checkPages(ctx); err != nil {
		return Rebuilt{}, err
	}
	report, err := s.reconcile(ctx, o.Secret, true)
	return Rebuilt{report, r.made, r.aside}, err
}

// makeRoom puts an SQLite catalog aside if a new one is wanted, and finds out whether there is one.
func (r *rebuilding) makeRoom(d *dataDir) error {
	name := d.join(catalogFile)
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.made = true
		// A journal without its database belongs to nothing.
	case err != nil:
		return err
	case info.Size() == 0 || r.NewCatalog:
		r.made = true
	default:
		return nil
	}
	aside := ""
	for n := 1; aside == ""; n++ {
		candidate := fmt.Sprintf("%s.aside-%d", name, n)
		if _, err := os.Lstat(candidate); errors.Is(err, fs.ErrNotExist) {
			aside = candidate
		}
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		err := os.Rename(name+suffix, aside+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put the old catalog aside: %w", err)
		}
		if err == nil {
			r.aside = aside
		}
	}
	return nil
}

// useEmpty takes a database of a server for a new catalog: it must be empty, as nothing in it can be put aside.
func (r *rebuilding) useEmpty(ctx context.Context, d *db.DB, account string) error {
	if !r.NewCatalog {
		return nil
	}
	if _, err := org.Holds(ctx, d, account); err == nil {
		return errors.New("database_file: the database holds a catalog: give an empty one for --new-catalog")
	}
	r.made = true
	return nil
}

// checkPages refuses a catalog whose file is damaged: what it answers may be incomplete.
func (s *Server) checkPages(ctx context.Context) error {
	if s.db.Postgres() {
		return nil
	}
	var says string
	err := s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, "PRAGMA quick_check(1)").Scan(&says)
	})
	if err == nil && says != "ok" {
		err = errors.New(says)
	}
	if err != nil {
		return fmt.Errorf("the catalog is damaged (%w): restore a copy of it and run this again, or begin anew with --new-catalog --recovery-key FILE", err)
	}
	return nil
}

// compare is done at each start. What it cannot do is logged: the node serves what it can.
func (s *Server) compare(ctx context.Context) {
	report, err := s.reconcile(ctx, nil, false)
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("the catalog was not compared with the vaults' storage", "err", err)
		return
	}
	for _, v := range report.Vaults {
		switch untested := untested(v.Kits); {
		case len(v.Kits) == 0:
			s.cfg.Log.Warn("a vault has no recovery kit: only this node can ever read it (recovery_recipient)", "vault", v.ARN)
		case untested != "":
			s.cfg.Log.Warn("a vault's recovery kit is untested (strongroom vault kit verify)", "vault", v.ARN, "kit", untested)
		}
	}
}

func untested(kits []recovery.KitState) string {
	for _, k := range kits {
		if k.TestedAt.IsZero() {
			return k.Key
		}
	}
	return ""
}

// reconcile compares the catalog with every repository below the regions' paths.
func (s *Server) reconcile(ctx context.Context, secret *recovery.Secret, deep bool) (rebuild.Report, error) {
	c := rebuild.Config{
		Backup: s.backup, Keys: catalogKeys{s}, Secret: secret, Deep: deep, Registry: s.runner.Vaults.Registry, Clock: s.cfg.Clock, Log: s.cfg.Log,
		Receipt: func(p repo.Commit) []byte { return runner.Receipt(p.ID, p.Root, p.Committed, p.Stats) },
	}
	for _, r := range s.cfg.Regions {
		dirs, err := os.ReadDir(filepath.Join(r.Path, "vaults"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return rebuild.Report{}, err
		}
		for _, d := range dirs {
			if !d.IsDir() {
				continue
			}
			store, err := disk.Open(filepath.Join(r.Path, "vaults", d.Name()))
			if err != nil {
				return rebuild.Report{}, err
			}
			c.Places = append(c.Places, rebuild.Place{Region: r.Name, Vault: d.Name(), Store: store})
		}
	}
	sort.Slice(c.Places, func(i, j int) bool { return c.Places[i].Vault < c.Places[j].Vault })
	return rebuild.Reconcile(ctx, c)
}

// adoptedKeys are maintenance keys by vault.
type adoptedKeys struct {
	mu   sync.RWMutex
	keys map[string][]byte
}

const adoptedPurpose = "vault maintenance"

func (s *Server) loadAdopted(ctx context.Context) error {
	sealed, err := s.backup.AdoptedKeys(ctx)
	if err != nil {
		return err
	}
	s.adopted.mu.Lock()
	defer s.adopted.mu.Unlock()
	s.adopted.keys = map[string][]byte{}
	for id, blob := range sealed {
		if s.adopted.keys[id], err = s.kms.Root.Open(adoptedPurpose, blob, id); err != nil {
			return fmt.Errorf("maintenance key of vault %s: %w", id, err)
		}
	}
	return nil
}

// maintenanceKey is derived from the node's root key, unless another catalog's was adopted with the vault.
func (s *Server) maintenanceKey(vaultID string) []byte {
	s.adopted.mu.RLock()
	defer s.adopted.mu.RUnlock()
	if k := s.adopted.keys[vaultID]; k != nil {
		return k
	}
	return s.kms.Root.NodeKey("vault maintenance/" + vaultID)
}

// catalogKeys gives package rebuild what it needs of keys and accounts.
type catalogKeys struct{ s *Server }

func (k catalogKeys) Maint(vaultID string) []byte { return k.s.maintenanceKey(vaultID) }

func (k catalogKeys) Adopt(ctx context.Context, vaultID string, maint []byte) error {
	sealed, err := k.s.kms.Root.Seal(adoptedPurpose, maint, vaultID)
	if err != nil {
		return err
	}
	if err := k.s.backup.AdoptKey(ctx, vaultID, sealed); err != nil {
		return err
	}
	return k.s.loadAdopted(ctx)
}

func (k catalogKeys) Unwrap(ctx context.Context, e repo.Envelope, vaultARN string) ([]byte, error) {
	root, _, err := k.s.kms.Decrypt(ctx, e.Blob, preflight.EncryptionContext(vaultARN))
	return root, err
}

func (k catalogKeys) Wrap(ctx context.Context, keyARN, vaultARN string, root []byte) (repo.Envelope, error) {
	sealed, err := k.s.kms.Encrypt(ctx, keyARN, root, preflight.EncryptionContext(vaultARN))
	return repo.Envelope{Kind: "kms", KeyID: keyARN, Blob: sealed.Blob}, err
}

// Bind grants the backup service the use of a key for a vault. Nobody is asked: the vault was under that key, or gets the account's
// own one.
func (k catalogKeys) Bind(ctx context.Context, account, region, vaultARN, was string) (keyARN, grant string, service bool, err error) {
	key := kms.Key{}
	if was != "" {
		key, err = k.s.kms.Describe(ctx, was)
		if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid) {
			return "", "", false, err
		}
		if err != nil || key.State != kms.Enabled {
			was = ""
		}
	}
	if was == "" {
		if was, err = k.s.kms.ServiceKey(ctx, account, region, "aws/backup"); err != nil {
			return "", "", false, err
		}
		if _, err = k.s.kms.Encrypt(ctx, was, []byte("probe"), nil); err != nil { // gone with a part of the catalog
			if was, err = k.s.kms.RenewServiceKey(ctx, account, region, "aws/backup"); err != nil {
				return "", "", false, err
			}
		}
		if key, err = k.s.kms.Describe(ctx, was); err != nil {
			return "", "", false, err
		}
	}
	g, _, err := k.s.kms.CreateGrant(ctx, was, kms.NewGrant{
		Issuer: key.Account, Name: grantName(vaultARN), Grantee: backupService, Retiring: backupService, Operations: vaultOperations,
		Subset: map[string]string{"aws:backup:backup-vault": vaultARN}, Service: true,
	})
	return was, g.ID, key.Manager == kms.ManagerAWS, err
}

// Account makes an account that owns a vault and that the catalog does not know, with a root access key in a file of its own.
func (k catalogKeys) Account(ctx context.Context, account string) (made bool, err error) {
	if ok, err := k.s.org.Exists(ctx, account); ok || err != nil {
		return false, err
	}
	if err := k.s.org.AddFirstAccount(ctx, account); err != nil {
		return false, err
	}
	id, secret, err := k.s.iam.CreateAccountRoot(ctx, account)
	if fault.Is(err, fault.Exists) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return true, writeCredentials(k.s.data.join(CredentialsFile+"-"+account), AccessKey{id, secret})
}

var _ rebuild.Keys = catalogKeys{}
