// Package server puts a node together: it opens the data directory, the catalog, the services, the engine and the agents,
// connects them, and runs them.
//
// It is the only package that sees everything, and holds no rule of its own: what services need of each other they state
// as small interfaces, and glue.go fills them. Open makes or checks the data directory, Run serves until its context
// ends, Close releases everything.
//
// Invariant: a directory that is damaged, foreign, newer or in use is refused with what is wrong, and not changed.
package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"strongroom/internal/agent"
	"strongroom/internal/api/backupapi"
	"strongroom/internal/api/iamapi"
	"strongroom/internal/api/kmsapi"
	"strongroom/internal/api/nodeapi"
	"strongroom/internal/api/orgapi"
	"strongroom/internal/api/stsapi"
	"strongroom/internal/authz"
	"strongroom/internal/backup"
	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/durable"
	"strongroom/internal/iam"
	"strongroom/internal/ident"
	"strongroom/internal/job"
	"strongroom/internal/kms"
	"strongroom/internal/org"
	"strongroom/internal/preflight"
	"strongroom/internal/repo"
	"strongroom/internal/runner"
	"strongroom/internal/wire"
)

// Server is a node. Make it with Open.
type Server struct {
	cfg     Config
	data    *dataDir
	db      *db.DB
	trusted *clock.Trusted

	org    *org.Service
	iam    *iam.Service
	kms    *kms.Service
	backup *backup.Service
	authz  *authz.Authorizer
	queue  *job.Queue
	agents *agent.Hub
	runner *runner.Runner
	// adopted are the maintenance keys of vaults that another catalog made.
	adopted adoptedKeys
	// checker answers the preflight.
	checker *preflight.Checker

	handler http.Handler
	ready   atomic.Bool
}

// Open prepares a node: on an empty directory it makes the first account, its root key and everything else; on a node's
// directory it checks that everything fits together. The context is for Open only. A fault of the configuration is a
// *ConfigError.
func Open(ctx context.Context, c Config) (_ *Server, err error) {
	if err := c.complete(); err != nil {
		return nil, &ConfigError{err}
	}
	s := &Server{cfg: c}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.data, err = openDataDir(c.Data); err != nil {
		return nil, err
	}
	if err := s.checkAccount(); err != nil {
		return nil, err
	}
	if err := s.openCatalog(ctx); err != nil {
		return nil, err
	}
	anew := s.data.fresh || c.rebuild != nil && c.rebuild.made
	if !anew {
		if err := s.checkCatalog(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.openServices(ctx); err != nil {
		return nil, err
	}
	if anew {
		if err := s.firstStart(ctx); err != nil {
			return nil, fmt.Errorf("first start: %w", err)
		}
	}
	if err := s.openAgents(ctx); err != nil {
		return nil, err
	}
	if err := s.openRunner(ctx); err != nil {
		return nil, err
	}
	return s, s.openWire()
}

// FirstAccount is the id of the account that the node was started with.
func (s *Server) FirstAccount() string { return s.data.marker.Account }

// Close releases everything. It must not be called while Run runs.
func (s *Server) Close() error {
	var errs []error
	if s.trusted != nil {
		errs = append(errs, s.trusted.Persist())
		s.trusted = nil
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
		s.db = nil
	}
	if s.data != nil {
		errs = append(errs, s.data.close())
		s.data = nil
	}
	return errors.Join(errs...)
}

func (s *Server) checkAccount() error {
	have := s.data.marker.Account
	if s.data.fresh || s.cfg.AccountID == "" || s.cfg.AccountID == have {
		return nil
	}
	return fmt.Errorf("%s belongs to account %s, not %s: leave out --account-id or give another directory", s.cfg.Data, have, s.cfg.AccountID)
}

func (s *Server) openCatalog(ctx context.Context) error {
	url := s.data.join(catalogFile)
	if s.cfg.DatabaseFile != "" {
		raw, err := os.ReadFile(s.cfg.DatabaseFile)
		if err != nil {
			return fmt.Errorf("database_file: %w", err)
		}
		url = strings.TrimSpace(string(raw))
		if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
			return fmt.Errorf("database_file: %s does not hold a postgres:// URL", s.cfg.DatabaseFile)
		}
	} else if s.cfg.rebuild != nil && !s.data.fresh {
		if err := s.cfg.rebuild.makeRoom(s.data); err != nil {
			return err
		}
	} else if !s.data.fresh {
		info, err := os.Stat(url)
		if err != nil {
			return fmt.Errorf("the catalog %s is missing: %w; restore it from a copy, nothing is made anew", url, err)
		}
		if info.Size() == 0 {
			return fmt.Errorf("the catalog %s is empty; restore it from a copy, nothing is made anew", url)
		}
	}
	for _, dir := range []string{"keys", "clock"} {
		if err := durable.MkdirAll(s.data.join(dir), 0o700); err != nil {
			return err
		}
	}
	var err error
	if s.trusted, err = clock.OpenTrusted(s.data.join(clockFile), s.cfg.Clock); err != nil {
		return err
	}
	if s.db, err = db.Open(ctx, db.Config{URL: url, Now: s.cfg.Clock.Now}); err != nil {
		return err
	}
	if s.cfg.rebuild != nil && s.cfg.DatabaseFile != "" {
		return s.cfg.rebuild.useEmpty(ctx, s.db, s.data.marker.Account)
	}
	return nil
}

const clockFile = "clock/compliance.json"

// AcceptClock makes the system clock's time the compliance time of a node that is not running.
func AcceptClock(data string) (time.Time, error) {
	if _, err := os.Stat(filepath.Join(data, markerFile)); err != nil {
		return time.Time{}, fmt.Errorf("%s is not a strongroom data directory: %w", data, err)
	}
	d, err := openDataDir(data)
	if err != nil {
		return time.Time{}, err
	}
	defer d.close()
	now := clock.System{}.Now()
	return now.UTC(), clock.AcceptWall(d.join(clockFile), clock.System{})
}

func (s *Server) openServices(ctx context.Context) error {
	root, err := kms.OpenRoot(ctx, s.db, kms.OpenSeal(s.cfg.SealFile))
	if err != nil {
		return err
	}
	if s.iam, err = iam.New(ctx, iam.Config{DB: s.db, Clock: s.cfg.Clock, Secrets: root, Log: s.cfg.Log}); err != nil {
		return err
	}
	if s.org, err = org.New(ctx, org.Config{DB: s.db, Clock: s.cfg.Clock, Accounts: s.iam, TokenKey: root.NodeKey("org/page"), Log: s.cfg.Log}); err != nil {
		return err
	}
	s.authz = authz.New(authz.Config{Identities: s.iam, Guardrails: s.org, Log: s.cfg.Log})
	if s.kms, err = kms.New(ctx, kms.Config{
		DB: s.db, Clock: s.cfg.Clock, Root: root, Trusted: s.trusted.Read, Log: s.cfg.Log,
		InUse: func(ctx context.Context, key string) ([]string, error) {
			return s.backup.LockedPointsUnderKey(ctx, key)
		},
		PrincipalExists: s.principalExists,
	}); err != nil {
		return err
	}
	// One process works on an SQLite catalog (the directory's lock sees to it): what the queue still holds as leased was
	// leased by a process that is dead.
	if s.queue, err = job.Open(ctx, job.Config{DB: s.db, Clock: s.cfg.Clock, Sole: !s.db.Postgres(), Log: s.cfg.Log}); err != nil {
		return err
	}
	cold := map[string]int{}
	for _, r := range s.cfg.Regions {
		cold[r.Name] = r.ColdMinimumDays
	}
	if s.backup, err = backup.New(ctx, backup.Config{
		DB: s.db, Clock: s.cfg.Clock, Keys: vaultKeys{s}, Roles: roles{s.iam}, Org: organizations{s.org}, Jobs: s.queue, Log: s.cfg.Log, ColdMinimumDays: cold,
		Retain: func(ctx context.Context, v backup.WorkVault, id string, until time.Time) error {
			return s.runner.Vaults.Retain(ctx, v, id, until)
		},
	}); err != nil {
		return err
	}
	s.authz.Register("kms", s.lookupKey)
	s.authz.Register("iam", iamapi.Lookup(s.iam))
	s.authz.Register("sts", iamapi.Lookup(s.iam))
	s.authz.Register("backup", backupapi.Lookup(s.backup))
	return nil
}

// firstStart makes the first account. Every step can be repeated: a first start that was cut off is finished by the next,
// with the account that it began with.
func (s *Server) firstStart(ctx context.Context) error {
	begun, err := s.org.AllAccountIDs(ctx)
	if err != nil {
		return err
	}
	account := s.cfg.AccountID
	if !s.data.fresh { // a new catalog of an old directory
		account = s.data.marker.Account
	}
	switch {
	case len(begun) > 1:
		return fmt.Errorf("the catalog holds %d accounts already: it belongs to a node with another data directory; give that directory, or an empty catalog", len(begun))
	case len(begun) > 0 && account != "" && !slices.Contains(begun, account):
		return fmt.Errorf("an earlier first start was cut off after it had begun with account %s: give --account-id %s, or an empty directory and catalog", begun[0], begun[0])
	case len(begun) > 0 && account == "":
		account = begun[0]
	case account == "":
		account = ident.Random("123456789", 1) + ident.Random(ident.Digits, 11)
	}
	if err := s.org.AddFirstAccount(ctx, account); err != nil {
		return err
	}
	id, secret, err := s.iam.CreateAccountRoot(ctx, account)
	if err != nil {
		return err
	}
	if err := writeCredentials(s.data.join(CredentialsFile), AccessKey{id, secret}); err != nil {
		return err
	}
	return s.data.seal(account)
}

// checkCatalog refuses a catalog that is empty or belongs to another directory: its accounts and the vaults' bytes would
// not fit. It asks before any service brings its tables up to date, so that a wrong catalog is not changed.
func (s *Server) checkCatalog(ctx context.Context) error {
	ok, err := org.Holds(ctx, s.db, s.data.marker.Account)
	switch {
	case err != nil:
		return fmt.Errorf("the catalog cannot be read or is not one: restore the right one (%w)", err)
	case !ok:
		return fmt.Errorf("the catalog does not know account %s that %s belongs to: it is the catalog of another node; restore the right one", s.data.marker.Account, s.cfg.Data)
	}
	return nil
}

func (s *Server) openAgents(ctx context.Context) error {
	s.agents = agent.NewHub(agent.HubConfig{Clock: s.cfg.Clock, Log: s.cfg.Log})
	if s.cfg.rebuild != nil { // what the agents have declared stays as it is
		return nil
	}
	for _, path := range s.cfg.Agents {
		f, err := agent.ReadFile(path)
		if err != nil {
			return err
		}
		if err := s.checkRegion(f.Region); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := s.agents.Add(f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return s.declare(ctx)
}

func (s *Server) checkRegion(name string) error {
	var names []string
	for _, r := range s.cfg.Regions {
		if r.Name == name {
			return nil
		}
		names = append(names, r.Name)
	}
	return fmt.Errorf("region: %q is not served by this node (it serves %s)", name, strings.Join(names, ", "))
}

func (s *Server) openRunner(ctx context.Context) error {
	if err := s.loadAdopted(ctx); err != nil {
		return err
	}
	s.checker = &preflight.Checker{Backup: s.backup, IAM: s.iam, KMS: s.kms, Org: s.org, Authz: s.authz, Clock: s.cfg.Clock}
	s.runner = runner.New(runner.Config{
		Backup: s.backup, IAM: s.iam, KMS: s.kms, Authz: s.authz, Agents: s.agents, Preflight: s.checker, Clock: s.cfg.Clock, Time: s.trusted, Log: s.cfg.Log,
		PruneGrace: *s.cfg.PruneGrace, PruneApproved: s.cfg.PruneApproved,
		Vaults: &runner.Vaults{
			Store:     s.store,
			Maint:     s.maintenanceKey,
			Recipient: s.cfg.RecoveryRecipient, Registry: repo.NewRegistry(), Clock: s.cfg.Clock, Log: s.cfg.Log,
		},
	})
	return nil
}

// store is where a vault's bytes are: REGION-PATH/vaults/VAULT-ID.
func (s *Server) store(region, vaultID string) (blob.Store, error) {
	for _, r := range s.cfg.Regions {
		if r.Name == region {
			dir := filepath.Join(r.Path, "vaults", vaultID)
			if err := durable.MkdirAll(dir, 0o700); err != nil {
				return nil, err
			}
			return disk.Open(dir)
		}
	}
	return nil, s.checkRegion(region)
}

// services are what the node speaks; docs/compatibility.md lists their operations, and a test compares.
func (s *Server) services() []wire.Service {
	return []wire.Service{
		backupapi.Service(s.backup), orgapi.Service(s.org), kmsapi.Service(s.kms), iamapi.Service(s.iam), stsapi.Service(s.iam), nodeapi.Service(s.checker),
	}
}

func (s *Server) openWire() error {
	var regions []string
	for _, r := range s.cfg.Regions {
		regions = append(regions, r.Name)
	}
	var err error
	s.handler, err = wire.NewHandler(wire.Config{
		Services: s.services(),
		Regions:  regions, Clock: s.cfg.Clock, Authenticate: s.authenticate, Authorize: s.authorize, Audit: s.record, Log: s.cfg.Log,
	})
	return err
}
