package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"strongroom/internal/fault"
	"strongroom/internal/recovery"
	"strongroom/internal/standalone"
)

func newRescue() *cobra.Command {
	c := &cobra.Command{
		Use:   "rescue",
		Short: "Read a vault when its node is gone: its directory and a recovery key are enough",
		Long: `List, verify and restore what a vault's directory holds, without the node, its catalog or its keys. A node's vault
(DATA/regions/NAME/vaults/ID) opens with the age identity of the recipient that the node was given with
--recovery-recipient; a vault made by strongroom vault opens with its passphrase. Nothing in the directory is changed, and it
may be on a read-only medium.

What is damaged is done without as far as possible, and named: without the vault's index it is made anew from the packs in a
directory for temporary files (TMPDIR), without its journal forgotten recovery points may be listed, and without its keys/ a
printed recovery kit (--kit) takes their place.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	c.AddCommand(newRescueList(), newVerify(&rescueKey{salvage: true}), newRestore(&rescueKey{salvage: true}))
	return c
}

// rescueKey is --recovery-key or --passphrase-file, and --kit.
type rescueKey struct {
	passphrase, identity string
	kit                  string
	// salvage makes do with a damaged vault.
	salvage, reindex bool
}

func (k *rescueKey) flags(c *cobra.Command) {
	c.Flags().StringVar(&k.identity, "recovery-key", "", "age identity file of a recovery recipient")
	c.Flags().StringVar(&k.passphrase, "passphrase-file", "", "file with the passphrase of a vault that was made without a node")
	c.Flags().StringVar(&k.kit, "kit", "", "recovery kit to use instead of the keys in the vault's directory")
	if k.salvage {
		c.Flags().BoolVar(&k.reindex, "reindex", false, "do without the vault's index: make it anew from the packs")
	}
}

// opening fills in how the vault is opened.
func (k *rescueKey) opening(c *standalone.Config) (err error) {
	c.Rescue, c.Reindex = k.salvage, k.reindex
	if k.kit != "" {
		c.Kits, err = standalone.KitFile(k.kit)
	}
	return err
}

func (k *rescueKey) secret() (recovery.Secret, error) {
	switch {
	case (k.identity == "") == (k.passphrase == ""):
		return recovery.Secret{}, usageError{errors.New("one of --recovery-key FILE and --passphrase-file FILE is required")}
	case k.identity != "":
		return standalone.IdentityFile(k.identity)
	}
	return standalone.PassphraseFile(k.passphrase)
}

// rescued is one line of rescue list --json.
type rescued struct {
	standalone.Listing
	Error string `json:"error,omitempty"` // why the vault could not be opened; the rest is then what its directory says
}

func newRescueList() *cobra.Command {
	k := rescueKey{salvage: true}
	var o output
	c := &cobra.Command{Use: "list DIR", Short: "List what can be rescued from a vault, or from all vaults of a node", Args: takes(1, 1),
		Long: `List the recovery points of the vault in DIR, or of every vault of the node whose data directory DIR is. Vaults that the key
does not open are named. With --json, one object per vault and line. Exit code 3: some vaults could not be read.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := k.secret(); err != nil {
				return blame(err)
			}
			dirs, err := standalone.Find(args[0])
			if err != nil {
				return err
			}
			read, failed, broken := 0, 0, 0
			for _, dir := range dirs {
				l, err := listVault(cmd, dir, &k)
				if cmd.Context().Err() != nil {
					return cmd.Context().Err()
				}
				r := rescued{Listing: l}
				if err != nil {
					failed++
					r.Error = err.Error()
					if about, lookErr := standalone.Look(cmd.Context(), dir); lookErr == nil {
						r.About = about
					}
					r.Dir = dir
				} else {
					read++
				}
				broken += len(l.Damaged)
				if err := o.show(cmd, r, func(w io.Writer) { printRescued(w, r, fault.Is(err, fault.NotFound)) }); err != nil {
					return err
				}
			}
			switch {
			case read == 0:
				return fmt.Errorf("none of the %d vaults could be opened", failed)
			case failed > 0:
				return problemsError{fmt.Errorf("%d of %d vaults could not be opened", failed, len(dirs))}
			}
			return damaged(broken)
		}}
	k.flags(c)
	o.flags(c)
	return c
}

func listVault(cmd *cobra.Command, dir string, k key) (standalone.Listing, error) {
	v, err := openVault(cmd, dir, k, false)
	if err != nil {
		return standalone.Listing{}, err
	}
	defer v.Close()
	return v.List(cmd.Context())
}

func printRescued(w io.Writer, r rescued, noKey bool) {
	fmt.Fprintf(w, "%s\n", printed(r.Dir))
	if r.ARN != "" {
		fmt.Fprintf(w, "  %s\n", printed(r.ARN))
	}
	if r.Error == "" {
		var text strings.Builder
		printListing(&text, r.Listing)
		fmt.Fprint(w, "  "+strings.ReplaceAll(strings.TrimSuffix(text.String(), "\n"), "\n", "\n  ")+"\n")
		return
	}
	fmt.Fprintf(w, "  NOT OPENED: %s\n", printed(r.Error))
	if noKey && len(r.Recipients) == 0 && !r.Passphrase {
		fmt.Fprintln(w, "  It was made without --recovery-recipient: only its node, with the vault's KMS key, can read it.")
	}
}
