package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"strongroom/internal/server"
)

func newServe() *cobra.Command {
	var flags server.Config
	var configFile, level string
	var regions []string
	c := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Run a node",
		Long: `Run a node.

The first start on an empty directory makes the first account (a random id unless --account-id is given) and writes its
root access key to DIR/credentials (mode 0600, AWS shared-credentials format). When the node accepts requests it writes
its URL to DIR/endpoint and prints one line with it. SIGTERM and SIGINT drain running requests and end with exit code 0.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg := server.Config{}
			if configFile != "" {
				var err error
				if cfg, err = server.ReadConfig(configFile); err != nil {
					return usageError{err}
				}
			}
			override(&cfg.Data, flags.Data)
			override(&cfg.Listen, flags.Listen)
			override(&cfg.AccountID, flags.AccountID)
			override(&cfg.TLS.Cert, flags.TLS.Cert)
			override(&cfg.TLS.Key, flags.TLS.Key)
			override(&cfg.DatabaseFile, flags.DatabaseFile)
			override(&cfg.SealFile, flags.SealFile)
			override(&cfg.RecoveryRecipient, flags.RecoveryRecipient)
			cfg.Agents = append(cfg.Agents, flags.Agents...)
			for _, r := range regions {
				cfg.Regions = append(cfg.Regions, server.Region{Name: r})
			}
			var lv slog.Level
			if err := lv.UnmarshalText([]byte(level)); err != nil {
				return usageError{fmt.Errorf("--log-level: %w", err)}
			}
			cfg.Log = slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: lv}))
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(softMemory)
			}
			s, err := server.Open(cmd.Context(), cfg)
			var wrong *server.ConfigError
			if errors.As(err, &wrong) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			defer s.Close()
			return s.Run(cmd.Context(), func(url string) {
				fmt.Fprintf(cmd.OutOrStdout(), "strongroom %s serves account %s at %s\n", version(), s.FirstAccount(), url)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&flags.Data, "data", "", "data directory")
	f.StringVar(&flags.Listen, "listen", "", "address to listen on; port 0 picks one (default 127.0.0.1:7400)")
	f.StringVar(&flags.AccountID, "account-id", "", "12-digit id of the first account, on the first start")
	f.StringArrayVar(&flags.Agents, "agent", nil, "agent file to run embedded; may be given several times")
	f.StringArrayVar(&regions, "region", nil, "region name to serve; may be given several times (default us-east-1)")
	f.StringVar(&flags.TLS.Cert, "tls-cert", "", "certificate file, PEM; needed for any address but loopback")
	f.StringVar(&flags.TLS.Key, "tls-key", "", "private key file, PEM")
	f.StringVar(&flags.DatabaseFile, "database-file", "", "file that holds a postgres:// URL; default is SQLite in the data directory")
	f.StringVar(&flags.SealFile, "seal-file", "", "file that holds the key opening the root key (default DIR/keys/seal.key)")
	f.StringVar(&flags.RecoveryRecipient, "recovery-recipient", "", "age public key (age1...) that every vault's keys are wrapped for too; see strongroom rescue")
	f.StringVar(&configFile, "config", "", "configuration file, YAML; flags win over it")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return c
}

// softMemory makes the garbage collector work harder before the process grows beyond it: a node shares its host with what it
// protects. GOMEMLIMIT sets another limit.
const softMemory = 192 << 20

func override(dst *string, flag string) {
	if flag != "" {
		*dst = flag
	}
}
