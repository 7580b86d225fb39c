package standalone

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/durable"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
)

// Vault is an open vault. Close it when done.
type Vault struct {
	dir   string
	store blob.Store
	repo  *repo.Repository
	clock clock.Clock
}

// Config says which vault to open.
type Config struct {
	Dir    string
	Secret recovery.Secret
	Clock  clock.Clock
	// Write opens the vault for Backup, Forget, Prune and as the destination of Copy, with nobody beside. Without it nothing
	// in the directory is touched, and any number of readers may be there.
	Write bool
}

// Open opens a vault. fault.NotFound: the directory is no vault, or has nothing that such a secret opens. fault.Denied: the
// secret is wrong. fault.Corrupt: what every operation needs is damaged. fault.Unavailable: another process works on it.
func Open(ctx context.Context, c Config) (*Vault, error) {
	about, err := Look(ctx, c.Dir)
	if err != nil {
		return nil, err
	}
	keys, err := c.Secret.Open(about.Vault, about.envelopes)
	if err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // scrypt took more than everything that follows will
	v := &Vault{dir: about.Dir, clock: c.Clock}
	if c.Write {
		v.store, err = disk.Open(v.dir)
	} else {
		v.store, err = disk.OpenReader(v.dir)
	}
	if err != nil {
		return nil, err
	}
	v.repo, err = repo.Open(ctx, repo.Config{Store: v.store, Vault: keys.Vault, Root: keys.Root, Maint: keys.Maint, Clock: c.Clock})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Close ends the use of the vault.
func (v *Vault) Close() error { return v.repo.Close() }

// ID is the vault's UUID.
func (v *Vault) ID() string { return v.repo.Descriptor().Vault }

// InitConfig says how to make a vault.
type InitConfig struct {
	Dir        string // absent or empty
	Passphrase string
	Recipient  string // age recipient whose identity shall open the vault too, or ""
	Clock      clock.Clock
	// Work is the scrypt work factor; 0 means recovery.Work. Tests take less.
	Work int
}

// Created is a vault that was made.
type Created struct {
	Vault   string    `json:"vault"`
	Dir     string    `json:"directory"`
	Created time.Time `json:"created"`
}

// Init makes a vault. fault.Exists when the directory holds anything.
func Init(ctx context.Context, c InitConfig) (Created, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return Created{}, err
	}
	if err := checkFree(dir); err != nil {
		return Created{}, err
	}
	k := recovery.Keys{Vault: ident.UUID(), Root: make([]byte, repo.KeySize), Maint: make([]byte, repo.KeySize)}
	rand.Read(k.Root)
	rand.Read(k.Maint)
	if c.Work == 0 {
		c.Work = recovery.Work
	}
	e, err := recovery.ForPassphrase(k, c.Passphrase, c.Work)
	if err != nil {
		return Created{}, err
	}
	envelopes := []repo.Envelope{e}
	if c.Recipient != "" {
		if e, err = recovery.ForRecipient(k, c.Recipient); err != nil {
			return Created{}, err
		}
		envelopes = append(envelopes, e)
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return Created{}, err
	}
	store, err := disk.Open(dir)
	if err != nil {
		return Created{}, err
	}
	r, err := repo.Create(ctx, repo.Config{Store: store, Vault: k.Vault, Root: k.Root, Maint: k.Maint, Clock: c.Clock},
		repo.Descriptor{Name: filepath.Base(dir)}, envelopes)
	if err != nil {
		return Created{}, err
	}
	return Created{k.Vault, dir, r.Descriptor().Created}, r.Close()
}

// checkFree refuses a directory that holds anything but what an Init that was cut off leaves.
func checkFree(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains([]string{".tmp", ".lock", "keys"}, e.Name()) {
			return fault.New(fault.Exists, "%s is not empty: it holds %s", dir, e.Name())
		}
	}
	return nil
}
