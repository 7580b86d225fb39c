// Command strongroom is a self-hosted, multi-account backup service that speaks AWS's wire protocols.
//
// One file per verb; each only reads flags and calls internal packages. Exit codes: 0 done, 1 failed, 2 bad usage,
// 3 done with problems named.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitProblems = 3
)

// usageError is a wrong command line: exit code 2.
type usageError struct{ error }

// problemsError is work that was done with problems that have been named: exit code 3.
type problemsError struct{ error }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "strongroom: "+err.Error())
	var usage usageError
	var problems problemsError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &problems):
		return exitProblems
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "strongroom",
		Short:         "Self-hosted, multi-account backup that speaks AWS's protocols",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; see strongroom --help", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newDemo(), newEnv(), newPreflight(), newVault(), newRescue(), newDiff(), newFind(), newMount(), newClock(), newVersion())
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArgs
		}
	}
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])}
	}
	return nil
}
