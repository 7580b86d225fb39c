package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"strongroom/internal/progress"
	"strongroom/internal/standalone"
)

// The verbs of a vault that move data. restore and verify serve vaults and rescue alike.

func newVaultBackup() *cobra.Command {
	var k passphraseFlag
	var o output
	var in standalone.BackupOptions
	c := &cobra.Command{Use: "backup DIR PATH... --passphrase-file FILE", Short: "Back up directories", Args: takes(2, -1),
		Long: `Back up one or several directories as one recovery point, in which each stands at the top under its own name: /srv/app
and /etc become app and etc ("/" becomes root). Files that have not changed since the newest recovery point of the same
directories of this host are not read again.

Disk images and database files are rewritten in place, a few kilobytes here and there. --fixed-blocks names them, so that
only what has changed in them is stored: '*.img', or 'pgdata/base/**=8K' for blocks of another size. Patterns are those of
restore's --include, for paths inside each directory. A file whose rule changes is stored anew once.

Exit code 3: the recovery point was made, but what is named was not read faithfully.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, args[0], &k, true)
			if err != nil {
				return err
			}
			defer v.Close()
			frugal()
			in.Paths = args[1:]
			var done func()
			in.Progress, done = o.bar("backup")
			r, err := v.Backup(cmd.Context(), in)
			done()
			if err != nil {
				return blame(err)
			}
			err = o.show(cmd, r, func(w io.Writer) {
				fmt.Fprintf(w, "%s  %d files, %s; read %s, new %s, stored %s\n", r.ID, r.Files, progress.Bytes(r.Bytes), progress.Bytes(r.ReadBytes), progress.Bytes(r.NewBytes), progress.Bytes(r.StoredBytes))
				printProblems(w, "not read faithfully", r.Problems, r.ProblemCount)
			})
			if err == nil && r.ProblemCount > 0 {
				err = problemsError{fmt.Errorf("recovery point %s is PARTIAL: %d objects were not read faithfully", r.ID, r.ProblemCount)}
			}
			return err
		}}
	k.flags(c)
	o.flags(c)
	c.Flags().StringVar(&in.Host, "host", "", "name of the machine in the recovery point (default: this one's)")
	c.Flags().StringArrayVar(&in.FixedBlocks, "fixed-blocks", nil, "PATTERN or PATTERN=SIZE of disk images and database files, which change in blocks (SIZE 4K to 1M, default 16K); may be given several times")
	c.Flags().BoolVar(&in.CrossMounts, "cross-mounts", false, "go into other file systems mounted inside")
	return c
}

func newVaultCopy() *cobra.Command {
	var k, to passphraseFlag
	var o output
	c := &cobra.Command{Use: "copy DIR OTHER_DIR ID --passphrase-file FILE --to-passphrase-file FILE", Short: "Copy a recovery point into another vault, under that vault's keys", Args: takes(3, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to.file == "" {
				return usageError{errors.New("--to-passphrase-file FILE is required")}
			}
			if standalone.SameDirectory(args[0], args[1]) {
				return usageError{fmt.Errorf("%s and %s are the same vault", args[0], args[1])}
			}
			from, err := openVault(cmd, args[0], &k, false)
			if err != nil {
				return err
			}
			defer from.Close()
			dest, err := openVault(cmd, args[1], &to, true)
			if err != nil {
				return fmt.Errorf("%s: %w", args[1], err)
			}
			defer dest.Close()
			frugal()
			update, done := o.bar("copy")
			r, err := standalone.Copy(cmd.Context(), from, dest, args[2], update)
			done()
			if err != nil {
				return blame(err)
			}
			err = o.show(cmd, r, func(w io.Writer) {
				fmt.Fprintf(w, "%s copied into vault %s: %d files, %s; new %s, stored %s\n", r.ID, r.Vault, r.Files, progress.Bytes(r.Bytes), progress.Bytes(r.NewBytes), progress.Bytes(r.StoredBytes))
			})
			if err == nil && r.ProblemCount > 0 {
				err = problemsError{fmt.Errorf("recovery point %s is PARTIAL, and so is its copy: %d objects were not read faithfully when it was made", r.ID, r.ProblemCount)}
			}
			return err
		}}
	k.flags(c)
	c.Flags().StringVar(&to.file, "to-passphrase-file", "", "file with the passphrase of the vault in OTHER_DIR")
	o.flags(c)
	return c
}

func newRestore(k key) *cobra.Command {
	var o output
	var in standalone.RestoreOptions
	c := &cobra.Command{Use: "restore DIR ID --to TARGET", Short: "Restore a recovery point or a part of it into a new directory", Args: takes(2, 2),
		Long: `Restore a recovery point into the directory TARGET, which must not exist or be empty. It appears when it is complete.

--include takes patterns: *, ? and [...] stand for anything but a slash. A pattern without a slash matches names at any
depth ('*.conf'), one with a slash whole paths from the top ('app/etc', '/app', 'app/**/cache'), ** being any number of
directories. What matches is restored with everything below it.

As root, owners are restored too. Exit code 3: restored, except for what is named.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if in.To == "" {
				return usageError{errors.New("--to TARGET is required")}
			}
			v, err := openVault(cmd, args[0], k, false)
			if err != nil {
				return err
			}
			defer v.Close()
			frugal()
			in.ID = args[1]
			var done func()
			in.Progress, done = o.bar("restore")
			r, err := v.Restore(cmd.Context(), in)
			done()
			if err != nil {
				return blame(err)
			}
			err = o.show(cmd, r, func(w io.Writer) {
				fmt.Fprintf(w, "%s restored to %s: %d objects, %s\n", r.ID, printed(r.To), r.Entries, progress.Bytes(r.Bytes))
				printProblems(w, "not restored as it was", r.Refused, r.RefusedCount)
				what := "not read faithfully when the recovery point was made"
				if r.DamagedCount > 0 {
					what = fmt.Sprintf("left out because of damage (%d), or not read faithfully when the recovery point was made (%d)", r.DamagedCount, r.IncompleteCount-r.DamagedCount)
				}
				printProblems(w, what, r.Incomplete, r.IncompleteCount)
			})
			if err == nil && !r.Whole() {
				err = problemsError{fmt.Errorf("restored with problems: %d refused, %d incomplete in the recovery point", r.RefusedCount, r.IncompleteCount)}
			}
			return err
		}}
	k.flags(c)
	o.flags(c)
	f := c.Flags()
	f.StringVar(&in.To, "to", "", "directory to make")
	f.StringArrayVar(&in.Include, "include", nil, "pattern of what to restore; may be given several times (default: everything)")
	f.BoolVar(&in.SetID, "setuid", false, "restore set-user-id and set-group-id files and privileged attributes (root)")
	f.BoolVar(&in.Devices, "devices", false, "restore device nodes (root)")
	return c
}

// printCoverage says how far passes that read everything have come.
func printCoverage(w io.Writer, c standalone.Coverage) {
	if c.ReadPacks == 0 {
		return
	}
	fmt.Fprintf(w, "read so far: %d of %d packs, %s of %s, the first %s, the last %s\n", c.ReadPacks, c.Packs,
		progress.Bytes(c.ReadBytes), progress.Bytes(c.Bytes), c.Oldest.Format(time.RFC3339), c.Newest.Format(time.RFC3339))
}

func newVerify(k key) *cobra.Command {
	var o output
	var keep bool
	var in standalone.VerifyOptions
	c := &cobra.Command{Use: "verify DIR [ID]", Short: "Look for damage in the vault or in one recovery point", Args: takes(1, 2),
		Long: `Look for damage: that everything the recovery points need is there, or, with --read-data, that every byte of it is intact.
Nothing is changed, unless --keep says so. Exit code 3 means that damage was found, and is named.

With --keep, the vault keeps when each of its packs was read, so that with --max-age a pass that was cut off goes on where it
was, and what is damaged, so that the next backup that has the content brings it back. Nobody else may use the vault meanwhile.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !in.ReadData && (keep || in.MaxAge > 0 || in.Rate > 0) {
				return usageError{errors.New("--keep, --max-age and --rate take --read-data")}
			}
			if len(args) > 1 && (in.MaxAge > 0 || in.Rate > 0) {
				return usageError{errors.New("--max-age and --rate are for the whole vault, not for one recovery point")}
			}
			v, err := openVault(cmd, args[0], k, keep)
			if err != nil {
				return err
			}
			defer v.Close()
			if len(args) > 1 {
				in.ID = args[1]
			}
			var done func()
			in.Progress, done = o.bar("verify")
			r, err := v.Verify(cmd.Context(), in)
			done()
			if err != nil {
				return blame(err)
			}
			kits, err := v.Kits(cmd.Context())
			if err != nil {
				return err
			}
			err = o.show(cmd, r, func(w io.Writer) {
				how := "structure checked, content not read (--read-data does)"
				if r.ReadData {
					how = progress.Bytes(r.Bytes) + " read"
				}
				fmt.Fprintf(w, "vault %s: %d recovery points, %s: ", r.Vault, r.Points, how)
				defer printCoverage(w, r.Coverage)
				if r.FindingCount == 0 {
					fmt.Fprintln(w, "sound")
					printKits(w, kits)
					return
				}
				fmt.Fprintln(w, "DAMAGED")
				printFindings(w, r.Findings)
				printKits(w, kits)
			})
			if err == nil && r.FindingCount > 0 {
				err = problemsError{fmt.Errorf("the vault is damaged: %d findings", r.FindingCount)}
			}
			return err
		}}
	k.flags(c)
	o.flags(c)
	c.Flags().BoolVar(&in.ReadData, "read-data", false, "read and authenticate all content")
	c.Flags().DurationVar(&in.MaxAge, "max-age", 0, "with --read-data: leave out what was read so lately, as in 720h")
	c.Flags().Int64Var(&in.Rate, "rate", 0, "with --read-data: read at most so many bytes a second")
	if _, rescue := k.(*rescueKey); !rescue { // a rescue never writes
		c.Flags().BoolVar(&keep, "keep", false, "with --read-data: keep in the vault what was read and what is damaged")
	}
	return c
}
