package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/spf13/cobra"

	"strongroom/internal/api/nodeapi"
	"strongroom/internal/clock"
)

func newPreflight() *cobra.Command {
	var endpoint, region string
	var asJSON bool
	c := &cobra.Command{
		Use:   "preflight",
		Short: "Would this copy work, and if not, which statement is missing in which policy?",
		Long: `Say before anything runs whether a copy would be allowed: every condition is shown as ok or missing, with the statement
to add and the account that can add it. Nothing is changed and no backup data is read.

Credentials are taken from the environment as the aws CLI takes them; they must be those of the account that the recovery
point or the plan belongs to. Exit code 3 means that something is missing.`,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	c.PersistentFlags().StringVar(&endpoint, "endpoint-url", "", "URL of the node (default $AWS_ENDPOINT_URL)")
	c.PersistentFlags().StringVar(&region, "region", "", "region (default $AWS_REGION)")
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON")
	client := func(cmd *cobra.Command) (nodeapi.Client, error) {
		if endpoint == "" {
			endpoint = os.Getenv("AWS_ENDPOINT_URL")
		}
		if endpoint == "" {
			return nodeapi.Client{}, usageError{errors.New(`no node is named: give --endpoint-url URL or run eval "$(strongroom env --data DIR)" first`)}
		}
		cfg, err := config.LoadDefaultConfig(cmd.Context(), config.WithRegion(region), config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
		if err != nil {
			return nodeapi.Client{}, err
		}
		if cfg.Region == "" {
			cfg.Region = "us-east-1"
		}
		return nodeapi.Client{Endpoint: endpoint, Region: cfg.Region, Credentials: cfg.Credentials, Clock: clock.System{}}, nil
	}
	show := func(cmd *cobra.Command, out nodeapi.PreflightOutput, err error) error {
		if err != nil {
			return err
		}
		if asJSON {
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(out)
		} else {
			printPreflight(cmd.OutOrStdout(), out)
		}
		if err == nil && !out.Allowed {
			err = problemsError{errors.New("the copy would be refused")}
		}
		return err
	}
	var in nodeapi.PreflightCopyInput
	var point, to, role string
	cp := &cobra.Command{
		Use: "copy --recovery-point ARN --to VAULT_ARN", Short: "Ask about one recovery point", Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if point == "" || to == "" {
				return usageError{errors.New("--recovery-point ARN and --to VAULT_ARN are required")}
			}
			in.RecoveryPointArn, in.DestinationBackupVaultArn = &point, &to
			if role != "" {
				in.IamRoleArn = &role
			}
			cl, err := client(cmd)
			if err != nil {
				return err
			}
			out, err := cl.PreflightCopy(cmd.Context(), in)
			return show(cmd, out, err)
		},
	}
	cp.Flags().StringVar(&point, "recovery-point", "", "ARN of the recovery point to copy")
	cp.Flags().StringVar(&to, "to", "", "ARN of the destination vault")
	cp.Flags().StringVar(&role, "role", "", "ARN of the role to pass (default: the one that made the recovery point)")
	var planID string
	plan := &cobra.Command{
		Use: "plan --plan-id ID", Short: "Ask about every copy action of a plan", Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if planID == "" {
				return usageError{errors.New("--plan-id ID is required")}
			}
			cl, err := client(cmd)
			if err != nil {
				return err
			}
			out, err := cl.PreflightPlan(cmd.Context(), planID)
			return show(cmd, out, err)
		},
	}
	plan.Flags().StringVar(&planID, "plan-id", "", "id of the backup plan")
	c.AddCommand(cp, plan)
	return c
}

func printPreflight(w io.Writer, out nodeapi.PreflightOutput) {
	for _, cp := range out.Copies {
		if rule := aws.ToString(cp.RuleName); rule != "" {
			fmt.Fprintf(w, "rule %s: ", rule)
		}
		fmt.Fprintf(w, "%s\n  -> %s\n  as %s\n", aws.ToString(cp.RecoveryPointArn), aws.ToString(cp.DestinationBackupVaultArn), aws.ToString(cp.IamRoleArn))
		for _, c := range cp.Conditions {
			if c.Ok {
				fmt.Fprintf(w, "  ok       %s\n", aws.ToString(c.Name))
				continue
			}
			fmt.Fprintf(w, "  MISSING  %s\n           %s\n", aws.ToString(c.Name), aws.ToString(c.Message))
			for _, m := range c.Missing {
				fmt.Fprintf(w, "           account %s, %s", aws.ToString(m.AccountId), aws.ToString(m.Policy))
				if s := aws.ToString(m.Statement); s != "" {
					fmt.Fprintf(w, ": add %s", s)
				}
				if n := aws.ToString(m.Note); n != "" {
					fmt.Fprintf(w, " (%s)", n)
				}
				fmt.Fprintln(w)
			}
		}
		if cp.Allowed {
			fmt.Fprintln(w, "  This copy would be allowed.")
		}
	}
}
