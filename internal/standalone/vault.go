package standalone

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
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
	keys  recovery.Keys
	used  repo.Envelope // the one that opened it
	// caveats says what could not be relied on when the vault was opened for rescue.
	caveats []string
	scratch string // directory to remove at the end, or ""
}

// Config says which vault to open.
type Config struct {
	Dir    string
	Secret recovery.Secret
	// Kits, if given, are used instead of the envelopes in the vault's directory, which may be lost.
	Kits  []recovery.Kit
	Clock clock.Clock
	// Write opens the vault for Backup, Forget, Prune and as the destination of Copy, with nobody beside. Without it nothing
	// in the directory is touched, and any number of readers may be there.
	Write bool
	// Rescue makes do with a damaged vault: without the index, which is made anew outside the vault, and without the journal.
	// Caveats says what that costs. Not with Write.
	Rescue bool
	// Reindex makes the index anew, with Rescue, also if the one that is there can be opened.
	Reindex bool
}

// Open opens a vault. fault.NotFound: the directory is no vault, or has nothing that such a secret opens. fault.Denied: the
// secret is wrong. fault.Corrupt: what every operation needs is damaged. fault.Unavailable: another process works on it.
// fault.Unsupported: only a newer program may do that; nothing was touched.
func Open(ctx context.Context, c Config) (*Vault, error) {
	about, err := Look(ctx, c.Dir)
	if err != nil {
		return nil, err
	}
	envelopes := about.envelopes
	if len(c.Kits) > 0 {
		if envelopes, err = fromKits(about, c.Kits, c.Secret); err != nil {
			return nil, err
		}
	}
	keys, used, err := c.Secret.Find(about.Vault, envelopes)
	if fault.Is(err, fault.NotFound) && len(about.damaged) > 0 {
		err = fault.New(fault.Corrupt, "%s of the vault is damaged, and nothing else opens it with this secret: give its recovery kit (--kit)", about.damaged[0].Object)
	}
	if err != nil {
		return nil, err
	}
	if c.Write { // before the store makes its own files
		r, err := disk.OpenReader(about.Dir)
		if err == nil {
			err = repo.Writable(ctx, r)
		}
		if err != nil {
			return nil, err
		}
	}
	debug.FreeOSMemory() // scrypt took more than everything that follows will
	return c.open(ctx, about.Dir, keys, used)
}

// fromKits takes the envelopes of printed kits for those of the vault. Which of them a secret opens it finds out by itself.
func fromKits(about About, kits []recovery.Kit, secret recovery.Secret) (out []repo.Envelope, err error) {
	for _, k := range kits {
		if k.Vault != "" && k.Vault != about.Vault {
			err = fault.New(fault.Denied, "the recovery kit is of vault %s, and %s is vault %s", k.Vault, about.Dir, about.Vault)
			continue
		}
		e := k.Envelope
		for _, own := range about.envelopes {
			if bytes.Equal(own.Blob, e.Blob) {
				e.KeyID = own.KeyID
			}
		}
		e.Kind = secret.Kind()
		out = append(out, e)
	}
	if len(out) > 0 {
		err = nil
	}
	return out, err
}

func (c Config) open(ctx context.Context, dir string, keys recovery.Keys, used repo.Envelope) (_ *Vault, err error) {
	v := &Vault{dir: dir, clock: c.Clock, keys: keys, used: used}
	if c.Write {
		v.store, err = disk.Open(v.dir)
	} else {
		v.store, err = disk.OpenReader(v.dir)
	}
	if err != nil {
		return nil, err
	}
	if c.Rescue {
		err = v.rescue(ctx, c.Reindex)
	} else {
		v.repo, err = repo.Open(ctx, v.config())
	}
	if err != nil {
		v.discard()
		return nil, err
	}
	return v, nil
}

func (v *Vault) config() repo.Config {
	return repo.Config{Store: v.store, Vault: v.keys.Vault, Root: v.keys.Root, Maint: v.keys.Maint, Clock: v.clock}
}

// Close ends the use of the vault.
func (v *Vault) Close() error {
	err := v.repo.Close()
	v.discard()
	return err
}

// Caveats says what could not be relied on when the vault was opened for rescue; nothing when it is whole.
func (v *Vault) Caveats() []string { return v.caveats }

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
	// Kits are the ways into the vault. That of the passphrase was tested; a recipient's can be tested only by who has the
	// identity (TestKit).
	Kits []recovery.KitState `json:"recovery_kits"`
}

// Init makes a vault and tests its recovery kit by a restore. fault.Exists when the directory holds anything.
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
	made := Created{Vault: k.Vault, Dir: dir, Created: r.Descriptor().Created}
	if err := r.Close(); err != nil {
		return Created{}, err
	}
	secret, err := recovery.Phrase(c.Passphrase)
	if err != nil {
		return Created{}, err
	}
	if _, err := TestKit(ctx, Config{Dir: dir, Secret: secret, Clock: c.Clock}); err != nil {
		return Created{}, fmt.Errorf("the vault in %s was made, but restoring something with its passphrase failed; do not use it: %w", dir, err)
	}
	if envelopes, err = repo.Envelopes(ctx, store); err != nil {
		return Created{}, err
	}
	made.Kits = recovery.States(k.Vault, k.Maint, envelopes)
	return made, nil
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
