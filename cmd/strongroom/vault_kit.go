package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"strongroom/internal/clock"
	"strongroom/internal/durable"
	"strongroom/internal/progress"
	"strongroom/internal/recovery"
	"strongroom/internal/standalone"
)

// printKits says which ways into the vault there are, and whether they have been tried.
func printKits(w io.Writer, kits []recovery.KitState) {
	if len(kits) == 0 {
		fmt.Fprintln(w, "recovery kit: NONE: only the node that made the vault, with the vault's KMS key, can read it")
	}
	for _, k := range kits {
		fmt.Fprintf(w, "recovery kit: %s\n", k)
	}
}

// kitText is one line of vault kit --json.
type kitText struct {
	Vault       string `json:"vault"`
	Kind        string `json:"kind"`
	Key         string `json:"key"`
	Fingerprint string `json:"fingerprint"`
	Text        string `json:"text"`
}

func newVaultKit() *cobra.Command {
	var o output
	var out string
	c := &cobra.Command{Use: "kit DIR", Short: "Print the recovery kit of a vault, of this machine's or of a node's", Args: takes(1, 1),
		Long: `Print what opens the vault together with a passphrase or with the secret half of a recovery recipient: instructions, and the
vault's keys, wrapped. It is no secret by itself. Keep it on paper or on another medium, apart from what opens it.

The kit counts as tested when strongroom vault kit verify has restored something with it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, kits, err := standalone.Kits(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if len(kits) == 0 {
				return fmt.Errorf("vault %s has no recovery kit: only the node that made it, with the vault's KMS key, can read it. Give the node a recovery_recipient; the vault gets its kit with the next backup", about.Vault)
			}
			text := ""
			for _, k := range kits {
				t, err := k.Text()
				if err != nil {
					return err
				}
				text += t + "\n"
				if out == "" || o.json {
					line := kitText{k.Vault, k.Envelope.Kind, k.Envelope.KeyID, recovery.Fingerprint(k.Envelope), t}
					if err := o.show(cmd, line, func(w io.Writer) { fmt.Fprintln(w, t) }); err != nil {
						return err
					}
				}
			}
			if out == "" {
				return nil
			}
			if _, err := os.Lstat(out); err == nil {
				return usageError{fmt.Errorf("%s exists: name a new file", out)}
			}
			return durable.WriteFile(out, []byte(text), 0o600)
		}}
	o.flags(c)
	c.Flags().StringVar(&out, "out", "", "write to a new file")
	c.AddCommand(newVaultKitVerify())
	return c
}

func newVaultKitVerify() *cobra.Command {
	var k rescueKey
	var o output
	c := &cobra.Command{Use: "verify DIR", Short: "Prove that the recovery kit works: restore something with it, and record that", Args: takes(1, 1),
		Long: `Open the vault in DIR with the recovery key or the passphrase alone, and with the envelope of a printed kit if --kit names one;
restore a file of its smallest recovery point into a temporary directory, and record in the vault that its kit was tested.
A vault without recovery points gets one for the purpose, which is removed again. The secret half of a recipient should
not come to the node's machine: take a copy of the vault's directory to where the key is, or accept that this once.

Exit code 3: the kit works, but that could not be recorded.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := k.secret()
			if err != nil {
				return blame(err)
			}
			in := standalone.Config{Dir: args[0], Secret: s, Clock: clock.System{}}
			if err := k.opening(&in); err != nil {
				return blame(err)
			}
			r, err := standalone.TestKit(cmd.Context(), in)
			if err != nil {
				return blame(err)
			}
			err = o.show(cmd, r, func(w io.Writer) {
				what := "its directories"
				if r.Path != "" {
					what = printed(r.Path) + ", " + progress.Bytes(r.Bytes)
				}
				fmt.Fprintf(w, "the recovery kit %s of vault %s works: %s of recovery point %s restored\n", r.Kit, r.Vault, what, r.Point)
			})
			if err == nil && r.Unrecorded != "" {
				err = problemsError{errors.New("the test could not be recorded in the vault: " + r.Unrecorded)}
			}
			return err
		}}
	k.flags(c)
	o.flags(c)
	return c
}
