package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"strongroom/internal/server"
	"strongroom/internal/standalone"
)

func newVaultRebuild() *cobra.Command {
	var flags server.Config
	var configFile, identity string
	var regions []string
	var opts server.RebuildOptions
	var o output
	c := &cobra.Command{
		Use:   "rebuild --data DIR",
		Short: "Make a node's catalog again from its vaults, or put right what it says of them (node stopped)",
		Long: `Read every vault below the regions of the node whose data directory DIR is, and bring its catalog in line with them: vaults and
recovery points that it does not know are entered, what it says wrongly is put right, and what it claims and no vault holds is
marked. Nothing is removed, and no recovery point ends earlier than before: of the catalog's date and the vault's the later
counts. It may be done again at any time.

A catalog that is missing is made anew; --new-catalog makes one anew though there is one, which is put aside. The node's KMS keys
were in the lost catalog, so then the secret half of the recovery recipient is needed (--recovery-key): each vault gets a new KMS
key. Users, roles, policies, organizations, plans, vaults' policies and jobs are only in the catalog: they come back only with a
copy of it. The accounts that own vaults get a root access key: the first in the file credentials, others in credentials-ACCOUNT.

Exit code 3: done, with problems named.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg := server.Config{}
			if configFile != "" {
				var err error
				if cfg, err = server.ReadConfig(configFile); err != nil {
					return usageError{err}
				}
			}
			override(&cfg.Data, flags.Data)
			override(&cfg.DatabaseFile, flags.DatabaseFile)
			override(&cfg.SealFile, flags.SealFile)
			for _, r := range regions {
				cfg.Regions = append(cfg.Regions, server.Region{Name: r})
			}
			if cfg.Data == "" {
				return usageError{errors.New("--data DIR is required")}
			}
			if identity != "" {
				s, err := standalone.IdentityFile(identity)
				if err != nil {
					return blame(err)
				}
				opts.Secret = &s
			}
			cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
			r, err := server.RebuildCatalog(cmd.Context(), cfg, opts)
			var wrong *server.ConfigError
			if errors.As(err, &wrong) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			err = o.show(cmd, r, func(w io.Writer) { printRebuilt(w, &r) })
			if err == nil && !r.Whole() {
				err = problemsError{errors.New("not everything could be brought in line; what is named stays as it was")}
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&flags.Data, "data", "", "data directory of the node, which must not be running")
	f.StringVar(&configFile, "config", "", "the node's configuration file; flags win over it")
	f.StringArrayVar(&regions, "region", nil, "region name of the node; may be given several times (default us-east-1)")
	f.StringVar(&flags.DatabaseFile, "database-file", "", "file that holds a postgres:// URL")
	f.StringVar(&flags.SealFile, "seal-file", "", "file that holds the key opening the root key (default DIR/keys/seal.key)")
	f.StringVar(&identity, "recovery-key", "", "age identity file of the recovery recipient")
	f.BoolVar(&opts.NewCatalog, "new-catalog", false, "put the catalog aside and begin with an empty one")
	o.flags(c)
	return c
}

func printRebuilt(w io.Writer, r *server.Rebuilt) {
	if r.NewCatalog {
		fmt.Fprintln(w, "a new catalog was made")
	}
	if r.Aside != "" {
		fmt.Fprintf(w, "the old one is %s\n", printed(r.Aside))
	}
	for _, a := range r.Accounts {
		fmt.Fprintf(w, "account %s was unknown: its root access key is in credentials-%s\n", a, a)
	}
	const most = 20
	for _, v := range r.Vaults {
		fmt.Fprintf(w, "%s: %d recovery points, %d entered, %d extended, %d missing", v.ARN, v.Points, v.Added, v.Extended, v.Missing)
		if v.Changed != "" {
			fmt.Fprintf(w, "; %s", printed(v.Changed))
		}
		fmt.Fprintln(w)
		for i, what := range v.Repaired {
			if i == most {
				fmt.Fprintf(w, "  and %d more\n", len(v.Repaired)-most)
				break
			}
			fmt.Fprintf(w, "  put right: %s\n", printed(what))
		}
		for _, p := range v.Problems {
			fmt.Fprintf(w, "  PROBLEM: %s\n", printed(p))
		}
	}
	points, added, extended, missing, repaired := r.Sum()
	fmt.Fprintf(w, "%d vaults, %d recovery points: %d entered, %d extended, %d put right, %d missing in storage\n", len(r.Vaults), points, added, extended, repaired, missing)
}
