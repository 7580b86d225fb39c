package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/progress"
	"strongroom/internal/recovery"
	"strongroom/internal/standalone"
)

func newVault() *cobra.Command {
	c := &cobra.Command{
		Use:   "vault",
		Short: "A vault of this machine alone: a directory and a passphrase, no server",
		Long: `Back up directories of this machine into a vault that is a directory, and restore from it. There is no server, no
database and no account: whoever has the directory and the passphrase may do everything.

The passphrase is the one line of a file. Who loses it loses the vault.

Exit code 3 means done, with problems named.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	c.AddCommand(newVaultInit(), newVaultKit(), newVaultBackup(), newVaultList(), newVaultCopy(), newVaultForget(), newVaultUnforget(), newVaultPrune(),
		newRestore(new(passphraseFlag)), newVerify(new(passphraseFlag)))
	c.AddCommand(newVaultRebuild()) // of a node
	return c
}

// key is how a command is told what opens the vault.
type key interface {
	flags(*cobra.Command)
	secret() (recovery.Secret, error)
}

// passphraseFlag is --passphrase-file.
type passphraseFlag struct{ file string }

func (k *passphraseFlag) flags(c *cobra.Command) {
	c.Flags().StringVar(&k.file, "passphrase-file", "", "file with the vault's passphrase")
}

func (k *passphraseFlag) secret() (recovery.Secret, error) {
	if k.file == "" {
		return recovery.Secret{}, usageError{errors.New("--passphrase-file FILE is required")}
	}
	return standalone.PassphraseFile(k.file)
}

// openVault opens the vault in dir.
func openVault(cmd *cobra.Command, dir string, k key, write bool) (*standalone.Vault, error) {
	s, err := k.secret()
	if err != nil {
		return nil, blame(err)
	}
	c := standalone.Config{Dir: dir, Secret: s, Clock: clock.System{}, Write: write}
	if r, ok := k.(*rescueKey); ok {
		if err := r.opening(&c); err != nil {
			return nil, blame(err)
		}
	}
	v, err := standalone.Open(cmd.Context(), c)
	if err == nil {
		for _, caveat := range v.Caveats() {
			fmt.Fprintf(cmd.ErrOrStderr(), "not checked: %s\n", printed(caveat))
		}
	}
	return v, blame(err)
}

// blame makes a wrong command line of what only a wrong command line can cause.
func blame(err error) error {
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Missing) {
		return usageError{err}
	}
	return err
}

// takes wants a number of arguments.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usageError{fmt.Errorf("usage: %s", cmd.UseLine())}
		}
		return nil
	}
}

// output is where a command's result goes: text, or JSON on one line.
type output struct{ json bool }

func (o *output) flags(c *cobra.Command) {
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
}

func (o *output) show(cmd *cobra.Command, v any, text func(io.Writer)) error {
	if o.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
	}
	text(cmd.OutOrStdout())
	return nil
}

// bar shows progress on standard error, unless a program reads. done removes it.
func (o *output) bar(label string) (update func(done, total int64), done func()) {
	if o.json {
		return nil, func() {}
	}
	b := progress.New(os.Stderr, clock.System{}, label)
	return b.Update, func() { b.Done() }
}

// printed makes a path or a message safe to print: it may hold anything.
func printed(s string) string {
	q := fmt.Sprintf("%q", s)
	if q == `"`+s+`"` {
		return s
	}
	return q
}

// printProblems prints the first few problems, and how many there are.
func printProblems(w io.Writer, what string, ps []standalone.Problem, count int64) {
	const most = 20
	for i, p := range ps {
		if i == most {
			break
		}
		at := printed(p.Path)
		if p.Path == "" {
			at = "everything"
		}
		fmt.Fprintf(w, "  %s: %s: %s\n", what, at, printed(p.Reason))
	}
	if count > int64(min(len(ps), most)) {
		fmt.Fprintf(w, "  and %d more\n", count-int64(min(len(ps), most)))
	}
}

func printFindings(w io.Writer, fs []standalone.Finding) {
	for _, f := range fs {
		what := f.Object
		switch {
		case f.Lost > 0 && f.Until != "":
			what = fmt.Sprintf("%d entries from %q up to %q", f.Lost, f.Path, f.Until)
		case f.Lost > 0:
			what = fmt.Sprintf("%d entries from %q on", f.Lost, f.Path)
		case f.Path != "":
			what = f.Path
		}
		fmt.Fprintf(w, "  damaged: %s", printed(what))
		if f.Point != "" && !strings.Contains(what, f.Point) {
			fmt.Fprintf(w, " (recovery point %s)", f.Point)
		}
		fmt.Fprintf(w, ": %s\n", printed(f.Reason))
	}
}

func newVaultInit() *cobra.Command {
	var k passphraseFlag
	var recipient string
	var o output
	c := &cobra.Command{Use: "init DIR --passphrase-file FILE", Short: "Make a vault", Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if k.file == "" {
				return usageError{errors.New("--passphrase-file FILE is required")}
			}
			p, err := standalone.Passphrase(k.file)
			if err != nil {
				return blame(err)
			}
			r, err := standalone.Init(cmd.Context(), standalone.InitConfig{Dir: args[0], Passphrase: p, Recipient: recipient, Clock: clock.System{}})
			if err != nil {
				return blame(err)
			}
			return o.show(cmd, r, func(w io.Writer) {
				also := "only the passphrase opens it"
				if recipient != "" {
					also = "the passphrase opens it, and the recovery key of " + recipient
				}
				fmt.Fprintf(w, "vault %s made in %s; %s\n", r.Vault, printed(r.Dir), also)
				printKits(w, r.Kits)
				fmt.Fprintln(w, "print the recovery kit and keep it elsewhere: strongroom vault kit", printed(args[0]))
			})
		}}
	k.flags(c)
	c.Flags().StringVar(&recipient, "recovery-recipient", "", "age public key (age1...) whose identity opens the vault too, with strongroom rescue")
	o.flags(c)
	return c
}

func newVaultList() *cobra.Command {
	var k passphraseFlag
	var o output
	c := &cobra.Command{Use: "list DIR --passphrase-file FILE", Short: "List the recovery points", Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, args[0], &k, false)
			if err != nil {
				return err
			}
			defer v.Close()
			l, err := v.List(cmd.Context())
			if err != nil {
				return err
			}
			if err := o.show(cmd, l, func(w io.Writer) { printListing(w, l) }); err != nil {
				return err
			}
			return damaged(len(l.Damaged))
		}}
	k.flags(c)
	o.flags(c)
	return c
}

// damaged is the result of a command that did what it could.
func damaged(n int) error {
	if n == 0 {
		return nil
	}
	return problemsError{fmt.Errorf("%d recovery points are damaged", n)}
}

func printListing(w io.Writer, l standalone.Listing) {
	keys := slices.Clone(l.Recipients)
	if len(keys) == 0 {
		keys = []string{"none"}
	}
	fmt.Fprintf(w, "vault %s %s, recovery key: %s\n", l.Vault, printed(l.Name), strings.Join(keys, ", "))
	printKits(w, l.Kits)
	for _, p := range l.Points {
		fmt.Fprintf(w, "%s  %s  %8d files  %10s  ", p.ID, p.Created.Format("2006-01-02 15:04:05Z"), p.Files, progress.Bytes(p.Bytes))
		if p.ARN != "" {
			fmt.Fprintf(w, "%s of %s", p.ARN, p.ResourceARN)
		} else {
			fmt.Fprintf(w, "%s:%s", printed(p.Host), printed(strings.Join(p.Paths, " ")))
		}
		if p.ProblemCount > 0 {
			fmt.Fprintf(w, "  PARTIAL: %d problems", p.ProblemCount)
		}
		if p.Locked {
			fmt.Fprint(w, "  locked")
		}
		fmt.Fprintln(w)
	}
	printFindings(w, l.Damaged)
	if len(l.Points) == 0 && len(l.Damaged) == 0 {
		fmt.Fprintln(w, "no recovery points")
	}
}

func newVaultForget() *cobra.Command {
	var k passphraseFlag
	var o output
	c := &cobra.Command{Use: "forget DIR ID --passphrase-file FILE", Short: "Drop a recovery point; prune frees its space", Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, args[0], &k, true)
			if err != nil {
				return err
			}
			defer v.Close()
			if err := v.Forget(cmd.Context(), args[1]); err != nil {
				return blame(err)
			}
			return o.show(cmd, map[string]string{"vault": v.ID(), "forgotten": args[1]}, func(w io.Writer) {
				fmt.Fprintf(w, "%s is forgotten; strongroom vault prune frees its space\n", args[1])
			})
		}}
	k.flags(c)
	o.flags(c)
	return c
}

func newVaultUnforget() *cobra.Command {
	var k passphraseFlag
	var o output
	c := &cobra.Command{Use: "unforget DIR ID --passphrase-file FILE", Short: "Bring back a recovery point that was forgotten and not freed yet", Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, args[0], &k, true)
			if err != nil {
				return err
			}
			defer v.Close()
			if err := v.Unforget(cmd.Context(), args[1]); err != nil {
				return err
			}
			return o.show(cmd, map[string]string{"vault": v.ID(), "recovery_point": args[1]}, func(w io.Writer) {
				fmt.Fprintf(w, "%s is there again\n", args[1])
			})
		}}
	k.flags(c)
	o.flags(c)
	return c
}

func newVaultPrune() *cobra.Command {
	var k passphraseFlag
	var o output
	var p standalone.PruneOptions
	c := &cobra.Command{Use: "prune DIR --passphrase-file FILE", Short: "Free the space that no recovery point needs", Args: takes(1, 1),
		Long: "Free the space that no recovery point needs. It goes to the trash first, and is freed by the first prune after --grace.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.Grace < 0 {
				return usageError{fmt.Errorf("--grace %s is negative", p.Grace)}
			}
			v, err := openVault(cmd, args[0], &k, !p.DryRun)
			if err != nil {
				return err
			}
			defer v.Close()
			r, err := v.Prune(cmd.Context(), p)
			if err != nil {
				return err
			}
			return o.show(cmd, r, func(w io.Writer) { showPruned(w, &r) })
		}}
	k.flags(c)
	o.flags(c)
	c.Flags().BoolVar(&p.DryRun, "dry-run", false, "say what would be freed; change nothing")
	c.Flags().DurationVar(&p.Grace, "grace", 7*24*time.Hour, "how long what nobody needs stays in the trash; 0 frees at once, the trash too")
	c.Flags().StringVar(&p.Approved, "approve", "", "the digest that a dry run printed, when more would go than may go unasked")
	return c
}

func showPruned(w io.Writer, r *standalone.Pruned) {
	did, wait := "freed", "are in the trash"
	if r.DryRun {
		did, wait = "would free", "would be in the trash"
	}
	fmt.Fprintf(w, "%s %s of %s", did, progress.Bytes(r.FreedBytes), progress.Bytes(r.StoredBytes))
	if r.TrashedBytes > 0 {
		fmt.Fprintf(w, "; %s %s", progress.Bytes(r.TrashedBytes), wait)
	}
	if r.RepackedPacks > 0 {
		fmt.Fprintf(w, "; %d packs were rewritten with %s", r.RepackedPacks, progress.Bytes(r.RepackedBytes))
	}
	fmt.Fprintln(w)
	if r.DryRun && r.UnaccountedBytes > 0 {
		fmt.Fprintf(w, "no forgotten recovery point accounts for %s:\n", progress.Bytes(r.UnaccountedBytes))
		for _, k := range r.Plan {
			if k.Unaccounted {
				fmt.Fprintf(w, "  %s %s\n", k.Object, progress.Bytes(k.Bytes))
			}
		}
		if r.NeedsApproval() {
			fmt.Fprintf(w, "that is more than may go unasked; if it is right: --approve %s\n", r.Digest)
		}
	}
}
