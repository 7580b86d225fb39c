package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"

	"strongroom/internal/arn"
	"strongroom/internal/clock"
	"strongroom/internal/recovery"
)

// Config is everything a node can be told. The zero value of a field means its default. The yaml names are those of the
// configuration file (`strongroom serve --config`); flags win over the file.
type Config struct {
	// Data is the node's directory: catalog, keys, credentials and, unless a region says otherwise, the vaults' bytes.
	Data string `yaml:"data"`
	// Listen is host:port; port 0 picks one. Default 127.0.0.1:7400. Any address but loopback needs TLS.
	Listen string `yaml:"listen"`
	// AccountID is the first account's id on the first start on an empty directory; random unless given. Later starts
	// refuse another id than the one the directory has.
	AccountID string `yaml:"account_id"`
	// Regions are the names that requests may use and where their vaults' bytes are. Default: us-east-1.
	Regions []Region `yaml:"regions"`
	// Agents are agent files to run embedded.
	Agents []string `yaml:"agents"`
	// TLS, both or none.
	TLS TLS `yaml:"tls"`
	// Database is a file holding a postgres:// URL; default is SQLite in Data.
	DatabaseFile string `yaml:"database_file"`
	// SealFile holds the key that opens the root key. Default Data/keys/seal.key; put it on another medium to protect against
	// theft of the disk.
	SealFile string `yaml:"seal_file"`
	// RecoveryRecipient is an age recipient (age1...). Its holder can read every vault with the vault's directory and the
	// identity alone (strongroom rescue). Only the public key is known here.
	RecoveryRecipient string `yaml:"recovery_recipient"`
	// PruneGrace is how long what no recovery point needs stays in a vault's trash before its bytes are freed, by the
	// compliance clock. Default seven days; 0 frees at once.
	PruneGrace *time.Duration `yaml:"prune_grace"`
	// PruneApproved are digests of plans to free bytes that no deleted recovery point accounts for. A prune that needs one
	// fails and names it.
	PruneApproved []string `yaml:"prune_approved"`
	// Jobs is how many jobs of each kind run at once. Default 2.
	Jobs int `yaml:"jobs"`

	Log   *slog.Logger `yaml:"-"`
	Clock clock.Clock  `yaml:"-"`

	rebuild *rebuilding // set by RebuildCatalog
}

// Region is a name that the node answers to, bound to one storage location.
type Region struct {
	Name string `yaml:"name"`
	// Path holds the vaults' bytes; default Data/regions/NAME.
	Path string `yaml:"path"`
	// ColdMinimumDays is the shortest stay in this region's cold storage; it switches on AWS's rule about DeleteAfterDays.
	ColdMinimumDays int `yaml:"cold.minimum_days"`
}

// TLS names the certificate and key files, PEM.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// ReadConfig reads a configuration file. Unknown keys are refused.
func ReadConfig(path string) (Config, error) {
	var c Config
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return c, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxConfig { // reading half of it would start a node that serves half of what it should
		return c, fmt.Errorf("%s: larger than %d bytes", path, maxConfig)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := d.Decode(&Config{}); !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s: only one document is allowed in a file", path)
	}
	return c, nil
}

const maxConfig = 1 << 20

// ConfigError is a configuration that Open cannot use. Nothing has been touched.
type ConfigError struct{ error }

func (e *ConfigError) Unwrap() error { return e.error }

var regionName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}[a-z0-9]$`)

// complete fills in defaults and returns every fault of the configuration at once.
func (c *Config) complete() error {
	var errs []error
	if c.Data == "" {
		errs = append(errs, errors.New("data: a directory is required (--data DIR)"))
	} else if abs, err := filepath.Abs(c.Data); err != nil {
		errs = append(errs, fmt.Errorf("data: %w", err))
	} else {
		c.Data = abs
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:7400"
	}
	if c.AccountID != "" && !arn.ValidAccount(c.AccountID) {
		errs = append(errs, fmt.Errorf("account_id: %q is not 12 digits", c.AccountID))
	}
	if len(c.Regions) == 0 {
		c.Regions = []Region{{Name: "us-east-1"}}
	}
	seen := map[string]bool{}
	for i := range c.Regions {
		r := &c.Regions[i]
		if !regionName.MatchString(r.Name) {
			errs = append(errs, fmt.Errorf("regions: %q is not a region name (lower-case letters, digits, dashes)", r.Name))
		}
		if seen[r.Name] {
			errs = append(errs, fmt.Errorf("regions: %s is given twice", r.Name))
		}
		seen[r.Name] = true
		if r.Path == "" {
			r.Path = filepath.Join(c.Data, "regions", r.Name)
		}
		if r.ColdMinimumDays < 0 {
			errs = append(errs, fmt.Errorf("regions: %s: cold.minimum_days is negative", r.Name))
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	if err := c.checkListen(); err != nil {
		errs = append(errs, err)
	}
	if c.SealFile == "" {
		c.SealFile = filepath.Join(c.Data, "keys", "seal.key")
	}
	if c.RecoveryRecipient != "" {
		if err := recovery.CheckRecipient(c.RecoveryRecipient); err != nil {
			errs = append(errs, fmt.Errorf("recovery_recipient: %w", err))
		}
	}
	if c.PruneGrace == nil {
		week := 7 * 24 * time.Hour
		c.PruneGrace = &week
	}
	if *c.PruneGrace < 0 {
		errs = append(errs, fmt.Errorf("prune_grace: %s is negative", *c.PruneGrace))
	}
	if c.Jobs == 0 {
		c.Jobs = 2
	}
	if c.Jobs < 1 || c.Jobs > 64 {
		errs = append(errs, fmt.Errorf("jobs: %d is not between 1 and 64", c.Jobs))
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	return errors.Join(errs...)
}

// checkListen refuses plain HTTP on anything but loopback: credentials are signatures, but data and answers would be
// readable and alterable on the way.
func (c *Config) checkListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if c.TLS.Cert != "" {
		return nil
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listen: %s is not a loopback address: plain HTTP is refused there; give --tls-cert and --tls-key", c.Listen)
}
