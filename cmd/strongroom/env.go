package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"strongroom/internal/server"
)

func newEnv() *cobra.Command {
	var data, region string
	var asJSON bool
	c := &cobra.Command{
		Use:   "env --data DIR",
		Short: "Print shell exports that point the aws CLI at a running node",
		Long: `Print shell exports that point the aws CLI and the SDKs at a running node with the first account's root key:

  eval "$(strongroom env --data DIR)"

AWS CLI versions before 1.29 and 2.13 do not read AWS_ENDPOINT_URL; give them --endpoint-url "$AWS_ENDPOINT_URL".`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if data == "" {
				return usageError{errors.New("--data DIR is required")}
			}
			endpoint, err := os.ReadFile(filepath.Join(data, server.EndpointFile))
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("no node is running on %s: start one with `strongroom serve --data %s`", data, data)
			}
			if err != nil {
				return err
			}
			key, err := server.ReadCredentials(filepath.Join(data, server.CredentialsFile))
			if err != nil {
				return err
			}
			vars := [][2]string{
				{"AWS_ENDPOINT_URL", strings.TrimSpace(string(endpoint))},
				{"AWS_ACCESS_KEY_ID", key.ID},
				{"AWS_SECRET_ACCESS_KEY", key.Secret},
				{"AWS_REGION", region},
				{"AWS_DEFAULT_REGION", region},
			}
			out := cmd.OutOrStdout()
			if asJSON {
				m := map[string]string{}
				for _, v := range vars {
					m[v[0]] = v[1]
				}
				return json.NewEncoder(out).Encode(m)
			}
			for _, v := range vars {
				fmt.Fprintf(out, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
			}
			fmt.Fprintln(out, "unset AWS_SESSION_TOKEN AWS_PROFILE")
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", "", "data directory of the node")
	c.Flags().StringVar(&region, "region", "us-east-1", "region to export")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
