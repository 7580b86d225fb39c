package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strongroom/internal/progress"
	"strongroom/internal/standalone"
)

func newDiff() *cobra.Command {
	var k rescueKey
	var o output
	c := &cobra.Command{Use: "diff DIR A B", Short: "What has changed between two recovery points of a vault", Args: takes(3, 3),
		Long: `Name every path that was added (+), removed (-) or changed (M, and in what) from recovery point A to B. Nothing is restored
and no content read: a file whose content was changed differs in size, mtime or at least ctime. With --json, one object
per path and line.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, args[0], &k, false)
			if err != nil {
				return err
			}
			defer v.Close()
			w := cmd.OutOrStdout()
			lines := json.NewEncoder(w)
			return blame(v.Diff(cmd.Context(), args[1], args[2], func(c standalone.Change) error {
				if o.json {
					return lines.Encode(c)
				}
				mark := map[string]string{"added": "+", "removed": "-", "changed": "M"}[c.Kind]
				_, err := fmt.Fprintf(w, "%s %s", mark, printed(c.Path))
				if len(c.Fields) > 0 {
					fmt.Fprintf(w, "  (%s)", strings.Join(c.Fields, ", "))
				}
				fmt.Fprintln(w)
				return err
			}))
		}}
	k.flags(c)
	o.flags(c)
	return c
}

func newFind() *cobra.Command {
	var k rescueKey
	var o output
	c := &cobra.Command{Use: "find DIR PATTERN", Short: "Find paths in all recovery points of a vault", Args: takes(2, 2),
		Long: `List every path that matches, in every recovery point, oldest first. Patterns are those of restore --include: without a slash
they match names at any depth ('*.conf'), with a slash whole paths from the top. With --json, one object per path and line.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, args[0], &k, false)
			if err != nil {
				return err
			}
			defer v.Close()
			w := cmd.OutOrStdout()
			lines := json.NewEncoder(w)
			broken, err := v.Find(cmd.Context(), args[1], func(f standalone.Found) error {
				if o.json {
					return lines.Encode(f)
				}
				_, err := fmt.Fprintf(w, "%s  %s  %10s  %s  %s\n", f.Point, f.Mtime.Format(time.DateTime+"Z"), progress.Bytes(f.Size), f.Type, printed(f.Path))
				return err
			})
			if err != nil {
				return blame(err)
			}
			printFindings(cmd.ErrOrStderr(), broken)
			return damaged(len(broken))
		}}
	k.flags(c)
	o.flags(c)
	return c
}
