package main

import (
	"github.com/spf13/cobra"

	"strongroom/internal/demo"
)

func newDemo() *cobra.Command {
	var cfg demo.Config
	c := &cobra.Command{
		Use:   "demo",
		Short: "Tell the whole story on real files: backup, cross-account copy, attack, restore",
		Long: `Tell the whole story on real files in a scratch directory: an organization with a production and a backup account, a
scheduled backup and its copy under the backup account's key, production taken over and wiped, and a restore from the
copy, compared bit for bit. Exit code 0 means that the restored files are identical.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Out = cmd.OutOrStdout()
			return demo.Run(cmd.Context(), cfg)
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.Source, "source", "", "directory of your own files to use; it is only read (default: some files of this machine)")
	f.StringVar(&cfg.Scratch, "scratch", "", "empty directory to work in (default: a temporary one, removed afterwards)")
	f.BoolVar(&cfg.Keep, "keep", false, "leave the node running afterwards, with its endpoint and credentials printed")
	f.BoolVar(&cfg.JSON, "json", false, "print one JSON object per step")
	return c
}
