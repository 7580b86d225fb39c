package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"strongroom/internal/server"
)

func newClock() *cobra.Command {
	c := &cobra.Command{Use: "clock", Short: "The compliance clock that retention is measured by", Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() }}
	var data string
	accept := &cobra.Command{
		Use:   "accept --data DIR",
		Short: "Accept the system clock as right after deletion was suspended (node stopped)",
		Long: `Accept the system clock as right.

A node suspends all deletion when the system clock and its own compliance clock disagree by more than a day: after a long
time switched off, or because somebody moved the date. Check the date first: accepting a date in the future lets
everything expire whose retention ends before it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if data == "" {
				return usageError{errors.New("--data DIR is required")}
			}
			now, err := server.AcceptClock(data)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the compliance clock now says %s\n", now.Format("2006-01-02 15:04:05 MST"))
			return nil
		},
	}
	accept.Flags().StringVar(&data, "data", "", "data directory of the node, which must not be running")
	c.AddCommand(accept)
	return c
}
