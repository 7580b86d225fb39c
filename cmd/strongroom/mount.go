package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"strongroom/internal/mount"
)

// mountCache bounds the memory for chunks that were read last.
const mountCache = 64 << 20

func newMount() *cobra.Command {
	var k rescueKey
	var other bool
	c := &cobra.Command{Use: "mount VAULT_DIR [ID] MOUNTPOINT", Short: "Show a recovery point as a read-only file system, without restoring it", Args: takes(2, 3),
		Long: `Show a recovery point (its id or ARN), or each recovery point of a vault as a directory, at an empty directory. It stays until
Ctrl-C, SIGTERM or umount. Nothing can be changed through it; set-user-id bits and devices have no effect. What is damaged
or was not read when the recovery point was made reads as an input/output error, never as other bytes; the attribute
user.strongroom.problem says why an object is not a faithful copy.

While it is mounted nobody can write to the vault. It needs /dev/fuse, and fusermount3 unless you are root. To get a whole
tree back use restore: it is faster.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, at := "", args[len(args)-1]
			if len(args) == 3 {
				id = args[1]
			}
			v, err := openVault(cmd, args[0], &k, false)
			if err != nil {
				return err
			}
			defer v.Close()
			points, lost, err := v.Browse(cmd.Context(), id, mountCache)
			if err != nil {
				return err
			}
			m := mount.Config{At: at, Single: id != "", AllowOther: other, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
			for _, p := range points {
				m.Points = append(m.Points, mount.Point{Name: p.ID, Made: p.Created, Browse: p.Browser})
			}
			printFindings(cmd.ErrOrStderr(), lost)
			err = mount.Mount(cmd.Context(), m, func() {
				fmt.Fprintf(cmd.OutOrStdout(), "mounted at %s; Ctrl-C or umount ends it\n", printed(at))
			})
			if err != nil {
				return blame(err)
			}
			return damaged(len(lost))
		}}
	k.flags(c)
	c.Flags().BoolVar(&other, "allow-other", false, "let other users in, as far as modes and owners allow")
	return c
}
